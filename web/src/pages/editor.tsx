// The editor of roles: CodeMirror in a shadow root, where its styles are constructed sheets (our policy allows no others).
import { autocompletion, closeBrackets, type CompletionContext, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, linter, lintGutter, lintKeymap } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useLayoutEffect, useRef } from "preact/hooks";
import { api, ApiError } from "../api";
import { sayError } from "../design/parts";
import { byteLength, RESOURCE_MAX } from "../text";

const keys: Record<string, string[]> = {
  "": ["kind", "version", "metadata", "spec"],
  metadata: ["name", "description", "labels", "expires"],
  spec: ["allow", "deny", "options"],
  allow: ["logins", "node_labels", "node_labels_expression", "kubernetes_labels", "kubernetes_labels_expression", "kubernetes_groups", "kubernetes_users", "kubernetes_resources", "rules", "app_labels", "db_labels", "db_names", "db_users", "host_groups", "host_sudoers", "impersonate", "join_sessions", "require_session_join", "request", "review_requests"],
  options: ["max_session_ttl", "forward_agent", "port_forwarding", "ssh_file_copy", "record_session", "client_idle_timeout", "disconnect_expired_cert", "enhanced_recording", "max_sessions", "max_connections", "pin_source_ip", "require_session_mfa", "lock", "cert_format", "permit_x11_forwarding", "create_host_user"],
  rules: ["resources", "verbs", "where", "actions"],
  resources: ["role", "user", "token", "lock", "node", "session", "ssh_session", "event", "kube_cluster", "cluster_auth_preference", "session_recording_config"],
  verbs: ["list", "read", "create", "update", "delete", "use"],
  kubernetes_resources: ["kind", "namespace", "name", "verbs"],
  record_session: ["default", "ssh", "desktop"],
};
keys["deny"] = keys["allow"]!;

/** The key under which this line stands, by indentation. */
function parentOf(state: EditorState, lineNumber: number, indent: number): string {
  for (let n = lineNumber - 1; n >= 1; n--) {
    const text = state.doc.line(n).text;
    const found = /^(\s*(?:- )?)([\w-]+):/.exec(text);
    if (found && found[1]!.length < indent) return found[2]!;
  }
  return "";
}

function complete(context: CompletionContext) {
  const line = context.state.doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  const found = /^(\s*(?:- )?)([\w-]*)$/.exec(before);
  if (!found || (!found[2] && !context.explicit)) return null;
  const list = keys[parentOf(context.state, line.number, found[1]!.length)];
  if (!list) return null;
  const item = /- $/.test(found[1]!) && !["rules", "kubernetes_resources"].includes(parentOf(context.state, line.number, found[1]!.length));
  return { from: context.pos - found[2]!.length, options: list.map((label) => ({ label, apply: item ? label : `${label}: `, type: "property" })) };
}

/** What the server says about the text, at its line. */
async function check(view: EditorView): Promise<Diagnostic[]> {
  if (byteLength(view.state.doc.toString()) > RESOURCE_MAX) return []; // said when it is saved
  try {
    await api("POST", "/webapi/roles/check", { content: view.state.doc.toString() });
    return [];
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 400) return [];
    const number = Number(/line (\d+)/.exec(error.message)?.[1] ?? 1);
    const line = view.state.doc.line(Math.max(1, Math.min(number, view.state.doc.lines)));
    return [{ from: line.from, to: line.to, severity: "error", message: sayError(error) }];
  }
}

/** In the colours of the page, light and dark alike. */
const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--warn)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--quiet)", fontStyle: "italic" },
  { tag: [tags.keyword, tags.typeName, tags.meta, tags.labelName], color: "var(--bad)" },
]);

const look = EditorView.theme({
  "&": { height: "min(60vh, 34rem)", fontSize: "0.85rem", color: "var(--ink)", backgroundColor: "var(--raised)" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--quiet)", border: "none" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--accent-ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": { backgroundColor: "var(--accent-soft) !important" },
});

export default function Editor(props: { value: string; at?: number; label: string; readOnly: boolean; onChange: (text: string) => void; onWrong: (said: string) => void }) {
  const host = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const root = host.current!.shadowRoot ?? host.current!.attachShadow({ mode: "open" });
    const view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: props.value,
        extensions: [
          lineNumbers(),
          history(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          yaml(),
          syntaxHighlighting(colours),
          autocompletion({ override: [complete], icons: false }),
          lintGutter(),
          linter(
            async (view) => {
              const found = await check(view);
              props.onWrong(found[0]?.message ?? "");
              return found;
            },
            { delay: 400 },
          ),
          // Tab leaves the editor: indentation is two blanks, as YAML wants.
          keymap.of([...completionKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap]),
          EditorView.contentAttributes.of({ "aria-label": props.label, tabindex: "0" }),
          EditorState.readOnly.of(props.readOnly),
          EditorView.updateListener.of((update) => update.docChanged && props.onChange(update.state.doc.toString())),
          look,
        ],
      }),
    });
    if (props.at !== undefined) {
      view.dispatch({ selection: { anchor: props.at } });
      view.focus();
    }
    return () => view.destroy();
  }, []);
  return <div class="editor" ref={host} />;
}
