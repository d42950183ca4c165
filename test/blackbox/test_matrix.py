"""The authorization matrix: every call of auth, web route and SSH request, out of the program's own tables, tried by everybody.

A row of a table that has no line here fails the first tests, so no handler comes in without saying who may use it."""

import base64
import contextlib
import http.client
import json
import os
import ssl
import socket
import struct
import subprocess
import time

import pytest

from tport import BIN, Cluster, in_host, wait_for

BUILD = BIN.parent

# name: who (A anonymous, U user, O a person by the certificate that a one-time code gave, H host, P worker, L local
# administrator; v by a worker's line only, l the local agent only),
# kind of right, verb, kind of resource; then the doors to it: web = /webapi/rpc with a user's certificate, tunnel = an agent.
CALLS = {
    "cluster.info": "AUHPL none info - web tunnel",
    "cluster.cas": "AUHPL none info - web tunnel",
    "cluster.status": "UL rule read cluster_name web",
    "ca.rotate": "UL rule rotate cert_authority web",
    "login.password": "A none login -",
    "login.web": "A none login -",
    "login.web_end": "U self logout -",
    "invite.get": "A none enrol -",
    "invite.confirm": "A none enrol -",
    "invite.finish": "A none enrol -",
    "host.join": "A none join -",
    "host.join_local": "Hl self join -",
    "host.renew": "H self renew - tunnel",
    "host.heartbeat": "H self heartbeat - tunnel",
    "proxy.cert": "P none serve -",
    "tunnel.up": "Hv self tunnel -",
    "tunnel.down": "P none tunnel -",
    "mfa.required": "U self ask about - web",
    "mfa.session": "U self give a code - web",
    "ssh.connect": "UOv handler connect node",
    "term.connect": "Uv handler connect node",
    "kube.connect": "UOv handler connect kube_cluster",
    "kube.certs": "Uv handler connect kube_cluster",
    "kube.list": "UL rule list kube_cluster web",
    "session.closed": "P none report -",
    "session.resume": "P none report -",
    "session.auth": "H self report - tunnel",
    "session.start": "H self report - tunnel",
    "session.event": "H self report - tunnel",
    "session.events": "H self report - tunnel",
    "recording.append": "H self record - tunnel",
    "session.end": "H self report - tunnel",
    "nodes.list": "UL rule list node web",
    "user.context": "U self status -",
    "account.password": "U self change -",
    "account.devices": "U self list -",
    "account.device_new": "U self add -",
    "account.device_add": "U self add -",
    "account.device_rename": "U self rename -",
    "account.device_rm": "U self remove -",
    "account.sessions": "U self list -",
    "account.session_end": "U self logout -",
    "user.status": "U self status - web",
    "recordings.list": "UL possible list session web",
    "recordings.read": "UL possible read session web",
    "sessions.list": "UL rule list ssh_session web",
    "sessions.end": "UL handler delete ssh_session web",
    "sessions.watch": "UL handler watch session",
    "users.add": "UL possible create user web",
    "users.reset": "UL possible update user web",
    "users.update": "UL possible update user web",
    "tokens.add": "UL rule create token web",
    "tokens.script": "A none enrol -",
    "tokens.joined": "U rule create token",
    "resources.get": "UL handler read * web",
    "resources.put": "UL handler update * web",
    "resources.rm": "UL handler delete * web",
    "locks.add": "UL rule create lock web",
    "access.explain": "UL handler read user",
    "access.reach": "UL handler read role",
    "certs.user": "L none sign -",
    "certs.host": "L none sign -",
    "audit.list": "UL rule list event web",
    "audit.checkpoint": "UL rule list event web",
}

