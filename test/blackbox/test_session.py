"""tport-session against stock OpenSSH: signing in, commands, terminals, copies, PAM. The test is the agent."""
import fcntl
import os
import pwd
import socket
import struct
import subprocess
import termios
import time

import pytest

import session_harness as harness
from session_fixtures import LOGIN, agent, cast, keys, make, open_terminal, pam_service, output, pytestmark  # noqa: F401  (fixtures)
from session_harness import read_until


# ---- signing in ----

def test_host_certificate_alone_is_enough_and_exit_status_is_kept(agent):
    result = agent.ssh("echo out; echo err >&2; exit 42")
    assert (result.returncode, result.stdout, result.stderr) == (42, b"out\n", b"err\n")
    agent.wait(lambda: agent.ended)
    end = list(agent.ended.values())[0]
    assert end["exit_code"] == 42 and end["recorded"] is True and end["reason"] == "done"
    assert ("exec", {"login": LOGIN, "command": "echo out; echo err >&2; exit 42", "exitCode": 42,
                     "exitError": "exit status 42"}) in agent.events
    assert agent.reap() == [0]


def test_exit_signal_is_kept(agent):
    result = agent.ssh("kill -TERM $$", options={"LogLevel": "VERBOSE"})
    assert result.returncode == 255 or b"SIGTERM" in result.stderr or b"signal" in result.stderr.lower()
    agent.wait(lambda: agent.ended)
    assert list(agent.ended.values())[0]["exit_code"] == 128 + 15


def test_r7_plain_key_password_and_foreign_certificate_are_refused(agent, keys):
    for options in ({"IdentityFile": keys.path("plain"), "CertificateFile": "none"},
                    {"PubkeyAuthentication": "no", "PasswordAuthentication": "yes", "BatchMode": "yes"}):
        result = agent.ssh("true", options=options)
        assert result.returncode == 255 and b"Permission denied (publickey)" in result.stderr
    agent.accepted.clear()
    result = agent.ssh("true")
    assert result.returncode == 255 and b"Permission denied" in result.stderr
    assert not [m for m, _ in agent.requests if m == "session.start"]


def test_r7_offer_without_signature_is_no_login(agent, keys, tmp_path):
    """The certificate without its private key: the offer is answered, and that is all."""
    for name in ("user.pub", "user-cert.pub"):
        (tmp_path / name).write_text(open(keys.path(name)).read())
    result = agent.ssh("true", options={"IdentityFile": str(tmp_path / "user.pub"), "IdentityAgent": "none",
                                        "CertificateFile": str(tmp_path / "user-cert.pub"), "BatchMode": "yes"})
    assert result.returncode == 255
    assert not [m for m, _ in agent.requests if m in ("session.start", "session.check_cert")]


def test_unknown_local_account_is_refused(agent):
    result = agent.ssh("true", options={"User": "nosuchlogin"})
    assert result.returncode == 255
    assert "there is no account nosuchlogin" in agent.session_log()


def test_login_outside_the_grant_is_refused(agent):
    assert agent.ssh("true", options={"User": "root"}).returncode == 255
    assert not [m for m, _ in agent.requests if m == "session.start"]


def test_r9_silent_client_is_dropped_after_ten_seconds(agent):
    conn = agent.connect()
    started = time.time()
    conn.settimeout(15)
    while conn.recv(4096):
        pass
    assert 8 < time.time() - started < 13


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, b"SSH-1.5-old\r\n", b"PROXY TCP4 1 2 3 4\r\n",
                                   b"SSH-2.0-x\r\n" + b"\xff" * 64, b"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x34"])
def test_r7_garbage_ends_the_connection_without_a_crash(agent, first):
    conn = agent.connect()
    conn.sendall(first)
    conn.shutdown(socket.SHUT_WR)
    conn.settimeout(12)
    try:
        while conn.recv(4096):
            pass
    except ConnectionResetError:
        pass
    assert agent.reap(12) == [0]
    assert "died" not in agent.session_log()


# ---- sessions ----

def test_session_start_comes_first_and_a_refusal_stops_the_command(agent, tmp_path):
    agent.fail["session.start"] = ("access_denied", "locked")
    mark = tmp_path / "ran"
    result = agent.ssh("touch %s" % mark)
    assert result.returncode != 0 and not mark.exists()


