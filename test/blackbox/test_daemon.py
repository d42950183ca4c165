"""The daemon's life: reload, drain, crash, bad files, kill -9 of each process."""

import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pexpect
import pytest

import tport
from tport import BIN, DIES_WITH_US, ROOT_USER, in_host, wait_for


def test_reload_keeps_sessions_and_serves_on(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo before-$((20+3))")
    shell.expect("before-23")
    failures, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                if cluster.https("GET", "/webapi/ping").status != 200:
                    failures.append("status")
            except OSError as error:
                failures.append(repr(error))

    thread = threading.Thread(target=load)
    thread.start()
    old = set(cluster.daemon.children("worker"))
    for _ in range(3):
        assert cluster.daemon.signal("reload").returncode == 0
        time.sleep(1)
    wait_for(lambda: len(set(cluster.daemon.children("worker")) - old) >= 2)
    stop.set()
    thread.join()
    assert not failures, failures[:3]
    shell.sendline("echo after-$((40+2)); exit")
    shell.expect("after-42")
    wait_for(lambda: person.tport("ssh", "root@node1", "echo new").stdout == "new\n")


def test_bad_file_leaves_the_old_configuration(fresh):
    cluster = fresh()
    good = cluster.daemon.conf.read_text()
    cluster.daemon.write(good + "\nnonsense: yes\n")
    result = cluster.daemon.signal("reload")
    assert result.returncode == 1 and "nonsense" in result.stderr
    os.kill(cluster.daemon.master_pid(), signal.SIGHUP)
    wait_for(lambda: "reload refused" in cluster.daemon.text())
    assert cluster.https("GET", "/webapi/ping").status == 200
    assert re.search(r"tport.conf:\d+", cluster.daemon.text())


def test_who_reloads_is_told_what_the_daemon_refuses(fresh):
    """The file was read by who asked, and found good; that a port was taken stood in the log alone, and the exit code was 0."""
    cluster = fresh()
    host, port = cluster.proxy.split(":")
    taken = int(port) + 1 if cluster.net.real else tport.Cluster._free_port()
    good = cluster.daemon.conf.read_text()
    cluster.daemon.write(good.replace(f"web_listen_addr: {cluster.proxy}", f"web_listen_addr: {host}:{taken}"))
    workers = set(cluster.daemon.children("worker"))
    with in_host(cluster.net, "proxy"):
        other = socket.create_server((host, taken))
    result = cluster.daemon.signal("reload")
    assert result.returncode == 1, result
    assert f"can't listen on {host}:{taken}: another program has the port" in result.stderr, result.stderr
    assert result.stderr.endswith("tportd: not reloaded, the old configuration stays in force\n"), result.stderr
    assert cluster.https("GET", "/webapi/ping").status == 200 and set(cluster.daemon.children("worker")) == workers
    other.close()
    assert cluster.daemon.signal("reload").returncode == 0
    cluster.proxy = f"{host}:{taken}"
    wait_for(lambda: cluster.https("GET", "/webapi/ping").status == 200)
    # What can't change while it runs is said, too.
    cluster.daemon.write(good.replace("cluster_name: test", "cluster_name: other"))
    result = cluster.daemon.signal("reload")
    assert result.returncode == 1 and "cluster_name can't change" in result.stderr, result
    pid = cluster.daemon.master_pid()
    elsewhere = cluster.folder / "elsewhere"
    cluster.daemon.write(good.replace(f"data_dir: {cluster.daemon.data}", f"data_dir: {elsewhere}\n  pid_file: {cluster.daemon.data}/tportd.pid"))
    result = cluster.daemon.signal("reload")
    assert result.returncode == 1 and f"(process {pid}) does not use data_dir {elsewhere}" in result.stderr, result
    cluster.daemon.write(good)
    # Many at once, and after an upgrade: each is told.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {r.returncode for r in pool.map(lambda _: cluster.daemon.signal("reload"), range(16))} == {0}
    assert cluster.daemon.signal("upgrade").returncode == 0
    wait_for(lambda: "upgraded, taking over" in cluster.daemon.text())
    wait_for(lambda: cluster.daemon.signal("reload").returncode == 0)
    # A daemon of before tells nothing: nobody waits for it.
    (cluster.daemon.data / "tportd.lock").write_text(f"{pid}\n")
    start = time.time()
    assert cluster.daemon.signal("reload").returncode == 0 and time.time() - start < 10


def with_log(text, log):
    return text.replace("tport:\n", f"tport:\n  log:\n    output: {log}\n", 1)


def test_who_reloads_is_told_that_the_log_file_cannot_be_opened(fresh):
    """The daemon said so in its old log alone: the exit code was 0, and the configuration was in force but for its log."""
    cluster = fresh()
    log, aside = cluster.folder / "own.log", cluster.folder / "aside.log"
    good = cluster.daemon.conf.read_text()

    def refused(path, why):
        workers = set(cluster.daemon.children("worker"))
        seen = log.read_text().count("reload refused")
        result = cluster.daemon.signal("reload")
        assert result.returncode == 1 and result.stdout == "", result
        assert result.stderr == (f"tportd: can't open {path} (tport.log.output): {why}\n"
                                 "tportd: not reloaded, the old configuration stays in force\n"), result.stderr
        assert log.read_text().count("reload refused") == seen + 1
        assert set(cluster.daemon.children("worker")) == workers
        assert cluster.https("GET", "/webapi/ping").status == 200

    cluster.daemon.write(with_log(good, log))
    assert cluster.daemon.signal("reload").returncode == 0
    wait_for(lambda: "serving" in log.read_text())
    for path, why in ((cluster.folder / "nowhere" / "tportd.log", "No such file or directory"), ("/proc/tportd.log", "No such file or directory"),
                      (cluster.folder, "Is a directory")):
        cluster.daemon.write(with_log(good, path))
        refused(path, why)
    # The file that is in use, opened anew: a folder lies in its place.
    cluster.daemon.write(with_log(good, log))
    log = log.rename(aside)
    place = cluster.folder / "own.log"
    place.mkdir()
    refused(place, "Is a directory")
    # An upgrade goes on in the old file too: what runs is not ended for a log.
    assert cluster.daemon.signal("upgrade").returncode == 0
    wait_for(lambda: "upgraded, taking over" in log.read_text() and "the log goes on in the old file" in log.read_text())
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0)
    place.rmdir()
    wait_for(lambda: cluster.daemon.signal("reload").returncode == 0)
    # Processes that live on write into the new file, too.
    log = cluster.folder / "own.log"
    before = log.read_text()
    assert "configuration loaded" in before
    person = cluster.person("logged")
    person.tport("status", check=True)
    wait_for(lambda: " auth " in log.read_text())


