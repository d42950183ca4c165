"""A damaged store and a full disk: a sentence that says what to do, nothing lost, and all is well again afterwards."""

import os
import shutil
import signal
import subprocess

import pytest

from tport import BIN, ROOT_USER, wait_for


def truncated(data):
    return data[:5000]


def flipped(data):
    return bytes(byte ^ 0x5a if i % 97 == 0 else byte for i, byte in enumerate(data))


@pytest.mark.parametrize("harm", [truncated, flipped])
def test_damaged_store_is_named_and_never_overwritten(fresh, harm):
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    for name in ("state", "secrets"):
        path = cluster.daemon.data / "auth" / name / "data.mdb"
        good = path.read_bytes()
        path.write_bytes(harm(good))
        before = len(cluster.daemon.text())
        cluster.daemon.start()
        said = wait_for(lambda start=before: next((line for line in cluster.daemon.text()[start:].splitlines()
                                                   if "auth cannot start" in line), None))
        assert f"/auth/{name}" in said and "damaged" in said and "backup" in said
        # Trying again would change nothing: it says it once and ends.
        assert cluster.daemon.process.wait(30) == 1
        assert cluster.daemon.text()[before:].count("auth cannot start") == 1
        cluster.daemon.stop()
        assert path.read_bytes() == harm(good)  # what a person may still want to look at
        path.write_bytes(good)
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout


@pytest.mark.parametrize("part", ["tlog/checkpoint", "tlog/tile/0/000.p"])
def test_damaged_audit_log_ends_the_start(fresh, part):
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    path = cluster.daemon.data / "auth" / "audit" / part
    if path.is_dir():
        path = max(path.iterdir(), key=lambda tile: int(tile.name))
    good = path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    found = {p: p.read_bytes() for p in (cluster.daemon.data / "auth" / "audit").rglob("*") if p.is_file()}
    before = len(cluster.daemon.text())
    assert subprocess.run([str(BIN / "tportd"), "-t", "-c", str(cluster.daemon.conf)], check=False).returncode == 0
    cluster.daemon.start()
    assert cluster.daemon.process.wait(30) == 1
    text = cluster.daemon.text()[before:]
    said = [line for line in text.splitlines() if "auth cannot start" in line]
    assert len(said) == 1 and "/auth/audit" in said[0] and "restore it from a backup" in said[0], text
    assert "starting it again" not in text
    assert all(p.read_bytes() == data for p, data in found.items())
    path.write_bytes(good)
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout


def refused_start(cluster):
    """What auth says when it does not start; the daemon has ended, and said it once."""
    before = len(cluster.daemon.text())
    cluster.daemon.start()
    assert cluster.daemon.process.wait(30) == 1
    text = cluster.daemon.text()[before:]
    said = [line for line in text.splitlines() if "auth cannot start" in line]
    assert len(said) == 1 and "starting it again" not in text, text
    return said[0]


def test_R14_without_its_key_the_store_stays_shut(fresh):
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    key = cluster.daemon.data / "keys" / "secrets.key"
    store = cluster.daemon.data / "auth" / "secrets" / "data.mdb"
    aside, sealed = key.rename(cluster.folder / "aside"), store.read_bytes()
    said = refused_start(cluster)
    assert f"{key} is missing" in said and "put the file back" in said
    assert not key.exists()
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o400)
    shutil.chown(key, aside.stat().st_uid, aside.stat().st_gid)
    said = refused_start(cluster)
    assert f"{key}: this is not the key" in said
    assert store.read_bytes() == sealed
    aside.rename(key)
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout


@pytest.mark.skipif(not ROOT_USER, reason="a file for root alone")
def test_key_of_the_store_may_be_for_root_alone(fresh):
    """As systemd hands out a credential: a folder that auth's user cannot enter. Master opens it, each time auth starts."""
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    folder = cluster.folder / "credentials"
    folder.mkdir(mode=0o500)
    elsewhere = folder / "secrets.key"
    shutil.move(cluster.daemon.data / "keys" / "secrets.key", elsewhere)
    os.chown(elsewhere, 0, 0)
    cluster.daemon.write(cluster.conf().replace("  cluster_name:", f"  secrets_key_file: {elsewhere}\n  cluster_name:"))
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout
    assert not (cluster.daemon.data / "keys" / "secrets.key").exists()
    assert cluster.daemon.signal("reload").returncode == 0
    auth = next(iter(cluster.daemon.children("auth")))
    os.kill(auth, signal.SIGKILL)
    wait_for(lambda: cluster.daemon.children("auth").keys() - {auth})
    wait_for(lambda: "kept" in cluster.ctl("users", "ls", check=False).stdout)
    cluster.daemon.stop()
    elsewhere.rename(folder / "away")
    assert f"{elsewhere} is missing" in refused_start(cluster)


@pytest.mark.skipif(not ROOT_USER, reason="mounts a small file system")
def test_disk_full_refuses_and_recovers_by_itself(fresh):
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "before", "--roles=access")
    cluster.daemon.stop()
    data = cluster.daemon.data
    aside = cluster.folder / "aside"
    shutil.move(data, aside)
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=711", "tmpfs", data], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", data], check=True)
        cluster.start()
        filler = data / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while out.write(b"x" * 4096):
                    pass
            except OSError:
                pass

        acknowledged = ["before"]

        def refused():
            """Until the last free page is used some are still taken; what was acknowledged counts."""
            name = f"during{len(acknowledged)}"
            result = cluster.ctl("users", "add", name, "--roles=access", check=False)
            if result.returncode == 0:
                acknowledged.append(name)
            return result if result.returncode != 0 else None

        result = wait_for(refused)
        assert any(word in result.stderr for word in ("disk", "space", "full")), result.stderr
        assert "before" in cluster.ctl("users", "ls").stdout  # what needs no writing goes on
        filler.unlink()
        wait_for(lambda: cluster.ctl("users", "add", "after", "--roles=access", check=False).returncode == 0, 30)
        acknowledged.append("after")
        listed = cluster.ctl("users", "ls").stdout
        created = [e.get("name") for e in cluster.audit(limit=1000) if e["event"] == "user.create"]
        assert not [name for name in acknowledged if name not in listed or name not in created]
    finally:
        cluster.daemon.stop()
        subprocess.run(["umount", data], check=False)
