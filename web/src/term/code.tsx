// The second factor before a session: a server whose roles want one is opened by a one-time code, for a minute.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { Button, Field, sayError } from "../design/parts";
import { t } from "../i18n";

export function CodeForm({ server, shown, onDone }: { server: string; shown: boolean; onDone: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (shown) field.current?.focus();
  }, [shown]);

  const give = async () => {
    const code = field.current!.value.replace(/\s/g, "");
    field.current!.value = "";
    setBusy(true);
    setError("");
    try {
      await api("POST", "/webapi/mfa/session", { server_id: server, totp_code: code });
      onDone();
    } catch (failed) {
      setError(sayError(failed));
      setBusy(false);
      field.current?.focus();
    }
  };

  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void give();
      }}
    >
      <p>{t("code.why")}</p>
      <Field label={t("signin.code")} hint={t("code.hint")} error={error}>
        {(ids) => <input {...ids} ref={field} class="input code" name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" maxLength={7} required />}
      </Field>
      <div class="actions">
        <Button type="submit" kind="main" busy={busy}>
          {t("code.open")}
        </Button>
      </div>
    </form>
  );
}