@pytest.mark.parametrize("role", ["worker", "auth"])
def test_kill_9_of_a_process(fresh, role):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    cluster.ctl("tokens", "add", "--type=node", "--value=survives-the-crash-0123456789abcd")
    for pid in cluster.daemon.children(role):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: cluster.daemon.children(role))
    wait_for(lambda: person.tport("ssh", "root@node1", "echo back").stdout == "back\n", 40)
    assert "surv*" in cluster.ctl("tokens", "ls", "--with-secrets").stdout


def test_a_dead_worker_loses_only_its_own_connections(fresh):
    cluster = fresh(nodes=("node1",))
    auth = set(cluster.daemon.children("auth"))
    first = sorted(cluster.daemon.children("worker"))[0]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: cluster.https("GET", "/webapi/ping").status == 200)
    assert set(cluster.daemon.children("auth")) == auth


def test_no_acknowledged_write_is_lost_at_kill_9(fresh):
    """Users that tportctl said were created are there after auth was killed in the middle of it all."""
    cluster = fresh()
    acknowledged = []
    stop = threading.Event()

    def add():
        number = 0
        while not stop.is_set():
            number += 1
            result = cluster.ctl("users", "add", f"u{number}", "--roles=access", check=False)
            if result.returncode == 0:
                acknowledged.append(f"u{number}")

    thread = threading.Thread(target=add)
    thread.start()
    for _ in range(4):
        time.sleep(0.7)
        for pid in cluster.daemon.children("auth"):
            os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    stop.set()
    thread.join()
    wait_for(lambda: cluster.ctl("users", "ls", check=False).returncode == 0)
    assert acknowledged
    listed = {u["metadata"]["name"] for u in json.loads(cluster.ctl("users", "ls", "--format=json").stdout)}
    assert set(acknowledged) <= listed
    created = {e.get("name") for e in cluster.audit(limit=5000) if e["event"] == "user.create"}
    assert set(acknowledged) <= created


