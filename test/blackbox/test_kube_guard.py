"""What tport says about Kubernetes afterwards, what it refuses, and what happens when something breaks."""

import base64
import contextlib
import json
import ssl
import time

import pytest

import kube
from kube_site import memory_of, until, with_role as person
from tport import BUILD, wait_for

PODS = "/api/v1/namespaces/default/pods"


# --- what is written down ---

def test_requests_are_audited_once(site, developer):
    before = len(site.events("kube.request", user="alice"))
    site.kubectl(developer, "get", "pods", context="prod", check=True)
    site.kubectl(developer, "get", "endpoints", context="prod")
    found = wait_for(lambda: [e for e in site.events("kube.request", user="alice", resource_kind="endpoints",
                                                          kubernetes_cluster="prod") if e.get("response_code") == 403])
    one = found[0]
    assert one["code"] == "T3009I" and one["verb"] == "GET"
    assert one["request_path"].startswith("/api/v1/namespaces/default/endpoints") and one["resource_namespace"] == "default"
    assert one["kubernetes_users"] == ["dev"] and "developer" in one["kubernetes_groups"] and one["proto"] == "kube"
    pods = [e for e in site.events("kube.request", user="alice", resource_kind="pods") if e.get("response_code") == 200]
    assert pods and pods[0]["resource_api_group"] == "core/v1"
    assert len(site.events("kube.request", user="alice")) - before >= 2
    shown = site.cluster.ctl("audit", "ls", "--type=kube.request", "--user=alice", "--limit=50").stdout
    assert "kubernetes_cluster=prod verb=GET request_path=/api/v1/namespaces/default/endpoints" in shown


def test_a_watch_is_one_event(site, member):
    def count():
        return len([e for e in site.events("kube.request", user=member.name) if "watch=true" in e["request_path"] and
                    "configmaps" in e["request_path"]])
    before = count()
    with site.running(member, "get", "cm", "-n", "kube-public", "-w") as watch:
        for n in range(3):
            site.kubectl(member, "create", "cm", "-n", "kube-public", f"seen-{n}", context="prod", check=True)
            until(watch, f"seen-{n}")
            site.kubectl(member, "delete", "cm", "-n", "kube-public", f"seen-{n}", context="prod", check=True)
    wait_for(lambda: count() == before + 1)


@pytest.mark.parametrize("version,context", [("1.20", "prod"), ("new", "prod5")], ids=["spdy", "websocket"])
def test_terminal_is_recorded_and_plays(site, member, version, context):
    mark = f"recorded-{context}"
    before = {e["sid"] for e in site.events("session.end", user=member.name)}
    child = member.spawn(kube.kubectl_path(version), f"--context=kube-test-{context}", "exec", "-it", "shell", "--", "sh", dimensions=(30, 90))
    child.expect("#")
    child.sendline(f"echo {mark[:4]}''{mark[4:]}")
    child.expect(mark)
    child.sendline("exit")
    child.wait()
    end = wait_for(lambda: [e for e in site.events("session.end", kubernetes_cluster=context, user=member.name)
                            if e.get("interactive") and e["sid"] not in before])[0]
    assert end["kubernetes_pod_name"] == "shell" and end["kubernetes_pod_namespace"] == "default"
    assert end["kubernetes_container_name"] == "main" and end["kubernetes_node_name"] == "localhost"
    start = next(e for e in site.events("session.start", kubernetes_cluster=context) if e["sid"] == end["sid"])
    for field in ("pod_name", "pod_namespace", "container_name", "container_image", "node_name"):
        assert start[f"kubernetes_{field}"] == end[f"kubernetes_{field}"] != "", field
    auditor = site.person(f"auditor-{context}", "auditor")
    assert mark in wait_for(lambda: auditor.tport("play", "--format=text", end["sid"]).stdout)
    # The role member has no rule that lets one read sessions, not even his own.
    assert member.tport("play", "--format=text", end["sid"]).returncode == 1


