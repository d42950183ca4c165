// Sessions that run now: who, where, since when; to watch and to end.
import { useState } from "preact/hooks";
import { api, remove } from "../api";
import { context, site } from "../context";
import { Button, type Column, Dialog, Empty, Field, Head, Note, toast } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { Icon } from "../design/icons";
import { ago, dateTime, t } from "../i18n";
import { ListView, useList } from "../list";
import { useStore } from "../store";

export interface Channel {
  id: string;
  kind: string;
  command?: string;
  interactive: boolean;
  recorded: boolean;
  started: string;
  watchers: string[];
  kubernetes_pod_name?: string;
  kubernetes_pod_namespace?: string;
}

export interface Running {
  id: string;
  kind: "ssh" | "k8s";
  user: string;
  login: string;
  hostname: string;
  kubernetes_cluster_name?: string;
  addr: string;
  created: string;
  web: boolean;
  may_end: boolean;
  participantModes: string[];
  channels: Channel[];
}

export function runningPlace(one: Running): string {
  return one.kind === "k8s" ? (one.kubernetes_cluster_name ?? one.hostname) : `${one.login || "?"}@${one.hostname}`;
}

/** The session that has this channel, or nothing. */
export async function runningSession(channel: string, signal?: AbortSignal): Promise<Running | undefined> {
  const found = await api<{ items: Running[] }>("GET", site(`/sessions?search=${encodeURIComponent(channel)}`), undefined, signal);
  return found.items.find((one) => one.channels.some((each) => each.id === channel));
}

function what(channel: Channel): string {
  const pod = channel.kubernetes_pod_name ? `${channel.kubernetes_pod_namespace ?? ""}/${channel.kubernetes_pod_name}: ` : "";
  return pod + (channel.command ? channel.command.slice(0, 120) : t("recordings.shell"));
}

function EndDialog({ one, onClose }: { one: Running; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const attempt = useAttempt();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void attempt.go(async () => {
      await remove(site(`/sessions/${one.id}`), { reason: reason.trim() });
      toast(t("sessions.ended"));
      onClose();
    });
  };
  return (
    <Dialog title={t("sessions.end.ask", { user: one.user, place: runningPlace(one) })} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <p>{t("sessions.end.text")}</p>
        <Field label={t("sessions.reason")} hint={t("locks.message.hint")}>
          {(ids) => <input {...ids} class="input" value={reason} maxLength={160} onInput={(event) => setReason(event.currentTarget.value)} />}
        </Field>
        {attempt.error && <Note bad>{attempt.error}</Note>}
        <div class="actions">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" kind="bad main" busy={attempt.busy}>
            {t("sessions.end")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function SessionsPage() {
  const list = useList<Running>(site("/sessions"), 5000);
  const [ending, setEnding] = useState<Running | null>(null);
  const me = useStore(context)?.userName;
  const columns: Column<Running>[] = [
    {
      id: "user",
      title: t("recordings.person"),
      sort: true,
      cell: (one) => (
        <span>
          {one.user} {one.user === me && <span class="chip">{t("sessions.you")}</span>}
        </span>
      ),
    },
    {
      id: "where",
      title: t("recordings.where"),
      sort: true,
      cell: (one) => (
        <span class="row">
          <Icon name={one.kind === "k8s" ? "kube" : one.web ? "term" : "server"} />
          <span class="name">{runningPlace(one)}</span>
        </span>
      ),
    },
    {
      id: "what",
      title: t("recordings.what"),
      cell: (one) =>
        one.channels.length === 0 ? (
          <span class="quiet">{t("sessions.quiet")}</span>
        ) : (
          <div>
            {one.channels.slice(0, 5).map((channel) => (
              <div key={channel.id}>
                <code>{what(channel)}</code>
                {channel.watchers.length > 0 && (
                  <>
                    {" "}
                    <span class="chip warn">{t("sessions.watched", { names: channel.watchers.join(", ") })}</span>
                  </>
                )}
              </div>
            ))}
            {one.channels.length > 5 && <span class="quiet">{t("sessions.more", { count: one.channels.length - 5 })}</span>}
          </div>
        ),
    },
    { id: "from", title: t("sessions.from"), sort: true, cell: (one) => <span class="mono nowrap">{one.addr.replace(/:\d+$/, "")}</span> },
    {
      id: "started",
      title: t("sessions.since"),
      sort: true,
      cell: (one) => (
        <time class="num" dateTime={one.created} title={dateTime(one.created)}>
          {ago(one.created)}
        </time>
      ),
    },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (one) => {
        const watchable = one.channels.filter((channel) => channel.recorded);
        return (
          <>
            {one.participantModes.includes("observer") && one.channels.length > 0 && watchable.length === 0 && <span class="quiet small">{t("recordings.off")}</span>}
            {one.participantModes.includes("observer") &&
              watchable.slice(0, 5).map((channel) => (
                <a key={channel.id} class="button slim" href={`/web/player/${channel.id}?live=1`} target="_blank" rel="noopener" aria-label={t("sessions.watch.what", { user: one.user, what: what(channel) })}>
                  <Icon name="live" />
                  {t("sessions.watch")}
                </a>
              ))}
            {one.may_end && (
              <Button kind="slim" onClick={() => setEnding(one)}>
                {t("sessions.end")}
              </Button>
            )}
          </>
        );
      },
    },
  ];
  return (
    <>
      <Head title={t("menu.sessions")} text={t("sessions.text")} />
      <ListView list={list} label={t("menu.sessions")} search={t("sessions.search")} columns={columns} keyOf={(one) => one.id} sort="started:desc" empty={<Empty title={t("sessions.empty")} text={t("sessions.empty.text")} />} />
      {ending && <EndDialog one={ending} onClose={() => (setEnding(null), list.reload())} />}
    </>
  );
}
