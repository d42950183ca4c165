"""Aggregated APIs: an API server of somebody else's behind the real one (as metrics-server is), reached through tport."""

import http.server
import json
import ssl
import threading

import pytest

from kube_site import with_role
from tport import in_host, wait_for

PORT = 8443
GROUP = "metrics.k8s.io/v1beta1"
API = f"/apis/{GROUP}"


def registration(site):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": "kube-system"},
         "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": PORT}]}},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
         "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                  "caBundle": site.prod.pki.data("ca.crt"), "service": {"name": "metrics", "namespace": "kube-system", "port": PORT}}}]})


def resource(name, kind, namespaced):
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}


def metrics(name, **more):
    return {"metadata": {"name": name, **more.pop("meta", {})}, "timestamp": "2030-01-01T00:00:00Z", "window": "30s", **more}


def pod(name):
    return metrics(name, meta={"namespace": "default"}, containers=[{"name": "main", "usage": {"cpu": "7m", "memory": "21Mi"}}])


def several(kind, items):
    return {"kind": kind, "apiVersion": GROUP, "metadata": {}, "items": items}


ANSWERS = {
    API: {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP,
          "resources": [resource("nodes", "NodeMetrics", False), resource("pods", "PodMetrics", True)]},
    f"{API}/nodes": several("NodeMetricsList", [metrics("localhost", usage={"cpu": "321m", "memory": "654Mi"})]),
    f"{API}/namespaces/default/pods": several("PodMetricsList", [pod("shell"), pod("other")]),
    f"{API}/namespaces/default/pods/shell": {"kind": "PodMetrics", "apiVersion": GROUP, **pod("shell")},
}


@pytest.fixture(scope="module")
def asked(site):
    """What the aggregated server has been asked: (path, who it was told asks)."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.partition("?")[0]
            seen.append((path, self.headers.get("X-Remote-User"), self.headers.get_all("X-Remote-Group"),
                         [name for name in self.headers if name.lower().startswith(("impersonate", "authorization"))]))
            body = json.dumps(ANSWERS.get(path, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})).encode()
            self.send_response(200 if path in ANSWERS else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args): # pylint: disable=arguments-differ
            pass

    site.prod.pki.leaf("metrics", "/CN=metrics", "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:metrics.kube-system.svc\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.prod.pki.folder / "metrics.crt", site.prod.pki.folder / "metrics.key")
    with in_host(site.cluster.net, "kube1"):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.prod.admin("apply", "-f", "-", input=registration(site))
    try:
        # Available is said somewhat before the paths are there.
        wait_for(lambda: "localhost" in site.prod.admin("get", "--raw", f"{API}/nodes", check=False).stdout, timeout=60)
        yield seen
    finally:
        site.prod.admin("delete", "-f", "-", input=registration(site))
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("version", ["1.20", "new"])
def test_top(site, asked, member, version):
    def top(*words):
        return site.kubectl(member, "top", *words, version=version, context="prod", check=True).stdout
    # kubectl remembers for a while which groups there are.
    member.run("rm", "-rf", member.home / ".kube" / "cache")
    del asked[:]
    nodes = top("nodes")
    assert "localhost" in nodes and "321m" in nodes and "654Mi" in nodes
    pods = top("pods")
    assert "shell" in pods and "7m" in pods
    assert "main" in top("pod", "shell", "--containers")
    own = [one for one in asked if one[1] == member.name]
    assert {f"{API}/nodes", f"{API}/namespaces/default/pods"} <= {one[0] for one in own}
    for _, _, groups, leftovers in own: # as the person, by the front proxy's headers, and by nothing else
        assert set(groups) == {"system:masters", "system:authenticated"} and not leftovers


def test_aggregated_resources_are_resources(site, asked, member): # pylint: disable=unused-argument
    member.run("rm", "-rf", member.home / ".kube" / "cache")
    for version in ("1.20", "new"):
        assert "NodeMetrics" in site.kubectl(member, "api-resources", version=version, context="prod", check=True).stdout
        assert "shell" in site.kubectl(member, "get", "pods.v1beta1.metrics.k8s.io", "-o", "name", version=version, context="prod", check=True).stdout
    events = wait_for(lambda: site.events("kube.request", resource_api_group=GROUP, user=member.name))
    assert {"nodes", "pods"} & {e["resource_kind"] for e in events}


def test_the_cluster_refuses_aggregated_resources_too(site, asked, developer):
    del asked[:]
    refused = site.kubectl(developer, "get", "--raw", f"{API}/nodes", context="prod")
    assert refused.returncode == 1 and 'User "dev" cannot list resource "nodes" in API group "metrics.k8s.io"' in refused.stderr
    assert not [one for one in asked if one[1] == "dev"]


def test_aggregated_lists_are_filtered(site, asked): # pylint: disable=unused-argument
    who = with_role(site, "some-metrics", version="v8", kubernetes_groups=["system:masters"], kubernetes_resources=[
        {"kind": "pods", "api_group": "metrics.k8s.io", "name": "sh*", "namespace": "default", "verbs": ["*"]}])
    shown = json.loads(site.kubectl(who, "get", "--raw", f"{API}/namespaces/default/pods", context="prod", check=True).stdout)
    assert [item["metadata"]["name"] for item in shown["items"]] == ["shell"]
    assert site.kubectl(who, "get", "--raw", f"{API}/namespaces/default/pods/shell", context="prod").returncode == 0
    for path in ("/namespaces/default/pods/other", "/nodes"):
        refused = site.kubectl(who, "get", "--raw", API + path, context="prod")
        assert refused.returncode == 1 and "your roles do not let you" in refused.stderr
