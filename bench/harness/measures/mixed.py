"""Everything at once, again and again: new connections, SSH sessions, relayed bytes, slow clients, agents that join, come, go and are removed. After
each round, when nothing runs, memory and descriptors of every process are looked at; timers that were left behind would show as wake-ups of an idle
process. What is remembered for a fixed time fills up first: sessions for half a minute after their end, used grants for a minute."""

import contextlib
import json
import os
import pathlib
import subprocess
import time

from harness.fleet import Agents, keys, server_name
from harness.measures.requests import assets
from harness.measures.sessions import through_tport
from harness.place import memory_of
from harness.report import median
from harness.servers import Tport, run_json, tool

NAME = "mixed"
BUDGET_S = 215
ABOUT = "a mixed load in rounds for 170 s (24 s without --full; --long=N): memory, descriptors and wake-ups must not creep up"
ONLY_FULL = True  # or by its name
SECONDS = {True: 170, False: 24}
WARM_S = {True: 70, False: 0}  # of these, until what is remembered for a minute is full
IDLE_S = 3  # for counting wake-ups
# Memory may creep by 1 %, or by so much where a process has less than 6 MB of its own: half of what the smallest allocation would be, lost once for
# each of the connections and sessions of the rounds that are compared, and more than what a busier half minute leaves for half a minute.
CREEP_KB = 64


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


def look(who):
    """{name: (KB, descriptors)}; memory of their own: pages of a store that grows are the system's to keep or to drop."""
    return {name: (sum(memory_of(pid)["anonymous"] for pid in pids), sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)) for name, pids in who.items()}


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
            answers = [run_json([tool("handshakes"), self.target, "--alpn=http/1.1", f"--request={self.path}", "--rate=200", "--seconds=1"], self.place, 60),
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
    """Of the last third beside the first: (KB, percent, descriptors). Of memory the least that there was: what is in use at one look and free at the
    next has not crept up."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    memory = [min(s[0] for s in part) for part in (first, last)]
    return memory[1] - memory[0], 100 * (memory[1] / memory[0] - 1), median([s[1] for s in last]) - median([s[1] for s in first])


def run(place, report, full):
    ours = place.keep(Tport(place, nodes=("node1",), own_cert=True))
    person = ours.cluster.person("bench", logins="root")
    fleet = Agents(place, ours.cluster, 1)
    fleet.wait_up()
    ours.cluster.wait_online("load0")
    who = processes(ours, ours.cluster.nodes["node1"])
    load = Load(place, ours, person)
    load.round(0)  # what is made once and for all
    time.sleep(2)
    calm = idle_wake_ups(who)
    samples, number, begin = [], 0, time.monotonic()
    while (now := time.monotonic()) < begin + SECONDS[full]:
        number += 1
        load.round(number)
        time.sleep(1.5)
        sample = look(who)
        if now >= begin + WARM_S[full]:
            samples.append(sample)
    later = idle_wake_ups(who)
    gone = [name for name, pids in who.items() for pid in pids if not os.path.exists(f"/proc/{pid}")]
    if gone:
        raise RuntimeError(f"ended during the run: {', '.join(gone)}")
    note = f"{number} rounds: {load.connections} connections, {load.sessions} SSH sessions, {load.bytes / 1e9:.1f} GB, {20 * number} agents"
    for name in who:
        kilobytes, percent, descriptors = creep([sample[name] for sample in samples])
        report.row(NAME, f"{name}: memory, last third and first", percent, unit="%", bar=f"<= 1, or {CREEP_KB} KB" if full else "", met=percent <= 1 or kilobytes <= CREEP_KB if full else None,
                   note=f"{kilobytes:+.0f} KB of {samples[0][name][0] / 1024:.1f} MB; {descriptors:+.0f} descriptors; idle wake-ups a second {calm[name]:.1f} before, {later[name]:.1f} after; {note}")
        report.row(NAME, f"{name}: descriptors, last third and first", descriptors, unit="", bar="0", met=descriptors <= 0)
        note = "as above"
