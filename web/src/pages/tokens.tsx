import { useState } from "preact/hooks";
import { remove } from "../api";
import { acl } from "../context";
import { Icon } from "../design/icons";
import { Button, type Column, Confirm, Empty, Head, type Label, Pop, Tags } from "../design/parts";
import { dateTime, t } from "../i18n";
import { labelsOf, ListView, toggleLabel, useList } from "../list";
import { AddServer } from "./join";
import { AddKubernetes } from "./join-kube";
import { NewToken } from "./new-token";

interface Token {
  metadata: { name: string; expires?: string };
  spec: { roles?: string[]; join_method?: string; suggested_labels?: Record<string, string | string[]> };
}

/** The same dialogs as on the pages of what joins, and one for the value alone. */
const ways = {
  server: { title: "servers.add", icon: "server", Dialog: AddServer },
  kube: { title: "kube.add", icon: "kube", Dialog: AddKubernetes },
  value: { title: "tokens.create.value", icon: "token", Dialog: NewToken },
} as const;

export function TokensPage() {
  const list = useList<Token>("/webapi/tokens", 15000, {}, false);
  const [removing, setRemoving] = useState<Token | null>(null);
  const [making, setMaking] = useState<keyof typeof ways | null>(null);
  const Making = making && ways[making].Dialog;
  const roles = (token: Token) => (token.spec.roles ?? []).join(", ");
  const on = (label: Label) => labelsOf(list.query).some((one) => one.name === label.name && one.value === label.value);
  const labels = (token: Token) => Object.entries(token.spec.suggested_labels ?? {}).flatMap(([name, values]) => [values].flat().map((value) => ({ name, value })));
  const columns: Column<Token>[] = [
    { id: "name", title: t("name"), sort: true, cell: (token) => <span class="name nowrap">{token.metadata.name}</span> },
    { id: "roles", title: t("tokens.for"), sort: true, cell: (token) => <span class="mono">{roles(token)}</span> },
    { id: "labels", title: t("labels"), cell: (token) => <Tags labels={labels(token)} on={on} onPick={(label) => toggleLabel(list.query, label)} /> },
    { id: "until", title: t("tokens.until"), sort: true, cell: (token) => <span class="num">{token.metadata.expires ? dateTime(token.metadata.expires) : t("never")}</span> },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (token) =>
        acl("tokens").remove && (
          <Button kind="slim bad" onClick={() => setRemoving(token)}>
            {t("delete")}
          </Button>
        ),
    },
  ];
  return (
    <>
      <Head title={t("menu.tokens")} text={t("tokens.text")}>
        {acl("tokens").create && (
          <Pop label={t("tokens.create")} kind="button main" icon="plus">
            {(close) =>
              (Object.keys(ways) as (keyof typeof ways)[]).map((way) => (
                <button key={way} type="button" class="item" onClick={() => (close(), setMaking(way))}>
                  <Icon name={ways[way].icon} />
                  {t(ways[way].title)}
                </button>
              ))
            }
          </Pop>
        )}
      </Head>
      <ListView list={list} label={t("menu.tokens")} search={t("tokens.search")} columns={columns} keyOf={(token) => token.metadata.name} sort="until:asc" empty={<Empty title={t("tokens.empty")} text={acl("tokens").create ? t("tokens.empty.text") : undefined} />} />
      {Making && <Making onClose={() => (setMaking(null), list.reload())} />}
      {removing && <Confirm title={t("tokens.delete", { name: removing.metadata.name })} text={t("tokens.delete.text")} action={t("delete")} onClose={() => (setRemoving(null), list.reload())} run={() => remove(`/webapi/tokens/${encodeURIComponent(removing.metadata.name)}`)} />}
    </>
  );
}
