// Copying files over a session of their own, with progress.
import { useEffect, useRef, useState } from "preact/hooks";
import { save } from "../api";
import { Button, Dialog, Field, Note, Tabs } from "../design/parts";
import { bytes, t } from "../i18n";
import { CodeForm } from "./code";
import { Wire } from "./wire";

const PIECE = 32 * 1024;
const QUEUE = 512 * 1024;

interface Progress {
  done: number;
  size: number;
  state: "running" | "code" | "ok" | "failed";
  text: string;
}

function reason(message: string): string {
  if (message === "lost") return t("files.lost");
  return message === "gone" || message === "signin" ? t(`term.${message}`) : message ? t("files.said", { text: message }) : t("files.failed");
}

export function FilesDialog({ server, login, onClose }: { server: string; login: string; onClose: () => void }) {
  const [tab, setTab] = useState<"upload" | "download">("upload");
  const [path, setPath] = useState("");
  const [file, setFile] = useState<File | null>(null);
  const [progress, setProgress] = useState<Progress | null>(null);
  const wire = useRef<Wire | null>(null);
  useEffect(() => () => wire.current?.close(), []);
  const running = progress?.state === "running";

  const download = () => {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let done = 0;
    let size = 0;
    setProgress({ done, size, state: "running", text: "" });
    wire.current = new Wire(server, login, { w: 80, h: 24 }, {
      onMeta: (meta) => (size = meta.size ?? 0),
      onData: (data, used) => {
        parts.push(new Uint8Array(data));
        done += data.length;
        setProgress({ done, size, state: "running", text: "" });
        used();
      },
      onState: (state, message) => {
        if (state === "code") setProgress({ done, size, state, text: "" });
        if (state === "over") setProgress({ done, size, state: "failed", text: reason(message) });
      },
      onExit: (code) => {
        if (code !== 0) return setProgress({ done, size, state: "failed", text: t("files.failed") });
        save(path.split("/").pop() || "file", "application/octet-stream", parts);
        setProgress({ done, size: done, state: "ok", text: t("files.downloaded", { size: bytes(done) }) });
      },
    }, { op: "download", path });
  };

  const upload = (source: File) => {
    const target = path === "" ? source.name : path.endsWith("/") ? path + source.name : path;
    let done = 0;
    let failed = false;
    const show = (state: Progress["state"], text: string) => setProgress({ done, size: source.size, state, text });
    show("running", "");
    const line = new Wire(server, login, { w: 80, h: 24 }, {
      onMeta: () => void push(),
      onData: (_data, used) => used(),
      onState: (state, message) => {
        if (state !== "over" && state !== "code") return;
        failed = true;
        show(state === "code" ? "code" : "failed", reason(message));
      },
      onExit: (code) => (code === 0 ? show("ok", t("files.uploaded", { path: target })) : show("failed", t("files.failed"))),
    }, { op: "upload", path: target, size: source.size });
    wire.current = line;
    const push = async () => {
      while (done < source.size && !failed) {
        if (line.queued > QUEUE) {
          await new Promise((resume) => setTimeout(resume, 20));
          continue;
        }
        const piece = new Uint8Array(await source.slice(done, done + PIECE).arrayBuffer());
        if (failed || !line.input(piece)) return;
        done += piece.length;
        show("running", "");
      }
      if (!failed) line.finish();
    };
  };

  const take = (next: "upload" | "download") => {
    if (running) return;
    setTab(next);
    setProgress(null); // what is said about the one is not about the other
  };
  const go = () => {
    if (tab === "download") download();
    else if (file) upload(file);
  };

  return (
    <Dialog title={t("files.title")} onClose={onClose}>
      <Tabs label={t("files.title")} tabs={[["upload", t("files.upload")], ["download", t("files.download")]]} on={tab} set={take} />
      {progress?.state === "code" && <CodeForm opens={{ server_id: server }} shown onDone={go} />}
      <form
        class="stack"
        hidden={progress?.state === "code"}
        onSubmit={(event) => {
          event.preventDefault();
          go();
        }}
      >
        {tab === "upload" && <Field label={t("files.file")}>{(ids) => <input {...ids} class="input" type="file" required onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)} />}</Field>}
        <Field label={tab === "upload" ? t("files.target") : t("files.source")} hint={tab === "upload" ? t("files.target.hint") : t("files.source.hint")}>
          {(ids) => <input {...ids} class="input mono" value={path} required={tab === "download"} onInput={(event) => setPath(event.currentTarget.value)} spellcheck={false} autocapitalize="none" />}
        </Field>
        {progress && (
          <div key="progress" class="row" role="status">
            {running && <progress class="meter" max={progress.size || 1} value={progress.size ? progress.done : undefined} aria-label={t("files.title")} />}
            <span class="num small">{running ? `${bytes(progress.done)}${progress.size ? ` / ${bytes(progress.size)}` : ""}` : ""}</span>
          </div>
        )}
        {progress?.state === "failed" && <Note bad>{progress.text}</Note>}
        {progress?.state === "ok" && <Note>{progress.text}</Note>}
        <div class="actions">
          {running ? (
            <Button
              onClick={() => {
                wire.current?.close();
                setProgress({ ...progress, state: "failed", text: t("files.stopped") });
              }}
            >
              {t("files.stop")}
            </Button>
          ) : (
            <Button type="submit" kind="main">
              {tab === "upload" ? t("files.upload") : t("files.download")}
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