def test_commands_and_ports_leave_events(site, member):
    site.kubectl(member, "exec", "shell", "--", "sh", "-c", "exit 9", context="prod")
    done = wait_for(lambda: [e for e in site.events("exec", kubernetes_cluster="prod", user=member.name) if "exit 9" in json.dumps(e)])[0]
    assert str(done["exitCode"]) == "9" and done["kubernetes_pod_name"] == "shell"
    with site.running(member, "port-forward", "pod/shell", "18081:18080") as forward:
        until(forward, "Forwarding from")
        assert member.run("curl", "-s", "--max-time", "10", "http://127.0.0.1:18081/").stdout == "hello-from-pod\n"
    wait_for(lambda: site.events("port", kubernetes_cluster="prod", user=member.name))


def test_lists_of_sessions_name_the_pod(site, member):
    """They named the agent's host, which says nothing; and of a command without a terminal, play said that its file was lost."""
    auditor = site.person("auditor-lists", "auditor,member")
    site.kubectl(member, "exec", "shell", "--", "true", context="prod", check=True)
    sid = wait_for(lambda: site.events("exec", kubernetes_cluster="prod", user=member.name))[0]["sid"]
    row = wait_for(lambda: [line for line in auditor.tport("recordings", "ls").stdout.splitlines() if line.startswith(sid)])[0]
    assert " prod/default/shell " in row
    played = auditor.tport("play", sid)
    assert played.returncode == 1 and "was not recorded" in played.stderr and f"--text={sid}" in played.stderr
    assert "kubernetes_pod_namespace=default kubernetes_pod_name=shell" in site.cluster.ctl("audit", "ls", f"--text={sid}").stdout
    with site.running(member, "logs", "-f", "shell") as follow:
        until(follow, "line")
        assert any(line.split()[3] == "prod" for line in auditor.tport("kube", "sessions").stdout.splitlines() if " kube " in line)


@pytest.mark.parametrize("version", ["1.20", "new", "1.35"])
def test_what_kubectl_waited_for_ends_with_it(site, member, version):
    """It closes its connection as TLS wants it, and its watch went on for up to an hour."""
    name = f"quiet-{version.replace('.', '')}"
    site.kubectl(member, "create", "deployment", name, "--image=busybox:test", "--replicas=0", context="prod", check=True)
    assert "successfully rolled out" in site.kubectl(member, "rollout", "status", f"deploy/{name}", version=version, context="prod", check=True).stdout
    watch = wait_for(lambda: [e for e in site.events("kube.request", user=member.name) if "watch=true" in e["request_path"] and name in e["request_path"]])
    assert watch[0]["login"] == member.name # there is no kubernetes_users in the role
    wait_for(lambda: watch[0]["sid"] not in site.cluster.ctl("sessions", "ls", "--format=json").stdout)


# --- what breaks ---

def cold(site, person, name):
    """What kubectl prints whose first request fails: it knows no API of the cluster yet."""
    result = site.kubectl(person, f"--cache-dir={person.home}/cold-{name}", "get", "pods", version="new", context="prod")
    assert result.returncode == 1
    return result.stderr.splitlines()[-1]


def test_api_server_restarts(site, member):
    site.prod.stop_api()
    down = site.kubectl(member, "get", "pods", "--request-timeout=15s", context="prod")
    assert down.returncode == 1 and "prod" in down.stderr
    assert "the API server of prod" in cold(site, member, "api")
    site.prod.start_api()
    site.prod.wait_ready()
    assert "shell" in wait_for(lambda: site.kubectl(member, "get", "pods", context="prod").stdout, timeout=60)


def test_offline_agent_is_said(site, member):
    site.agent.stop()
    site.wait_online(member, "prod", online=False)
    gone = site.kubectl(member, "get", "pods", context="prod")
    assert gone.returncode == 1 and "offline" in gone.stderr
    assert "tport: the Kubernetes cluster prod is offline" in cold(site, member, "agent")
    shown = member.tport("kube", "ls", check=True).stdout
    assert "prod (offline)" in shown
    site.agent.start()
    site.wait_online(member, "prod")
    assert "shell" in wait_for(lambda: site.kubectl(member, "get", "pods", context="prod").stdout)


