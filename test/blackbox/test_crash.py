"""SIGKILL of each process while people sign in, are invited and work: what was acknowledged is there afterwards, and the
service comes back by itself."""

import datetime
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pexpect
import pytest

from tport import BIN, Cluster, wait_for

PEOPLE = 6
# How long an acknowledgement may take after a kill: back-off of the agent, a person's next code, a loaded machine.
BACK = 150


def descendants(pid, name="tport-session"):
    """{pid: words of the command line} of the processes below pid that are called name, at any depth."""
    parents, words = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                words[int(entry.name)] = [w.decode() for w in (entry / "cmdline").read_bytes().split(b"\0")]
            except OSError:
                continue

    def below(one):
        while one in parents:
            one = parents[one]
            if one == pid:
                return True
        return False

    return {p: w for p, w in words.items() if below(p) and os.path.basename(w[0]) == name}


def kill(pids):
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Load:
    """Threads that do what people do, and keep what they were told had been done: (who, from, to) or a name."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.stop = threading.Event()
        self.done = {"login": [], "web": [], "user": [], "ssh": []}
        self.failed = []  # what tport login said when it did not let somebody in
        self.counter = 0
        self.people = [self.enrol(f"crash{i}") for i in range(PEOPLE)]
        half = PEOPLE // 2
        self.worker_person = self.people[0]
        status, output = self.worker_person.login()
        assert status == 0, output
        self.threads = [threading.Thread(target=self.loop, args=(step,)) for step in
                        (self.login(self.people[1:half]), self.web(self.people[half:]), self.invite(), self.ssh())]
        for thread in self.threads:
            thread.start()

    def enrol(self, name):
        person = self.cluster.person(name, enrol=False)
        person.host = name  # an address of one's own: this is not about limits per address
        reply = person.accept(person.url)
        assert reply.status == 200, reply.text
        return person

    def loop(self, steps):
        for kind, what in steps:
            if what is not None:
                self.done[kind].append(what)
            if self.stop.is_set():
                return

    def free(self, people):
        """Somebody whose next code is good now, or None."""
        now = int(time.time()) // 30
        return next((p for p in people if max(now, p.used_step + 1) <= now + 1), None)

    def login(self, people):
        while True:
            person, began = self.free(people), time.time()
            if person is None:
                time.sleep(0.3)
                yield "login", None
                continue
            person.tport("logout")
            try:
                status, said = person.login()
            except pexpect.ExceptionPexpect as error:
                status, said = -1, str(error)  # the prompt did not come: the proxy was away
            if status != 0:
                self.failed.append(said)
            yield "login", (person.name, began, time.time()) if status == 0 else None

    def web(self, people):
        while True:
            person, began = self.free(people), time.time()
            if person is None:
                time.sleep(0.3)
                yield "web", None
                continue
            body = {"user": person.name, "pass": person.password, "second_factor_token": person.code()}
            reply = person.run("curl", "-sk", "--max-time", "20", "-w", "\n%{http_code}", "-H", "Content-Type: application/json",
                               "-d", json.dumps(body), f"https://{self.cluster.proxy}/webapi/sessions/web")
            good = reply.returncode == 0 and reply.stdout.endswith("\n200")
            yield "web", (person.name, began, time.time()) if good else None

    def invite(self):
        while True:
            self.counter += 1
            name = f"u{self.counter}"
            try:
                good = self.cluster.ctl("users", "add", name, "--roles=access", check=False).returncode == 0
            except subprocess.TimeoutExpired:
                good = False
            time.sleep(0.4)
            yield "user", name if good else None

    def ssh(self):
        number = 0
        while True:
            number += 1
            word = f"work-{number}-{os.getpid()}"
            try:
                good = self.worker_person.tport("ssh", "root@node1", f"echo {word}", timeout=60).stdout == word + "\n"
            except subprocess.TimeoutExpired:
                good = False
            time.sleep(0.3)
            yield "ssh", word if good else None

    def counts(self):
        return {kind: len(made) for kind, made in self.done.items()}

    def wait_more(self, kinds=("login", "web", "user", "ssh")):
        """Each kind has been acknowledged again: the service is back."""
        before = self.counts()
        try:
            wait_for(lambda: all(self.counts()[kind] > before[kind] + (kind in ("user", "ssh")) for kind in kinds), BACK)
        except AssertionError as error:
            raise AssertionError(f"{before} -> {self.counts()}; logins: {self.failed[-2:]}") from error

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self.threads), "somebody hangs"

    def check(self):
        """Nothing acknowledged is lost, and the log proves itself."""
        cluster = self.cluster
        done = {kind: list(made) for kind, made in self.done.items()}  # before the log is read: more is done meanwhile
        events = [json.loads(line) for path in sorted((cluster.daemon.data / "auth").rglob("log/*.log"))
                  if not path.is_symlink() for line in path.read_text().splitlines()]
        logins = [(e["user"], when(e["time"])) for e in events if e["event"] == "user.login" and e["success"]]
        for kind in ("login", "web"):
            for who, began, ended in done[kind]:
                assert any(user == who and began - 2 <= at <= ended + 2 for user, at in logins), \
                    f"{who} was let in between {began} and {ended}, and the log does not know it"
        certs = sum(1 for e in events if e["event"] == "cert.create" and e.get("user", "").startswith("crash"))
        assert certs >= len(done["login"])
        created = {e.get("name") for e in events if e["event"] == "user.create"}
        users = {u["metadata"]["name"] for u in json.loads(cluster.ctl("users", "ls", "--format=json").stdout)}
        invited = set(done["user"])
        assert invited <= created and invited <= users, (invited - created, invited - users)
        started = json.dumps([e for e in events if e["event"] == "session.start"])
        assert not [w for w in done["ssh"] if w not in started]
        key = cluster.ctl("audit", "checkpoint", "--key").stdout.strip()
        verdict = subprocess.run([str(BIN / "tportctl"), "audit", "verify", str(cluster.daemon.data / "auth" / "audit"),
                                  f"--key={key}"], capture_output=True, text=True, timeout=60, check=False)
        assert verdict.returncode == 0, verdict.stderr


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.fixture(scope="module")
def busy():
    cluster = Cluster(nodes=("node1",))
    try:
        cluster.load = Load(cluster)
        yield cluster
        cluster.load.finish()
    finally:
        cluster.load.stop.set()
        cluster.close()


@pytest.mark.parametrize("role", ["auth", "worker"])
def test_kill_9_during_logins(busy, role):
    for _ in range(3):
        kill(busy.daemon.children(role))
        time.sleep(1.5)
    busy.load.wait_more()
    busy.load.check()


def test_kill_9_of_the_agent(busy):
    for _ in range(2):
        old = busy.nodes["node1"].children("agent")
        sessions = descendants(next(iter(old)))
        kill(old)
        wait_for(lambda: busy.nodes["node1"].children("agent").keys() - old.keys())
        wait_for(lambda: not [p for p in sessions if alive(p)], 30)  # no session outlives its agent
    busy.load.wait_more(("ssh",))
    busy.load.check()


@pytest.mark.parametrize("half", ["monitor", "net"])
def test_kill_9_of_a_session(busy, half):
    """One connection ends, with its programs and a reason in the log; no other one is touched."""
    person = busy.load.worker_person
    agent = next(iter(busy.nodes["node1"].children("agent")))
    mark = f"sleep {40000 + os.getpid() % 9000 + len(half)}"
    other = person.spawn(BIN / "tport", "ssh", "root@node1")
    other.sendline("echo other-$((20+3))")
    other.expect("other-23")
    kept = descendants(agent)
    client = subprocess.Popen(busy.net.prefix(person.host) + [str(BIN / "tport"), "ssh", "root@node1", mark], env=person.env(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def running():
        return [int(p) for p in subprocess.run(["pgrep", "-f", f"^{mark}$"], capture_output=True, text=True, check=False).stdout.split()]

    program = wait_for(running)[0]
    words = "monitor" if half == "monitor" else "net"
    chain, pid = [], program
    while pid != agent:
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        chain.append(pid)
    monitor = chain[-2]  # the agent's own child
    target = monitor if half == "monitor" else next(p for p, w in descendants(monitor).items() if words in w)
    assert target not in kept
    kill([target])
    assert client.wait(40) == 255
    wait_for(lambda: not running(), 40)
    wait_for(lambda: not alive(monitor), 40)
    other.sendline("echo still-$((40+2)); exit")
    other.expect("still-42")
    wait_for(lambda: any(mark in json.dumps(e) and e["event"] == "session.start" for e in busy.audit(limit=300)))
    start = next(e for e in busy.audit(limit=300) if e["event"] == "session.start" and mark in json.dumps(e))
    wait_for(lambda: any(e["event"] == "session.end" and e["sid"] == start["sid"] for e in busy.audit(limit=300)))
    assert next(iter(busy.nodes["node1"].children("agent"))) == agent
    busy.load.wait_more(("ssh",))
    busy.load.check()


@pytest.mark.parametrize("which", ["proxy", "node1"])
def test_kill_9_of_master(busy, which):
    """Nothing that it started stays behind; started again, as systemd does, it serves."""
    daemon = busy.daemon if which == "proxy" else busy.nodes[which]
    children = list(daemon.children())
    sessions = [s for c in children for s in descendants(c)]
    kill([daemon.master_pid()])
    daemon.process.wait(10)
    wait_for(lambda: not [p for p in children + sessions if alive(p)], 30)
    daemon.start()
    busy.load.wait_more(("ssh",) if which == "node1" else ("login", "web", "user", "ssh"))
    busy.load.check()


def test_kill_9_of_everything_at_once(busy):
    kill([*busy.daemon.children(), busy.daemon.master_pid()])
    busy.daemon.process.wait(10)
    busy.daemon.start()
    busy.load.wait_more()
    busy.load.finish()
    busy.load.check()
