// The parts that all pages are made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { has, t, useLanguage } from "../i18n";
import { store, useStore } from "../store";
import { plain } from "../text";
import { useAttempt } from "./attempt";
import { Icon, type IconName } from "./icons";

/** The server's sentences begin small and end without a stop, for use within a line. */
export function asSentence(said: string): string {
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

/** What to tell a person about a failure: what happened and what to do. The server's own sentences are English; other
 *  languages say what kind of failure it is and quote them. */
export function sayError(error: unknown): string {
  if (error instanceof ApiError) {
    if (error.status === 0) return t(error.code === "unsure" ? "error.unsure" : "error.offline");
    if (error.status === 429) return t("error.limit");
    if (error.status === 403 && !error.message) return t("error.denied");
    const key = `error.code.${error.code}`;
    if (!error.message) return has(key) ? t(key) : t("error.server", { status: error.status });
    const said = asSentence(plain(error.message.replace(/`([^`]*)`/g, '"$1"')));
    return t("error.said", { kind: t(has(key) ? key : "error.code.other"), text: said });
  }
  return t("error.page", { text: error instanceof Error ? error.message : String(error) });
}

/* Notices at the edge, read out by screen readers. */
interface Toast {
  id: number;
  text: string;
  bad: boolean;
}
const toasts = store<Toast[]>([]);
let lastToast = 0;

export function toast(text: string, bad = false): void {
  const id = ++lastToast;
  toasts.set([...toasts.get().slice(-3), { id, text, bad }]);
  setTimeout(() => dropToast(id), bad ? 12000 : 5000);
}

export function toastError(error: unknown): void {
  toast(sayError(error), true);
}

function dropToast(id: number): void {
  toasts.set(toasts.get().filter((one) => one.id !== id));
}

/* How many dialogs are open, one over the other. What is behind the uppermost can be neither read nor used, so it has the notices. */
const dialogs = store(0);

export function Toasts({ level = 0 }: { level?: number }) {
  useLanguage();
  const all = useStore(toasts);
  const top = useStore(dialogs);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {(top === level ? all : []).map((one) => (
        <div key={one.id} class={one.bad ? "toast bad" : "toast"}>
          <span class="grow">{one.text}</span>
          <button class="button ghost slim only" aria-label={t("close")} onClick={() => dropToast(one.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}

export function Button(props: { onClick?: () => void | Promise<unknown>; kind?: string; icon?: IconName; label?: string; type?: "button" | "submit"; disabled?: boolean; busy?: boolean; children?: ComponentChildren }) {
  const [busy, setBusy] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const click = async () => {
    const under = props.onClick?.();
    if (!(under instanceof Promise)) return;
    setBusy(true);
    try {
      await under;
    } catch (error) {
      toastError(error);
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  return (
    <button type={props.type ?? "button"} class={`button ${props.kind ?? ""}${props.children ? "" : " only"}`} disabled={props.disabled || busy || props.busy} aria-busy={busy || props.busy} aria-label={props.label} title={props.label} onClick={props.onClick ? click : undefined}>
      {props.icon && <Icon name={props.icon} />}
      {props.children}
    </button>
  );
}

/** A button that cannot be used now. It stays within reach of the keyboard, and tells why. */
export function CannotNow({ label, why }: { label: string; why: string }) {
  const id = useId();
  return (
    <>
      <button type="button" class="button slim" aria-disabled="true" aria-describedby={id} title={why} onClick={() => toast(why, true)}>
        {label}
      </button>
      <span id={id} class="hidden">
        {why}
      </span>
    </>
  );
}

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    toast(t("copy.refused"), true);
  }
}

const WORD = 40; // longer ones would not fit into a line

/** A command that people run, with its copy button. A line breaks between words, not after the dashes of an option. */
export function Command({ text, label }: { text: string; label?: string }) {
  return (
    <div class="command">
      <pre tabIndex={0} aria-label={label ?? t("command")}>
        <code>{text.split(/(\S+)/).map((part, n) => (n % 2 && part.length < WORD ? <span key={n}>{part}</span> : part))}</code>
      </pre>
      <Button kind="slim" icon="copy" label={t("copy")} onClick={() => copy(text)} />
    </div>
  );
}

export function Field(props: { label: string; hint?: string; error?: string; children: (ids: { id: string; "aria-describedby"?: string; "aria-invalid"?: boolean }) => ComponentChildren }) {
  const id = useId();
  const about = props.error || props.hint ? `${id}-about` : undefined;
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children({ id, "aria-describedby": about, "aria-invalid": props.error ? true : undefined })}
      {about && (
        <div class={props.error ? "note bad" : "hint"} id={about} role={props.error ? "alert" : undefined}>
          {props.error || props.hint}
        </div>
      )}
    </div>
  );
}

/** Where it stays open after onClose (it asks first), it does so even if the browser has closed it: a second Escape cannot be
 *  prevented when nothing was done since the first one. */
export function Dialog(props: { title: string; onClose: () => void; wide?: boolean; children: ComponentChildren }) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  const back = useRef<Element | null>(null);
  const [level, setLevel] = useState(0);
  useLayoutEffect(() => {
    back.current = document.activeElement;
    box.current?.showModal();
    dialogs.set(dialogs.get() + 1);
    setLevel(dialogs.get());
    return () => {
      dialogs.set(dialogs.get() - 1);
      if (back.current instanceof HTMLElement) back.current.focus();
    };
  }, []);
  return (
    <dialog ref={box} class={props.wide ? "dialog wide" : "dialog"} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); props.onClose(); }} onClose={() => box.current?.showModal()}>
      <header>
        <h2 id={id}>{props.title}</h2>
        <Button kind="ghost" icon="close" label={t("close")} onClick={props.onClose} />
      </header>
      <div class="dialog-body">{props.children}</div>
      {level > 0 && <Toasts level={level} />}
    </dialog>
  );
}

export function Confirm(props: { title: string; text: string; action: string; run: () => Promise<unknown>; onClose: () => void }) {
  const attempt = useAttempt();
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p>{props.text}</p>
      {attempt.error && <Note bad>{attempt.error}</Note>}
      <div class="actions">
        <Button onClick={props.onClose}>{t("cancel")}</Button>
        <Button
          kind="bad main"
          busy={attempt.busy}
          onClick={() =>
            void attempt.go(async () => {
              await props.run();
              props.onClose();
            })
          }
        >
          {props.action}
        </Button>
      </div>
    </Dialog>
  );
}

/** A button that opens a small list beside it. Escape and a click elsewhere close it. */
export function Pop(props: { label: string; kind?: string; icon?: IconName; only?: boolean; children: (close: () => void) => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const panel = box.current;
    const from = button.current;
    if (!open || !panel || !from) return;
    const place = from.getBoundingClientRect();
    panel.style.left = "0"; // as wide as it wants to be, not as the rest of the line allows
    const size = panel.getBoundingClientRect();
    panel.style.left = `${Math.max(8, Math.min(place.right - size.width, innerWidth - size.width - 8))}px`;
    panel.style.top = `${place.bottom + size.height + 8 > innerHeight && place.top > size.height + 8 ? place.top - size.height - 4 : place.bottom + 4}px`;
    panel.querySelector<HTMLElement>("button, a, input")?.focus();
    const close = (event: Event) => {
      if (!panel.contains(event.target as Node) && !from.contains(event.target as Node)) setOpen(false);
    };
    // The event of a scroll that was over before it opened comes late: what counts is whether the button has moved since.
    const top = from.getBoundingClientRect().top;
    const scrolled = (event: Event) => {
      if (!panel.contains(event.target as Node) && Math.abs(from.getBoundingClientRect().top - top) > 1) setOpen(false);
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("focusin", close);
    addEventListener("scroll", scrolled, true);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("focusin", close);
      removeEventListener("scroll", scrolled, true);
    };
  }, [open]);
  const keys = (event: KeyboardEvent) => {
    if (!open) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      setOpen(false);
      button.current?.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const items = [...(box.current?.querySelectorAll<HTMLElement>("button, a, input") ?? [])];
      const at = items.indexOf(document.activeElement as HTMLElement);
      event.preventDefault();
      items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length]?.focus();
    }
  };
  return (
    <span onKeyDown={keys}>
      <button ref={button} type="button" class={props.kind ?? "button slim"} aria-expanded={open} aria-controls={open ? id : undefined} aria-label={props.only ? props.label : undefined} onClick={() => setOpen(!open)}>
        {props.icon && <Icon name={props.icon} />}
        {!props.only && props.label}
        {!props.only && <Icon name="down" />}
      </button>
      {open && (
        <div ref={box} id={id} class="pop">
          {props.children(() => {
            setOpen(false);
            button.current?.focus();
          })}
        </div>
      )}
    </span>
  );
}

export function Tabs<T extends string>(props: { tabs: readonly (readonly [T, string])[]; on: T; set: (tab: T) => void; label: string }) {
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const at = props.tabs.findIndex(([name]) => name === props.on);
    props.set(props.tabs[(at + step + props.tabs.length) % props.tabs.length]![0]);
    const list = event.currentTarget as HTMLElement;
    requestAnimationFrame(() => list.querySelector<HTMLElement>('[aria-selected="true"]')?.focus());
  };
  return (
    <div class="tabs" role="tablist" aria-label={props.label} onKeyDown={keys}>
      {props.tabs.map(([name, text]) => (
        <button key={name} type="button" role="tab" aria-selected={name === props.on} tabIndex={name === props.on ? 0 : -1} onClick={() => props.set(name)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export function Note({ bad, warn, children }: { bad?: boolean; warn?: boolean; children: ComponentChildren }) {
  return (
    <div class={bad ? "note bad" : warn ? "note warn" : "note"} role={bad ? "alert" : undefined}>
      {children}
    </div>
  );
}

/** What could not be loaded, and a button that tries again. */
export function Failed({ error, again }: { error: unknown; again: () => void }) {
  return (
    <Note bad>
      <div class="row">
        <span class="grow">{sayError(error)}</span>
        <Button kind="slim" onClick={again}>
          {t("retry")}
        </Button>
      </div>
    </Note>
  );
}

export function Empty(props: { title: string; text?: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{props.title}</h2>
      {props.text && <p>{props.text}</p>}
      {props.children}
    </div>
  );
}

export interface Label {
  name: string;
  value: string;
}

export function Tags(props: { labels: Label[]; onPick?: (label: Label) => void; on?: (label: Label) => boolean }) {
  return (
    <div class="tags">
      {props.labels.map((label) => {
        const text = (
          <span>
            <i>{label.name}=</i>
            {plain(label.value)}
          </span>
        );
        const on = props.on?.(label);
        return props.onPick ? (
          <button key={label.name} type="button" class={on ? "tag on" : "tag"} aria-pressed={on ?? false} onClick={() => props.onPick?.(label)}>
            {text}
          </button>
        ) : (
          <span key={label.name} class="tag">
            {text}
          </span>
        );
      })}
    </div>
  );
}

export interface Column<T> {
  id: string;
  title: string;
  sort?: boolean;
  end?: boolean;
  wide?: boolean; // left out where a table gets narrow; phones, which have no table, show it
  cell: (item: T) => ComponentChildren;
}

export function Table<T>(props: { label: string; columns: Column<T>[]; items: T[] | null; keyOf: (item: T) => string; sort?: string; onSort?: (sort: string) => void }) {
  const [by, way] = (props.sort ?? "").split(":");
  const orders = props.onSort ? props.columns.filter((column) => column.sort) : [];
  return (
    <div class="scroll">
      {orders.length > 0 && (
        <label class="sort-by">
          {t("list.sort")}
          <select class="input" value={`${by}:${way === "desc" ? "desc" : "asc"}`} onChange={(event) => props.onSort?.(event.currentTarget.value)}>
            {orders.flatMap((column) =>
              (["asc", "desc"] as const).map((one) => (
                <option key={column.id + one} value={`${column.id}:${one}`}>
                  {column.title} {one === "asc" ? "↑" : "↓"}
                </option>
              )),
            )}
          </select>
        </label>
      )}
      <table class="table" aria-label={props.label} aria-busy={props.items === null}>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.id} scope="col" class={column.end ? "end" : column.wide ? "wide" : ""} aria-sort={column.sort ? (by === column.id ? (way === "desc" ? "descending" : "ascending") : "none") : undefined}>
                {column.sort && props.onSort ? (
                  <button type="button" class={by === column.id ? "sort on" : "sort"} onClick={() => props.onSort?.(`${column.id}:${by === column.id && way !== "desc" ? "desc" : "asc"}`)}>
                    {column.title}
                    <Icon name={by === column.id && way === "desc" ? "down" : "up"} />
                  </button>
                ) : column.end ? (
                  <span class="hidden">{column.title}</span>
                ) : (
                  column.title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.items === null
            ? [0, 1, 2, 3, 4].map((n) => (
                <tr key={n}>
                  {props.columns.map((column) => (
                    <td key={column.id}>{!column.end && <div class="bone" />}</td>
                  ))}
                </tr>
              ))
            : props.items.map((item) => (
                <tr key={props.keyOf(item)}>
                  {props.columns.map((column) => (
                    <td key={column.id} class={column.end ? "end" : column.wide ? "wide" : ""} data-label={column.end ? "" : column.title}>
                      {column.end ? <div class="row">{column.cell(item)}</div> : column.cell(item)}
                    </td>
                  ))}
                </tr>
              ))}
        </tbody>
      </table>
    </div>
  );
}

/** Typing waits a moment before it asks the server; the text itself never waits. */
export function Search(props: { value: string; label: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(props.value);
  const timer = useRef(0);
  const sent = useRef(props.value);
  useEffect(() => {
    if (props.value !== sent.current) {
      sent.current = props.value;
      setText(props.value);
    }
  }, [props.value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (event: JSX.TargetedEvent<HTMLInputElement>) => {
    const next = event.currentTarget.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current = next;
      props.onChange(next);
    }, 180);
  };
  return (
    <div class="search">
      <Icon name="search" />
      <input class="input" type="search" value={text} placeholder={props.label} aria-label={props.label} onInput={change} spellcheck={false} autocomplete="off" />
    </div>
  );
}

export function Head(props: { title: string; text?: string; children?: ComponentChildren }) {
  useEffect(() => {
    document.title = `${props.title} · tport`;
  }, [props.title]);
  return (
    <div class="head">
      <div>
        <h1>{props.title}</h1>
        {props.text && <p>{props.text}</p>}
      </div>
      <div class="row">{props.children}</div>
    </div>
  );
}
