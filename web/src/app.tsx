// The frame: who is signed in, the menu, and the page that the address names.
import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { act, idleFor, leaving, untold } from "./activity";
import { api, session, setSession, signOut } from "./api";
import { acl, type Context, context } from "./context";
import { Icon, type IconName } from "./design/icons";
import { Button, Empty, Note, Pop, sayError, Toasts, toastError } from "./design/parts";
import { type Key, language, setLanguage, t, useLanguage } from "./i18n";
import { go, useLinks, usePlace } from "./router";
import { KubernetesPage } from "./pages/kubernetes";
import { ServersPage } from "./pages/servers";
import { SignInPage } from "./pages/signin";
import { useStore } from "./store";
import { setTheme, theme } from "./theme";

interface Entry {
  page: string;
  title: Key;
  icon: IconName;
  kind?: string; // of userAcl; shown when it may be listed or read
  group: Key;
  apart?: boolean; // reached from elsewhere than the menu
  load: () => Promise<ComponentType> | ComponentType;
}

// Loaded when opened.
const users = () => import("./pages/users").then((part) => part.UsersPage);
const roles = () => import("./pages/roles").then((part) => part.RolesPage);
const tokens = () => import("./pages/tokens").then((part) => part.TokensPage);
const locks = () => import("./pages/locks").then((part) => part.LocksPage);
const account = () => import("./pages/account").then((part) => part.AccountPage);
const sessions = () => import("./pages/sessions").then((part) => part.SessionsPage);
const recordings = () => import("./pages/recordings").then((part) => part.RecordingsPage);
const audit = () => import("./pages/audit").then((part) => part.AuditPage);
const player = () => import("./pages/player").then((part) => part.PlayerPage);
const terminal = () => import("./pages/terminal").then((part) => part.TerminalPage);

const entries: Entry[] = [
  { page: "servers", title: "menu.servers", icon: "server", kind: "nodes", group: "menu.resources", load: () => ServersPage },
  { page: "kubernetes", title: "menu.kubernetes", icon: "kube", kind: "kubeServers", group: "menu.resources", load: () => KubernetesPage },
  { page: "users", title: "menu.users", icon: "user", kind: "users", group: "menu.team", load: users },
  { page: "roles", title: "menu.roles", icon: "role", kind: "roles", group: "menu.team", load: roles },
  { page: "tokens", title: "menu.tokens", icon: "token", kind: "tokens", group: "menu.team", load: tokens },
  { page: "locks", title: "menu.locks", icon: "lock", kind: "locks", group: "menu.team", load: locks },
  { page: "sessions", title: "menu.sessions", icon: "live", kind: "activeSessions", group: "menu.activity", load: sessions },
  { page: "recordings", title: "menu.recordings", icon: "record", kind: "recordedSessions", group: "menu.activity", load: recordings },
  { page: "audit", title: "menu.audit", icon: "audit", kind: "events", group: "menu.activity", load: audit },
  { page: "account", title: "menu.account", icon: "account", group: "menu.team", apart: true, load: account },
];

function visible(entry: Entry): boolean {
  return !entry.kind || acl(entry.kind).list || acl(entry.kind).read;
}

/** Parts that are loaded when first opened. */
function Lazy({ load }: { load: Entry["load"] }) {
  const [Page, setPage] = useState<ComponentType | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let over = false;
    Promise.resolve(load()).then(
      (page) => !over && setPage(() => page),
      (failed) => !over && setError(failed),
    );
    return () => void (over = true);
  }, [load]);
  if (error) return <Note bad>{t("error.offline")}</Note>;
  return Page ? <Page /> : <div class="bone" role="status" aria-label={t("loading")} />;
}

function Menu({ page, onGo }: { page: string; onGo: () => void }) {
  const shown = entries.filter((entry) => !entry.apart && visible(entry));
  const groups = [...new Set(shown.map((entry) => entry.group))];
  return (
    <nav class="nav" aria-label={t("menu.title")}>
      {groups.map((group) => (
        <div key={group}>
          <h2>{t(group)}</h2>
          {shown
            .filter((entry) => entry.group === group)
            .map((entry) => (
              <a key={entry.page} href={`/web/${entry.page}`} aria-current={entry.page === page ? "page" : undefined} onClick={onGo}>
                <Icon name={entry.icon} />
                {t(entry.title)}
              </a>
            ))}
        </div>
      ))}
    </nav>
  );
}

export function Choices() {
  return (
    <>
      <div class="quiet small">{t("menu.language")}</div>
      {(["en", "ko"] as const).map((one) => (
        <button key={one} type="button" class="item" lang={one} aria-pressed={language.get() === one} onClick={() => setLanguage(one)}>
          <span class="grow">{one === "en" ? "English" : "한국어"}</span>
          {language.get() === one && <Icon name="check" />}
        </button>
      ))}
      <div class="quiet small">{t("menu.theme")}</div>
      {(["auto", "light", "dark"] as const).map((one) => (
        <button key={one} type="button" class="item" aria-pressed={theme.get() === one} onClick={() => setTheme(one)}>
          <span class="grow">{t(`theme.${one}`)}</span>
          {theme.get() === one && <Icon name="check" />}
        </button>
      ))}
    </>
  );
}

