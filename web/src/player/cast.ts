// asciicast v2 as it comes from nodes. Nodes are not trusted: sizes and times are bounded, titles, themes, markers and keys in
// it are left out, and what its programs printed goes into a terminal that only paints.

/** Milliseconds since the beginning; "o": text, "r": "COLSxROWS". */
export type CastEvent = [time: number, code: "o" | "r", data: string];

export interface Size {
  cols: number;
  rows: number;
}

/** Characters that turn the reading direction: a terminal shows text in the order in which it came. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;
const LINE_MAX = 16 * 1024 * 1024;
const GAP_MAX = 24 * 3600 * 1000;

function clamp(value: unknown, max: number, otherwise: number): number {
  const n = Math.floor(Number(value));
  return Number.isFinite(n) && n > 0 ? Math.min(n, max) : otherwise;
}

export function sizeOf(cols: unknown, rows: unknown): Size {
  return { cols: clamp(cols, 500, 80), rows: clamp(rows, 300, 24) };
}

/** Turns bytes into events, in pieces of any size. */
export class CastReader {
  size: Size | null = null;
  /** Lines that were no events. */
  damaged = 0;
  private rest = "";
  private last = 0;
  private decoder = new TextDecoder();

  feed(bytes: Uint8Array, end: boolean): CastEvent[] {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: !end })).split("\n");
    this.rest = end ? "" : lines.pop()!;
    if (this.rest.length > LINE_MAX) {
      this.rest = "";
      this.damaged++;
    }
    const events: CastEvent[] = [];
    for (const line of lines) {
      if (line === "") continue;
      const event = this.read(line);
      if (event) events.push(event);
    }
    return events;
  }

  private read(line: string): CastEvent | null {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.damaged++;
      return null;
    }
    if (!this.size) {
      const header = value as { version?: unknown; width?: unknown; height?: unknown } | null;
      if (typeof header !== "object" || header?.version !== 2) throw new Error("not an asciicast");
      this.size = sizeOf(header.width, header.height);
      return null;
    }
    if (!Array.isArray(value) || typeof value[0] !== "number" || typeof value[2] !== "string") {
      this.damaged++;
      return null;
    }
    const at = value[0] * 1000;
    if (at > this.last) this.last = Math.min(at, this.last + GAP_MAX);
    if (value[1] === "o") return [this.last, "o", value[2].replace(TURNS, "\ufffd")];
    if (value[1] !== "r") return null;
    const { cols, rows } = sizeOf(...(value[2].split("x") as [string, string]));
    return [this.last, "r", `${cols}x${rows}`];
  }
}

/** Nodes put a carriage return before each line feed of a program without a terminal; older ones did not. */
export function asTerminal(event: CastEvent): CastEvent {
  return event[1] === "o" ? [event[0], "o", event[2].replace(/\r?\n/g, "\r\n")] : event;
}

/** The moment of the recording that stands at `shown` seconds when pauses are cut to `limit` seconds. */
export function realTime(events: CastEvent[], shown: number, limit: number | undefined): number {
  if (limit === undefined) return shown;
  let before = 0;
  let cut = 0;
  for (const [time] of events) {
    const more = Math.max(0, time - before - limit * 1000);
    if (time - cut - more > shown * 1000) break;
    cut += more;
    before = time;
  }
  return shown + cut / 1000;
}
