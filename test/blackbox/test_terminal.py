"""Terminals in the browser: from the WebSocket to the shell on a node."""

import json
import os
import struct
import subprocess
import time

import pytest

from terminal import BINARY, CLOSE, TEXT, Browser, Refused, Terminal, open_envelope
from tport import BUILD, Cluster, wait_for


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1",))
    yield made
    made.close()


@pytest.fixture(scope="module")
def alice(home):
    return Browser(home.person("alice")).sign_in()


def test_a_shell_from_the_browser(home, alice):
    terminal = alice.shell()
    assert terminal.session["server_hostname"] == "node1" and terminal.session["login"] == "root"
    terminal.type("echo sum $((40+2)) $(tty) $(id -u); stty size\n")
    text = terminal.until("30 100")
    assert "sum 42 /dev/pts/" in text
    terminal.send("w", {"event": "resize", "width": 132, "height": 40, "size": "132:40"})
    terminal.type("stty size\n")
    terminal.until("40 132")
    terminal.type("exit 7\n")
    said = terminal.last()
    assert said["x"] == {"code": 7, "signal": ""} and terminal.code == 1000, said
    sid = terminal.session["id"]
    for name in ("session.connect", "session.start", "session.end"):
        wait_for(lambda name=name: any(e["event"] == name and e["sid"] == sid for e in home.audit()))
    start = next(e for e in home.audit() if e["event"] == "session.start" and e["sid"] == sid)
    assert start["user"] == "alice" and start["login"] == "root" and start["proto"] == "ssh" and start["size"] == "100:30"
    wait_for(lambda: sid in home.ctl("recordings", "ls", "--last=1h", "--format=json").stdout)
    both = home.ctl("recordings", "ls", "--last=1h", "--from-utc=2026-01-01", check=False)
    assert both.returncode == 1 and "--last and --from-utc or --to-utc exclude each other" in both.stderr


@pytest.fixture(scope="module")
def stranger(home):
    return Browser(home.person("mallory", roles="auditor", logins="")).sign_in()


PATH = "/v1/webapi/sites/test/connect?params=%7B%22server_id%22%3A%22node1%22%2C%22login%22%3A%22root%22%7D"


