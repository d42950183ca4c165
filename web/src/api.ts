// Calls to our own server. Two halves make a session: a cookie that scripts cannot read, and this token.
import { goesIdle } from "./activity";
import { store } from "./store";

const TOKEN = "tport.token";
const ANSWER_MS = 35000; // the proxy answers everything within 30 s

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
/** Why the last session is over, for the sign-in page: "ended", "idle" or "". */
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

async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const kept = session.get();
  const headers: Record<string, string> = {};
  if (kept) headers["Authorization"] = `Bearer ${kept.token}`;
  if (kept && goesIdle()) headers["X-Tport-Idle"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer: Response;
  const stop = new AbortController();
  const given = () => stop.abort();
  signal?.addEventListener("abort", given);
  // A network that swallows everything says nothing; the browser itself would wait for minutes.
  const late = setTimeout(given, ANSWER_MS);
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: stop.signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "offline", "");
  } finally {
    clearTimeout(late);
  }
  if (answer.ok) return answer;
  let code = "";
  let message = "";
  try {
    const json = (await answer.json()) as { error?: { code?: string; message?: string } };
    code = json.error?.code ?? "";
    message = json.error?.message ?? "";
  } catch {
    // not ours: a page of something between
  }
  if (answer.status === 401 && kept && session.get()?.token === kept.token && path !== "/webapi/sessions/web") setSession(null, "ended");
  throw new ApiError(answer.status, code, message);
}

export async function api<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await send(method, path, body, signal);
  return (await answer.json()) as T;
}

/** The bytes of an answer and its headers, for downloads and recordings. */
export async function apiBytes(path: string, signal?: AbortSignal): Promise<{ bytes: Uint8Array<ArrayBuffer>; headers: Headers }> {
  const answer = await send("GET", path, undefined, signal);
  return { bytes: new Uint8Array(await answer.arrayBuffer()), headers: answer.headers };
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
  setSession({ user, token: answer.token, expires: Date.now() + answer.expires_in * 1000 });
}

export async function signOut(why = ""): Promise<void> {
  try {
    await api("DELETE", "/webapi/sessions/web");
  } finally {
    setSession(null, why);
  }
}
