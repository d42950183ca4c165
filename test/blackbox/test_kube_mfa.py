"""A second factor for each session with Kubernetes: kubectl's plug-in asks for it, a connection without it is refused."""

import contextlib
import json
import shutil
import ssl
import socket
import subprocess
import time

import pexpect
import pytest

import kube
from kube_site import read_answer, until
from test_mfa import PROMPT, device_of, finish, give_code, without_terminal
from tport import BIN, in_host, wait_for

ROLE = """
kind: role
version: v5
metadata: {name: %s}
spec:
  allow: {kubernetes_groups: ["system:masters"], kubernetes_labels: {env: dev}}
  options: {require_session_mfa: %s, mfa_verification_interval: %s}
---
kind: role
version: v5
metadata: {name: free-demo}
spec:
  allow: {kubernetes_groups: ["system:masters"], kubernetes_labels: {app: teleport-cluster}}
"""


@pytest.fixture
def kim(site):
    """Somebody new each time, who needs a code for prod and none for demo; logged in to both."""
    site.cluster.ctl("create", "-f", input=ROLE % ("coded", "true", "0s"))
    person = site.person(f"kim{len(site.cluster.people)}", "coded,free-demo")
    person.tport("kube", "login", "--all", check=True)
    return person


@pytest.fixture
def brief(site):
    """The same with codes that count for 8 s."""
    site.cluster.ctl("create", "-f", input=ROLE % ("brief", "true", "8s"))
    person = site.person(f"brief{len(site.cluster.people)}", "brief")
    person.tport("kube", "login", "prod", check=True)
    return person


def kubectl(person, *words, context="prod"):
    return without_terminal(person, kube.kubectl_path("1.20"), f"--context=kube-test-{context}", *words)


def ask(person, *words, context="prod"):
    return person.spawn(kube.kubectl_path("1.20"), f"--context=kube-test-{context}", *words)


def kept(person, name="prod"):
    keys = person.home / ".tport" / "keys" / person.cluster.proxy.split(":")[0]
    return keys / f"{person.name}-kube" / "kube-test" / f"{name}.cred"


def unlock(person):
    """Gives the next code, so that a certificate is kept."""
    child = ask(person, "get", "ns")
    give_code(child, person)
    status, output = finish(child)
    assert status == 0 and "kube-system" in output, output


@contextlib.contextmanager
def connect(site, person, pair, name="prod"):
    context = ssl.create_default_context(cadata=site.cluster.ca())
    context.load_cert_chain(*map(str, pair))
    address, port = site.cluster.proxy.split(":")
    with in_host(site.cluster.net, person.host):
        raw = socket.create_connection((address, int(port)), timeout=20)
    with context.wrap_socket(raw, server_hostname=site.server_name(name)) as tls:
        yield tls


def get(site, tls, path="/api/v1/namespaces"):
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {site.server_name('prod')}\r\n\r\n".encode())
    return read_answer(tls)


def base_pair(person):
    keys = person.home / ".tport" / "keys" / person.cluster.proxy.split(":")[0]
    return keys / f"{person.name}.crt", keys / f"{person.name}.key"


def test_kubectl_asks_once_and_keeps_the_certificate(site, kim):
    unlock(kim)
    again = kubectl(kim, "get", "ns")
    assert again.returncode == 0 and "kube-system" in again.stdout, again.stderr
    assert kept(kim).stat().st_mode & 0o777 == 0o600
    told = json.loads(kim.tport("kube", "credentials", "--kube-cluster=prod", check=True).stdout)
    assert told["status"]["clientCertificateData"] in kept(kim).read_text()
    free = kubectl(kim, "get", "ns", context="demo")
    assert free.returncode == 0, free.stderr
    device = device_of(site.cluster, kim.name)
    connect = site.events("session.connect", user=kim.name, kubernetes_cluster="prod")
    assert connect and all(e["with_mfa"] == device for e in connect)
    assert all("with_mfa" not in e for e in site.events("session.connect", user=kim.name, kubernetes_cluster="demo"))


def test_helm_asks_too(kim):
    child = kim.spawn(kube.newest("helm"), "--kube-context=kube-test-prod", "list", "-n", "kube-public")
    give_code(child, kim)
    status, output = finish(child)
    assert status == 0 and "NAMESPACE" in output, output


def test_without_a_terminal_it_says_why(kim):
    refused = kubectl(kim, "get", "ns")
    assert refused.returncode != 0
    assert "prod needs a one-time code before each session, and there is no terminal to ask for it" in refused.stderr