@pytest.mark.parametrize("change, status", [
    ({"headers": {"Origin": "https://evil.example"}}, 403),
    ({"headers": {"Origin": "null"}}, 403),
    ({"headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
    ({"drop": ["Origin"]}, 403),
    ({"drop": ["Cookie"]}, 401),
    ({"headers": {"Cookie": "__Host-session=00"}}, 401),
    ({"headers": {"Sec-WebSocket-Version": "8"}}, 400),
    ({"headers": {"Sec-WebSocket-Key": "short"}}, 400),
    ({"drop": ["Upgrade"]}, 400),
])
def test_a_handshake_from_elsewhere_is_refused(alice, change, status):
    """Cross-site WebSocket hijack: the browser would send the cookie, so the Origin decides."""
    with pytest.raises(Refused) as refused:
        alice.socket(PATH, **change)
    assert refused.value.status == status


def test_the_token_is_never_taken_from_the_url(alice):
    with pytest.raises(Refused) as refused:
        alice.socket(PATH + "&access_token=" + alice.token)
    assert refused.value.status == 400


def test_cookie_and_token_must_be_of_one_session(home, alice, stranger):
    for token in ("0" * 32, stranger.token, ""):
        terminal = alice.terminal({"server_id": "node1", "login": "root"}, token=token)
        assert terminal.last()["e"]["resume"] is False and terminal.code == 4401
    socket = alice.socket(PATH)
    socket.send(BINARY, b"\x0a\x011\x12\x01r")  # output before the token
    assert Terminal(socket).last() == {}


def test_who_has_no_right_gets_no_terminal(home, alice, stranger):
    said = stranger.terminal({"server_id": "node1", "login": "root"}).last()
    assert said["e"]["reason"] in ("access_denied", "target_unknown"), said
    said = alice.terminal({"server_id": "node1", "login": "nobody"}).last()
    assert said["e"]["reason"] == "access_denied", said
    said = alice.terminal({"server_id": "node9", "login": "root"}).last()
    assert said["e"]["reason"] == "target_unknown", said
    assert any(e["event"] == "auth" and e["user"] == "mallory" and e.get("error") for e in home.audit())


def test_what_is_no_message_ends_the_connection(alice):
    for bad in (b"", b"\xff" * 10, b"\x0a\x011\x12\x01z", b"\x0a\x012\x12\x01r", b"\x0a\x011\x12\x01w\x1a\x02{}", b"\x0a\x011\x12\x01k\x1a\x0299"):
        terminal = alice.shell()
        terminal.ws.send(BINARY, bad)
        assert terminal.last() is not None and (terminal.code in (1002, 1000)), bad
    terminal = alice.shell()
    terminal.ws.send(BINARY, b"x" * 70000)
    terminal.last()
    assert terminal.code == 1009
    terminal = alice.shell()
    terminal.ws.send(BINARY, b"\x0a\x011\x12\x01r", mask=False)
    terminal.last()
    assert terminal.code == 1002


def test_a_page_may_ask_whether_the_way_still_bears(alice):
    terminal = alice.shell()
    terminal.send("l", b"12345")
    while True:
        kind, payload = terminal.ws.receive()
        kind, body = open_envelope(payload)
        if kind == "l":
            break
        assert kind == "r"
    assert body == b"12345"
    terminal.send("l", b"x" * 33)
    while terminal.ws.receive()[0] != CLOSE:
        pass
    terminal.ws.close()


def test_a_late_word_of_a_lost_connection_ends_no_shell(alice):
    """Found with a pulled cable: the page had given the connection up, and its last word came when the network was back."""
    terminal = alice.shell()
    terminal.type("KEPT=here; echo on-$((1+1))\n")
    terminal.until("on-2")
    terminal.ws.send(CLOSE, struct.pack(">H", 4000))
    again = alice.shell(sid=terminal.session["id"], offset=terminal.offset)
    again.type("echo still-$KEPT\n")
    again.until("still-here")
    # The person's own end is one.
    again.ws.send(CLOSE, struct.pack(">H", 1001))
    said = alice.terminal({"server_id": "node1", "login": "root", "sid": terminal.session["id"], "offset": again.offset}).last()
    assert "ended" in said["e"]["message"], said


def test_a_lost_network_costs_nothing(home, alice):
    terminal = alice.shell()
    terminal.type("cd /tmp; X=kept; for i in 1 2 3 4 5 6 7 8 9 10; do echo tick$i; sleep 0.3; done; echo over\n")
    terminal.until("tick2\r\n")
    sid, offset = terminal.session["id"], terminal.offset - len(terminal.output)
    terminal.lose()
    time.sleep(2)
    again = alice.shell(sid=sid, offset=offset)
    assert again.session["id"] == sid and again.session["offset"] == offset
    text = again.until("over\r\n")
    assert [line for line in text.splitlines() if line.startswith("tick")] == [f"tick{i}" for i in range(3, 11)]
    again.type("echo $X $PWD\n")
    again.until("kept /tmp")
    # Another connection takes it over although the first one seems to live.
    third = alice.shell(sid=sid, offset=again.offset)
    third.type("echo third $X\n")
    third.until("third kept")
    third.type("exit\n")
    assert third.last()["x"]["code"] == 0


def break_tunnels(cluster, node):
    done = subprocess.run(cluster.net.prefix(node) + ["ss", "-K", "-t", "-n", "dst", cluster.proxy.split(":")[0]], capture_output=True, text=True, check=True)
    assert "ESTAB" in done.stdout, done.stdout + done.stderr


def test_a_broken_tunnel_costs_nothing(home, alice):
    """Found when the issue was gone through: the node kept the shell, and the browser was told that it is over (c behind e)."""
    if not home.net.real:
        pytest.skip("needs root: a network whose connections can be broken")
    terminal = alice.shell()
    terminal.type("X=kept; echo on-$((1+1))\n")
    terminal.until("on-2\r\n")
    break_tunnels(home, "node1")
    said = terminal.last()
    assert said["e"]["resume"] is True and "c" not in said and terminal.code == 1000, said
    again = wait_for(lambda: alice.shell(sid=terminal.session["id"], offset=terminal.offset))  # until the agent is back
    again.type("echo still $X; exit\n")
    again.until("still kept")
    assert again.last()["x"]["code"] == 0


def test_an_agent_that_stops_says_so(home, alice):
    """Its shells end with it: there is nothing to come back to, and a person is told why."""
    terminal = alice.shell()
    terminal.type("echo its shell $((1+1)) runs\n")
    terminal.until("shell 2 runs")
    home.nodes["node1"].stop()
    try:
        said = terminal.last()
        assert said["e"] == {"reason": "shutdown", "message": "the agent on this host has stopped", "resume": False} and "c" in said, said
    finally:
        home.nodes["node1"].start()
        home.wait_online("node1")


def test_an_agent_that_stops_says_so_through_every_worker():
    """A browser at a worker without a tunnel to the node was told that the node is offline, and to come back."""
    cluster = Cluster(nodes=("node1",), workers=4)
    try:
        dora = Browser(cluster.person("dora")).sign_in()
        terminals = [dora.shell() for _ in range(6)]
        for terminal in terminals:
            terminal.type("echo its shell $((1+1)) runs\n")
            terminal.until("shell 2 runs")
        cluster.nodes["node1"].stop()
        for said in [terminal.last() for terminal in terminals]:
            assert said["e"] == {"reason": "shutdown", "message": "the agent on this host has stopped", "resume": False} and "c" in said, said
        wait_for(lambda: sum(e["event"] == "session.end" for e in cluster.audit()) == len(terminals))
    finally:
        cluster.close()


def test_a_terminal_comes_back_to_its_own_session_only(home, alice, stranger):
    terminal = alice.shell()
    sid = terminal.session["id"]
    terminal.lose()
    said = stranger.terminal({"server_id": "node1", "login": "root", "sid": sid, "offset": 0}).last()
    assert "e" in said and "s" not in said
    other = Browser(alice.person).sign_in()
    said = other.terminal({"server_id": "node1", "login": "root", "sid": sid, "offset": 0}).last()
    assert "e" in said and "s" not in said
    again = alice.shell(sid=sid, offset=0)
    again.send("c")
    again.last()
    wait_for(lambda: any(e["event"] == "session.end" and e["sid"] == sid for e in home.audit()))
    assert "e" in alice.terminal({"server_id": "node1", "login": "root", "sid": sid, "offset": 0}).last()


@pytest.mark.skipif("asan" in str(BUILD), reason="sanitized programs hold more memory and take long for 64 MB")
def test_a_reader_that_stops_stops_the_node(home, alice):
    """Back-pressure to the shell: what nobody takes is not produced, and nobody else waits for it."""
    terminal = alice.shell()
    terminal.acks = False
    terminal.type("dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x; echo; echo finished $((1+1))\n")
    with pytest.raises(TimeoutError):
        while True:
            terminal.step(2)
    assert terminal.offset <= 128 * 1024 + 65536, terminal.offset
    other = alice.shell()
    other.type("echo not $((3*3)) waiting\n")
    other.until("not 9 waiting")
    other.send("c")
    worker = max(rss(pid) for pid in home.daemon.children("worker"))
    terminal.acks = True
    terminal.ack()
    tail, end = b"", time.monotonic() + 150
    while b"finished 2" not in tail:
        assert time.monotonic() < end
        terminal.step()
        tail, terminal.output = (tail + terminal.output)[-4096:], b""
    assert terminal.offset > 64 * 1024 * 1024
    assert max(rss(pid) for pid in home.daemon.children("worker")) < worker + 4096  # KB
    terminal.send("c")


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_a_lock_cuts_the_terminal_with_its_reason(home):
    bob = Browser(home.person("bob")).sign_in()
    terminal = bob.shell()
    parked = bob.shell()
    parked.type("sleep 98765 & echo pid=$! ok\n")
    parked.until("ok\r\n")
    parked.lose()
    home.ctl("lock", "--user=bob", "--message=bye for now", "--ttl=10m")
    started = time.monotonic()
    said = terminal.last()
    assert said["e"]["reason"] == "locked" and "bye for now" in said["e"]["message"], said
    assert time.monotonic() - started < 5  # the requirement is a second; the machine is shared
    wait_for(lambda: any(e["event"] == "session.end" and e["sid"] == parked.session["id"] for e in home.audit()))
    assert "s" not in bob.terminal({"server_id": "node1", "login": "root", "sid": parked.session["id"], "offset": 0}).last()


def test_sign_out_ends_the_terminals(home):
    eve = Browser(home.person("eve")).sign_in()
    terminal = eve.shell()
    assert eve.ask("DELETE", "/webapi/sessions/web").status == 200
    said = terminal.last()
    assert said["e"]["message"] == "you have signed out" and said["e"]["resume"] is False


def test_files_up_and_down(home, alice, tmp_path):
    data = bytes(range(256)) * 4096
    path = tmp_path / "up load"
    up = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "upload", "path": str(path)}}).opened()
    for at in range(0, len(data), 32768):
        up.send("r", data[at:at + 32768])
    assert not path.exists()  # it has its name when it is complete
    up.send("c")
    assert up.last()["x"]["code"] == 0
    assert path.read_bytes() == data and [p.name for p in tmp_path.iterdir()] == ["up load"]
    down = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "download", "path": str(path)}}).opened()
    assert down.session["size"] == len(data)
    assert down.last()["x"]["code"] == 0 and down.output == data
    wait_for(lambda: {(e["event"], e["path"]) for e in home.audit() if e["event"].startswith("scp")} >=
             {("scp.upload", str(path)), ("scp.download", str(path))})
    # Lost in the middle: nothing of that name, nothing left over.
    half = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "upload", "path": str(tmp_path / "half")}}).opened()
    half.send("r", data[:1000])
    half.lose()
    wait_for(lambda: [p.name for p in tmp_path.iterdir()] == ["up load"])
    for op, bad in (("download", "/etc/nowhere"), ("download", "/etc"), ("upload", "/proc/x"), ("download", "/dev/zero")):
        said = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": op, "path": bad}}).last()
        assert said["e"]["reason"] == "target_refused", (bad, said)


