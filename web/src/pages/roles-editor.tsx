// The editor is large, so it comes when a role is opened.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { Note } from "../design/parts";

interface EditorProps {
  value: string;
  at?: number; // where one begins to type
  label: string;
  readOnly: boolean;
  onChange: (text: string) => void;
  onWrong: (said: string) => void; // what the server says about the text as it is; "" when all is well
}

export function lazyEditor(): ComponentType<EditorProps> {
  return function LazyEditor(props: EditorProps) {
    const [Loaded, setLoaded] = useState<ComponentType<EditorProps> | null>(null);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      import("./editor").then((part) => setLoaded(() => part.default), () => setFailed(true));
    }, []);
    if (failed) return <Note bad>{t("error.offline")}</Note>;
    return Loaded ? <Loaded {...props} /> : <div class="editor" aria-busy="true" aria-label={t("loading")} role="status" />;
  };
}