def test_two_at_once_ask_once(kim):
    """The second waits for the first, and takes what it has got."""
    first = ask(kim, "get", "ns")
    first.expect_exact(PROMPT)
    second = subprocess.Popen(kim.cluster.net.prefix(kim.host) + ["setsid", "--wait", str(kube.kubectl_path("1.20")),
                              "--context=kube-test-prod", "get", "ns"], env=kim.env(), cwd=kim.home, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    assert second.poll() is None
    first.sendline(kim.code())
    assert finish(first)[0] == 0
    output, wrong = second.communicate(timeout=60)
    assert second.returncode == 0 and "kube-system" in output, wrong


def test_a_static_kubeconfig_is_refused(kim):
    refused = kim.tport("kube", "login", "--static", "prod", "-o", "static.yaml")
    assert refused.returncode == 1 and not (kim.home / "static.yaml").exists()
    assert "the cluster prod asks for a one-time code before each session, and a file can't give one" in refused.stderr
    kim.tport("kube", "login", "--static", "demo", "-o", "demo.yaml", check=True)


def test_R4_a_certificate_opens_its_cluster_alone(site, kim):
    with connect(site, kim, base_pair(kim)) as tls:
        status, _, body = get(site, tls)
    assert status == 403 and "this session needs your second factor" in body and "kubectl asks for a one-time code" in body
    unlock(kim)
    pair = (kept(kim), kept(kim))
    with connect(site, kim, pair) as tls:
        assert get(site, tls)[0] == 200
    for other in ("prod5", "demo"):
        with connect(site, kim, pair, name=other) as tls:
            status, _, body = get(site, tls)
        assert status == 403 and "it opens one target, no more" in body, (other, body)


def test_R4_a_kept_connection_begins_nothing_after_the_code(site, brief):
    """Nor does an exec or a watch that has begun end with it."""
    child = ask(brief, "get", "cm", "-n", "default", "-w")
    give_code(child, brief)
    wait_for(kept(brief).exists)
    with connect(site, brief, (kept(brief), kept(brief))) as tls:
        assert get(site, tls)[0] == 200
        begun = time.monotonic()
        tls.settimeout(30)
        assert tls.recv(1) == b"" and time.monotonic() - begun < 12  # closed, though idle connections are kept for long
    name = f"seen-{brief.name}"
    site.prod.admin("create", "cm", name)
    child.expect(name)
    site.prod.admin("delete", "cm", name)
    child.sendcontrol("c")
    child.expect(pexpect.EOF)
    assert "needs a one-time code" in kubectl(brief, "get", "ns").stderr


def test_a_lock_on_the_device_ends_a_watch(site, kim):
    unlock(kim)
    with site.running(kim, "get", "cm", "-n", "default", "-w") as watch:
        until(watch, "NAME")
        lock = site.cluster.ctl("lock", f"--mfa-device={device_of(site.cluster, kim.name)}").stdout.split('"')[1]
        try:
            watch.wait(10)
        finally:
            site.cluster.ctl("rm", f"lock/{lock}")
    assert site.events("client.disconnect", user=kim.name)[0]["reason"] == "a lock is in force on the device of this second factor"


def test_roles_that_ask_since_the_login(site):
    site.cluster.ctl("create", "-f", input=ROLE % ("turning", "false", "0s"))
    person = site.person(f"turn{len(site.cluster.people)}", "turning")
    person.tport("kube", "login", "prod", check=True)
    assert kubectl(person, "get", "ns").returncode == 0
    site.cluster.ctl("create", "-f", input=ROLE % ("turning", "true", "0s"))
    refused = kubectl(person, "get", "ns")
    assert refused.returncode != 0 and "after `tport kube login` kubectl asks for a one-time code" in refused.stderr
    person.tport("kube", "login", "prod", check=True)
    unlock(person)


def test_a_new_login_asks_anew(kim):
    """What is kept belongs to the certificate that asked for it."""
    unlock(kim)
    copy = kim.home / "copy"
    shutil.copy(kept(kim), copy)
    kim.tport("logout", check=True)
    assert not kept(kim).exists()
    assert kim.login()[0] == 0
    kept(kim).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy, kept(kim))
    told = without_terminal(kim, BIN / "tport", "kube", "credentials", "--kube-cluster=prod")
    assert told.returncode == 1 and "there is no terminal to ask for it" in told.stderr
