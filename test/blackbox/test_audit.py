"""The record can be proved, and a change of it is found."""

import pathlib
import re
import shutil
import subprocess

from tport import BIN, wait_for


def verify(folder, key, *flags):
    return subprocess.run([str(BIN / "tportctl"), "audit", "verify", str(folder), f"--key={key}", *flags], capture_output=True,
                          text=True, timeout=60, check=False)


def test_audit_log_is_proved_offline_and_damage_is_named(fresh, tmp_path):
    cluster = fresh()
    for i in range(5):
        cluster.ctl("users", "add", f"u{i}", "--roles=access")
    key = cluster.ctl("audit", "checkpoint", "--key").stdout.strip()
    log = cluster.daemon.data / "auth" / "audit"
    wait_for(lambda: "OK: " in verify(log, key).stdout and "not under a checkpoint" not in verify(log, key).stdout)
    earlier = tmp_path / "checkpoint"
    earlier.write_text(cluster.ctl("audit", "checkpoint").stdout)
    cluster.ctl("users", "add", "later", "--roles=access")
    wait_for(lambda: verify(log, key, f"--earlier={earlier}").returncode == 0)

    copy = tmp_path / "copy"
    shutil.copytree(log, copy)
    day = next(p for p in sorted(copy.rglob("log/*.log")) if not p.is_symlink())
    text = day.read_text()
    day.write_text(text.replace('"u2"', '"v2"', 1))
    changed = verify(copy, key)
    assert changed.returncode == 1 and re.search(r"\d+", changed.stderr), changed.stderr
    day.write_text("".join(text.splitlines(keepends=True)[:-3]))
    assert verify(copy, key).returncode == 1
    other = key.rsplit("+", 1)[0] + "+" + "AQ" + key.rsplit("+", 1)[1][2:-2] + "AA"
    assert verify(log, other).returncode == 1
    assert pathlib.Path(log / "tlog").exists()
