"""kubectl through tport to real API servers: what people do with it, and what must not work."""

import json
import subprocess
import threading

import pexpect
import pytest
import yaml

import kube
from kube_site import DEVELOPER, free_port, until
from tport import BUILD, in_host, wait_for

def kubeconfig(person):
    return yaml.safe_load((person.home / ".kube" / "config").read_text())


def names(person, *words):
    return person.tport("kube", "ls", "--format=names", *words, check=True).stdout.split()


# --- the walkthrough, sections 3 and 5 ---

def test_walkthrough(site):
    # 3-1, 3-2: a member with system:masters sees every cluster and uses kubectl on a machine that knows none.
    member = site.person("walker", "member")
    assert names(member) == ["demo", "prod", "prod5"]
    shown = member.tport("kube", "ls", check=True).stdout.splitlines()
    assert shown[0].split("  ")[0] == "Kube Cluster Name" and shown[0].rstrip().endswith("Selected")
    assert any(line.startswith("demo ") and "app=teleport-cluster" in line for line in shown)
    assert member.tport("kube", "login", "prod", check=True).stdout.startswith('Logged into Kubernetes cluster "prod".')
    assert next(line for line in member.tport("kube", "ls", check=True).stdout.splitlines() if line.startswith("prod ")).rstrip().endswith("*")
    assert "shell" in site.kubectl(member, "get", "pods", check=True).stdout
    assert "kube-system" in site.kubectl(member, "get", "ns", check=True).stdout
    member.tport("kube", "login", "demo", check=True)
    assert "No resources found" in site.kubectl(member, "get", "pods", check=True).stderr

    # 5: dev2. The role's group is unknown to the cluster: its own refusal comes through, untouched.
    site.prod.admin("delete", "--ignore-not-found", "-f", "-", input=DEVELOPER)
    alice = site.person("walker-alice", "dev2")
    assert names(alice) == ["prod", "prod5"]
    alice.tport("kube", "login", "prod", check=True)
    refused = site.kubectl(alice, "get", "pods")
    assert refused.returncode == 1
    assert 'pods is forbidden: User "dev" cannot list resource "pods" in API group "" in the namespace "default"' in refused.stderr
    site.prod.admin("apply", "-f", "-", input=DEVELOPER)
    assert "shell" in wait_for(lambda: site.kubectl(alice, "get", "pods")).stdout
    refused = site.kubectl(alice, "get", "endpoints")
    assert refused.returncode == 1 and 'endpoints is forbidden: User "dev" cannot list resource "endpoints"' in refused.stderr
    seen = [e for e in site.prod.audit() if e["requestURI"].startswith("/api/v1/namespaces/default/pods") and "impersonatedUser" in e
            and e["impersonatedUser"]["username"] == "dev"]
    assert seen and sorted(seen[-1]["impersonatedUser"]["groups"]) == ["developer", "system:authenticated"]
    assert seen[-1]["user"]["username"] == "tport-agent"

    # The cluster labelled app: teleport-cluster is neither listed nor reachable.
    unknown = alice.tport("kube", "login", "demo")
    assert unknown.returncode == 1 and "not found" in unknown.stderr and "you may reach: prod, prod5" in unknown.stderr
    status, _, body = site.get(alice, "/api/v1/namespaces/default/pods", name="demo")
    assert status in (401, 403, 404) and json.loads(body)["kind"] == "Status"


# --- tport kube on the person's machine ---