def test_unknown_and_forbidden_clusters_look_alike(site, member, developer):
    status, head, body = site.get(member, PODS, name="nothere")
    answer = json.loads(body)
    assert status in (403, 404) and answer["kind"] == "Status" and answer["status"] == "Failure" and "application/json" in head
    told = json.loads(site.get(developer, PODS, name="demo")[2])
    none = json.loads(site.get(developer, PODS, name="nothere")[2])
    assert told["message"].replace("demo", "X") == none["message"].replace("nothere", "X") and told["code"] == none["code"]


def test_without_a_certificate(site):
    status, body = 0, ""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        status, _, body = site.get(None, PODS)
    assert status in (0, 401)
    assert "items" not in body


@pytest.mark.skipif("asan" in str(BUILD), reason="faketime and the sanitizer do not go together")
def test_expired_certificate(site):
    """kubectl starts the plug-in, which says what to do."""
    brief = site.person("kube-late", "member")
    brief.tport("kube", "login", "prod", check=True)
    late = brief.run("faketime", "-f", "+20h", kube.kubectl_path("1.20"), "get", "pods")
    assert late.returncode == 1 and "expired" in late.stderr and "tport login" in late.stderr


# --- requests that kubectl would not send ---

SPELLINGS = ["Impersonate-User: admin", "impersonate-user: admin", "IMPERSONATE-USER: admin", "Impersonate_User: admin",
             "Impersonate-User : admin", "Impersonate-Group: system:masters", "Impersonate_Group: system:masters",
             "Impersonate-Uid: 0", "Impersonate-Extra-Scopes: all", "X-Remote-User: admin", "X_Remote_User: admin",
             "X-Remote-Group: system:masters", "x-remote-extra-a: b", "Authorization: Bearer x", "Authorization: Basic YWRtaW46YWRtaW4=",
             "X-Forwarded-User: admin", "Connection: Impersonate-User", "Connection: Impersonate-User, Impersonate-Group",
             "Impersonate-User:\tadmin", "Impersonate-User: dev\r\nImpersonate-User: admin", " Impersonate-User: admin",
             "A: b\r\n Impersonate-User: admin", "Impersonate-User: dev\x00admin", "Impersonate-Usér: admin"]


@pytest.mark.parametrize("line", SPELLINGS)
def test_nobody_speaks_for_himself(site, developer, line):
    """dev may not list secrets; whatever header claims another identity, the cluster sees dev or nothing."""
    mark = f"r{abs(hash(line)) % 10**9}"
    request = (f"GET /api/v1/namespaces/kube-system/secrets?limit=1&pretty={mark} HTTP/1.1\r\nHost: {site.server_name('prod')}\r\n"
               f"{line}\r\nConnection: close\r\n\r\n").encode()
    status, _, body = site.raw(developer, request)
    assert status in (400, 403, 0) and "items" not in body, body
    for event in site.prod.audit():
        if mark in event["requestURI"]:
            assert event["user"]["username"] == "tport-agent" and event["impersonatedUser"]["username"] == "dev"
            assert "system:masters" not in event["impersonatedUser"].get("groups", [])


TRICKS = ["//api/v1/namespaces/default/pods", "/api//v1/pods", "/api/v1/../v1/secrets", "/./api/v1/secrets", "/api/v1/%2e%2e/v1/secrets",
          "/api/v1/namespaces/default%2fpods", "/api/v1/namespaces%2Fdefault/pods", "/api/v1/namespaces/default/pods/..;/secrets",
          "/api/v1/namespaces/default/pods;a=b", "api/v1/pods", "*", "http://other/api/v1/pods", "/api/v1/pods#x", "/api/v1/pods%00",
          "/api/v1/pods%", "/api/v1/pods%zz", "/api/v1\\secrets", "/api/v1/pods%5c..", "/api/v1/namespaces/default/pods/%252e%252e",
          "/api/v1/pods\x7f"]


