"""The record can be proved, and a change of it is found."""

import json
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


def test_audit_ls_filters_and_pages(fresh):
    cluster = fresh()
    for i in range(6):
        cluster.ctl("users", "add", f"u{i}", "--roles=access")
    cluster.ctl("tokens", "add", "--type=node")

    def ls(*flags):
        return [json.loads(line) for line in cluster.ctl("audit", "ls", "--format=json", *flags).stdout.splitlines()]

    made = ls("--type=user.create", "--order=asc")
    names = [e["name"] for e in made if e["name"].startswith("u")]
    assert names == [f"u{i}" for i in range(6)]
    assert [e["name"] for e in ls("--type=user.create", "--limit=2")] == ["u5", "u4"]
    assert {e["event"] for e in ls("--type=user.create,join_token.create", "--last=1h")} == {"user.create", "join_token.create"}
    middle = next(e["time"] for e in made if e["name"] == "u3")
    assert [e["name"] for e in ls("--type=user.create", f"--from={middle}", "--order=asc")][0] == "u3"
    assert "u3" not in [e["name"] for e in ls("--type=user.create", f"--to={middle}")]
    assert ls("--user=nobody-of-this-name") == [] and ls("--text=no such words anywhere") == []
    both = cluster.ctl("audit", "ls", "--last=1h", "--from=2026-01-01", check=False)
    assert both.returncode == 1 and "exclude each other" in both.stderr
    lines = cluster.ctl("audit", "ls", "--limit=5").stdout.splitlines()
    assert len(lines) > 5 and not [line for line in lines if line.endswith(" ")]
    index = cluster.daemon.data / "auth" / "audit" / "index"
    assert sum(p.stat().st_size for p in index.iterdir()) >= 32 * len(ls())
    # It is made anew while the daemon runs, and the answers are the same with and without it.
    before = ls("--order=asc")
    for path in index.iterdir():
        path.unlink()
    assert ls("--order=asc")[:len(before)] == before
    cluster.ctl("users", "add", "later", "--roles=access")
    wait_for(lambda: sum(p.stat().st_size for p in index.iterdir()) >= 32 * len(ls()))


def test_a_mistyped_type_of_event_is_no_empty_list(cluster):
    """B34: --type=user.logn showed an empty table and ended with 0."""
    for types, says in (("user.logn", '"user.logn"; did you mean "user.login"?'), ("user.login,user.crate", 'did you mean "user.create"?'),
                        ("frobnicate", 'there are no events of type "frobnicate"\n')):
        result = cluster.ctl("audit", "ls", f"--type={types}", check=False)
        assert result.returncode == 1 and result.stdout == "" and says in result.stderr, result.stderr
    known = cluster.ctl("audit", "ls", "--type=saml.created")  # a type of which nothing has happened
    assert known.returncode == 0 and len(known.stdout.splitlines()) == 2