def test_kubeconfig_keeps_what_others_wrote(site, member):
    other = site.person("kube-files", "member")
    folder = other.home / ".kube"
    folder.mkdir(exist_ok=True)
    before = {"apiVersion": "v1", "kind": "Config", "current-context": "mine", "mystery": {"a": [1, "two"]},
              "clusters": [{"name": "mine", "cluster": {"server": "https://192.0.2.1", "odd": True}}],
              "users": [{"name": "mine", "user": {"token": "0123"}}],
              "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "mine"}}]}
    (folder / "config").write_text("# a comment\n" + yaml.safe_dump(before))
    # Signing in adds entries and selects none.
    status, output = other.login("--ttl=60")
    assert status == 0, output
    config = kubeconfig(other)
    assert config["current-context"] == "mine"
    assert {c["name"] for c in config["contexts"]} == {"mine", "kube-test-demo", "kube-test-prod", "kube-test-prod5"}
    # kubectl config and tport at the same time: nothing is lost.
    jobs = [threading.Thread(target=other.tport, args=("kube", "login", "--set-context-name", f"c{n}", "prod")) for n in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    config = kubeconfig(other)
    assert {f"c{n}" for n in range(8)} <= {c["name"] for c in config["contexts"]}
    assert config["mystery"] == before["mystery"] and config["clusters"][0] == before["clusters"][0]
    assert (folder / "config").stat().st_mode & 0o777 == 0o600
    assert site.kubectl(other, "config", "set-context", "c1", "--namespace=kube-system", check=True)
    assert "shell" not in site.kubectl(other, "--context=c1", "get", "pods", check=True).stdout
    other.tport("logout", check=True)
    after = kubeconfig(other)
    # kubectl config adds empty fields of its own to what it rewrites.
    assert {c["name"] for c in after["contexts"]} == {"mine"} and [u["name"] for u in after["users"]] == ["mine"]
    assert after["users"][0]["user"]["token"] == "0123"
    (folder / "config").write_text("clusters: [")
    status, output = other.login()
    assert status == 0 and "WARNING" in output and (folder / "config").read_text() == "clusters: ["


def test_static_kubeconfig_needs_no_tport(site, member, tmp_path):
    member.tport("kube", "login", "--static", "prod", "-o", member.home / "fixed", check=True)
    assert (member.home / "fixed").stat().st_mode & 0o777 == 0o600
    result = member.run("env", "PATH=/usr/bin", f"HOME={tmp_path}", kube.kubectl_path("1.20"), f"--kubeconfig={member.home}/fixed", "get", "pods")
    assert result.returncode == 0 and "shell" in result.stdout, result.stderr
    again = member.tport("kube", "login", "--static", "prod", "-o", member.home / "fixed")
    assert again.returncode == 1 and "--overwrite" in again.stderr


# --- every verb, with the oldest and the newest kubectl ---

# Sanitized daemons are slow, so there the widest way has to do.
WAYS = {"new-websocket": ("new", "prod5")} if "asan" in str(BUILD) else {
    "1.20": ("1.20", "prod"), "new": ("new", "prod"), "new-websocket": ("new", "prod5"), "1.35-websocket": ("1.35", "prod5")}
# For what is upgraded and streams: the newest, too, everywhere.
STREAMS = {**WAYS, "1.35-websocket": ("1.35", "prod5")}
streams = pytest.mark.parametrize("k", STREAMS.values(), ids=STREAMS, indirect=True)


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def k(site, member, request):
    """kubectl of one version on one cluster, as the member: SPDY, SPDY after a refused WebSocket, WebSocket v5."""
    version, context = request.param

    def run(*words, ok=True, **kw):
        return site.kubectl(member, *words, version=version, context=context, check=ok, **kw)
    run.version, run.context = version, context
    return run


def manifest(name, value="1"):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"k": value}})


def test_objects(k):
    name = f"cm-{k.version.replace('.', '')}-{k.context}"
    assert "created" in k("apply", "-f", "-", input=manifest(name)).stdout
    assert "configured" in k("apply", "-f", "-", input=manifest(name, "2")).stdout
    assert "serverside-applied" in k("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifest(name, "3")).stdout
    assert json.loads(k("get", "cm", name, "-o", "json").stdout)["data"] == {"k": "3"}
    assert name in k("get", "cm", "-o", "wide").stdout and name in k("get", "cm", "-A", "-o", "name").stdout
    assert "patched" in k("patch", "cm", name, "-p", '{"data":{"k":"4"}}').stdout
    assert "labeled" in k("label", "cm", name, "a=b").stdout
    assert "replaced" in k("replace", "-f", "-", input=manifest(name, "5")).stdout
    assert "5" in k("describe", "cm", name).stdout
    assert "deleted" in k("delete", "cm", name).stdout
    assert "NotFound" in k("get", "cm", name, ok=False).stderr
    # Bodies in protobuf (kubectl create), a deployment, its scale.
    assert "created" in k("create", "deployment", name, "--image=busybox:test").stdout
    assert "scaled" in k("scale", "deployment", name, "--replicas=0").stdout
    assert name in k("get", "deploy,rs").stdout
    k("delete", "deployment", name)


def test_discovery_and_questions(k):
    assert "v1.20.2" in k("version").stdout
    assert "deployments" in k("api-resources").stdout and "apps/v1" in k("api-versions").stdout
    assert k("auth", "can-i", "create", "pods").stdout == "yes\n"
    assert "pods that will be created" in k("explain", "deployment.spec.template").stdout
    assert k("get", "--raw", "/readyz").stdout == "ok"
    # No metrics server is there: the cluster says so itself.
    top = k("top", "nodes", ok=False)
    assert top.returncode != 0 and "etrics" in top.stderr
    # A list longer than a page, in tables and as it is.
    many = json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"many-{i:04d}", "namespace": "kube-public"}, "data": {"k": "x" * 200}}
        for i in range(600)]})
    k("create", "-n", "kube-public", "-f", "-", input=many, timeout=170)
    assert k("get", "cm", "-n", "kube-public", "--no-headers").stdout.count("many-") == 600
    assert len(json.loads(k("get", "cm", "-n", "kube-public", "-o", "json").stdout)["items"]) >= 600
    k("delete", "cm", "-n", "kube-public", "--all", "--wait=false", timeout=170)


