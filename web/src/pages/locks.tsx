import { useRef, useState } from "preact/hooks";
import { api, remove } from "../api";
import { acl } from "../context";
import { Button, type Column, Confirm, Dialog, Empty, Field, Head, Note, toast } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { dateTime, t } from "../i18n";
import { ListView, useList } from "../list";
import { setQuery, usePlace } from "../router";
import { plain } from "../text";

interface Lock {
  metadata: { name: string };
  spec: { target: Record<string, string>; message?: string; expires?: string; created_by?: string };
}

const HOUR = 3600000;

/** It stays in the list, and shuts nobody out any more. */
function over(lock: Lock): boolean {
  return !!lock.spec.expires && new Date(lock.spec.expires).getTime() <= Date.now();
}

function LockDialog({ user, onClose }: { user: string; onClose: () => void }) {
  const [kind, setKind] = useState("user");
  const [name, setName] = useState(user);
  const [message, setMessage] = useState("");
  const [ttl, setTtl] = useState(0);
  const attempt = useAttempt();
  // The lock's own name, chosen here: when an answer was lost, a second try of the same asks for the same lock.
  const tried = useRef({ text: "", name: "" });
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const lock = { target: { [kind]: name.trim() }, message, ttl };
    const text = JSON.stringify(lock);
    if (tried.current.text !== text) tried.current = { text, name: crypto.randomUUID() };
    void attempt.go(async () => {
      await api("POST", "/webapi/locks", { ...lock, name: tried.current.name });
      toast(t("locks.done"));
      onClose();
    });
  };
  return (
    <Dialog title={t("locks.create")} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field label={t("locks.kind")}>
          {(ids) => (
            <select {...ids} class="input" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
              {(["user", "role", "login", "server_id"] as const).map((one) => (
                <option key={one} value={one}>
                  {t(`locks.${one}`)}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label={t("name")}>{(ids) => <input {...ids} class="input mono" value={name} required onInput={(event) => setName(event.currentTarget.value)} autocapitalize="none" spellcheck={false} />}</Field>
        <Field label={t("locks.message")} hint={t("locks.message.hint")}>
          {(ids) => <input {...ids} class="input" value={message} maxLength={500} onInput={(event) => setMessage(event.currentTarget.value)} />}
        </Field>
        <Field label={t("locks.until")}>
          {(ids) => (
            <select {...ids} class="input" value={String(ttl)} onChange={(event) => setTtl(Number(event.currentTarget.value))}>
              <option value="0">{t("locks.forever")}</option>
              <option value={String(HOUR)}>{t("locks.hour")}</option>
              <option value={String(24 * HOUR)}>{t("locks.day")}</option>
              <option value={String(7 * 24 * HOUR)}>{t("locks.week")}</option>
            </select>
          )}
        </Field>
        {attempt.error && <Note bad>{attempt.error}</Note>}
        <div class="actions">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" kind="bad main" busy={attempt.busy}>
            {t("locks.do")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function LocksPage() {
  const { query } = usePlace();
  const list = useList<Lock>("/webapi/locks", 15000, {}, false);
  const [making, setMaking] = useState(query.has("user"));
  const [removing, setRemoving] = useState<Lock | null>(null);
  const target = (lock: Lock) => Object.entries(lock.spec.target).map(([key, value]) => `${key}=${value}`).join(" ");
  const columns: Column<Lock>[] = [
    { id: "target", title: t("locks.target"), sort: true, cell: (lock) => <span class="name">{target(lock)}</span> },
    { id: "message", title: t("locks.message"), cell: (lock) => plain(lock.spec.message ?? "") },
    { id: "until", title: t("locks.until"), sort: true, cell: (lock) => (lock.spec.expires ? <span class="row"><span class="num">{dateTime(lock.spec.expires)}</span>{over(lock) && <span class="chip">{t("locks.over")}</span>}</span> : t("locks.forever")) },
    { id: "by", title: t("locks.by"), sort: true, cell: (lock) => lock.spec.created_by ?? "" },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (lock) =>
        acl("locks").remove && (
          <Button kind="slim" onClick={() => setRemoving(lock)}>
            {over(lock) ? t("delete") : t("locks.remove")}
          </Button>
        ),
    },
  ];
  return (
    <>
      <Head title={t("menu.locks")} text={t("locks.text")}>
        {acl("locks").create && (
          <Button kind="main" icon="lock" onClick={() => setMaking(true)}>
            {t("locks.create")}
          </Button>
        )}
      </Head>
      <ListView list={list} label={t("menu.locks")} search={t("locks.search")} columns={columns} keyOf={(lock) => lock.metadata.name} sort="target:asc" empty={<Empty title={t("locks.empty")} text={t("locks.empty.text")} />} />
      {making && (
        <LockDialog
          user={query.get("user") ?? ""}
          onClose={() => {
            setMaking(false);
            list.reload();
            setQuery({ user: "" }, true);
          }}
        />
      )}
      {removing && <Confirm title={t(over(removing) ? "locks.delete.ask" : "locks.remove.ask", { target: target(removing) })} text={t(over(removing) ? "locks.delete.text" : "locks.remove.text")} action={t(over(removing) ? "delete" : "locks.remove")} onClose={() => (setRemoving(null), list.reload())} run={() => remove(`/webapi/locks/${encodeURIComponent(removing.metadata.name)}`)} />}
    </>
  );
}
