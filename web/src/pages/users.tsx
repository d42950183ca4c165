import { useEffect, useState } from "preact/hooks";
import { api, ApiError, remove } from "../api";
import { acl } from "../context";
import { Button, type Column, Command, Confirm, Dialog, Empty, Field, Head, Note, Pop, sayError, toast } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { dateTime, has, type Key, t } from "../i18n";
import { allPages, ListView, useList } from "../list";
import { plain } from "../text";
import { ReachDialog, type Subject } from "./reach";

interface User {
  name: string;
  roles: string[];
  allTraits: Record<string, string[]>;
  authType: string;
  /** A lock shuts this person out, or one of the roles. */
  locked?: { message?: string; expires?: string; role?: string };
}

interface Link {
  user: string;
  url: string;
  expiry: string;
}

const known = ["logins", "kubernetes_groups", "kubernetes_users"];

function words(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

function UserDialog({ user, onDone, onClose }: { user: User | null; onDone: (link: Link | null) => void; onClose: () => void }) {
  const [name, setName] = useState(user?.name ?? "");
  const [roles, setRoles] = useState<string[]>(user?.roles ?? []);
  const [traits, setTraits] = useState<Record<string, string>>(() => Object.fromEntries(Object.entries(user?.allTraits ?? {}).map(([key, values]) => [key, values.join(" ")])));
  const [all, setAll] = useState<string[]>(user?.roles ?? []);
  const attempt = useAttempt((failed) => (failed instanceof ApiError && failed.code === "already_exists" ? t("users.exists", { name: name.trim() }) : sayError(failed)));
  useEffect(() => {
    // Who may not list roles types their names.
    allPages<{ name: string }>("/webapi/roles").then((got) => setAll([...new Set([...got.map((role) => role.name), ...(user?.roles ?? [])])].sort()), () => undefined);
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const lists = Object.fromEntries([...new Set([...known, ...Object.keys(traits)])].map((key) => [key, words(traits[key] ?? "")]).filter(([key, list]) => list!.length > 0 || (user?.allTraits[key as string]?.length ?? 0) > 0));
    void attempt.go(async () => {
      if (user) await api("PUT", "/webapi/users", { name: user.name, roles, traits: lists });
      onDone(user ? null : await api<Link>("POST", "/webapi/users", { name: name.trim(), roles, traits: lists }));
      onClose();
    });
  };
  return (
    <Dialog title={user ? t("users.edit", { name: user.name }) : t("users.create")} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {!user && <Field label={t("signin.user")}>{(ids) => <input {...ids} class="input mono" value={name} required maxLength={200} autocapitalize="none" spellcheck={false} onInput={(event) => setName(event.currentTarget.value)} />}</Field>}
        <fieldset class="field">
          <legend class="label">{t("users.roles")}</legend>
          {all.length > 0 ? (
            <div class="checks">
              {all.map((role) => (
                <label key={role} class="mono">
                  <input type="checkbox" checked={roles.includes(role)} onChange={(event) => setRoles(event.currentTarget.checked ? [...roles, role] : roles.filter((one) => one !== role))} />
                  {role}
                </label>
              ))}
            </div>
          ) : (
            <input class="input mono" aria-label={t("users.roles")} value={roles.join(" ")} onInput={(event) => setRoles(words(event.currentTarget.value))} />
          )}
        </fieldset>
        {[...new Set([...known, ...Object.keys(traits)])].map((key) => (
          <Field key={key} label={has(`users.traits.${key}`) ? t(`users.traits.${key}` as Key) : key} hint={key === "logins" ? t("users.traits.hint") : undefined}>
            {(ids) => <input {...ids} class="input mono" value={traits[key] ?? ""} spellcheck={false} autocapitalize="none" onInput={(event) => setTraits({ ...traits, [key]: event.currentTarget.value })} />}
          </Field>
        ))}
        {attempt.error && <Note bad>{attempt.error}</Note>}
        <div class="actions">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" kind="main" busy={attempt.busy} disabled={roles.length === 0}>
            {user ? t("save") : t("users.invite")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Why, until when, and where it can be ended. */
function Locked({ user }: { user: User }) {
  const lock = user.locked!;
  return (
    <Pop label={t("users.locked")} kind="button slim bad" icon="lock">
      {() => (
        <>
          <p class="quiet">{lock.role ? t("users.locked.role", { role: lock.role }) : t("users.locked.person")}</p>
          {lock.message && <p class="quiet">{t("users.locked.message", { message: plain(lock.message) })}</p>}
          <p class="quiet">{lock.expires ? t("users.locked.until", { time: dateTime(lock.expires) }) : t("users.locked.forever")}</p>
          {acl("locks").list && (
            <a class="item" href={`/web/locks?search=${encodeURIComponent(lock.role ?? user.name)}`}>
              {t("menu.locks")}
            </a>
          )}
        </>
      )}
    </Pop>
  );
}

export function UsersPage() {
  const list = useList<User>("/webapi/users", 0, {}, false);
  const [editing, setEditing] = useState<User | "new" | null>(null);
  const [link, setLink] = useState<Link | null>(null);
  const [removing, setRemoving] = useState<User | null>(null);
  const [resetting, setResetting] = useState<User | null>(null);
  const [reach, setReach] = useState<Subject | null>(null);
  const may = acl("users");
  const columns: Column<User>[] = [
    { id: "name", title: t("name"), sort: true, cell: (user) => (user.locked ? <span class="row"><span class="name">{user.name}</span><Locked user={user} /></span> : <span class="name">{user.name}</span>) },
    {
      id: "roles",
      title: t("users.roles"),
      sort: true,
      cell: (user) => (
        <div class="tags">
          {user.roles.map((role) => (
            <a key={role} class="tag" href={`/web/roles?search=${encodeURIComponent(role)}`}>
              {role}
            </a>
          ))}
        </div>
      ),
    },
    { id: "type", title: t("users.type"), cell: (user) => <span class="quiet">{user.authType}</span> },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (user) => (
        <>
          {may.read && acl("roles").read && (
            <Button kind="slim" onClick={() => setReach({ user: user.name })}>
              {t("reach.open")}
            </Button>
          )}
          {may.edit && (
            <Button kind="slim" onClick={() => setEditing(user)}>
              {t("edit")}
            </Button>
          )}
          {(may.edit || may.remove) && (
            <Pop label={t("more")}>
              {(close) => (
                <>
                  {may.edit && (
                    <button type="button" class="item" onClick={() => (close(), setResetting(user))}>
                      {t("users.reset")}
                    </button>
                  )}
                  {acl("locks").create && (
                    <a class="item" href={`/web/locks?user=${encodeURIComponent(user.name)}`}>
                      {t("users.lock")}
                    </a>
                  )}
                  {may.remove && (
                    <button type="button" class="item" onClick={() => (close(), setRemoving(user))}>
                      {t("delete")}
                    </button>
                  )}
                </>
              )}
            </Pop>
          )}
        </>
      ),
    },
  ];
  return (
    <>
      <Head title={t("menu.users")}>
        {may.create && (
          <Button kind="main" icon="plus" onClick={() => setEditing("new")}>
            {t("users.create")}
          </Button>
        )}
      </Head>
      <ListView list={list} label={t("menu.users")} search={t("users.search")} columns={columns} keyOf={(user) => user.name} sort="name:asc" empty={<Empty title={t("users.empty")} text={t("users.empty.text")} />} />
      {editing && (
        <UserDialog
          user={editing === "new" ? null : editing}
          onClose={() => (setEditing(null), list.reload())}
          onDone={(made) => {
            if (made) setLink(made);
            else toast(t("saved"));
          }}
        />
      )}
      {link && (
        <Dialog title={t("users.link", { name: link.user })} onClose={() => setLink(null)}>
          <p>{t("users.link.text", { until: dateTime(link.expiry) })}</p>
          <Command text={link.url} label={t("users.link.label")} />
        </Dialog>
      )}
      {reach && <ReachDialog subject={reach} onPick={setReach} onClose={() => setReach(null)} />}
      {removing && <Confirm title={t("users.delete", { name: removing.name })} text={t("users.delete.text")} action={t("delete")} onClose={() => (setRemoving(null), list.reload())} run={() => remove(`/webapi/users/${encodeURIComponent(removing.name)}`)} />}
      {resetting && (
        <Confirm
          title={t("users.reset.ask", { name: resetting.name })}
          text={t("users.reset.text")}
          action={t("users.reset")}
          onClose={() => setResetting(null)}
          run={async () => setLink(await api<Link>("POST", "/webapi/users/password/token", { name: resetting.name, type: "password" }))}
        />
      )}
    </>
  );
}