def test_r12_user_identity_and_environment(agent):
    result = agent.ssh("id -un; id -Gn; pwd; env; ls -l /proc/self/fd | wc -l; cat /proc/self/status",
                       options={"SendEnv": "LC_TEST LD_PRELOAD BASH_ENV SECRET LANG"},
                       env={**os.environ, "LC_TEST": "ok", "LD_PRELOAD": "", "BASH_ENV": "/x", "SECRET": "1",
                            "LANG": "C.UTF-8"})
    text = result.stdout.decode()
    lines = text.splitlines()
    assert lines[0] == LOGIN and lines[1] == LOGIN and lines[2] == "/home/" + LOGIN
    for wanted in ("LC_TEST=ok", "SSH_TELEPORT_USER=alice", "SSH_TELEPORT_CLUSTER_NAME=example", "USER=" + LOGIN,
                   "SSH_TELEPORT_HOST_UUID=11111111-1111-4111-8111-111111111111", "SSH_SESSION_WEBPROXY_ADDR=proxy.example:443",
                   "SSH_SESSION_ID=00000000-0000-4000-8000-000000000001", "LANG=C.UTF-8", "SHELL=/bin/bash",
                   "SSH_CONNECTION=192.0.2.7 4321 127.0.0.1 22"):
        assert wanted in lines, wanted
    for name in ("LD_PRELOAD", "BASH_ENV", "SECRET"):
        assert not [line for line in lines if line.startswith(name + "=")], name
    ignored = int([line for line in lines if line.startswith("SigIgn:")][0].split()[1], 16)
    assert ignored & 0x7fffffff == 0  # the two above are the C library's own
    assert "NoNewPrivs:\t0" in text


def test_net_half_is_unprivileged_and_sealed(agent):
    result = agent.ssh("for p in /proc/[0-9]*; do grep -lx 'Name:.tport-session' $p/status 2>/dev/null; done | "
                       "while read f; do grep -E '^(Uid|NoNewPrivs|Seccomp):' $f; done")
    text = result.stdout.decode()
    uid = pwd.getpwnam("nobody").pw_uid
    seal = 0 if b"__asan_init" in open(harness.SESSION, "rb").read() else 2  # sanitizers need more than the filter allows
    assert "Uid:\t%d\t%d\t%d\t%d\nNoNewPrivs:\t1\nSeccomp:\t%d" % (uid, uid, uid, uid, seal) in text


def test_terminal_shell_resize_and_recording(agent):
    process, master = open_terminal(agent)
    os.write(master, b"stty size; echo $TERM; tty; shopt -q login_shell && echo login-$((1+1))\n")
    seen = read_until(master, b"login-2\r")
    assert b"33 101" in seen and b"xterm" in seen and b"/dev/pts/" in seen
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    time.sleep(0.3)
    os.write(master, b"stty size\n")
    read_until(master, b"40 120")
    os.write(master, "echo h\u00e9llo-w\u00f6rld; exit 3\n".encode())
    read_until(master, "h\u00e9llo-w\u00f6rld\r".encode())
    assert process.wait(5) == 3
    agent.wait(lambda: agent.ended)
    header, events = cast(agent)
    assert (header["version"], header["width"], header["height"]) == (2, 101, 33)
    assert header["env"] == {"TERM": "xterm", "SHELL": "/bin/bash"}
    assert "h\u00e9llo-w\u00f6rld" in output(events)
    assert [e[2] for e in events if e[1] == "r"] == ["120x40"]
    assert [e[0] for e in events] == sorted(e[0] for e in events)
    assert [f["size"] for name, f in agent.events if name == "resize"] == ["120:40"]
    os.close(master)


def test_a_flood_of_sizes_does_not_fill_the_record(agent):
    """Evidence is kept up to a size: who sends sizes all day must not age out what others did."""
    process, master = open_terminal(agent)
    os.write(master, b"echo ready-$((1+1))\n")
    read_until(master, b"ready-2\r")
    began, sent = time.time(), 0
    while time.time() < began + 2:
        sent += 1
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 20 + sent % 30, 60 + sent % 90, 0, 0))
        time.sleep(0.004)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 121, 0, 0))
    time.sleep(0.2)
    os.write(master, b"stty size\n")
    read_until(master, b"41 121")
    os.write(master, b"exit\n")
    assert process.wait(5) == 0
    agent.wait(lambda: agent.ended)
    most = (time.time() - began) / 0.25 + 2
    told = [f["size"] for name, f in agent.events if name == "resize"]
    assert sent > 10 * most  # or nothing had to be merged
    assert 2 < len(told) <= most and told[-1] == "121:41"
    drawn = [e[2] for e in cast(agent)[1] if e[1] == "r"]
    assert drawn == [size.replace(":", "x") for size in told]
    os.close(master)