@pytest.mark.parametrize("path", TRICKS)
def test_ambiguous_paths_reach_nobody(site, member, path):
    before = len(site.prod.audit())
    status, _, body = site.get(member, path)
    assert status in (400, 404), (status, body)
    time.sleep(0.2)
    ours = [e for e in site.prod.audit()[before:] if e["user"]["username"] == "tport-agent"]
    assert not ours, ours


@pytest.mark.parametrize("request_bytes", [
    b"GET /version HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET /version HTTP/1.1\nHost: a\n\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
], ids=["te-and-cl", "two-lengths", "bare-lf", "http2", "2MB-header", "connect"])
def test_broken_requests_get_a_clean_end(site, member, request_bytes):
    status = 0
    with contextlib.suppress(ssl.SSLError, ConnectionError, BrokenPipeError):
        status = site.raw(member, request_bytes)[0]
    assert status in (0, 400, 405, 413, 414, 431, 501, 505), status
    assert site.get(member, "/version")[0] == 200


def test_many_requests_on_one_connection(site, member):
    with site.tls(member) as tls:
        one = f"GET /version HTTP/1.1\r\nHost: {site.server_name('prod')}\r\n\r\n".encode()
        for _ in range(50):
            tls.sendall(one)
            data = b""
            while not data.rstrip().endswith(b"}") and not data.endswith(b"0\r\n\r\n"):
                data += tls.recv(65536)
            assert data.startswith(b"HTTP/1.1 200") and b"v1.20.2" in data


def test_a_header_of_100_megabytes(site, member):
    """Really sent, as far as it is taken: the answer comes early, nothing grows, and the next request is served."""
    sent, before = 0, memory_of(site.agent.children("agent")) + memory_of(site.cluster.daemon.children("worker"))
    with site.tls(member) as tls:
        tls.sendall(f"GET /version HTTP/1.1\r\nHost: {site.server_name('prod')}\r\nX-Big: ".encode())
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while sent < 100 << 20:
                tls.sendall(b"a" * 65536)
                sent += 65536
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            answer = tls.recv(4096)
            assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    after = memory_of(site.agent.children("agent")) + memory_of(site.cluster.daemon.children("worker"))
    assert "asan" in str(BUILD) or after - before < 16, (sent, before, after)
    assert site.get(member, "/version")[0] == 200


def test_the_web_lists_the_clusters_that_one_may_reach(site, member, developer):
    """GET /webapi/sites/CLUSTER/kubernetes, as web pages ask it."""
    site.wait_clusters("demo", "prod")

    def listed(who):
        login = site.cluster.https("POST", "/webapi/sessions/web", body=json.dumps(
            {"user": who.name, "pass": who.password, "second_factor_token": who.code()}), headers={"Content-Type": "application/json"})
        assert login.status == 200, login.text
        token = {"Cookie": login.headers["Set-Cookie"].split(";")[0], "Authorization": f"Bearer {json.loads(login.text)['token']}"}
        reply = site.cluster.https("GET", "/webapi/sites/kube-test/kubernetes", headers=token)
        assert reply.status == 200, reply.text
        return {item["name"]: item for item in json.loads(reply.text)["items"]}
    mine = listed(member)
    assert {"demo", "prod", "prod5"} <= set(mine) and mine["prod"]["kubernetes_groups"] == ["system:masters"]
    assert {"name": "env", "value": "dev"} in mine["prod"]["labels"]
    hers = listed(developer) # the walkthrough: the cluster labelled app=teleport-cluster is not for her
    assert "demo" not in hers and hers["prod"]["kubernetes_users"] == ["dev"] and "developer" in hers["prod"]["kubernetes_groups"]
    assert site.cluster.https("GET", "/webapi/sites/kube-test/kubernetes").status == 401


# --- kubernetes_resources ---

def wanted(kind, name, namespace="*", verbs=("*",), **more):
    return [{"kind": kind, "name": name, "namespace": namespace, "verbs": list(verbs), **more}]


