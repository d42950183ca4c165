// One recording: /web/player/ID; with ?live=1 a session that runs. A window of its own, loaded anew (only here may a browser compile the player's terminal).
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, save } from "../api";
import { site } from "../context";
import { Icon } from "../design/icons";
import { Button, Command, Empty, Note, sayError } from "../design/parts";
import { bytes, dateTime, t } from "../i18n";
import { asTerminal, CastReader } from "../player/cast";
import { readAll } from "../player/load";
import { LiveScreen, type LiveState } from "../player/live";
import { type Recording, Screen } from "../player/screen";
import { usePlace } from "../router";
import { CodeForm } from "../term/code";
import { type Ended, place } from "./recordings";
import { type Channel, type Running, runningPlace, runningSession } from "./sessions";

const SHOWN_MAX = 64 * 1024 * 1024;

type State = { step: "loading"; done: number; size: number } | { step: "large"; size: number } | { step: "empty" } | { step: "ready"; recording: Recording; damaged: number } | { step: "failed"; error: unknown };

/** What the list says about it; null for those who may play a recording and not list it. One that has just ended stands there a
 *  moment later than it can be played. */
async function about(id: string, signal: AbortSignal): Promise<Ended | null> {
  try {
    for (const wait of [0, 700]) {
      await new Promise((done) => setTimeout(done, wait));
      const got = await api<{ events: Ended[] }>("GET", site(`/events/search/sessions?limit=1&search=${encodeURIComponent(id)}`), undefined, signal);
      const found = got.events.find((one) => one.sid === id);
      if (found) return found;
    }
  } catch {
    // Without its name it can be played all the same.
  }
  return null;
}

async function load(id: string, plain: boolean, set: (state: State) => void, signal: AbortSignal): Promise<void> {
  const reader = new CastReader();
  const recording: Recording = { size: { cols: 80, rows: 24 }, events: [] };
  let large = 0;
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());
  try {
    await readAll(
      id,
      (piece, offset, end) => {
        if (piece.size > SHOWN_MAX) {
          large = piece.size;
          stop.abort();
          return;
        }
        for (const event of reader.feed(piece.bytes, end)) recording.events.push(plain ? asTerminal(event) : event);
        set({ step: "loading", done: offset + piece.bytes.length, size: piece.size });
      },
      stop.signal,
    );
  } catch (error) {
    if (!large) throw error;
  }
  if (large) return set({ step: "large", size: large });
  if (reader.size) recording.size = reader.size;
  if (recording.events.length === 0) return set({ step: "empty" });
  set({ step: "ready", recording, damaged: reader.damaged });
}

function Title({ id, ended }: { id: string; ended: Ended | null }) {
  const title = ended ? `${ended.user} · ${place(ended)}` : id;
  useEffect(() => {
    document.title = `${title} · tport`;
  }, [title]);
  return (
    <>
      <h1 class="mono">{title}</h1>
      {ended && <span class="quiet num">{dateTime(ended.session_start)}</span>}
    </>
  );
}

function Back({ page, label }: { page: string; label: string }) {
  return (
    <a class="brand" href={`/web/${page}`} aria-label={label}>
      <span class="mark" aria-hidden="true" />
    </a>
  );
}

