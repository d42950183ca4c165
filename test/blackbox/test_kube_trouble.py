"""What stands behind an agent and is not in order: an API server that is slow, away, changes its certificates, or does not take
the agent for who it is. kubectl prints a sentence, the agent's log another one, and nothing of the agent's own leaks."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import kube
from kube_site import read_answer, until, with_role
from tport import in_host, wait_for

TOKEN = "stale-token-0123456789"


def context_of(name, server, cluster, user):
    return {"clusters": [{"name": name, "cluster": {"server": server, **cluster}}], "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}]}


def silent(host):
    """Takes connections and never says a word."""
    with in_host(*host):
        listener = socket.create_server(("0.0.0.0", 7443))
    taken = []

    def take():
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return
    threading.Thread(target=take, daemon=True).start()
    return listener


@pytest.fixture(scope="module")
def odd(site):
    """One agent with a context for each kind of trouble. Its files are its own to rotate."""
    pki, prod, demo = site.demo.pki, site.prod, site.demo
    files = demo.folder / "rotated"
    files.mkdir()
    for name in ("ca.crt", "tport-agent.crt", "tport-agent.key"):
        (files / name).write_bytes((pki.folder / name).read_bytes())
    pki.leaf("stranger", "/CN=stranger", "extendedKeyUsage=clientAuth\n")
    for path in (files, *files.iterdir()):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    ca = {"certificate-authority-data": prod.pki.data("ca.crt")}
    demo_ca = {"certificate-authority-data": pki.data("ca.crt")}
    agent_keys = {"client-certificate-data": prod.pki.data("tport-agent.crt"), "client-key-data": prod.pki.data("tport-agent.key")}
    parts = [
        context_of("slow", f"https://{prod.address}:7443", ca, agent_keys),
        context_of("away", f"https://{prod.address}:7444", ca, agent_keys),
        context_of("stale", f"https://{demo.address}:{kube.API_PORT}", demo_ca, {"token": TOKEN}),
        context_of("stranger", f"https://{demo.address}:{kube.API_PORT}", demo_ca,
                   {"client-certificate-data": pki.data("stranger.crt"), "client-key-data": pki.data("stranger.key")}),
        context_of("mistaken", f"https://{prod.address}:{kube.API_PORT}", demo_ca, agent_keys),
        context_of("rotating", f"https://{demo.address}:{kube.API_PORT}", {"certificate-authority": str(files / "ca.crt")},
                   {"client-certificate": str(files / "tport-agent.crt"), "client-key": str(files / "tport-agent.key")}),
    ]
    file = demo.folder / "odd.kubeconfig"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **{
        key: [entry for part in parts for entry in part[key]] for key in ("clusters", "users", "contexts")}}))
    listener = silent((site.cluster.net, "kube1"))
    agent = site.add_agent("oddagent", [file], labels="{env: odd}")
    site.wait_clusters("slow", "rotating")
    yield agent, files
    listener.close()
    agent.stop()
    for part in parts: # others count on what there is
        site.cluster.ctl("rm", f"kube_server/{part['contexts'][0]['name']}")


@pytest.fixture(scope="module")
def olaf(site, odd): # pylint: disable=unused-argument
    return with_role(site, "olaf", "rotating", kubernetes_groups=["system:masters"], kubernetes_labels={"env": ["odd"]})


def refused(site, olaf, name):
    olaf.tport("kube", "login", name, check=True)
    begin = time.monotonic()
    done = site.kubectl(olaf, "get", "--raw", "/api/v1/namespaces/default/pods") # one request; else kubectl asks for the API's groups before
    assert done.returncode == 1 and TOKEN not in done.stderr + done.stdout
    assert time.monotonic() - begin < 40
    return done.stderr


def test_the_agent_says_which_clusters_nobody_can_use(site, odd):
    """Only people saw it, one by one, each time in other words (behaviour.md 13.1)."""
    agent, _ = odd

    def said(daemon, name, words):
        return [line for line in daemon.text().splitlines() if f'name="{name}"' in line and words in line]
    for name, words in {"slow": "does not answer", "away": "can't be reached: no connection to ", "mistaken": "can't be reached by TLS",
                        "stale": "does not accept the credentials", "stranger": "may not impersonate users there; give its user"}.items():
        wait_for(lambda name=name, words=words: said(agent, name, words), 60)
        assert len(said(agent, name, "nobody can use this Kubernetes cluster now")) == 1, name
    for daemon, name in ((agent, "rotating"), (site.agent, "prod"), (site.agent, "prod5"), (site.cluster.daemon, "demo")):
        wait_for(lambda daemon=daemon, name=name: said(daemon, name, "the agent may impersonate people"), 60)
        assert not said(daemon, name, "nobody can use"), name
    assert TOKEN not in agent.text()


# kubectl prints 503 and 504 in words of its own around ours.
SAID = {"slow": "does not answer the TLS handshake", "away": "can't be reached: no connection to ", "stale": "does not accept the credentials of the agent",
        "mistaken": "can't be reached by TLS"}


@pytest.mark.parametrize("name", SAID)
def test_kubectl_says_what_is_wrong_behind_the_agent(site, odd, olaf, name):
    said = refused(site, olaf, name)
    assert SAID[name] in said and name in said, said
    log = odd[0].text()
    assert TOKEN not in log and "PRIVATE KEY" not in log
    # One event for each request, with the status that the client got.
    events = wait_for(lambda: [e for e in site.events("kube.request", kubernetes_cluster=name) if e.get("response_code")])
    assert events[0]["response_code"] in (502, 503, 504) and events[0]["success"] is False


def test_a_refusal_to_impersonate_is_the_clusters_own_word(site, olaf):
    """The agent may not act for others there: the API server's 403 comes through untouched."""
    said = refused(site, olaf, "stranger")
    assert 'User "stranger" cannot impersonate resource' in said and "forbidden" in said, said
    events = wait_for(lambda: [e for e in site.events("kube.request", kubernetes_cluster="stranger") if e.get("response_code") == 403])
    assert events


