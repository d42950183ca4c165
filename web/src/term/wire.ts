// One session in the browser: a WebSocket with small protobuf envelopes {1: version, 2: type, 3: payload}.
import { session } from "../api";
import { site } from "../context";

export interface FileJob {
  op: "download" | "upload";
  path: string;
  size?: number;
}

export interface Meta {
  id: string;
  login: string;
  server_id: string;
  server_hostname: string;
  offset?: number;
  size?: number;
}

/** "code": over, because a one-time code is asked for first. */
export type State = "connecting" | "open" | "waiting" | "code" | "over";

export interface WireEvents {
  onMeta(meta: Meta): void;
  /** done must be called when the bytes are used: only then more may come. */
  onData(data: Uint8Array, done: () => void): void;
  onState(state: State, message: string): void;
  onExit(code: number, signal: string): void;
  /** Who watches the terminal now: some of their names, and how many. */
  onWatched?(names: string[], count: number): void;
}

const RESUME_MS = 30000;
const ACK_EVERY = 16 * 1024;
const BEAT_MS = 2000;
const QUIET_MS = 4000; // then we ask whether the way still bears
const DEAD_MS = 8000; // without an answer
const FIRST_MS = 30000; // of the first one: the server starts a shell meanwhile
const LOST = 4000; // what we say then, should it arrive at all: it is not the end of the shell
const ATTEMPT_MS = 5000; // of one connection: a network that is back is found soon
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encode(type: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head: number[] = [0x0a, 1, 0x31, 0x12, 1, type.charCodeAt(0), 0x1a];
  let size = payload.length;
  while (size >= 0x80) {
    head.push((size & 0x7f) | 0x80);
    size >>>= 7;
  }
  head.push(size);
  const out = new Uint8Array(head.length + payload.length);
  out.set(head);
  out.set(payload, head.length);
  return out;
}

