"""Running sessions: who sees, watches and ends them."""

import contextlib
import json
import threading
import time

import pexpect
import pytest

from terminal import Browser as Web
from tport import BIN, ROOT, Cluster, wait_for


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1",))
    yield made
    made.close()


def role(home, name, allow, options="{}", version="v7"):
    home.ctl("create", "-f", input=f"kind: role\nversion: {version}\nmetadata: {{name: {name}}}\nspec:\n  allow: {allow}\n  options: {options}\n")


@pytest.fixture(scope="module")
def people(home):
    """Web sessions: the owner of shells, an observer of his roles, a moderator, an auditor, one who may end, one who may nothing."""
    role(home, "dev", "{logins: [root], node_labels: {'*': '*'}}")
    role(home, "observer", "{join_sessions: [{name: o, roles: [dev], kinds: [ssh]}]}")
    role(home, "moderator", "{join_sessions: [{name: m, roles: ['d*'], kinds: ['*'], modes: [moderator]}]}")
    role(home, "kube-observer", "{join_sessions: [{name: o, roles: [dev], kinds: [k8s]}, {name: p, roles: [other], kinds: [ssh]}]}")
    role(home, "ender", "{rules: [{resources: [ssh_session], verbs: [delete], where: 'ssh_session.login == \"root\"'}]}")
    role(home, "never-ender", "{rules: [{resources: [ssh_session], verbs: [delete], where: 'ssh_session.login == \"nobody\"'}]}")
    role(home, "lister", "{rules: [{resources: [session_tracker], verbs: [list]}]}")
    role(home, "poor", "{}")
    # Roles from before join_sessions: whoever has the login may join it.
    role(home, "old-here", "{logins: [root], node_labels: {'*': '*'}}", version="v3")
    role(home, "old-away", "{logins: [root], node_labels: {env: elsewhere}}", version="v3")
    role(home, "old-other", "{logins: [nobody], node_labels: {'*': '*'}}", version="v3")
    roles = {"owner": "dev", "observer": "observer", "moderator": "moderator", "kube-observer": "kube-observer", "ender": "ender",
             "never-ender": "never-ender", "lister": "lister", "auditor": "auditor", "poor": "poor", "old-here": "old-here", "old-away": "old-away",
             "old-other": "old-other"}
    return {name: Web(home.person(f"p-{name}", roles=given, logins="", sign_in=name == "owner")).sign_in() for name, given in roles.items()}


SITE = "/v1/webapi/sites/test"


@contextlib.contextmanager
def shell(home, person):
    """(terminal, id of its session); a shell of the owner over SSH."""
    before = {event["sid"] for event in home.audit(type="session.start")}
    child = person.spawn(BIN / "tport", "ssh", "root@node1")
    child.sendline("echo in-$((1+1))")
    child.expect("in-2")
    [sid] = wait_for(lambda: {event["sid"] for event in home.audit(type="session.start") if event["user"] == person.name} - before)
    try:
        yield child, sid
    finally:
        child.close(force=True)


def listed(web, sid):
    reply = web.ask("GET", f"{SITE}/sessions")
    assert reply.status == 200, reply.text
    return next((item for item in reply.json()["items"] if item["id"] == sid), None)


def test_R3_who_sees_watches_and_ends(home, people):
    with shell(home, people["owner"].person) as (_, sid):
        seen = {name: listed(web, sid) for name, web in people.items()}
        rights = {name: one and (one["participantModes"] == ["observer"], one["may_end"]) for name, one in seen.items()}
        assert rights == {"owner": (True, True), "observer": (True, False), "moderator": (True, True), "kube-observer": None,
                          "ender": (False, True), "never-ender": None, "lister": (False, False), "auditor": (True, False), "poor": None,
                          "old-here": (True, False), "old-away": None, "old-other": None}
        mine = seen["owner"]
        assert mine["user"] == "p-owner" and mine["hostname"] == "node1" and mine["login"] == "root" and mine["kind"] == "ssh"
        assert mine["channels"][0]["id"] == sid and mine["channels"][0]["recorded"] and mine["channels"][0]["interactive"]
        # The doors say what the list says; a session that is not his is not there.
        watched = {name: web.ask("GET", f"{SITE}/sessions/{sid}/watch").status for name, web in people.items()}
        assert watched == {name: 200 if right and right[0] else 404 for name, right in rights.items()}
        ended = {name: web.ask("DELETE", f"{SITE}/sessions/{sid}").status for name, web in people.items() if not (rights[name] and rights[name][1])}
        assert ended == {"observer": 403, "kube-observer": 404, "never-ender": 404, "lister": 403, "auditor": 403, "poor": 404, "old-here": 403,
                         "old-away": 404, "old-other": 404}
        assert listed(people["owner"], sid)


