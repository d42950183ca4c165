// The player: asciinema-player paints, everything that people touch is ours (words in their language, keys, focus).
import "asciinema-player/dist/bundle/asciinema-player.css";
import { create, type Player } from "asciinema-player";
import { useEffect, useRef, useState } from "preact/hooks";
import { useUse } from "../activity";
import { Button } from "../design/parts";
import { duration, t } from "../i18n";
import { type CastEvent, realTime, type Size } from "./cast";

const SPEEDS = [0.5, 1, 2, 4, 8];
const IDLE_S = 1; // what is left of a pause that is skipped
const STEP_S = 5;

export interface Recording {
  size: Size;
  events: CastEvent[];
}

export function Screen({ recording }: { recording: Recording }) {
  const box = useRef<HTMLDivElement>(null);
  const all = useRef<HTMLDivElement>(null);
  const player = useRef<Player | null>(null);
  const [speed, setSpeed] = useState(1);
  const [skip, setSkip] = useState(true);
  const [playing, setPlaying] = useState(false);
  useUse(playing);
  const [now, setNow] = useState(0);
  const [length, setLength] = useState(0);
  const at = useRef({ time: 0, limit: undefined as number | undefined, playing: !matchMedia("(prefers-reduced-motion: reduce)").matches });

  useEffect(() => {
    const limit = skip ? IDLE_S : undefined;
    const startAt = realTime(recording.events, at.current.time, at.current.limit);
    const source = { data: () => [], parser: () => ({ ...recording.size, events: recording.events }) };
    const made = create(source, box.current!, { autoPlay: at.current.playing, preload: true, controls: false, fit: "both", theme: "asciinema", startAt, speed, idleTimeLimit: limit, keystrokeOverlay: false });
    player.current = made;
    at.current.limit = limit;
    const set = (on: boolean) => {
      at.current.playing = on;
      setPlaying(on);
    };
    made.addEventListener("playing", () => set(true));
    made.addEventListener("pause", () => set(false));
    made.addEventListener("ended", () => set(false));
    const timer = setInterval(() => {
      at.current.time = made.getCurrentTime() ?? 0;
      setNow(at.current.time);
      setLength(made.getDuration() ?? 0);
    }, 100);
    return () => {
      clearInterval(timer);
      at.current.time = made.getCurrentTime() ?? at.current.time;
      player.current = null;
      made.dispose();
    };
  }, [recording, speed, skip]);

  const seek = (time: number) => void player.current?.seek(Math.max(0, Math.min(time, player.current.getDuration() ?? 0)));
  const toggle = () => {
    if (playing) void player.current?.pause();
    else if (now >= length && length > 0) void player.current?.seek(0).then(() => player.current?.play());
    else void player.current?.play();
  };
  // Before asciinema-player sees them: its own keys open texts in English.
  const keys = useRef<(event: KeyboardEvent) => void>(() => undefined);
  keys.current = (event) => {
    const on = event.target;
    if (event.altKey || event.ctrlKey || event.metaKey || event.key === "Tab" || on instanceof HTMLInputElement || on instanceof HTMLSelectElement) return;
    if ((on instanceof HTMLButtonElement || on instanceof HTMLAnchorElement) && (event.key === " " || event.key === "Enter")) return;
    event.stopPropagation();
    const act = { " ": toggle, ArrowLeft: () => seek(now - STEP_S), ArrowRight: () => seek(now + STEP_S), Home: () => seek(0), End: () => seek(Infinity) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  useEffect(() => {
    const listener = (event: KeyboardEvent) => keys.current(event);
    document.addEventListener("keydown", listener, true);
    return () => document.removeEventListener("keydown", listener, true);
  }, []);
  return (
    <div class="play" ref={all}>
      <div class="play-screen" ref={box} />
      <div class="play-line">
        <Button kind="main slim" icon={playing ? "pause" : "play"} label={playing ? t("player.pause") : t("player.play")} onClick={toggle} />
        <input class="play-bar" type="range" min={0} max={Math.max(length, 0.1)} step={0.1} value={now} aria-label={t("player.position")} aria-valuetext={t("player.at", { now: duration(now * 1000), all: duration(length * 1000) })} onInput={(event) => seek(Number(event.currentTarget.value))} />
        <span class="num">
          {duration(now * 1000)} / {duration(length * 1000)}
        </span>
        <label class="play-choice">
          <span class="hidden">{t("player.speed")}</span>
          <select class="input" value={String(speed)} onChange={(event) => setSpeed(Number(event.currentTarget.value))}>
            {SPEEDS.map((one) => (
              <option key={one} value={String(one)}>
                {one}×
              </option>
            ))}
          </select>
        </label>
        <label class="play-choice">
          <input type="checkbox" checked={skip} onChange={(event) => setSkip(event.currentTarget.checked)} />
          {t("player.skip")}
        </label>
        <Button kind="ghost slim" icon="full" label={t("player.full")} onClick={() => (document.fullscreenElement ? document.exitFullscreen() : all.current?.requestFullscreen())} />
      </div>
    </div>
  );
}
