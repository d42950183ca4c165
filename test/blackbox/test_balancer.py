"""A cluster behind a balancer that speaks PROXY version 2: people, and the tunnels of agents, all come through it."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from test_tunnels import alive, holders
from terminal import Browser
from tport import DIES_WITH_US, ROOT_USER, Cluster, in_host, wait_for

pytestmark = pytest.mark.skipif(not ROOT_USER, reason="needs network namespaces")
SCRIPT = pathlib.Path(__file__).with_name("balancer.py")


class Balanced(Cluster):
    """proxy is the balancer's address; the daemon listens on another machine, which trusts that one."""

    backend = process = None

    def conf(self):
        if self.backend is None:
            self.backend, self.proxy = self.proxy, f"{self.net.host('balancer')}:{self.port}"
            self.process = subprocess.Popen(self.net.prefix("balancer") + [*DIES_WITH_US, sys.executable, str(SCRIPT), self.proxy, self.backend])
        address = self.proxy.rsplit(":", 1)[0]
        return super().conf().replace(f"web_listen_addr: {self.proxy}", f"web_listen_addr: {self.backend}\n  proxy_protocol_trusted: [{address}/32]")

    def close(self):
        super().close()
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def balanced():
    cluster = Balanced(nodes=("node1", "node2"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def alice(balanced):
    return balanced.person("alice")


def address(cluster, host):
    return cluster.net.host(host)


def test_people_and_agents_are_known_by_their_own_addresses(balanced, alice):
    assert alice.tport("ssh", "root@node1", "echo through").stdout == "through\n"
    mine, balancer = address(balanced, alice.host), address(balanced, "balancer")
    for event in ("user.login", "session.start"):
        found = balanced.audit(type=event, user="alice")
        assert found and all(e["addr.remote"].split(":")[0] == mine for e in found if "addr.remote" in e), found
        assert any("addr.remote" in e for e in found), found
    text = balanced.daemon.text()
    assert f"peer={mine}:" in text and f"peer={address(balanced, 'node1')}:" in text
    assert f"peer={balancer}:" not in text


def test_tunnels_through_a_balancer_end_in_two_workers(balanced, alice):
    """The balancer sends each connection where it likes; the workers hand tunnels on, header and all."""
    wait_for(lambda: sorted(holders(balanced).values()) == [2, 2], 40)
    for _ in range(4):  # whichever worker the balancer's connection comes to
        assert alice.tport("ssh", "root@node2", "cat", input="there and back").stdout == "there and back"


def test_a_large_copy_and_a_terminal_through_a_balancer(balanced, alice, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(8 << 20))
    assert alice.tport("scp", source, f"root@node1:{target}").returncode == 0
    assert target.read_bytes() == source.read_bytes()
    shell = Browser(alice).sign_in().shell()
    shell.type("echo web-$((40+2))\n")
    shell.until("web-42")
    shell.type("exit\n")
    shell.last()


def test_looks_of_the_balancer_itself_cost_nothing(balanced, alice):
    """Health checks: a connection that ends at once, LOCAL without a word, half a header."""
    host, port = balanced.backend.rsplit(":", 1)
    for first in (b"", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", b"PROXY UNKNOWN\r\n"):
        for _ in range(50):
            with in_host(balanced.net, "balancer"):
                sock = socket.create_connection((host, int(port)), timeout=10)
            sock.sendall(first)
            sock.close()
    assert alice.tport("ssh", "root@node1", "echo still").stdout == "still\n"
    # And nobody else can say who he is: the header counts from the balancer alone.
    with in_host(balanced.net, alice.host):
        sock = socket.create_connection((host, int(port)), timeout=10)
    sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(10) == b""
    assert "peer=192.0.2.1" not in balanced.daemon.text()


def test_a_worker_dies_behind_a_balancer(balanced, alice):
    cluster = balanced
    number, pid = sorted(alive(cluster).items())[0]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: number not in alive(cluster), 10)
    assert alice.tport("ssh", "root@node1", "echo there").stdout == "there\n"
    wait_for(lambda: len(alive(cluster)) == 2, 20)
    assert alice.tport("ssh", "root@node2", "echo there").stdout == "there\n"
    wait_for(lambda: sorted(holders(cluster).values()) == [2, 2], 60)  # both agents find the new one
