"""A damaged store and a full disk: a sentence that says what to do, nothing lost, and all is well again afterwards."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pexpect
import pytest

from tport import BIN, ROOT_USER, Cluster, in_host, wait_for


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


@pytest.mark.skipif(not ROOT_USER, reason="files of another user")
def test_a_restore_that_kept_no_owners_is_said_once_with_the_way_out(fresh):
    """It was "store.lock: Permission denied", again and again."""
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    subprocess.run(["chown", "-R", "0:0", cluster.daemon.data / "auth"], check=True)
    said = refused_start(cluster)
    way = said.partition("give it and what is beside it back: ")[2].strip('"')
    assert way.startswith("chown -R ") and way.endswith(f" {cluster.daemon.data}/auth"), said
    subprocess.run(way.split(), check=True)
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


@pytest.mark.skipif(not ROOT_USER, reason="root alone could open what auth may not")
def test_R14_master_opens_no_key_in_a_folder_of_auths_user(fresh):
    """A link there would have auth handed a file of root's. What auth itself may read is still its key."""
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    key = cluster.daemon.data / "keys" / "secrets.key"
    cluster.daemon.write(cluster.conf().replace("  cluster_name:", f"  secrets_key_file: {key}\n  cluster_name:"))
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout
    cluster.daemon.stop()
    outside = cluster.folder / "outside"
    outside.mkdir(mode=0o700)
    shutil.move(key, outside / "secrets.key")
    os.chown(outside / "secrets.key", 0, 0)
    key.symlink_to(outside / "secrets.key")
    assert f"cannot read {key}, the key of the secrets store: Permission denied" in refused_start(cluster)


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


@pytest.mark.skipif(not ROOT_USER, reason="mounts a small file system")
def test_R15_the_last_of_the_disk_is_for_people(fresh):
    """Whoever fills it, a host with its reports or something else on that disk: people can still sign in and lock a host then. Once it was full,
    nobody could, and nothing was left to do it with."""
    cluster = fresh(workers=1)
    alice = cluster.person("alice")
    cluster.add_node("web1")
    cluster.daemon.stop()
    data = cluster.daemon.data
    aside = cluster.folder / "aside"
    shutil.move(data, aside)
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=711", "tmpfs", data], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", data], check=True)
        cluster.start()
        wait_for(lambda: alice.tport("ssh", "root@web1", "true", check=False).returncode == 0, 30)
        port = Cluster._free_port()  # pylint: disable=protected-access
        running = alice.spawn(BIN / "tport", "ssh", "-L", f"{port}:127.0.0.1:1", "root@web1", "echo up; read line; echo \"got $line\"; exit 4")
        running.expect("up")
        filler = data / "filler"
        room = os.statvfs(data).f_bavail * os.statvfs(data).f_frsize
        with open(filler, "wb") as out:
            os.posix_fallocate(out.fileno(), 0, room - 4 * 1024 * 1024)  # a fortieth of the disk is 5 MB
        cluster.ctl("users", "add", "bob", "--roles=access")  # with its event auth sees how things are
        refused = wait_for(lambda: (tried := alice.tport("ssh", "root@web1", "true", check=False)).returncode != 0 and tried)
        assert "the disk of the auth server is nearly full, so no session begins" in refused.stderr, refused.stderr
        with in_host(cluster.net, alice.host):
            socket.create_connection(("127.0.0.1", port), 5).close()
        running.expect("administratively prohibited: this access can't be put on record, so it is refused: the disk of the auth server is nearly full")
        running.sendline("on")  # what runs goes on
        running.expect("got on")
        running.expect(pexpect.EOF)
        alice.tport("logout")
        assert alice.login()[0] == 0
        cluster.ctl("lock", f"--server-id={cluster.node_list()[0]['metadata']['name']}")
        names = [e["event"] for e in cluster.audit(limit=1000)]
        assert names.count("audit.disk_low") == 1 and "lock.created" in names and "session.end" in names
        # What came of the command is there too; it was lost.
        assert [e["exitCode"] for e in cluster.audit(type="exec") if "read line" in e["command"]] == [4] and "port" not in names
        for lock in json.loads(cluster.ctl("get", "locks", "--format=json").stdout):
            cluster.ctl("rm", f"lock/{lock['metadata']['name']}")
        filler.unlink()
        wait_for(lambda: alice.tport("ssh", "root@web1", "true", check=False).returncode == 0, 30)
    finally:
        cluster.daemon.stop()
        subprocess.run(["umount", data], check=False)