function Frame() {
  const { page } = usePlace();
  const kept = useStore(context)!;
  const [open, setOpen] = useState(false);
  const content = useRef<HTMLElement>(null);
  const before = useRef(page);
  useStore(theme);
  const entry = entries.find((one) => one.page === page);
  useEffect(() => {
    if (page === "" || page === "login") go(`/web/${(entries.find(visible) ?? entries[0]!).page}`, true);
    if (before.current !== page) content.current?.focus();
    before.current = page;
    setOpen(false);
  }, [page]);
  return (
    <div class="frame" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <a class="skip" href="#content">
        {t("menu.skip")}
      </a>
      <header class="top">
        <button type="button" class="button ghost only" aria-label={t("menu.open")} aria-expanded={open} onClick={() => setOpen(!open)}>
          <Icon name={open ? "close" : "menu"} />
        </button>
        <a class="brand grow" href="/web">
          <span class="mark" aria-hidden="true" />
          tport
        </a>
      </header>
      <aside class={open ? "side open" : "side"} aria-label={t("menu.title")}>
        <div class="row">
          <a class="brand grow" href="/web">
            <span class="mark" aria-hidden="true" />
            <span>
              tport<small>{kept.cluster.name}</small>
            </span>
          </a>
          {open && <Button kind="ghost" icon="close" label={t("close")} onClick={() => setOpen(false)} />}
        </div>
        <Menu page={page} onGo={() => setOpen(false)} />
        <div class="side-end">
          <Pop label={kept.userName} kind="who" icon="user">
            {(close) => (
              <>
                <Choices />
                <div class="quiet small">{kept.userName}</div>
                <a class="item" href="/web/account" onClick={close}>
                  <Icon name="account" />
                  {t("menu.account")}
                </a>
                <button type="button" class="item" onClick={() => signOut().catch(toastError)}>
                  <Icon name="out" />
                  {t("menu.signout")}
                </button>
              </>
            )}
          </Pop>
        </div>
      </aside>
      <main class="content" id="content" tabIndex={-1} ref={content}>
        <Motd text={kept.motd} />
        {entry ? visible(entry) ? <Lazy key={entry.page} load={entry.load} /> : <Empty title={t("page.denied")} text={t("page.denied.text")} /> : page && <Empty title={t("page.unknown")} text={t("page.unknown.text")}><a class="button" href="/web">{t("page.unknown.home")}</a></Empty>}
      </main>
    </div>
  );
}

const READ = "tport.motd";

/** The message of the day, until it is closed; another one comes again. */
function Motd({ text }: { text: string }) {
  const [read, setRead] = useState(localStorage.getItem(READ) ?? "");
  if (!text || text === read) return null;
  return (
    <div class="motd">
      <span class="grow">{text}</span>
      <Button
        kind="ghost slim"
        icon="close"
        label={t("motd.close")}
        onClick={() => {
          localStorage.setItem(READ, text);
          setRead(text);
        }}
      />
    </div>
  );
}

/** Signs out who has left, and asks before: any key or click is an answer. The server has the same limit. */
function Leaving({ limit }: { limit: number }) {
  const asked = useStore(leaving);
  useEffect(() => {
    if (!limit) return;
    const timer = setInterval(() => {
      const left = limit - idleFor();
      if (untold(Math.min(20000, limit / 4))) api("GET", "/webapi/sessions/web").catch(() => undefined);
      if (left <= 0) signOut("idle").catch(() => undefined);
      else leaving.set(left < Math.min(60000, limit / 2));
    }, 1000);
    return () => {
      clearInterval(timer);
      leaving.set(false);
    };
  }, [limit]);
  if (!asked) return null;
  return (
    <div class="leaving" role="alert">
      <span class="grow">{t("idle.ask")}</span>
      <Button kind="slim main" onClick={act}>
        {t("idle.stay")}
      </Button>
    </div>
  );
}

/** Asks who we are before the first page is drawn. */
function SignedIn() {
  const kept = useStore(context);
  const { page } = usePlace();
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    const load = async () => {
      const found = await api<{ cluster_name: string }>("GET", "/webapi/find", undefined, stop.signal);
      context.set(await api<Context>("GET", `/webapi/sites/${encodeURIComponent(found.cluster_name)}/context`, undefined, stop.signal));
      setError(null);
    };
    load().catch((failed) => !stop.signal.aborted && setError(failed));
    // Rights change while a page is open; the menu follows within a minute, the server at once.
    const timer = setInterval(() => document.visibilityState === "visible" && load().catch(() => undefined), 60000);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [turn]);
  // Shells and recordings have the window for themselves.
  if (kept)
    return (
      <>
        {page === "terminal" ? <Lazy load={terminal} /> : page === "player" ? <Lazy load={player} /> : <Frame />}
        <Leaving limit={kept.idleTimeout} />
      </>
    );
  if (error)
    return (
      <div class="door">
        <main>
          <Note bad>{sayError(error)}</Note>
          <div class="row">
            <Button onClick={() => setTurn(turn + 1)}>{t("retry")}</Button>
            <Button onClick={() => setSession(null)}>{t("menu.signout")}</Button>
          </div>
        </main>
      </div>
    );
  return <div class="door" aria-busy="true" />;
}

export function App() {
  useLinks();
  useLanguage();
  const kept = useStore(session);
  useEffect(() => {
    if (!kept) context.set(null);
  }, [kept]);
  useEffect(() => {
    if (!kept) return;
    const timer = setTimeout(() => setSession(null, "ended"), Math.min(kept.expires - Date.now(), 0x7fffffff));
    return () => clearTimeout(timer);
  }, [kept]);
  return (
    <>
      {kept ? <SignedIn key={kept.token} /> : <SignInPage />}
      <Toasts />
    </>
  );
}
