"""Rotation of the user CA and the host CA, phase by phase, while people work."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from tport import BIN, wait_for


def host_ca(cluster):
    [ca] = [c for c in json.loads(cluster.ctl("status", "--format=json").stdout)["cas"] if c["type"] == "host" and c["keys"] == "current"]
    return ca


def all_renewed(cluster):
    return host_ca(cluster)["hosts"]["not_renewed"] == 0


def phase(cluster, kind, to):
    if kind == "host" and to in ("update_servers", "standby"):
        wait_for(lambda: all_renewed(cluster), 20)
    cluster.ctl("auth", "rotate", f"--type={kind}", "--manual", f"--phase={to}")
    cas = {c["type"]: c for c in json.loads(cluster.ctl("auth", "ls", "--format=json").stdout) if c["keys"] == "current"}
    assert cas[kind]["state"] == to
    assert f"{kind} CA:" in cluster.ctl("status").stdout


def renewals(cluster):
    return cluster.nodes["node1"].text().count("certificate has been renewed")


def key_of(person, name):
    [path] = list((person.home / ".tport").rglob(name))
    return path


def signer(person):
    said = subprocess.run(["ssh-keygen", "-L", "-f", str(key_of(person, "*-cert.pub"))], capture_output=True, text=True, check=True).stdout
    return next(line for line in said.splitlines() if "Signing CA" in line)


class Shell:
    def __init__(self, person):
        self.child = person.spawn(BIN / "tport", "ssh", "root@node1")
        self.ask()

    def ask(self):
        self.child.sendline("echo alive-$((40+2))")
        self.child.expect("alive-42")


def stock_ssh(person):
    return person.run("ssh", "-F", person.home / "ssh_config", "root@node1.test", "echo in")


@pytest.fixture
def town(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("worker", roles="access", logins="root")
    (person.home / "ssh_config").write_text(person.tport("config", check=True).stdout)
    assert stock_ssh(person).stdout == "in\n"
    return cluster, person


def test_the_user_ca_rotates_under_a_running_shell(town):
    cluster, person = town
    shell = Shell(person)
    old_signer = signer(person)
    old = cluster.person("old", roles="access", logins="root")
    assert old.tport("ls").returncode == 0
    refused = cluster.ctl("auth", "rotate", "--type=user", "--manual", "--phase=update_servers", check=False)
    assert refused.returncode != 0 and "can't follow" in refused.stderr
    phase(cluster, "user", "init")
    exported = cluster.ctl("auth", "export", "--type=user").stdout
    assert exported.count("cert-authority") == 2
    phase(cluster, "user", "update_clients")
    # A crash in the middle: the phase is what it was.
    [auth] = cluster.daemon.children("auth")
    os.kill(auth, signal.SIGKILL)
    wait_for(lambda: "update_clients" in cluster.ctl("status", check=False).stdout, 20)
    shell.ask()
    # Certificates of both sets are good.
    assert stock_ssh(person).stdout == "in\n"
    person.tport("logout")
    status, output = person.login()
    assert status == 0, output
    assert signer(person) != old_signer
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)
    phase(cluster, "user", "update_servers")
    assert old.tport("ssh", "root@node1", "echo in").stdout == "in\n"
    phase(cluster, "user", "standby")
    assert cluster.ctl("auth", "export", "--type=user").stdout.count("cert-authority") == 1
    # The retired CA: its certificates are worth nothing; what runs goes on; new ones work.
    wait_for(lambda: old.tport("ls").returncode != 0, 10)
    assert old.tport("ssh", "root@node1", "echo in").returncode != 0
    assert person.tport("ssh", "root@node1", "echo in").stdout == "in\n"
    assert stock_ssh(person).stdout == "in\n"
    shell.ask()
    shell.child.close(force=True)


def test_who_only_uses_ssh_comes_through_a_rotation(town):
    """Neither tport ls nor a login in between: the ProxyCommand brings the profile up to date when that is five minutes old."""
    cluster, person = town
    files = [key_of(person, "known_hosts"), *(person.home / ".tport").rglob("*.pem"), *(person.home / ".tport").rglob("*certs*")]

    def five_minutes_later():
        for path in files:
            os.utime(path, (time.time() - 301, time.time() - 301))

    known = person.home / ".tport" / "known_hosts"
    phase(cluster, "host", "init")
    assert stock_ssh(person).stdout == "in\n" and known.read_text().count("@cert-authority") == 1  # not at each connection
    five_minutes_later()
    assert stock_ssh(person).stdout == "in\n" and known.read_text().count("@cert-authority") == 2
    for to in ("update_clients", "update_servers"):
        before = renewals(cluster)
        phase(cluster, "host", to)
        wait_for(lambda: renewals(cluster) > before, 15)  # pylint: disable=cell-var-from-loop
        wait_for(lambda: person.tport("ssh", "root@node1", "echo in").stdout == "in\n", 10)
    phase(cluster, "host", "standby")
    five_minutes_later()
    assert person.tport("ssh", "root@node1", "echo in").stdout == "in\n" and known.read_text().count("@cert-authority") == 1


def test_the_host_ca_rotates_and_agents_and_people_follow(town):
    cluster, person = town
    shell = Shell(person)
    asleep = cluster.person("asleep", roles="access")
    old_cert = (cluster.folder / "node1" / "data" / "agent" / "tls.crt").read_text()
    shutil.copytree(cluster.folder / "node1" / "data" / "agent", cluster.folder / "node1" / "before")
    phase(cluster, "host", "init")
    assert person.tport("ls", check=True).stdout  # any call brings the profile up to date
    assert (person.home / ".tport" / "known_hosts").read_text().count("@cert-authority") == 2
    assert stock_ssh(person).stdout == "in\n"
    before = renewals(cluster)
    phase(cluster, "host", "update_clients")
    wait_for(lambda: renewals(cluster) > before, 15)
    cluster.wait_online("node1")
    assert (cluster.folder / "node1" / "data" / "agent" / "tls.crt").read_text() != old_cert
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)
    shell.ask()
    before = renewals(cluster)
    phase(cluster, "host", "update_servers")
    wait_for(lambda: renewals(cluster) > before, 15)
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)
    shell.ask()
    phase(cluster, "host", "standby")
    assert "type=host phase=standby" in cluster.ctl("audit", "ls", "--type=cert_authority.rotate").stdout
    assert person.tport("ls", check=True).stdout
    assert "sign in or join again if its CA was rotated meanwhile" in asleep.tport("ls").stderr
    assert (person.home / ".tport" / "known_hosts").read_text().count("@cert-authority") == 1
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)
    shell.ask()
    # auth and the worker start anew with the new keys only, and the shell is still there.
    [auth] = cluster.daemon.children("auth")
    os.kill(auth, signal.SIGKILL)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0, 20)
    cluster.wait_online("node1")
    shell.ask()
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)
    shell.child.close(force=True)
    # An agent that slept through all of it is a stranger now.
    agent = cluster.nodes["node1"]
    agent.stop()
    shutil.rmtree(cluster.folder / "node1" / "data" / "agent")
    shutil.copytree(cluster.folder / "node1" / "before", cluster.folder / "node1" / "data" / "agent")
    agent.start()
    time.sleep(3)
    assert not any(n["online"] for n in cluster.node_list())


def test_a_phase_by_hand_does_not_shut_out_hosts_unsaid(fresh):
    """Who has not renewed is named, by auth rotate and by status, and goes only when it is forced."""
    cluster = fresh(nodes=("node1", "node2"))
    ids = {n["spec"]["hostname"]: n["metadata"]["name"] for n in cluster.node_list()}
    assert re.search(r"^host CA: +never updated$", cluster.ctl("status").stdout, re.MULTILINE)
    cluster.nodes["node2"].stop()
    cluster.wait_online("node2", online=False)
    phase(cluster, "host", "init")
    assert "hosts renew their certificates now" in cluster.ctl("auth", "rotate", "--type=host", "--manual", "--phase=update_clients").stdout
    total = host_ca(cluster)["hosts"]["total"]
    wait_for(lambda: host_ca(cluster)["hosts"]["not_renewed"] == 1, 20)
    said = cluster.ctl("status").stdout
    assert f"1 of {total} hosts have not renewed their certificates yet:\n               node2 (offline, {ids['node2']})\n" in said, said
    refused = cluster.ctl("auth", "rotate", "--type=host", "--manual", "--phase=update_servers", check=False)
    assert refused.returncode == 1 and refused.stdout == "", refused.stdout
    assert f"1 of {total} hosts" in refused.stderr and f"node2 (offline, {ids['node2']})" in refused.stderr and "--force" in refused.stderr
    assert host_ca(cluster)["state"] == "update_clients"
    # It comes back and comes along, and nothing is in the way any more.
    cluster.nodes["node2"].start()
    wait_for(lambda: all_renewed(cluster), 30)
    assert f"all {total} hosts have renewed their certificates" in cluster.ctl("status").stdout
    phase(cluster, "host", "update_servers")
    wait_for(lambda: all_renewed(cluster), 30)
    phase(cluster, "host", "rollback")
    wait_for(lambda: all_renewed(cluster), 30)
    # The next time it sleeps through all of it and is left behind by force: said on the screen and in the log.
    phase(cluster, "host", "standby")
    assert re.search(r"^host CA: +rotated 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$", cluster.ctl("status").stdout, re.MULTILINE)
    cluster.nodes["node2"].stop()
    phase(cluster, "host", "init")
    phase(cluster, "host", "update_clients")
    for to in ("update_servers", "standby"):
        wait_for(lambda: host_ca(cluster)["hosts"]["not_renewed"] == 1, 20)
        forced = cluster.ctl("auth", "rotate", "--type=host", "--manual", f"--phase={to}", "--force").stdout
        assert "Left behind" in forced and f"  node2 (offline, {ids['node2']})\n" in forced, forced
    assert [h["hostname"] for h in cluster.audit(type="cert_authority.rotate")[0]["hosts_left"]["names"]] == ["node2"]
    cluster.nodes["node2"].start()
    cluster.wait_online("node1")
    time.sleep(3)
    cluster.wait_online("node2", online=False, timeout=1)


def test_a_rotation_rolls_back(town):
    cluster, person = town
    old_signer = signer(person)
    for to in ("init", "update_clients"):
        phase(cluster, "user", to)
    person.tport("logout")
    status, output = person.login()
    assert status == 0, output
    new_signer = signer(person)
    assert new_signer != old_signer
    phase(cluster, "user", "rollback")
    wait_for(lambda: stock_ssh(person).stdout == "in\n", 10)  # still trusted, until standby
    phase(cluster, "user", "standby")
    wait_for(lambda: person.tport("ls").returncode != 0, 10)
    person.tport("logout")
    status, output = person.login()
    assert status == 0, output
    assert signer(person) == old_signer
    assert stock_ssh(person).stdout == "in\n"
    events = [(e["type"], e["phase"]) for e in cluster.audit(type="cert_authority.rotate")]
    assert events == [("user", p) for p in ("standby", "rollback", "update_clients", "init")]


def test_only_who_may_rotate_rotates(cluster):
    cluster.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: no-rotation}\nspec: {allow: {rules: [{resources: [cert_authority], verbs: [list, read, update]}]}}\n")
    person = cluster.person("rotator", roles="no-rotation", logins="")
    refused = person.run(BIN / "tportctl", f"--auth-server={cluster.proxy}", "auth", "rotate", "--type=user", "--manual", "--phase=init")
    assert refused.returncode != 0 and "rotate" in refused.stderr, refused.stderr