def test_upgrade_in_place(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo first-$((1+1))")
    shell.expect("first-2")
    master = cluster.daemon.master_pid()
    old = set(cluster.daemon.children("worker"))
    assert cluster.daemon.signal("upgrade").returncode == 0
    wait_for(lambda: "upgraded, taking over" in cluster.daemon.text())
    wait_for(lambda: len(set(cluster.daemon.children("worker")) - old) >= 2)
    assert cluster.daemon.master_pid() == master
    wait_for(lambda: cluster.https("GET", "/webapi/ping").status == 200)
    shell.sendline("echo second-$((2+2)); exit")
    shell.expect("second-4")
    wait_for(lambda: person.tport("ssh", "root@node1", "echo new").stdout == "new\n")


def test_quit_finishes_what_runs(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo up-$((1+1)); sleep 3; echo done-$((2+2)); exit")
    shell.expect("up-2")
    assert cluster.daemon.signal("quit").returncode == 0
    shell.expect("done-4")
    assert cluster.daemon.process.wait(20) == 0
    assert "stopped" in cluster.daemon.text()


def test_a_reload_does_not_undo_a_quit(fresh):
    """It listened again and started new workers, said that all was well, and a daemon that had been told to go served on for ever."""
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo up-$((1+1)); sleep 6; echo done-$((2+2)); exit")
    shell.expect("up-2")
    workers = cluster.daemon.children("worker")
    assert cluster.daemon.signal("quit").returncode == 0
    wait_for(lambda: "draining" in cluster.daemon.text())
    result = cluster.daemon.signal("reload")
    assert result.returncode == 1 and "it is stopping" in result.stderr, result
    assert set(cluster.daemon.children("worker")) <= set(workers)
    shell.expect("done-4")
    assert cluster.daemon.process.wait(20) == 0


def test_reopen(fresh):
    cluster = fresh()
    log = cluster.folder / "own.log"
    cluster.daemon.write(with_log(cluster.daemon.conf.read_text(), log))
    cluster.daemon.stop()
    cluster.start()
    log.rename(f"{log}.1")
    assert cluster.daemon.signal("reopen").returncode == 0
    assert "log reopened" in log.read_text() # it is done when the program ends


def test_who_reopens_is_told_that_the_log_file_cannot_be_opened(fresh):
    """The exit code was 0, and logrotate went on as if all was well."""
    cluster = fresh()
    log = cluster.folder / "own.log"
    cluster.daemon.write(with_log(cluster.daemon.conf.read_text(), log))
    assert cluster.daemon.signal("reload").returncode == 0
    log.rename(f"{log}.1")
    log.mkdir()
    result = cluster.daemon.signal("reopen")
    assert result.returncode == 1 and result.stderr == (f"tportd: can't open {log} (tport.log.output): Is a directory\n"
                                                        "tportd: not reopened, the log goes on in the old file\n"), result
    assert "the log goes on in the old file" in pathlib.Path(f"{log}.1").read_text()
    log.rmdir()
    assert cluster.daemon.signal("reopen").returncode == 0 and "log reopened" in log.read_text()


def test_stop_ends_everything(fresh):
    cluster = fresh()
    pids = list(cluster.daemon.children())
    assert cluster.daemon.stop() == 0
    assert not [p for p in pids if pathlib.Path(f"/proc/{p}").exists()]


def test_what_a_session_has_to_say_at_a_stop_is_heard(fresh):
    """Found by stopping the demo with a shell open: auth stopped together with the agent, so the end of the session was not on record, and the
    recording stayed "live"."""
    cluster = fresh()
    cluster.daemon.stop()
    cluster.daemon.write(cluster.conf().replace("ssh_service:\n  enabled: no", "ssh_service:\n  enabled: yes"))
    cluster.daemon.start()
    cluster.wait_online("proxy")
    person = cluster.person("stopper")
    shell = person.spawn(BIN / "tport", "ssh", "root@proxy")
    shell.sendline("echo in-$((1+1))")
    shell.expect("in-2")
    assert cluster.daemon.stop() == 0
    log = cluster.daemon.text()
    assert "killing it" not in log and "session process does not end" not in log and "recording failed" not in log
    shell.close(force=True)
    cluster.daemon.start()
    [end] = wait_for(lambda: cluster.audit(type="session.end", user="stopper"), 30)
    assert end["interactive"] and end["session_stop"]
    [kept] = json.loads(cluster.ctl("recordings", "ls", "--format=json").stdout)
    assert kept["state"] == "done" and kept["size"] > 100, kept


def test_port_taken(cluster, tmp_path):
    conf = tmp_path / "tport.conf"
    conf.write_text(cluster.conf().replace(f"{cluster.folder}/proxy/data", f"{cluster.folder}/second"))
    result = subprocess.run(cluster.net.prefix("proxy") + [str(BIN / "tportd"), "-c", str(conf)], capture_output=True, text=True,
                            timeout=20, check=False)
    assert result.returncode == 1 and "another program has the port" in result.stderr


@pytest.mark.parametrize("text,says", [
    ("tport:\n\tnodename: x\n", "tabs"),
    ("tport:\n  nodenam: x\n", "nodenam"),
    ("tport: &a\n  nodename: *a\n", ":1"),
    ("a: " + "[" * 200 + "]" * 200, "deep"),
    ("x" * 10_000_000, "at most"),
], ids=["tabs", "unknown key", "alias", "nesting", "10 MB"])
def test_bad_configuration_is_one_clear_sentence(tmp_path, text, says):
    conf = tmp_path / "tport.conf"
    conf.write_text(text)
    result = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(conf)], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 1
    assert says in result.stderr, result.stderr[:500]
    assert len(result.stderr.splitlines()) <= 3


@pytest.mark.skipif(not ROOT_USER, reason="needs root to change users")
def test_F11_processes_have_users_and_filters_of_their_own(cluster):
    for role, user in (("auth", "tport-auth"), ("worker", "tport-worker")):
        for pid in cluster.daemon.children(role):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            uid = int(re.search(r"Uid:\t(\d+)", status).group(1))
            import pwd
            assert pwd.getpwuid(uid).pw_name == user
            assert "NoNewPrivs:\t1" in status
            if "asan" not in str(BIN):
                assert "Seccomp:\t2" in status


def sockets(pid):
    """Inodes of the sockets that a process holds."""
    found = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found


def test_F11_no_process_holds_the_line_of_another(fresh):
    """A line that a neighbour holds too could be spoken on by it, and its end would never be noticed."""
    cluster = fresh(workers=3)
    held = {pid: sockets(pid) for pid in cluster.daemon.children()}
    tables = pathlib.Path(f"/proc/{cluster.daemon.master_pid()}/net/tcp").read_text().splitlines()[1:]
    listening = {int(line.split()[9]) for line in tables if line.split()[3] == "0A"}
    for one, mine in held.items():
        for other, theirs in held.items():
            assert one == other or not (mine & theirs) - listening
    killed, pid = next((title, pid) for pid, title in cluster.daemon.children().items() if title == "worker")
    assert killed == "worker"
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "line closed kind=worker" in cluster.daemon.text(), 10)


