"""tport-session against stock OpenSSH: forwarded ports, agents, X11."""
import os
import socket
import socketserver
import subprocess
import threading
import time

import pytest

from session_fixtures import agent, free_port, keys, make, pytestmark, stop  # noqa: F401  (fixtures)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            data = self.request.recv(65536)
            if not data:
                return
            self.request.sendall(data)


@pytest.fixture
def echo():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def send_all(conn, data):
    try:
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def talk(port, data, timeout=10):
    end = time.time() + timeout
    while True:
        try:
            conn = socket.create_connection(("127.0.0.1", port), timeout=timeout)
            break
        except ConnectionRefusedError:
            assert time.time() < end
            time.sleep(0.05)
    with conn:
        threading.Thread(target=send_all, args=(conn, data), daemon=True).start()
        got = b""
        while True:
            try:
                piece = conn.recv(65536)
            except ConnectionResetError:
                return got
            if not piece:
                return got
            got += piece


def background(agent, *flags, options=None):
    return subprocess.Popen(["ssh", *agent.ssh_options(ExitOnForwardFailure="yes", **(options or {})), "-N", *flags, "node1"],
                            stderr=subprocess.PIPE)


def test_local_forward(agent, echo):
    port = free_port()
    client = background(agent, "-L", "%d:127.0.0.1:%d" % (port, echo))
    data = os.urandom(2_000_000)
    assert talk(port, data) == data
    assert talk(port, b"again") == b"again"
    stop(client)
    assert ("port" in [name for name, _ in agent.events])


def test_dynamic_forward_and_stdio(agent, echo):
    result = subprocess.run(["ssh", *agent.ssh_options(), "-W", "127.0.0.1:%d" % echo, "node1"], input=b"stdio",
                            capture_output=True, timeout=15)
    assert result.stdout == b"stdio"
    port = free_port()
    client = background(agent, "-D", str(port))
    time.sleep(0.1)
    end = time.time() + 10
    while True:
        try:
            conn = socket.create_connection(("127.0.0.1", port), timeout=5)
            break
        except ConnectionRefusedError:
            assert time.time() < end
            time.sleep(0.05)
    conn.sendall(b"\x05\x01\x00")
    assert conn.recv(2) == b"\x05\x00"
    conn.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + echo.to_bytes(2, "big"))
    assert conn.recv(10)[1] == 0
    conn.sendall(b"socks")
    assert conn.recv(5) == b"socks"
    conn.close()
    stop(client)


def test_connect_refused_is_an_answer_not_an_end(agent, echo):
    dead = free_port()
    port, good = free_port(), free_port()
    client = background(agent, "-L", "%d:127.0.0.1:%d" % (port, dead), "-L", "%d:127.0.0.1:%d" % (good, echo))
    assert talk(good, b"x") == b"x"
    assert talk(port, b"x") == b""
    assert talk(good, b"y") == b"y"
    stop(client)


def test_remote_forward(agent, echo):
    port = free_port()
    client = background(agent, "-R", "%d:127.0.0.1:%d" % (port, echo))
    data = os.urandom(1_000_000)
    assert talk(port, data) == data
    stop(client)
    agent.reap()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_remote_forward_of_a_low_port_is_refused(agent):
    client = background(agent, "-R", "81:127.0.0.1:1")
    assert client.wait(10) == 255


def test_r3_r2_forwarding_refused_when_roles_say_so(make, echo):
    agent = make(port_forwarding=False)
    result = subprocess.run(["ssh", *agent.ssh_options(), "-W", "127.0.0.1:%d" % echo, "node1"], input=b"x",
                            capture_output=True, timeout=15)
    assert result.stdout == b"" and result.returncode != 0
    client = background(agent, "-R", "%d:127.0.0.1:%d" % (free_port(), echo))
    assert client.wait(10) == 255
    assert "the roles do not allow port forwarding" in agent.session_log()


@pytest.fixture
def ssh_agent(keys, tmp_path):
    path = str(tmp_path / "ssh-agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    env = {**os.environ, "SSH_AUTH_SOCK": path}
    while not os.path.exists(path):
        time.sleep(0.02)
    subprocess.run(["ssh-add", "-q", keys.path("plain")], env=env, check=True)
    yield env
    process.terminate()
    process.wait()


def test_agent_forwarding(agent, ssh_agent):
    result = agent.ssh("ssh-add -l; ls -ld $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK", flags=("-A",), env=ssh_agent)
    text = result.stdout.decode()
    assert "plain (ED25519)" in text and "drwx------" in text
    path = text.splitlines()[-1]
    agent.reap()
    time.sleep(0.2)
    assert not os.path.exists(os.path.dirname(path))


def test_agent_forwarding_refused(make, ssh_agent):
    agent = make()
    agent.forward_agent = False
    result = agent.ssh("echo sock=$SSH_AUTH_SOCK", flags=("-A",), env=ssh_agent)
    assert result.stdout == b"sock=\n"


def test_x11_is_refused_with_a_reason(agent):
    env = {**os.environ, "DISPLAY": ":99"}
    result = agent.ssh("echo d=$DISPLAY", flags=("-X",), env=env)
    assert result.stdout == b"d=\n"
    assert "X11 forwarding is not offered" in agent.session_log()
