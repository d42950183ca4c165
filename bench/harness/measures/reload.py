"""A reload every second while new connections come: every one that fails is counted, and what was open before must be open afterwards. nginx and
HAProxy do the same with the same client; they have no sessions to keep."""

import json
import os
import signal
import subprocess
import time

from harness.fleet import Agents, keys, server_name
from harness.measures.requests import assets
from harness.measures.sessions import through_tport
from harness.servers import Rival, Tport, nginx, tool

NAME = "reload"
BUDGET_S = 145
ABOUT = "a reload every second for a minute (8 s without --full) under new connections, with shells and tunnels open; with nginx and HAProxy, 20 s each"


class Job:
    """A load tool in the background; lines() ends it."""

    def __init__(self, place, words):
        self.popen = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=place.env)
        place.keep(self)

    def line(self):
        return json.loads(self.popen.stdout.readline())

    def last(self, timeout):
        out, errors = self.popen.communicate(timeout=timeout)
        if not out.strip():
            raise RuntimeError(f"{self.popen.args[0]}: {errors}")
        return json.loads(out.strip().splitlines()[-1])

    def stop(self):
        self.popen.kill()
        self.popen.wait()


def storm(place, port, path, rate, seconds, reload):
    """({what the client counted}, reloads); every connection asks for a small file and must get all of it."""
    client = Job(place, [tool("handshakes"), f"--target=127.0.0.1:{port}", "--server-name=bench", "--alpn=http/1.1", f"--request={path}", f"--rate={rate}", "--connections=256", f"--seconds={seconds + 1}"])
    count, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        reload()
        count += 1
        time.sleep(max(0, begin + count - time.monotonic()))
    return client.last(60), count


def haproxy_master(place):
    """In master-worker mode, where USR2 reloads."""
    return place.keep(Rival(place, "haproxy", "haproxy", lambda conf: ["-W", "-db", "-f", conf], {}))


def of_rivals(place, rate, seconds):
    theirs = nginx(place)
    found = {"nginx": storm(place, theirs.port, "/small.css", rate, seconds, lambda: subprocess.run(["nginx", "-s", "reload", "-c", theirs.conf], check=True, capture_output=True))}
    theirs.stop()
    theirs = haproxy_master(place)
    found["haproxy"] = storm(place, theirs.port, "/small.css", rate, seconds, lambda: os.kill(theirs.process.pid, signal.SIGUSR2))
    theirs.stop()
    return found


def run(place, report, full):
    seconds, rate, shells, tunnels, streams = (60, 5000, 500, 1000, 100) if full else (8, 500, 20, 50, 10)
    ours = place.keep(Tport(place, nodes=("node1",), own_cert=True))
    path, body = assets(ours)[-1]
    (place.root / "small.css").write_bytes(body)
    person = ours.cluster.person("bench", logins="root")
    agents = Agents(place, ours.cluster, tunnels)
    agents.wait_up(120)
    ours.cluster.wait_online("load0")
    cert, key = keys(person)
    held = Job(place, [tool("sshload"), *through_tport(ours, person).words, f"--at-once={shells}", "--hold", f"--seconds={seconds + 5}"])
    opened = held.line()
    relays = Job(place, [tool("relay"), f"--target={ours.cluster.proxy}", f"--cert={cert}", f"--key={key}", "--alpn=tport-ssh", f"--server-name={server_name('load0', ours.cluster)}",
                         f"--streams={streams}", "--hold", f"--seconds={seconds + 5}"])
    relays.line()
    before = agents.state()["downs"]

    def reload():
        done = ours.cluster.daemon.signal("reload")
        if done.returncode != 0:
            raise RuntimeError(f"reload: {done.stderr}")
    mine, reloads = storm(place, ours.port, path, rate, seconds, reload)
    stayed, through = held.last(180), relays.last(60)
    downs = agents.state()["downs"] - before
    theirs = of_rivals(place, rate, 20 if full else 3)
    for name, (other, times) in theirs.items():
        report.row(NAME, f"{reloads} reloads in {seconds} s: connections that failed", mine["failed"], other["failed"], name, "", None, "0", mine["failed"] == 0,
                   f"of {mine['done'] + mine['failed']} and {other['done'] + other['failed']} ({times} reloads) at {rate} a second at most; p99 {mine['p99_us'] / 1000:.1f} and {other['p99_us'] / 1000:.1f} ms"
                   + "".join(f"; {who}: {what['why']}" for who, what in (("tport", mine), (name, other)) if what["why"]))
    lost = opened["open"] - stayed["kept"]
    report.row(NAME, f"the same: of {opened['open']} open shells were lost", lost, unit="", bar="0", met=lost == 0 and opened["failed"] == 0, note=stayed["why"] or opened["why"])
    report.row(NAME, f"the same: of {through['streams']} open streams were lost", through["ended"], unit="", bar="0", met=through["ended"] == 0)
    report.row(NAME, f"the same: times that one of {tunnels} agents was without a tunnel", downs, unit="", bar="0", met=downs == 0)