def rekey(cluster, *words, check=True):
    result = subprocess.run([str(BIN / "tportd"), "secrets", "rekey", "-c", str(cluster.daemon.conf), *map(str, words)], capture_output=True, text=True,
                            timeout=60, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def owned(path):
    info = path.stat()
    return info.st_uid, info.st_gid, info.st_mode


def test_R14_the_key_of_the_store_is_changed(fresh):
    cluster = fresh(workers=1)
    person = cluster.person("kept", sign_in=False)
    key = cluster.daemon.data / "keys" / "secrets.key"
    store = cluster.daemon.data / "auth" / "secrets" / "data.mdb"
    refused = rekey(cluster, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"tportd: tportd runs with data_dir {cluster.daemon.data}; stop it first\n")
    cluster.daemon.stop()
    old, owners = key.read_text(), (owned(key), owned(store))
    done = rekey(cluster)
    assert done.stdout.startswith(f"The secrets store is sealed with a new key, which is in {key}.\nMake a backup of it")
    assert key.read_text() != old and (owned(key), owned(store)) == owners
    cluster.start()
    status, output = person.login()
    assert status == 0, output
    # The old one opens it no more.
    cluster.daemon.stop()
    new = key.read_bytes()
    key.unlink()
    key.write_text(old)
    key.chmod(0o400)
    os.chown(key, *owners[0][:2])
    assert f"{key}: this is not the key" in refused_start(cluster)
    # A power cut between the two renames: auth itself brings it to an end.
    after = key.with_name("secrets.key.next")
    after.write_bytes(new)
    after.chmod(0o400)
    os.chown(after, *owners[0][:2])
    cluster.start()
    assert "the change of the secrets store's key had been cut short; it is done now" in cluster.daemon.text()
    assert key.read_bytes() == new and not after.exists()
    assert "kept" in cluster.ctl("users", "ls").stdout


def key_in_a_folder_of_roots(cluster):
    """The words that name it."""
    folder = cluster.folder / "vault"
    folder.mkdir(mode=0o700)
    key = shutil.move(cluster.daemon.data / "keys" / "secrets.key", folder / "secrets.key")
    os.chown(key, os.geteuid(), os.getegid())
    return key, [f"--key-file={key}"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_R14_a_change_of_the_key_survives_kill_9(fresh, elsewhere):
    """At any time of it; then it is run again, and auth has everything."""
    cluster = fresh(workers=1)
    person = cluster.person("kept", sign_in=False)
    cluster.daemon.stop()
    key, more = key_in_a_folder_of_roots(cluster) if elsewhere else (cluster.daemon.data / "keys" / "secrets.key", [])
    words = [str(BIN / "tportd"), "secrets", "rekey", "-c", str(cluster.daemon.conf), *more]
    took = 60
    for _ in range(3):
        start = time.monotonic()
        rekey(cluster, *more)
        took = min(took, time.monotonic() - start)
    rounds, killed = 12, 0

    def unlocked():
        """The children of a killed one, in which it worked and had the store checked, have ended, too."""
        try:
            for path in (cluster.daemon.data / "auth" / "secrets" / "store.lock", cluster.daemon.data / "tportd.lock"):
                with open(path, "rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    for n in range(rounds):
        wait_for(unlocked)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(took * n / rounds)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
    assert killed > rounds // 3
    wait_for(unlocked)
    rekey(cluster, *more)
    assert [path.name for path in key.parent.iterdir()] == ["secrets.key"]
    assert not (cluster.daemon.data / "auth" / "secrets" / "rekeying").exists()
    if elsewhere:
        cluster.daemon.write(cluster.conf().replace("  cluster_name:", f"  secrets_key_file: {key}\n  cluster_name:"))
    cluster.start()
    assert person.login()[0] == 0


def test_a_key_elsewhere_is_changed_there(fresh):
    cluster = fresh(workers=1)
    cluster.ctl("users", "add", "kept", "--roles=access")
    cluster.daemon.stop()
    folder = cluster.folder / "vault"
    folder.mkdir()
    elsewhere = folder / "secrets.key"
    shutil.move(cluster.daemon.data / "keys" / "secrets.key", elsewhere)
    missing = rekey(cluster, check=False)
    assert missing.returncode == 1 and "secrets.key is missing, and without this key nobody can read the secrets store" in missing.stderr
    assert "--key-file needs an absolute path" in rekey(cluster, "--key-file=x", check=False).stderr
    assert f"which is in {elsewhere}." in rekey(cluster, f"--key-file={elsewhere}").stdout
    shutil.move(elsewhere, cluster.daemon.data / "keys" / "secrets.key")
    cluster.start()
    assert "kept" in cluster.ctl("users", "ls").stdout


def everything(folder):
    return {str(path.relative_to(folder)): (*owned(path), path.read_bytes() if path.is_file() else None) for path in [folder, *folder.rglob("*")]}


def link_data(secrets, outside):
    (secrets / "data.mdb").unlink()
    (secrets / "data.mdb").symlink_to(outside / "readable")


def link_lock(secrets, outside):
    (secrets / "lock.mdb").unlink(missing_ok=True)
    (secrets / "lock.mdb").symlink_to(outside / "readable")


def link_leftovers(secrets, outside):
    (secrets / "rekeying").symlink_to(outside)


def link_store(secrets, outside):
    secrets.rename(secrets.with_name("aside"))
    secrets.symlink_to(outside)


def link_key(secrets, outside):
    key = secrets.parent.parent / "keys" / "secrets.key"
    if key.exists():
        key.unlink()
        key.symlink_to(outside / "readable")


@pytest.mark.skipif(not ROOT_USER, reason="what root must not be led to")
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("plant", [link_data, link_lock, link_leftovers, link_store, link_key])
def test_R14_a_link_of_auths_user_leads_root_nowhere(fresh, plant, elsewhere):
    """Who has taken auth over puts links into its folders and waits for root to change the key."""
    cluster = fresh(workers=1)
    cluster.daemon.stop()
    _, more = key_in_a_folder_of_roots(cluster) if elsewhere else (None, [])
    outside = cluster.folder / "outside"
    outside.mkdir(mode=0o755)
    # What a store has, what a change of its key that was cut short leaves, and what everybody may read.
    for name in ("data.mdb", "lock.mdb", "store.lock", "old.mdb", "readable"):
        (outside / name).write_text(f"root's {name}\n" * 1000)
        (outside / name).chmod(0o644)
    before = everything(outside)
    plant(cluster.daemon.data / "auth" / "secrets", outside)
    done = rekey(cluster, *more, check=False)
    assert everything(outside) == before
    if plant == link_key and elsewhere:  # it is in root's folder
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("tportd: "), done


@pytest.mark.skipif(not ROOT_USER, reason="root alone could make files of root's")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_changed_key_leaves_no_file_of_roots(fresh, elsewhere):
    """Auth could not open one; LMDB makes its lock file anew when it is missing."""
    cluster = fresh(workers=1)
    cluster.daemon.stop()
    auth = cluster.daemon.data / "auth"
    key, more = key_in_a_folder_of_roots(cluster) if elsewhere else (None, [])
    (auth / "secrets" / "lock.mdb").unlink()
    rekey(cluster, *more)
    assert (auth / "secrets" / "lock.mdb").exists()
    assert auth.stat().st_uid != 0
    for path in [*auth.rglob("*"), *(cluster.daemon.data / "keys").rglob("*")]:
        assert owned(path)[:2] == owned(auth)[:2], path
    if key:
        assert owned(key)[:2] == (0, 0)
        shutil.move(key, cluster.daemon.data / "keys" / "secrets.key")
        shutil.chown(cluster.daemon.data / "keys" / "secrets.key", *owned(auth)[:2])
    cluster.start()


@pytest.mark.skipif(not ROOT_USER, reason="root alone has other people's folders to beware of")
def test_root_makes_no_key_in_another_users_folder(fresh):
    cluster = fresh(workers=1)
    cluster.daemon.stop()
    key, more = key_in_a_folder_of_roots(cluster)
    shutil.chown(key.parent, "nobody")
    before = everything(key.parent)
    refused = rekey(cluster, *more, check=False)
    assert refused.returncode == 1
    assert f"root makes no key in {key.parent}, which belongs to user {key.parent.stat().st_uid}: put the key into a folder of root's" in refused.stderr
    assert everything(key.parent) == before
