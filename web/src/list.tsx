// Lists that the server searches, sorts and pages; their state is the query of the address.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "./api";
import { type Column, Empty, Failed, type Label, Search, Table } from "./design/parts";
import { Button } from "./design/parts";
import { t } from "./i18n";
import { setQuery, usePlace } from "./router";

const PAGE = 50;

/** label filters of the address: label=env%3Ddev, several times */
export function labelsOf(query: URLSearchParams): Label[] {
  return (query.get("labels") ?? "")
    .split("\n")
    .filter(Boolean)
    .map((text) => ({ name: text.slice(0, text.indexOf("=")), value: text.slice(text.indexOf("=") + 1) }));
}

export function toggleLabel(query: URLSearchParams, label: Label): void {
  const all = labelsOf(query);
  const left = all.filter((one) => one.name !== label.name || one.value !== label.value);
  const next = left.length < all.length ? left : [...left, label];
  setQuery({ labels: next.map((one) => `${one.name}=${one.value}`).join("\n"), start: "" });
}

function predicate(labels: Label[]): string {
  const quote = (text: string) => `"${text.replace(/[\\"]/g, "\\$&")}"`;
  return labels.map((one) => `labels[${quote(one.name)}] == ${quote(one.value)}`).join(" && ");
}

interface Page<T> {
  items?: T[];
  events?: T[]; // lists of what has happened
  startKey: string;
  totalCount?: number;
}

export interface ListState<T> {
  items: T[] | null;
  total: number | undefined;
  next: string;
  error: unknown;
  reload: () => void;
  query: URLSearchParams;
}

/** All items, page by page: for choices, not for tables. */
export async function allPages<T>(path: string): Promise<T[]> {
  const all: T[] = [];
  let start = "";
  do {
    const got = await api<Page<T>>("GET", `${path}?limit=1000${start && `&startKey=${encodeURIComponent(start)}`}`);
    all.push(...(got.items ?? []));
    start = got.startKey;
  } while (start);
  return all;
}

/** Asks path for one page, again when the address or the path changes, and every `every` ms while the tab is seen. more: further
 * values of the query, "" for none. Labels go as a predicate to lists of what is reached by labels, else as a map. */
export function useList<T>(path: string, every = 0, more: Record<string, string> = {}, reached = true): ListState<T> {
  const { query } = usePlace();
  const [page, setPage] = useState<{ of: string; url: string; page: Page<T> } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  const asked = new URLSearchParams();
  asked.set("limit", String(PAGE));
  if (query.get("search")) asked.set("search", query.get("search")!);
  if (query.get("sort")) asked.set("sort", query.get("sort")!);
  if (query.get("start")) asked.set("startKey", query.get("start")!);
  const labels = labelsOf(query);
  if (labels.length > 0 && reached) asked.set("query", predicate(labels));
  else if (labels.length > 0) asked.set("labels", JSON.stringify(Object.fromEntries(labels.map((one) => [one.name, one.value]))));
  for (const [name, value] of Object.entries(more)) if (value) asked.set(name, value);
  const url = `${path}?${asked}`;
  useEffect(() => {
    const stop = new AbortController();
    // A page of which the server looked at much and found nothing leads to the next one.
    const load = async () => {
      let got = await api<Page<T>>("GET", url, undefined, stop.signal);
      while ((got.items ?? got.events ?? []).length === 0 && got.startKey) {
        asked.set("startKey", got.startKey);
        got = await api<Page<T>>("GET", `${path}?${asked}`, undefined, stop.signal);
      }
      return got;
    };
    load().then(
      (got) => {
        setError(null);
        setPage({ of: path, url, page: got });
      },
      (failed) => !stop.signal.aborted && setError(failed),
    );
    return () => stop.abort();
  }, [url, turn]);
  useEffect(() => {
    if (!every) return;
    const timer = setInterval(() => document.visibilityState === "visible" && setTurn((n) => n + 1), every);
    return () => clearInterval(timer);
  }, [every]);
  // Until another page is there the last one stays; when it cannot come, what stands there must be what was asked for.
  const shown = page?.of === path && (page.url === url || !error) ? page.page : null;
  return { items: shown?.items ?? shown?.events ?? null, total: shown?.totalCount, next: shown?.startKey ?? "", error, reload: () => setTurn((n) => n + 1), query };
}

/** To the next page and back. The address has where the page begins; what stood before it is known of the pages gone through here,
 * by the browser's own back button too. */
export function Pages({ next, stale }: { next: string; stale?: boolean }) {
  const { query } = usePlace();
  const start = query.get("start") ?? "";
  const way = useRef<string[]>([""]);
  const at = way.current.indexOf(start);
  if (!start && !next) return null;
  return (
    <div class="pages">
      <Button disabled={!start} onClick={() => setQuery({ start: way.current[at - 1] ?? "" })}>
        {t("list.previous")}
      </Button>
      <Button
        disabled={!next || stale}
        onClick={() => {
          way.current = [...(at < 0 ? ["", start] : way.current.slice(0, at + 1)), next];
          setQuery({ start: next });
        }}
      >
        {t("list.next")}
      </Button>
    </div>
  );
}

export function ListView<T>(props: {
  list: ListState<T>;
  label: string;
  search: string;
  columns: Column<T>[];
  keyOf: (item: T) => string;
  empty: ComponentChildren;
  tools?: ComponentChildren;
  sort?: string;
}) {
  const { list } = props;
  const labels = labelsOf(list.query);
  const filtered = labels.length > 0 || !!list.query.get("search");
  return (
    <>
      <div class="tools">
        <Search value={list.query.get("search") ?? ""} label={props.search} onChange={(search) => setQuery({ search, start: "" }, true)} />
        {labels.map((label) => (
          <button key={`${label.name}=${label.value}`} type="button" class="tag on" onClick={() => toggleLabel(list.query, label)} aria-label={t("list.unfilter", { label: `${label.name}=${label.value}` })}>
            {label.name}={label.value} ×
          </button>
        ))}
        {props.tools}
        <span class="count" aria-live="polite">
          {list.items && list.total !== undefined ? t("list.count", { shown: list.items.length, total: list.total }) : ""}
        </span>
      </div>
      {list.error ? <Failed error={list.error} again={list.reload} /> : null}
      {list.items && list.items.length === 0 ? (
        filtered ? (
          <Empty title={t("list.nothing")} text={t("list.nothing.text")}>
            <Button onClick={() => setQuery({ search: "", labels: "", start: "" })}>{t("list.clear")}</Button>
          </Empty>
        ) : (
          props.empty
        )
      ) : list.items || !list.error ? (
        <Table label={props.label} columns={props.columns} items={list.items} keyOf={props.keyOf} sort={list.query.get("sort") ?? props.sort} onSort={(sort) => setQuery({ sort, start: "" })} />
      ) : null}
      <Pages next={list.next} />
    </>
  );
}

/** A short list that comes whole (the devices and sign-ins of one person). */
export function useWhole<T>(load: (signal: AbortSignal) => Promise<T[]>, every = 0): { items: T[] | null; error: unknown; reload: () => void } {
  const [items, setItems] = useState<T[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    load(stop.signal).then(
      (got) => {
        setError(null);
        setItems(got);
      },
      (failed) => !stop.signal.aborted && setError(failed),
    );
    return () => stop.abort();
  }, [turn]);
  useEffect(() => {
    if (!every) return;
    const timer = setInterval(() => document.visibilityState === "visible" && setTurn((n) => n + 1), every);
    return () => clearInterval(timer);
  }, [every]);
  return { items, error, reload: () => setTurn((n) => n + 1) };
}
