"""Roles as large as a resource may be, from the browser; and what strangers may not send."""

import contextlib
import json
import re

import pytest

from terminal import Browser as Web
from tport import Cluster, wait_for

MB = 1024 * 1024


@pytest.fixture(scope="module")
def home():
    made = Cluster()
    yield made
    made.close()


@pytest.fixture(scope="module")
def admin(home):
    return Web(home.person("large", logins="root", sign_in=False)).sign_in()


def text_of(size, name="large"):
    """A role of exactly that many bytes."""
    head = f"kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec:\n  allow:\n    logins:\n"
    line = "    - login-{:06}-{}\n"
    count = (size - len(head)) // len(line.format(0, "x" * 200)) - 1
    lines = [line.format(n, "x" * 200) for n in range(count)]
    left = size - len(head) - sum(map(len, lines))
    return head + "".join(lines) + "#" + "y" * (left - 2) + "\n"


def test_a_role_of_a_megabyte_is_kept(home, admin):
    """The most that a resource may have: made, checked, changed, read back; one byte more is refused with a sentence."""
    text = text_of(MB)
    assert len(text) == MB
    for method, path in (("POST", "/webapi/roles/check"), ("POST", "/webapi/roles")):
        reply = admin.ask(method, path, {"content": text})
        assert reply.status == 200, (path, reply.text[:500])
    [role] = admin.ask("GET", "/webapi/roles?limit=10&search=large").json()["items"]
    assert role["content"].count("- login-") == text.count("- login-") > 4000
    reply = admin.ask("PUT", "/webapi/roles/large", {"content": text_of(MB - 1), "revision": re.search(r"revision: \S*?(\d+)", role["content"]).group(1)})
    assert reply.status == 200, reply.text[:500]
    for method, path in (("POST", "/webapi/roles/check"), ("POST", "/webapi/roles"), ("PUT", "/webapi/roles/large")):
        reply = admin.ask(method, path, {"content": text_of(MB + 1)})
        assert reply.status in (400, 413) and "at most 1048576 are read" in reply.json()["error"]["message"], reply.text[:500]
    # Many large ones come in pages, of which none is too large for a line.
    for n in range(8):
        assert admin.ask("POST", "/webapi/roles", {"content": text_of(MB - 1, f"large-{n}")}).status == 200
    found, start = [], ""
    while True:
        page = admin.ask("GET", f"/webapi/roles?limit=50&search=large-&startKey={start}")
        assert page.status == 200 and len(page.body) < 8 * MB
        found += [item["name"] for item in page.json()["items"]]
        start = page.json()["startKey"]
        if not start:
            break
    assert found == [f"large-{n}" for n in range(8)]
    home.ctl("status")


def head(home, cookie, token, more):
    return (f"POST /webapi/roles HTTP/1.1\r\nHost: {home.proxy}\r\nContent-Type: application/json\r\nCookie: {cookie}\r\n"
            f"Authorization: Bearer {token}\r\n{more}\r\n").encode()


def answer(tls, until=b"\r\n\r\n", seen=b""):
    while until not in seen:
        piece = tls.recv(65536)
        if not piece:
            break
        seen += piece
    return seen


def test_R9_a_large_body_is_not_read_from_strangers(home, admin):
    """Auth says first whether the session is good; what is refused is refused by its head alone."""
    forged = "__Host-session=" + json.dumps({"user": "large", "sid": "0" * 32}).encode().hex()
    for cookie, token in ((forged, "0" * 32), (admin.cookie, "0" * 32), (forged, admin.token), ("__Host-session=00", "00")):
        with home.connection() as tls:
            tls.sendall(head(home, cookie, token, f"Content-Length: {MB}\r\n"))
            assert answer(tls).startswith(b"HTTP/1.1 413 "), (cookie, token)
    with home.connection() as tls:  # too much for anybody
        tls.sendall(head(home, admin.cookie, admin.token, f"Content-Length: {2 * MB + 1}\r\n"))
        assert answer(tls).startswith(b"HTTP/1.1 413 ")
    with home.connection() as tls:  # chunks do not say how much they will be: they stay small
        tls.sendall(head(home, admin.cookie, admin.token, "Transfer-Encoding: chunked\r\n") + b"10000\r\n" + b" " * 0x10000)
        assert answer(tls).startswith(b"HTTP/1.1 413 ")
    # Other routes take no more than before.
    assert admin.ask("POST", "/webapi/locks", {"target": {"user": "x"}, "message": "x" * 60000}).status == 413


