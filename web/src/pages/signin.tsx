import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, ended, signIn } from "../api";
import { Choices } from "../app";
import { Button, Field, Note, Pop, sayError } from "../design/parts";
import { language, t } from "../i18n";
import { useStore } from "../store";
import { theme } from "../theme";

export function SignInPage() {
  const why = useStore(ended);
  const [cluster, setCluster] = useState("");
  const [motd, setMotd] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const code = useRef<HTMLInputElement>(null);
  const user = useRef<HTMLInputElement>(null);
  useStore(theme);
  useEffect(() => {
    document.title = `${t("signin.title")} · tport`;
    user.current?.focus(); // also after a sign-out, where autofocus does nothing
    api<{ cluster_name: string }>("GET", "/webapi/find").then((found) => setCluster(found.cluster_name), () => undefined);
    api<{ text: string }>("GET", "/webapi/motd").then((found) => setMotd(found.text), () => undefined);
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "");
    setBusy(true);
    setError("");
    try {
      await signIn(text("username").trim(), text("password"), text("code").replace(/\s/g, ""));
    } catch (failed) {
      const wrong = failed instanceof ApiError && (failed.status === 401 || failed.status === 403);
      setError(wrong ? t("signin.wrong") : sayError(failed));
      if (code.current && !(failed instanceof ApiError && failed.status === 0)) code.current.value = "";
      code.current?.focus();
    } finally {
      setBusy(false);
    }
  };
  return (
    <div class="door">
      <main>
        <div class="brand">
          <span class="mark" aria-hidden="true" />
          <span>
            tport<small>{cluster || "\u00a0"}</small>
          </span>
        </div>
        <h1>{t("signin.title")}</h1>
        {motd && (
          <div key="motd" class="motd">
            {motd}
          </div>
        )}
        {why === "idle" && !error && <Note warn>{t("signin.idle")}</Note>}
        {why === "ended" && !error && <Note warn>{t("signin.ended")}</Note>}
        {why === "untold" && !error && <Note bad>{t("signin.untold")}</Note>}
        <form onSubmit={submit}>
          <Field label={t("signin.user")}>{(ids) => <input {...ids} ref={user} class="input" name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required maxLength={200} />}</Field>
          <Field label={t("signin.password")}>{(ids) => <input {...ids} class="input" name="password" type="password" autocomplete="current-password" required maxLength={256} />}</Field>
          <Field label={t("signin.code")} hint={t("signin.code.hint")}>
            {(ids) => <input {...ids} ref={code} class="input code" name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" maxLength={7} required />}
          </Field>
          {error && <Note bad>{error}</Note>}
          <Button type="submit" kind="main" busy={busy}>
            {t("signin.go")}
          </Button>
        </form>
        <div class="door-end">
          <span>{t("signin.nobody")}</span>
          <Pop label={language.get() === "ko" ? "한국어" : "English"} kind="button ghost slim">
            {() => <Choices />}
          </Pop>
        </div>
      </main>
    </div>
  );
}
