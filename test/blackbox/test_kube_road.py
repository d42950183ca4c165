"""The road of a Kubernetes connection up to the agent: joining, lists, who is let through, and what the others are told.
What an agent does with the requests is tested with a real API server elsewhere; here none is needed."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time

import pytest

from tport import BIN, Daemon, in_host, wait_for

ROLE = """
kind: role
version: v5
metadata: {name: kube-dev}
spec:
  allow:
    kubernetes_labels: {env: dev}
    kubernetes_groups: [developer]
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: dev1
clusters:
- {name: x, cluster: {server: "https://127.0.0.1:9"}}
users:
- {name: x, user: {token: t}}
contexts:
- {name: dev1, context: {cluster: x, user: x}}
- {name: "arn:aws:eks:eu-west-1:123456789012:cluster/long-name", context: {cluster: x, user: x}}
"""
LONG = "arn:aws:eks:eu-west-1:123456789012:cluster/long-name"


def sni(name, cluster):
    label = name.encode().hex() if len(name) <= 31 else "h" + hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{label}.kube.{cluster.name}"


def keys_of(person):
    folder = person.home / ".tport" / "keys" / person.cluster.proxy.split(":")[0]
    return str(folder / f"{person.name}.crt"), str(folder / f"{person.name}.key")


@contextlib.contextmanager
def dial(cluster, server_name, cert=None, alpn=None):
    """TLS as kubectl does it: the host CA is trusted, and the name is checked."""
    context = ssl.create_default_context(cadata=cluster.ca())
    if cert:
        context.load_cert_chain(*cert)
    if alpn:
        context.set_alpn_protocols(alpn)
    host, port = cluster.proxy.split(":")
    with in_host(cluster.net, "client"):
        raw = socket.create_connection((host, int(port)), timeout=20)
    with context.wrap_socket(raw, server_hostname=server_name) as tls:
        yield tls


def ask(cluster, server_name, cert=None, alpn=None, method="GET", path="/api/v1/pods", body=None):
    with dial(cluster, server_name, cert, alpn) as tls:
        connection = http.client.HTTPConnection("kube")
        connection.sock = tls
        connection.request(method, path, body=body)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()


def refusal(cluster, server_name, **how):
    status, headers, body = ask(cluster, server_name, **how)
    assert headers["Content-Type"] == "application/json" and headers["Connection"] == "close"
    answer = json.loads(body)
    assert answer["kind"] == "Status" and answer["apiVersion"] == "v1" and answer["status"] == "Failure"
    assert answer["code"] == status
    return status, answer["reason"], answer["message"]


@pytest.fixture(scope="module")
def kube(cluster):
    """A host that serves Kubernetes only, joined with a token of type kube, and people who may and may not."""
    cluster.ctl("create", "-f", input=ROLE)
    tokens = json.loads(cluster.ctl("nodes", "add", "--roles=kube", "--ttl=10000h", "--format=json").stdout)
    assert len(tokens) == 1 and len(tokens[0]) == 32
    folder = cluster.folder / "kube1"
    folder.mkdir()
    (folder / "kubeconfig").write_text(KUBECONFIG)
    conf = f"""
version: v3
tport:
  nodename: kube1
  data_dir: {folder}/data
  proxy_server: {cluster.proxy}
  auth_token: {tokens[0]}
  ca_pin: {cluster.pin()}
ssh_service: {{enabled: no}}
kubernetes_service:
  enabled: yes
  kubeconfig_file: {folder}/kubeconfig
  labels: {{env: dev}}
  commands:
  - {{name: kernel, command: [uname, -s], period: 1h}}