export function decode(data: Uint8Array): { type: string; payload: Uint8Array } {
  let at = 0;
  let type = "";
  let payload = new Uint8Array();
  const varint = () => {
    let value = 0;
    let shift = 0;
    for (;;) {
      const byte = data[at++];
      if (byte === undefined || shift > 28) throw new Error("a broken message came from the server");
      value |= (byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value >>> 0;
      shift += 7;
    }
  };
  while (at < data.length) {
    const key = varint();
    if ((key & 7) !== 2) throw new Error("a broken message came from the server");
    const size = varint();
    const part = data.subarray(at, at + size);
    at += size;
    if (key >> 3 === 2) type = decoder.decode(part);
    else if (key >> 3 === 3) payload = part as Uint8Array<ArrayBuffer>;
  }
  return { type, payload };
}

export class Wire {
  private socket: WebSocket | null = null;
  private sid = "";
  private received = 0;
  private used = 0;
  private told = 0;
  private lostAt = 0;
  private wait = 250;
  private timer = 0;
  private over = false;
  private why = ""; // what was said of an end that need not be one
  private opened = false;
  private heard = 0;
  private asked = 0; // when we asked last, and have heard nothing since; else 0
  private beat = 0;
  private attempt = 0;

  constructor(
    private readonly server: string,
    private readonly login: string,
    private size: { w: number; h: number },
    private readonly events: WireEvents,
    private readonly file?: FileJob,
  ) {
    this.connect();
    this.beat = setInterval(() => this.look(), BEAT_MS);
  }

  /** Is the other side still there? Networks are also lost in silence, and TCP says so after minutes. */
  private look(): void {
    const now = Date.now();
    if (!this.socket || !this.opened || this.lostAt || this.over) return;
    if (this.asked && now - this.asked > DEAD_MS) this.drop(this.socket);
    else if (!this.asked && now - this.heard > QUIET_MS && this.send("l", encoder.encode(String(now % 1e9)))) this.asked = now;
  }

  /** Gives a connection up that does not say that it is over. */
  private drop(socket: WebSocket): void {
    if (this.socket !== socket) return;
    socket.close(LOST);
    this.closed(1006);
  }

  private connect(): void {
    this.events.onState(this.lostAt ? "waiting" : "connecting", "");
    const params: Record<string, unknown> = { server_id: this.server, login: this.login, term: this.size };
    if (this.file) params["file"] = this.file;
    if (this.sid) {
      params["sid"] = this.sid;
      params["offset"] = this.received;
    }
    const socket = new WebSocket(`wss://${location.host}${site("/connect/ws")}?params=${encodeURIComponent(JSON.stringify(params))}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ token: session.get()?.token ?? "" }));
    socket.onmessage = (event) => this.socket === socket && this.take(new Uint8Array(event.data as ArrayBuffer));
    socket.onclose = (event) => this.socket === socket && this.closed(event.code);
    this.socket = socket;
    this.attempt = setTimeout(() => this.drop(socket), this.lostAt ? ATTEMPT_MS : FIRST_MS);
  }

  private take(data: Uint8Array): void {
    const { type, payload } = decode(data);
    this.heard = Date.now();
    this.asked = 0;
    if (type === "s") {
      clearTimeout(this.attempt);
      const meta = (JSON.parse(decoder.decode(payload)) as { session: Meta }).session;
      this.sid = meta.id;
      this.opened = true;
      this.lostAt = 0;
      this.wait = 250;
      this.why = "";
      this.events.onMeta(meta);
      this.events.onState("open", "");
    } else if (type === "r") {
      this.received += payload.length;
      this.events.onData(payload, () => {
        this.used += payload.length;
        if (this.used - this.told >= ACK_EVERY || this.used === this.received) {
          this.told = this.used;
          this.send("k", encoder.encode(String(this.used)));
        }
      });
    } else if (type === "x") {
      const exit = JSON.parse(decoder.decode(payload)) as { code?: number; signal?: string };
      this.over = true;
      this.events.onExit(exit.code ?? 0, exit.signal ?? "");
    } else if (type === "a") {
      const seen = JSON.parse(decoder.decode(payload)) as { event?: string; watchers?: string[]; count?: number };
      if (seen.event === "session.watched") this.events.onWatched?.(seen.watchers ?? [], seen.count ?? 0);
    } else if (type === "e") {
      const error = JSON.parse(decoder.decode(payload)) as { reason?: string; message?: string; resume?: boolean };
      if (error.resume) this.why = error.message ?? "";
      else this.end(error.message ?? "", error.reason === "mfa_needed" ? "code" : "over");
    } else if (type === "c" && !this.over) {
      this.end("");
    }
  }

  private end(message: string, state: "code" | "over" = "over"): void {
    this.over = true;
    this.quiet();
    this.events.onState(state, message);
  }

  private quiet(): void {
    clearTimeout(this.timer);
    clearTimeout(this.attempt);
    clearInterval(this.beat);
  }

  private closed(code: number): void {
    this.socket = null;
    this.asked = 0;
    clearTimeout(this.attempt);
    if (this.over) return;
    if (code === 4401) {
      this.end("signin");
    } else if (!this.opened || this.file) {
      this.end(this.why || "lost");
    } else {
      const now = Date.now();
      if (!this.lostAt) this.lostAt = now;
      if (now - this.lostAt > RESUME_MS) {
        this.end("gone");
        return;
      }
      this.events.onState("waiting", "");
      this.timer = setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(this.wait * 2, 3000);
    }
  }

  private send(type: string, payload: Uint8Array): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN || !this.opened || this.lostAt) return false;
    this.socket.send(encode(type, payload));
    return true;
  }

  /** false: not sent, there is no connection now. */
  input(data: Uint8Array): boolean {
    for (let at = 0; at < data.length; at += 16 * 1024) {
      if (!this.send("r", data.subarray(at, at + 16 * 1024))) return false;
    }
    return true;
  }

  resize(w: number, h: number): void {
    this.size = { w, h };
    this.send("w", encoder.encode(JSON.stringify({ event: "resize", width: w, height: h, size: `${w}:${h}` })));
  }

  /** Bytes on their way: an upload waits while there are many. */
  get queued(): number {
    return this.socket?.bufferedAmount ?? 0;
  }

  get isOver(): boolean {
    return this.over;
  }

  /** The end of an upload. */
  finish(): void {
    this.send("c", new Uint8Array());
  }

  close(): void {
    if (!this.over) this.send("c", new Uint8Array());
    this.over = true;
    this.quiet();
    this.socket?.close();
    this.socket = null;
  }
}
