// A kubeconfig with key and certificate inside. The key is made here and goes nowhere but into the file.
import { api } from "./api";
import { context, site } from "./context";

function pem(kind: string, bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return `-----BEGIN ${kind}-----\n${text.match(/.{1,64}/g)!.join("\n")}\n-----END ${kind}-----\n`;
}

interface Answer {
  certificate: string;
  validUntil: string;
  server: string;
  serverName: string;
  certificateAuthority: string;
}

/** A JSON text is a YAML scalar, whatever is in it. */
const quoted = JSON.stringify;

export async function makeKubeconfig(kube: string): Promise<{ text: string; context: string; until: string }> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const made = await api<Answer>("POST", site("/kubeconfig"), { kube_cluster: kube, tls_pub_key: pem("PUBLIC KEY", await crypto.subtle.exportKey("spki", pair.publicKey)) });
  const key = pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const name = `${context.get()!.cluster.name}-${kube}`;
  const text = `apiVersion: v1
kind: Config
current-context: ${quoted(name)}
clusters:
- name: ${quoted(name)}
  cluster:
    server: ${quoted(`https://${made.server}`)}
    tls-server-name: ${quoted(made.serverName)}
    certificate-authority-data: ${btoa(made.certificateAuthority)}
contexts:
- name: ${quoted(name)}
  context:
    cluster: ${quoted(name)}
    user: ${quoted(name)}
    extensions:
    - name: teleport.kube.name
      extension: ${quoted(kube)}
users:
- name: ${quoted(name)}
  user:
    client-certificate-data: ${btoa(made.certificate)}
    client-key-data: ${btoa(key)}
`;
  return { text, context: name, until: made.validUntil };
}