# --- certificates that change ---

def replace(path, data):
    """As those who rotate do it: in one step."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    os.chmod(fresh, 0o644)
    fresh.rename(path)


def works(site, olaf):
    done = site.kubectl(olaf, "get", "ns", "--request-timeout=20s", context="rotating")
    return done.returncode == 0 and "kube-system" in done.stdout


def test_the_agent_survives_the_rotation_of_certificates(site, odd, olaf):
    """The API server comes back with a certificate of another CA, then the agent's own certificate is another one. The agent is
    not restarted, and a watch that began afterwards goes on."""
    agent, files = odd
    pki, folder = site.demo.pki, site.demo.pki.folder
    olaf.tport("kube", "login", "rotating", check=True)
    assert works(site, olaf)
    pids = agent.children("agent")
    kept = {name: (folder / name).read_bytes() for name in ("apiserver.crt", "apiserver.key")}
    pki._ca("ca2") # pylint: disable=protected-access
    pki.leaf("apiserver", "/CN=kube-apiserver",
             f"extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,DNS:kubernetes,IP:127.0.0.1,IP:{site.demo.address}\n", ca="ca2")
    try:
        site.demo.stop_api()
        site.demo.start_api()
        # The agent trusts the old CA only: it says so, and sends nothing.
        said = wait_for(lambda: "reached by TLS" in (text := site.kubectl(olaf, "get", "ns", "--request-timeout=20s", context="rotating").stderr) and text, timeout=90)
        assert "can't be reached by TLS" in said, said
        replace(files / "ca.crt", (folder / "ca2.crt").read_bytes())
        wait_for(lambda: works(site, olaf), timeout=60)
        # The agent's own, with another name so that the API server's log tells them apart.
        pki.leaf("tport-agent-2", "/O=system:masters/CN=tport-agent-2", "extendedKeyUsage=clientAuth\n")
        replace(files / "tport-agent.key", (folder / "tport-agent-2.key").read_bytes())
        replace(files / "tport-agent.crt", (folder / "tport-agent-2.crt").read_bytes())
        wait_for(lambda: works(site, olaf), timeout=60)
        assert "tport-agent-2" in {e["user"].get("username") for e in site.demo.audit()[-50:]}
        with site.running(olaf, "get", "cm", "-w", "-n", "kube-public", "-o", "name", context="rotating") as watch:
            site.kubectl(olaf, "create", "cm", "-n", "kube-public", "after-rotation", context="rotating", check=True)
            until(watch, "after-rotation")
        assert agent.children("agent") == pids
    finally:
        site.demo.stop_api()
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        site.demo.start_api()
        site.demo.wait_ready()


def test_the_agent_survives_an_api_server_that_is_killed(site, olaf, odd):
    """A watch ends in words that kubectl understands; the next command works when the API server does, without a restart."""
    agent, files = odd
    replace(files / "ca.crt", (site.demo.pki.folder / "ca.crt").read_bytes())
    assert wait_for(lambda: works(site, olaf), timeout=60)
    pids = agent.children("agent")
    with site.running(olaf, "get", "cm", "-w", context="rotating") as watch:
        time.sleep(1)
        os.kill(site.demo.processes["kube-apiserver"].pid, signal.SIGKILL)
        site.demo.processes["kube-apiserver"].wait()
        watch.wait(30)
    site.demo.start_api()
    site.demo.wait_ready()
    assert wait_for(lambda: works(site, olaf), timeout=60)
    assert agent.children("agent") == pids


def test_a_command_whose_api_server_dies_is_no_success(site, member):
    """kubectl takes the end of a SPDY stream without a status for success: "kubectl exec ... && next" went on."""
    words = ("exec", "shell", "--", "sh", "-c", "echo on; sleep 300")
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(site.running(member, *words, version=version)) for version in ("1.20", "new")]
        for process in running:
            until(process, "on")
        dead = site.prod.processes.pop("kube-apiserver")
        dead.kill()
        dead.wait()
        try:
            for process in running:
                assert process.wait(30) == 1
                assert "tport: the API server of prod closed the connection before it said how" in process.stdout.read().decode()
        finally:
            site.prod.stop_api()
            site.prod.start_api()
            site.prod.wait_ready()
    wait_for(lambda: site.kubectl(member, "exec", "shell", "--", "true", context="prod").returncode == 0, 60)


def test_an_api_server_that_stops_in_the_middle(site, olaf, member):
    """It is frozen: kubectl's own time-out ends the request, others are not held up, and it goes on when it does."""
    pid = site.demo.processes["kube-apiserver"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = site.kubectl(olaf, "get", "ns", "--request-timeout=3s", context="rotating")
        assert done.returncode == 1
        assert "shell" in site.kubectl(member, "get", "pods", context="prod", check=True).stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wait_for(lambda: works(site, olaf), timeout=60)
    assert pathlib.Path(f"/proc/{pid}").exists()


def test_requests_while_auth_is_replaced_are_on_record(site, member):
    """Their events were made again three times within a millisecond, then they were lost, and the connection with them."""
    answered, broken, stop = [[] for _ in range(8)], [], threading.Event()
    context = site.tls_context(member)

    def ask(mine, tls, worker):
        for n in range(100000):
            if stop.is_set():
                return
            name = f"replaced-{worker}-{n}"
            tls.sendall(f"GET /api/v1/namespaces/kube-public/configmaps/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = read_answer(tls)
            if answer[0] != 404 or "replaced" not in answer[2]:
                broken.append(answer)
                return
            mine.append(name)
            time.sleep(0.01)

    with contextlib.ExitStack() as stack:
        threads = []
        for worker, mine in enumerate(answered):
            tls = stack.enter_context(site.tls(member, context=context))
            tls.settimeout(60)
            threads.append(threading.Thread(target=ask, args=(mine, tls, worker)))
        for thread in threads:
            thread.start()
        wait_for(lambda: all(len(mine) > 10 for mine in answered))
        for _ in range(3):
            for pid in site.cluster.daemon.children("auth"):
                os.kill(pid, signal.SIGKILL)
            before = [len(mine) for mine in answered]
            wait_for(lambda: broken or all(len(mine) > count + 10 for mine, count in zip(answered, before)), 60)
            wait_for(lambda: site.cluster.ctl("status", check=False).returncode == 0, 30)
        stop.set()
        for thread in threads:
            thread.join()
    assert not broken, broken[:2]
    names = {name for mine in answered for name in mine}

    def missing():
        found = site.cluster.audit(type="kube.request", limit=5000)
        return names - {event.get("resource_name") for event in found}
    wait_for(lambda: not missing(), 20)