@pytest.mark.parametrize("who", ["owner", "moderator", "ender"])
def test_ending_cuts_at_once_and_says_why(home, people, who):
    with shell(home, people["owner"].person) as (child, sid):
        reply = people[who].ask("DELETE", f"{SITE}/sessions/{sid}", {"reason": f"maintenance by {who}"})
        assert reply.status == 200, reply.text
        started = time.monotonic()
        child.expect(f"maintenance by {who}")
        child.expect("(?i)closed|disconnect|$")
        assert time.monotonic() - started < 2
        wait_for(lambda: listed(people["owner"], sid) is None)
        wait_for(lambda: [e for e in home.audit(type="session.end") if e["sid"] == sid])
        events = [e for e in home.audit(type="client.disconnect") if e["sid"] == sid]
        assert [(e["user"], e["ended_by"]) for e in events] == [("p-owner", f"p-{who}")], events
        assert people[who].ask("DELETE", f"{SITE}/sessions/{sid}").status == 404


def test_a_reason_is_text_and_nothing_else(home, people):
    with shell(home, people["owner"].person) as (child, sid):
        for reason in ("a\x1b[2Jb", "line\nline", "\x9b31m", "x" * 501, "\x7f"):
            assert people["moderator"].ask("DELETE", f"{SITE}/sessions/{sid}", {"reason": reason}).status in (400, 413), repr(reason)
        child.sendline("echo still-$((40+2))")
        child.expect("still-42")
        # From a page of another site, without the token, with another one's cookie: no.
        web = people["owner"]
        assert web.ask("DELETE", f"{SITE}/sessions/{sid}", headers={"Origin": "https://evil.example"}).status == 403
        assert web.ask("DELETE", f"{SITE}/sessions/{sid}", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
        assert web.ask("DELETE", f"{SITE}/sessions/{sid}", headers={"Authorization": "Bearer " + "0" * 32}).status == 401
        assert web.ask("DELETE", f"{SITE}/sessions/{sid}", headers={"Cookie": people["poor"].cookie}).status == 401
        child.sendline("echo and-$((40+3))")
        child.expect("and-43")


class Watcher:
    """Follows a session as the page does, in a thread."""

    def __init__(self, web, sid):
        self.web, self.sid = web, sid
        self.text, self.status, self.done = b"", 200, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.done:
            reply = self.web.ask("GET", f"{SITE}/sessions/{self.sid}/watch?offset={len(self.text)}")
            self.status = reply.status
            if reply.status != 200:
                return
            self.text += reply.body
            self.done = reply.headers["Recording-Done"] == "yes"

    def output(self):
        lines = [json.loads(line) for line in self.text.decode(errors="replace").splitlines()[1:] if line.endswith("]")]
        return "".join(line[2] for line in lines if line[1] == "o")

    def see(self, text):
        wait_for(lambda: text in self.output())


def test_watching_live_to_the_end(home, people):
    with shell(home, people["owner"].person) as (child, sid):
        child.sendline("echo before-$((5+5))")
        child.expect("before-10")
        watchers = [Watcher(people[name], sid) for name in ("observer", "auditor", "owner")]
        for watcher in watchers:
            watcher.see("before-10")
        for n in range(3):
            started = time.monotonic()
            child.sendline(f"echo live-$((20+{n}))")
            for watcher in watchers:
                watcher.see(f"live-2{n}")
            assert time.monotonic() - started < 3
        # The person can see that somebody watches.
        assert set(listed(people["owner"], sid)["channels"][0]["watchers"]) == {"p-observer", "p-auditor", "p-owner"}
        # Nothing that a watcher sends reaches the session: there is no way to.
        assert people["observer"].ask("POST", f"{SITE}/sessions/{sid}/watch", {"data": "x"}).status == 405
        child.sendline("echo the-very-end; exit")
        child.expect_exact(pexpect.EOF)
    for watcher in watchers:
        watcher.thread.join(20)
        assert watcher.done and "the-very-end" in watcher.output()
        assert watcher.text.endswith(b"\n")
    joined = wait_for(lambda: [e for e in home.audit(type="session.join") if e["sid"] == sid])
    assert {e["user"] for e in joined} == {"p-observer", "p-auditor", "p-owner"} and joined[0]["code"] == "T2001I"
    left = wait_for(lambda: len({e["user"] for e in home.audit(type="session.leave") if e["sid"] == sid}) == 3)
    assert left
    [end] = wait_for(lambda: [e for e in home.audit(type="session.end") if e["sid"] == sid])
    assert set(end["participants"]) == {"p-owner", "p-observer", "p-auditor"}
    # What was watched is what was recorded.
    wait_for(lambda: people["auditor"].ask("GET", f"{SITE}/sessions/{sid}/stream").body == watchers[1].text)


def test_R3_a_right_that_is_lost_ends_the_watching(home, people):
    """Role, lock and web session: what comes afterwards is not seen."""
    role(home, "passing", "{join_sessions: [{name: o, roles: [dev], kinds: [ssh]}]}")
    changes = {
        "pass-role": lambda web: role(home, "passing", "{}"),
        "pass-lock": lambda web: home.ctl("lock", f"--user={web.person.name}", "--ttl=10m"),
        "pass-out": lambda web: web.ask("DELETE", "/webapi/sessions/web"),
    }
    webs = {name: Web(home.person(name, roles="passing", logins="", sign_in=False)).sign_in() for name in changes}
    with shell(home, people["owner"].person) as (child, sid):
        for name, change in reversed(list(changes.items())):
            watcher = Watcher(webs[name], sid)
            wait_for(lambda: "in-2" in watcher.output() or (_ for _ in ()).throw(AssertionError((name, watcher.status, watcher.text))))
            time.sleep(0.5)
            change(webs[name])
            child.sendline(f"echo secret-after-{name}")
            watcher.thread.join(25)
            assert not watcher.thread.is_alive() and watcher.status in (401, 403, 404), (name, watcher.status)
            assert f"secret-after-{name}" not in watcher.output(), name


def test_watching_is_bounded(home, people):
    """Many windows of one person: the oldest calls are answered, the session and others do not notice."""
    with shell(home, people["owner"].person) as (child, sid):
        size = len(people["observer"].ask("GET", f"{SITE}/sessions/{sid}/watch").body)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(people["observer"].ask("GET", f"{SITE}/sessions/{sid}/watch?offset={size + 10**6}"))) for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) >= 12)
        assert {reply.status for reply in answers} == {200} and {reply.body for reply in answers} == {b""}
        other = Watcher(people["auditor"], sid)
        child.sendline("echo go-$((7*7))")
        other.see("go-49")
        for thread in threads:
            thread.join(25)
        assert len(answers) == 20
        for query in ("?offset=-1", "?offset=x", "?bytes=-5"):
            assert people["observer"].ask("GET", f"{SITE}/sessions/{sid}/watch{query}").status == 400


