"""Slow clients, thousands of a kind at once: what a good client feels beside them, what one costs, when the server ends them, and whether
everything is back when they have gone. nginx beside it, with its own deadlines."""

import json
import os
import subprocess
import time

from harness.measures.requests import assets
from harness.place import cpu_of, memory_of, tree
from harness.servers import Tport, nginx, run_json, tool

NAME = "slow"
BUDGET_S = 170
ABOUT = "slow clients of five kinds (5,000 of each with --full, else 500 of two): a good client's p99, memory, descriptors; with nginx"
# What a kind is called in the table, and after how many seconds tport has to have ended it (one second of grace included); None: it is
# let go on as long as its bytes are taken.
KINDS = {"hello": ("slow ClientHello", 11), "tls": ("half TLS handshake", 11), "head": ("slow HTTP head", 11), "body": ("slow HTTP body", 31), "read": ("slow reader", None)}
QUICK = ("tls", "read")  # of a short run, which has to end within three minutes


class Watched:
    def __init__(self, server, port, pids, paths):
        self.name, self.server, self.port, self.pids, self.paths = server.name, server, port, pids, paths

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)

    def memory(self):
        """KB that belong to the workers alone."""
        return sum(memory_of(pid)["private"] for pid in self.pids)


def good_client(place, watched, seconds):
    """p99 in ms of connect, TLS and the end, one after the other."""
    answer = run_json([tool("handshakes"), f"--target={watched.server.address}:{watched.port}", "--server-name=bench", "--alpn=http/1.1", "--connections=1", f"--seconds={seconds}"], place, 60)
    if answer["failed"]:
        raise RuntimeError(f"{watched.name}: {answer['failed']} of a good client's connections failed beside slow ones")
    return answer["p99_us"] / 1000


def settled(watched, descriptors):
    """The server has taken all of them and done what it will do for them: it is idle."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        before = cpu_of(watched.pids)
        time.sleep(0.25)
        if watched.descriptors() >= descriptors and cpu_of(watched.pids) - before < 0.02:
            return


def one_kind(place, watched, kind, count, seconds, stay):
    """stay: seconds that the slow ones are left with the server at most, for it to end them."""
    found = {"alone": good_client(place, watched, seconds)}
    descriptors, memory = watched.descriptors(), watched.memory()
    client = subprocess.Popen([str(tool("slow")), f"--target={watched.server.address}:{watched.port}", "--server-name=bench", "--alpn=http/1.1", f"--kind={kind}", f"--connections={count}",
                               f"--path={watched.paths.get(kind, '/')}", f"--seconds={max(stay, seconds + 11)}"], stdout=subprocess.PIPE, text=True)
    try:
        opened = json.loads(client.stdout.readline())
        found["refused"], found["took"] = opened["refused"], opened["seconds"]
        settled(watched, descriptors + opened["slow"] * 99 // 100)
        found["each"] = (watched.memory() - memory) / max(1, opened["slow"])
        found["held"] = watched.descriptors() - descriptors
        found["beside"] = good_client(place, watched, seconds)
        if stay:
            found.update(json.loads(client.stdout.readline()))
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    end = time.monotonic() + 20
    while watched.descriptors() > descriptors and time.monotonic() < end:
        time.sleep(0.1)
    settled(watched, 0)
    time.sleep(1)
    found["descriptors"], found["memory"] = watched.descriptors() - descriptors, (watched.memory() - memory) / 1024
    return found


def tell(report, kind, count, ours, theirs, stay):
    what, deadline = KINDS[kind]
    beside = ours["beside"] / ours["alone"]
    report.row(NAME, f"{count} x {what}: a good client's p99", ours["beside"], theirs["beside"], "nginx", "ms", ours["beside"] / theirs["beside"], "<= 2 x alone", beside <= 2,
               f"alone {ours['alone']:.1f} and {theirs['alone']:.1f} ms; opened in {ours['took']:.1f} and {theirs['took']:.1f} s, {ours['refused']} and {theirs['refused']} refused")
    report.row(NAME, f"{count} x {what}: memory of each", ours["each"], theirs["each"], "nginx", "KB", None, "<= 64", ours["each"] <= 64,
               f"{ours['held']} and {theirs['held']} descriptors more")
    if stay:
        report.row(NAME, f"{count} x {what}: the last is ended after", ours["ended_last_s"] if ours["ended"] else "never", unit="s", bar=f"<= {deadline}",
                   met=ours["slow"] == 0 and ours["ended_last_s"] <= deadline, note=f"{ours['ended']} were ended, {ours['slow']} were not")
    report.row(NAME, f"{count} x {what}: memory left over", ours["memory"], theirs["memory"], "nginx", "MB", None, "<= 2", ours["memory"] <= 2 and ours["descriptors"] <= 0,
               f"{ours['descriptors']} and {theirs['descriptors']} descriptors")


def run(place, report, full):
    count, seconds = (5000, 2) if full else (500, 0.5)
    (place.root / "small.css").write_text("a{}")
    ours = place.keep(Tport(place))
    path, body = assets(ours)[0]
    (place.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    (place.root / path.lstrip("/")).write_bytes(body)
    for kind in KINDS if full else QUICK:
        deadline = KINDS[kind][1]
        # A new nginx for each kind: what it grows by must not come out of what it freed before. tportd gives that back.
        theirs = nginx(place)
        # nginx reads a body only to pass it on; tport's own are read for the web API.
        pair = [Watched(ours, ours.port, ours.workers(), {"read": path, "body": "/webapi/sessions/web"}),
                Watched(theirs, theirs.proxy_port if kind == "body" else theirs.port, tree(theirs.process.pid)[1:], {"read": path})]
        stay = deadline + 1 if full and deadline else 0
        tell(report, kind, count, one_kind(place, pair[0], kind, count, seconds, stay), one_kind(place, pair[1], kind, count, seconds, 0), stay)
        theirs.stop()