def test_a_client_that_waits_for_its_go_ahead_gets_it(home, admin):
    body = json.dumps({"content": text_of(200000, "patient")}).encode()
    with home.connection() as tls:
        tls.sendall(head(home, admin.cookie, admin.token, f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n"))
        assert answer(tls) == b"HTTP/1.1 100 Continue\r\n\r\n"
        tls.sendall(body)
        assert answer(tls).startswith(b"HTTP/1.1 200 ")
    # The head and the first bytes in one piece, the rest drop by drop, a request behind it.
    with home.connection() as tls:
        body = json.dumps({"content": text_of(100000, "drops")}).encode()
        data = head(home, admin.cookie, admin.token, f"Content-Length: {len(body)}\r\n") + body + b"GET /webapi/ping HTTP/1.1\r\nHost: " + home.proxy.encode() + b"\r\nConnection: close\r\n\r\n"
        for at in range(0, len(data), 9973):
            tls.sendall(data[at:at + 9973])
        seen = answer(tls, b"no end")
        assert seen.count(b"HTTP/1.1 200 ") == 2 and b'"name":"drops"' in seen


def test_who_may_not_write_roles_sends_no_large_body(home):
    """The audit's readers, hosts' users: signed in, and kept to what others send."""
    home.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: reader}\nspec:\n  allow: {rules: [{resources: [role], verbs: [list, read]}]}\n")
    reader = Web(home.person("reader", roles="reader", logins="", sign_in=False)).sign_in()
    for method, path in (("POST", "/webapi/roles/check"), ("POST", "/webapi/roles"), ("PUT", "/webapi/roles/large")):
        reply = reader.ask(method, path, {"content": "x" * 60000})
        assert reply.status == 413 and reply.json()["error"]["message"] == "you may not create or update roles, so your request may have 40960 bytes at most"
    assert reader.ask("POST", "/webapi/roles/check", {"content": "x" * 30000}).status == 400  # read, and no role


def test_a_body_of_many_values_is_refused(home, admin):
    """2 MB of empty lists would be a tree of 90 MB in a worker."""
    body = '{"a":[' + "[]," * (2 * MB // 3 - 10) + "[]]}"
    reply = home.https("POST", "/webapi/roles/check", body=body, headers=admin.headers(), host=admin.person.host)
    assert reply.status == 413 and "too many values" in reply.json()["error"]["message"], reply.text


@pytest.fixture(scope="module")
def narrow():
    made = Cluster(name="narrow", workers=1)
    yield made
    made.close()


def certificate(person):
    keys = person.home / ".tport" / "keys" / person.cluster.proxy.split(":")[0]
    return keys / f"{person.name}.crt", keys / f"{person.name}.key"


def test_R9_large_bodies_on_their_way_are_counted(narrow):
    """A worker holds eight, two of one person; who comes then is told so, and what is small goes on."""
    people = [Web(narrow.person(f"writer-{n}", sign_in=n == 0)).sign_in() for n in range(5)]
    ask = f"Content-Length: {MB}\r\nExpect: 100-continue\r\n"

    def begin(stack, web):
        tls = stack.enter_context(web.connect())
        tls.sendall(head(narrow, web.cookie, web.token, ask))
        said = answer(tls)
        return said if said.startswith(b"HTTP/1.1 100 ") else answer(tls, b"}}", said), tls

    with contextlib.ExitStack() as stack:
        lines = []
        for web in people[:4]:
            for _ in range(2):
                said, tls = begin(stack, web)
                assert said.startswith(b"HTTP/1.1 100 ")
                lines.append(tls)
            said, _ = begin(stack, web)
            assert said.startswith(b"HTTP/1.1 503 ") and b"2 large requests of yours are under way, and no more are taken; try again in a moment" in said
        said, _ = begin(stack, people[4])
        assert said.startswith(b"HTTP/1.1 503 ") and b"8 large requests are under way" in said
        # By a certificate it is the same, and the same person.
        rpc = f"POST /webapi/rpc/nodes.list HTTP/1.1\r\nHost: {narrow.proxy}\r\nContent-Type: application/json\r\n{ask}\r\n".encode()
        with narrow.connection(load_cert_chain=certificate(people[0].person), set_alpn_protocols=(["tport-api"],)) as tls:
            tls.sendall(rpc)
            assert answer(tls, b"}}").startswith(b"HTTP/1.1 503 ")
        for web in people:
            assert web.ask("POST", "/webapi/roles/check", {"content": text_of(30000)}).status == 200
        # One is done, one is given up: there is room again.
        lines[0].sendall(json.dumps({"content": "x"}).encode().ljust(MB))
        assert answer(lines[0]).startswith(b"HTTP/1.1 400 ")
        lines[7].close()
        with narrow.connection(load_cert_chain=certificate(people[0].person), set_alpn_protocols=(["tport-api"],)) as tls:
            tls.sendall(rpc)
            assert answer(tls).startswith(b"HTTP/1.1 100 ")
        wait_for(lambda: people[4].ask("POST", "/webapi/roles/check", {"content": text_of(MB)}).status == 200)
    wait_for(lambda: people[0].ask("POST", "/webapi/roles/check", {"content": text_of(MB)}).status == 200)
