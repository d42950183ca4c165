"""What one SSH connection may cost its host, whatever has become of the half that parses SSH."""
import os
import pathlib
import socket
import subprocess
import time

import pytest

import session_harness as harness
from session_fixtures import agent, keys, make  # noqa: F401  pylint: disable=unused-import

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
              pytest.mark.skipif(not os.path.exists(harness.SESSION), reason="tport-session is not built"),
              pytest.mark.timeout(90)]
HELPERS_MAX = 64


def children(pid):
    return len(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_connections_being_opened_are_bounded(agent):  # noqa: F811
    """Each is a process of the host while the target does not answer: 100 at once are 64, and the others are told no."""
    deaf = socket.socket()  # its backlog is full, so that connecting to it hangs
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    fill = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(deaf.getsockname())
        fill.append(one)
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    client = subprocess.Popen(["ssh", *agent.ssh_options(), "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{deaf.getsockname()[1]}", "node1"],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    users = []
    try:
        agent.wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 20)
        monitor = agent.processes[0]
        for _ in range(100):
            users.append(socket.create_connection(("127.0.0.1", port), 5))
        agent.wait(lambda: children(monitor) >= HELPERS_MAX, 20)
        end = time.time() + 3
        most = 0
        while time.time() < end:
            most = max(most, children(monitor))
            time.sleep(0.02)
        assert most <= HELPERS_MAX + 1  # and the half that parses SSH
        refused = 0
        for user in users:
            user.settimeout(0.05)
            try:
                refused += user.recv(1) == b""
            except TimeoutError:
                pass
        assert 100 - HELPERS_MAX <= refused < 100
    finally:
        for one in [*users, *fill, deaf]:
            one.close()
        client.kill()
        client.wait()