def make_objects(site):
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-{n}", "namespace": "default"}}
             for name in ("mine", "other") for n in range(3)]
    site.prod.admin("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def test_R5_pages_of_a_list_name_nothing_that_is_not_shown(site):
    """The API server's token for the next page is the name of the last object, shown or not; with a page of one, all names
    could be read, and with a token of one's own, guessed."""
    make_objects(site)
    who = person(site, "pages", version="v7", kubernetes_groups=["system:masters"], kubernetes_resources=wanted("configmap", "mine-*", "default"))
    path, token, names = "/api/v1/namespaces/default/configmaps?limit=1", "", []
    while True:
        status, _, body = site.get(who, path + (f"&continue={token}" if token else ""))
        page = json.loads(body)
        assert status == 200 and "remainingItemCount" not in page["metadata"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            break
        assert b"mine" not in unsealed(token) and b"other" not in unsealed(token)
    assert names == ["mine-0", "mine-1", "mine-2"]
    guess = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":-1,"start":"other-\\u0000"}').decode().rstrip("=")
    status, _, body = site.get(who, f"{path}&continue={guess}")
    assert status == 410 and json.loads(body)["reason"] == "Expired" and "from the start" in json.loads(body)["message"]
    protobuf = site.get(who, path, ["Accept: application/vnd.kubernetes.protobuf"])
    assert protobuf[0] == 200 and not [name for name in ("other-", "mine-1") if name in protobuf[2]]
    for kubectl in ("1.20", "new"):
        shown = site.kubectl(who, "get", "cm", "--chunk-size=2", "-o", "name", version=kubectl, context="prod", check=True).stdout
        assert shown.split() == [f"configmap/mine-{n}" for n in range(3)]


def unsealed(token):
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


@pytest.mark.parametrize("version", ["v7", "v8"])
def test_lists_are_filtered(site, version):
    make_objects(site)
    resource = wanted("configmap" if version == "v7" else "configmaps", "mine-*", "default", **({"api_group": ""} if version == "v8" else {}))
    who = person(site, f"filter-{version}", version=version, kubernetes_groups=["system:masters"], kubernetes_resources=resource)
    for kubectl in ("1.20", "new"):
        run = lambda *words: site.kubectl(who, *words, version=kubectl, context="prod")  # noqa: E731, B023
        shown = run("get", "cm", "--no-headers").stdout
        assert {line.split()[0] for line in shown.splitlines()} == {"mine-0", "mine-1", "mine-2"}
        assert {i["metadata"]["name"] for i in json.loads(run("get", "cm", "-o", "json").stdout)["items"]} == {"mine-0", "mine-1", "mine-2"}
        assert run("get", "cm", "mine-1").returncode == 0
        refused = run("get", "cm", "other-1")
        assert refused.returncode == 1 and "other-1" in refused.stderr
        assert run("get", "secrets").returncode == 1 or "No resources" in run("get", "secrets").stderr
    protobuf = site.get(who, "/api/v1/namespaces/default/configmaps", ["Accept: application/vnd.kubernetes.protobuf"])
    assert protobuf[0] == 200 and "mine-1" in protobuf[2] and "other-1" not in protobuf[2]


@pytest.mark.parametrize("version", ["v7", "v8"])
def test_a_deletecollection_takes_only_what_is_allowed(site, version):
    make_objects(site)
    resource = wanted("configmap" if version == "v7" else "configmaps", "mine-*", "default", **({"api_group": ""} if version == "v8" else {}))
    who = person(site, f"sweep-{version}", version=version, kubernetes_groups=["system:masters"], kubernetes_resources=resource)
    path = "/api/v1/namespaces/default/configmaps"
    done = site.kubectl(who, "delete", "--raw", path, context="prod")
    assert done.returncode == 0, done.stderr
    left = site.prod.admin("get", "cm", "-n", "default", "-o", "name").stdout
    assert "mine-" not in left and all(f"configmap/other-{n}" in left for n in range(3))
    verbs = [e["verb"] for e in site.prod.audit() if e.get("impersonatedUser", {}).get("username") == who.name and e["requestURI"].startswith(path)]
    assert verbs.count("delete") == 3 and "deletecollection" not in verbs
    # By what a role does not name at all nothing is taken.
    assert site.kubectl(who, "delete", "--raw", "/api/v1/namespaces/default/secrets", context="prod").returncode == 1


@pytest.mark.parametrize("kind, body", [
    # API servers before 1.23 know the members of most objects by a hash of their names: these keys have that of "metadata".
    ("json", '{"metadata":{"name":"mine-twin"},"BdxYd386BklkaHcfk956fq3l":{"name":"other-twin"}}'),
    ("yaml", 'metadata: {name: mine-twin}\nwHRhyLM7MAbt0HNvZJkaMOOJ: {name: other-twin}\n'),
    # With a tag "!", a merge key in quotes is one again.
    ("yaml", 'metadata: {name: mine-twin, ! "<<": {name: other-twin}}\n'),
])
def test_R5_nothing_is_created_under_a_name_that_was_not_decided(site, kind, body):
    who = person(site, f"twin-{kind}-{len(body)}", version="v7", kubernetes_groups=["system:masters"], kubernetes_resources=wanted("configmap", "mine-*", "default"))
    status, _, text = site.raw(who, f"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: {site.server_name('prod')}\r\n"
                                    f"Content-Type: application/{kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}")
    there = site.prod.admin("get", "cm", "-n", "default", "-o", "name").stdout
    site.prod.admin("delete", "cm", "-n", "default", "--ignore-not-found", "mine-twin", "other-twin")
    assert "other-twin" not in there and status in (400, 403), (status, text, there)


def test_watches_are_filtered(site):
    make_objects(site)
    who = person(site, "filter-watch", kubernetes_groups=["system:masters"], kubernetes_resources=wanted("configmap", "mine-*", "default"))
    with site.running(who, "get", "cm", "-w", "-o", "name") as watch:
        until(watch, "mine-2")
        site.prod.admin("label", "cm", "other-0", "x=y", "--overwrite")
        site.prod.admin("label", "cm", "mine-0", f"x={int(time.time())}", "--overwrite")
        assert not any("other" in line for line in until(watch, "mine-0"))


@pytest.mark.parametrize("kubectl", ["1.20", "new"])
def test_auth_can_i_knows_the_roles_too(site, kubectl):
    """The cluster lets system:masters do anything; the person's roles do not, and kubectl says so."""
    who = person(site, f"can-i-{kubectl.replace('.', '')}", version="v8", kubernetes_groups=["system:masters"], kubernetes_resources=wanted(
        "pods", "s*", "default", ("get", "list", "exec"), api_group=""))

    def can(*words):
        return site.kubectl(who, "auth", "can-i", *words, version=kubectl, context="prod").stdout
    assert can("get", "pods") == "yes\n" and can("get", "pod/shell") == "yes\n" and can("create", "pods", "--subresource=exec") == "yes\n"
    for words, said in ((("get", "secrets"), "get secrets in namespace default"), (("get", "pod/other"), "get pods other in namespace default"),
                        (("delete", "pods"), "delete pods"), (("list", "deployments.apps"), "list deployments"), (("list", "nodes"), "list nodes"),
                        (("create", "pods", "--subresource=portforward"), "create pods/portforward"), (("*", "*"), "* *")):
        answer = can(*words)
        assert answer.startswith("no - tport: your roles do not let you ") and said in answer, (words, answer)
    listed = site.kubectl(who, "auth", "can-i", "--list", version=kubectl, context="prod", check=True)
    assert "*.*" in listed.stdout and "Warning: tport: this is what the cluster allows" in listed.stderr


def test_pods_of_v6_by_name(site):
    who = person(site, "filter-pod", version="v6", kubernetes_groups=["system:masters"],
                 kubernetes_resources=[{"kind": "pod", "name": "nope-*", "namespace": "*"}])
    assert "shell" not in site.kubectl(who, "get", "pods", context="prod").stdout
    for words in (("get", "pod", "shell"), ("exec", "shell", "--", "id"), ("logs", "shell"), ("port-forward", "pod/shell", "18083:18080")):
        refused = site.kubectl(who, *words, context="prod")
        assert refused.returncode != 0 and "shell" in refused.stderr, words
    # v6 limits pods only.
    assert site.kubectl(who, "get", "cm", context="prod").returncode == 0
