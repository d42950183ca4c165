// Shells in tabs: /web/terminal/SERVER?login=LOGIN.
import "../styles";
import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { type ITheme, Terminal } from "@xterm/xterm";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useUse } from "../activity";
import { api } from "../api";
import { site } from "../context";
import { asSentence, Button, copy, Pop, toastError } from "../design/parts";
import { Icon } from "../design/icons";
import { t } from "../i18n";
import { usePlace } from "../router";
import { CodeForm } from "../term/code";
import { FilesDialog } from "../term/files";
import { type State, Wire } from "../term/wire";
import { plain } from "../text";
import type { Server } from "./servers";

const SCROLLBACK = 10000;
const FONT = "tport.font";
const encoder = new TextEncoder();

interface Tab {
  id: number;
  server: string;
  login: string;
  title: string;
}

function fontSize(): number {
  const kept = Number(localStorage.getItem(FONT));
  return kept >= 8 && kept <= 32 ? kept : 14;
}

/** Those of the page; what a program paints is kept legible on them (minimumContrastRatio). */
function colours(): ITheme {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return { background: of("--surface"), foreground: of("--ink"), cursor: of("--accent"), cursorAccent: of("--surface"), selectionBackground: `${of("--accent")}55` };
}

function Shell({ tab, shown, onTitle, bar }: { tab: Tab; shown: boolean; onTitle: (title: string) => void; bar: () => void }) {
  const screen = useRef<HTMLDivElement>(null);
  const parts = useRef<{ term: Terminal; fit: FitAddon; search: SearchAddon; wire: Wire | null } | null>(null);
  const [state, setState] = useState<State>("connecting");
  const [message, setMessage] = useState("");
  const [finding, setFinding] = useState(false);
  const [nowhere, setNowhere] = useState(false); // what is looked for
  const [files, setFiles] = useState(false);
  const [watched, setWatched] = useState<{ names: string[]; count: number }>({ names: [], count: 0 });
  const [turn, setTurn] = useState(0);
  const find = useRef<HTMLInputElement>(null);
  const used = useRef(false);

  useLayoutEffect(() => {
    const term = new Terminal({
      scrollback: SCROLLBACK,
      fontSize: fontSize(),
      // A line cuts what stands out of it: without this a low underscore is not seen in fonts such as DejaVu Sans Mono.
      lineHeight: 1.1,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      cursorBlink: false,
      minimumContrastRatio: 4.5,
      // Links that a program writes open with Ctrl only, in a page of their own, and only to the web.
      linkHandler: { activate: (event, uri) => void (event.ctrlKey && /^https?:\/\//.test(uri) && window.open(uri, "_blank", "noopener,noreferrer")) },
      theme: colours(),
    });
    const fit = new FitAddon();
    const search = new SearchAddon();
    term.loadAddon(fit);
    term.loadAddon(search);
    term.open(screen.current!);
    term.textarea?.setAttribute("aria-label", t("term.input"));
    parts.current = { term, fit, search, wire: null };
    term.onData((text) => void parts.current?.wire?.input(encoder.encode(text)));
    term.onBinary((text) => void parts.current?.wire?.input(Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff)));
    term.onResize(({ cols, rows }) => parts.current?.wire?.resize(cols, rows));
    term.attachCustomKeyEventHandler((event) => {
      if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
      const act = { KeyC: () => void copy(term.getSelection()), KeyF: () => setFinding(true), KeyM: bar, Equal: () => resizeFont(1), Minus: () => resizeFont(-1) }[event.code];
      if (!act || (event.code === "KeyC" && !term.hasSelection())) return true;
      event.preventDefault();
      act();
      return false;
    });
    const watch = new ResizeObserver(() => screen.current?.offsetParent && fit.fit());
    watch.observe(screen.current!);
    const system = matchMedia("(prefers-color-scheme: dark)");
    const paint = () => void (term.options.theme = colours());
    system.addEventListener("change", paint);
    return () => {
      system.removeEventListener("change", paint);
      watch.disconnect();
      parts.current?.wire?.close();
      term.dispose();
      parts.current = null;
    };
  }, []);

  useEffect(() => {
    const { term, fit } = parts.current!;
    fit.fit();
    // What the last shell's program may have left: another screen, colours, modes. Its output stays.
    if (used.current) term.write("\x1b[?1049l\x1b[!p\r\n");
    const wire = new Wire(tab.server, tab.login, { w: term.cols, h: term.rows }, {
      onMeta: (meta) => {
        used.current = true;
        parts.current?.term.focus();
        onTitle(`${meta.login}@${meta.server_hostname}`);
        parts.current?.wire?.resize(term.cols, term.rows);
      },
      onData: (data, done) => term.write(data, done),
      onState: (next, text) => {
        setState(next);
        setMessage(text === "lost" || text === "gone" || text === "signin" ? t(`term.${text}`) : text && t("term.said", { text: asSentence(text) }));
      },
      onWatched: (names, count) => setWatched({ names, count }),
      onExit: (code, signal) => {
        setState("over");
        setMessage(signal ? t("term.signal", { signal }) : t("term.exit", { code }));
      },
    });
    parts.current!.wire = wire;
    setWatched({ names: [], count: 0 });
    return () => wire.close();
  }, [turn]);

  useUse(state === "open");

  useEffect(() => {
    if (!shown) return;
    parts.current?.fit.fit();
    parts.current?.term.focus();
  }, [shown]);
  // At once: what is typed next is what to look for.
  useLayoutEffect(() => {
    if (finding) find.current?.focus();
  }, [finding]);

  const resizeFont = (by: number) => {
    const { term, fit } = parts.current!;
    term.options.fontSize = Math.max(8, Math.min(32, (term.options.fontSize ?? 14) + by));
    localStorage.setItem(FONT, String(term.options.fontSize));
    fit.fit();
  };
  const look = (way: "findPrevious" | "findNext") => {
    const text = find.current?.value ?? "";
    setNowhere(!parts.current?.search[way](text) && text !== "");
  };
  const stopFinding = () => {
    setFinding(false);
    setNowhere(false);
    parts.current?.search.clearDecorations();
    parts.current?.term.focus();
  };

  return (
    <div class="term" hidden={!shown} role="group" aria-label={tab.title}>
      {finding && (
        <form
          class="term-find"
          onSubmit={(event) => {
            event.preventDefault();
            look("findPrevious");
          }}
          onKeyDown={(event) => event.key === "Escape" && stopFinding()}
        >
          <input ref={find} class="input" type="search" aria-label={t("term.find")} placeholder={t("term.find")} onInput={() => look("findPrevious")} />
          <span class="nowrap" role="status">
            {nowhere && t("term.find.none")}
          </span>
          <Button kind="slim" icon="up" label={t("list.previous")} onClick={() => look("findPrevious")} />
          <Button kind="slim" icon="down" label={t("list.next")} onClick={() => look("findNext")} />
          <Button kind="ghost slim" icon="close" label={t("close")} onClick={stopFinding} />
        </form>
      )}
      <div class="term-screen" ref={screen} />
      {state === "code" && (
        <div key="code" class="term-code">
          <CodeForm opens={{ server_id: tab.server }} shown={shown} onDone={() => setTurn(turn + 1)} />
        </div>
      )}
      <div class="term-line" data-state={state}>
        <span class="grow" role="status">
          <span class={state === "open" ? "dot on" : "dot"} aria-hidden="true" />
          {state === "over" ? message || t("term.over") : t(`term.state.${state}`)}
        </span>
        {state === "open" && watched.count > 0 && (
          <span class="chip warn" role="status">
            <Icon name="live" />
            {watched.count > watched.names.length ? t("term.watched.more", { names: watched.names.map(plain).join(", "), count: watched.count - watched.names.length }) : t("term.watched", { names: watched.names.map(plain).join(", ") })}
          </span>
        )}
        {state === "over" && (
          <Button kind="slim main" onClick={() => setTurn(turn + 1)}>
            {t("term.again")}
          </Button>
        )}
        <span class="quiet nowrap">{t("term.keys")}</span>
        {/* The mouse leaves the focus in the shell: who makes its text larger goes on typing. */}
        <span class="term-tools" onMouseDown={(event) => event.preventDefault()}>
          <Button kind="ghost slim" icon="transfer" label={t("files.title")} onClick={() => setFiles(true)} />
          <Button kind="ghost slim" icon="search" label={t("term.find")} onClick={() => setFinding(true)} />
          <Button kind="ghost slim" label={t("term.smaller")} onClick={() => resizeFont(-1)}>
            A−
          </Button>
          <Button kind="ghost slim" label={t("term.bigger")} onClick={() => resizeFont(1)}>
            A+
          </Button>
        </span>
      </div>
      {files && <FilesDialog server={tab.server} login={tab.login} onClose={() => setFiles(false)} />}
    </div>
  );
}

function Chooser({ close, open }: { close: () => void; open: (server: Server, login: string) => void }) {
  const [servers, setServers] = useState<Server[]>([]);
  const [search, setSearch] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    api<{ items: Server[] }>("GET", site(`/nodes?limit=20&search=${encodeURIComponent(search)}`), undefined, stop.signal).then(
      (got) => setServers(got.items),
      (error) => !stop.signal.aborted && toastError(error),
    );
    return () => stop.abort();
  }, [search]);
  return (
    <>
      <input class="input" type="search" value={search} aria-label={t("servers.search")} placeholder={t("servers.search")} onInput={(event) => setSearch(event.currentTarget.value)} />
      {servers.flatMap((server) =>
        server.sshLogins.map((login) => (
          <button
            key={`${server.id} ${login}`}
            type="button"
            class="item mono"
            onClick={() => {
              open(server, login);
              close();
            }}
          >
            {login}@{server.hostname}
          </button>
        )),
      )}
    </>
  );
}

