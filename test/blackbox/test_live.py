"""What happens to running things: a right that is lost ends the session at once, with a reason; others do not notice."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from datetime import datetime

import pexpect
import pytest

from tport import BIN, Cluster, wait_for


@pytest.fixture(scope="module")
def home():
    """A cluster of this file's own: tests change its settings and lock its nodes."""
    made = Cluster(nodes=("node1", "node2"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def bystander(home):
    """A shell that must live through everything."""
    shell = Shell(home.person("bystander", roles="access", logins="root"))
    yield shell
    shell.ask()
    shell.close()


def role(name, allow, options="{}"):
    return f"kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec:\n  allow: {allow}\n  options: {options}\n"


EVERYWHERE = "{logins: [root], node_labels: {'*': '*'}}"


class Stall(threading.Thread):
    """How late this machine wakes a thread: what a bound of one second must be given on top, while others use the CPUs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst, self.over = 0.0, False

    def run(self):
        while not self.over:
            start = time.monotonic()
            time.sleep(0.01)
            self.worst = max(self.worst, time.monotonic() - start - 0.01)


class Shell:
    """tport ssh to a node, with a note of the moment at which it ended."""

    def __init__(self, person, *words, node="node1", says="in-2", program="ssh"):
        self.person, self.program = person, program
        self.child = person.spawn(BIN / "tport", program, *(words or (f"root@{node}",)))
        self.text, self.ended = "", None
        if not words:
            self.child.sendline("echo in-$((1+1))")
        if says:
            self.child.expect(says)

    def ask(self):
        self.child.sendline("echo still-$((40+2))")
        self.child.expect("still-42")

    def watch(self):
        self.thread = threading.Thread(target=self._drain, daemon=True)
        self.thread.start()

    def _drain(self):
        self.child.expect(pexpect.EOF, timeout=20)
        self.ended, self.text = time.time(), self.child.before

    def wait(self):
        self.thread.join(25)
        assert self.ended is not None, "the session goes on"
        return self.ended

    def close(self):
        self.child.close(force=True)


def event_time(event):
    text = re.sub(r"(\.\d+)?Z$", lambda m: f"{float(m.group(1) or 0):.6f}"[1:] + "+00:00", event["time"])
    return datetime.fromisoformat(text).timestamp()


def change(home, shells, act):
    """Does act, returns for each shell the seconds from the moment at which auth accepted the change to its end. The start of
    tportctl is not part of it: the time of auth's own record is. Auth writes that record with the change, before it answers."""
    for shell in shells:
        shell.watch()
    stall = Stall()
    stall.start()
    before = time.time()
    act()
    ends = [shell.wait() for shell in shells]
    stall.over = True
    times = [event_time(e) for e in home.audit(limit=200) if event_time(e) >= before - 0.002]
    start = min(times)
    return [end - start for end in ends], stall.worst


def cut_at_once(home, make, act, undo):
    """The requirement is one second. A loaded machine gets its own measured delay on top (a cut crosses six processes), and a
    second try."""
    for attempt in (1, 2, 3):
        shells = make()
        took, stall = change(home, shells, act)
        print("took", [f"{t:.3f}" for t in took], f"stall {stall:.3f}")
        undo()
        if max(took) < 1.0:
            return shells
        assert attempt < 3 and max(took) < 1.0 + 6 * stall, (took, stall)
    return None


CASES = {
    # name: (what is done with the person's name and role, what the person reads)
    "lock-user": (lambda c, n: c.ctl("lock", f"--user={n}", "--message=go home"), "go home"),
    "lock-role": (lambda c, n: c.ctl("lock", f"--role=r-{n}", "--message=role closed"), "role closed"),
    "lock-login": (lambda c, n: c.ctl("lock", f"--login=l-{n}", "--message=not as this one"), "a lock is in force on the login l-p-lock-login: not as this one"),
    "role-changed": (lambda c, n: c.ctl("create", "-f", input=role(f"r-{n}", "{logins: [guest], node_labels: {'*': '*'}}")), "took the right"),
    "role-taken": (lambda c, n: c.ctl("users", "update", n, "--set-roles=nothing"), "took the right"),
    "user-deleted": (lambda c, n: c.ctl("users", "rm", n), "deleted"),
    "user-reset": (lambda c, n: c.ctl("users", "reset", n), "reset"),
}


@pytest.mark.parametrize("how", sorted(CASES))
def test_lost_right_ends_shell_exec_and_forward_within_a_second(home, bystander, how):
    act, reads = CASES[how]
    name = f"p-{how}"
    login = f"l-{name}" if how == "lock-login" else "root"
    home.ctl("create", "-f", input=role("nothing", "{}"))
    allow = "{logins: [root, %s], node_labels: {'*': '*'}}" % login
    home.ctl("create", "-f", input=role(f"r-{name}", allow))
    if how == "lock-login":
        subprocess.run(["useradd", "-o", "-u", "0", "-g", "0", "-M", "-d", "/root", "-s", "/bin/bash", login], check=True)
    person = home.person(name, roles=f"r-{name}", logins="")

    def make():
        return [Shell(person, f"{login}@node1", "-t", "echo in-$((1+1)); exec cat"),
                Shell(person, f"{login}@node1", "echo in-$((1+1)); sleep 60"),
                Shell(person, f"{login}@node2", "-N", "-v", "-L", "127.0.0.1:39001:127.0.0.1:1", says="[Ee]ntering interactive session")]

    tries = []

    def undo():
        tries.append(how)
        if how.startswith("lock"):
            again = person.tport("ssh", f"{login}@node1", "true")  # OpenSSH would say "Permission denied" alone
            assert again.returncode == 255 and reads in again.stderr, again.stderr
            for lock in json.loads(home.ctl("get", "lock", "--format=json").stdout):
                home.ctl("rm", f"lock/{lock['metadata']['name']}")
        elif how == "role-changed":
            home.ctl("create", "-f", input=role(f"r-{name}", allow))
        elif how == "role-taken":
            home.ctl("users", "update", name, f"--set-roles=r-{name}")

    try:
        if how in ("user-deleted", "user-reset"):  # there is no second try after these
            shells = make()
            took, stall = change(home, shells, lambda: act(home, name))
            assert max(took) < 1.0 + 6 * stall, (took, stall)
        else:
            shells = cut_at_once(home, make, lambda: act(home, name), undo)
    finally:
        if how == "lock-login":
            subprocess.run(["userdel", "-f", login], check=False, capture_output=True)
    for shell in shells:
        assert reads in shell.text, shell.text
    reasons = [e["reason"] for e in home.audit(type="client.disconnect", user=name)]
    assert len([r for r in reasons if reads in r]) >= 3, reasons
    bystander.ask()


RIGHTS = {
    # name: (the option as it is granted, as it is then, what the person reads)
    "copy": ("ssh_file_copy: true", "ssh_file_copy: false", "took the right to copy files away"),
    "local": ("port_forwarding: true", "port_forwarding: false", "took the right to forward ports to this host away"),
    "remote": ("ssh_port_forwarding: {local: {enabled: true}, remote: {enabled: true}}",
               "ssh_port_forwarding: {local: {enabled: true}, remote: {enabled: false}}", "took the right to forward ports from this host away"),
    "agent": ("forward_agent: true", "forward_agent: false", "took the right to forward the agent away"),
}


@pytest.mark.parametrize("what", sorted(RIGHTS))
def test_a_lost_option_ends_the_connections_that_have_it_within_a_second(home, bystander, what):
    """The node goes by the grant as long as the connection lasts: what runs under a right that is lost must not go on."""
    granted, then, reads = RIGHTS[what]
    name, other = f"o-{what}", f"n-{what}"
    home.ctl("create", "-f", input=role(f"r-{name}", EVERYWHERE, f"{{{granted}}}"))
    home.ctl("create", "-f", input=role(f"r-{other}", EVERYWHERE, f"{{{then}}}"))
    person = home.person(name, roles=f"r-{name}", logins="")
    never = Shell(home.person(other, roles=f"r-{other}", logins=""))  # what he never had he can't lose
    large = person.home / "large"
    with open(large, "wb") as file:
        file.truncate(40 << 30)  # holes: it takes minutes to send and no room

    def make():
        made = [Shell(person)]
        if what == "copy":
            made.append(Shell(person, f"root@node1:{large}", "/dev/null", program="scp", says=r"[0-9]MB/s"))
        if what == "local":
            made.append(Shell(person, "root@node2", "-N", "-v", "-L", "127.0.0.1:39002:127.0.0.1:39003", says="[Ee]ntering interactive session"))
        return made

    echo = subprocess.Popen(home.net.prefix("node2") + ["socat", "TCP-LISTEN:39003,bind=127.0.0.1,fork,reuseaddr", "PIPE"])
    try:
        shells = make()
        pipe = None
        if what == "local":
            pipe = subprocess.Popen(home.net.prefix(person.host) + ["socat", "-", "TCP:127.0.0.1:39002"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            pipe.stdin.write(b"through the forwarded port\n")
            pipe.stdin.flush()
            assert pipe.stdout.readline() == b"through the forwarded port\n"
        took, stall = change(home, shells, lambda: home.ctl("create", "-f", input=role(f"r-{name}", EVERYWHERE, f"{{{then}}}")))
        assert max(took) < 1.0 + 6 * stall, (took, stall)
        if pipe:
            assert pipe.wait(5) is not None
            pipe.stdin.close()
    finally:
        echo.kill()
        echo.wait()
    assert all(reads in shell.text for shell in shells if shell.program == "ssh"), [shell.text for shell in shells]
    reasons = [e["reason"] for e in home.audit(type="client.disconnect", user=name)]
    assert len([r for r in reasons if reads in r]) >= len(shells), reasons
    # A right that is won, or one that he did not have and still has not, changes nothing for what runs.
    home.ctl("create", "-f", input=role(f"r-{other}", "{logins: [root, guest], node_labels: {'*': '*'}}", f"{{{then}}}"))
    never.ask()
    home.ctl("create", "-f", input=role(f"r-{other}", EVERYWHERE, f"{{{granted}}}"))
    never.ask()
    never.close()
    bystander.ask()


def test_a_locked_node_ends_its_sessions_and_tunnels(home, bystander):
    person = home.person("nodelock", roles="access", logins="root")
    node2 = next(n["metadata"]["name"] for n in home.node_list() if n["spec"]["hostname"] == "node2")
    ended, refused = [], []

    def make():
        home.wait_online("node2")
        return [Shell(person, node="node2")]

    def undo():
        wait_for(lambda: not any(n["online"] for n in home.node_list() if n["spec"]["hostname"] == "node2"), 5)
        ended.append([e for e in home.audit(type="session.end", user="nodelock")])
        for words in (("ssh", "root@node2", "true"), ("scp", "/etc/hosts", "root@node2:/tmp/x")):
            refused.append(person.tport(*words))
        for lock in json.loads(home.ctl("get", "lock", "--format=json").stdout):
            home.ctl("rm", f"lock/{lock['metadata']['name']}")

    shells = cut_at_once(home, make, lambda: home.ctl("lock", f"--server-id={node2}", "--message=maintenance"), undo)
    assert "maintenance" in shells[0].text
    assert ended[-1], "no session.end for the session of a locked node"
    for attempt in refused:
        assert attempt.returncode != 0 and "a lock is in force: maintenance" in attempt.stderr, attempt.stderr  # and not: offline
    assert f"server_id={node2}" in home.ctl("audit", "ls", "--type=lock.created").stdout
    home.wait_online("node2", timeout=60)  # it comes back by itself once the lock is gone
    bystander.ask()


def test_a_session_that_needs_others_does_not_run_alone(home, bystander):
    """require_session_join: sessions cannot be joined, so a role that wants others in them lets none begin, by any way."""
    needs = "{logins: [root], node_labels: {'*': '*'}, require_session_join: [{name: four eyes, filter: 'contains(user.spec.roles, \"auditor\")', kinds: [ssh], modes: [moderator], count: 1}]}"
    home.ctl("create", "-f", input=role("watched", needs))
    home.ctl("create", "-f", input=role("plain", EVERYWHERE))
    person = home.person("watched-one", roles="watched", logins="")
    for words in (("root@node1", "id"), ("root@node1", "-N", "-L", "127.0.0.1:39002:127.0.0.1:1")):
        refused = person.tport("ssh", *words)
        assert refused.returncode != 0 and "watched" in refused.stderr and "require_session_join" in refused.stderr, refused
    assert any(e.get("user") == "watched-one" and "require_session_join" in e.get("error", "") for e in home.audit(type="auth"))
    home.ctl("create", "-f", input=role("watched", EVERYWHERE))
    running = Shell(person)
    took, stall = change(home, [running], lambda: home.ctl("create", "-f", input=role("watched", needs)))
    assert max(took) < 1.0 + 6 * stall and "took the right" in running.text, (took, running.text)
    # Beside a role that grants the same it still counts: each role of the person must be satisfied.
    both = home.person("watched-two", roles="plain,watched", logins="")
    assert "require_session_join" in both.tport("ssh", "root@node1", "id").stderr
    bystander.ask()


@pytest.mark.parametrize("mode", ["best_effort", "strict"])
def test_nothing_new_begins_while_auth_cannot_be_asked(home, bystander, mode):
    """Whatever the locking mode: what runs goes on for a while (test_lock_view has for how long), and a lock that came counts as
    soon as auth is back."""
    home.ctl("create", "-f", input=f"kind: cluster_auth_preference\nversion: v2\nspec: {{locking_mode: {mode}}}\n")
    home.ctl("create", "-f", input=role(f"away-{mode}", EVERYWHERE))
    person = home.person(f"away-{mode.replace('_', '-')}", roles=f"away-{mode}", logins="")
    shell = Shell(person)
    [auth] = home.daemon.children("auth")
    os.kill(auth, signal.SIGSTOP)
    try:
        refused = person.tport("ssh", "root@node1", "id", timeout=60)
        assert refused.returncode != 0 and "uid=" not in refused.stdout, refused
        shell.ask()
    finally:
        os.kill(auth, signal.SIGCONT)
    wait_for(lambda: person.tport("ssh", "root@node1", "echo back").stdout == "back\n", 20)
    shell.ask()
    took, stall = change(home, [shell], lambda: home.ctl("lock", f"--role=away-{mode}", "--message=locked now"))
    assert max(took) < 1.0 + 6 * stall and "locked now" in shell.text, (took, shell.text)
    for lock in json.loads(home.ctl("get", "lock", "--format=json").stdout):
        home.ctl("rm", f"lock/{lock['metadata']['name']}")
    home.ctl("rm", "cluster_auth_preference/cluster_auth_preference")
    bystander.ask()


def test_a_cluster_setting_counts_at_once(home):
    person = home.person("expiring", roles="access", logins="root", sign_in=False)
    home.ctl("create", "-f", input=role("short", EVERYWHERE, "{max_session_ttl: 20s}"))
    home.ctl("users", "update", "expiring", "--set-roles=short")
    status, output = person.login()
    assert status == 0, output
    start = time.time()
    shell = Shell(person)
    # On while the session runs: its certificate ends it now. Off by default: it would have gone on.
    preference = ("kind: cluster_auth_preference\nversion: v2\nmetadata: {name: cluster-auth-preference}\n"
                  "spec: {type: local, second_factor: otp, disconnect_expired_cert: true}\n")
    home.ctl("create", "-f", input=preference)
    try:
        shell.watch()
        end = shell.wait()
    finally:
        home.ctl("create", "-f", input=preference.replace("true", "false"))
    assert "expired" in shell.text
    assert 10 < end - start < 30


def test_a_draining_worker_and_a_restarted_auth_still_cut(fresh):
    cluster = fresh(nodes=("node1",))
    cluster.ctl("create", "-f", input=role("r-drain", EVERYWHERE))
    person = cluster.person("drain", roles="r-drain", logins="")
    other = Shell(cluster.person("stays", roles="access", logins="root"))
    old = Shell(person)
    assert cluster.daemon.signal("reload").returncode == 0
    wait_for(lambda: "draining" in cluster.daemon.text() or "drain" in cluster.daemon.text())
    time.sleep(3)  # the agent moves its tunnels: the old worker has the session, a new one the agent's calls
    [auth] = cluster.daemon.children("auth")
    os.kill(auth, signal.SIGKILL)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0, 20)
    old.ask()
    took, stall = change(cluster, [old], lambda: cluster.ctl("lock", "--user=drain", "--message=after all"))
    assert max(took) < 1.0 + 6 * stall, (took, stall)
    assert "after all" in old.text
    other.ask()
    other.close()


def test_max_connections_counts_over_the_cluster_and_is_given_back(home):
    home.ctl("create", "-f", input=role("two", EVERYWHERE, "{max_connections: 2}"))
    person = home.person("counted", roles="two", logins="")
    first, second = Shell(person, node="node1"), Shell(person, node="node2")
    third = person.tport("ssh", "root@node1", "true")
    assert third.returncode != 0 and "2 connections open" in third.stderr, third.stderr
    first.child.kill(signal.SIGKILL)  # however it dies
    wait_for(lambda: person.tport("ssh", "root@node1", "true").returncode == 0, 10)
    second.ask()
    home.ctl("create", "-f", input=role("two", EVERYWHERE, "{max_connections: 1}"))
    assert "you have 1 connection open" in person.tport("ssh", "root@node1", "true").stderr
    second.ask()
    second.close()
    rejected = home.audit(type="session.rejected", user="counted")
    assert rejected and rejected[0]["reason"] == "max_connections"


def ssh_cert(person):
    """What ssh-keygen says about the SSH certificate of a profile."""
    [line] = list((person.home / ".tport").rglob("*-cert.pub"))
    return subprocess.run(["ssh-keygen", "-L", "-f", str(line)], capture_output=True, text=True, check=True).stdout


def test_R4_pin_source_ip_binds_a_certificate_to_its_login(home):
    home.ctl("create", "-f", input=role("loose", EVERYWHERE))
    person = home.person("pinned", roles="loose", logins="")
    elsewhere = next(h for h in ("client7", "client8") if h != person.host)
    at_home = person.host

    def from_(host, *words):
        person.host = host
        try:
            return person.tport(*words)
        finally:
            person.host = at_home

    assert from_(elsewhere, "ssh", "root@node1", "echo in").stdout == "in\n"
    assert "source-address" not in ssh_cert(person)
    # Set while a certificate without a bond is about: it is worth nothing any more, anywhere.
    home.ctl("create", "-f", input=role("loose", EVERYWHERE, "{pin_source_ip: true}"))
    for host in (at_home, elsewhere):
        refused = from_(host, "ssh", "root@node1", "true")
        assert refused.returncode != 0 and "sign in again" in refused.stderr, refused.stderr
    person.tport("logout", check=True)
    status, output = person.login()
    assert status == 0, output
    assert re.search(r"source-address 10\.77\.0\.\d+/32", ssh_cert(person))
    assert from_(at_home, "ssh", "root@node1", "echo in").stdout == "in\n"
    for words in (("ssh", "root@node1", "true"), ("ls",), ("scp", "/etc/hostname", "root@node1:/tmp/pinned")):
        refused = from_(elsewhere, *words)
        assert refused.returncode != 0 and "address" in refused.stderr, (words, refused.stderr)


def test_max_sessions_bounds_the_channels_of_one_connection(home):
    home.ctl("create", "-f", input=role("narrow", EVERYWHERE, "{max_sessions: 1}"))
    person = home.person("narrow", roles="narrow", logins="")
    path = person.home / "mux"
    master = person.spawn(BIN / "tport", "ssh", "-o", "ControlMaster=yes", "-o", f"ControlPath={path}", "root@node1", "echo in-$((1+1)); sleep 60")
    master.expect("in-2")
    second = person.run("ssh", "-o", f"ControlPath={path}", "root@node1", "echo second")
    assert "second" not in second.stdout
    rejected = wait_for(lambda: home.audit(type="session.rejected", user="narrow"))
    assert rejected[0]["reason"] == "max_sessions" and rejected[0]["max"] == 1
    master.close(force=True)
