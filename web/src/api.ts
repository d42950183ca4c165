// Calls to our own server. Two halves make a session: a cookie that scripts cannot read, and this token.
import { act, goesIdle } from "./activity";
import { store } from "./store";

const TOKEN = "tport.token";
const ANSWER_MS = 35000; // the proxy answers everything within 30 s, and does not pause for longer
/** POSTs after which a second one makes no difference: they only read, or make what nobody has without the answer. */
const HARMLESS = /^\/webapi\/(sessions\/web|roles\/check|mfa\/devices\/new|sites\/[^/]+\/kubeconfig)$/;

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Session {
  user: string;
  token: string;
  expires: number; // ms since 1970
}

function load(): Session | null {
  try {
    const kept = JSON.parse(localStorage.getItem(TOKEN) ?? "null") as Session | null;
    return kept && typeof kept.token === "string" && kept.expires > Date.now() ? kept : null;
  } catch {
    return null;
  }
}

export const session = store<Session | null>(load());
/** Why the last session is over, for the sign-in page: "ended", "idle", "untold" (signed out here, and the server did not answer) or "". */
export const ended = store("");

export function setSession(next: Session | null, why = ""): void {
  if (next) localStorage.setItem(TOKEN, JSON.stringify(next));
  else localStorage.removeItem(TOKEN);
  ended.set(why);
  session.set(next);
}

// Another tab signed in or out.
addEventListener("storage", (event) => {
  if (event.key === TOKEN || event.key === null) session.set(load());
});

/** All of an answer's body; heard is called at each piece of it. */
async function whole(answer: Response, heard: () => void): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  const reader = answer.body?.getReader();
  let size = 0;
  for (let part = await reader?.read(); part && !part.done; part = await reader!.read()) {
    heard();
    parts.push(part.value);
    size += part.value.length;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const json = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as unknown;

/** Without an answer: code "offline" where nothing is changed by asking, "unsure" where the change may have been made. */
async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<{ bytes: Uint8Array<ArrayBuffer>; headers: Headers }> {
  const kept = session.get();
  const headers: Record<string, string> = {};
  if (kept) headers["Authorization"] = `Bearer ${kept.token}`;
  if (kept && goesIdle()) headers["X-Tport-Idle"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer: Response;
  let bytes: Uint8Array<ArrayBuffer>;
  const stop = new AbortController();
  const given = () => stop.abort();
  signal?.addEventListener("abort", given);
  // A network that swallows everything says nothing; the browser itself would wait for minutes.
  let late = setTimeout(given, ANSWER_MS);
  const heard = () => {
    clearTimeout(late);
    late = setTimeout(given, ANSWER_MS);
  };
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: stop.signal, credentials: "same-origin", cache: "no-store" });
    heard();
    bytes = await whole(answer, heard);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, method === "GET" || (method === "POST" && HARMLESS.test(path)) ? "offline" : "unsure", "");
  } finally {
    clearTimeout(late);
    signal?.removeEventListener("abort", given);
  }
  if (answer.ok) return { bytes, headers: answer.headers };
  let code = "";
  let message = "";
  try {
    const said = json(bytes) as { error?: { code?: string; message?: string } };
    code = said.error?.code ?? "";
    message = said.error?.message ?? "";
  } catch {
    // not ours: a page of something between
  }
  if (answer.status === 401 && kept && session.get()?.token === kept.token && path !== "/webapi/sessions/web") setSession(null, "ended");
  throw new ApiError(answer.status, code, message);
}

export async function api<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return json((await send(method, path, body, signal)).bytes) as T;
}

/** Takes something away. That it is not there any more is what was wanted: the answer to an earlier try may have been lost. */
export async function remove(path: string, body?: unknown): Promise<void> {
  try {
    await api("DELETE", path, body);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "not_found")) throw error;
  }
}

/** The bytes of an answer and its headers, for downloads and recordings. */
export async function apiBytes(path: string, signal?: AbortSignal): Promise<{ bytes: Uint8Array<ArrayBuffer>; headers: Headers }> {
  return send("GET", path, undefined, signal);
}

export function save(name: string, type: string, parts: BlobPart[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export async function signIn(user: string, password: string, code: string): Promise<void> {
  const answer = await api<{ token: string; expires_in: number }>("POST", "/webapi/sessions/web", { user, pass: password, second_factor_token: code });
  act(); // his last key may be a slow network ago
  setSession({ user, token: answer.token, expires: Date.now() + answer.expires_in * 1000 });
}

export async function signOut(why = ""): Promise<void> {
  try {
    await api("DELETE", "/webapi/sessions/web");
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) why = "untold";
    else if (!(error instanceof ApiError && error.status === 401)) throw error;
  } finally {
    setSession(null, why);
  }
}