ROUTES = {
    "GET /webapi/ping": "anonymous",
    "GET /webapi/find": "anonymous",
    "POST /webapi/mfa/login/begin": "anonymous",
    "POST /webapi/mfa/login/finish": "anonymous",
    "POST /webapi/ssh/certs": "anonymous",
    "POST /webapi/sessions/web": "anonymous",
    "DELETE /webapi/sessions/web": "session",
    "GET /webapi/sessions/web": "session",
    "DELETE /webapi/sessions/web/:id": "session",
    "PUT /webapi/users/password": "session",
    "GET /webapi/mfa/devices": "session",
    "POST /webapi/mfa/devices/new": "session",
    "POST /webapi/mfa/devices": "session",
    "PUT /webapi/mfa/devices/:id": "session",
    "DELETE /webapi/mfa/devices/:id": "session",
    "GET /webapi/users/password/token/:token": "anonymous",
    "PUT /webapi/users/password/token": "anonymous",
    "POST /webapi/host/credentials": "anonymous",
    "GET /webapi/auth/export": "anonymous",
    "GET /webapi/sites": "session",
    "GET /webapi/motd": "anonymous",
    "GET /webapi/sites/:cluster/context": "session",
    "GET /webapi/sites/:cluster/nodes": "session list node",
    "GET /webapi/sites/:cluster/kubernetes": "session list kube_cluster",
    "POST /webapi/sites/:cluster/kubeconfig": "session",
    "GET /webapi/sites/:cluster/events/search": "session list event",
    "GET /webapi/sites/:cluster/events/search/sessions": "session list session",
    "GET /webapi/sites/:cluster/sessions": "session list ssh_session",
    "DELETE /webapi/sites/:cluster/sessions/:sid": "session",
    "GET /webapi/sites/:cluster/sessions/:sid/watch": "session",
    "GET /webapi/sites/:cluster/sessions/:sid/stream": "session read session",
    "GET /webapi/sites/:cluster/connect": "session",
    "GET /webapi/sites/:cluster/connect/ws": "session",
    "POST /webapi/mfa/session": "session",
    "GET /webapi/users": "session list user",
    "GET /webapi/roles": "session list role",
    "POST /webapi/users": "session create user",
    "PUT /webapi/users": "session update user",
    "POST /webapi/users/password/token": "session update user",
    "DELETE /webapi/users/:name": "session delete user",
    "POST /webapi/roles/check": "session",
    "POST /webapi/roles": "session create role",
    "PUT /webapi/roles/:name": "session update role",
    "DELETE /webapi/roles/:name": "session delete role",
    "GET /webapi/sites/:cluster/access/reach": "session",
    "GET /webapi/sites/:cluster/access/explain": "session",
    "GET /webapi/tokens": "session list token",
    "POST /webapi/token": "session create token",
    "POST /webapi/tokens": "session create token",
    "GET /webapi/token/:token/hosts": "session create token",
    "GET /scripts/:token/install-node.sh": "anonymous",
    "GET /scripts/:token/:file": "anonymous",
    "DELETE /webapi/tokens/:name": "session delete token",
    "GET /webapi/locks": "session list lock",
    "POST /webapi/locks": "session create lock",
    "DELETE /webapi/locks/:name": "session delete lock",
    "GET /webapi/sites/:cluster/events/checkpoint": "session list event",
    "POST /webapi/rpc/:method": "cert",
    "GET /": "anonymous",
    "GET /web": "anonymous",
    "GET /web/assets/:file": "anonymous",
    "GET /web/player/:sid": "anonymous",
    "GET /web/:page": "anonymous",
    "GET /web/:page/:item": "anonymous",
    "GET /web/style.css": "anonymous",
    "GET /web/invite/:token": "anonymous",
    "GET /web/reset/:token": "anonymous",
    "POST /web/invite/:token": "anonymous",
    "POST /web/reset/:token": "anonymous",
    "GET /web/invite/:token/password": "anonymous",
    "GET /web/reset/:token/password": "anonymous",
    "POST /web/invite/:token/password": "anonymous",
    "POST /web/reset/:token/password": "anonymous",
}