function Live({ id }: { id: string }) {
  const all = useRef<HTMLElement>(null);
  const [found, setFound] = useState<{ one: Running; channel: Channel } | null | undefined>(undefined);
  const [state, setState] = useState<LiveState>("waiting");
  const [error, setError] = useState<unknown>(null);
  const given = useRef(() => {}); // goes on when the code was given
  useEffect(() => {
    const stop = new AbortController();
    runningSession(id, stop.signal).then(
      (one) => setFound(one ? { one, channel: one.channels.find((channel) => channel.id === id)! } : null),
      () => !stop.signal.aborted && setFound(null),
    );
    return () => stop.abort();
  }, [id]);
  const title = found ? `${found.one.user} · ${runningPlace(found.one)}` : id;
  useEffect(() => {
    document.title = `${title} · tport`;
  }, [title]);
  const why = state !== "gone" ? "" : error instanceof ApiError ? (error.status === 404 ? t("live.none") : sayError(error)) : t("player.broken");
  return (
    <main class="player" ref={all}>
      <header class="player-bar">
        <Back page="sessions" label={t("menu.sessions")} />
        <h1 class="mono">{title}</h1>
        {found && <span class="quiet num">{dateTime(found.channel.started)}</span>}
      </header>
      {why && <Note bad>{why}</Note>}
      {found === undefined ? (
        <div class="bone" aria-label={t("loading")} />
      ) : (
        <div class="play">
          <LiveScreen
            id={id}
            plain={found?.channel.interactive === false}
            onState={(next, failed) => {
              setState(next);
              setError(failed);
            }}
            askCode={() => new Promise((resolve) => (given.current = resolve))}
          />
          {state === "code" && (
            <div key="code" class="term-code">
              <CodeForm opens={{ sid: id }} shown onDone={() => given.current()} />
            </div>
          )}
          <div class="play-line">
            <span class="grow" role="status">
              <span class={state === "open" ? "dot on" : "dot"} aria-hidden="true" />
              {t(`live.${state}`)}
            </span>
            {(state === "over" || state === "gone") && (
              <a class="button slim" href={`/web/player/${encodeURIComponent(id)}`}>
                <Icon name="play" />
                {t("live.recording")}
              </a>
            )}
            <Button kind="ghost slim" icon="full" label={t("player.full")} onClick={() => (document.fullscreenElement ? document.exitFullscreen() : all.current?.requestFullscreen())} />
          </div>
        </div>
      )}
    </main>
  );
}

export function PlayerPage() {
  const { item, query } = usePlace();
  return query.get("live") ? <Live id={item} /> : <Recorded id={item} />;
}

function Recorded({ id }: { id: string }) {
  const [state, setState] = useState<State>({ step: "loading", done: 0, size: 0 });
  const [ended, setEnded] = useState<Ended | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    const run = async () => {
      const found = await about(id, stop.signal);
      setEnded(found);
      await load(id, found?.interactive === false, setState, stop.signal);
    };
    run().catch((error) => !stop.signal.aborted && setState({ step: "failed", error }));
    return () => stop.abort();
  }, [id]);
  const download = async () => {
    const parts: BlobPart[] = [];
    await readAll(id, (piece) => void parts.push(piece.bytes));
    save(`${id}.cast`, "application/x-asciicast", parts);
  };
  return (
    <main class="player">
      <header class="player-bar">
        <Back page="recordings" label={t("menu.recordings")} />
        <Title id={id} ended={ended} />
        <span class="grow" />
        {state.step !== "failed" && (
          <Button kind="slim" onClick={download}>
            {t("player.download")}
          </Button>
        )}
      </header>
      {state.step === "loading" && (
        <div class="player-wait" aria-live="polite">
          <progress class="meter" max={state.size || 1} value={state.done} aria-label={t("player.loading")} />
          <span>{t("player.loading.size", { done: bytes(state.done), size: bytes(state.size) })}</span>
        </div>
      )}
      {state.step === "failed" && (
        <div class="player-wait">
          <Note bad>{state.error instanceof ApiError && state.error.status === 404 ? t("player.none") : state.error instanceof ApiError ? sayError(state.error) : t("player.broken")}</Note>
        </div>
      )}
      {state.step === "empty" && <Empty title={t("player.empty")} text={t("player.empty.text")} />}
      {state.step === "large" && (
        <Empty title={t("player.large", { size: bytes(state.size) })} text={t("player.large.text")}>
          <Command text={`tport play ${id}`} />
        </Empty>
      )}
      {state.step === "ready" && (
        <>
          {state.damaged > 0 && <Note warn>{t("player.damaged", { count: state.damaged })}</Note>}
          <Screen recording={state.recording} />
        </>
      )}
    </main>
  );
}