@streams
def test_exec_logs_cp(k, member):
    assert k("exec", "shell", "--", "echo", "one").stdout == "one\n"
    assert k("exec", "-i", "shell", "--", "cat", input="through and back\n").stdout == "through and back\n"
    failed = k("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7", ok=False)
    assert (failed.returncode, failed.stdout) == (7, "out\n") and "err\n" in failed.stderr
    assert "line" in k("logs", "shell", "--tail=1").stdout
    big = member.home / f"big-{k.context}-{k.version}"
    big.write_bytes(bytes(range(256)) * 40000)
    k("cp", big, f"shell:/tmp/{big.name}", timeout=120)
    k("cp", f"shell:/tmp/{big.name}", f"{big}.back", timeout=120)
    assert (big.parent / f"{big.name}.back").read_bytes() == big.read_bytes()
    k("exec", "shell", "--", "rm", f"/tmp/{big.name}")


@streams
def test_terminal(site, member, k):
    child = member.spawn(kube.kubectl_path(k.version), f"--context=kube-test-{k.context}", "exec", "-it", "shell", "--", "sh", dimensions=(33, 111))
    child.expect("#")
    child.sendline("stty size; echo mar''ker")
    child.expect("33 111")
    child.expect("marker")
    child.setwinsize(44, 122)
    child.sendline("sleep 1; stty size")
    child.expect("44 122")
    child.sendline("exit 3")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3


def test_a_terminal_needs_input_and_output(member, k):
    """-t alone is no terminal for kubectl, -i alone neither; both run the command."""
    for flags in ("-t", "-i"):
        child = member.spawn(kube.kubectl_path(k.version), f"--context=kube-test-{k.context}", "exec", flags, "shell", "--", "sh", "-c", "tty; echo do''ne")
        child.expect("not a tty")
        child.expect("done")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


@pytest.fixture(scope="module")
def tty_pod(site):
    """A pod whose first program has a terminal, to attach to."""
    pod = yaml.safe_load(kube.POD)
    pod["metadata"]["name"] = "tty"
    pod["spec"]["containers"][0].update(tty=True, args=["while :; do sh; done"])
    site.prod.admin("apply", "-f", "-", input=json.dumps(pod))
    wait_for(lambda: site.prod.pod_ready("tty"), 60)
    yield "tty"
    site.prod.admin("delete", "pod", "tty", "--wait=false")


@streams
def test_attach_to_a_terminal(site, member, tty_pod, k):
    before = {e["sid"] for e in site.events("session.end", user=member.name)}
    child = member.spawn(kube.kubectl_path(k.version), f"--context=kube-test-{k.context}", "attach", "-it", tty_pod, dimensions=(35, 115))
    child.sendline("")
    child.expect("#")
    child.sendline("echo atta''ched $((6*7))")
    child.expect("attached 42")
    child.setwinsize(36, 116)
    child.sendline("sleep 1; stty size")
    child.expect("36 116")
    child.close(force=True)
    end = wait_for(lambda: [e for e in site.events("session.end", kubernetes_pod_name=tty_pod, user=member.name) if e["sid"] not in before])[0]
    assert end["interactive"] and end["kubernetes_cluster"] == k.context


@streams
def test_streams(site, member, k):
    with site.running(member, "logs", "-f", "--tail=1", "shell", version=k.version, context=k.context) as follow:
        until(follow, "line")
        until(follow, "line")
    name = f"w-{k.version.replace('.', '')}-{k.context}"
    with site.running(member, "get", "cm", "-w", version=k.version, context=k.context) as watch:
        until(watch, "NAME")
        k("create", "cm", name)
        until(watch, name)
        k("delete", "cm", name)
    with site.running(member, "attach", "-i", "shell", version=k.version, context=k.context, stdin=subprocess.PIPE) as attach:
        until(attach, "line")
        attach.stdin.write(f"hello {name}\n".encode())
        until(attach, f"stdin: hello {name}")


@streams
def test_port_forward_and_proxy(site, member, k):
    with in_host(site.cluster.net, member.host):
        port = free_port()
    fetch = ("curl", "-s", "--max-time", "10", f"http://127.0.0.1:{port}/")
    with site.running(member, "port-forward", "pod/shell", f"{port}:18080", version=k.version, context=k.context) as forward:
        until(forward, "Forwarding from")
        for _ in range(3):
            assert member.run(*fetch).stdout == "hello-from-pod\n"
    with site.running(member, "proxy", f"--port={port}", version=k.version, context=k.context) as proxy:
        until(proxy, "Starting to serve")
        assert member.run(*fetch[:-1], fetch[-1] + "readyz").stdout == "ok"


def test_impersonation(site, developer, member):
    ask = ("auth", "can-i", "list", "endpoints")
    assert site.kubectl(developer, *ask, "--as=dev", "--as-group=developer", context="prod").stdout == "no\n"
    other = site.kubectl(developer, "get", "pods", "--as=admin", context="prod")
    assert other.returncode == 1 and "admin" in other.stderr and "impersonat" in other.stderr.lower()
    group = site.kubectl(developer, "get", "pods", "--as=dev", "--as-group=system:masters", context="prod")
    assert group.returncode == 1 and "system:masters" in group.stderr
    assert site.kubectl(member, "get", "pods", "--as-group=system:masters", "--as=seokbin2", context="prod", check=True)
