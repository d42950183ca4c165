"""Retention removes what the configuration says, tells it first, and what is left is proved; the default keeps everything."""

import json
import os
import pathlib
import signal
import subprocess
import time
import uuid

import pytest

from test_audit import verify
from tport import BIN, wait_for

RULES = """  retention:
    events_max_age: 30d
    recordings_max_age: 24h
    recordings_max_size: 4KB
    min_age: 90m
"""


def events(cluster, kind):
    return [json.loads(line) for line in cluster.ctl("audit", "ls", "--format=json", f"--type={kind}").stdout.splitlines()]


def make_old(cluster, day):
    """Today's events become those of a day long ago, as a log has them that was kept for so long."""
    log = cluster.daemon.data / "auth" / "audit"
    newest = log / "log" / os.readlink(log / "log" / "events.log")
    newest.rename(log / "log" / f"{day}.log")
    (log / "log" / "events.log").unlink()
    (log / "tlog" / "position").unlink()
    for path in (log / "index").iterdir():
        path.unlink()


def put_recording(cluster, size, age):
    name = str(uuid.uuid4())
    path = cluster.daemon.data / "auth" / "recordings" / f"{name}.cast.gz"
    path.write_bytes(os.urandom(size))
    owner = (cluster.daemon.data / "auth").stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    os.utime(path, (time.time() - age, time.time() - age))
    return name, path


def test_old_days_and_recordings_go_and_are_told(fresh):
    cluster = fresh()
    for i in range(300):  # more than one bundle of entries
        cluster.ctl("tokens", "add", "--type=node", f"--value=token-number-{i:04}")
    key = cluster.ctl("audit", "checkpoint", "--key").stdout.strip()
    before = len(events(cluster, "join_token.create"))
    assert before >= 300
    cluster.daemon.stop()
    make_old(cluster, "2026-01-02")
    log = cluster.daemon.data / "auth" / "audit"
    very_old, very_old_path = put_recording(cluster, 1000, 3 * 86400)
    older, older_path = put_recording(cluster, 3000, 7200)
    newer, newer_path = put_recording(cluster, 3000, 3600)
    young, young_path = put_recording(cluster, 3000, 60)
    cluster.start()
    cluster.ctl("users", "add", "today", "--roles=access")
    assert verify(log, key).returncode == 0
    time.sleep(2)
    assert (log / "log" / "2026-01-02.log").exists() and very_old_path.exists() and older_path.exists()  # nothing by default

    cluster.daemon.conf.write_text(cluster.daemon.conf.read_text().replace("proxy_service:", RULES + "proxy_service:", 1))
    assert subprocess.run([str(BIN / "tportd"), "-t", "-c", str(cluster.daemon.conf)], check=False).returncode == 0
    os.kill(cluster.daemon.process.pid, signal.SIGHUP)
    wait_for(lambda: not (log / "log" / "2026-01-02.log").exists(), timeout=60)
    wait_for(lambda: not very_old_path.exists() and not older_path.exists(), timeout=60)
    assert newer_path.exists() and young_path.exists()  # too large together, and younger than min_age
    wait_for(lambda: "old audit events removed" in cluster.daemon.text())

    told = events(cluster, "audit.prune")
    assert len(told) == 1 and told[0]["from_day"] == "2026-01-02" and told[0]["reason"] == "age" and told[0]["events"] >= before
    gone = {e["sid"]: e["reason"] for e in events(cluster, "session.recording.prune")}
    assert gone == {very_old: "age", older: "size"}
    assert "old audit events will be removed" in cluster.daemon.text() and very_old in cluster.daemon.text()
    assert not (log / "tlog" / "tile" / "entries" / "000").exists() and (log / "tlog" / "tile" / "0" / "000").exists()
    assert len(events(cluster, "user.create")) >= 1 and not events(cluster, "join_token.create")

    proved = verify(log, key)
    assert proved.returncode == 0 and "removed by retention (age)" in proved.stdout, proved.stdout + proved.stderr
    # Killed and started again it is the same, and told once.
    os.kill(next(iter(cluster.daemon.children("auth"))), signal.SIGKILL)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0, timeout=40)
    assert len(events(cluster, "audit.prune")) == 1 and verify(log, key).returncode == 0
    # By hand it is no retention.
    cluster.daemon.stop()
    (log / "tlog" / "tile" / "0" / "000").unlink()
    damaged = verify(log, key)
    assert damaged.returncode == 1 and "missing" in damaged.stderr


@pytest.mark.parametrize("line, words", [
    ("events_max_age: 12h", "at least 24h"),
    ("events_max_size: 20 pounds", "a size like 500MB"),
    ("recordings_max_size: 99999999999TB", "a size like 500MB"),
    ("max_age: 30d", "max_age"),
    ("events_max_age: 30d, min_age: 31d", "min_age must not be longer than events_max_age"),
])
def test_bad_rules_are_refused(tmp_path, line, words):
    conf = pathlib.Path(tmp_path / "tport.conf")
    conf.write_text(f"auth_service:\n  cluster_name: x\n  retention: {{{line}}}\n")
    got = subprocess.run([str(BIN / "tportd"), "-t", "-c", str(conf)], capture_output=True, text=True, check=False)
    assert got.returncode != 0 and words in got.stderr + got.stdout
