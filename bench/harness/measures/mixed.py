"""Everything at once, again and again: new connections, SSH sessions, relayed bytes, slow clients, agents that join, come, go and are removed. After
each round, when nothing runs, memory and descriptors of every process are looked at; timers that were left behind would show as wake-ups of an idle
process. What is remembered for a fixed time fills up first: sessions for half a minute after their end, used grants for a minute.

Memory is looked at in two ways. What is in use, which the C library counts (asked by gdb): that must not grow with the number of connections. And what
the process has taken from the system, which is more: a page stays as long as one block on it is in use, and which blocks share a page is chance. It
grows until that has found its level, so the bar for it is the one of an idle process."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

from harness.fleet import Agents, keys, server_name
from harness.measures.requests import assets
from harness.measures.sessions import through_tport
from harness.place import memory_of, need
from harness.report import median
from harness.servers import Tport, run_json, tool

NAME = "mixed"
BUDGET_S = 205
ABOUT = "a mixed load in rounds for 160 s (24 s without --full; --long=N): memory, descriptors and wake-ups must not creep up"
ONLY_FULL = True  # or by its name
SECONDS = {True: 160, False: 24}
ROUNDS_LEAST = 3  # to compare
WARM_S = {True: 70, False: 0}  # of these, until what is remembered for a minute is full
IDLE_S = 3  # for counting wake-ups
# For each connection and session between the thirds that are compared: half of the smallest block that the C library gives. Or so much in all, which is
# less than what has its level and no more: the C library's seven free blocks of each size, the store's pages for the largest commit.
CREEP_BYTES, CREEP_KB = 16, 64
TAKEN_MB = 12  # as design allows an idle worker and an idle agent
COUNTED = ("worker", "auth", "agent")


def processes(ours, node):
    """{name: [pid]} of what lives long."""
    found = {}
    for daemon, where in ((ours.cluster.daemon, "proxy"), (node, "node")):
        found[f"{where}'s master"] = [daemon.master_pid()]
        for pid, role in daemon.children().items():
            found.setdefault(f"{where}'s {role}", []).append(pid)
    return found


def wake_ups(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(pathlib.Path(f"/proc/{pid}/status").read_text().split("nvoluntary_ctxt_switches")[0].split("voluntary_ctxt_switches:")[1].split()[0])
    return total


def idle_wake_ups(who):
    """{name: a second}."""
    before = {name: wake_ups(pids) for name, pids in who.items()}
    time.sleep(IDLE_S)
    return {name: (wake_ups(pids) - before[name]) / IDLE_S for name, pids in who.items()}


def in_use(pid, log):
    """Bytes that the C library has given out in this process, which tells them in its log."""
    before = log.stat().st_size
    done = subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-ex", "call (void)malloc_stats()"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    told = re.findall(rb"in use bytes\s*=\s*(\d+)", log.read_bytes()[before:])
    if not told:
        raise RuntimeError(f"gdb could not ask process {pid} for its memory: {done.stderr[-300:]}")
    return int(told[-1])  # of all pools together


def look(who, logs):
    """{name: (bytes in use, KB taken, descriptors)}; taken for itself: pages of a store that grows are the system's to keep or to drop."""
    return {name: (sum(in_use(pid, logs[name]) for pid in pids) if name.endswith(COUNTED) else 0, sum(memory_of(pid)["anonymous"] for pid in pids),
                   sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)) for name, pids in who.items()}


