import { lazyEditor } from "./roles-editor";
import { ReachDialog, type Subject } from "./reach";
import { useRef, useState } from "preact/hooks";
import { api, ApiError, remove } from "../api";
import { acl } from "../context";
import { Button, type Column, Confirm, Dialog, Empty, Head, Note, sayError, toast } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { bytes, t } from "../i18n";
import { ListView, useList } from "../list";
import { byteLength, plain, RESOURCE_MAX } from "../text";

interface Role {
  id: string;
  name: string;
  content: string;
}

const example = `kind: role
version: v5
metadata:
  name: ''
spec:
  allow:
    # accounts on servers
    logins:
      - '{{internal.logins}}'
    node_labels:
      environment: dev
    kubernetes_labels:
      '*': '*'
    kubernetes_groups:
      - '{{internal.kubernetes_groups}}'
    rules:
      - resources: [session]
        verbs: [list, read]
        where: contains(session.participants, user.metadata.name)
  deny:
    logins: [guest]
  options:
    max_session_ttl: 8h0m0s
`;

const Editor = lazyEditor();

function description(role: Role): string {
  return /^ {2}description: (.*)$/m.exec(role.content)?.[1]?.replace(/^(["'])(.*)\1$/, "$2") ?? "";
}

function RoleDialog({ role, onClose }: { role: Role | null; onClose: () => void }) {
  // The revision stays beside the text: it is nothing that people edit.
  const revision = /^ {2}revision: ["']?([^\s"']+)["']?$/m.exec(role?.content ?? "")?.[1] ?? "";
  const [first] = useState(role ? role.content.replace(/^ {2}revision: .*\n/m, "") : example);
  const [text, setText] = useState(first);
  const [wrong, setWrong] = useState("");
  const [leaving, setLeaving] = useState(false); // asked whether what was typed may be lost
  const unsure = useRef(false); // the answer to a try was lost
  const attempt = useAttempt((failed) => {
    const code = failed instanceof ApiError ? failed.status : -1;
    if (code === 0) unsure.current = true;
    if (unsure.current && (code === 412 || code === 409)) return t("roles.conflict.unsure");
    return code === 412 ? t("roles.conflict") : code === 413 ? t("roles.large", { size: bytes(byteLength(text)) }) : sayError(failed);
  });
  const may = role ? acl("roles").edit : acl("roles").create;
  const save = () => {
    if (byteLength(text) > RESOURCE_MAX) return attempt.fail(t("roles.large", { size: bytes(byteLength(text)) }));
    void attempt.go(async () => {
      if (role) await api("PUT", `/webapi/roles/${encodeURIComponent(role.name)}`, { content: text, revision });
      else await api("POST", "/webapi/roles", { content: text });
      toast(t("saved"));
      onClose();
    });
  };
  const change = (next: string) => {
    setText(next);
    setLeaving(false);
  };
  const close = () => (text === first || leaving ? onClose() : setLeaving(true));
  return (
    <Dialog wide title={role ? role.name : t("roles.create")} onClose={close}>
      <Editor value={text} at={role ? undefined : example.indexOf("''") + 1} label={t("roles.text")} readOnly={!may} onChange={change} onWrong={setWrong} />
      {attempt.error && <Note bad>{attempt.error}</Note>}
      {leaving && <Note warn>{t("roles.unsaved")}</Note>}
      <div class="actions">
        <span class={wrong ? "grow small wrong" : "grow quiet small"} role="status">
          {wrong === "" ? t("roles.hint") : wrong !== attempt.error && wrong}
        </span>
        <Button onClick={close}>{leaving ? t("roles.discard") : may ? t("cancel") : t("close")}</Button>
        {may && (
          <Button kind="main" onClick={save} busy={attempt.busy}>
            {role ? t("save") : t("create")}
          </Button>
        )}
      </div>
    </Dialog>
  );
}

export function RolesPage() {
  const list = useList<Role>("/webapi/roles", 0, {}, false);
  const [editing, setEditing] = useState<Role | "new" | null>(null);
  const [removing, setRemoving] = useState<Role | null>(null);
  const [reach, setReach] = useState<Subject | null>(null);
  const may = acl("roles");
  const columns: Column<Role>[] = [
    { id: "name", title: t("name"), sort: true, cell: (role) => <span class="name">{role.name}</span> },
    { id: "description", title: t("roles.description"), sort: true, cell: (role) => <span class="quiet">{plain(description(role))}</span> },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (role) => (
        <>
          {may.read && acl("users").read && (
            <Button kind="slim" onClick={() => setReach({ role: role.name })}>
              {t("reach.open")}
            </Button>
          )}
          <Button kind="slim" onClick={() => setEditing(role)}>
            {may.edit ? t("edit") : t("view")}
          </Button>
          {may.remove && (
            <Button kind="slim bad" onClick={() => setRemoving(role)}>
              {t("delete")}
            </Button>
          )}
        </>
      ),
    },
  ];
  return (
    <>
      <Head title={t("menu.roles")}>
        {may.create && (
          <Button kind="main" icon="plus" onClick={() => setEditing("new")}>
            {t("roles.create")}
          </Button>
        )}
      </Head>
      <ListView list={list} label={t("menu.roles")} search={t("roles.search")} columns={columns} keyOf={(role) => role.id} sort="name:asc" empty={<Empty title={t("roles.empty")} />} />
      {editing && <RoleDialog role={editing === "new" ? null : editing} onClose={() => (setEditing(null), list.reload())} />}
      {reach && <ReachDialog subject={reach} onPick={setReach} onClose={() => setReach(null)} />}
      {removing && <Confirm title={t("roles.delete", { name: removing.name })} text={t("roles.delete.text")} action={t("delete")} onClose={() => (setRemoving(null), list.reload())} run={() => remove(`/webapi/roles/${encodeURIComponent(removing.name)}`)} />}
    </>
  );
}
