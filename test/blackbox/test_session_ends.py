"""tport-session against stock OpenSSH: many sessions on one connection, recordings, and how sessions end."""
import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest

from session_fixtures import LOGIN, agent, cast, keys, make, open_terminal, output, pytestmark, stop  # noqa: F401  (fixtures)
from session_harness import read_until


# ---- many sessions on one connection ----

def test_control_master(agent, keys):
    path = os.path.join(keys.dir, "cm")
    master = subprocess.Popen(["ssh", *agent.ssh_options(ControlMaster="yes", ControlPath=path), "-N", "node1"])
    agent.wait(lambda: os.path.exists(path))
    clients = [subprocess.Popen(["ssh", *agent.ssh_options(ControlPath=path), "node1", "echo %d; exit %d" % (i, i)],
                                stdout=subprocess.PIPE) for i in range(8)]
    for i, client in enumerate(clients):
        out, _ = client.communicate(timeout=20)
        assert out == b"%d\n" % i and client.returncode == i
    for i in range(20):
        assert subprocess.run(["ssh", *agent.ssh_options(ControlPath=path), "node1", "true"], timeout=10).returncode == 0
    assert agent.count == 1
    agent.wait(lambda: len(agent.ended) == 28)
    stop(master)


def test_max_sessions(make, keys):
    agent = make(max_sessions=2)
    path = os.path.join(keys.dir, "cm2")
    master = subprocess.Popen(["ssh", *agent.ssh_options(ControlMaster="yes", ControlPath=path), "-N", "node1"])
    agent.wait(lambda: os.path.exists(path))
    options = agent.ssh_options(ControlPath=path, ProxyCommand="false")
    held = [subprocess.Popen(["ssh", *options, "node1", "echo up; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(2)]
    for one in held:
        assert one.stdout.readline() == b"up\n"
    third = subprocess.run(["ssh", *options, "node1", "true"], capture_output=True, timeout=10)
    assert third.returncode != 0
    held[0].stdin.close()
    assert held[0].wait(5) == 0
    assert subprocess.run(["ssh", *options, "node1", "true"], timeout=10).returncode == 0
    held[1].stdin.close()
    held[1].wait(5)
    stop(master)


# ---- ends ----

def test_cut_tells_the_person_and_kills_within_a_second(agent):
    process, master = open_terminal(agent)
    os.write(master, b"trap '' HUP TERM; echo p''id=$$; sleep 1000\n")
    data = read_until(master, b"pid=")
    time.sleep(0.3)
    started = time.time()
    agent.lines[0].event("cut", {"reason": "locked", "text": "a lock is in force"})
    seen = read_until(master, b"a lock is in force")
    process.wait(5)
    assert time.time() - started < 1.0
    assert seen and data
    agent.wait(lambda: subprocess.run(["pgrep", "-u", LOGIN, "-f", "sleep 1000"], stdout=subprocess.DEVNULL).returncode, 1.5)
    agent.wait(lambda: agent.ended)
    assert list(agent.ended.values())[0]["reason"] == "locked"
    os.close(master)


def test_idle_timeout(make):
    agent = make(idle_timeout=1500)
    process, master = open_terminal(agent)
    read_until(master, b"$")
    started = time.time()
    read_until(master, b"idle timeout")
    assert process.wait(5) == 255
    assert 1 < time.time() - started < 4
    agent.wait(lambda: "client.disconnect" in [name for name, _ in agent.events])
    os.close(master)


def test_expired_certificate_ends_the_session(make):
    agent = make(disconnect_expired_cert=True)
    agent.grant_extra["cert_not_after"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    process, master = open_terminal(agent)
    read_until(master, b"your certificate has expired")
    assert process.wait(5) == 255
    os.close(master)


def test_strict_recording_failure_ends_the_session(agent):
    process, master = open_terminal(agent)
    read_until(master, b"$")
    agent.fail["recording.append"] = ("no_space", "the disk is full")
    os.write(master, b"echo more\n")
    read_until(master, b"can't be recorded")
    assert process.wait(5) == 255
    agent.wait(lambda: agent.ended)
    end = list(agent.ended.values())[0]
    assert end["reason"] == "recording_failed" and end["recorded"] is False
    os.close(master)


def test_best_effort_recording_failure_goes_on(make):
    agent = make(record="best_effort")
    agent.fail["recording.append"] = ("no_space", "the disk is full")
    result = agent.ssh("sleep 0.5; echo one; sleep 0.3; echo two")
    assert result.stdout == b"one\ntwo\n" and result.returncode == 0
    assert "goes on without a recording" in agent.session_log()


def test_recording_off(make):
    agent = make(record="off")
    assert agent.ssh("echo x").stdout == b"x\n"
    agent.wait(lambda: agent.ended)
    assert not agent.recordings


def test_slow_recorder_holds_the_terminal_back_and_loses_nothing(agent):
    agent.delay["recording.append"] = 0.05
    result = agent.ssh("stty -opost; head -c 4000000 /dev/zero | tr '\\0' x", flags=("-tt",), timeout=50)
    assert result.stdout.count(b"x") == 4000000
    agent.delay.clear()
    agent.wait(lambda: agent.ended)
    _, events = cast(agent)
    assert output(events).count("x") == 4000000


def child_of(parent, words):
    return int(subprocess.run(["pgrep", "-P", str(parent), "-f", words], capture_output=True, check=True).stdout)


def test_a_command_that_ends_while_the_line_is_full(agent):
    """libssh gets no further than the end of the data then: without a second call the channel is not closed, and ssh waits for ever."""
    with subprocess.Popen(["ssh", *agent.ssh_options(), "node1", "echo up; sleep 1; head -c 100000 /dev/zero"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as ssh:
        assert ssh.stdout.readline() == b"up\n"
        relay, net = child_of(ssh.pid, "socat"), child_of(agent.processes[0], "tport-session net")
        try:
            os.kill(relay, signal.SIGSTOP)  # nothing leaves the session's socket
            os.kill(net, signal.SIGSTOP)
            time.sleep(2)  # all that the command has said, and its end, wait for the session
            os.kill(net, signal.SIGCONT)
            time.sleep(0.5)
            os.kill(relay, signal.SIGCONT)
            out, _ = ssh.communicate(timeout=20)
            assert (ssh.returncode, len(out)) == (0, 100000)
        finally:
            for pid in (relay, net):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            ssh.kill()


def test_agent_death_ends_everything(agent):
    process, master = open_terminal(agent)
    read_until(master, b"$")
    agent.lines[0].sock.shutdown(socket.SHUT_RDWR)
    assert process.wait(5) == 255
    agent.reap()
    os.close(master)


def test_client_death_hangs_the_shell_up(agent):
    process, master = open_terminal(agent)
    os.write(master, b"echo r''eady; sleep 777\n")
    read_until(master, b"ready")
    process.kill()
    process.wait()
    agent.wait(lambda: agent.ended)
    agent.reap()
    agent.wait(lambda: subprocess.run(["pgrep", "-u", LOGIN, "-f", "sleep 777"], stdout=subprocess.DEVNULL).returncode)
    assert list(agent.ended.values())[0]["reason"] == "client_closed"
    os.close(master)


def test_hundred_connections_leave_nothing(agent):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        clients = [subprocess.Popen(["ssh", *agent.ssh_options(), "node1", "true"]) for _ in range(8)]
        assert [client.wait(30) for client in clients] == [0] * 8
    assert set(agent.reap(10)) == {0}
    assert len(agent.ended) == 40
    assert before <= len(os.listdir("/proc/self/fd"))
