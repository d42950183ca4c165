// The dialog that makes a join token for machines where tport is installed already: its value, and what to run with it.
import { useState } from "preact/hooks";
import { Button, Command, Dialog, Field, type Label } from "../design/parts";
import { dateTime, t } from "../i18n";
import { word } from "../shell";
import { Arrivals, JoinForm, type JoinToken, LabelsField, makeTokenFor, readLabels, useJoined } from "./join";

const MINUTE = 60000;
const uses = ["node", "kube", "node,kube"] as const;
type Use = (typeof uses)[number];

/** The two lines of the README. */
function lines(token: JoinToken, use: Use, labels: Label[]): string {
  const text = labels.map((label) => `${label.name}=${label.value}`).join(",");
  const options = [
    ...(use === "node" ? [] : [`--roles=${use}`, "--kubeconfig-file=/etc/tport/kubeconfig"]),
    `--proxy=${token.proxy}`,
    `--token=${token.id}`,
    `--ca-pin=${token.caPins.join(",")}`,
    ...(text ? [word(`--labels=${text}`)] : []),
    "-o /etc/tport/tport.conf",
  ];
  return `tportd node configure ${options.join(" \\\n    ")}\ntportd -c /etc/tport/tport.conf`;
}

function Made({ token, use, labels, onAgain, onClose }: { token: JoinToken; use: Use; labels: Label[]; onAgain: () => void; onClose: () => void }) {
  const { hosts, over } = useJoined(token);
  return (
    <>
      <p>{t("tokens.made", { until: dateTime(token.expiry) })}</p>
      <Command text={token.id} label={t("tokens.value")} />
      <p>{t("tokens.run")}</p>
      <Command text={lines(token, use, labels)} />
      <Arrivals names={hosts.map((one) => one.name)} over={over} waiting={t("tokens.waiting")} onAgain={onAgain} />
      <div class="actions">
        <Button kind={hosts.length > 0 ? "main" : ""} onClick={onClose}>
          {hosts.length > 0 ? t("done") : t("close")}
        </Button>
      </div>
    </>
  );
}

export function NewToken({ onClose }: { onClose: () => void }) {
  const [use, setUse] = useState<Use>("node");
  const [ttl, setTtl] = useState(30 * MINUTE);
  const [text, setText] = useState("");
  const [token, setToken] = useState<JoinToken | null>(null);
  const { labels, wrong } = readLabels(text);
  return (
    <Dialog title={t("tokens.create")} onClose={onClose}>
      {token ? (
        <Made token={token} use={use} labels={labels} onAgain={() => setToken(null)} onClose={onClose} />
      ) : (
        <JoinForm wrong={!!wrong} action={t("tokens.make")} make={async () => setToken(await makeTokenFor(use.split(","), labels, ttl))} onClose={onClose}>
          <Field label={t("tokens.for")}>
            {(ids) => (
              <select {...ids} class="input" name="use" value={use} onChange={(event) => setUse(event.currentTarget.value as Use)}>
                {uses.map((one) => (
                  <option key={one} value={one}>
                    {t(`tokens.use.${one}`)}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field label={t("tokens.good")}>
            {(ids) => (
              <select {...ids} class="input" name="ttl" value={String(ttl)} onChange={(event) => setTtl(Number(event.currentTarget.value))}>
                <option value={String(30 * MINUTE)}>{t("tokens.half")}</option>
                <option value={String(4 * 60 * MINUTE)}>{t("tokens.four")}</option>
                <option value={String(24 * 60 * MINUTE)}>{t("tokens.day")}</option>
              </select>
            )}
          </Field>
          <LabelsField text={text} setText={setText} hint={t("join.labels.hint")} />
        </JoinForm>
      )}
    </Dialog>
  );
}