def test_pid_file_is_no_way_to_overwrite_another(fresh):
    cluster = fresh(workers=1)
    cluster.daemon.stop()
    precious = cluster.folder / "precious"
    precious.write_text("of another program\n")
    (cluster.daemon.data / "tportd.pid").symlink_to(precious)
    cluster.daemon.start()
    assert cluster.daemon.process.wait(20) == 1
    assert "tportd.pid is a symbolic link" in cluster.daemon.text() and "tport.pid_file" in cluster.daemon.text()
    assert precious.read_text() == "of another program\n"


@pytest.mark.parametrize("kind, words", [("symlink", "is a symbolic link, which is not followed"), ("hardlink", "is no plain file"),
                                         ("fifo", "is no plain file")])
def test_log_file_is_no_way_to_write_to_another(fresh, kind, words):
    cluster = fresh(workers=1)
    cluster.daemon.stop()
    precious = cluster.folder / "precious"
    precious.write_text("of another program\n")
    log = cluster.folder / "tportd.log"

    def lay():
        {"symlink": lambda: log.symlink_to(precious), "hardlink": lambda: os.link(precious, log), "fifo": lambda: os.mkfifo(log)}[kind]()

    lay()
    text = cluster.daemon.conf.read_text()
    cluster.daemon.conf.write_text(text.replace("  processes:", f"  log:\n    output: {log}\n  processes:", 1))
    cluster.daemon.start()
    assert cluster.daemon.process.wait(20) == 1
    assert words in cluster.daemon.text() and "tport.log.output" in cluster.daemon.text()
    # The same at reopening, where the daemon lives on with the file that it has.
    log.unlink()
    cluster.start()
    moved = log.rename(cluster.folder / "tportd.log.1")
    lay()
    cluster.daemon.signal("reopen")
    wait_for(lambda: "the log goes on in the old file" in moved.read_text())
    assert words in moved.read_text() and cluster.ctl("status").returncode == 0
    log.unlink()
    cluster.daemon.signal("reopen")
    wait_for(lambda: log.exists() and "log reopened" in log.read_text())
    assert log.stat().st_mode & 0o777 == 0o640
    assert precious.read_text() == "of another program\n"