def test_files_follow_ssh_file_copy(home, tmp_path):
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    home.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: nocopy}\nspec:\n  options: {ssh_file_copy: false}\n"
             "  allow: {logins: [root], node_labels: {'*': '*'}}\n")
    carol = Browser(home.person("carol", roles="nocopy")).sign_in()
    carol.shell().send("c")
    said = carol.terminal({"server_id": "node1", "login": "root", "file": {"op": "download", "path": "/etc/passwd"}}).last()
    assert said["e"]["reason"] == "access_denied" and "file copy" in said["e"]["message"], said
    # Nor may a file that is under way be gone on with when the right is lost.
    role = ("kind: role\nversion: v7\nmetadata: {name: copies}\nspec:\n  options: {ssh_file_copy: %s}\n"
            "  allow: {logins: [root], node_labels: {'*': '*'}}\n")
    home.ctl("create", "-f", input=role % "true")
    dave = Browser(home.person("dave", roles="copies")).sign_in()
    down = dave.terminal({"server_id": "node1", "login": "root", "file": {"op": "download", "path": str(tmp_path / "large")}}).opened()
    down.lose()
    home.ctl("create", "-f", input=role % "false")
    said = dave.terminal({"server_id": "node1", "login": "root", "sid": down.session["id"], "offset": 0}).last()
    assert "s" not in said and "took the right to copy files away" in said["e"]["message"], said
    # One that moves is ended, and told.
    home.ctl("create", "-f", input=role % "true")
    moving = dave.terminal({"server_id": "node1", "login": "root", "file": {"op": "download", "path": str(tmp_path / "large")}}).opened()
    shell = dave.shell()
    home.ctl("create", "-f", input=role % "false")
    assert "took the right to copy files away" in json.dumps(moving.last())
    shell.type("echo goes-$((1+1))on\n")  # a shell has no right to copy that it could lose
    shell.until("goes-2on")
    # A grant for a shell is no grant for a file and the other way round: the node looks, too.
    assert any(e["event"] == "auth" and e["user"] == "carol" and e.get("error") for e in home.audit())