"""
    daemon = Daemon(cluster.net, "kube1", folder, conf).start()
    cluster.nodes["kube1"] = daemon
    wait_for(lambda: len(servers(cluster)) == 2, timeout=40)
    return daemon


def servers(cluster):
    return json.loads(cluster.ctl("kube", "ls", "--format=json").stdout)


@pytest.fixture(scope="module")
def dora(cluster, kube): # pylint: disable=unused-argument
    return cluster.person("dora", roles="kube-dev", logins="")


def listed(person):
    found = json.loads(person.tport("kube", "ls", "--format=json", check=True).stdout)
    return sorted(item.get("kube_cluster_name") or item["name"] for item in found)


def test_a_kube_host_registers_its_clusters(cluster, kube, dora):
    found = servers(cluster)
    assert sorted(item["metadata"]["name"] for item in found) == [LONG, "dev1"]
    assert all(item["kind"] == "kube_server" and item["spec"]["hostname"] == "kube1" for item in found)
    wait_for(lambda: servers(cluster)[0]["spec"]["cluster"]["spec"]["dynamic_labels"]["kernel"]["result"] == "Linux")
    assert not any(node["spec"]["hostname"] == "kube1" for node in cluster.node_list())
    assert re.search(r"^dev1 +kube1 +env=dev,kernel=Linux +\S+ +online$", cluster.ctl("kube", "ls").stdout, re.M)
    assert "kind: kube_server" in cluster.ctl("get", "kube_server/dev1").stdout
    assert listed(dora) == [LONG, "dev1"]


def test_status_says_as_whom(dora):
    block = dora.tport("status", check=True).stdout
    assert "Kubernetes:         enabled" in block and "Kubernetes groups:  developer" in block
    assert json.loads(dora.tport("status", "--format=json", check=True).stdout)["active"]["kubernetes_groups"] == ["developer"]


def test_login_shows_the_cluster_that_it_has_selected(dora):
    """The status came first, and named the cluster that had been selected before, or none."""
    for flags in (["--ttl=60"], []): # anew, and with the profile that is there
        dora.tport("kube", "login", LONG, check=True)
        said = dora.login("--kube-cluster=dev1", *flags)[1] if flags else dora.tport(
            "login", f"--proxy={dora.cluster.proxy}", "--user=dora", "--kube-cluster=dev1", check=True).stdout
        assert "Kubernetes cluster: dev1" in said, said


def test_the_agent_is_no_root_where_it_serves_kubernetes_only(kube):
    (pid,) = kube.children("agent")
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="ascii").read().splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert status["NoNewPrivs"] == "1"


def test_who_brings_no_certificate_reads_401(cluster, kube): # pylint: disable=unused-argument
    for alpn in (None, ["http/1.1"], ["h2", "http/1.1"]):
        status, reason, message = refusal(cluster, sni("dev1", cluster), alpn=alpn)
        assert (status, reason) == (401, "Unauthorized") and "tport login" in message


def test_a_cluster_that_is_not_there_or_not_his_is_404(cluster, dora):
    status, reason, message = refusal(cluster, sni("nowhere", cluster), cert=keys_of(dora))
    assert (status, reason) == (404, "NotFound") and "nowhere" in message and "tport kube ls" in message
    alice = cluster.person("kube-nobody", roles="auditor", logins="")
    assert listed(alice) == []
    status, reason, _ = refusal(cluster, sni("dev1", cluster), cert=keys_of(alice))
    assert (status, reason) == (404, "NotFound")
    status, reason, _ = refusal(cluster, f"zz.kube.{cluster.name}", cert=keys_of(dora))
    assert (status, reason) == (404, "NotFound")


def test_the_log_says_who_wanted_which_cluster(cluster, kube, dora): # pylint: disable=unused-argument
    """A line of a connection that was refused named an address and a reason, and nobody knew whose and for what."""
    ask(cluster, sni("nowhere", cluster), cert=keys_of(dora))
    ask(cluster, sni("dev1", cluster), cert=keys_of(dora))
    wait_for(lambda: re.search(r'route=kube reason=target_unknown [^\n]*user="dora" target="nowhere"\n', cluster.daemon.text()))
    sid = wait_for(lambda: re.search(r'route=kube reason=(client_closed|done) [^\n]*user="dora" target="dev1" sid=(\S+)\n', cluster.daemon.text()))
    assert f"sid={sid[2]}" in kube.text()


def test_a_stranger_adds_nothing_to_the_log_line_by_a_name(cluster):
    """What he asked for is a text of his, and with a quote in it the line named a session and a user that he made up."""
    refusal(cluster, sni('x" sid=7 user="dora', cluster))
    line = wait_for(lambda: re.search(r"route=kube [^\n]*target=\"x[^\n]*\n", cluster.daemon.text()))
    assert line[0].endswith("user=\"\" target=\"x' sid=7 user='dora\"\n")


def test_nobody_adds_to_a_log_line_by_what_he_asks_for(cluster, kube, dora):
    """The agent's line about a refused request named the user that was made up in it."""
    with dial(cluster, sni("dev1", cluster), keys_of(dora)) as tls:
        tls.sendall(b'GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nImpersonate-User: x" user="root\r\nConnection: close\r\n\r\n')
        assert tls.recv(12) == b"HTTP/1.1 403"
    line = wait_for(lambda: re.search(r"request refused [^\n]* the user x[^\n]*\n", kube.text()))
    assert line[0].endswith("the user x' user='root\"\n")


def test_who_asks_for_groups_or_versions_reads_the_sentence_as_text(cluster, dora):
    """client-go reads no Status there: it printed "unknown"."""
    for path in ("/version", "/openapi/v2"):
        status, headers, body = ask(cluster, sni("nowhere", cluster), cert=keys_of(dora), path=path)
        assert status == 403 and headers["Content-Type"].startswith("text/plain") and body.startswith(b'tport: ') and b"nowhere" in body
    assert ask(cluster, sni("nowhere", cluster), path="/version")[0] == 401


