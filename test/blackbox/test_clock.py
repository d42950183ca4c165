"""A machine whose clock is a day off: a sentence that says so, a status that is not 0, and nothing hangs (F9)."""

import datetime
import pathlib
import shutil
import subprocess
import time

import pexpect
import pytest

from test_retention import make_old, put_recording
from tport import BIN, Daemon, wait_for

LIBRARY = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
ROOT = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip() == "0"
AHEAD, BEHIND = "+1d", "-1d"

pytestmark = [pytest.mark.skipif(LIBRARY is None or not ROOT, reason="needs faketime and root"),
              pytest.mark.skipif("asan" in str(BIN), reason="a sanitizer wants to be the first library")]


def tport(person, offset, *words):
    return person.run("faketime", "-f", offset, BIN / "tport", *words, timeout=30)


class ShiftedDaemon(Daemon):
    """With a clock of its own for all its processes: children start with an environment of tportd's making, so the library
    comes by the loader's list, in a copy of /etc that only this daemon sees."""

    def __init__(self, net, host, folder, conf, offset):
        super().__init__(net, host, folder, conf)
        self.etc = self.folder / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True, ignore=shutil.ignore_patterns("alternatives", "ssl"))
        (self.etc / "ld.so.preload").write_text(f"{LIBRARY}\n")
        (self.etc / "faketimerc").write_text(f"{offset}\n")

    def start(self):
        with open(self.log, "ab") as log:
            script = 'mount --bind "$1" /etc && shift && exec "$@"'
            self.process = subprocess.Popen(
                self.prefix() + ["unshare", "-m", "sh", "-c", script, "sh", str(self.etc), str(BIN / "tportd"),
                                              "-c", str(self.conf)], stdout=log, stderr=log, start_new_session=True)
        return self


def node_with_clock(cluster, name, offset):
    """As Cluster.add_node, but not waited for: it may never come."""
    folder = cluster.folder / name
    folder.mkdir()
    folder.chmod(0o755)
    conf = folder / "tport.conf"
    made = subprocess.run(cluster.net.prefix(name) + [
        str(BIN / "tportd"), "node", "configure", f"--proxy={cluster.proxy}", f"--token={cluster.token()}",
        f"--ca-pin={cluster.pin()}", f"--node-name={name}", f"--data-dir={folder}/data", "-o", str(conf)],
        capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    daemon = ShiftedDaemon(cluster.net, name, folder, conf.read_text(), offset)
    cluster.nodes[name] = daemon
    return daemon.start()


@pytest.mark.parametrize("offset", [AHEAD, BEHIND])
def test_signing_in_with_a_wrong_clock(cluster, offset):
    person = cluster.person(f"clock{'a' if offset == AHEAD else 'b'}", sign_in=False)
    child = person.spawn("faketime", "-f", offset, BIN / "tport", "login", f"--proxy={cluster.proxy}", f"--user={person.name}")
    if child.expect(["[Pp]assword[^\r\n]*:", pexpect.EOF]) == 0:
        child.sendline(person.password)
        child.expect("code[^\r\n]*:")
        child.sendline(person.code())
        child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1 and "clock" in child.before, child.before
    assert person.tport("status").returncode == 1  # nothing that is no good was kept


def test_a_clock_that_jumps_removes_no_record(fresh):
    """Started with a clock that is a year and more ahead: what retention would remove then stays, and stays afterwards."""
    rules = "  retention:\n    events_max_age: 30d\n    recordings_max_age: 30d\n    recordings_max_size: 1KB\n"
    cluster = fresh(workers=1, auth_extra=rules)
    cluster.daemon.stop()
    log = cluster.daemon.data / "auth" / "audit"
    day = (datetime.date.today() - datetime.timedelta(days=3)).isoformat()
    make_old(cluster, day)
    _, recording = put_recording(cluster, 3000, 3600)
    cluster.start()
    cluster.ctl("users", "add", "today", "--roles=access")
    right = cluster.daemon
    right.stop()
    wrong = ShiftedDaemon(cluster.net, right.host, right.folder, right.conf.read_text(), "+400d")
    before = len(wrong.text())
    wrong.start()
    try:
        wait_for(lambda: "the clock has jumped ahead" in wrong.text()[before:])
        wait_for(lambda: "auth ready" in wrong.text()[before:])
        time.sleep(3)
    finally:
        wrong.stop()
    assert "will be removed" not in wrong.text()
    assert (log / "log" / f"{day}.log").exists() and recording.exists()
    cluster.start()
    time.sleep(2)
    assert "will be removed" not in right.text()
    assert (log / "log" / f"{day}.log").exists() and recording.exists()


@pytest.mark.parametrize("offset", [AHEAD, BEHIND])
def test_working_with_a_wrong_clock(cluster, alice, offset):
    for words in (["ls"], ["ssh", "root@node1", "true"]):
        result = tport(alice, offset, *words)
        assert result.returncode not in (0, -9), result.stdout
        assert ("expired" if offset == AHEAD else "clock") in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) <= 4, result.stderr
    assert alice.tport("ssh", "root@node1", "echo fine").stdout == "fine\n"


def test_a_node_whose_clock_is_ahead(fresh):
    cluster = fresh()
    person = cluster.person("alice")
    daemon = node_with_clock(cluster, "ahead", AHEAD)
    cluster.wait_online("ahead")
    result = person.tport("ssh", "root@ahead", "true", timeout=60)
    assert result.returncode == 255 and "clock" in result.stderr, result.stderr
    wait_for(lambda: "check that the clocks of proxy and agent agree" in daemon.text())


def test_a_node_whose_clock_is_behind(fresh):
    """It does not believe the proxy's certificate: its log says why, and people read that it is not there."""
    cluster = fresh()
    person = cluster.person("alice")
    daemon = node_with_clock(cluster, "behind", BEHIND)
    wait_for(lambda: "not valid yet" in daemon.text() and "clock" in daemon.text())
    result = person.tport("ssh", "root@behind", "true", timeout=60)
    assert result.returncode == 255 and "behind" in result.stderr, result.stderr