def running(cluster):
    return json.loads(cluster.ctl("sessions", "ls", "--format=json").stdout)


def test_upgrade_does_not_bring_ended_sessions_back(fresh):
    """A reload takes the workers away that held them, so that nobody can tell the new auth process that they are over."""
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    for _ in range(3):
        assert person.tport("ssh", "root@node1", "true").returncode == 0
    since = {node["spec"]["hostname"]: node["online_since"] for node in cluster.node_list()}
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo first-$((1+1))")
    shell.expect("first-2")
    wait_for(lambda: len(running(cluster)) == 1)
    assert cluster.daemon.signal("reload").returncode == 0
    time.sleep(1)
    assert cluster.daemon.signal("upgrade").returncode == 0
    wait_for(lambda: "upgraded, taking over" in cluster.daemon.text())
    wait_for(lambda: len(cluster.daemon.children("auth")) == 1 and cluster.ctl("status", check=False).returncode == 0)
    live = running(cluster)
    assert len(live) == 1, live
    ended = [e["sid"] for e in cluster.audit(type="session.end")]
    assert len(set(ended)) == 3
    before = len(cluster.audit(type="client.disconnect"))
    over = cluster.ctl("sessions", "end", ended[0], check=False)
    assert over.returncode == 1 and "has already ended" in over.stderr, over
    never = cluster.ctl("sessions", "end", "00000000-0000-4000-8000-000000000000", check=False)
    assert never.returncode == 1 and "there is no session" in never.stderr, never
    assert len(cluster.audit(type="client.disconnect")) == before
    shell.sendline("echo second-$((2+2))")
    shell.expect("second-4")
    cluster.ctl("sessions", "end", live[0]["id"][:8])
    shell.expect(pexpect.EOF)
    wait_for(lambda: len(cluster.audit(type="session.end")) == 4)
    said = cluster.audit(type="client.disconnect")
    assert [(e["user"], e["ended_by"]) for e in said] == [("alice", "admin")], said
    # "Online since" began anew with the tunnels.
    for node in cluster.node_list():
        moved = datetime.datetime.fromisoformat(node["online_since"].rstrip("Z")) - datetime.datetime.fromisoformat(since[node["spec"]["hostname"]].rstrip("Z"))
        assert abs(moved.total_seconds()) < 1, (node, since)


