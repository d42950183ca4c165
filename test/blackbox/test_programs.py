"""What the programs say by themselves, without a cluster: versions, help, wrong words."""

import socket
import subprocess

import pexpect
import pytest

from tport import BIN


def say(*words, **env):
    return subprocess.run([str(BIN / words[0]), *words[1:]], capture_output=True, text=True, timeout=20, check=False, **env)


@pytest.mark.parametrize("program", ["tport", "tportctl", "tportd"])
def test_each_program_tells_its_version(program):
    result = say(program, "--version")
    assert (result.returncode, result.stderr) == (0, "") and result.stdout == say(program, "version").stdout != ""


@pytest.mark.parametrize("program,group,lists", [("tport", "proxy", "proxy ssh"), ("tport", "kube", "kube login"),
                                                 ("tport", "recordings", "recordings ls"), ("tportctl", "users", "users add")])
def test_help_of_a_group_lists_its_commands(program, group, lists):
    for flag in ("--help", "-h"):
        result = say(program, group, flag)
        assert (result.returncode, result.stderr) == (0, "") and f"\n  {lists} " in result.stdout
    assert say(program, group).returncode == 1
    unknown = say(program, "frobnicate", "--help")
    assert unknown.returncode == 1 and 'there is no command "frobnicate"' in unknown.stderr


def test_status_of_tportd_has_a_help():
    result = say("tportd", "status", "--help")
    assert result.returncode == 0 and result.stdout.startswith("Usage: tportd status\n")
    assert say("tportd", "status", "--nonsense").returncode == 2


@pytest.mark.parametrize("proxy,sentence", [
    ("127.0.0.1:48935:9", 'the proxy\'s address "127.0.0.1:48935:9" is not valid: HOST or HOST:PORT is needed'),
    ("a:48935:9", 'the proxy\'s address "a:48935:9" is not valid: HOST or HOST:PORT is needed'),
    ("http://tport.example.com:443", 'the proxy speaks https alone: write "tport.example.com:443" without http://'),
    ("[::1]:1", "cannot connect to [::1]:1: Connection refused")])
def test_a_wrong_address_of_the_proxy_is_named_as_what_it_is(tmp_path, proxy, sentence):
    result = say("tport", "login", f"--proxy={proxy}", "--user=alice", input="", env={"TPORT_HOME": str(tmp_path)})
    assert (result.returncode, result.stderr) == (1, f"ERROR: {sentence}\n")


def test_help_of_ssh_promises_no_x11_and_no_port():
    """What test_matrix.py shows: "open x11" and "x11-req" are refused whatever a role says."""
    text = " ".join(say("tport", "ssh", "--help").stdout.split())
    port, x11 = "Taken for compatibility; a host has one way to it, whatever the port", "Taken for compatibility; hosts refuse to forward X11"
    assert f"-X, --x11 {x11} -Y, --x11-trusted The same as -X" in text and f"-p, --port=PORT {port}" in text
    assert f"-P, --port=PORT {port}" in " ".join(say("tport", "scp", "--help").stdout.split())


@pytest.mark.parametrize("what", ["nope", "fb3", "0123456789ABCDEF0123456789ABCDEF0123", "0" * 37])
def test_what_is_no_recording_is_refused_in_one_wording(tmp_path, what):
    result = say("tport", "play", what, env={"TPORT_HOME": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr == (f'ERROR: "{what}" is neither the ID of a session (4 characters of it or more, as "tport recordings ls" shows it) '
                             "nor the path of a file\n")


def test_what_is_played_into_a_file_is_the_recording_alone(tmp_path):
    """A sequence that puts a terminal in order, and an empty line, stood at the end of `tport play ID > file`."""
    cast = tmp_path / "one.cast"
    cast.write_text('{"version": 2, "width": 80, "height": 24}\n[0.01, "o", "hello\\r\\n"]\n')
    assert say("tport", "play", cast).stdout == "hello\n"  # read as text
    with pexpect.spawn(str(BIN / "tport"), ["play", str(cast)], timeout=10) as terminal:
        terminal.expect(pexpect.EOF)
        assert terminal.before.startswith(b"hello") and b"\x1b[?25h" in terminal.before


def test_a_file_with_a_verifier_key_that_is_not_there_is_said(tmp_path):
    for name in ("/nofile", "nofile", "/no+such+file"):
        result = say("tportctl", "audit", "verify", str(tmp_path), f"--key={name}", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (1, f"ERROR: {name} cannot be opened: No such file or directory\n")
    malformed = say("tportctl", "audit", "verify", str(tmp_path), "--key=name+x+y")
    assert malformed.returncode == 1 and "verifier key" in malformed.stderr


def test_who_waits_for_a_silent_proxy_is_told_for_whom(tmp_path):
    """It was 30 seconds with nothing on the screen. That they are 10 now, and what is said then: test_tls_client.c."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"127.0.0.1:{silent.getsockname()[1]}"
        child = pexpect.spawn(str(BIN / "tport"), ["login", f"--proxy={proxy}", "--user=alice"], env={"TPORT_HOME": str(tmp_path)}, timeout=8)
        child.expect_exact(f"Waiting for {proxy} ...\r\n")
        child.sendcontrol("c")
        child.expect(pexpect.EOF)
        assert child.before in (b"", b"^C")
        child.close()