def test_any_worker_reaches_the_node():
    """An agent has tunnels to two workers; with six, most browsers come to one without: relayed between workers."""
    cluster = Cluster(nodes=("node1",), workers=6)
    try:
        dora = Browser(cluster.person("dora")).sign_in()
        for i in range(8):
            terminal = dora.shell()
            terminal.type(f"echo round $((100+{i})); seq 1 3000 | tail -1\n")
            terminal.until(f"round {100 + i}")
            terminal.until("3000\r\n")
            if i % 2:
                sid, offset = terminal.session["id"], terminal.offset
                terminal.lose()
                terminal = dora.shell(sid=sid, offset=offset)
            terminal.type("exit\n")
            assert terminal.last()["x"]["code"] == 0
        cluster.ctl("lock", "--user=dora", "--ttl=10m") if dora.shell() else None
        wait_for(lambda: sum(e["event"] == "session.end" for e in cluster.audit()) == 9)
    finally:
        cluster.close()


def test_an_upload_is_complete_when_that_is_said_only(alice, tmp_path):
    """A page that is closed, or breaks the protocol, in the middle of an upload leaves the file of before."""
    path = tmp_path / "kept"
    path.write_text("before")
    path.chmod(0o640)
    for end in (lambda up: up.ws.send(CLOSE, b"\x03\xe9"), lambda up: up.ws.send(BINARY, b"\xff")):
        up = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "upload", "path": str(path)}}).opened()
        up.send("r", b"half of it")
        partial = wait_for(lambda: [p for p in tmp_path.iterdir() if p != path and p.stat().st_size == 10])[0]
        assert partial.stat().st_mode & 0o777 == 0o600  # who may read the place may not read what comes
        end(up)
        up.last()
        wait_for(lambda: [p.name for p in tmp_path.iterdir()] == ["kept"])
        assert path.read_text() == "before"
    for name, mode in (("kept", 0o640), ("new", 0o644)):
        up = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "upload", "path": str(tmp_path / name)}}).opened()
        up.send("r", b"all")
        up.send("c")
        assert up.last()["x"]["code"] == 0
        assert (tmp_path / name).read_text() == "all" and (tmp_path / name).stat().st_mode & 0o777 == mode


