"""TLS to TLS: a client's stream through the worker and a tunnel to an agent; HAProxy between the same client and a TLS server."""

import json
import subprocess

from harness.fleet import Agents, keys, server_name
from harness.pairs import ratios, sample
from harness.place import ADDRESS, Process, free_port, wait_port
from harness.report import median
from harness.servers import Tport, haproxy, tool

NAME = "relay"
BUDGET_S = 90
ABOUT = "TLS-to-TLS throughput and the worker's processor time per GB, 1 and 64 streams, both ways, with HAProxy"


class Way:
    """Through one of the servers: what to give the client."""

    def __init__(self, name, server, words):
        self.name, self.server, self.words = name, server, words

    def cpu(self):
        return self.server.worker_cpu()


def run(place, report, full):
    (place.root / "small.css").write_text("a{}")
    ours = place.keep(Tport(place))
    person = ours.cluster.person("bench", logins="root")
    agents = Agents(place, ours.cluster, 1)
    agents.wait_up()
    ours.cluster.wait_online("load0")
    port = free_port()
    behind = place.keep(Process([tool("relay"), "--serve", f"--target={ADDRESS}:{port}", f"--cert={place.cert}", f"--key={place.key}"], place.folder / "behind.log"))
    wait_port(port, process=behind)
    rival = haproxy(place, behind=f"{ADDRESS}:{port}")
    cert, key = keys(person)
    ways = [Way("tport", ours, [f"--target={ours.cluster.proxy}", f"--cert={cert}", f"--key={key}", "--alpn=tport-ssh", f"--server-name={server_name('load0', ours.cluster)}"]),
            Way("haproxy", rival, [f"--target={ADDRESS}:{rival.proxy_port}", f"--cert={cert}", f"--key={key}"])]
    seconds = 1.5 if full else 1

    def drive(way, streams, mode):
        result = subprocess.run([str(tool("relay")), *way.words, f"--streams={streams}", f"--mode={mode}", f"--seconds={seconds}"], capture_output=True, text=True, timeout=120, check=False)
        if result.returncode != 0:
            raise RuntimeError(f"relay through {way.name}: {result.stderr or result.stdout}")
        last = json.loads(result.stdout.splitlines()[-1])
        if last["ended"] or last["streams"] != streams or not last["bytes"]:
            raise RuntimeError(f"relay through {way.name}: {last}")
        return last["total"] / 1e6, {"rate": last["mb_per_second"]}

    for streams in (1, 64):
        for mode, word in (("S", "up"), ("G", "down")):
            found = {way.name: [] for way in ways}
            for _ in range(5 if full else 2):
                for way in ways:
                    found[way.name].append(sample(way, lambda way: drive(way, streams, mode)))
            mine, theirs = found["tport"], found["haproxy"]
            rate = median([a.more["rate"] / b.more["rate"] for a, b in zip(mine, theirs)])
            what = f"relay TLS to TLS, {streams} stream{'s' if streams > 1 else ''} {word}"
            report.row(NAME, what, median([s.more["rate"] for s in mine]), median([s.more["rate"] for s in theirs]), "haproxy", "MB/s by the clock", rate, ">= 1.0", rate >= 1.0)
            cpu = median(ratios(theirs, mine, lambda s: s.per_cpu)) ** -1
            report.row(NAME, what, median([1000 / s.per_cpu for s in mine]), median([1000 / s.per_cpu for s in theirs]), "haproxy", "CPU s per GB", 1 / cpu, "<= 1.0", 1 / cpu <= 1.0)
