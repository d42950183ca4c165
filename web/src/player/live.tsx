// A running session, as it comes: everything so far at once, then what is new.
import "asciinema-player/dist/bundle/asciinema-player.css";
import { create } from "asciinema-player";
import { useEffect, useRef } from "preact/hooks";
import { act } from "../activity";
import { ApiError } from "../api";
import { asTerminal, CastReader } from "./cast";
import { watchPiece } from "./load";

export type LiveState = "waiting" | "open" | "lost" | "code" | "over" | "gone";

interface Callbacks {
  dispatch(event: string, data?: unknown): void;
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()));
  });

interface Follower {
  onState(state: LiveState, error?: unknown): void;
  /** Asks for a one-time code; done when one was given. */
  askCode(): Promise<void>;
}

async function follow(id: string, plain: boolean, { dispatch }: Callbacks, { onState, askCode }: Follower, signal: AbortSignal): Promise<void> {
  const reader = new CastReader();
  let offset = 0;
  let begun = false;
  while (!signal.aborted) {
    let piece;
    try {
      piece = await watchPiece(id, offset, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500)) {
        onState("lost");
        await pause(2000, signal);
        continue;
      }
      if (error instanceof ApiError && error.code === "mfa_needed") {
        onState("code");
        await askCode();
        continue;
      }
      return onState("gone", error);
    }
    offset += piece.bytes.length;
    if (piece.bytes.length > 0) act(); // who watches is there
    const events = reader.feed(piece.bytes, piece.done);
    if (reader.size && !begun) {
      begun = true;
      dispatch("reset", { size: reader.size, init: "", theme: null });
      dispatch("playing");
    }
    onState(begun ? "open" : "waiting");
    let text = "";
    for (const event of events) {
      if (event[1] === "o") {
        text += plain ? asTerminal(event)[2] : event[2];
        continue;
      }
      if (text) dispatch("output", text);
      text = "";
      const [cols, rows] = event[2].split("x").map(Number);
      dispatch("resize", { cols, rows });
    }
    if (text) dispatch("output", text);
    if (piece.done) return onState("over");
  }
}

export function LiveScreen({ id, plain, ...follower }: { id: string; plain: boolean } & Follower) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const stop = new AbortController();
    const driver = (callbacks: Callbacks) => ({
      init: () => callbacks.dispatch("metadata", { hasAudio: false }),
      play: () => {
        follow(id, plain, callbacks, follower, stop.signal).catch((error) => !stop.signal.aborted && follower.onState("gone", error));
        return true;
      },
      stop: () => stop.abort(),
      getTiming: () => ({ time: null, rate: 0, sampledAt: 0 }),
    });
    const player = create(driver as never, box.current!, { autoPlay: true, controls: false, fit: "both", theme: "asciinema", keystrokeOverlay: false });
    // Its own keys open texts in English and have nothing to steer here.
    const keys = (event: KeyboardEvent) => event.key !== "Tab" && box.current?.contains(event.target as Node) && event.stopPropagation();
    document.addEventListener("keydown", keys, true);
    return () => {
      document.removeEventListener("keydown", keys, true);
      stop.abort();
      player.dispose();
    };
  }, [id, plain]);
  return <div class="play-screen" ref={box} />;
}
