"""SSH through proxy, tunnel and node, beside the same client and a plain sshd: the time of one command, bulk both ways,
keystrokes beside a bulk transfer, memory. New sessions per second are in sessions.py."""

import contextlib
import os
import pathlib
import subprocess
import time

from harness.place import ADDRESS, Process, cpu_with_ended, free_port, memory_of, need, tree, wait_port
from harness.report import median
from harness.servers import Tport

NAME = "ssh"
BUDGET_S = 90
ABOUT = "ssh node true, bulk both ways, keystrokes beside a bulk transfer, memory per session; with a plain sshd"
CIPHER = "aes128-gcm@openssh.com"


class Way:
    """roots: the servers' processes; words: what goes before the command."""

    def __init__(self, name, roots, port, words, env):
        self.name, self.roots, self.port, self.words, self.env = name, roots, port, words, env

    def run(self, *command, **more):
        result = subprocess.run([*self.words, *command], env=self.env, timeout=120, check=False, stderr=subprocess.PIPE, **{"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL, **more})
        if result.returncode != 0:
            raise RuntimeError(f"ssh through {self.name}: {result.stderr.decode(errors='replace')[-300:]}")

    def cpu(self):
        """Of the servers, with what they have started."""
        return cpu_with_ended([pid for root in self.roots() for pid in tree(root)])

    def open(self, *command, **more):
        return subprocess.Popen([*self.words, *command], env=self.env, stderr=subprocess.DEVNULL, **more)


def start_sshd(place):
    need("/usr/sbin/sshd", "ssh", "ssh-keygen")
    os.makedirs("/run/sshd", exist_ok=True)
    folder, port = place.folder, free_port()
    for name in ("hostkey", "userca", "userkey"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", folder / "userca", "-I", "bench", "-n", "root", "-V", "+1h", folder / "userkey.pub"], check=True)
    conf = folder / "sshd_config"
    # Tuned for the number of sessions: no waiting list, no name lookups, no PAM (tport's node has none here either).
    conf.write_text(f"ListenAddress {ADDRESS}:{port}\nHostKey {folder}/hostkey\nTrustedUserCAKeys {folder}/userca.pub\nAuthorizedKeysFile none\nPidFile {folder}/sshd.pid\nStrictModes no\n"
                    "UsePAM no\nUseDNS no\nPasswordAuthentication no\nMaxStartups 1000\nMaxSessions 1000\nPermitRootLogin yes\nPrintMotd no\n")
    sshd = place.keep(Process(["/usr/sbin/sshd", "-D", "-e", "-f", conf], folder / "sshd.log"))
    wait_port(port)
    return Way("sshd", lambda: [sshd.pid], port, ["ssh", "-F", "none", "-i", str(folder / "userkey"), "-o", f"UserKnownHostsFile={folder}/known", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                        "-c", CIPHER, "-p", str(port), f"root@{ADDRESS}"], dict(os.environ))


def through_tport(ours, person):
    cluster = ours.cluster
    config = person.home / "ssh_config"
    config.write_text(person.tport("config", check=True).stdout)
    return Way("tport", lambda: [cluster.daemon.process.pid, cluster.nodes["node1"].process.pid], ours.port, ["ssh", "-F", str(config), "-o", "LogLevel=ERROR", "-c", CIPHER, f"root@node1.{cluster.name}"], person.env())


def timed(act):
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def one_command(report, ways, rounds):
    times = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            times[way.name].append(timed(lambda way=way: way.run("true")) * 1000)
    for percent, most in ((50, 2), (99, 10)):
        ours, theirs = (percentile(times[way.name], percent) for way in ways)
        report.row(NAME, f"ssh node true, p{percent} of {rounds}", ours, theirs, "sshd", "ms", ours / theirs, f"<= +{most} ms", ours - theirs <= most)


def bulk(report, ways, rounds, megabytes):
    """By the clock it is also a matter of how soon six processes get their turn: OpenSSH's window is full after 2 MB. The processor time is not."""
    size = megabytes * 1000 * 1000
    for word, act in (("down", lambda way: way.run(f"head -c {size} /dev/zero")), ("up", lambda way: way.run("cat >/dev/null", stdin=zeros(size)))):
        rates, used = {way.name: [] for way in ways}, {way.name: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                before = way.cpu()
                rates[way.name].append(megabytes / timed(lambda way=way, act=act: act(way)))
                used[way.name].append((way.cpu() - before) / megabytes * 1000)
        ratio = median([a / b for a, b in zip(*(rates[way.name] for way in ways))])
        cost = median([a / b for a, b in zip(*(used[way.name] for way in ways))])
        report.row(NAME, f"SSH bulk {word}, {megabytes} MB", median(rates["tport"]), median(rates["sshd"]), "sshd", "MB/s", ratio, ">= 0.8", ratio >= 0.8)
        report.row(NAME, f"SSH bulk {word}, worker, agent and session", median(used["tport"]), median(used["sshd"]), "sshd", "CPU s per GB", cost)


def zeros(size):
    source = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
    return source.stdout


def keystrokes(report, ways, rounds):
    """A line there and back through one session, while another one pulls as much as it can through the same tunnel."""
    times = {}
    for way in ways:
        flood = way.open("cat /dev/zero", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        shell = way.open("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            found = []
            for i in range(rounds + 5):
                begin = time.perf_counter()
                shell.stdin.write(b"x\n")
                shell.stdin.flush()
                if shell.stdout.readline() != b"x\n":
                    raise RuntimeError(f"the shell through {way.name} ended")
                if i >= 5:
                    found.append((time.perf_counter() - begin) * 1000)
                time.sleep(0.01)
            times[way.name] = found
        finally:
            for process in (flood, shell):
                process.kill()
                process.wait()
    for percent in (50, 99):
        report.row(NAME, f"keystroke beside a bulk transfer, p{percent}", percentile(times["tport"], percent), percentile(times["sshd"], percent), "sshd", "ms",
                   percentile(times["tport"], percent) / percentile(times["sshd"], percent))


def memory(report, way, node, count):
    agent = list(node.children("agent"))[0]
    idle = memory_of(agent)["rss"] / 1024
    report.row(NAME, "agent, resident", idle, unit="MB", bar="<= 12", met=idle <= 12)
    clients = [way.open("sleep 600", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        end = time.monotonic() + 60
        while len(shells(agent)) < count and time.monotonic() < end:
            time.sleep(0.2)
        if len(shells(agent)) < count:
            raise RuntimeError(f"only {len(shells(agent))} of {count} sessions came up")
        own = [pid for pid in tree(agent) if pathlib.Path(f"/proc/{pid}/exe").resolve().name == "tport-session"]
        each = sum(memory_of(pid)["pss"] for pid in own) / 1024 / count
        report.row(NAME, f"memory per SSH session, {count} of them", each, unit="MB", bar="< 3", met=each < 3, note="tport-session's processes, shared pages divided among those who share them")
    finally:
        for client in clients:
            client.kill()
            client.wait()


def shells(agent):
    found = []
    for pid in tree(agent):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
                found.append(pid)
    return found


def run(place, report, full):
    ours = place.keep(Tport(place, nodes=("node1",), own_cert=True))
    person = ours.cluster.person("bench", logins="root")
    ways = [through_tport(ours, person), start_sshd(place)]
    for way in ways:
        way.run("true")
    one_command(report, ways, 100 if full else 20)
    bulk(report, ways, 5 if full else 2, 200 if full else 50)
    keystrokes(report, ways, 200 if full else 50)
    memory(report, ways[0], ours.cluster.nodes["node1"], 30 if full else 5)
