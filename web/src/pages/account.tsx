// What a person changes about himself: password, devices of one-time codes, web sessions.
import { useRef, useState } from "preact/hooks";
import { api, ApiError, remove } from "../api";
import { Button, type Column, Command, Confirm, Dialog, Failed, Field, Head, Note, sayError, Table, toast } from "../design/parts";
import { useAttempt } from "../design/attempt";
import { ago, dateTime, t } from "../i18n";
import { useWhole } from "../list";

const MIN_PASSWORD = 12;

interface Device {
  id: string;
  name: string;
  added: string;
  used: string;
}

interface WebSession {
  id: string;
  created: string;
  used: string;
  ip: string;
  agent: string;
  current: boolean;
}

/** Wrong tries are counted for longer than elsewhere. */
const say = (error: unknown) => (error instanceof ApiError && error.status === 429 ? t("account.limit") : sayError(error));

/** A code that was looked at is worth nothing more; one that may not have come to the server stays. */
async function withCode(call: Promise<unknown>, setCode: (text: string) => void): Promise<void> {
  try {
    await call;
    setCode("");
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 0)) setCode("");
    throw error;
  }
}

const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/** A code that is good now: every change asks for one. */
function Code({ value, onChange, label, hint }: { value: string; onChange: (text: string) => void; label?: string; hint?: string }) {
  return (
    <Field label={label ?? t("signin.code")} hint={hint}>
      {(ids) => <input {...ids} class="input code" value={value} onInput={(event) => onChange(event.currentTarget.value)} inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" maxLength={7} required />}
    </Field>
  );
}

const digits = (text: string) => text.replace(/\s/g, "");

function Password() {
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const [code, setCode] = useState("");
  const attempt = useAttempt((error) => (error instanceof ApiError && error.status === 0 ? t("account.password.unsure") : say(error)));
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (fresh !== again) return attempt.fail(t("account.password.differ"));
    void attempt.go(async () => {
      await withCode(api("PUT", "/webapi/users/password", { old_password: base64(old), new_password: base64(fresh), second_factor_token: digits(code) }), setCode);
      setOld("");
      setFresh("");
      setAgain("");
      toast(t("account.password.done"));
    });
  };
  const password = (label: string, value: string, set: (text: string) => void, complete: "current-password" | "new-password", hint?: string) => (
    <Field label={label} hint={hint}>
      {(ids) => <input {...ids} class="input" type="password" value={value} onInput={(event) => set(event.currentTarget.value)} autocomplete={complete} minLength={complete === "new-password" ? MIN_PASSWORD : undefined} required />}
    </Field>
  );
  return (
    <section class="panel" aria-labelledby="account-password">
      <h2 id="account-password">{t("account.password")}</h2>
      <form class="stack narrow" onSubmit={submit}>
        {password(t("account.password.old"), old, setOld, "current-password")}
        {password(t("account.password.new"), fresh, setFresh, "new-password", t("account.password.hint", { count: MIN_PASSWORD }))}
        {password(t("account.password.again"), again, setAgain, "new-password")}
        <Code value={code} onChange={setCode} hint={t("signin.code.hint")} />
        {attempt.error && <Note bad>{attempt.error}</Note>}
        <div>
          <Button type="submit" kind="main" busy={attempt.busy}>
            {t("account.password.change")}
          </Button>
        </div>
      </form>
    </section>
  );
}

