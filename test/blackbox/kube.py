"""Real Kubernetes clusters for tests: etcd and kube-apiserver (RBAC on, client certificates, audit log) in a network
namespace each, and on request a node: containerd and kubelet in namespaces of their own, so that the end of one process
takes containers, mounts and all with it. The programs come from test/kube/build."""

import base64
import functools
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

import pytest

from tport import DIES_WITH_US, ROOT, wait_for

KUBE = ROOT / "test" / "kube"
API_PORT, FRONT_PORT = 6443, 6444
IN_CI = os.environ.get("CI") == "true"
# A loaded machine starts an API server in half a minute.
START = 150

ROLES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent-of-tests}
rules:
- {apiGroups: [""], resources: [users, groups, serviceaccounts], verbs: [impersonate]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
- {apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent-of-tests}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent-of-tests}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tport-agent}]
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: shell, namespace: default, labels: {app: shell}}
spec:
  hostNetwork: true
  nodeName: localhost
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers:
  - name: main
    image: busybox:test
    imagePullPolicy: Never
    stdin: true
    command: [/bin/sh, -c]
    args: ['httpd -p 127.0.0.1:18080 -h /www; (i=0; while :; do echo line $i; i=$((i+1)); sleep 1; done) & while read l; do echo "stdin: $l"; done; wait']