REQUESTS = {
    "global tcpip-forward": "forward_remote",
    "global cancel-tcpip-forward": "forward_remote",
    "global keepalive@openssh.com": "none",
    "open session": "session",
    "open direct-tcpip": "forward_local",
    "open direct-streamlocal@openssh.com": "forward_local",
    "open x11": "never",
    "channel pty-req": "session",
    "channel env": "session",
    "channel shell": "session",
    "channel exec": "session",
    "channel subsystem": "session",
    "channel window-change": "none",
    "channel signal": "session",
    "channel auth-agent-req@openssh.com": "forward_agent",
    "channel x11-req": "never",
    "subsystem sftp": "file_copy",
}

# Kinds of resources.* that roles are asked about; a token and a user have more verbs than read and write by other calls.
KINDS = ["role", "user", "token", "lock", "node", "cluster_auth_preference", "cluster_networking_config",
         "session_recording_config", "cert_authority"]
NO_SESSION = "00000000-0000-0000-0000-000000000000"
REFUSED = {"access_denied", "unauthenticated"}


def dump(name):
    return json.loads(subprocess.run([str(BUILD / "test" / name)], capture_output=True, text=True, check=True).stdout)


TABLES = dump("dump_tables")
METHODS = {m["name"]: m for m in TABLES["methods"]}


def test_R1_every_call_has_its_line_here():
    def line(m):
        who = m["who"] + ("v" if m["via_proxy"] else "") + ("l" if m["local_agent"] else "")
        doors = (" web" if m["by_web"] else "") + (" tunnel" if m["by_tunnel"] else "")
        return f"{who} {m['right']} {m['verb']} {m['kind'] or '-'}{doors}"
    assert {name: line(m) for name, m in METHODS.items()} == CALLS
    for method in METHODS.values():  # and the doors are no wider than the table
        assert not method["by_web"] or "U" in method["who"]
        assert not method["by_tunnel"] or "H" in method["who"]


def test_R1_every_web_route_has_its_line_here():
    assert {f"{r['method']} {r['path']}": r["who"] for r in TABLES["routes"]} == {k: v.split()[0] for k, v in ROUTES.items()}


def test_R2_every_ssh_request_has_its_line_here():
    assert {f"{r['place']} {r['name']}": r["verb"] for r in dump("dump_requests")} == REQUESTS


def role(name, rules="[]", allow="", deny="{}", options="{}"):
    return (f"kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec:\n  allow: {{rules: {rules}{allow}}}\n"
            f"  deny: {deny}\n  options: {options}\n")


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1", "evil"))
    yield made
    made.close()