def test_a_role_without_users_and_groups_is_403(cluster, kube): # pylint: disable=unused-argument
    cluster.ctl("create", "-f", input=ROLE.replace("kube-dev", "kube-empty").replace("    kubernetes_groups: [developer]\n", ""))
    erik = cluster.person("erik", roles="kube-empty", logins="")
    status, reason, message = refusal(cluster, sni("dev1", cluster), cert=keys_of(erik))
    assert (status, reason) == (403, "Forbidden") and "dev1" in message
    event = next(e for e in cluster.audit(user="erik") if e["event"] == "auth")
    assert event["proto"] == "kube" and event["kubernetes_cluster"] == "dev1" and event["code"] == "T3007W"


def test_a_lock_is_403(cluster, kube): # pylint: disable=unused-argument
    lars = cluster.person("lars", roles="kube-dev", logins="")
    cluster.ctl("lock", "--user=lars", "--message=gone fishing")
    status, reason, message = refusal(cluster, sni("dev1", cluster), cert=keys_of(lars))
    assert (status, reason) == (403, "Forbidden") and "gone fishing" in message


def test_refusals_of_every_kind_of_request(cluster, kube): # pylint: disable=unused-argument
    """HEAD has no body; a body that nobody reads does not swallow the answer; what is no HTTP gets none."""
    name = sni("dev1", cluster)
    status, headers, body = ask(cluster, name, method="HEAD")
    assert status == 401 and int(headers["Content-Length"]) > 0 and body == b""
    assert ask(cluster, name, method="POST", body=b"x" * 300000)[0] == 401
    assert ask(cluster, name, path="/" + "a" * 30000)[0] == 401
    with dial(cluster, name) as tls:
        tls.sendall(b"\x00\x01\x02\x03\r\n\r\n")
        assert tls.recv(100) == b""
    with dial(cluster, name) as tls, contextlib.suppress(OSError):
        # More than a head may have: an end, not a hang.
        tls.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000)
        assert tls.recv(100) == b""


def test_others_are_not_asked_for_a_certificate(cluster, kube): # pylint: disable=unused-argument
    with cluster.connection() as tls:
        tls.sendall(b"GET /webapi/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while chunk := tls.recv(65536):
            data += chunk
    ping = json.loads(data.split(b"\r\n\r\n", 1)[1])
    assert ping["proxy"]["kube"] == {"enabled": True, "public_addr": cluster.proxy, "listen_addr": ping["proxy"]["ssh"]["listen_addr"]}


def test_an_agent_that_is_away_is_503(cluster, kube, dora):
    for name in ("dev1", LONG):
        wait_for(lambda name=name: any(e.get("kubernetes_cluster") == name for e in cluster.audit(type="session.connect"))
                 or connects(cluster, dora, name))
    kube.stop()
    def away():
        status, reason, message = refusal(cluster, sni("dev1", cluster), cert=keys_of(dora))
        return (status, reason) == (503, "ServiceUnavailable") and "offline" in message
    wait_for(away)
    assert re.search(r"^dev1 .*  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", cluster.ctl("kube", "ls").stdout, re.M) # it looked as ever
    assert not any(item["online"] for item in servers(cluster))
    assert not any(item["online"] for item in json.loads(dora.tport("kube", "ls", "--format=json", check=True).stdout))
    kube.start()
    wait_for(lambda: connects(cluster, dora, "dev1"), timeout=40)


def connects(cluster, person, name):
    """Past the door: whatever the agent answers, auth has granted."""
    before = len([e for e in cluster.audit(user=person.name, type="session.connect")])
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(cluster, sni(name, cluster), cert=keys_of(person))
    events = cluster.audit(user=person.name, type="session.connect")
    if len(events) > before:
        assert events[0]["proto"] == "kube" and events[0]["kubernetes_groups"] == ["developer"]
        return True
    time.sleep(0.2)
    return False


def test_token_without_kube_registers_nothing(cluster, kube): # pylint: disable=unused-argument
    folder = cluster.folder / "kube2"
    folder.mkdir()
    (folder / "kubeconfig").write_text(KUBECONFIG.replace("dev1", "stolen"))
    text = kube.conf.read_text().replace(str(kube.folder), str(folder)).replace("nodename: kube1", "nodename: kube2")
    token = next(line for line in text.splitlines() if "auth_token" in line)
    daemon = Daemon(cluster.net, "kube2", folder, text.replace(token, f"  auth_token: {cluster.token()}")).start()
    try:
        wait_for(lambda: "tokens add --type=kube" in daemon.text(), timeout=40)
        assert not any(item["metadata"]["name"] == "stolen" for item in servers(cluster))
    finally:
        daemon.stop()


def test_a_context_that_cannot_be_served_leaves_the_others(cluster, kube, dora):
    """One context with a program for its credentials took all clusters of the file away, at a reload too, and -t said "is good"."""
    def check():
        done = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(kube.conf)], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0 and done.stderr.endswith(f"{kube.conf} is good\n"), done.stderr
        return done.stderr
    file = kube.folder / "kubeconfig"
    assert "Kubernetes" not in check()
    try:
        file.write_text(KUBECONFIG.replace("users:\n", "users:\n- {name: eks, user: {exec: {command: aws}}}\n") +
                        "- {name: eks, context: {cluster: x, user: eks}}\n- {name: more, context: {cluster: x, user: x}}\n")
        said = f"{file}:8: exec is not supported"
        assert f'warning: the Kubernetes context "eks" is left out: {said}' in check()
        assert kube.signal("reload").returncode == 0
        wait_for(lambda: listed(dora) == [LONG, "dev1", "more"], 40)
        assert f'a Kubernetes context is left out name="eks" reason="{said}' in kube.text()
    finally:
        file.write_text(KUBECONFIG)
        assert kube.signal("reload").returncode == 0
    wait_for(lambda: listed(dora) == [LONG, "dev1"], 40)