let lastTab = 0;

export function TerminalPage() {
  const place = usePlace();
  const [tabs, setTabs] = useState<Tab[]>(() => [{ id: ++lastTab, server: place.item, login: place.query.get("login") ?? "", title: `${place.query.get("login") ?? ""}@…` }]);
  const [on, setOn] = useState(lastTab);
  const bar = useRef<HTMLDivElement>(null);
  const current = tabs.find((tab) => tab.id === on);
  useEffect(() => {
    document.title = `${current?.title ?? t("term.title")} · tport`;
  }, [current?.title]);
  useEffect(() => {
    // Closing the window by mistake ends shells; the browser asks first.
    const ask = (event: BeforeUnloadEvent) => tabs.length > 0 && event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [tabs.length]);
  const add = (server: string, login: string, title: string) => {
    const id = ++lastTab;
    setTabs((all) => [...all, { id, server, login, title }]);
    setOn(id);
  };
  const drop = (id: number) => {
    const left = tabs.filter((tab) => tab.id !== id);
    setTabs(left);
    if (id === on) setOn(left[left.length - 1]?.id ?? 0);
  };
  return (
    <main class="terms">
      <h1 class="hidden">{t("term.title")}</h1>
      <div class="terms-bar" ref={bar}>
        <a class="brand" href="/web/servers" aria-label={t("menu.servers")}>
          <span class="mark" aria-hidden="true" />
        </a>
        <div class="tabs">
          {tabs.map((tab) => (
            <span key={tab.id} class="tab" data-on={tab.id === on}>
              <button type="button" aria-pressed={tab.id === on} class="mono" onClick={() => setOn(tab.id)}>
                {tab.title}
              </button>
              <Button kind="ghost slim" icon="close" label={t("term.close", { title: tab.title })} onClick={() => drop(tab.id)} />
            </span>
          ))}
        </div>
        {current && <Button kind="ghost slim" icon="copy" label={t("term.duplicate")} onClick={() => add(current.server, current.login, current.title)} />}
        <Pop label={t("term.new")} kind="button ghost slim" icon="plus" only>
          {(close) => <Chooser close={close} open={(server, login) => add(server.id, login, `${login}@${server.hostname}`)} />}
        </Pop>
      </div>
      <div class="term-all">
        {tabs.map((tab) => (
          <Shell
            key={tab.id}
            tab={tab}
            shown={tab.id === on}
            bar={() => bar.current?.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus()}
            onTitle={(title) => setTabs((all) => all.map((one) => (one.id === tab.id ? { ...one, title: title || one.title } : one)))}
          />
        ))}
      </div>
    </main>
  );
}
