// Sessions that are over, newest first, and the way to their recordings.
import type { ComponentChildren } from "preact";
import { Button, type Column, Empty, Field, Head } from "../design/parts";
import { Icon } from "../design/icons";
import { site } from "../context";
import { bytes, dateMinute, dateTime, dayStart, duration, t } from "../i18n";
import { ListView, useList } from "../list";
import { setQuery, usePlace } from "../router";

export interface Ended {
  sid: string;
  user: string;
  login?: string;
  proto?: string;
  interactive: boolean;
  session_recording: string;
  session_start: string;
  session_stop: string;
  server_hostname?: string;
  kubernetes_cluster?: string;
  kubernetes_pod_namespace?: string;
  kubernetes_pod_name?: string;
  initial_command?: string[];
  size?: number;
}

/** root@host, or cluster/namespace/pod. */
export function place(one: Ended): string {
  if (one.kubernetes_cluster) return [one.kubernetes_cluster, one.kubernetes_pod_namespace, one.kubernetes_pod_name].filter(Boolean).join("/");
  return `${one.login ?? ""}@${one.server_hostname ?? ""}`;
}

const target = (one: Ended) => one.kubernetes_cluster ?? one.server_hostname ?? "";

function Filter({ name, value }: { name: string; value: string }) {
  return (
    <button type="button" class="tag on" aria-label={t("list.unfilter", { label: value })} onClick={() => setQuery({ [name]: "", start: "" })}>
      {value} ×
    </button>
  );
}

export function RecordingsPage() {
  const { query } = usePlace();
  const given = (name: string) => query.get(name) ?? "";
  const list = useList<Ended>(site("/events/search/sessions"), 30000, {
    from: given("from") && dayStart(given("from")),
    to: given("to") && dayStart(given("to"), 1),
    user: given("user"),
    hostname: given("host"),
  });
  const filtered = ["from", "to", "user", "host"].some((name) => given(name));
  const pick = (name: string, value: string, text: ComponentChildren, label?: string) => (
    <button type="button" class={label ? "tag" : "tag cut"} aria-label={label} title={label ?? value} onClick={() => setQuery({ [name]: value, start: "" })}>
      {text}
    </button>
  );
  const columns: Column<Ended>[] = [
    { id: "user", title: t("recordings.person"), sort: true, cell: (one) => pick("user", one.user, <span>{one.user}</span>) },
    {
      id: "where",
      title: t("recordings.where"),
      sort: true,
      cell: (one) => (
        <div class="tags">
          {pick(
            "host",
            target(one),
            <>
              <Icon name={one.kubernetes_cluster ? "kube" : "server"} />
              <span>{place(one).split(/(?<=\/)/).flatMap((part, i) => (i > 0 ? [<wbr />, part] : [part]))}</span>
            </>,
            `${place(one)}: ${t("recordings.only", { name: target(one) })}`,
          )}
        </div>
      ),
    },
    { id: "what", title: t("recordings.what"), cell: (one) => (one.initial_command?.[0] ? <code class="cmd" title={one.initial_command[0].slice(0, 1000)}>{one.initial_command[0].slice(0, 300)}</code> : <span class="quiet">{t("recordings.shell")}</span>) },
    { id: "started", title: t("recordings.started"), sort: true, cell: (one) => <time class="num" dateTime={one.session_start} title={dateTime(one.session_start)}>{dateMinute(one.session_start)}</time> },
    { id: "length", title: t("recordings.length"), sort: true, cell: (one) => <span class="num">{duration(new Date(one.session_stop).getTime() - new Date(one.session_start).getTime())}</span> },
    { id: "size", title: t("recordings.size"), sort: true, wide: true, cell: (one) => (one.session_recording === "off" ? "" : <span class="num">{bytes(one.size ?? 0)}</span>) },
    {
      id: "play",
      title: t("recordings.play"),
      end: true,
      cell: (one) =>
        one.session_recording === "off" ? (
          <span class="quiet small wrap">{t("recordings.off")}</span>
        ) : (
          <a class="button slim" href={`/web/player/${one.sid}`} target="_blank" rel="noopener">
            <Icon name="play" />
            {t("recordings.play")}
          </a>
        ),
    },
  ];
  const day = (name: "from" | "to") => <Field label={t(`audit.${name}`)}>{(ids) => <input {...ids} class="input" type="date" value={given(name)} onChange={(event) => setQuery({ [name]: event.currentTarget.value, start: "" })} />}</Field>;
  const clear = () => setQuery({ from: "", to: "", user: "", host: "", start: "" });
  return (
    <>
      <Head title={t("menu.recordings")} text={t("recordings.text")} />
      <ListView
        list={list}
        label={t("menu.recordings")}
        search={t("recordings.search")}
        columns={columns}
        keyOf={(one) => one.sid}
        sort="started:desc"
        tools={
          <>
            <div class="row days">
              {day("from")}
              {day("to")}
            </div>
            {given("user") && <Filter name="user" value={given("user")} />}
            {given("host") && <Filter name="host" value={given("host")} />}
          </>
        }
        empty={
          filtered ? (
            <Empty title={t("list.nothing")} text={t("list.nothing.text")}>
              <Button onClick={clear}>{t("list.clear")}</Button>
            </Empty>
          ) : (
            <Empty title={t("recordings.empty")} text={t("recordings.empty.text")} />
          )
        }
      />
    </>
  );
}
