import { useState } from "preact/hooks";
import { acl, site } from "../context";
import { Button, CannotNow, type Column, Empty, Head, type Label, Pop, Tags } from "../design/parts";
import { Icon } from "../design/icons";
import { ago, dateTime, t } from "../i18n";
import { labelsOf, ListView, toggleLabel, useList } from "../list";
import { AddServer } from "./join";

export interface Server {
  id: string;
  hostname: string;
  addr: string;
  tunnel: boolean;
  online: boolean;
  since?: string;
  lastSeen?: string;
  tags: Label[];
  sshLogins: string[];
}

export function terminalPath(server: string, login: string): string {
  return `/web/terminal/${encodeURIComponent(server)}?login=${encodeURIComponent(login)}`;
}

function Connect({ server }: { server: Server }) {
  const [login, setLogin] = useState("");
  return (
    <Pop label={t("servers.connect")}>
      {(close) => (
        <>
          {server.sshLogins.map((one) => (
            <a key={one} class="item mono" href={terminalPath(server.id, one)} target="_blank" rel="noopener" aria-label={t("servers.login.as", { login: one })} onClick={close}>
              <Icon name="term" />
              {one}
            </a>
          ))}
          {server.sshLogins.length === 0 && <div class="quiet">{t("servers.login.none")}</div>}
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (login.trim()) window.open(terminalPath(server.id, login.trim()), "_blank", "noopener");
              close();
            }}
          >
            <input class="input" value={login} aria-label={t("servers.login.other")} placeholder={t("servers.login.other")} onInput={(event) => setLogin(event.currentTarget.value)} autocapitalize="none" spellcheck={false} />
            <Button type="submit" icon="term" label={t("servers.connect")} />
          </form>
        </>
      )}
    </Pop>
  );
}

export function ServersPage() {
  const list = useList<Server>(site("/nodes"), 15000);
  const [adding, setAdding] = useState(false);
  const add = () => setAdding(true);
  const on = (label: Label) => labelsOf(list.query).some((one) => one.name === label.name && one.value === label.value);
  const columns: Column<Server>[] = [
    { id: "hostname", title: t("servers.host"), sort: true, cell: (server) => <span class="name">{server.hostname}</span> },
    { id: "addr", title: t("servers.address"), cell: (server) => (server.tunnel || !server.addr ? <span class="quiet nowrap">{t("servers.tunnel")}</span> : <span class="mono nowrap">{server.addr}</span>) },
    { id: "labels", title: t("labels"), cell: (server) => <Tags labels={server.tags} on={on} onPick={(label) => toggleLabel(list.query, label)} /> },
    {
      id: "since",
      title: t("servers.since"),
      sort: true,
      cell: (server) => (
        <span class="since" title={dateTime(server.online ? server.since : server.lastSeen)}>
          <span class={server.online ? "dot on" : "dot"} aria-hidden="true" />
          {server.online ? ago(server.since) : t("servers.offline", { seen: ago(server.lastSeen) })}
        </span>
      ),
    },
    { id: "connect", title: t("servers.connect"), end: true, cell: (server) => (server.online ? <Connect server={server} /> : <CannotNow label={t("servers.connect")} why={t("servers.offline.why", { name: server.hostname })} />) },
  ];
  return (
    <>
      <Head title={t("servers.title")}>
        {acl("tokens").create && (
          <Button kind="main" icon="plus" onClick={add}>
            {t("servers.add")}
          </Button>
        )}
      </Head>
      <ListView list={list} label={t("servers.title")} search={t("servers.search")} columns={columns} keyOf={(server) => server.id} sort="hostname:asc" empty={<Empty title={t("servers.empty")} text={acl("tokens").create ? t("servers.empty.text") : t("servers.empty.none")} />} />
      {adding && (
        <AddServer
          onClose={() => {
            setAdding(false);
            list.reload();
          }}
        />
      )}
    </>
  );
}