class Api:
    """Calls of one person, by his certificate or by his web session."""

    def __init__(self, person):
        self.person, self.cluster = person, person.cluster
        self.address, self.port = self.cluster.proxy.split(":")
        self.session = None

    def _open(self, alpn=None, cert=True):
        with in_host(self.cluster.net, self.person.host):
            raw = socket.create_connection((self.address, int(self.port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        if cert:
            keys = self.person.home / ".tport" / "keys" / self.address / self.person.name
            context.load_cert_chain(f"{keys}.crt", f"{keys}.key")
        connection = http.client.HTTPConnection(self.address, int(self.port))
        connection.sock = context.wrap_socket(raw)
        return contextlib.closing(connection)

    def ask(self, method, path, body=None, alpn=None, cert=False, headers=None):
        with self._open(alpn, cert) as connection:
            connection.request(method, path, body=json.dumps(body) if body is not None else None,
                               headers={"Host": self.cluster.proxy, "Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            return answer, text

    def call(self, name, params=None):
        """None when it was let through to the handler, else the code of the refusal."""
        answer, text = self.ask("POST", f"/v1/webapi/rpc/{name}", params or {}, alpn="tport-api", cert=True)
        return None if answer.status < 400 else json.loads(text)["error"]["code"]

    def sign_in(self):
        answer, text = self.ask("POST", "/webapi/sessions/web", {"user": self.person.name, "pass": self.person.password,
                                                                 "second_factor_token": self.person.code()})
        assert answer.status == 200, text
        self.session = {"Cookie": answer.getheader("Set-Cookie").split(";")[0], "Authorization": f"Bearer {json.loads(text)['token']}"}

    def route(self, line):
        method, path = line.split(" ")
        path = path.replace(":cluster", "test").replace(":token", "0" * 32).replace(":name", "none-such").replace(":sid", NO_SESSION)
        # Enough to reach the decision.
        body = {"name": "none-such", "roles": ["poor"], "target": {"user": "none-such"},
                "content": role("none-such")} if method != "GET" else None
        answer, _ = self.ask(method, path, body, headers=self.session)
        return answer.status


@pytest.fixture(scope="module")
def poor(home):
    """No right but to be a user; a role of his own that tests change."""
    home.ctl("create", "-f", input=role("poor"))
    api = Api(home.person("poor", roles="poor", logins=""))
    api.sign_in()
    return api


def give(home, rules):
    home.ctl("create", "-f", input=role("poor", rules))


def params_of(name, kind="role"):
    """Enough to reach the decision, never enough to change something."""
    if name.startswith("resources."):
        if name.endswith("put"):
            return {"resource": {"kind": kind, "version": "v0", "metadata": {"name": "none-such"}}}
        return {"kind": kind, "name": "none-such"}
    return {"sid": NO_SESSION} if name == "sessions.end" else {}


USER_CALLS = sorted(name for name, line in CALLS.items() if " web" in line)
# What the implicit role of every user gives: his own status, lists that are filtered item by item.
IMPLICIT = {("list", "node"), ("list", "kube_cluster"), ("list", "ssh_session"), ("read", "cluster_name")}
IMPLICIT_KINDS = {"node", "cluster_auth_preference", "cert_authority"}  # to read; nodes are filtered by labels


def implicitly(method):
    return (method["verb"], method["kind"]) in IMPLICIT or method["right"] in ("none", "self")


@pytest.mark.parametrize("name", USER_CALLS)
def test_R1_a_call_needs_its_verb(home, poor, name):
    method = METHODS[name]
    give(home, "[]")
    without = poor.call(name, params_of(name))
    if method["right"] in ("rule", "possible") and not implicitly(method):
        assert without == "access_denied"
        give(home, f"[{{resources: ['*'], verbs: ['*']}}, {{resources: [{method['kind']}], verbs: [{method['verb']}]}}]")
        assert poor.call(name, params_of(name)) not in REFUSED
        # Any other verb on this kind, and this verb on all other kinds, are not it.
        other = "list" if method["verb"] != "list" else "delete"
        give(home, f"[{{resources: [{method['kind']}], verbs: [{other}]}}]")
        assert poor.call(name, params_of(name)) == "access_denied"
        give(home, f"[{{resources: [{'role' if method['kind'] != 'role' else 'user'}], verbs: ['*']}}]")
        assert poor.call(name, params_of(name)) == "access_denied"
        give(home, f"[{{resources: [{method['kind']}], verbs: [{method['verb']}]}}]")
        assert poor.call(name, params_of(name)) not in REFUSED
        # R5: deny of the same beats it.
        home.ctl("create", "-f", input=role("poor", f"[{{resources: [{method['kind']}], verbs: [{method['verb']}]}}]",
                                            deny=f"{{rules: [{{resources: [{method['kind']}], verbs: [{method['verb']}]}}]}}"))
        assert poor.call(name, params_of(name)) == "access_denied"
    elif method["right"] == "handler":
        # Who may end a session is decided for each one, and one that is not his is not there.
        assert without == ("not_found" if name == "sessions.end" else "access_denied")
    else:
        assert without not in REFUSED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resources.get", "resources.put", "resources.rm"])
def test_R1_resources_need_the_verb_on_their_kind(home, poor, name, kind):
    verbs = {"resources.get": ["list", "read"], "resources.put": ["create", "update"], "resources.rm": ["delete"]}[name]
    give(home, "[]")
    nobody = poor.call(name, params_of(name, kind))
    give(home, f"[{{resources: [{kind}], verbs: [{', '.join(verbs)}]}}]")
    allowed = poor.call(name, params_of(name, kind))
    open_to_all = name == "resources.get" and kind in IMPLICIT_KINDS
    if not open_to_all:
        assert nobody in REFUSED or (nobody == allowed == "bad_parameter"), nobody
    assert allowed not in REFUSED or (kind == "cert_authority" and name != "resources.get"), allowed
    others = sorted({"list", "read", "create", "update", "delete"} - set(verbs))
    give(home, f"[{{resources: [{kind}], verbs: [{', '.join(others)}]}}]")
    if not open_to_all:
        assert poor.call(name, params_of(name, kind)) == nobody


@pytest.mark.parametrize("name", sorted(set(CALLS) - set(USER_CALLS)))
def test_R1_no_user_reaches_the_calls_of_others(home, poor, name):
    give(home, "[{resources: ['*'], verbs: ['*']}]")
    assert poor.call(name) in REFUSED | {"not_found"}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_R1_without_a_certificate_no_call_is_reached(home, poor, name):
    answer, _ = poor.ask("POST", f"/webapi/rpc/{name}", {})
    assert answer.status in (401, 403, 404)
    # A page that a browser has open is no certificate either.
    answer, _ = poor.ask("POST", f"/webapi/rpc/{name}", {}, headers=poor.session)
    assert answer.status in (401, 403, 404)
    with pytest.raises((OSError, http.client.HTTPException)):
        poor.ask("POST", f"/webapi/rpc/{name}", {}, alpn="tport-api", cert=False)


def test_R1_a_locked_user_reaches_nothing(home, poor):
    give(home, "[{resources: ['*'], verbs: ['*']}]")
    assert poor.call("audit.list") is None and poor.route("GET /webapi/users") == 200
    home.ctl("lock", "--user=poor")
    try:
        for name in CALLS:
            assert poor.call(name, params_of(name)) is not None, name
        for line, who in ROUTES.items():
            if who.startswith("session"):
                assert poor.route(line) in (401, 403), line
    finally:
        for lock in json.loads(home.ctl("get", "lock", "--format=json").stdout):
            home.ctl("rm", f"lock/{lock['metadata']['name']}")
    poor.sign_in()


@pytest.mark.parametrize("line", sorted(k for k, v in ROUTES.items() if v.startswith("session") and " " in v))
def test_R1_a_route_needs_its_verb(home, poor, line):
    _, verb, kind = ROUTES[line].split()
    give(home, "[]")
    if ("list", kind) not in IMPLICIT:  # everybody lists the servers and clusters that his labels show
        assert poor.route(line) == 403
    # A role from the browser replaces what is there or makes it new, so it needs both rights.
    give(home, f"[{{resources: [{kind}], verbs: [{verb}, {'update' if verb == 'create' else 'create' if verb == 'update' else 'read'}]}}]"
         if line in ("POST /webapi/roles", "PUT /webapi/roles/:name") else f"[{{resources: [{kind}], verbs: [{verb}, read]}}]")
    # Let through to a session that is not there.
    assert poor.route(line) == (404 if ":sid" in line else 200) if line.startswith("GET") else poor.route(line) not in (401, 403)


@pytest.mark.parametrize("line", sorted(ROUTES))
def test_R1_a_stranger_reaches_the_anonymous_routes_only(poor, line):
    stranger = Api(poor.person)
    status = stranger.route(line.replace(":method", "audit.list"))
    if ROUTES[line] == "anonymous":
        # Refused by what it asks for (no such invitation, no password), not as somebody who is not signed in.
        assert status < 500 and (status != 401 or "sessions/web" in line or "login" in line or "ssh/certs" in line)
    else:
        assert status == 401
    # Neither half of a session is enough (bound to each other).
    if ROUTES[line].startswith("session"):
        for half in ("Cookie", "Authorization"):
            stranger.session = {half: poor.session[half]}
            # A browser's handshake carries the cookie alone; this one comes from no page of ours (test_terminal.py has the rest).
            assert stranger.route(line) == (403 if "/connect" in line and half == "Cookie" else 401)


# ---- agents ----

class Tunnel:
    """An agent of ours: TLS with a node's certificate, the tunnel protocol by hand."""

    def __init__(self, cluster, node):
        folder = cluster.folder / node / "data" / "agent"
        address, port = cluster.proxy.split(":")
        with in_host(cluster.net, node):
            raw = socket.create_connection((address, int(port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["tport-tunnel"])
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.host_id = (folder / "host_id").read_text().strip()
        self.folder = folder
        self.sock = context.wrap_socket(raw, server_hostname=cluster.name)
        self.data, self.last, self.calls = b"", -1, 0
        self.streams = {}
        self.frame(1, 0, b"TPTN" + struct.pack(">HH", 1, 1))

    def signed(self, method, params):
        """What agents say of themselves, signed with the host's key (src/crypt/report.h)."""
        text = json.dumps({"host_id": self.host_id, "method": method, "issued": time.time_ns() // 1000000, "params": params}).encode()
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.folder / "tls.key"], input=b"tport-report-1\n" + text, capture_output=True, check=True).stdout
        key = subprocess.run(["openssl", "pkey", "-in", self.folder / "tls.key", "-pubout"], capture_output=True, check=True, text=True).stdout
        return {**params, "tls_pub_key": key, "report": base64.b64encode(text).decode(), "signature": base64.b64encode(signature).decode()}

    def frame(self, kind, stream, payload=b""):
        self.sock.sendall(struct.pack(">BBHI", kind, 0, len(payload), stream) + payload)

    def read(self):
        while len(self.data) < 8 or len(self.data) < 8 + struct.unpack(">H", self.data[2:4])[0]:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.data += more
        kind, _, size, stream = struct.unpack(">BBHI", self.data[:8])
        payload, self.data = self.data[8:8 + size], self.data[8 + size:]
        if kind == 8:
            self.frame(9, 0, payload)
        return kind, stream, payload

    def open(self, kind, header=b""):
        self.last += 2
        self.streams[self.last] = b""
        self.frame(2, self.last, bytes([len(kind)]) + kind.encode() + header)
        return self.last

    def until(self, kind, stream):
        """The next frame of this kind on this stream; a reset ends the wait too."""
        while True:
            got, where, payload = self.read()
            if where == stream and got in (kind, 7):
                return got, payload
            if got == 4:
                self.streams[where] += payload

    def call(self, stream, method, params=None, caller=None):
        self.calls += 1
        body = {"method": method, "params": params or {}}
        if caller is not None:
            body["caller"] = caller
        text = json.dumps(body).encode()
        self.frame(4, stream, struct.pack(">IBBHI", len(text), 1, 0, 0, self.calls) + text)
        while True:
            have = self.streams[stream]
            if len(have) >= 12 and len(have) >= 12 + struct.unpack(">I", have[:4])[0]:
                size, kind, _, _, number = struct.unpack(">IBBHI", have[:12])
                answer, self.streams[stream] = json.loads(have[12:12 + size]), have[12 + size:]
                if kind in (2, 3) and number == self.calls:
                    return None if kind == 2 else answer["code"]
                continue
            got, where, payload = self.read()
            if where == stream and got == 7:
                raise EOFError
            if got == 4:
                self.streams[where] += payload


@pytest.fixture(scope="module")
def evil(home):
    """A node whose certificate is in the hands of somebody who writes his own agent."""
    home.nodes["evil"].stop()
    home.wait_online("evil", online=False)
    tunnel = Tunnel(home, "evil")
    tunnel.line = tunnel.open("rpc")
    tunnel.until(3, tunnel.line)
    return tunnel


@pytest.mark.parametrize("name", sorted(CALLS))
def test_R15_an_agent_reaches_its_own_calls_only(evil, name):
    params = {"event": "exec"}
    code = evil.call(evil.line, name, evil.signed(name, params) if name.startswith("host.") else params)
    if CALLS[name].endswith(" tunnel"):
        assert code != "access_denied", "an agent's own call"
    else:
        assert code in REFUSED | {"not_found"}, code


@pytest.mark.parametrize("name", sorted(CALLS))
def test_R15_an_agent_speaks_for_nobody_else(evil, name):
    for caller in ({"kind": "anonymous", "addr": "1.2.3.4:5"}, {"kind": "user", "cert": "AAAA"}, {"kind": "host", "cert": "AAAA"}):
        assert evil.call(evil.line, name, caller=caller) in REFUSED


def test_R15_another_hosts_sessions_are_out_of_reach(home, evil):
    """Every call that names a session, with one that is alive on another node."""
    home.ctl("create", "-f", input=role("everywhere", allow=", logins: [root], node_labels: {'*': '*'}"))
    owner = home.person("owner", roles="everywhere", logins="")
    shell = owner.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo in-$((1+1))")
    shell.expect("in-2")
    [live] = wait_for(lambda: [e for e in home.audit(type="session.start", user="owner")])
    sid = live["sid"]
    tried = {
        "session.auth": {"sid": sid, "login": "root", "ok": True},
        "session.start": {"sid": sid, "login": "root", "kind": "shell"},
        "session.event": {"sid": sid, "event": "exec", "fields": {}},
        "session.events": {"events": [{"sid": sid, "event": "exec", "fields": {}}]},
        "recording.append": {"id": sid, "offset": 0, "data": "AAAA"},
        "session.end": {"id": sid, "reason": "over"},
    }
    assert set(tried) == {n for n, line in CALLS.items() if line.endswith(" tunnel") and n.split(".")[0] in ("session", "recording")}
    for name, params in tried.items():
        assert evil.call(evil.line, name, params) == "not_found", name
    shell.sendline("echo still-$((40+2))")
    shell.expect("still-42")
    shell.close(force=True)


def test_R15_a_host_cannot_become_another(home, evil):
    node1 = next(n for n in home.node_list() if n["spec"]["hostname"] == "node1")
    keys = {"tls_pub_key": "x", "ssh_pub_key": "x"}
    assert evil.call(evil.line, "host.renew", {**keys, "node_name": "node1"}) not in (None,)
    renamed = {"hostname": "node1", "labels": {}}
    own = {"hostname": "evil", "host_id": node1["metadata"]["name"], "labels": {"env": "x"}}
    assert evil.call(evil.line, "host.heartbeat", evil.signed("host.heartbeat", renamed)) == "access_denied"
    assert evil.call(evil.line, "host.heartbeat", own) == "access_denied"  # a worker that leaves the signature out
    assert evil.call(evil.line, "host.heartbeat", evil.signed("host.heartbeat", own)) is None
    after = next(n for n in home.node_list() if n["spec"]["hostname"] == "node1")
    assert after["metadata"] == node1["metadata"]


@pytest.mark.parametrize("kind", ["ssh", "kube", "db", "app", "cut", "x"])
def test_R15_an_agent_opens_no_stream_but_rpc(evil, kind):
    stream = evil.open(kind, b"header")
    got, payload = evil.until(3, stream)
    assert got == 7 and b"access_denied" in payload
    evil.frame(7, stream, b"\x04done")


# ---- SSH requests ----

def test_R2_ssh_requests_follow_the_options(home):
    """As stock ssh asks for them, with everything off and with everything on."""
    nodes = "logins: [root], node_labels: {'*': '*'}"
    home.ctl("create", "-f", input=role("ssh-off", allow=", " + nodes,
                                        options="{port_forwarding: false, forward_agent: false, ssh_file_copy: false}"))
    home.ctl("create", "-f", input=role("ssh-on", allow=", " + nodes,
                                        options="{port_forwarding: true, forward_agent: true, ssh_file_copy: true, permit_x11_forwarding: true}"))
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    socket_path = agent.split("SSH_AUTH_SOCK=")[1].split(";")[0]
    pid = agent.split("SSH_AGENT_PID=")[1].split(";")[0]

    def ask(person, *words):
        return person.run("env", f"SSH_AUTH_SOCK={socket_path}", BIN / "tport", "ssh", *words)

    def connect(person):
        (person.home / "ssh-config").write_text(person.tport("config", check=True).stdout)
        said = person.run("ssh", "-v", "-F", person.home / "ssh-config", "-W", "127.0.0.1:1", "root@node1.test").stderr
        assert "stdio forwarding failed" in said
        return said

    checks = {
        "session": lambda p: ask(p, "root@node1", "echo in").stdout == "in\n",
        "none": lambda p: ask(p, "-o", "ServerAliveInterval=1", "root@node1", "sleep 3; echo in").stdout == "in\n",
        "file_copy": lambda p: p.tport("scp", "/etc/hostname", "root@node1:/tmp/tport-matrix").returncode == 0,
        "forward_remote": lambda p: ask(p, "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:39771:127.0.0.1:1", "root@node1",
                                        "echo in").stdout == "in\n",
        "forward_local": lambda p: "do not allow port forwarding" not in connect(p),  # nobody listens there
        "forward_agent": lambda p: ask(p, "-A", "root@node1", "test -S \"$SSH_AUTH_SOCK\" && echo in").stdout == "in\n",
        "never": lambda p: ask(p, "-X", "root@node1", "test -n \"$DISPLAY\" && echo in").stdout == "in\n",
    }
    assert set(checks) == set(REQUESTS.values())
    try:
        off = home.person("ssh-off", roles="ssh-off", logins="")
        on = home.person("ssh-on", roles="ssh-on", logins="")
        assert {verb: check(off) for verb, check in checks.items()} == {verb: verb in ("session", "none") for verb in checks}
        assert {verb: check(on) for verb, check in checks.items()} == {verb: verb != "never" for verb in checks}
    finally:
        os.kill(int(pid), 15)


def test_R3_a_list_shows_what_is_ones_own(home, poor):
    """Owner and stranger: live sessions and recordings of others are not seen without the right to all of them."""
    own = "[{resources: [session], verbs: [list, read], where: 'contains(session.participants, user.metadata.name)'}]"
    home.ctl("create", "-f", input=role("lister", own, allow=", logins: [root], node_labels: {'*': '*'}"))
    person = home.person("lister", roles="lister", logins="")
    person.tport("ssh", "root@node1", "echo mine", check=True)
    owner = Api(person)

    def listed(api):
        answer, text = api.ask("POST", "/v1/webapi/rpc/recordings.list", {}, alpn="tport-api", cert=True)
        assert answer.status == 200, text
        return json.loads(text)["items"]

    mine = wait_for(lambda: [r for r in listed(owner) if r["state"] == "done"])
    assert {r["user"] for r in mine} == {"lister"}
    first = {"id": mine[0]["id"], "offset": 0, "limit": 100}
    assert owner.call("recordings.read", first) is None
    give(home, "[]")
    assert poor.call("recordings.list") == "access_denied" and poor.call("recordings.read", first) == "access_denied"
    give(home, own)  # the same right to what is his own: there is nothing
    assert listed(poor) == [] and poor.call("recordings.read", first) in ("access_denied", "not_found")
