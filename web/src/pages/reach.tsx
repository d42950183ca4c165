// Who can reach what: the panel beside a user and a role. The answers are those of "tportctl access explain".
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { site } from "../context";
import { Button, type Column, Dialog, Empty, Field, Note, sayError, Search, Table, Tabs } from "../design/parts";
import { has, type Key, t } from "../i18n";

export type Subject = { user: string } | { role: string };

interface Item {
  name: string;
  id: string;
  online: boolean;
  logins?: string[];
  users?: string[];
  groups?: string[];
}

interface Reach {
  items: Item[];
  total: number;
  locked?: string;
  users?: string[];
}

interface RoleAnswer {
  role: string;
  answer: "allow" | "deny" | "none";
  reason: string;
  detail: string;
}

interface Explanation {
  decision: "allow" | "deny";
  reason: string;
  role: string;
  detail: string;
  roles: RoleAnswer[];
}

type Kind = "node" | "kube_cluster";

function reason(name: string): string {
  const key = `reach.reason.${name}`;
  return has(key) ? t(key) : name;
}

function Why({ why }: { why: Explanation }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.scrollIntoView({ block: "nearest" }), [why]);
  const say = (answer: string) => t(`reach.answer.${answer}` as Key);
  return (
    <div ref={box} class="stack why" role="status">
      <Note bad={why.decision === "deny"}>
        <b>{say(why.decision)}</b> · {reason(why.reason)}
        {why.role && <> · {t("reach.by", { role: why.role })}</>}
        {why.detail && <div class="mono">{why.detail}</div>}
      </Note>
      <dl class="facts">
        {why.roles.map((one) => (
          <div key={one.role} class="fact">
            <dt class="mono">{one.role}</dt>
            <dd>
              <span class={one.answer === "allow" ? "chip good" : one.answer === "deny" ? "chip bad" : "chip"}>{say(one.answer)}</span> {reason(one.reason)}
              {one.detail && <div class="mono small">{one.detail}</div>}
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** A question of one's own: why, or why not. */
function Ask({ user, kind, picked }: { user: string; kind: Kind; picked: Item | null }) {
  const [name, setName] = useState("");
  const [as, setAs] = useState("");
  const [why, setWhy] = useState<Explanation | null>(null);
  const [error, setError] = useState("");
  const ask = async (resource: string, who: string) => {
    setWhy(null);
    setError("");
    const query = new URLSearchParams({ user, verb: "access", kind, name: resource });
    if (who) query.set(kind === "node" ? "login" : "group", who);
    try {
      setWhy(await api<Explanation>("GET", site(`/access/explain?${query}`)));
    } catch (failed) {
      setError(sayError(failed));
    }
  };
  useEffect(() => {
    setWhy(null);
    setError("");
    setAs("");
    setName(picked?.name ?? "");
    if (picked) void ask(picked.id, "");
  }, [picked, kind]);
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault();
        void ask(name.trim(), as.trim());
      }}
    >
      <h3 class="label">{t("reach.ask")}</h3>
      <div class="row fields">
        <Field label={t(kind === "node" ? "servers.host" : "name")}>{(ids) => <input {...ids} class="input mono" value={name} required autocapitalize="none" spellcheck={false} onInput={(event) => setName(event.currentTarget.value)} />}</Field>
        <Field label={t(kind === "node" ? "reach.login" : "reach.group")}>{(ids) => <input {...ids} class="input mono" value={as} autocapitalize="none" spellcheck={false} onInput={(event) => setAs(event.currentTarget.value)} />}</Field>
        <Button type="submit">{t("reach.explain")}</Button>
      </div>
      {error && <Note bad>{error}</Note>}
      {why && <Why why={why} />}
    </form>
  );
}

export function ReachDialog({ subject, onClose, onPick }: { subject: Subject; onClose: () => void; onPick: (subject: Subject) => void }) {
  const user = "user" in subject ? subject.user : "";
  const role = "role" in subject ? subject.role : "";
  const [kind, setKind] = useState<Kind>("node");
  const [search, setSearch] = useState("");
  const [reach, setReach] = useState<Reach | null>(null);
  const [picked, setPicked] = useState<Item | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    const query = new URLSearchParams({ kind, search, ...(user ? { user } : { role }) });
    setError("");
    api<Reach>("GET", site(`/access/reach?${query}`), undefined, stop.signal).then(setReach, (failed) => !stop.signal.aborted && setError(sayError(failed)));
    return () => stop.abort();
  }, [user, role, kind, search]);
  useEffect(() => {
    setPicked(null);
    setReach(null);
  }, [user, role, kind]);
  const columns: Column<Item>[] = [
    { id: "name", title: t(kind === "node" ? "servers.host" : "name"), cell: (item) => <span class="name">{item.name}</span> },
    {
      id: "as",
      title: t(kind === "node" ? "reach.logins" : "reach.subjects"),
      cell: (item) => <span class="mono">{[...(item.logins ?? item.users ?? []), ...(item.groups ?? [])].join(", ") || (role ? t("reach.traits") : "")}</span>,
    },
    ...(user
      ? [
          {
            id: "why",
            title: t("reach.why"),
            end: true,
            cell: (item: Item) => (
              <Button kind="slim" onClick={() => setPicked(item)}>
                {t("reach.why")}
              </Button>
            ),
          },
        ]
      : []),
  ];
  return (
    <Dialog wide title={user ? t("reach.user", { name: user }) : t("reach.role", { name: role })} onClose={onClose}>
      {reach?.users && (
        <div class="stack">
          <h3 class="label">{t("reach.holders", { count: reach.users.length })}</h3>
          <div class="tags">
            {reach.users.map((name) => (
              <button key={name} type="button" class="tag" onClick={() => onPick({ user: name })}>
                {name}
              </button>
            ))}
            {reach.users.length === 0 && <span class="quiet">{t("none")}</span>}
          </div>
        </div>
      )}
      {reach?.locked && <Note warn>{t("reach.locked", { why: reach.locked })}</Note>}
      <Tabs label={t("reach.what")} on={kind} set={setKind} tabs={[["node", t("menu.servers")], ["kube_cluster", t("menu.kubernetes")]] as const} />
      <div class="tools">
        <Search value={search} label={t("reach.search")} onChange={setSearch} />
        <span class="count" aria-live="polite">
          {reach ? t("list.count", { shown: reach.items.length, total: reach.total }) : ""}
        </span>
      </div>
      {error ? <Note bad>{error}</Note> : reach && reach.items.length === 0 ? <Empty title={search ? t("list.nothing") : t("reach.nothing")} /> : <Table label={t("reach.what")} columns={columns} items={reach?.items ?? null} keyOf={(item) => item.id} />}
      <p class="quiet small">{t("reach.own")}</p>
      {user && <Ask user={user} kind={kind} picked={picked} />}
    </Dialog>
  );
}
