"""What the tests of tport-session share: an account and keys of this run, the agent's side, a terminal."""
import fcntl
import json
import os
import pty
import pwd
import socket
import struct
import subprocess
import termios

import pytest

import session_harness as harness
from session_harness import Agent, Keys

LOGIN = "tport-t%d" % os.getpid()  # of this run alone
pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
              pytest.mark.skipif(not os.path.exists(harness.SESSION), reason="tport-session is not built"),
              pytest.mark.timeout(240)]  # thousands of connections on a loaded machine


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    made = False
    try:
        pwd.getpwnam(LOGIN)
    except KeyError:
        subprocess.run(["useradd", "-m", "-s", "/bin/bash", LOGIN], check=True)
        made = True
    directory = tmp_path_factory.mktemp("keys")
    yield Keys(str(directory), LOGIN)
    if made:
        subprocess.run(["userdel", "-r", LOGIN], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def make(keys, tmp_path):
    agents = []

    def build(**options):
        agent = Agent(keys, str(tmp_path), **options)
        agents.append(agent)
        return agent

    yield build
    for agent in agents:
        agent.close()
        assert set(agent.reap(8)) <= {0}  # also the privileged half ended in order


@pytest.fixture
def agent(make):
    return make()


@pytest.fixture
def pam_service():
    name = "tport-t%d" % os.getpid()
    path = "/etc/pam.d/" + name

    def write(*lines):
        with open(path, "w") as out:
            out.write("".join(line + "\n" for line in lines))
        return {"pam": {"enabled": True, "service": name}}

    yield write
    os.unlink(path)


def cast(agent, sid=None):
    data = agent.recordings[sid or sorted(agent.recordings)[0]].decode()
    lines = [json.loads(line) for line in data.splitlines()]
    return lines[0], lines[1:]


def output(events):
    return "".join(event[2] for event in events if event[1] == "o")


def open_terminal(agent, *args, flags=("-tt",), options=None, prepare=None):
    """ssh in a terminal; prepare(fd) may set it up before."""
    master, slave = pty.openpty()
    if prepare:
        prepare(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(["ssh", *agent.ssh_options(**(options or {})), *flags, "node1", *args], stdin=slave,
                               stdout=slave, stderr=slave, preexec_fn=take_terminal, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    return process, master


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def stop(client):
    """ssh 9.2 can miss a SIGTERM that comes just before it waits."""
    client.terminate()
    try:
        client.wait(2)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait(5)
