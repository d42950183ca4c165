"""Everything at once, again and again: new connections, SSH sessions, relayed bytes, slow clients, agents that join, come, go and are removed. Memory,
descriptors, timers and wake-ups of every process are looked at twice, when nothing runs: after some rounds that make what is made once, and after the
rounds that count.

Before each look all is quiet for so long that what is remembered for a time is forgotten: sessions half a minute after their end (2 KB each in auth),
used grants after a minute; and then one more session comes, after which the tables are small again. While it runs, what is in use follows the load of
the last minute, so that a leak could hide in it and a steady process could seem to grow: auth was seen to grow by 31 bytes a connection in one run, by
12 in another, and to shrink beside other work.

Memory is looked at in two ways. What is in use, which the C library counts (asked by gdb): that must not grow with the number of connections. It takes
the free blocks that a thread keeps for itself, up to seven of each size, for used ones; how many those are is chance, so they are not counted here. Nor
are the blocks that LMDB keeps, one for each page of its largest commit so far, which have a row of their own. And what the process has taken from the system, which is more: a page stays as long as one block on it is in use, and which blocks share a page is chance. It
grows until that has found its level, so the bar for it is the one of an idle process."""

import contextlib
import json
import os
import pathlib
import re
import struct
import subprocess
import time

from harness.fleet import Agents, keys, server_name
from harness.measures.requests import assets
from harness.measures.sessions import through_tport
from harness.place import memory_of, need
from harness.servers import Tport, run_json, tool

NAME = "mixed"
BUDGET_S = 230
ABOUT = "a mixed load in rounds for 54 s (16 s without --full; --long=N): memory, descriptors and wake-ups must not creep up"
ONLY_FULL = True  # or by its name
SECONDS = {True: 54, False: 16}
WARM_S = 60  # and no more than a third of these are not counted
CALM_S = {True: 61, False: 2}  # a used grant is remembered for a minute
REST_S = 4  # and that one session has been written to the end
IDLE_S = 3  # for counting wake-ups
HANDSHAKES_S, SSH_S = 2, 4  # of each round
AT_ONCE = 8  # SSH sessions; more in the first round, so that queues are as large as they will be
# For each thing that the process has to do with: half of the smallest block that the C library gives. Or so much in all, for what has its level and no
# more: the queue of a tunnel that carried bulk (64 KB at most, or none).
CREEP_BYTES, CREEP_KB = 16, {"worker": 64, "auth": 16, "agent": 16}
TAKEN_MB = 12  # as design allows an idle worker and an idle agent
STORE_MB = 4  # what LMDB keeps: a thousand pages in one commit
COUNTED = {"worker": "connections and sessions", "auth": "sessions and joins", "agent": "sessions"}
# Where the loop of each is, for gdb.
LOOPS = {"master": ("master_run", "master.loop"), "worker": ("worker_main", "worker->loop"), "auth": ("auth_main", "process.loop"), "agent": ("agent_main", "agent.loop")}
# A block of the C library: its size stands in its second word, whose last bit says whether the block before it is in use. LMDB's are of 4 KB and that head.
WORD, PAGE_BLOCK = struct.Struct("<Q"), 4096 + 16
# What a thread of glibc keeps: the head of the block that says so, its counts and pointers, and how many of a size at most.
KEPT_HEAD, KEPT_SIZES, KEPT, KEPT_EACH = re.compile(rb"[\x91\x95]\x02\0{6}"), 64, struct.Struct("<64H64Q"), 7


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