function AddDevice({ onClose }: { onClose: () => void }) {
  const seed = useWhole<{ qrCode: string; secret: string; expires: string }>(async (signal) => [await api("POST", "/webapi/mfa/devices/new", undefined, signal)]);
  const [name, setName] = useState("");
  const [fresh, setFresh] = useState("");
  const [code, setCode] = useState("");
  const made = seed.items?.[0];
  const unsure = useRef(false); // the answer to a try was lost
  const attempt = useAttempt((error) => {
    const late = unsure.current;
    if (error instanceof ApiError && error.status === 0) unsure.current = true;
    else if (late) return `${say(error)} ${t("account.device.unsure")}`;
    return say(error);
  });
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void attempt.go(async () => {
      await withCode(api("POST", "/webapi/mfa/devices", { deviceName: name.trim(), new_code: digits(fresh), second_factor_token: digits(code) }), setCode);
      toast(t("account.device.added", { name: name.trim() }));
      onClose();
    });
  };
  return (
    <Dialog title={t("account.device.add")} onClose={onClose}>
      {seed.error ? <Failed error={seed.error} again={seed.reload} /> : null}
      {!made && !seed.error && <div class="bone" aria-label={t("loading")} />}
      {made && (
        <form class="stack" onSubmit={submit}>
          <ol class="steps">
            <li>
              <div>{t("account.device.scan")}</div>
              <img class="qr" src={`data:image/png;base64,${made.qrCode}`} alt={t("account.device.picture")} width={180} height={180} />
              <Command text={made.secret.replace(/(.{4})(?=.)/g, "$1 ")} label={t("account.device.secret")} />
            </li>
            <li>
              <Code value={fresh} onChange={setFresh} label={t("account.device.new.code")} />
            </li>
            <li>
              <Field label={t("account.device.name")} hint={t("account.device.name.hint")}>
                {(ids) => <input {...ids} class="input" value={name} maxLength={40} required onInput={(event) => setName(event.currentTarget.value)} />}
              </Field>
            </li>
            <li>
              <Code value={code} onChange={setCode} label={t("account.code.now")} hint={t("account.code.now.hint")} />
            </li>
          </ol>
          {attempt.error && <Note bad>{attempt.error}</Note>}
          <div class="actions">
            <Button onClick={onClose}>{t("cancel")}</Button>
            <Button type="submit" kind="main" busy={attempt.busy}>
              {t("account.device.add")}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

function ChangeDevice({ device, removing, onClose }: { device: Device; removing: boolean; onClose: () => void }) {
  const [name, setName] = useState(device.name);
  const [code, setCode] = useState("");
  const attempt = useAttempt(say);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void attempt.go(async () => {
      const path = `/webapi/mfa/devices/${encodeURIComponent(device.id)}`;
      const given = { deviceName: name.trim(), second_factor_token: digits(code) };
      await withCode(removing ? remove(path, given) : api("PUT", path, given), setCode);
      toast(removing ? t("account.device.removed", { name: device.name }) : t("saved"));
      onClose();
    });
  };
  return (
    <Dialog title={removing ? t("account.device.remove.ask", { name: device.name }) : t("account.device.rename", { name: device.name })} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {removing ? <p>{t("account.device.remove.text")}</p> : <Field label={t("account.device.name")}>{(ids) => <input {...ids} class="input" value={name} maxLength={40} required onInput={(event) => setName(event.currentTarget.value)} />}</Field>}
        <Code value={code} onChange={setCode} hint={t("account.code.now.hint")} />
        {attempt.error && <Note bad>{attempt.error}</Note>}
        <div class="actions">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" kind={removing ? "bad main" : "main"} busy={attempt.busy}>
            {removing ? t("account.device.remove") : t("save")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Devices() {
  const list = useWhole<Device>(async (signal) => (await api<{ items: Device[] }>("GET", "/webapi/mfa/devices", undefined, signal)).items);
  const [adding, setAdding] = useState(false);
  const [changing, setChanging] = useState<{ device: Device; removing: boolean } | null>(null);
  const only = list.items?.length === 1;
  const columns: Column<Device>[] = [
    { id: "name", title: t("name"), cell: (device) => <b>{device.name}</b> },
    { id: "added", title: t("account.added"), cell: (device) => <time class="num" dateTime={device.added}>{dateTime(device.added)}</time> },
    { id: "used", title: t("account.used"), cell: (device) => <time class="num" dateTime={device.used} title={dateTime(device.used)}>{device.used ? ago(device.used) : t("never")}</time> },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (device) => (
        <>
          <Button kind="slim" onClick={() => setChanging({ device, removing: false })}>
            {t("account.rename")}
          </Button>
          {!only && (
            <Button kind="slim" onClick={() => setChanging({ device, removing: true })}>
              {t("account.device.remove")}
            </Button>
          )}
        </>
      ),
    },
  ];
  return (
    <section class="panel" aria-labelledby="account-devices">
      <div class="row">
        <h2 id="account-devices" class="grow">
          {t("account.devices")}
        </h2>
        <Button icon="plus" onClick={() => setAdding(true)}>
          {t("account.device.add")}
        </Button>
      </div>
      <p class="quiet">{only ? t("account.devices.only") : t("account.devices.text")}</p>
      {list.error ? <Failed error={list.error} again={list.reload} /> : null}
      {list.error && !list.items ? null : <Table label={t("account.devices")} columns={columns} items={list.items} keyOf={(device) => device.id} />}
      {adding && <AddDevice onClose={() => (setAdding(false), list.reload())} />}
      {changing && <ChangeDevice {...changing} onClose={() => (setChanging(null), list.reload())} />}
    </section>
  );
}

/** "Firefox · Linux", as far as a browser says what it is; the whole text is in the title. */
function browserName(agent: string): string {
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /Linux/.test(agent) ? "Linux" : "";
  return [browser, system].filter(Boolean).join(" · ") || agent.slice(0, 40) || t("account.browser.unknown");
}

function Sessions() {
  const list = useWhole<WebSession>(async (signal) => (await api<{ items: WebSession[] }>("GET", "/webapi/sessions/web", undefined, signal)).items.sort((a, b) => Number(b.current) - Number(a.current) || b.used.localeCompare(a.used)), 30000);
  const [all, setAll] = useState(false);
  const end = async (id: string) => {
    await remove(`/webapi/sessions/web/${id}`);
    toast(t("account.session.ended"));
    list.reload();
  };
  const columns: Column<WebSession>[] = [
    {
      id: "agent",
      title: t("account.browser"),
      cell: (one) => (
        <span title={one.agent}>
          {browserName(one.agent)} {one.current && <span class="chip good">{t("account.session.this")}</span>}
        </span>
      ),
    },
    { id: "ip", title: t("sessions.from"), cell: (one) => <span class="mono">{one.ip}</span> },
    { id: "created", title: t("account.session.signed"), cell: (one) => <time class="num" dateTime={one.created}>{dateTime(one.created)}</time> },
    { id: "used", title: t("account.used"), cell: (one) => <time class="num" dateTime={one.used}>{ago(one.used)}</time> },
    {
      id: "actions",
      title: t("actions"),
      end: true,
      cell: (one) =>
        !one.current && (
          <Button kind="slim" onClick={() => end(one.id)}>
            {t("menu.signout")}
          </Button>
        ),
    },
  ];
  return (
    <section class="panel" aria-labelledby="account-sessions">
      <div class="row">
        <h2 id="account-sessions" class="grow">
          {t("account.sessions")}
        </h2>
        {(list.items?.length ?? 0) > 1 && <Button onClick={() => setAll(true)}>{t("account.session.others")}</Button>}
      </div>
      <p class="quiet">{t("account.sessions.text")}</p>
      {list.error ? <Failed error={list.error} again={list.reload} /> : null}
      {list.error && !list.items ? null : <Table label={t("account.sessions")} columns={columns} items={list.items} keyOf={(one) => one.id} />}
      {all && <Confirm title={t("account.session.others.ask")} text={t("account.session.others.text")} action={t("account.session.others")} onClose={() => (setAll(false), list.reload())} run={() => end("others")} />}
    </section>
  );
}

export function AccountPage() {
  return (
    <>
      <Head title={t("menu.account")} text={t("account.text")} />
      <div class="stack">
        <Devices />
        <Sessions />
        <Password />
      </div>
    </>
  );
}
