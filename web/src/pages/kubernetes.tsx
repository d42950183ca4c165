import { useState } from "preact/hooks";
import { acl, context, proxy, site } from "../context";
import { save } from "../api";
import { Button, CannotNow, type Column, Command, Dialog, Empty, Head, type Label, Note, Tags } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { dateTime, t } from "../i18n";
import { makeKubeconfig } from "../kubeconfig";
import { labelsOf, ListView, toggleLabel, useList } from "../list";
import { word } from "../shell";
import { AddKubernetes } from "./join-kube";

interface Cluster {
  name: string;
  labels: Label[];
  online: boolean;
  kubernetes_users: string[];
  kubernetes_groups: string[];
}

/** For tools that take a file: a key made here, a certificate for this cluster alone. */
function Kubeconfig({ cluster }: { cluster: Cluster }) {
  const [until, setUntil] = useState("");
  const attempt = useAttempt();
  const download = async () => {
    setUntil("");
    const made = await makeKubeconfig(cluster.name);
    save(`${made.context.replace(/[^A-Za-z0-9._-]/g, "_")}.kubeconfig`, "application/yaml", [made.text]);
    setUntil(made.until);
  };
  return (
    <div class="panel">
      <div class="row">
        <p class="grow">{t("kube.static.text")}</p>
        <Button onClick={() => void attempt.go(download)} busy={attempt.busy}>
          {t("kube.static")}
        </Button>
      </div>
      {attempt.error && <Note bad>{attempt.error}</Note>}
      {until && <Note>{t("kube.static.done", { until: dateTime(until) })}</Note>}
    </div>
  );
}

function ConnectDialog({ cluster, onClose }: { cluster: Cluster; onClose: () => void }) {
  const who = context.get()!;
  const login = `tport login --proxy=${word(proxy())} --auth=local --user=${word(who.userName)} ${word(who.cluster.name)}`;
  return (
    <Dialog title={t("kube.dialog", { name: cluster.name })} onClose={onClose}>
      <ol class="steps">
        <li>
          <span>{t("kube.step1")}</span>
          <Command text={login} />
        </li>
        <li>
          <span>{t("kube.step2")}</span>
          <Command text={"export KUBECONFIG=${HOME?}/tport-kubeconfig.yaml"} />
        </li>
        <li>
          <span>{t("kube.step3")}</span>
          <Command text={`tport kube login ${word(cluster.name)}`} />
        </li>
        <li>
          <span>{t("kube.step4")}</span>
          <Command text="kubectl get pods" />
        </li>
      </ol>
      <Kubeconfig cluster={cluster} />
      <p class="quiet small">{t("kube.as", { users: cluster.kubernetes_users.join(", ") || who.userName, groups: cluster.kubernetes_groups.join(", ") || t("none") })}</p>
    </Dialog>
  );
}

export function KubernetesPage() {
  const list = useList<Cluster>(site("/kubernetes"), 15000);
  const [chosen, setChosen] = useState<Cluster | null>(null);
  const [adding, setAdding] = useState(false);
  const on = (label: Label) => labelsOf(list.query).some((one) => one.name === label.name && one.value === label.value);
  const columns: Column<Cluster>[] = [
    { id: "name", title: t("name"), sort: true, cell: (cluster) => <span class="name">{cluster.name}</span> },
    { id: "labels", title: t("labels"), cell: (cluster) => <Tags labels={cluster.labels} on={on} onPick={(label) => toggleLabel(list.query, label)} /> },
    { id: "groups", title: t("kube.groups"), cell: (cluster) => <span class="mono">{cluster.kubernetes_groups.join(", ")}</span> },
    {
      id: "connect",
      title: t("kube.connect"),
      end: true,
      cell: (cluster) =>
        cluster.online ? (
          <Button kind="slim" onClick={() => setChosen(cluster)}>
            {t("kube.connect")}
          </Button>
        ) : (
          <CannotNow label={t("kube.connect")} why={t("kube.offline.why", { name: cluster.name })} />
        ),
    },
  ];
  return (
    <>
      <Head title={t("kube.title")}>
        {acl("tokens").create && (
          <Button kind="main" icon="plus" onClick={() => setAdding(true)}>
            {t("kube.add")}
          </Button>
        )}
      </Head>
      <ListView list={list} label={t("kube.title")} search={t("kube.search")} columns={columns} keyOf={(cluster) => cluster.name} sort="name:asc" empty={<Empty title={t("kube.empty")} text={t("kube.empty.text")} />} />
      {adding && (
        <AddKubernetes
          onClose={() => {
            setAdding(false);
            list.reload();
          }}
        />
      )}
      {chosen && <ConnectDialog cluster={chosen} onClose={() => setChosen(null)} />}
    </>
  );
}
