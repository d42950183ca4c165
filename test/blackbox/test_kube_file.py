"""The kubeconfig that the browser makes: a key of its own, a certificate for one cluster, for an hour."""

import base64
import http.client
import json
import socket
import ssl
import subprocess

import pytest
import yaml

import kube
from browser import Browser as Chromium, need_browser
from terminal import Browser
from tport import in_host


@pytest.fixture(scope="module")
def downloaded(site, member, tmp_path_factory):
    """What a click gives, as a file."""
    need_browser()
    chromium = Chromium(site.cluster)
    try:
        chromium.open("/web/kubernetes")
        chromium.sign_in(member)
        chromium.click(target="tr:has-text('prod') >> nth=0 >> button:has-text('Connect')")
        chromium.see(target="dialog .command:has-text('tport kube login')")
        chromium.usable()
        saved = chromium.download(target="dialog button:has-text('Download a kubeconfig')")
        assert "keep it like a password" in chromium.see(target="dialog .note")
        chromium.usable()
        chromium.picture("kubernetes-connect-en")
    finally:
        chromium.stop()
    assert saved["name"] == "kube-test-prod.kubeconfig"
    file = tmp_path_factory.mktemp("static") / saved["name"]
    file.write_text(saved["text"])
    return file


def test_kubectl_needs_nothing_but_the_file(site, member, downloaded):
    def kubectl(*words):
        command = site.cluster.net.prefix("elsewhere") + [str(kube.kubectl_path("1.20")), f"--kubeconfig={downloaded}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"})

    done = kubectl("get", "namespaces", "-o", "name")
    assert done.returncode == 0 and "namespace/kube-system" in done.stdout, done.stderr
    assert kubectl("auth", "can-i", "*", "*").stdout.strip() == "yes"
    events = [event for event in site.cluster.audit() if event["event"] == "cert.create" and event["identity"].get("kubernetes_cluster")]
    assert events and events[0]["identity"]["user"] == member.name and events[0]["identity"]["kubernetes_cluster"] == "prod"


def test_R4_the_file_opens_nothing_else(site, downloaded, tmp_path):
    user = yaml.safe_load(downloaded.read_text())["users"][0]["user"]
    for name in ("certificate", "key"):
        (tmp_path / name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
    host, port = site.cluster.proxy.split(":")

    def tls(server_name, alpn=None):
        with in_host(site.cluster.net, "elsewhere"):
            raw = socket.create_connection((host, int(port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
        if alpn:
            context.set_alpn_protocols([alpn])
        return context.wrap_socket(raw, server_hostname=server_name)

    def status(server_name, method, path, body=None, alpn=None):
        connection = http.client.HTTPConnection(host)
        connection.sock = tls(server_name, alpn)
        connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    assert status(site.server_name("prod"), "GET", "/version")[0] == 200
    code, text = status(site.server_name("demo"), "GET", "/version")
    assert code == 403 and "for the Kubernetes cluster prod" in text, text
    for method in ("user.status", "nodes.list", "kube.list", "users.add", "tokens.add", "resources.get"):
        code, text = status("kube-test", "POST", f"/webapi/rpc/{method}", "{}", alpn="tport-api")
        assert code == 403 and "prod and nothing else" in text, (method, text)
    with tls("6e6f6465.node.kube-test", "tport-ssh") as sock:
        assert b"nothing else" in sock.recv(4096)


def test_who_may_not_gets_no_file(site, developer):
    hers = Browser(developer).sign_in()
    key = subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1"], capture_output=True, text=True, check=True).stdout
    public = subprocess.run(["openssl", "ec", "-pubout"], input=key, capture_output=True, text=True, check=True).stdout
    body = {"kube_cluster": "prod", "tls_pub_key": public}
    path = "/webapi/sites/kube-test/kubeconfig"
    reply = hers.ask("POST", path, body)
    assert reply.status == 200 and "BEGIN CERTIFICATE" in reply.json()["certificate"] and "PRIVATE" not in reply.text
    # The cluster that her roles deny is not there; nor is what is no key, nor another site's page.
    assert hers.ask("POST", path, {**body, "kube_cluster": "demo"}).status == 404
    assert hers.ask("POST", path, {**body, "kube_cluster": ""}).status in (400, 404)
    for bad in ("", "x", key, public.replace("M", "N")):
        assert hers.ask("POST", path, {**body, "tls_pub_key": bad}).status == 400, bad
    assert hers.ask("POST", path, body, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}).status == 403
    assert hers.ask("POST", path, body, headers={"Authorization": "Bearer 00"}).status == 401
    refused = [event for event in site.cluster.audit() if event["event"] == "auth" and event.get("kubernetes_cluster") == "demo" and event["user"] == developer.name]
    assert refused, json.dumps(site.cluster.audit()[-3:])