def test_a_session_that_ends_while_auth_is_away_ends_as_it_did(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo first-$((1+1))")
    shell.expect("first-2")
    time.sleep(0.6)  # auth stores what runs every 200 ms
    master = cluster.daemon.master_pid()
    os.kill(master, signal.SIGSTOP)  # nobody starts auth again before the shell has ended
    try:
        for pid in cluster.daemon.children("auth"):
            os.kill(pid, signal.SIGKILL)
        shell.sendline("exit 3")
        shell.expect(pexpect.EOF)
        time.sleep(1)
    finally:
        os.kill(master, signal.SIGCONT)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0)
    end = wait_for(lambda: cluster.audit(type="session.end"))
    assert [(e["reason"], e.get("exitCode")) for e in end] == [("done", 3)], end
    assert not running(cluster)


def test_a_command_that_ends_while_auth_is_away_is_on_record(fresh):
    """Its end was repeated until auth heard it, but not what it was and how it ended: that was lost."""
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    command = person.spawn(BIN / "tport", "ssh", "root@node1", "echo up; read line; exit 3")
    command.expect("up")
    time.sleep(0.6)
    master = cluster.daemon.master_pid()
    os.kill(master, signal.SIGSTOP)
    try:
        for pid in cluster.daemon.children("auth"):
            os.kill(pid, signal.SIGKILL)
        command.sendline("")
        command.expect(pexpect.EOF)
        time.sleep(1)
    finally:
        os.kill(master, signal.SIGCONT)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0)
    wait_for(lambda: cluster.audit(type="session.end"))
    done = wait_for(lambda: cluster.audit(type="exec"), 5)
    assert [(e["command"], e["exitCode"], e["user"]) for e in done] == [("echo up; read line; exit 3", 3, "alice")], done


def test_auth_dies_again_before_it_has_heard_of_the_tunnels(fresh):
    """Its workers took that for a refusal: they closed the tunnels, and all sessions in them ended."""
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    session = person.spawn(BIN / "tport", "ssh", "root@node1", "sed -u s/^/heard-/")
    session.sendline("before")
    session.expect("heard-before")
    def replace_auth():
        ready = cluster.daemon.text().count("auth ready")
        for pid in cluster.daemon.children("auth"):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: cluster.daemon.text().count("auth ready") > ready, 30)
    # Standing still, the workers find the line to the next auth process when that is dead, too.
    workers = cluster.daemon.children("worker")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        replace_auth()
        replace_auth()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0)
    session.sendline("after")
    session.expect("heard-after")
    assert "tunnel refused" not in cluster.daemon.text()
    wait_for(lambda: person.tport("ssh", "root@node1", "true").returncode == 0)  # and it is on the map of the new process


def start_and_end(conf):
    """(exit code, what it says) of a tportd that must not come up."""
    result = subprocess.run([*DIES_WITH_US, str(BIN / "tportd"), "-c", str(conf)], capture_output=True, text=True, timeout=20, check=False)
    return result.returncode, result.stderr


def test_a_second_tportd_on_one_data_dir_is_refused_and_harms_nothing(fresh, tmp_path):
    cluster = fresh()
    master = cluster.daemon.master_pid()
    second = tmp_path / "second.conf"
    second.write_text(cluster.daemon.conf.read_text().replace(f"listen_addr: {cluster.proxy}", "listen_addr: 127.0.0.1:20017")
                      .replace("tport:\n", f"tport:\n  log:\n    output: {tmp_path}/second.log\n", 1))

    def refused():
        status, says = start_and_end(second)
        assert status == 1 and len(says.splitlines()) == 1, says
        assert f"another tportd (process {master}) uses data_dir {cluster.daemon.data}" in says, says

    refused()
    assert cluster.daemon.signal("upgrade").returncode == 0
    wait_for(lambda: "upgraded, taking over" in cluster.daemon.text())
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0)
    refused()
    assert not (tmp_path / "second.log").exists()
    assert cluster.daemon.master_pid() == master
    assert cluster.ctl("status").returncode == 0
    assert cluster.daemon.stop() == 0
    assert not (cluster.daemon.data / "tportd.pid").exists()
    cluster.start()


def test_a_pid_file_of_another_process_is_left_alone(fresh):
    cluster = fresh()
    (cluster.daemon.data / "tportd.pid").write_text("1\n")
    assert cluster.daemon.stop() == 0
    assert (cluster.daemon.data / "tportd.pid").read_text() == "1\n"


