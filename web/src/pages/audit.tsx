// The audit log: a sentence for each event, the JSON behind it, and how far the log is proven.
import { useEffect, useState } from "preact/hooks";
import { api, save } from "../api";
import { site } from "../context";
import { Button, type Column, Dialog, Empty, Failed, Field, Head, Note, Search, Table } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { dateTime, dayStart, has, type Key, keysUnder, t } from "../i18n";
import { Pages } from "../list";
import { setQuery, usePlace } from "../router";
import { plain } from "../text";

export interface Event {
  event: string;
  code: string;
  time: string;
  uid: string;
  [name: string]: unknown;
}

const PAGE = 50;

/** The types that there are sentences for; one without is filtered by a click on it. */
const types = keysUnder("event.").filter((name) => !/^(system|other|target\..*|.*\.(nologin|nouser))$/.test(name)).sort();
const EXPORT_MAX = 200000; // what a browser holds without pain

function text(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map(text).join(", ");
  return plain(typeof value === "object" ? JSON.stringify(value) : String(value));
}

/** What a lock is about: {user: "bob"} as "user bob". */
function target(value: unknown): string {
  if (typeof value !== "object" || value === null) return text(value);
  return Object.entries(value)
    .map(([kind, name]) => (has(`event.target.${kind}`) ? t(`event.target.${kind}` as Key, { name: text(name) }) : `${kind} ${text(name)}`))
    .join(", ");
}

/** A type as words that lines may be broken between, never within. */
function Type({ name }: { name: string }) {
  return <>{name.split(/(?<=[._])/).flatMap((part, i) => (i > 0 ? [<wbr />, part] : [part]))}</>;
}

/** One sentence; names come from the event's members. */
export function sentence(event: Event): string {
  const failed = event["success"] === false || /W$|E$/.test(event.code ?? "");
  const key = `event.${event.event}`;
  // Who signed a host's certificate by hand is not the one it is for.
  const who = event["cert_type"] === "host" ? "" : text(event["user"]) || text(event["impersonator"]);
  const without = !who && has(`${key}.nouser`) ? ".nouser" : !text(event["login"]) && has(`${key}.nologin`) ? ".nologin" : "";
  const chosen = failed && has(`${key}.failed`) ? `${key}.failed` : key + without;
  const user = who || t("event.system");
  if (!has(chosen)) return t("event.other", { user, event: event.event });
  const values: Record<string, string> = {
    user,
    name: text(event["name"]) || text(event["node_name"]),
    login: text(event["login"]),
    server: text(event["server_hostname"]) || text(event["kubernetes_cluster"]) || text(event["server_id"]) || target(event["target"]) || text(event["name"]),
    command: text(event["command"]),
    path: text(event["path"]) || text(event["request_path"]),
    verb: text(event["verb"]),
    code: text(event["exitCode"]) || text(event["exit_code"]) || text(event["response_code"]),
    error: text(event["error"]) || text(event["reason"]) || text(event["message"]),
    roles: text(event["roles"]),
    target: target(event["target"]),
    device: text(event["mfa_device_name"]),
    addr: text(event["addr"]) || text(event["dst_addr"]),
    sid: text(event["sid"]),
  };
  // A reason that the event does not give leaves its colon behind.
  return t(chosen, values).replace(/:\s*$/, "");
}