def kept_free(pid):
    """Bytes of the free blocks that the threads of glibc keep for themselves. Each has a block that says how many of each size, and where they begin."""
    kept = threads = 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split()
            if words[1] != "rw-p" or words[5:] not in ([], ["[heap]"]):
                continue
            begin, end = (int(number, 16) for number in words[0].split("-"))
            memory.seek(begin)
            data = memory.read(end - begin)
            for found in re.finditer(KEPT_HEAD, data):
                if found.start() % 16 != 8 or found.end() + KEPT.size > len(data):
                    continue
                words = KEPT.unpack_from(data, found.end())
                counts, firsts = words[:KEPT_SIZES], words[KEPT_SIZES:]
                if max(counts) <= KEPT_EACH and all((count > 0) == (first > 0) for count, first in zip(counts, firsts)):
                    kept += sum(count * (32 + 16 * i) for i, count in enumerate(counts))
                    threads += 1
    if not threads:
        raise RuntimeError(f"process {pid} has no heap of the C library that is known here (glibc 2.30 and later)")
    return kept


def store_keeps(pid):
    """Bytes of the blocks that LMDB keeps for its next commits: all of that size, of the process' main pool."""
    heap = next(line.split()[0] for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith("[heap]"))
    begin, end = (int(number, 16) for number in heap.split("-"))
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(begin)
        data = memory.read(end - begin)

    def head(block):
        return WORD.unpack_from(data, block + WORD.size)[0]
    kept, block = 0, 0
    while (size := head(block) & ~7) >= 32 and block + size + 2 * WORD.size <= len(data):
        if size == PAGE_BLOCK and head(block + size) & 1:
            kept += size
        block += size
    return kept


