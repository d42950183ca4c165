"""R2, R7, R9: messages in every wrong order and shape, sent by a client that follows no rules."""
import os
import random
import struct
import time

import pytest

pytest.importorskip("cryptography")
from ssh_raw import Closed, Raw, number, text
from session_fixtures import agent, keys, make, pytestmark  # noqa: F401  (fixtures)


def drain(raw, seconds=0.5):
    raw.sock.settimeout(seconds)
    kinds = []
    try:
        while True:
            kinds.append(raw.read()[0])
    except Closed:
        return kinds


def unharmed(agent, sessions=0):
    """No process died, nothing was started without a login, a new client still gets in."""
    log = agent.session_log()
    assert "died" not in log and "failed status" not in log and "broke the order" not in log and "Sanitizer" not in log
    assert len([m for m, _ in agent.requests if m == "session.start"]) == sessions
    assert agent.ssh("echo fine").stdout == b"fine\n"


def test_raw_client_is_a_client(agent, keys):
    raw = Raw(agent.connect())
    raw.sign_in(keys)
    raw.open()
    channel = raw.opened()
    raw.send(raw.request(channel, "exec", text("echo hi; exit 9")))
    raw.expect(99)
    assert b"hi\n" in raw.expect(94)
    assert b"exit-status" in raw.expect(98)
    raw.expect(97)
    raw.sock.close()


STATES = {"before_version": [], "before_kex": ["hello"], "after_kex": ["hello", "exchange"],
          "in_auth": ["hello", "exchange", "service"]}


@pytest.mark.parametrize("state", STATES)
def test_r7_every_message_number_before_sign_in(agent, keys, state):
    for kind in range(256):
        raw = Raw(agent.connect(), timeout=1)
        try:
            for step in STATES[state]:
                getattr(raw, step)()
            raw.send(bytes([kind]) + text("session") + number(0) + number(1 << 20) + number(32768))
            raw.open()
            raw.send(raw.request(0, "exec", text("touch /tmp/tport-must-not-exist")))
        except Closed:
            pass
        raw.sock.close()
    assert set(agent.reap(20)) == {0}
    assert not os.path.exists("/tmp/tport-must-not-exist")
    unharmed(agent)


def test_r7_success_message_of_a_client_is_no_login(agent, keys):
    """CVE-2018-10933."""
    raw = Raw(agent.connect(), timeout=2)
    raw.hello()
    raw.exchange()
    raw.service()
    try:
        raw.send(b"\x34")
        raw.open()
        assert 91 not in drain(raw, 1)
    except Closed:
        pass
    unharmed(agent)


def test_r7_offers_and_broken_signatures_are_no_login(agent, keys):
    raw = Raw(agent.connect(), timeout=3)
    raw.hello()
    raw.exchange()
    raw.service()
    raw.send(raw.auth_request(keys, sign=False))
    assert raw.expect(60, 51, 52)[0] == 60
    raw.open()
    assert 91 not in drain(raw, 0.5)
    raw = Raw(agent.connect(), timeout=3)
    raw.hello()
    raw.exchange()
    raw.service()
    good = raw.auth_request(keys)
    try:
        raw.send(good[:-1] + bytes([good[-1] ^ 1]))
        assert 52 not in drain(raw, 1)
    except Closed:
        pass
    assert not [m for m, _ in agent.requests if m == "session.check_cert"]
    unharmed(agent)


