// One try at a time of what a form or a button does, and what became of the last one.
import { useEffect, useRef, useState } from "preact/hooks";
import { sayError, toast } from "./parts";

export interface Attempt {
  busy: boolean;
  error: string;
  go: (run: () => Promise<unknown>) => Promise<void>;
  fail: (text: string) => void;
}

/** say: the words for a failure. Whoever closes the form meanwhile is told at the edge of the page. */
export function useAttempt(say: (error: unknown) => string = sayError): Attempt {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const running = useRef(false);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const go = async (run: () => Promise<unknown>) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError("");
    try {
      await run();
    } catch (failed) {
      if (alive.current) setError(say(failed));
      else toast(say(failed), true);
    } finally {
      running.current = false;
      if (alive.current) setBusy(false);
    }
  };
  return { busy, error, go, fail: setError };
}
