"""New SSH sessions through proxy, tunnel and node, beside a plain sshd: a second, and many at once. The client is bench/tools/sshload.c, whose own
work is small and the same on both sides; both servers check a user certificate."""

import json
import pathlib
import subprocess
import time

from harness.fleet import keys, server_name
from harness.pairs import alternate, report_rates
from harness.place import cpu_with_ended, tree
from harness.report import median
from harness.servers import Tport, run_json, tool
from harness.measures.ssh import CIPHER, start_sshd

NAME = "sessions"
BUDGET_S = 115
ABOUT = "new SSH sessions per second, and 500 at once (50 without --full), by a client without OpenSSH's cost; with a plain sshd"


class Target:
    """pids() gives the processes whose time counts, with what they have started and outlived."""

    def __init__(self, name, words, roots):
        self.name, self.words, self.roots = name, words, roots

    def cpu(self):
        return cpu_with_ended([pid for root in self.roots() for pid in tree(root)])


def through_tport(ours, person):
    cert, key = keys(person)
    identity = pathlib.Path(str(key).removesuffix(".key"))
    ssh_cert = identity.with_name(identity.name + "-ssh") / f"{ours.cluster.name}-cert.pub"
    return Target("tport", [f"--target={ours.cluster.proxy}", f"--server-name={server_name('node1', ours.cluster)}", f"--tls-cert={cert}", f"--tls-key={key}",
                            f"--identity={identity}", f"--ssh-cert={ssh_cert}"],
                  lambda: [ours.cluster.daemon.process.pid, ours.cluster.nodes["node1"].process.pid])


def targets(place):
    ours = place.keep(Tport(place, nodes=("node1",), own_cert=True))
    through = through_tport(ours, ours.cluster.person("bench", logins="root"))
    sshd = start_sshd(place)
    direct = Target("sshd", [f"--target=127.0.0.1:{sshd.port}", f"--identity={place.folder}/userkey", f"--ssh-cert={place.folder}/userkey-cert.pub"], sshd.roots)
    return [through, direct]


def per_second(place, report, both, full):
    def drive(target):
        answer = run_json([tool("sshload"), *target.words, f"--cipher={CIPHER}", "--at-once=8", "--seconds=2"], place, 180)
        if answer["failed"]:
            raise RuntimeError(f"{target.name}: {answer['failed']} sessions failed, {answer['done']} were good; the first: {answer['why']}")
        return answer["done"], {"p50": answer["p50_us"] / 1000}
    report_rates(report, NAME, "new SSH sessions, 8 at a time", "", alternate(both, drive, 7 if full else 3), {"sshd": 1.5})


def at_once(place, report, both, count, rounds):
    """All start together, and stay until the last one is in."""
    took = {target.name: [] for target in both}
    for _ in range(rounds):
        began = time.monotonic()
        for target in both:
            words = [str(word) for word in (tool("sshload"), *target.words, f"--cipher={CIPHER}", f"--at-once={count}", "--hold", "--seconds=1")]
            result = subprocess.run(words, capture_output=True, text=True, timeout=300, env=place.env, check=False)
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            if len(lines) != 2 or lines[0]["failed"] or lines[1]["kept"] != count:
                raise RuntimeError(f"{count} sessions at once through {target.name}: {result.stdout} {result.stderr}")
            took[target.name].append(lines[0]["seconds"])
        # A slow machine makes fewer pairs, not none.
        if place.seconds_left() < (time.monotonic() - began) * 1.5:
            break
    ratio = median([a / b for a, b in zip(took["tport"], took["sshd"])])
    report.row(NAME, f"{count} SSH sessions at once: the last is in after", median(took["tport"]), median(took["sshd"]), "sshd", "s", ratio, "<= 0.67", ratio <= 0.67, "none failed on either side")


def run(place, report, full):
    both = targets(place)
    per_second(place, report, both, full)
    at_once(place, report, both, 500 if full else 50, 3 if full else 1)