def test_r7_other_methods_and_strange_names(agent, keys):
    for login in ("", "root\0", "a b", "../x", "x" * 70000, "root\n", "$(id)", "\xff"):
        raw = Raw(agent.connect(), timeout=2)
        raw.hello()
        raw.exchange()
        raw.service()
        head = b"\x32" + text(login) + text("ssh-connection")
        try:
            raw.send(head + text("none"))
            raw.send(head + text("password") + b"\0" + text("x" * 100000))
            raw.send(head + text("keyboard-interactive") + text("") + text(""))
            raw.send(head + text("hostbased") + text("ssh-ed25519") + text("") + text("h") + text("u") + text("s"))
            raw.send(head + text("gssapi-with-mic") + number(1) + text(b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"))
            raw.send(raw.auth_request(keys, login=login))
            assert 52 not in drain(raw, 0.5)
        except Closed:
            pass
        raw.sock.close()
    unharmed(agent)


def test_r9_six_attempts_are_the_end(agent, keys):
    raw = Raw(agent.connect(), timeout=3)
    raw.hello()
    raw.exchange()
    raw.service()
    with pytest.raises(Closed):
        for _ in range(20):
            raw.send(b"\x32" + text(keys.login) + text("ssh-connection") + text("password") + b"\0" + text("x"))
            raw.expect(51)
    unharmed(agent)


def test_r7_second_sign_in_changes_nothing(agent, keys):
    raw = Raw(agent.connect(), timeout=3)
    raw.sign_in(keys)
    try:
        raw.send(raw.auth_request(keys, login="nosuchlogin"))
        raw.open()
        channel = raw.opened()
        raw.send(raw.request(channel, "exec", text("id -un")))
        raw.expect(99)
        assert keys.login.encode() in raw.expect(94)
    except Closed:
        pass
    assert len([m for m, _ in agent.requests if m == "session.check_cert"]) == 1


def test_request_and_close_in_one_write(agent, keys):
    """A message that waits in the library's queue must not outlive its channel."""
    raw = Raw(agent.connect(), timeout=5)
    raw.sign_in(keys)
    for _ in range(50):
        raw.open()
        channel = raw.opened()
        if channel is None:
            break
        parts = [raw.request(channel, "env", text("LANG") + text("C")), raw.request(channel, "exec", text("true")),
                 b"\x61" + number(channel), raw.request(channel, "exec", text("true")),
                 raw.request(channel, "pty-req", text("xterm") + number(80) * 4 + text(""))]
        data = []
        keep, raw.raw = raw.raw, data.append
        for part in parts:
            raw.send(part)
        raw.raw = keep
        raw.raw(b"".join(data))
    raw.sock.close()
    assert set(agent.reap(10)) == {0}
    log = agent.session_log()
    assert "died" not in log and "Sanitizer" not in log
    assert agent.ssh("echo fine").stdout == b"fine\n"


def test_r9_channels_are_bounded(agent, keys):
    raw = Raw(agent.connect(), timeout=5)
    raw.sign_in(keys)
    opened = 0
    for i in range(2000):
        raw.open(i)
        opened += raw.opened() is not None
    assert opened == 256
    raw.sock.close()
    assert set(agent.reap(10)) == {0}
    unharmed(agent)


@pytest.mark.parametrize("window,packet", [(0, 0), (0xffffffff, 0xffffffff), (1, 1), (1 << 20, 5), (1 << 20, 10), (1 << 20, 11)])
def test_strange_windows(agent, keys, window, packet):
    raw = Raw(agent.connect(), timeout=2)
    raw.sign_in(keys)
    try:
        raw.open(0, window, packet)
        channel = raw.opened()
        if channel is not None:
            raw.send(raw.request(channel, "exec", text("head -c 100000 /dev/zero")))
            for _ in range(3):
                raw.send(b"\x5d" + number(channel) + number(0xffffffff))
            drain(raw, 0.7)
    except Closed:
        pass
    raw.sock.close()
    assert set(agent.reap(10)) == {0}
    assert "died" not in agent.session_log()


def test_r2_unknown_requests_are_refused(agent, keys):
    raw = Raw(agent.connect(), timeout=3)
    raw.sign_in(keys)
    raw.open()
    channel = raw.opened()
    for name in ("x11-req", "break", "tun@openssh.com", "subsystem", "", "exec\n", "xon-xoff", "\xff" * 1000):
        raw.send(raw.request(channel, name, b"\0" + text("a") + text("b") + number(0) if name == "x11-req" else text("x") * 4))
        assert raw.expect(99, 100)[0] == 100, name
    for name in ("streamlocal-forward@openssh.com", "hostkeys-prove-00@openssh.com", "nonsense", ""):
        raw.send(b"\x50" + text(name) + b"\1" + text("/tmp/x"))
        assert raw.expect(81, 82)[0] == 82, name
    for name in ("direct-streamlocal@openssh.com", "tun@openssh.com", "auth-agent@openssh.com", "forwarded-tcpip", "x11"):
        raw.send(b"\x5a" + text(name) + number(9) + number(1000) + number(1000) + text("h") + number(22) + text("o") + number(1))
        assert raw.expect(91, 92)[0] == 92, name
    raw.send(raw.request(channel, "exec", text("echo ok")))
    assert raw.expect(99, 100)[0] == 99
    assert b"ok" in raw.expect(94)


def test_second_start_on_a_channel_is_refused(agent, keys):
    raw = Raw(agent.connect(), timeout=3)
    raw.sign_in(keys)
    raw.open()
    channel = raw.opened()
    raw.send(raw.request(channel, "exec", text("cat")))
    assert raw.expect(99, 100)[0] == 99
    for name in ("exec", "shell", "subsystem"):
        raw.send(raw.request(channel, name, text("sftp")))
        assert raw.expect(99, 100)[0] == 100
    raw.send(raw.request(channel, "pty-req", text("xterm") + number(80) * 4 + text("")))
    assert raw.expect(99, 100)[0] == 100


def test_r7_noise_after_sign_in(agent, keys):
    random.seed(7)
    for _ in range(60):
        raw = Raw(agent.connect(), timeout=0.3)
        try:
            raw.sign_in(keys)
            raw.open()
            raw.opened()
            for _ in range(30):
                raw.send(bytes([random.randrange(1, 128)]) + random.randbytes(random.randrange(0, 200)))
        except Closed:
            pass
        raw.sock.close()
    assert set(agent.reap(20)) == {0}
    assert "died" not in agent.session_log() and "Sanitizer" not in agent.session_log()
    assert agent.ssh("echo fine").stdout == b"fine\n"


def test_broken_lengths(agent, keys):
    for length in (0, 1, 4, 5, 35001, 1 << 20, 0x7fffffff, 0xffffffff):
        raw = Raw(agent.connect(), timeout=1)
        raw.hello()
        try:
            raw.raw(struct.pack(">IB", length, 4) + b"\x14" + os.urandom(200))
            drain(raw, 0.3)
        except Closed:
            pass
        raw.sock.close()
    started = time.time()
    assert set(agent.reap(15)) == {0}
    assert time.time() - started < 12
    unharmed(agent)
