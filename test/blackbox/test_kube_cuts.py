"""Rights that end while kubectl runs: what runs is cut within a second, and the person reads why."""

import contextlib
import json
import os
import re
import struct
import time

import pytest

import kube
from kube_site import role, until, with_role
from terminal import BINARY, CLOSE, WebSocket
from tport import wait_for

MASTERS = {"kubernetes_groups": ["system:masters"]}
REASONS = {"lock": "locked", "role": "right_lost"}
SHELL = "/api/v1/namespaces/default/pods/shell"


def wait_end(who, process, words):
    while process.poll() is None:
        if words[0] == "port-forward": # kubectl looks at its connection when somebody uses the port
            who.run("curl", "-s", "--max-time", "2", "http://127.0.0.1:18082/")
        time.sleep(0.01)


def said(process):
    """What kubectl prints until its end, behind what was read already."""
    return (getattr(process, "rest", b"") + process.stdout.read()).decode(errors="replace")


CUTS = {"watch": ("1.20", "prod", ("get", "pods", "-w"), "shell"),
        "exec over spdy": ("1.20", "prod", ("exec", "shell", "--", "sh", "-c", "echo on; sleep 300"), "on"),
        "exec over websocket": ("new", "prod5", ("exec", "shell", "--", "sh", "-c", "echo on; sleep 300"), "on"),
        "port-forward": ("1.20", "prod", ("port-forward", "pod/shell", "18082:18080"), "Forwarding from"),
        "port-forward over websocket": ("new", "prod5", ("port-forward", "pod/shell", "18082:18080"), "Forwarding from"),
        "logs": ("1.20", "prod", ("logs", "-f", "--tail=1", "shell"), "line")}


@contextlib.contextmanager
def up(site, who, words, ready, **how):
    """It runs. A watch that has shown its list is none yet: a change must show."""
    def shows_a_change():
        site.prod.admin("label", "pod", "shell", f"changed=at-{time.monotonic_ns()}", "--overwrite")
        return until(process, "shell", timeout=3)
    with site.running(who, *words, **how) as process:
        until(process, ready)
        if "-w" in words:
            wait_for(shows_a_change)
        yield process


def take_away(site, who, by):
    if by == "lock":
        out = site.cluster.ctl("lock", f"--user={who.name}").stdout
        return lambda: site.cluster.ctl("rm", f"lock/{out.split(chr(34))[1]}")
    give = role(f"{who.name}-role", **MASTERS)
    site.cluster.ctl("create", "-f", input=role(f"{who.name}-role", **MASTERS, deny={"kubernetes_labels": {"env": "dev"}}))
    return lambda: site.cluster.ctl("create", "-f", input=give)


@pytest.mark.parametrize("what", CUTS)
@pytest.mark.parametrize("by", ["lock", "role"])
def test_what_runs_is_cut_within_a_second_and_says_why(site, what, by):
    """From the end of tportctl to the end of kubectl. The bound is a requirement; a loaded machine gets four tries."""
    version, context, words, ready = CUTS[what]
    name = f"cut-{what.replace(' ', '-')}-{by}"
    who = with_role(site, name, context, **MASTERS)
    took = []
    for _ in range(4):
        with up(site, who, words, ready, version=version, context=context) as process:
            give_back = take_away(site, who, by)
            begin = time.monotonic()
            wait_end(who, process, words)
            took.append(time.monotonic() - begin)
            # A port without a connection has no way to say it, and the text of a log is the pod's alone.
            if not what.startswith("port-forward") and what != "logs":
                assert "tport: " in (text := said(process)) and by in text, text
        refused = site.kubectl(who, "get", "pods", context=context)
        assert refused.returncode == 1 and (by == "role" or "lock" in refused.stderr)
        give_back()
        if took[-1] < 1:
            break
        wait_for(lambda: site.kubectl(who, "get", "pods", context=context).returncode == 0)
    assert took[-1] < 1, took
    if what.startswith("exec"):
        end = wait_for(lambda: site.events("session.end", user=name))[0]
        assert end["reason"] == REASONS[by] and end["kubernetes_node_name"] == "localhost"


# --- terminals ---

WAYS = {"spdy": ("1.20", "prod"), "spdy after a refused websocket": ("new", "prod"), "websocket v5": ("new", "prod5")}


@pytest.mark.parametrize("way", WAYS)
def test_who_is_cut_at_a_terminal_reads_why_and_gets_it_back(site, way):
    version, context = WAYS[way]
    who = with_role(site, f"cut-terminal-{len(site.cluster.people)}", context, **MASTERS)
    child = who.spawn("sh", "-c", f"{kube.kubectl_path(version)} --context=kube-test-{context} exec -it shell -- sh; stty -a", dimensions=(30, 90))
    child.expect("#")
    child.sendline("echo half of a li''ne")
    child.expect("half of a line")
    site.cluster.ctl("lock", f"--user={who.name}", "--message=gone fishing")
    # On a line of its own, once, and the terminal is as it was before.
    child.expect(r"\r\n(error|Error from server)[^\r\n]*tport: [^\r\n]*lock[^\r\n]*gone fishing", timeout=20)
    child.expect(r"[^-]icanon", timeout=20)
    child.wait()


