"""Memory of the worker: idle, per idle tunnel, per open relay; and how long all agents take to come back after a restart."""

import json
import subprocess
import time

from harness.fleet import Agents, keys, server_name
from harness.place import memory_of
from harness.servers import Tport, tool

NAME = "tunnels"
BUDGET_S = 85
ABOUT = "memory of an idle worker, per idle tunnel (10,000 with --full, else 300) and per open relay; agents back after a restart"


def private(ours):
    """KB that belong to the workers alone."""
    return sum(memory_of(pid)["private"] for pid in ours.workers())


def settled(ours):
    """The same, when it has stopped moving: handshakes leave work for a moment."""
    before = private(ours)
    for _ in range(20):
        time.sleep(0.5)
        now = private(ours)
        if abs(now - before) < 64:
            return now
        before = now
    return before


def run(place, report, full):
    count, relays = (10000, 500) if full else (300, 100)
    ours = place.keep(Tport(place))
    person = ours.cluster.person("bench", logins="root")
    worker = ours.workers()[0]
    idle = memory_of(worker)
    report.row(NAME, "idle worker, resident", idle["rss"] / 1024, unit="MB", bar="<= 12", met=idle["rss"] <= 12 * 1024, note=f"{idle['private'] / 1024:.1f} MB of it are its own")

    before = settled(ours)
    agents = Agents(place, ours.cluster, count)
    took = agents.wait(lambda s: s["joined"] == count, 600)
    up = agents.wait_up(300)
    tunnel = (settled(ours) - before) / count
    report.row(NAME, f"worker's memory per idle tunnel, {count} of them", tunnel, unit="KB", bar="<= 32", met=tunnel <= 32,
               note=f"joined in {took:.0f} s, all tunnels up {up:.0f} s later; {count * tunnel / 1024:.0f} MB in all")

    ours.cluster.wait_online("load0")
    cert, key = keys(person)
    before = settled(ours)
    client = subprocess.Popen([str(tool("relay")), f"--target={ours.cluster.proxy}", f"--cert={cert}", f"--key={key}", "--alpn=tport-ssh", f"--server-name={server_name('load0', ours.cluster)}",
                               f"--streams={relays}", "--hold", "--seconds=60"], stdout=subprocess.PIPE, text=True)
    opened = json.loads(client.stdout.readline())
    agents.wait(lambda s: s["open_streams"] == relays, 60)
    relay = (settled(ours) - before) / relays
    client.kill()
    client.wait()
    client.stdout.close()
    report.row(NAME, f"worker's memory per open relay, {relays} of them", relay, unit="KB", bar="<= 48", met=relay <= 48, note=f"opened in {opened['seconds']:.1f} s")

    ours.cluster.daemon.stop()
    agents.wait(lambda s: s["up"] == 0, 60)
    ours.cluster.daemon.start()
    begin = time.monotonic()
    back = agents.wait_up(300)
    cpu = ours.cpu()
    state = agents.state()
    report.row(NAME, f"restart: {count} agents are back after", back, unit="s", bar="<= 30", met=back <= 30,
               note=f"{cpu:.1f} CPU s of tportd in {time.monotonic() - begin:.0f} s; {state['failures']} failed tries, also while it was down")
