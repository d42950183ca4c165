"""An agent's two tunnels end in two workers when there are two, and come back to that after a worker died."""

import os
import pathlib
import re
import signal
import time

from tport import wait_for


def alive(cluster):
    """{number: pid} of the workers that run."""
    titles = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in cluster.daemon.children("worker")}
    return {int(title.rsplit(" ", 1)[1]): pid for pid, title in titles.items()}


def holders(cluster):
    """{number of a living worker: its open tunnels}."""
    held = dict.fromkeys(alive(cluster), 0)
    for line in cluster.daemon.text().splitlines():
        match = re.search(r" worker/(\d+) (tunnel up|connection closed .*route=tunnel)", line)
        if match and "handed_off" not in line and int(match.group(1)) in held:
            held[int(match.group(1))] += 1 if match.group(2) == "tunnel up" else -1
    return held


def spread(cluster):
    held = holders(cluster)
    assert sorted(held.values()) == [1, 1], held
    return True


def test_two_tunnels_two_workers(fresh):
    cluster = fresh(nodes=("node1", "node2", "node3"))
    wait_for(lambda: list(holders(cluster).values()) == [3, 3], 30)
    text = "".join(node.text() for node in cluster.nodes.values())
    assert "both tunnels end in one process" not in text  # the hint in the server name was enough


def test_a_dead_worker_takes_one_tunnel_only(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    wait_for(lambda: spread(cluster), 30)
    for _ in range(2):
        number, pid = sorted(alive(cluster).items())[0]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda gone=number: gone not in alive(cluster), 10)
        # The other tunnel stands: no waiting for an agent to dial again.
        assert person.tport("ssh", "root@node1", "echo there").stdout == "there\n"
        wait_for(lambda: spread(cluster), 60)


def test_one_worker_holds_both_in_peace(fresh):
    cluster = fresh(workers=1, nodes=("node1",))
    wait_for(lambda: list(holders(cluster).values()) == [2], 30)
    time.sleep(6)  # longer than the first try to move one would take
    assert list(holders(cluster).values()) == [2]
    assert "moving one" not in cluster.nodes["node1"].text()


def test_reload_leaves_them_apart(fresh):
    cluster = fresh(nodes=("node1",))
    wait_for(lambda: spread(cluster), 30)
    old = set(alive(cluster))
    assert cluster.daemon.signal("reload").returncode == 0
    wait_for(lambda: not old & set(alive(cluster)) and spread(cluster), 90)