def test_an_upload_has_one_connection(alice, tmp_path):
    up = alice.terminal({"server_id": "node1", "login": "root", "file": {"op": "upload", "path": str(tmp_path / "one")}}).opened()
    up.send("r", b"first")
    wait_for(lambda: [p for p in tmp_path.iterdir() if p.stat().st_size == 5])
    second = alice.terminal({"server_id": "node1", "login": "root", "sid": up.session["id"], "offset": 0})
    assert "s" not in second.last()
    wait_for(lambda: not list(tmp_path.iterdir()))


def test_a_person_who_goes_before_the_answer_leaves_no_session(home):
    frank = Browser(home.person("frank")).sign_in()
    for _ in range(5):
        terminal = frank.terminal({"server_id": "node1", "login": "root"})
        terminal.ws.send(CLOSE, b"\x03\xe9")
        terminal.ws.sock.close()
    wait_for(lambda: [e["event"] for e in home.audit() if e.get("user") == "frank"].count("session.connect") == 5)
    wait_for(lambda: "frank" not in home.ctl("sessions", "ls", "--format=json").stdout)


def test_a_terminal_that_another_connection_asks_for_is_not_kept_by_the_older_one():
    """When the new one fails, too: auth has forgotten the older one, and no lock would reach it."""
    cluster = Cluster(nodes=("node1",))
    try:
        gina = Browser(cluster.person("gina")).sign_in()
        first = gina.shell()
        sid = first.session["id"]
        # The node's new agent knows nothing of the terminal, which runs on below the one before.
        agents = set(cluster.nodes["node1"].children("agent"))
        assert cluster.nodes["node1"].signal("upgrade").returncode == 0
        wait_for(lambda: set(cluster.nodes["node1"].children("agent")) - agents)
        cluster.wait_online("node1")
        first.type("echo still $((1+1))\n")
        first.until("still 2")
        time.sleep(2)
        second = gina.terminal({"server_id": "node1", "login": "root", "sid": sid, "offset": first.offset})
        said = first.last()
        assert said["e"]["reason"] == "replaced", said
        seen = second.step()
        second.ws.sock.close()
        print("second:", seen)
        cluster.ctl("lock", "--user=gina", "--ttl=10m")
        wait_for(lambda: any(e["event"] == "session.end" and e["sid"] == sid for e in cluster.audit()), timeout=45)
    finally:
        cluster.close()


def test_files_ask_pam():
    """An account that may not have a shell has no files either."""
    service = f"tport-f{os.getpid()}"
    with open(f"/etc/pam.d/{service}", "w", encoding="ascii") as out:
        out.write("auth required pam_permit.so\naccount required pam_deny.so\nsession required pam_permit.so\n")
    cluster = None
    try:
        cluster = Cluster()
        node = cluster.add_node("node1", change=lambda text: text.replace(
            "ssh_service:\n", f"ssh_service:\n  pam:\n    enabled: yes\n    service_name: {service}\n", 1))
        assert node.conf.read_text().count(service) == 1
        hugo = Browser(cluster.person("hugo")).sign_in()
        for op in ("upload", "download"):
            said = hugo.terminal({"server_id": "node1", "login": "root", "file": {"op": op, "path": "/etc/passwd"}}).last()
            assert "s" not in said and "PAM refused (account)" in said["e"]["message"], said
        wait_for(lambda: sum(e["event"].startswith("scp.") and not e["success"] for e in cluster.audit()) == 2)
    finally:
        os.unlink(f"/etc/pam.d/{service}")
        if cluster:
            cluster.close()