def test_terminal_modes_are_the_clients(agent):
    """RFC 4254 section 8: keys and settings of the person's terminal are those of the session's."""
    def prepare(fd):
        modes = termios.tcgetattr(fd)
        modes[0] = (modes[0] & ~termios.IXON & ~termios.IXANY) | 0o40000  # IUTF8
        modes[3] = modes[3] & ~termios.ECHOCTL
        modes[6][termios.VERASE] = b"\x08"
        modes[6][termios.VINTR] = b"\x0b"
        modes[6][termios.VSUSP] = b"\x00"
        termios.tcsetattr(fd, termios.TCSANOW, modes)

    process, master = open_terminal(agent, "stty -a; echo do''ne; cat", prepare=prepare)
    seen = read_until(master, b"done").decode().replace("\r\n", " ")
    for wanted in ("erase = ^H", "intr = ^K", "susp = <undef>", "-ixon", " iutf8 ", "-echoctl"):
        assert wanted in seen, wanted
    os.write(master, b"\x0b")
    assert process.wait(10) in (130, 255)  # by a signal
    os.close(master)
    process, master = open_terminal(agent, "stty -a; echo do''ne")
    seen = read_until(master, b"done").decode().replace("\r\n", " ")
    assert "erase = ^?" in seen and "intr = ^C" in seen and " ixon " in seen and "-iutf8" in seen
    process.wait(10)
    os.close(master)


def test_signal_by_terminal_and_background_output(agent):
    process, master = open_terminal(agent)
    os.write(master, b"echo r''eady; cat\n")
    read_until(master, b"ready\r")
    time.sleep(0.5)
    os.write(master, b"\x03")
    read_until(master, b"$ ")
    os.write(master, b"echo st''ill\n")
    read_until(master, b"still")
    os.write(master, b"exit\n")
    assert process.wait(5) in (0, 130)
    os.close(master)


def test_plain_output_is_recorded_as_a_terminal_shows_it(agent):
    """Each line began where the one above it ended: what the program wrote stood there with its bare line feeds."""
    result = agent.ssh(r"printf 'one\ntwo\r\nthree\r'; sleep 0.2; printf '\nfour\n\n'")
    assert result.stdout == b"one\ntwo\r\nthree\r\nfour\n\n"
    agent.wait(lambda: agent.ended)
    assert output(cast(agent)[1]) == "one\r\ntwo\r\nthree\r\nfour\r\n\r\n"


def test_plain_output_is_recorded_up_to_one_mebibyte(agent):
    result = agent.ssh("head -c 3000000 /dev/zero | tr '\\0' a")
    assert len(result.stdout) == 3000000
    agent.wait(lambda: agent.ended)
    _, events = cast(agent)
    assert len(output(events)) == 1024 * 1024
    assert events[-1][1] == "m"


def test_a_command_that_writes_no_text_has_a_record_of_bounded_size(agent):
    """Each of these bytes takes six in the record, which took as much of the processors as the transfer itself."""
    agent.ssh("head -c 3000000 /dev/zero")
    agent.wait(lambda: agent.ended)
    _, events = cast(agent)
    assert 200_000 < len(output(events)) < 250_000
    assert events[-1][1:] == ["m", "the output after this is not recorded"]


def test_stdin_reaches_the_command_and_binary_is_kept(agent):
    data = os.urandom(3 * 1024 * 1024)
    result = agent.ssh("cat", stdin=data)
    assert result.stdout == data and result.returncode == 0
    agent.wait(lambda: agent.ended)
    agent.recordings[sorted(agent.recordings)[0]].decode("utf-8")


def test_slow_reader_loses_nothing(agent):
    process = subprocess.Popen(["ssh", *agent.ssh_options(), "node1", "seq 1 400000"], stdout=subprocess.PIPE)
    time.sleep(1.5)
    data = process.stdout.read()
    assert process.wait(10) == 0
    assert data == "".join("%d\n" % i for i in range(1, 400001)).encode()


def test_rekey_in_the_middle(agent):
    result = agent.ssh("head -c 5000000 /dev/zero", options={"RekeyLimit": "1M"})
    assert len(result.stdout) == 5000000
    result = agent.ssh("wc -c", options={"RekeyLimit": "1M"}, stdin=b"\0" * 5000000)
    assert result.stdout.strip() == b"5000000"


@pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
                                    "aes128-ctr", "aes256-ctr"])
def test_ciphers(agent, cipher):
    result = agent.ssh("head -c 1000000 /dev/zero | tee /dev/stderr | wc -c", options={"Ciphers": cipher})
    assert result.stdout.strip() == b"1000000" and len(result.stderr) == 1000000


