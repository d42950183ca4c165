// The second factor before a session: where roles want one, a one-time code opens a server, or a session that runs to who
// watches it, for a minute.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { Button, Field, sayError } from "../design/parts";
import { t } from "../i18n";

/** What the code is for: a server by its id or name, or a running session by its id. */
export type CodeFor = { server_id: string } | { sid: string };

export function CodeForm({ opens, shown, onDone }: { opens: CodeFor; shown: boolean; onDone: () => void }) {
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
      await api("POST", "/webapi/mfa/session", { ...opens, totp_code: code });
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
      <p>{t("sid" in opens ? "code.why.watch" : "code.why")}</p>
      <Field label={t("signin.code")} hint={t("code.hint")} error={error}>
        {(ids) => <input {...ids} ref={field} class="input code" name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" maxLength={7} required />}
      </Field>
      <div class="actions">
        <Button type="submit" kind="main" busy={busy}>
          {t("sid" in opens ? "code.watch" : "code.open")}
        </Button>
      </div>
    </form>
  );
}