class Load:
    def __init__(self, place, ours, person):
        self.place, self.ours = place, ours
        self.path = assets(ours)[-1][0]
        self.ssh = through_tport(ours, person).words
        cert, key = keys(person)
        self.relay = [f"--target={ours.cluster.proxy}", f"--cert={cert}", f"--key={key}", "--alpn=tport-ssh", f"--server-name={server_name('load0', ours.cluster)}"]
        self.target = f"--target=127.0.0.1:{ours.port}"
        self.connections = self.sessions = self.bytes = 0

    def round(self, number):
        coming = Agents(self.place, self.ours.cluster, 20, prefix=f"round{number % 2}-", heartbeat=False)
        coming.wait_up(60)
        slow = subprocess.Popen([str(tool("slow")), self.target, f"--kind={('hello', 'tls', 'head', 'body', 'read')[number % 5]}", "--alpn=http/1.1", "--connections=100", f"--path={self.path}", "--seconds=60"],
                                stdout=subprocess.DEVNULL)
        try:
            answers = [run_json([tool("handshakes"), self.target, "--alpn=http/1.1", f"--request={self.path}", "--rate=500", "--seconds=1"], self.place, 60),
                       run_json([tool("sshload"), *self.ssh, "--at-once=4", "--seconds=1"], self.place, 120)]
            for answer in answers:
                if answer["failed"]:
                    raise RuntimeError(f"of the load {answer['failed']} failed: {answer['why']}")
            self.connections += answers[0]["done"]
            self.sessions += answers[1]["done"]
            for mode in "SG":
                self.bytes += run_json([tool("relay"), *self.relay, "--streams=8", f"--mode={mode}", "--seconds=0.5"], self.place, 60)["total"]
        finally:
            slow.kill()
            slow.wait()
            self.place.open.remove(coming)
            coming.stop()
        self.remove(coming.prefix)

    def remove(self, prefix):
        """A host that has gone stays registered until somebody removes it; what grows with those is no creep."""
        for node in json.loads(self.ours.cluster.ctl("nodes", "ls", "--format=json").stdout):
            if node["spec"]["hostname"].startswith(prefix):
                self.ours.cluster.ctl("rm", f"node/{node['metadata']['name']}")


def creep(samples):
    """The least of the first third and of the last one, for bytes in use and for KB taken, and how many descriptors more: what is in use at one look
    and free at the next has not crept up."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    return [[min(s[i] for s in part) for part in (first, last)] for i in (0, 1)], median([s[2] for s in last]) - median([s[2] for s in first])


def between(counts):
    """How many came between the middle of the first third and that of the last one."""
    third = max(1, len(counts) // 3)
    return max(1, median(counts[-third:]) - median(counts[:third]))


def run(place, report, full):
    need("gdb")
    ours = place.keep(Tport(place, nodes=("node1",), own_cert=True))
    person = ours.cluster.person("bench", logins="root")
    fleet = Agents(place, ours.cluster, 1)
    fleet.wait_up()
    ours.cluster.wait_online("load0")
    node = ours.cluster.nodes["node1"]
    who = processes(ours, node)
    logs = {name: (node if name.startswith("node") else ours.cluster.daemon).log for name in who}
    load = Load(place, ours, person)
    load.round(0)  # what is made once and for all
    time.sleep(2)
    calm = idle_wake_ups(who)
    samples, counts, number, begin = [], [], 0, time.monotonic()
    while (now := time.monotonic()) < begin + SECONDS[full] or len(samples) < ROUNDS_LEAST:
        number += 1
        load.round(number)
        time.sleep(1.5)
        if now >= begin + WARM_S[full]:
            samples.append(look(who, logs))
            counts.append(load.connections + load.sessions)
    later = idle_wake_ups(who)
    gone = [name for name, pids in who.items() for pid in pids if not os.path.exists(f"/proc/{pid}")]
    if gone:
        raise RuntimeError(f"ended during the run: {', '.join(gone)}")
    note = f"{number} rounds: {load.connections} connections, {load.sessions} SSH sessions, {load.bytes / 1e9:.1f} GB, {20 * number} agents"
    many = between(counts)
    for name in who:
        (used, taken), descriptors = creep([sample[name] for sample in samples])
        if name.endswith(COUNTED):
            each = (used[1] - used[0]) / many
            report.row(NAME, f"{name}: in use more, for each connection", each, unit="bytes", bar=f"<= {CREEP_BYTES}, or {CREEP_KB} KB" if full else "",
                       met=each <= CREEP_BYTES or used[1] - used[0] <= CREEP_KB * 1024 if full else None,
                       note=f"{used[0] / 1024:.0f} KB in the first third, {used[1] / 1024:.0f} KB in the last one, {many:.0f} connections and sessions later; {note}",
                       bytes_in_use=[sample[name][0] for sample in samples], connections=counts)
            note = "as above"
        report.row(NAME, f"{name}: taken from the system, last third", taken[1] / 1024, unit="MB", bar=f"<= {TAKEN_MB}", met=taken[1] <= TAKEN_MB * 1024,
                   note=f"{taken[1] - taken[0]:+.0f} KB since the first third; idle wake-ups a second {calm[name]:.1f} before, {later[name]:.1f} after",
                   kilobytes=[sample[name][1] for sample in samples])
        report.row(NAME, f"{name}: descriptors, last third and first", descriptors, unit="", bar="0", met=descriptors <= 0)