def test_weak_algorithms_are_not_offered(agent):
    for options in ({"KexAlgorithms": "diffie-hellman-group14-sha1"}, {"Ciphers": "aes128-cbc"},
                    {"MACs": "hmac-sha1", "Ciphers": "aes128-ctr"}):
        result = agent.ssh("true", options=options)
        assert result.returncode == 255
    assert not agent.requests


def test_strict_kex_is_negotiated(agent):
    """The Terrapin counter-measure: sequence numbers start again after NEWKEYS."""
    result = agent.ssh("true", options={"LogLevel": "DEBUG3"})
    assert b"kex-strict-s-v00@openssh.com" in result.stderr


def test_keepalive_is_answered(agent):
    result = agent.ssh("sleep 3; echo done", options={"ServerAliveInterval": "1", "ServerAliveCountMax": "1"})
    assert result.stdout == b"done\n"


# ---- files ----

def copy_tree(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(os.urandom(2_000_000))
    (source / "b").write_text("b")
    return source


@pytest.mark.parametrize("legacy", [[], ["-O"]])
def test_scp(agent, tmp_path, legacy):
    source = copy_tree(tmp_path)
    subprocess.run(["scp", *legacy, "-q", *agent.ssh_options(), str(source / "a"), "node1:copied"], check=True, timeout=20)
    subprocess.run(["scp", *legacy, "-q", *agent.ssh_options(), "node1:copied", str(tmp_path / "back")], check=True,
                   timeout=20)
    assert (tmp_path / "back").read_bytes() == (source / "a").read_bytes()


def test_sftp_is_not_recorded(agent, tmp_path):
    source = copy_tree(tmp_path)
    batch = tmp_path / "batch"
    batch.write_text("put %s x\nrename x y\nget y %s\nls -l\nrm y\n" % (source / "a", tmp_path / "got"))
    subprocess.run(["sftp", "-q", *agent.ssh_options(), "-b", str(batch), "node1"], check=True, timeout=20,
                   stdout=subprocess.DEVNULL)
    assert (tmp_path / "got").read_bytes() == (source / "a").read_bytes()
    agent.wait(lambda: agent.ended)
    assert not agent.recordings
    start = [p for m, p in agent.requests if m == "session.start"][0]
    assert (start["kind"], start["command"]) == ("subsystem", "sftp")


@pytest.mark.skipif(not harness.have("rsync"), reason="no rsync")
def test_rsync(agent, tmp_path):
    source = copy_tree(tmp_path)
    shell = "ssh " + " ".join("'%s'" % word for word in agent.ssh_options())
    subprocess.run(["rsync", "-a", "-e", shell, str(source) + "/", "node1:synced/"], check=True, timeout=20)
    assert agent.ssh("cat synced/b").stdout == b"b"


def test_r2_file_copy_refused_when_roles_say_so(make, tmp_path):
    agent = make(file_copy=False)
    source = copy_tree(tmp_path)
    for command in (["scp", "-q"], ["scp", "-O", "-q"]):
        assert subprocess.run([*command, *agent.ssh_options(), str(source / "b"), "node1:x"], timeout=20,
                              stderr=subprocess.DEVNULL).returncode != 0
    assert agent.ssh("/usr/bin/rsync --server .").returncode != 0
    assert agent.ssh("echo fine").stdout == b"fine\n"
    assert "the roles do not allow file copy" in agent.session_log()


def test_r2_other_subsystems_are_refused(agent):
    assert agent.ssh("netconf", flags=("-s",)).returncode != 0


# ---- PAM ----

def test_pam_account_can_refuse(agent, pam_service):  # noqa: F811
    agent.config_extra = pam_service("auth required pam_permit.so", "account required pam_deny.so",
                                     "session required pam_permit.so")
    result = agent.ssh("echo no")
    assert result.returncode == 255 and result.stdout == b""
    assert "PAM refused (account)" in agent.session_log()


def test_pam_session_speaks_and_sets_variables(agent, pam_service, tmp_path):  # noqa: F811
    (tmp_path / "env").write_text("FROM_PAM=yes\n")
    agent.config_extra = pam_service("auth required pam_permit.so", "account required pam_permit.so",
                                     "session required pam_echo.so welcome here",
                                     "session required pam_env.so conffile=/dev/null envfile=%s" % (tmp_path / "env"))
    result = agent.ssh("echo pam=$FROM_PAM", flags=("-tt",))
    assert b"welcome here\r\n" in result.stdout and b"pam=yes" in result.stdout
