"""Two readers of one URL: what our path parser says about 10,000 requests against what the API server's audit log says."""

import json
import os
import random
import socket
import ssl
import subprocess
import threading

import pytest

import kube
from net import Net
from tport import BUILD, in_host, wait_for

# The reader is fuzzed under sanitizers elsewhere; fewer will do there.
COUNT, THREADS = 1000 if "asan" in str(BUILD) else 10000, 48

KINDS = {"api/v1": ["pods", "configmaps", "secrets", "services", "endpoints", "serviceaccounts", "events", "replicationcontrollers"],
         "apis/apps/v1": ["deployments", "replicasets", "statefulsets", "daemonsets"], "apis/batch/v1": ["jobs"],
         "apis/rbac.authorization.k8s.io/v1": ["roles", "rolebindings"], "apis/networking.k8s.io/v1": ["ingresses", "networkpolicies"],
         "apis/coordination.k8s.io/v1": ["leases"], "apis/policy/v1beta1": ["poddisruptionbudgets"]}
WIDE = {"api/v1": ["nodes", "namespaces", "persistentvolumes"], "apis/rbac.authorization.k8s.io/v1": ["clusterroles", "clusterrolebindings"],
        "apis/storage.k8s.io/v1": ["storageclasses"], "apis/apiextensions.k8s.io/v1": ["customresourcedefinitions"]}
SUBS = ["log", "exec", "attach", "portforward", "status", "eviction", "binding", "scale", "proxy", "proxy/a/b", "ephemeralcontainers"]
OTHER = ["/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/version", "/healthz", "/healthz/ping", "/readyz", "/livez/etcd",
         "/openapi/v2", "/metrics", "/logs/", "/nothing/here", "/.well-known/openid-configuration"]
NAMES = ["a", "web-0", "x.y.z", "A", "0", "very-" + "long-" * 20 + "name", "a%3Ab", "a:b", "system:node", "%61bc", "a+b", "a~b", "a@b"]
SPACES = ["default", "kube-system", "none", "%64efault"]


def url(random):
    """A path with its method: mostly well-formed, of every shape the API has."""
    method = random.choices(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"], [60, 8, 8, 8, 8, 8])[0]
    if random.random() < 0.04:
        return "GET", random.choice(OTHER)
    wide = random.random() < 0.2
    group, kinds = random.choice(list((WIDE if wide else KINDS).items()))
    parts = [group]
    if random.random() < 0.06:
        parts.append("watch")
    if not wide and random.random() < 0.8:
        parts += ["namespaces", random.choice(SPACES)]
    parts.append(random.choice(kinds))
    if random.random() < 0.6:
        parts.append(random.choice(NAMES))
        if random.random() < 0.35:
            parts.append(random.choice(SUBS))
    query = []
    if random.random() < 0.25:
        query.append("watch=" + random.choice(["true", "1", "false", "0", "", "True", "yes", "TRUE", "t"]))
    if random.random() < 0.3:
        query.append(random.choice(["limit=1", "pretty=true", "fieldSelector=metadata.name%3Da", "labelSelector=a%3Db", "follow=false"]))
    path = "/" + "/".join(parts)
    if random.random() < 0.03:
        path += "/"
    # An open watch ends at once.
    return method, path + "?" + "&".join(query + ["timeoutSeconds=1", "resourceVersion=0"])


@pytest.fixture(scope="module")
def server():
    net = Net(f"tpath{os.getpid() % 1000}")
    one = None
    try:
        one = kube.Kube(net, "kube1")
        yield one
    finally:
        if one:
            one.close()
        net.close()


def read_answer(tls, method):
    """True when the connection may be used again."""
    data = b""
    while True:
        head, cut, body = data.partition(b"\r\n\r\n")
        lower = head.lower()
        if cut and b"connection: close" not in lower:
            if method == "HEAD" or (b"chunked" in lower and body.endswith(b"0\r\n\r\n")):
                return True
            if b"content-length:" in lower and len(body) >= int(lower.split(b"content-length:")[1].split(b"\r\n")[0]):
                return True
        try:
            chunk = tls.recv(65536)
        except OSError:
            return False
        if not chunk:
            return False
        data += chunk


def ask_all(server, requests):
    """Sends all, each marked with its number, over a few connections."""
    context = ssl.create_default_context(cafile=server.pki.folder / "ca.crt")
    context.load_cert_chain(server.pki.folder / "admin.crt", server.pki.folder / "admin.key")

    def connect():
        with in_host(server.net, server.host):
            raw = socket.create_connection((server.address, kube.API_PORT), timeout=60)
        return context.wrap_socket(raw, server_hostname=server.address)

    def work(share):
        tls = connect()
        for number, method, target in share:
            mark = "&" if "?" in target else "?"
            body = "Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}" if method in ("POST", "PUT", "PATCH", "DELETE") else "\r\n"
            tls.sendall(f"{method} {target}{mark}tport={number} HTTP/1.1\r\nHost: x\r\n{body}".encode())
            if not read_answer(tls, method):
                tls.close()
                tls = connect()
        tls.close()
    numbered = [(n, method, target) for n, (method, target) in enumerate(requests)]
    jobs = [threading.Thread(target=work, args=(numbered[i::THREADS],)) for i in range(THREADS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()


def server_view(server, count):
    found = {}
    for event in server.audit():
        uri = event["requestURI"]
        if event["user"]["username"] != "admin" or "tport=" not in uri:
            continue
        number = uri.rsplit("tport=", 1)[1]
        if number.isdigit() and int(number) < count:
            found[int(number)] = event
    return found


def our_view(requests):
    lines = "".join(f"{method} {target}\n" for method, target in requests)
    out = subprocess.run([BUILD / "test" / "read_urls"], input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


FIELDS = ("apiGroup", "apiVersion", "namespace", "resource", "subresource", "name")


def comparable(event, ours):
    """The server's words for what ours calls by other names: upgrades are one verb for rules, whatever the method."""
    ref = event.get("objectRef", {})
    view = {field: ref.get(field, "") for field in FIELDS}
    view["verb"] = event["verb"]
    # Two differences are meant: a namespace itself is a cluster-wide object in rules, and a collection that a field selector
    # narrows to one name is filtered like any other.
    if view["resource"] == "namespaces":
        view["namespace"] = ""
    if not ours["name"] and ours["verb"] in ("list", "watch", "deletecollection") and "metadata.name%3D" in event["requestURI"]:
        view["name"] = ""
    if ref.get("resource") == "pods" and ref.get("subresource") in ("exec", "attach"):
        view["verb"] = "exec"
    if ref.get("resource") == "pods" and ref.get("subresource") == "portforward":
        view["verb"] = "portforward"
    return view


@pytest.mark.timeout(600)
def test_our_reader_and_the_api_server_agree(server):
    chance = random.Random(int(os.environ.get("TPORT_SEED", "20")))
    requests = [url(chance) for _ in range(COUNT)]
    ask_all(server, requests)
    seen = wait_for(lambda: (view := server_view(server, COUNT)) and len(view) == COUNT and view)
    wrong, refused = [], 0
    for number, ours in enumerate(our_view(requests)):
        if "refused" in ours:
            refused += 1
            continue
        server_says = comparable(seen[number], ours)
        if not ours["resource"]:
            if server_says["resource"]:
                wrong.append((requests[number], ours, server_says))
        elif ours != server_says:
            wrong.append((requests[number], ours, server_says))
    assert not wrong, f"{len(wrong)} of {COUNT}, for example:\n" + "\n".join(map(str, wrong[:10]))
    # What we refuse is what has two readings; well-formed requests are most of the list.
    assert refused < COUNT / 5, refused