@pytest.mark.skipif(not ROOT_USER, reason="needs root to change users")
def test_a_data_dir_that_auth_cannot_enter_ends_the_start(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own are closed, too
        if folder.stat().st_mode & 1 == 0:
            os.chmod(folder, 0o711)
    conf = tmp_path / "tport.conf"
    conf.write_text(f"""
tport:
  data_dir: {closed}/data
auth_service:
  enabled: yes
  cluster_name: closed
proxy_service:
  enabled: yes
  web_listen_addr: 127.0.0.1:20017
ssh_service:
  enabled: no
""")
    status, says = start_and_end(conf)
    assert status == 1 and len(says.splitlines()) == 1, says
    assert "tport-auth" in says and f"can't enter {closed}:" in says, says


def test_a_machine_may_bear_the_name_of_its_cluster(fresh):
    """cluster_name is nodename when nothing else is said, and a small cluster's one machine is a node, too."""
    cluster = fresh(name="proxy")
    cluster.daemon.stop()
    conf = cluster.daemon.conf.read_text().replace("  cluster_name: proxy\n", "")
    cluster.daemon.write(conf.replace("ssh_service:\n  enabled: no", "ssh_service:\n  enabled: yes"))
    assert "enabled: yes" in cluster.daemon.conf.read_text().split("ssh_service:")[1]
    cluster.start()
    cluster.wait_online("proxy")
    person = cluster.person("alice")
    assert person.tport("ssh", "root@proxy", "echo home").stdout == "home\n"


def test_ps_shows_titles_and_no_arguments(cluster):
    titles = {subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout.strip()
              for pid in cluster.daemon.children()}
    assert titles == {"tportd: auth", "tportd: worker 1", "tportd: worker 2"}


def test_a_configuration_that_is_not_there_is_one_plain_sentence(tmp_path):
    for words in (["-t"], ["-s", "reload"], []):
        result = subprocess.run([str(BIN / "tportd"), *words, "-c", str(tmp_path / "none.conf")], capture_output=True, text=True,
                                timeout=20, check=False)
        assert result.returncode == 1 and result.stderr.startswith("tportd: "), result.stderr
        assert "No such file" in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_the_log_names_call_and_caller(fresh):
    """A refusal in the log is of use only with who was refused what."""
    cluster = fresh()
    plain = cluster.person("plain", roles="access")
    refused = plain.run(BIN / "tportctl", "users", "add", "evil", "--roles=editor")
    assert refused.returncode == 1
    wait_for(lambda: re.search(r'call=users.add user="plain" status=403', cluster.daemon.text()))


@pytest.mark.skipif(not ROOT_USER, reason="starts as another user")
@pytest.mark.parametrize("ssh", ["yes", "no"])
def test_a_pod_s_log_does_not_warn_of_users_that_it_has_not_got(fresh, ssh):
    """The agent of Kubernetes alone has no sessions of users: it was told what these could not be."""
    cluster = fresh()
    folder = cluster.folder / "pod"
    folder.mkdir()
    shutil.copy(BIN / "tportd", folder)
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}))
    (folder / "tport.conf").write_text(f"""
version: v3
tport: {{data_dir: {folder}/data, proxy_server: "127.0.0.1:1", auth_token: {"a" * 32}}}
ssh_service: {{enabled: {ssh}}}
kubernetes_service: {{enabled: yes, kubeconfig_file: {folder}/kubeconfig}}
""")
    for path in (cluster.folder, folder):
        os.chmod(path, 0o755)
    os.chown(folder, 65534, 65534)
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as out:
        with subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL", "--", str(folder / "tportd"), "-c",
                               str(folder / "tport.conf")], stdout=out, stderr=out) as daemon:
            try:
                wait_for(lambda: "process started role=agent" in log.read_text() or daemon.poll() is not None, 30)
                assert daemon.poll() is None, log.read_text()
                assert ("not started as root" in log.read_text()) == (ssh == "yes")
            finally:
                daemon.terminate()