def test_a_kubeconfig_does_nothing_to_the_terminal_of_who_tests_it(kube):
    """The agent's user may write it, and root tests it: what stood in it wrote into root's clipboard."""
    file, conf = kube.folder / "kubeconfig-escapes", kube.folder / "escapes.yaml"
    conf.write_text(kube.conf.read_text().replace(str(kube.folder / "kubeconfig"), str(file)))
    names = [r"\e]52;c;eA==\a", r"\u009b2J"]
    for whole in (True, False):
        contexts = [f'- {{name: "{name}", context: {{cluster: x, user: x}}}}\n- {{name: n{i}, context: {{cluster: "{name}", user: x}}}}\n'
                    for i, name in enumerate(names)]
        file.write_text(KUBECONFIG + "".join(contexts) if whole else KUBECONFIG[:KUBECONFIG.index("contexts:")] + "contexts:\n" + contexts[0])
        done = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(conf)], capture_output=True, timeout=20, check=False)
        assert done.returncode == (0 if whole else 1) and done.stderr.count(b"kubeconfig-escapes:") == (4 if whole else 1), done.stderr
        assert b"\x1b" not in done.stderr and b"\a" not in done.stderr and b"\xc2\x9b" not in done.stderr, done.stderr


def test_a_pipe_for_a_kubeconfig_holds_nobody_up(kube):
    """The agent's user may put one there: tportd -t and -s reload of root, and the agent itself, waited for ever."""
    pipe, conf = kube.folder / "kubeconfig-pipe", kube.folder / "pipe.yaml"
    os.mkfifo(pipe, 0o644)
    conf.write_text(kube.conf.read_text().replace(str(kube.folder / "kubeconfig"), str(pipe)))
    done = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(conf)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and f"no Kubernetes cluster could be served: {pipe}" in done.stderr, done.stderr


def test_a_reload_with_a_broken_kubeconfig_takes_no_cluster_away(cluster, kube, dora):
    """The host served none from then on; -t said "is good", and so it did of a file that the agent's user can't read."""
    file = kube.folder / "kubeconfig"

    def refused(said):
        test = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(kube.conf)], capture_output=True, text=True, timeout=20, check=False)
        assert test.returncode == 1 and f"\ntportd: no Kubernetes cluster could be served: {said}" in test.stderr, test.stderr
        done = kube.signal("reload")
        assert done.returncode == 1 and done.stderr.startswith(f"tportd: no Kubernetes cluster could be served: {said}"), done.stderr
        assert done.stderr.endswith("tportd: not reloaded, the old configuration stays in force\n")
        assert kube.text().count("configuration loaded") == loaded
    loaded = kube.text().count("configuration loaded")
    try:
        file.write_text("clusters: [\n")
        refused(f"{file}:2: ")
        file.write_text("apiVersion: v1\nkind: Config\n")
        refused(f"{file}:1: contexts is missing or empty")
        file.write_text(KUBECONFIG)
        if cluster.net.real: # root: the agent is another user
            file.chmod(0o600)
            refused(f"the kubeconfig {file} can't be read by user tport-agent, as whom the agent runs; run chown tport-agent {file}")
            file.chmod(0o644)
        assert listed(dora) == [LONG, "dev1"]
        # One that is not there may come: the agent looks for it.
        file.unlink()
        done = kube.signal("reload")
        assert done.returncode == 0 and "warning: no Kubernetes cluster can be served yet: " in done.stderr, done.stderr
        wait_for(lambda: listed(dora) == [], 40)
    finally:
        file.write_text(KUBECONFIG)
    wait_for(lambda: listed(dora) == [LONG, "dev1"], 40)
