// Dialogs that bring a server into the cluster: a token, what to run with it, and word of who has come.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, apiBytes } from "../api";
import { Icon } from "../design/icons";
import { Button, Command, Dialog, Field, type Label, Note, sayError } from "../design/parts";
import { dateTime, t } from "../i18n";

export interface JoinToken {
  id: string;
  expiry: string;
  caPins: string[];
  proxy: string;
  ownCertificate: boolean;
}

interface Joined {
  id: string;
  name: string;
  online: boolean;
  kube_clusters: string[];
}

/** "env=dev, team=web" as labels, or what is wrong with it. The server says the same, and the script carries nothing else. */
export function readLabels(text: string): { labels: Label[]; wrong: string } {
  const labels: Label[] = [];
  for (const part of text.split(/[,\n]/).map((one) => one.trim())) {
    if (!part) continue;
    const at = part.indexOf("=");
    const name = (at < 0 ? part : part.slice(0, at)).trim();
    const value = at < 0 ? "" : part.slice(at + 1).trim();
    if (at < 0) return { labels, wrong: t("join.labels.value", { name }) };
    if (!/^[A-Za-z0-9_./:-]{1,128}$/.test(name)) return { labels, wrong: t("join.labels.name", { name }) };
    if (!/^[A-Za-z0-9_./:@+=\- ]{0,256}$/.test(value)) return { labels, wrong: t("join.labels.chars", { name }) };
    if (labels.some((one) => one.name === name)) return { labels, wrong: t("join.labels.twice", { name }) };
    labels.push({ name, value });
  }
  return { labels, wrong: "" };
}

export function makeToken(role: "Node" | "Kube", labels: Label[]): Promise<JoinToken> {
  return makeTokenFor([role], labels);
}

/** ttl in ms; without it what the server thinks good. */
export function makeTokenFor(roles: string[], labels: Label[], ttl?: number): Promise<JoinToken> {
  return api<JoinToken>("POST", "/webapi/token", { roles, join_method: "token", suggested_labels: labels, ttl });
}

/** HOST or HOST:PORT for an address; 443 goes without saying. */
function host(proxy: string): string {
  return proxy.replace(/:443$/, "");
}

/** Who has joined with the token, asked every few seconds until the dialog closes or the token has expired. */
export function useJoined(token: JoinToken): { hosts: Joined[]; over: boolean } {
  const [hosts, setHosts] = useState<Joined[]>([]);
  const [over, setOver] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    const ask = async () => {
      const late = new Date(token.expiry).getTime() < Date.now();
      try {
        setHosts((await api<{ items: Joined[] }>("GET", `/webapi/token/${encodeURIComponent(token.id)}/hosts`, undefined, stop.signal)).items);
      } catch {
        // The network is away for a moment; the next turn asks again.
      }
      if (late) {
        setOver(true);
        clearInterval(timer);
      }
    };
    const timer = setInterval(ask, 2500);
    return () => {
      clearInterval(timer);
      stop.abort();
    };
  }, [token.id]);
  return { hosts, over };
}

/** The end of both dialogs: still waiting, or green with the names that are there. */
export function Arrivals({ names, over, waiting, onAgain }: { names: string[]; over: boolean; waiting: string; onAgain: () => void }) {
  return (
    <div class="arrivals" role="status" aria-live="polite">
      {names.map((name) => (
        <div key={name} class="note good">
          <Icon name="check" />
          <span>{t("join.here", { name })}</span>
        </div>
      ))}
      {names.length === 0 && !over && (
        <div class="waiting">
          <span class="pulse" aria-hidden="true" />
          {waiting}
        </div>
      )}
      {over && (
        <Note warn>
          {t("join.over")} <Button kind="slim" onClick={onAgain}>{t("join.again")}</Button>
        </Note>
      )}
    </div>
  );
}

/** What is asked before a token is made. */
export function JoinForm({ children, wrong, make, action, onClose }: { children: ComponentChildren; wrong: boolean; make: () => Promise<void>; action?: string; onClose: () => void }) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setError("");
    setBusy(true);
    try {
      await make();
    } catch (failed) {
      setError(sayError(failed));
      setBusy(false);
    }
  };
  return (
    <form class="stack" onSubmit={submit}>
      {children}
      {error && <Note bad>{error}</Note>}
      <div class="actions">
        <Button onClick={onClose}>{t("cancel")}</Button>
        <Button type="submit" kind="main" busy={busy} disabled={wrong}>
          {action ?? t("join.make")}
        </Button>
      </div>
    </form>
  );
}

export function LabelsField({ text, setText, hint }: { text: string; setText: (text: string) => void; hint: string }) {
  return (
    <Field label={t("labels")} hint={hint} error={readLabels(text).wrong}>
      {(ids) => <input {...ids} class="input mono" value={text} placeholder="env=dev, team=web" spellcheck={false} autocapitalize="none" onInput={(event) => setText(event.currentTarget.value)} />}
    </Field>
  );
}

function ServerCommand({ token }: { token: JoinToken }) {
  const [cas, setCas] = useState("");
  const [error, setError] = useState("");
  useEffect(() => {
    if (!token.ownCertificate) return;
    const stop = new AbortController();
    apiBytes("/webapi/auth/export?type=tls-host", stop.signal).then(
      (got) => setCas(new TextDecoder().decode(got.bytes).trim()),
      (failed) => !stop.signal.aborted && setError(sayError(failed)),
    );
    return () => stop.abort();
  }, [token.id]);
  const line = (option: string) => `sudo bash -c "$(curl -fsSL ${option}https://${host(token.proxy)}/scripts/${token.id}/install-node.sh)"`;
  if (error) return <Note bad>{error}</Note>;
  if (!token.ownCertificate) return <Command text={line("")} />;
  return (
    <>
      <p>{t("join.own")}</p>
      <ol class="steps">
        <li>
          <span>{t("join.own.save")}</span>
          {cas ? <Command text={`cat > tport-ca.pem <<'END'\n${cas}\nEND`} label={t("join.own.save")} /> : <div class="bone" />}
        </li>
        <li>
          <span>{t("join.own.run")}</span>
          <Command text={line("--cacert tport-ca.pem ")} />
        </li>
      </ol>
    </>
  );
}

function ServerWaiting({ token, onAgain, onClose }: { token: JoinToken; onAgain: () => void; onClose: () => void }) {
  const { hosts, over } = useJoined(token);
  const names = hosts.map((one) => one.name);
  return (
    <>
      {!token.ownCertificate && <p>{t("join.run")}</p>}
      <ServerCommand token={token} />
      <p class="quiet small">{t("join.until", { until: dateTime(token.expiry) })}</p>
      <Arrivals names={names} over={over} waiting={t("join.waiting")} onAgain={onAgain} />
      <div class="actions">
        <Button kind={names.length > 0 ? "main" : ""} onClick={onClose}>
          {names.length > 0 ? t("done") : t("close")}
        </Button>
      </div>
    </>
  );
}

export function AddServer({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [token, setToken] = useState<JoinToken | null>(null);
  const { labels, wrong } = readLabels(text);
  return (
    <Dialog title={t("servers.add")} onClose={onClose}>
      {token ? (
        <ServerWaiting token={token} onAgain={() => setToken(null)} onClose={onClose} />
      ) : (
        <JoinForm wrong={!!wrong} make={async () => setToken(await makeToken("Node", labels))} onClose={onClose}>
          <p>{t("join.text")}</p>
          <LabelsField text={text} setText={setText} hint={t("join.labels.hint")} />
        </JoinForm>
      )}
    </Dialog>
  );
}
