// Has the person done something? Keys, clicks, touches and the pointer in any tab of ours count, and so does an open shell.
// Requests that the page makes by itself say so (api.ts), and are then no use of the session to the server.
import { useEffect } from "preact/hooks";
import { store } from "./store";

const MARK = "tport.active"; // when, for the other tabs
const SHARE_MS = 2000;

let acted = Date.now();
let told = 0; // when a request last went out as use
/** The person is asked whether he is still there. */
export const leaving = store(false);

export function act(): void {
  const now = Date.now();
  if (now - acted > SHARE_MS) localStorage.setItem(MARK, String(now));
  acted = now;
}

for (const type of ["pointerdown", "keydown", "wheel", "touchstart"]) addEventListener(type, act, { capture: true, passive: true });
// While he is asked a movement is on its way to the button, which must not go from under it.
addEventListener("pointermove", () => !leaving.get() && act(), { capture: true, passive: true });
addEventListener("storage", (event) => {
  if (event.key === MARK) acted = Math.max(acted, Number(event.newValue) || 0);
});

/** ms since anything was done. */
export function idleFor(): number {
  return Date.now() - acted;
}

/** Something was done that the server has not heard of for so long. */
export function untold(ms: number): boolean {
  return acted > told && Date.now() - told > ms;
}

/** Of each request: true when nothing was done since the last one. */
export function goesIdle(): boolean {
  if (acted <= told) return true;
  told = Date.now();
  return false;
}

/** While on: who reads what a program prints, or looks at a recording, is there. */
export function useUse(on: boolean): void {
  useEffect(() => {
    if (!on) return;
    act();
    const timer = setInterval(act, 2500);
    return () => clearInterval(timer);
  }, [on]);
}