export function AuditPage() {
  const { query } = usePlace();
  const [events, setEvents] = useState<Event[] | null>(null);
  const [of, setOf] = useState(""); // the address that the events are from
  const [turn, setTurn] = useState(0);
  const [next, setNext] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [shown, setShown] = useState<Event | null>(null);
  const [proof, setProof] = useState<{ checkpoint: string } | null>(null);
  const [exporting, setExporting] = useState(0);
  const filter = new URLSearchParams();
  if (query.get("search")) filter.set("search", query.get("search")!);
  const type = query.get("type") ?? "";
  if (type) filter.set("include", type);
  if (query.get("user")) filter.set("user", query.get("user")!);
  if (query.get("from")) filter.set("from", dayStart(query.get("from")!));
  if (query.get("to")) filter.set("to", dayStart(query.get("to")!, 1));
  const oldest = query.get("order") === "asc";
  filter.set("order", oldest ? "asc" : "desc");
  const start = query.get("start") ?? "";
  const url = site(`/events/search?limit=${PAGE}&${filter}${start ? `&startKey=${encodeURIComponent(start)}` : ""}`);
  useEffect(() => {
    const stop = new AbortController();
    api<{ events: Event[]; startKey: string }>("GET", url, undefined, stop.signal).then(
      (got) => {
        setError(null);
        setEvents(got.events);
        setNext(got.startKey);
        setOf(url);
      },
      (failed) => !stop.signal.aborted && setError(failed),
    );
    return () => stop.abort();
  }, [url, turn]);
  const stale = !!error && of !== url; // another page than the one that was asked for
  useEffect(() => {
    api<{ checkpoint: string }>("GET", site("/events/checkpoint")).then(setProof, () => undefined);
  }, []);
  const attempt = useAttempt();
  const [cut, setCut] = useState(false);
  /** The file is made when all of it is there, never of a part. */
  const exportAll = async () => {
    setCut(false);
    const parts: string[] = [];
    let from = "";
    let count = 0;
    do {
      const page = await api<{ events: Event[]; startKey: string }>("GET", site(`/events/search?limit=1000&${filter}${from ? `&startKey=${encodeURIComponent(from)}` : ""}`));
      parts.push(...page.events.map((event) => `${JSON.stringify(event)}\n`));
      count += page.events.length;
      setExporting(count);
      from = page.startKey;
    } while (from && count < EXPORT_MAX);
    setCut(!!from);
    save("audit.ndjson", "application/x-ndjson", parts);
  };
  const size = proof?.checkpoint.split("\n")[1];
  const columns: Column<Event>[] = [
    { id: "type", title: t("audit.type"), cell: (event) => <button type="button" class="tag type" onClick={() => setQuery({ type: event.event, start: "" })}><span><Type name={event.event} /></span></button> },
    { id: "person", title: t("recordings.person"), cell: (event) => typeof event["user"] === "string" && event["user"] ? <button type="button" class="tag cut" title={plain(event["user"])} onClick={() => setQuery({ user: String(event["user"]), start: "" })}><span>{plain(event["user"])}</span></button> : "" },
    { id: "text", title: t("audit.what"), cell: (event) => <span>{sentence(event)}</span> },
    { id: "time", title: t("audit.time"), sort: true, cell: (event) => <time class="num" dateTime={event.time}>{dateTime(event.time)}</time> },
    { id: "more", title: t("audit.details"), end: true, cell: (event) => <Button kind="slim" onClick={() => setShown(event)}>{t("audit.details")}</Button> },
  ];
  const day = (name: "from" | "to") => <Field label={t(`audit.${name}`)}>{(ids) => <input {...ids} class="input" type="date" value={query.get(name) ?? ""} onChange={(event) => setQuery({ [name]: event.currentTarget.value, start: "" })} />}</Field>;
  return (
    <>
      <Head title={t("menu.audit")} text={size ? t("audit.proof", { size }) : undefined}>
        <Button busy={attempt.busy} onClick={() => void attempt.go(exportAll).finally(() => setExporting(0))}>{exporting ? t("audit.exporting", { count: exporting }) : t("audit.export")}</Button>
      </Head>
      <div class="tools">
        <Search value={query.get("search") ?? ""} label={t("audit.search")} onChange={(search) => setQuery({ search, start: "" }, true)} />
        <div class="row days">
          <Field label={t("audit.type")}>
            {(ids) => (
              <select {...ids} class="input" value={type} onChange={(event) => setQuery({ type: event.currentTarget.value, start: "" })}>
                <option value="">{t("audit.type.all")}</option>
                {(type && !types.includes(type) ? [type, ...types] : types).map((name) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          </Field>
        </div>
        <div class="row days">
          {day("from")}
          {day("to")}
        </div>
        {query.get("user") && (
          <button type="button" class="tag on" aria-label={t("list.unfilter", { label: query.get("user")! })} onClick={() => setQuery({ user: "", start: "" })}>
            {plain(query.get("user")!)} ×
          </button>
        )}
      </div>
      {error ? <Failed error={error} again={() => setTurn((n) => n + 1)} /> : null}
      {attempt.error && <Note bad>{attempt.error}</Note>}
      {cut && <Note warn>{t("audit.export.cut", { count: EXPORT_MAX })}</Note>}
      {stale ? null : events?.length === 0 ? (
        <Empty title={t("list.nothing")} text={t("list.nothing.text")}>
          <Button onClick={() => setQuery({ search: "", type: "", user: "", from: "", to: "", start: "" })}>{t("list.clear")}</Button>
        </Empty>
      ) : events || !error ? <Table label={t("menu.audit")} columns={columns} items={events} keyOf={(event) => event.uid} sort={oldest ? "time:asc" : "time:desc"} onSort={() => setQuery({ order: oldest ? "" : "asc", start: "" })} /> : null}
      <Pages next={next} stale={stale} />
      {shown && (
        <Dialog wide title={shown.event} onClose={() => setShown(null)}>
          <p>{sentence(shown)}</p>
          <pre class="json" tabIndex={0} aria-label={t("audit.details")}>{JSON.stringify(shown, null, 2)}</pre>
        </Dialog>
      )}
    </>
  );
}
