"""tport-session against stock OpenSSH: forwarded ports, agents, X11."""
import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time

import pytest

from tport import wait_for
from session_fixtures import LOGIN, agent, free_port, keys, make, pam_service, pytestmark, stop  # noqa: F401  (fixtures)
from ssh_raw import Raw, number, text


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


def talk(port, data, timeout=10, host="127.0.0.1"):
    end = time.time() + timeout
    while True:
        try:
            conn = socket.create_connection((host, port), timeout=timeout)
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


@pytest.mark.parametrize("where,says", [
    ("127.0.0.1:%d", "connect failed: 127.0.0.1 port %d: Connection refused"),
    ("no-such-name.invalid:%d", "connect failed: no-such-name.invalid: "),
], ids=["closed port", "unknown name"])
def test_a_forward_that_fails_says_why_and_is_no_refusal(agent, where, says):
    dead = free_port()
    where, says = (text % dead if "%d" in text else text for text in (where, says))
    result = subprocess.run(["ssh", *agent.ssh_options(LogLevel="INFO"), "-W", where, "node1"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 255
    assert "open failed: " + says in result.stderr, result.stderr
    assert "prohibited" not in result.stderr


def test_a_forward_that_roles_refuse_says_so(make):
    agent = make(port_forwarding_local=False)
    result = subprocess.run(["ssh", *agent.ssh_options(LogLevel="INFO"), "-W", "127.0.0.1:1", "node1"], capture_output=True, text=True, timeout=20)
    assert "administratively prohibited: the roles do not allow port forwarding to places behind this host" in result.stderr


def test_remote_forward(agent, echo):
    port = free_port()
    client = background(agent, "-R", "%d:127.0.0.1:%d" % (port, echo))
    data = os.urandom(1_000_000)
    assert talk(port, data) == data
    stop(client)
    agent.reap()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def refusal(agent, *flags):
    """What ssh says when a forwarding is refused at its start."""
    result = subprocess.run(["ssh", "-v", *agent.ssh_options(ExitOnForwardFailure="yes", LogLevel="DEBUG1"), "-N", *flags, "node1"],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 255
    return result.stderr


def through(agent, port, data=b"bytes"):
    return subprocess.run(["ssh", *agent.ssh_options(LogLevel="INFO"), "-W", f"127.0.0.1:{port}", "node1"], input=data, capture_output=True, timeout=30, check=False)


def test_a_forward_that_cannot_be_recorded_is_refused(agent, echo):
    """It went on with its event missing from the record: nobody waited for that."""
    why = "this access can't be put on record, so it is refused: the disk of the auth server is nearly full"
    agent.fail["session.event"] = ("no_space", "the disk of the auth server is nearly full")
    for port in (echo, free_port()):  # nor is it told whether somebody listens there
        result = through(agent, port)
        assert result.returncode == 255 and result.stdout == b"", result
        assert f"administratively prohibited: {why}" in result.stderr.decode(), result.stderr
    port = free_port()
    assert "remote port forwarding failed for listen port" in refusal(agent, "-R", "%d:127.0.0.1:%d" % (port, echo))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert "a forwarding can't be recorded" in agent.session_log()
    del agent.fail["session.event"]
    assert through(agent, echo).stdout == b"bytes"
    assert [fields["success"] for name, fields in agent.events if name == "port"] == [True]


def test_a_forward_waits_for_its_record(agent, echo):
    agent.delay["session.event"] = 2
    start = time.monotonic()
    assert through(agent, echo).stdout == b"bytes"
    assert time.monotonic() - start > 2
    # Who goes away meanwhile takes nobody with him.
    port = free_port()
    client = background(agent, "-L", "%d:127.0.0.1:%d" % (port, echo))
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    time.sleep(0.5)
    client.kill()
    client.wait()
    assert set(agent.reap(10)) == {0}
    assert len([name for name, _ in agent.events if name == "port"]) == 2


def test_remote_forward_of_a_low_port_is_refused(agent):
    assert "port 81: Permission denied" in refusal(agent, "-R", "81:127.0.0.1:1")


@pytest.mark.parametrize("address", ["192.0.2.1", "example.org"])
def test_remote_forward_listens_on_this_host_only(agent, address):
    said = refusal(agent, "-R", "%s:%d:127.0.0.1:1" % (address, free_port()))
    assert "remote port forwarding failed for listen port" in said
    assert "only localhost can be listened on here, not " + address.strip("[]") in said
    assert ports(agent, 1)[0]["success"] is False


@pytest.mark.parametrize("address,here", [("*", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_remote_forward_of_any_address_is_localhost(agent, echo, address, here):
    """As sshd does it with GatewayPorts no."""
    port = free_port()
    client = background(agent, "-R", "%s:%d:127.0.0.1:%d" % (address, port, echo))
    assert talk(port, b"here", host=here.strip("[]")) == b"here"
    listening = [line.split()[3] for line in subprocess.run(["ss", "-Hltn"], capture_output=True, text=True).stdout.splitlines()]
    assert [one for one in listening if one.endswith(":%d" % port)] == ["%s:%d" % (here, port)]
    stop(client)


def ports(agent, count):
    """Events about forwardings; they come a little later than what they are about."""
    def found():
        return [fields for name, fields in agent.events if name == "port"]
    wait_for(lambda: len(found()) >= count, 10)
    return found()


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def echo_socket(echo):
    """The same in the file system, for everybody: pytest's folders are root's alone."""
    folder = tempfile.mkdtemp(prefix="tport-echo-", dir="/tmp")
    os.chmod(folder, 0o755)
    server = UnixServer(folder + "/echo", Echo)
    os.chmod(folder + "/echo", 0o666)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder + "/echo"
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)


def test_local_forward_to_a_socket(agent, echo_socket):
    port = free_port()
    client = background(agent, "-L", "%d:%s" % (port, echo_socket))
    data = os.urandom(2_000_000)
    assert talk(port, data) == data
    stop(client)
    assert ports(agent, 1) == \
        [{"addr": echo_socket, "direction": "to", "login": LOGIN, "success": True}]


def test_socket_is_reached_as_the_login_user(agent, echo_socket):
    os.chmod(echo_socket, 0o600)
    port, nowhere = free_port(), free_port()
    client = background(agent, "-L", "%d:%s" % (port, echo_socket), "-L", "%d:/run/none" % nowhere, options={"LogLevel": "DEBUG1"})
    assert talk(port, b"x") == b""
    assert talk(nowhere, b"x") == b""
    stop(client)
    said = client.stderr.read().decode()
    assert "%s: Permission denied" % echo_socket in said and "/run/none: No such file or directory" in said
    assert [f["success"] for f in ports(agent, 2)] == [False, False]


@pytest.mark.parametrize("path", ["relative", "/" + 107 * "x", "/a\x01b"])
def test_strange_paths_are_refused(agent, keys, path):
    raw = Raw(agent.connect())
    raw.sign_in(keys)
    raw.send(bytes([90]) + text("direct-streamlocal@openssh.com") + number(0) + number(1 << 20) + number(32768) + text(path) +
             text("") + number(0))
    assert raw.expect(92)
    raw.send(bytes([90]) + text("direct-tcpip") + number(1) + number(1 << 20) + number(32768) + text("\x01/run/none") + number(0) +
             text("") + number(0))  # what a path becomes inside; nobody may write it himself
    assert raw.expect(92)
    raw.sock.close()
    assert not [m for m, _ in agent.requests if m == "session.event"]


def test_remote_forward_of_a_socket_is_refused(agent):
    assert "remote port forwarding failed for listen path /tmp/none" in refusal(agent, "-R", "/tmp/none:127.0.0.1:1")


@pytest.mark.parametrize("local", [True, False])
def test_r2_each_direction_has_its_right(make, echo, echo_socket, local):
    agent = make(port_forwarding_local=local, port_forwarding_remote=not local)
    ports = [free_port() for _ in range(3)]
    if local:
        assert "do not allow port forwarding from this host" in refusal(agent, "-R", "%d:127.0.0.1:%d" % (ports[0], echo))
        client = background(agent, "-L", "%d:127.0.0.1:%d" % (ports[1], echo), "-L", "%d:%s" % (ports[2], echo_socket))
        assert talk(ports[1], b"x") == b"x" and talk(ports[2], b"x") == b"x"
    else:
        client = background(agent, "-L", "%d:127.0.0.1:%d" % (ports[1], echo), "-L", "%d:%s" % (ports[2], echo_socket),
                            "-R", "%d:127.0.0.1:%d" % (ports[0], echo))
        assert talk(ports[0], b"x") == b"x"
        assert talk(ports[1], b"x") == b"" and talk(ports[2], b"x") == b""
    stop(client)


def test_r3_r2_forwarding_refused_when_roles_say_so(make, echo):
    agent = make(port_forwarding_local=False, port_forwarding_remote=False)
    result = subprocess.run(["ssh", *agent.ssh_options(), "-W", "127.0.0.1:%d" % echo, "node1"], input=b"x",
                            capture_output=True, timeout=15)
    assert result.stdout == b"" and result.returncode != 0
    client = background(agent, "-R", "%d:127.0.0.1:%d" % (free_port(), echo))
    assert client.wait(10) == 255
    assert "the roles do not allow port forwarding to places behind this host" in agent.session_log()
    assert "the roles do not allow port forwarding from this host" in agent.session_log()


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


def pam(*account):
    return ("auth required pam_permit.so", *("account required " + module for module in account), "session required pam_permit.so")


def test_forwarding_without_a_shell_asks_pam_too(agent, echo, pam_service):  # noqa: F811
    """A connection of nothing but forwards never came to PAM: an account that was closed there still had its tunnels."""
    agent.config_extra = pam_service(*pam("pam_deny.so"))
    refused = agent.ssh(flags=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:%d" % echo))
    assert refused.returncode == 255
    refused = subprocess.run(["ssh", *agent.ssh_options(), "-W", "127.0.0.1:%d" % echo, "node1"], input=b"hello", capture_output=True, timeout=20)
    assert refused.returncode == 255 and refused.stdout == b""
    agent.wait(lambda: len([f for name, f in agent.events if name == "port"]) == 2)
    told = [f for name, f in agent.events if name == "port"]
    assert {f["direction"] for f in told} == {"from", "to"}
    assert all(not f["success"] and "PAM refused (account)" in f["error"] for f in told), told
    agent.config_extra = pam_service(*pam("pam_permit.so"))
    allowed = subprocess.run(["ssh", *agent.ssh_options(), "-W", "127.0.0.1:%d" % echo, "node1"], input=b"hello", capture_output=True, timeout=20)
    assert allowed.stdout == b"hello", allowed.stderr


def test_agent_forwarding_asks_pam(agent, ssh_agent, pam_service):  # noqa: F811
    agent.config_extra = pam_service(*pam("pam_deny.so"))
    agent.ssh("true", flags=("-A",), env=ssh_agent)
    assert "agent not forwarded" in agent.session_log() and "PAM refused (account)" in agent.session_log()