def gdb(pid, *commands):
    words = ["gdb", "-q", "-nx", "-batch", "-p", str(pid)]
    done = subprocess.run(words + [word for command in commands for word in ("-ex", command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.stderr[-300:]


def in_use(pid, log):
    """Bytes that the C library has given out in this process, which tells them in its log."""
    before = log.stat().st_size
    why = gdb(pid, "call (void)malloc_stats()")[1]
    told = re.findall(rb"in use bytes\s*=\s*(\d+)", log.read_bytes()[before:])
    if not told:
        raise RuntimeError(f"gdb could not ask process {pid} for its memory: {why}")
    return int(told[-1]) - kept_free(pid)  # of all pools together


def timers(pid, kind):
    """How many run in this process' loop."""
    function, loop = LOOPS[kind]
    told, why = gdb(pid, f"frame function {function}", f"print {loop}->uv.timer_heap.nelts")
    found = re.search(r"^\$1 = (\d+)$", told, re.MULTILINE)
    if not found:
        raise RuntimeError(f"gdb could not ask process {pid} for its timers: {why}")
    return int(found[1])


def role(name):
    return name.rsplit(" ", 1)[1]


class Look:
    """What all processes have at a moment when all has been quiet for long enough."""

    def __init__(self, who, logs):
        self.wakes = idle_wake_ups(who)
        # Taken for itself: pages of a store that grows are the system's to keep or to drop.
        self.taken = {name: sum(memory_of(pid)["anonymous"] for pid in pids) for name, pids in who.items()}
        self.descriptors = {name: sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids) for name, pids in who.items()}
        self.timers = {name: sum(timers(pid, role(name)) for pid in pids) for name, pids in who.items()}
        self.store = {name: sum(map(store_keeps, pids)) for name, pids in who.items() if role(name) == "auth"}
        self.used = {name: sum(in_use(pid, logs[name]) for pid in pids) - self.store.get(name, 0) for name, pids in who.items() if role(name) in COUNTED}


class Load:
    def __init__(self, place, ours, person):
        self.place, self.ours = place, ours
        self.path = assets(ours)[-1][0]
        self.ssh = through_tport(ours, person).words
        cert, key = keys(person)
        self.relay = [f"--target={ours.cluster.proxy}", f"--cert={cert}", f"--key={key}", "--alpn=tport-ssh", f"--server-name={server_name('load0', ours.cluster)}"]
        self.target = f"--target=127.0.0.1:{ours.port}"
        self.rounds = self.connections = self.sessions = self.joins = self.bytes = 0

    def run(self, seconds):
        """Rounds that take so long together, to half a round."""
        begin = now = time.monotonic()
        took = 0
        while now + took / 2 < begin + seconds:
            self.round(self.rounds)
            self.rounds += 1
            took, now = time.monotonic() - now, time.monotonic()

    def round(self, number):
        coming = Agents(self.place, self.ours.cluster, 20, prefix=f"round{number % 2}-", heartbeat=False)
        coming.wait_up(60)
        self.joins += coming.count
        slow = subprocess.Popen([str(tool("slow")), self.target, f"--kind={('hello', 'tls', 'head', 'body', 'read')[number % 5]}", "--alpn=http/1.1", "--connections=100", f"--path={self.path}", "--seconds=60"],
                                stdout=subprocess.DEVNULL)
        try:
            answers = [run_json([tool("handshakes"), self.target, "--alpn=http/1.1", f"--request={self.path}", "--rate=500", f"--seconds={HANDSHAKES_S}"], self.place, 60),
                       run_json([tool("sshload"), *self.ssh, f"--at-once={AT_ONCE if number else 4 * AT_ONCE}", f"--seconds={SSH_S}"], self.place, 120)]
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

    def calm(self, seconds):
        """Until nothing is remembered any more. The next session has the agent forget used grants, and tables that are nearly empty shrink."""
        time.sleep(seconds)
        run_json([tool("sshload"), *self.ssh, "--at-once=1", "--once"], self.place, 60)
        time.sleep(REST_S)

    def done(self):
        """What each kind of process has had to do with."""
        return {"worker": self.connections + self.sessions, "auth": self.sessions + self.joins, "agent": self.sessions}


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
    warm = min(WARM_S, SECONDS[full] / 3)
    load.run(warm)
    load.calm(CALM_S[full])
    first, before = Look(who, logs), load.done()
    load.run(SECONDS[full] - warm)
    load.calm(CALM_S[full])
    last, after = Look(who, logs), load.done()
    gone = [name for name, pids in who.items() for pid in pids if not os.path.exists(f"/proc/{pid}")]
    if gone:
        raise RuntimeError(f"ended during the run: {', '.join(gone)}")
    note = f"; in all {load.rounds} rounds: {load.connections} connections, {load.sessions} SSH sessions, {load.bytes / 1e9:.1f} GB, {load.joins} agents"
    for name in who:
        kind = role(name)
        if kind in COUNTED:
            more, many = last.used[name] - first.used[name], after[kind] - before[kind]
            each = more / max(1, many)
            met = each <= CREEP_BYTES or more <= CREEP_KB[kind] * 1024
            few = met and many * 2 * CREEP_BYTES <= CREEP_KB[kind] * 1024  # a leak of the smallest block would have met it, too
            report.row(NAME, f"{name}: in use more, for each connection", each, unit="bytes", bar=f"<= {CREEP_BYTES}, or {CREEP_KB[kind]} KB" if full else "",
                       met=met if full and not few else None,
                       note=f"{first.used[name] / 1024:.0f} KB, {more / 1024:+.0f} KB after {many} {COUNTED[kind]}{', too few to tell' if few else ''}{note}", bytes_in_use=[first.used[name], last.used[name]], done=many)
            note = ""
        report.row(NAME, f"{name}: taken from the system", last.taken[name] / 1024, unit="MB", bar=f"<= {TAKEN_MB}", met=last.taken[name] <= TAKEN_MB * 1024,
                   note=f"{last.taken[name] - first.taken[name]:+.0f} KB; idle wake-ups a second {first.wakes[name]:.1f} before, {last.wakes[name]:.1f} after")
        if name in last.store:
            report.row(NAME, f"{name}: kept by its store", last.store[name] / 1048576, unit="MB", bar=f"<= {STORE_MB}", met=last.store[name] <= STORE_MB * 1048576,
                       note=f"{(last.store[name] - first.store[name]) / 1024:+.0f} KB")
        report.row(NAME, f"{name}: timers more", last.timers[name] - first.timers[name], unit="", bar="0", met=last.timers[name] <= first.timers[name], note=f"{first.timers[name]} at first")
        report.row(NAME, f"{name}: descriptors more", last.descriptors[name] - first.descriptors[name], unit="", bar="0", met=last.descriptors[name] <= first.descriptors[name])
