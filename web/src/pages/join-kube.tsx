// The dialog that brings a Kubernetes cluster in: an agent as a pod, by Helm or by a plain file.
import { useState } from "preact/hooks";
import { context } from "../context";
import { Button, Command, Dialog, Field, type Label, Note, Tabs } from "../design/parts";
import { dateTime, t } from "../i18n";
import { word } from "../shell";
import { Arrivals, JoinForm, type JoinToken, LabelsField, makeToken, readLabels, useJoined } from "./join";

interface Wish {
  name: string;
  image: string;
  labels: Label[];
}

/** As the chart's schema has it. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,252}$/;
const IMAGE = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$/;

/** image:tag or image, as the chart's two values. A port is no tag, a digest stays with the name. */
function imageValues(image: string): string[] {
  const at = image.lastIndexOf(":");
  if (image.includes("@") || at < 0 || image.indexOf("/", at) >= 0) return [`image=${image}`];
  return [`image=${image.slice(0, at)}`, `imageTag=${image.slice(at + 1)}`];
}

/** All as text: a name of digits is a name. Dots in a label's name are no path. */
function helm(token: JoinToken, wish: Wish): string {
  const values = [
    `kubeClusterName=${wish.name}`,
    `proxyAddr=${token.proxy}`,
    `authToken=${token.id}`,
    ...token.caPins.map((pin, i) => `caPin[${i}]=${pin}`),
    ...imageValues(wish.image),
    ...wish.labels.map((label) => `labels.${label.name.replace(/\./g, "\\.")}=${label.value}`),
  ];
  return ["helm install tport-agent tport-kube-agent --create-namespace --namespace=tport-agent", ...values.map((value) => `    --set-string ${word(value)}`)].join(" \\\n");
}

/** The five words in capitals of tport-kube-agent.yaml. No value can hold a # or an &, which sed would take; the name comes
 *  last, because it might be one of the words. */
function plain(token: JoinToken, wish: Wish): string {
  const words: [string, string][] = [
    ['"PROXY-ADDRESS"', `"${token.proxy}"`],
    ['"JOIN-TOKEN"', `"${token.id}"`],
    ['"CA-PIN"', token.caPins.map((pin) => `"${pin}"`).join(", ")],
    ["image: IMAGE", `image: ${wish.image}`],
    ['"CLUSTER-NAME"', `"${wish.name}"`],
  ];
  return `sed ${words.map(([from, to]) => `-e '${`s#${from}#${to}#`.replace(/'/g, "'\\''")}'`).join(" \\\n    ")} \\\n    tport-kube-agent.yaml | kubectl apply -f -`;
}

function KubeWaiting({ token, wish, onAgain, onClose }: { token: JoinToken; wish: Wish; onAgain: () => void; onClose: () => void }) {
  const [way, setWay] = useState<"helm" | "plain">("helm");
  const { hosts, over } = useJoined(token);
  const names = [...new Set(hosts.filter((one) => one.online).flatMap((one) => one.kube_clusters))];
  return (
    <>
      <Tabs label={t("kube.add")} on={way} set={setWay} tabs={[["helm", "Helm"], ["plain", t("kube.add.plain")]] as const} />
      <p>{t(way === "helm" ? "kube.add.helm.text" : "kube.add.plain.text")}</p>
      {way === "plain" && wish.labels.length > 0 && <Note warn>{t("kube.add.plain.labels")}</Note>}
      <Command text={way === "helm" ? helm(token, wish) : plain(token, wish)} />
      <p class="quiet small">{t("kube.add.until", { until: dateTime(token.expiry) })}</p>
      <p class="quiet small">{t("kube.add.lasting")}</p>
      <Arrivals names={names} over={over} waiting={t("kube.add.waiting")} onAgain={onAgain} />
      <div class="actions">
        <Button kind={names.length > 0 ? "main" : ""} onClick={onClose}>
          {names.length > 0 ? t("done") : t("close")}
        </Button>
      </div>
    </>
  );
}

export function AddKubernetes({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const [image, setImage] = useState(`tport:${context.get()?.cluster.version ?? ""}`);
  const [token, setToken] = useState<JoinToken | null>(null);
  const { labels, wrong } = readLabels(text);
  const nameWrong = name && !NAME.test(name) ? t("kube.add.name.wrong") : "";
  const imageWrong = IMAGE.test(image) ? "" : t("kube.add.image.wrong");
  return (
    <Dialog title={t("kube.add")} onClose={onClose}>
      {token ? (
        <KubeWaiting token={token} wish={{ name, image, labels }} onAgain={() => setToken(null)} onClose={onClose} />
      ) : (
        <JoinForm wrong={!name || !!nameWrong || !!imageWrong || !!wrong} make={async () => setToken(await makeToken("Kube", []))} onClose={onClose}>
          <p>{t("kube.add.text")}</p>
          <Field label={t("name")} hint={t("kube.add.name.hint")} error={nameWrong}>
            {(ids) => <input {...ids} class="input mono" name="cluster" value={name} maxLength={253} autocapitalize="none" spellcheck={false} onInput={(event) => setName(event.currentTarget.value.trim())} />}
          </Field>
          <LabelsField text={text} setText={setText} hint={t("join.labels.hint")} />
          <Field label={t("kube.add.image")} hint={t("kube.add.image.hint")} error={imageWrong}>
            {(ids) => <input {...ids} class="input mono" name="image" value={image} maxLength={255} autocapitalize="none" spellcheck={false} onInput={(event) => setImage(event.currentTarget.value.trim())} />}
          </Field>
        </JoinForm>
      )}
    </Dialog>
  );
}
