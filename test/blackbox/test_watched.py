"""Who is watched is told: in his terminal, and nowhere where a program reads."""

import contextlib
import time

import pexpect
import pytest

from terminal import Browser as Web
from test_running import SITE, Watcher, role, shell
from tport import BIN, Cluster, wait_for


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1",))
    role(made, "dev", "{logins: [root], node_labels: {'*': '*'}}")
    role(made, "observer", "{join_sessions: [{name: o, roles: [dev], kinds: [ssh]}]}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def owner(home):
    return Web(home.person("p-owner", roles="dev", logins="")).sign_in()


@pytest.fixture(scope="module")
def observer(home):
    return Web(home.person("p-observer", roles="observer", logins="", sign_in=False)).sign_in()


class Passer(Watcher):
    """Somebody who looks in, and leaves at the next answer when he is told to."""

    gone = False

    def run(self):
        while not self.gone and not self.done:
            reply = self.web.ask("GET", f"{SITE}/sessions/{self.sid}/watch?offset={len(self.text)}")
            self.text += reply.body
            self.done = reply.status != 200 or reply.headers["Recording-Done"] == "yes"


@contextlib.contextmanager
def watched(home, owner, observer, command, until):
    """A shell that somebody watches from the moment on at which this command has printed so much."""
    with shell(home, owner.person) as (child, sid):
        child.sendline(command)
        child.expect_exact(until)
        watcher = Passer(observer, sid)
        yield child
        watcher.gone = True


def recorded(owner, sid):
    return owner.ask("GET", f"{SITE}/sessions/{sid}/watch").text


def test_a_line_in_the_terminal_says_who_comes_and_goes(home, owner, observer):
    with shell(home, owner.person) as (child, sid):
        watcher = Passer(observer, sid)
        child.expect_exact("\r\ntport: p-observer is watching this session\r\n")
        child.sendline("echo between-$((1+1))")
        child.expect_exact("between-2")
        watcher.see("between-2")
        watcher.gone = True  # the page is closed: it asks no more after the next answer
        child.sendline("echo last-$((9+9))")
        child.expect_exact("last-18")
        child.expect_exact("\r\ntport: p-observer has stopped watching this session\r\n", timeout=60)
        # Once each, although the agent hears it by each of its tunnels; and the recording is the program's alone.
        child.sendline("echo after-$((2+2))")
        child.expect_exact("after-4")
        assert "tport:" not in child.before
        wait_for(lambda: "after-4" in recorded(owner, sid))
        assert "watching this session" not in recorded(owner, sid)


def test_a_program_with_the_whole_screen_keeps_its_picture(home, owner, observer):
    """As vim does: nothing is written into it, the title and the bell say it, and the line comes when the screen is given back."""
    with watched(home, owner, observer, "printf '\\033[?1049h'; echo full-$((3+3)); read; printf '\\033[?1049l'; echo back-$((4+4))", "full-6") as child:
        child.expect_exact("\a\x1b[22;2t\x1b]2;tport: p-observer is watching this session\x1b\\")
        assert "\ntport:" not in child.before
        child.sendline("")
        child.expect_exact("\x1b[?1049l")
        child.expect_exact("\x1b[23;2t\r\ntport: p-observer is watching this session\r\n")


def test_no_line_stands_within_a_sequence_or_a_character(home, owner, observer):
    with watched(home, owner, observer, "printf 'half-\\033[3'; sleep 3; printf '1mred-%d\\n' $((5+5)); sleep 1; echo rest-$((6+6))", "half-\x1b[3") as child:
        child.expect_exact("1mred-10\r\n")
        assert child.before == ""
        child.expect_exact("tport: p-observer is watching this session")
        child.expect_exact("rest-12")


def test_a_sequence_without_an_end_hides_nobody(home, owner, observer):
    with watched(home, owner, observer, "printf 'begin-\\033]0;title'; sleep 12; printf '\\a'; echo end-$((7+7))", "begin-\x1b]0;title") as child:
        child.expect_exact("\x18\r\ntport: p-observer is watching this session\r\n")
        child.expect_exact("end-14")


def test_what_programs_read_is_left_alone(home, owner, observer):
    before = {event["sid"] for event in home.audit(type="session.start")}
    child = owner.person.spawn(BIN / "tport", "ssh", "root@node1", "echo begin; sleep 6; echo end")
    child.expect("begin")
    [sid] = wait_for(lambda: {event["sid"] for event in home.audit(type="session.start")} - before)
    watcher = Passer(observer, sid)
    child.expect(pexpect.EOF)
    assert child.before.split() == ["end"]
    watcher.thread.join(20)
    assert watcher.done and [e for e in home.audit(type="session.join") if e["sid"] == sid]


def next_word_of(terminal):
    while True:
        kind, body = terminal.step(60)
        if kind == "a":
            return body
        assert kind == "r", (kind, body)


def test_a_terminal_in_a_browser_says_it_beside_the_screen(home, owner, observer):
    terminal = owner.shell()
    sid = terminal.session["id"]
    wait_for(lambda: any(e["sid"] == sid for e in home.audit(type="session.start")))
    watcher = Passer(observer, sid)

    assert next_word_of(terminal) == {"event": "session.watched", "watchers": ["p-observer"], "count": 1}
    assert b"watching" not in terminal.output
    # Who comes back after a lost network hears it again.
    terminal.lose()
    again = owner.shell(sid=sid, offset=terminal.offset)
    assert next_word_of(again) == {"event": "session.watched", "watchers": ["p-observer"], "count": 1}
    watcher.gone = True
    again.type("echo\n")
    assert next_word_of(again) == {"event": "session.watched", "watchers": [], "count": 0}
    again.type("exit\n")
    again.last()


def test_a_policy_may_leave_it_out(home, owner, observer):
    conf = home.daemon.conf.read_text()
    home.daemon.write(conf.replace("auth_service:\n", "auth_service:\n  announce_watchers: no\n"))
    assert home.daemon.signal("reload").returncode == 0
    try:
        time.sleep(2)
        home.wait_online("node1")
        with shell(home, owner.person) as (child, sid):
            watcher = Passer(observer, sid)
            wait_for(lambda: "in-2" in watcher.output())
            time.sleep(1)
            child.sendline("echo nothing-$((8+8))")
            child.expect_exact("nothing-16")
            assert "watching" not in child.before
            assert [e for e in home.audit(type="session.join") if e["sid"] == sid]  # on record it is all the same
            watcher.gone = True
    finally:
        home.daemon.write(conf)
        assert home.daemon.signal("reload").returncode == 0


def test_who_plays_a_running_session_is_seen(home, owner, observer):
    """The auditor reads the recording as it grows, in the browser and with tport play; the administrator on the machine too."""
    auditor = Web(home.person("p-reader", roles="auditor", logins="")).sign_in()
    with shell(home, owner.person) as (child, sid):
        assert auditor.ask("GET", f"/v1/webapi/sites/test/sessions/{sid}/stream").status == 200
        child.sendline("")
        child.expect_exact("tport: p-reader is watching this session")
        child.sendline("")
        child.expect_exact("tport: p-reader has stopped watching this session", timeout=30)
        child.sendline("echo grown-$((8+8))")
        child.expect_exact("grown-16")
        wait_for(lambda: "grown-16" in recorded(owner, sid))
        played = auditor.person.tport("play", "--format=json", sid)
        assert played.returncode == 0 and "grown-16" in played.stdout, played
        child.sendline("")
        child.expect_exact("tport: p-reader is watching this session")
    events = [(e["event"], e["user"]) for kind in ("session.join", "session.leave") for e in home.audit(type=kind) if e["sid"] == sid and e["user"] == "p-reader"]
    assert events.count(("session.join", "p-reader")) == 2 and ("session.leave", "p-reader") in events, events