def test_the_example_role_watches_and_plays(home, people):
    """conf/roles/watch.yaml, as it stands in the tree."""
    home.ctl("create", "-f", ROOT / "conf" / "roles" / "watch.yaml")
    role(home, "dev-web", "{logins: [root], node_labels: {'*': '*'}}")
    watcher = Web(home.person("p-watch", roles="watch", logins="", sign_in=False)).sign_in()
    owner = home.person("p-dev-web", roles="dev-web", logins="")
    with shell(home, people["owner"].person) as (_, other), shell(home, owner) as (child, sid):
        assert listed(watcher, other) is None  # of role dev, which is none of those
        one = listed(watcher, sid)
        assert one["participantModes"] == ["observer"] and one["may_end"]
        assert watcher.ask("GET", f"{SITE}/sessions/{sid}/stream").status == 404
        seen = Watcher(watcher, sid)
        seen.see("in-2")
        child.sendline("exit")
        child.expect_exact(pexpect.EOF)
        seen.thread.join(20)
    assert wait_for(lambda: watcher.ask("GET", f"{SITE}/sessions/{sid}/stream").status == 200)


def test_what_is_not_recorded_cannot_be_watched(home, people):
    config = "kind: session_recording_config\nversion: v2\nmetadata: {name: session-recording-config}\nspec: {mode: %s}\n"
    home.ctl("create", "-f", input=config % "off")
    try:
        with shell(home, people["owner"].person) as (_, sid):
            [channel] = listed(people["observer"], sid)["channels"]
            assert channel["recorded"] is False
            reply = people["observer"].ask("GET", f"{SITE}/sessions/{sid}/watch")
            assert reply.status == 400 and "not recorded" in reply.text
    finally:
        home.ctl("create", "-f", input=config % "node")


def test_a_terminal_in_a_browser_is_a_session_too(home, people):
    terminal = people["owner"].shell()
    sid = terminal.session["id"]
    one = wait_for(lambda: listed(people["observer"], sid))
    assert one["web"] and one["kind"] == "ssh"
    watcher = Watcher(people["observer"], sid)
    terminal.type("echo web-$((30+3))\n")
    watcher.see("web-33")
    assert people["moderator"].ask("DELETE", f"{SITE}/sessions/{sid}", {"reason": "browser closed by moderator"}).status == 200
    assert "browser closed by moderator" in json.dumps(terminal.last())
    watcher.thread.join(20)
    assert watcher.done
