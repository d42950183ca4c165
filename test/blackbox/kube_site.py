"""tport in front of real Kubernetes clusters, as the walkthrough has it: the proxy's own cluster "demo" (labelled
app=teleport-cluster), and one agent with "prod" (with a node) and "prod5" (the same behind a front for WebSocket v5)."""

import contextlib
import json
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import time
from concurrent import futures

import kube
from tport import Cluster, Daemon, in_host, wait_for

MEMBER = """
kind: role
version: v5
metadata:
  name: member
spec:
  allow:
    kubernetes_groups: ["system:masters"]
    kubernetes_labels:
      '*': '*'
"""

DEV2 = """
kind: role
metadata:
  name: dev2
spec:
  allow:
    kubernetes_groups:
    - '{{internal.kubernetes_groups}}'
    - developer
    kubernetes_labels:
      '*': '*'
    kubernetes_users:
    - '{{internal.kubernetes_users}}'
    - dev
    logins:
    - '{{internal.logins}}'
    - ec2-user
    node_labels:
      environment: dev
    rules:
    - resources:
      - session
      verbs:
      - read
      - list
      where: contains(session.participants, user.metadata.name)
  deny:
    kubernetes_labels:
      app: teleport-cluster
    logins:
    - guest
  options:
    cert_format: standard
    create_host_user: false
    desktop_clipboard: true
    desktop_directory_sharing: true
    enhanced_recording:
    - command
    - network
    forward_agent: false
    max_session_ttl: 8h0m0s
    pin_source_ip: false
    port_forwarding: true
    record_session:
      default: best_effort
      desktop: true
version: v5
"""

DEVELOPER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: developer-cluster-role
rules:
- apiGroups: [""]
  resources: ["configmaps","services","pods","deployments"]
  verbs: ["get", "watch", "list","create","delete","patch"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: developer-crb
subjects:
- kind: Group
  name: developer
  apiGroup: rbac.authorization.k8s.io
roleRef:
  kind: ClusterRole
  name: developer-cluster-role
  apiGroup: rbac.authorization.k8s.io
"""


def merged(files):
    """One kubeconfig with the contexts of several."""
    whole = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
    for file in files:
        one = json.loads(pathlib.Path(file).read_text())
        for part in ("clusters", "users", "contexts"):
            whole[part] += one[part]
    return json.dumps(whole)


def memory_of(pids):
    """MB that these processes hold."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024
    return total


class Site:
    def __init__(self):
        self.kubes = []
        self.pool = futures.ThreadPoolExecutor()
        self.cluster = Cluster(name="kube-test")
        try:
            # Both start at the same time; the first takes much longer. The threads stay as long as the site: what they start dies with them (DIES_WITH_US).
            self.cluster.net.host("kube1")
            self.cluster.net.host("kube2")
            prod = self.pool.submit(self._kube, "kube1", node=True, front=True)
            demo = self.pool.submit(self._kube, "kube2")
            self.prod, self.demo = prod.result(), demo.result()
            self._serve_own()
            self.agent = self.add_agent("kubeagent", [self.prod.kubeconfig("tport-agent", "prod"),
                                                      self.prod.kubeconfig("tport-agent", "prod5", front=True)])
            self.wait_clusters("demo", "prod", "prod5")
            for role in (MEMBER, DEV2):
                self.cluster.ctl("create", input=role)
        except BaseException:
            print(self.cluster.daemon.text()[-3000:])
            self.close()
            raise

    def _kube(self, host, **options):
        self.kubes.append(kube.Kube(self.cluster.net, host, **options))
        return self.kubes[-1]

    def _kubeconfig(self, folder, files):
        path = folder / "kubeconfig"
        path.write_text(merged(files))
        os.chmod(path, 0o644)
        return path

    def _serve_own(self):
        """The proxy serves a cluster of its own: kubernetes_service beside auth and proxy."""
        daemon = self.cluster.daemon
        file = self._kubeconfig(daemon.folder, [self.demo.kubeconfig("tport-agent", "demo")])
        daemon.stop()
        daemon.write(self.cluster.conf() + f"kubernetes_service:\n  enabled: yes\n  kubeconfig_file: {file}\n"
                                           "  labels: {app: teleport-cluster}\n")
        self.cluster.start()

    def token(self):
        """As the walkthrough asks for it."""
        out = self.cluster.ctl("nodes", "add", "--roles=kube", "--ttl=10000h", "--format=json").stdout
        return json.loads(out)[0]

    def add_agent(self, name, files, labels="{env: dev}"):
        cluster = self.cluster
        folder = cluster.folder / name
        folder.mkdir()
        os.chmod(folder, 0o755)
        file = self._kubeconfig(folder, files)
        daemon = Daemon(cluster.net, name, folder, f"""
version: v3
tport:
  nodename: {name}
  data_dir: {folder}/data
  proxy_server: {cluster.proxy}
  join_params: {{method: token, token_name: {self.token()}}}
  ca_pin: {cluster.pin()}
ssh_service:
  enabled: no
kubernetes_service:
  enabled: yes
  kubeconfig_file: {file}
  labels: {labels}
""")
        cluster.nodes[name] = daemon
        return daemon.start()

    def wait_clusters(self, *names, timeout=60):
        """They are registered."""
        def there():
            found = json.loads(self.cluster.ctl("kube", "ls", "--format=json").stdout)
            return set(names) <= {item["metadata"]["name"] for item in found}
        wait_for(there, timeout)

    @staticmethod
    def wait_online(person, name, online=True, timeout=60):
        """They can, or cannot, be reached, as this person is told."""
        def shown():
            lines = person.tport("kube", "ls", check=True).stdout.splitlines()
            return any(line.startswith(f"{name} ") and ("(offline)" not in line) == online for line in lines)
        wait_for(shown, timeout)

    def person(self, name, roles, **traits):
        person = self.cluster.person(name, roles=roles, logins=None)
        for key, values in traits.items():
            self.cluster.ctl("users", "update", name, f"--set-{key.replace('_', '-')}={values}")
        return person

    def kubectl(self, person, *words, version="1.20", context=None, **kw):
        chosen = [f"--context=kube-test-{context}"] if context else []
        return person.run(kube.kubectl_path(version), *chosen, *words, **kw)

    @staticmethod
    def helm(person, *words, context="prod", **kw):
        return person.run(kube.newest("helm"), f"--kube-context=kube-test-{context}", *words, **kw)

    @contextlib.contextmanager
    def running(self, person, *words, version="1.20", context="prod", stdin=subprocess.DEVNULL):
        """A kubectl that goes on; its output is a pipe."""
        command = self.cluster.net.prefix(person.host) + [str(kube.kubectl_path(version)), f"--context=kube-test-{context}", *words]
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=person.env(),
                                   cwd=person.home, bufsize=0)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            process.stdout.close()
            if process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def events(self, kind, **fields):
        """Audit events of that type whose members are as given, newest first."""
        asked = {"user": fields["user"]} if "user" in fields else {}
        return [e for e in self.cluster.audit(type=kind, limit=1000, **asked) if all(e.get(k) == v for k, v in fields.items())]

    def server_name(self, name):
        return f"{name.encode().hex()}.kube.kube-test"

    def tls_context(self, person):
        """With the person's certificate, if there is a person."""
        context = ssl.create_default_context(cadata=self.cluster.ca())
        if person:
            keys = person.home / ".tport" / "keys" / self.cluster.proxy.split(":")[0]
            context.load_cert_chain(keys / f"{person.name}.crt", keys / f"{person.name}.key")
        return context

    @contextlib.contextmanager
    def tls(self, person, name="prod", server_name=None, context=None):
        """A raw TLS connection as kubectl opens one for upgrades (no ALPN)."""
        context = context or self.tls_context(person)
        address, port = self.cluster.proxy.split(":")
        with in_host(self.cluster.net, "client0"):
            raw = socket.create_connection((address, int(port)), timeout=20)
        with context.wrap_socket(raw, server_hostname=server_name or self.server_name(name)) as tls:
            yield tls

    def raw(self, person, request, name="prod"):
        """The answer to one request, whole: (status, head, body)."""
        with self.tls(person, name) as tls:
            tls.sendall(request if isinstance(request, bytes) else request.encode())
            return read_answer(tls)

    def get(self, person, path, headers=(), name="prod", method="GET"):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.server_name(name)}", "Connection: close", *headers, "", ""]
        return self.raw(person, "\r\n".join(lines), name)

    def close(self):
        for daemon in self.cluster.nodes.values():
            daemon.stop()
        for one in self.kubes:
            one.close()
        self.cluster.close()
        self.pool.shutdown()