"""


def unavailable(reason):
    """CI skips nothing; elsewhere a machine that cannot do it says so."""
    if IN_CI:
        pytest.fail(f"CI must run this, but: {reason}", pytrace=False)
    pytest.skip(reason)


@functools.lru_cache(maxsize=None)
def programs():
    """The folder of kube-apiserver and the rest; built when there is none (test/kube/build says how far it is)."""
    done = subprocess.run([str(KUBE / "build")], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        unavailable("test/kube/build failed; run it by hand to see why")
    return pathlib.Path(done.stdout.strip()) / "bin"


@functools.lru_cache(maxsize=None)
def _newest():
    return subprocess.run([str(KUBE / "helm")], capture_output=True, text=True, check=False)


def newest(program):
    """"helm" or "kubectl-1.35"; fetched when they are not there (test/kube/helm). Some machines have none."""
    done = _newest()
    why = (done.stderr.strip().splitlines() or ["test/kube/helm failed"])[-1]
    if done.returncode == 2:
        pytest.skip(why)
    if done.returncode != 0:
        unavailable(why)
    return pathlib.Path(done.stdout.strip()) / "bin" / program


def kubectl_path(version):
    """"1.20" is Debian 12's, "new" Debian 13's (or the one that TPORT_KUBECTL_NEW names), "1.35" comes with helm."""
    if version == "1.35":
        return newest("kubectl-1.35")
    other = os.environ.get("TPORT_KUBECTL_NEW") if version == "new" else None
    return pathlib.Path(other) if other else programs() / f"kubectl-{version}"


def why_no_node():
    """Why containers cannot run here, or None."""
    cgroup = pathlib.Path("/sys/fs/cgroup")
    if not (cgroup / "memory").is_dir() and not (cgroup / "cgroup.controllers").exists():
        return "no control groups are mounted at /sys/fs/cgroup"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                           capture_output=True, text=True, check=False)
    return f"no mount and PID namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Pki:
    """Certificates of one cluster, made by openssl."""

    def __init__(self, folder, address):
        self.folder = folder
        folder.mkdir()
        self._ca("ca")
        self._ca("front-ca")
        server, client = "extendedKeyUsage=serverAuth\n", "extendedKeyUsage=clientAuth\n"
        self.leaf("apiserver", "/CN=kube-apiserver", server + f"subjectAltName=DNS:localhost,DNS:kubernetes,IP:127.0.0.1,IP:{address}\n")
        self.leaf("kubelet-server", "/CN=kubelet", server + "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.leaf("admin", "/O=system:masters/CN=admin", client)
        self.leaf("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", client)
        self.leaf("kubelet", "/O=system:nodes/CN=system:node:localhost", client)
        self.leaf("tport-agent", "/CN=tport-agent", client)
        self.leaf("front", "/CN=front-proxy-client", client, ca="front-ca")
        self.openssl("genrsa", "-out", "sa.key", "2048")

    def openssl(self, *words, input=None):
        subprocess.run(["openssl", *words], cwd=self.folder, input=input, text=True, capture_output=True, check=True)

    def _ca(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                     "-out", f"{name}.crt", "-days", "30", "-subj", f"/CN={name}", "-addext",
                     "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def leaf(self, name, subject, extensions, ca="ca"):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out",
                     f"{name}.csr", "-subj", subject)
        (self.folder / f"{name}.ext").write_text(f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n{extensions}")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial",
                     "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def data(self, file):
        return base64.b64encode((self.folder / file).read_bytes()).decode()


class Kube:
    """One cluster in the host `host` of net. Its folder is memory where there is /dev/shm: etcd syncs often."""

    def __init__(self, net, host, node=False, front=False):
        if not net.real:
            unavailable("a Kubernetes cluster for tests needs network namespaces (root)")
        if node and (reason := why_no_node()):
            unavailable(f"containers cannot run here: {reason}")
        self.net, self.host, self.bin = net, host, programs()
        self.address = net.host(host)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tport-kube-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        os.chmod(self.folder, 0o755)
        self.processes = {}
        try:
            self.pki = Pki(self.folder / "pki", self.address)
            self._files()
            self.start_etcd()
            self.start_api()
            self.wait_ready()
            self.admin("apply", "-f", "-", input=ROLES)
            if front:
                self._run("ws5front", "-listen", f"{self.address}:{FRONT_PORT}", "-up", f"{self.address}:{API_PORT}",
                          *(f"-{flag}={self.pki.folder}/{file}" for flag, file in (
                              ("cert", "apiserver.crt"), ("key", "apiserver.key"), ("ca", "ca.crt"), ("fpcert", "front.crt"),
                              ("fpkey", "front.key"))))
            if node:
                self.start_node()
        except BaseException:
            self.show_logs()
            self.close()
            raise

    # --- configuration ---

    def _files(self):
        (self.folder / "audit.yaml").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
                                                "rules: [{level: Metadata}]\n")
        for user in ("admin", "kubelet", "tport-agent"):
            self.kubeconfig(user)

    def kubeconfig(self, user, name="default", front=False):
        """A file with one context `name`, certificate and key inside; admin and tport-agent are there from the start."""
        port = FRONT_PORT if front else API_PORT
        path = self.folder / f"{user}-{name}-{port}.kubeconfig"
        if not path.exists():
            path.write_text(json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": name,
                "clusters": [{"name": name, "cluster": {"server": f"https://{self.address}:{port}",
                                                        "certificate-authority-data": self.pki.data("ca.crt")}}],
                "users": [{"name": name, "user": {"client-certificate-data": self.pki.data(f"{user}.crt"),
                                                  "client-key-data": self.pki.data(f"{user}.key")}}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}]}))
        return str(path)

    # --- processes ---

    def _run(self, name, *words, prefix=None):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                (prefix or self.net.prefix(self.host)) + [*DIES_WITH_US, str(self.bin / name), *map(str, words)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)})

    def start_etcd(self):
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        self._run("etcd", "--name=one", f"--data-dir={self.folder}/etcd", "--log-level=warn", f"--listen-client-urls={client}",
                  f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                  f"--initial-cluster=one={peer}")

    def start_api(self):
        pki = self.pki.folder
        self._run("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--bind-address={self.address}",
                  f"--advertise-address={self.address}", f"--secure-port={API_PORT}", "--endpoint-reconciler-type=none",
                  "--authorization-mode=Node,RBAC", f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
                  f"--tls-private-key-file={pki}/apiserver.key", "--service-cluster-ip-range=10.96.0.0/16",
                  "--disable-admission-plugins=ServiceAccount", "--service-account-issuer=https://kubernetes",
                  f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key",
                  f"--requestheader-client-ca-file={pki}/front-ca.crt", "--requestheader-allowed-names=front-proxy-client",
                  "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
                  "--requestheader-extra-headers-prefix=X-Remote-Extra-", f"--proxy-client-cert-file={pki}/front.crt",
                  f"--proxy-client-key-file={pki}/front.key", f"--kubelet-certificate-authority={pki}/ca.crt",
                  f"--kubelet-client-certificate={pki}/kubelet-client.crt", f"--kubelet-client-key={pki}/kubelet-client.key",
                  "--kubelet-preferred-address-types=Hostname", f"--audit-policy-file={self.folder}/audit.yaml",
                  f"--audit-log-path={self.folder}/audit.log", f"--cert-dir={self.folder}/apiserver",
                  "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")

    def start_controllers(self):
        self._run("kube-controller-manager", "--kubeconfig", self.kubeconfig("admin"), "--bind-address=127.0.0.1", "--port=0",
                  "--leader-elect=false", f"--service-account-private-key-file={self.pki.folder}/sa.key",
                  f"--root-ca-file={self.pki.folder}/ca.crt", f"--cert-dir={self.folder}/kcm")

    def stop_api(self):
        """The controllers end first: while they start they end by themselves when the API server goes."""
        self._end("kube-controller-manager")
        self._end("kube-apiserver")

    def restart_api(self):
        self.stop_api()
        self.start_api()
        self.wait_ready()

    def wait_ready(self):
        def ready():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended with {process.returncode}")
            return self.admin("get", "--raw", "/readyz", check=False).stdout == "ok"
        wait_for(ready, START, 0.5)
        if "kube-controller-manager" not in self.processes:
            self.start_controllers()

    def start_node(self):
        (self.folder / "image.tar").write_bytes(self._image())
        space = f"/var/run/netns/{self.net.names[self.host][0]}"
        # Not "ip netns exec": that would hide /sys/fs/cgroup.
        words = [*DIES_WITH_US, "nsenter", f"--net={space}", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                 "--propagation=private", str(KUBE / "node"), str(self.folder), str(self.bin), self.address]
        with open(self.folder / "node.log", "ab") as log:
            self.processes["node"] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                                      env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)})
        ready = '{.status.conditions[?(@.type=="Ready")].status}'
        self._wait_node(lambda: self.admin("get", "node", "localhost", "-o", f"jsonpath={ready}", check=False).stdout == "True")
        self.admin("apply", "-f", "-", input=POD)
        self._wait_node(lambda: self.pod_ready("shell"))

    def in_node(self, *words, input=None):
        """Runs it in the mount and PID namespaces of the node."""
        parent = self.processes["node"].pid
        inside = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0]
        done = subprocess.run(["nsenter", f"--target={inside}", "--mount", "--pid", *map(str, words)], input=input, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def import_image(self, file):
        self.in_node(self.bin / "ctr", "-a", "/run/containerd.sock", "-n", "k8s.io", "image", "import", file)

    def pod_ready(self, name, namespace="default"):
        return self.admin("get", "pod", "-n", namespace, name, "-o", "jsonpath={.status.phase}/{.status.containerStatuses[0].ready}",
                          check=False).stdout == "Running/true"

    def _wait_node(self, what):
        def alive():
            assert self.processes["node"].poll() is None, "the node ended"
            return what()
        wait_for(alive, START, 0.5)

    def _image(self):
        """A docker archive with two names for one layer: busybox, and the container that holds a pod's namespaces."""
        busybox = (self.bin / "busybox").read_bytes()
        applets = subprocess.run([str(self.bin / "busybox"), "--list"], capture_output=True, text=True, check=True).stdout.split()
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("proc", 0o755), ("sys", 0o755),
                               ("dev", 0o755), ("www", 0o755)):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                tar.addfile(entry)
            for name, content, mode in (("bin/busybox", busybox, 0o755), ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644),
                                        ("etc/group", b"root:x:0:\n", 0o644), ("www/index.html", b"hello-from-pod\n", 0o644)):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), mode
                tar.addfile(entry, io.BytesIO(content))
            for applet in applets:
                if applet != "busybox":
                    entry = tarfile.TarInfo(f"bin/{applet}")
                    entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                    tar.addfile(entry)
        import hashlib
        digest = hashlib.sha256(layer.getvalue()).hexdigest()
        files = {"layer.tar": layer.getvalue()}
        manifest = []
        for name, command in (("busybox", ["/bin/sh"]), ("pause", ["/bin/sleep", "2147483647"])):
            files[f"{name}.json"] = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": command},
                                                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
            manifest.append({"Config": f"{name}.json", "RepoTags": [f"docker.io/library/{name}:test"], "Layers": ["layer.tar"]})
        files["manifest.json"] = json.dumps(manifest).encode()
        image = io.BytesIO()
        with tarfile.open(fileobj=image, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return image.getvalue()

    # --- what tests do with it ---

    def kubectl(self, *words, config, version="1.20", input=None, check=True, timeout=60):
        source = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        result = subprocess.run(self.net.prefix(self.host) + [str(kubectl_path(version)), f"--kubeconfig={config}", *map(str, words)],
                                **source, capture_output=True, text=True, timeout=timeout, check=False,
                                env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)})
        if check and result.returncode != 0:
            raise AssertionError(f"kubectl {words} -> {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def admin(self, *words, **kw):
        return self.kubectl(*words, config=self.kubeconfig("admin"), **kw)

    def audit(self):
        """The API server's own audit log, oldest first."""
        text = (self.folder / "audit.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def show_logs(self):
        for log in sorted(self.folder.glob("*.log")):
            if log.name != "audit.log":
                print(f"--- {log}\n{log.read_text(errors='replace')[-2000:]}")

    def _end(self, name):
        process = self.processes.pop(name, None)
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def close(self):
        for process in self.processes.values():
            process.kill() # nothing of them is wanted any more
        for process in self.processes.values():
            process.wait(30)
        parent = re.compile(rf"/{re.escape(self.folder.name)}(/|$)")
        for path, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
            if parent.search(path):
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        if not os.environ.get("TPORT_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