@contextlib.contextmanager
def channels(site, who, context, protocol, query, subresource="exec"):
    """A WebSocket to the shell pod as a client of that protocol opens it."""
    with site.tls(who, context) as tls:
        tls.sendall((f"GET {SHELL}/{subresource}?{query} HTTP/1.1\r\nHost: {site.server_name(context)}\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
        data = b""
        while b"\r\n\r\n" not in data:
            piece = tls.recv(4096)
            assert piece, data
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") and protocol.encode() in head, data
        yield WebSocket(tls, rest)


def hear(ws, channel, until=None):
    """The bytes of one channel until that text has come (None: one message that is not empty); other channels pass by."""
    got = b""
    while True:
        opcode, payload = ws.receive()
        assert opcode == BINARY, (opcode, payload, got)
        if payload[:1] == bytes([channel]):
            got += payload[1:]
            if got and (until is None or until in got):
                return got


V4 = {"v4.channel.k8s.io": "prod", "v5.channel.k8s.io": "prod5"}


@pytest.mark.parametrize("protocol", V4)
@pytest.mark.parametrize("tty", [True, False], ids=["terminal", "command"])
def test_the_error_channel_says_why(site, protocol, tty):
    """Any client of the two protocols: a line of its own on a terminal, a Status on the error channel, a close that is in order."""
    context = V4[protocol]
    who = with_role(site, f"cut-channel-{len(site.cluster.people)}", context, **MASTERS)
    query = f"command=sh&command=-c&command=echo+on%3Bsleep+300&container=main&stdin=true&stdout=true{'&tty=true' if tty else ''}"
    with channels(site, who, context, protocol, query) as ws:
        hear(ws, 1, b"on")
        site.cluster.ctl("lock", f"--user={who.name}", "--message=gone fishing")
        begin = time.monotonic()
        if tty:
            assert hear(ws, 1) == b"\r\n"
        status = json.loads(hear(ws, 3))
        assert time.monotonic() - begin < 5
        assert status["kind"] == "Status" and status["status"] == "Failure" and status["code"] == 403, status
        assert status["message"].startswith("tport: ") and "gone fishing" in status["message"], status
        opcode, payload = ws.receive()
        assert opcode == CLOSE and struct.unpack(">H", payload[:2])[0] == 1000


# --- the end of a certificate ---

def test_the_end_of_the_certificate_cuts_within_a_second(site):
    """A watch, a command and a forwarded port at the same time; each ends with the certificate, not before, not a second later."""
    who = with_role(site, "cut-expiry", **MASTERS)
    who.tport("logout", check=True)
    status, output = who.login("--ttl=1m")
    assert status == 0, output
    until_text = json.loads(who.tport("status", "--format=json", check=True).stdout)["active"]["valid_until"]
    ends = until_of(until_text)
    what = {name: CUTS[name] for name in ("watch", "exec over spdy", "exec over websocket", "port-forward")}
    with contextlib.ExitStack() as stack:
        running = {}
        for name, (version, context, words, ready) in what.items():
            running[name] = stack.enter_context(up(site, who, words, ready, version=version, context=context))
        over = {}
        while len(over) < len(running) and time.time() < ends + 20:
            if time.time() > ends:
                who.run("curl", "-s", "--max-time", "2", "http://127.0.0.1:18082/")
            for name, process in running.items():
                if name not in over and process.poll() is not None:
                    over[name] = time.time() - ends
            time.sleep(0.02)
        assert set(over) == set(running), over
        slack = 5 if "asan" in os.environ.get("TPORT_BUILD", "") else 2 # what a loaded machine and kubectl's own end may take
        assert all(-0.1 < late < slack for late in over.values()), over
        for name in ("watch", "exec over spdy", "exec over websocket"):
            assert re.search("tport: .*certificate", text := said(running[name])), text


def until_of(text):
    """Seconds since the epoch of an RFC 3339 time."""
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# --- half of an upgrade ---

def upgrade(site, subresource, query):
    return (f"POST {SHELL}/{subresource}?{query} HTTP/1.1\r\nHost: {site.server_name('prod')}\r\nContent-Length: 0\r\n"
            "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n").encode()


def test_a_half_open_upgrade_leaves_nothing_running(site, member):
    """The client asks for an upgrade and goes, before or after its answer: the session ends by itself, and is on record."""
    query = "command=sleep&command=286&container=main&stdout=true"
    for waits in (False, True):
        before = len(site.events("session.end", user=member.name))
        with site.tls(member) as tls:
            tls.sendall(upgrade(site, "exec", query))
            if waits:
                assert tls.recv(12).startswith(b"HTTP/1.1 101")
        def nothing_runs(before=before, waits=waits):
            started, ended = (len([e for e in site.events(kind, user=member.name) if "sleep 286" in json.dumps(e)])
                              for kind in ("session.start", "exec"))
            return started == ended and (not waits or len(site.events("session.end", user=member.name)) > before)
        wait_for(nothing_runs, timeout=40)
    assert "shell" in site.kubectl(member, "get", "pods", context="prod", check=True).stdout