def role(name, **allow):
    version = allow.pop("version", "v7")
    deny = allow.pop("deny", {})
    return json.dumps({"kind": "role", "version": version, "metadata": {"name": name},
                       "spec": {"allow": {"kubernetes_labels": {"*": "*"}, **allow}, "deny": deny}})


def with_role(site, name, context="prod", **allow):
    """Somebody with a role of his own."""
    site.cluster.ctl("create", "-f", input=role(f"{name}-role", **allow))
    made = site.person(name, f"{name}-role")
    made.tport("kube", "login", context, check=True)
    return made


def read_answer(tls):
    data = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError, TimeoutError):
        while chunk := tls.recv(65536):
            data += chunk
            head, cut, body = data.partition(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if cut and length and len(body) >= length[0]:
                break
            if cut and b"chunked" in head.lower() and body.endswith(b"0\r\n\r\n"):
                break
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode(errors="replace")
    status = int(text.split(" ")[1]) if text.startswith("HTTP/") else 0
    if "chunked" in text.lower():
        plain, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            if not size.strip() or int(size.split(b";")[0], 16) == 0:
                break
            plain, rest = plain + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        body = plain
    return status, text, body.decode(errors="replace")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(process, text, timeout=40):
    """Reads what a running command prints until a line holds text; gives the lines so far."""
    end, lines = time.monotonic() + timeout, []
    rest = getattr(process, "rest", b"")
    while time.monotonic() < end:
        line, cut, after = rest.partition(b"\n")
        if cut:
            lines.append(line.decode(errors="replace"))
            process.rest = rest = after
            if text in lines[-1]:
                return lines
        elif select.select([process.stdout], [], [], 0.5)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            rest += chunk
    raise AssertionError(f"{text!r} did not come; instead: {lines} {rest!r}")
