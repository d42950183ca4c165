"""Who may do what: R1 to R6, R15, and that lost rights end what runs."""

import json
import re
import subprocess
import time

import pytest

from tport import BIN, wait_for


def role(name, allow, deny="{}", options="{}"):
    return f"kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec:\n  allow: {allow}\n  deny: {deny}\n  options: {options}\n"


def test_R5_deny_beats_allow(cluster):
    cluster.ctl("create", "-f", input=role("no-node2", "{logins: [root], node_labels: {'*': '*'}}",
                                           "{logins: [guest], node_labels: {env: other}}"))
    cluster.ctl("create", "-f", input=role("only-dev", "{logins: [root], node_labels: {env: dev}}"))
    cluster.ctl("create", "-f", input=role("deny-root", "{}", "{logins: [root]}"))
    allowed = cluster.person("ivan", roles="only-dev", logins="")
    assert allowed.tport("ssh", "root@node1", "echo in").stdout == "in\n"
    denied = cluster.person("judy", roles="only-dev,deny-root", logins="")
    assert denied.tport("ssh", "root@node1", "echo in").returncode != 0


def test_R5_labels_of_another_role_do_not_combine(cluster):
    cluster.ctl("create", "-f", input=role("login-only", "{logins: [root], node_labels: {env: nowhere}}"))
    cluster.ctl("create", "-f", input=role("label-only", "{logins: [guest], node_labels: {'*': '*'}}"))
    person = cluster.person("mallory", roles="login-only,label-only", logins="")
    assert person.tport("ssh", "root@node1", "true").returncode != 0


def test_ls_hides_what_roles_do_not_show(cluster):
    cluster.ctl("create", "-f", input=role("sees-nothing", "{logins: [root], node_labels: {env: nowhere}}"))
    person = cluster.person("niaj", roles="sees-nothing", logins="")
    assert "node1" not in person.tport("ls").stdout


def test_options_of_roles_are_enforced(cluster):
    cluster.ctl("create", "-f", input=role("strict", "{logins: [root], node_labels: {'*': '*'}}", options=
                                           "{port_forwarding: false, ssh_file_copy: false, forward_agent: false, record_session: {default: strict}}"))
    person = cluster.person("olivia", roles="strict", logins="")
    assert person.tport("ssh", "root@node1", "echo in").stdout == "in\n"
    copy = person.tport("scp", "/etc/hostname", "root@node1:/tmp/should-not-be")
    assert copy.returncode != 0
    forward = person.tport("ssh", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:39999:127.0.0.1:1", "root@node1", "true")
    assert forward.returncode != 0


def test_idle_timeout(cluster):
    cluster.ctl("create", "-f", input=role("idle", "{logins: [root], node_labels: {'*': '*'}}", options="{client_idle_timeout: 2s}"))
    person = cluster.person("peggy", roles="idle", logins="")
    start = time.monotonic()
    result = person.tport("ssh", "root@node1", "sleep 30", input=None)
    assert time.monotonic() - start < 12 and result.returncode != 0


@pytest.mark.parametrize("how", ["lock", "delete", "role"])
def test_lost_rights_end_a_running_shell(cluster, how):
    name = f"cut-{how}"
    cluster.ctl("create", "-f", input=role(f"role-{how}", "{logins: [root], node_labels: {'*': '*'}}"))
    person = cluster.person(name, roles=f"role-{how}", logins="")
    shell = person.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo up-$((1+1))")
    shell.expect("up-2")
    start = time.monotonic()
    if how == "lock":
        cluster.ctl("lock", f"--user={name}", "--message=go home")
    elif how == "delete":
        cluster.ctl("users", "rm", name)
    else:
        cluster.ctl("create", "-f", input=role(f"role-{how}", "{logins: [guest], node_labels: {'*': '*'}}"))
    shell.expect_exact(__import__("pexpect").EOF, timeout=10)
    assert time.monotonic() - start < 3
    assert person.tport("ssh", "root@node1", "true").returncode != 0


def test_R3_recordings_of_others_stay_closed(cluster, alice):
    bob = cluster.person("bob", roles="access", logins="root")
    alice.tport("ssh", "root@node1", "echo secret-of-alice", check=True)
    mine = wait_for(lambda: [r for r in json.loads(alice.tport("recordings", "ls", "--format=json", check=True).stdout)
                             if "secret-of-alice" in json.dumps(r)])
    listed = bob.tport("recordings", "ls", "--format=json").stdout
    assert "secret-of-alice" not in listed
    played = bob.tport("play", "--format=text", mine[0]["id"])
    assert played.returncode != 0 and "secret-of-alice" not in played.stdout


def test_tportctl_by_profile_follows_roles(cluster, alice):
    """Away from auth's machine: an editor may, a plain user may not."""
    env = {"TPORT_ADMIN_SOCKET": "/nonexistent"}
    ok = alice.run(BIN / "tportctl", "users", "ls")
    assert ok.returncode == 0 and "alice" in ok.stdout, ok.stderr
    plain = cluster.person("plain", roles="access")
    no = plain.run(BIN / "tportctl", "users", "add", "evil", "--roles=editor")
    assert no.returncode == 1 and "denied" in no.stderr
    assert env


def configure(cluster, name, token, pin, folder):
    conf = folder / f"{name}.conf"
    made = subprocess.run(cluster.net.prefix(name) + [str(BIN / "tportd"), "node", "configure", f"--proxy={cluster.proxy}", f"--token={token}",
                                                      f"--ca-pin={pin}", f"--node-name={name}", f"--data-dir={folder}/data", "-o", str(conf)],
                          capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return conf


@pytest.mark.parametrize("kind,says", [("token", "token"), ("pin", "pin"), ("expired", "expired")])
def test_refused_joins_say_why(cluster, tmp_path, kind, says):
    token, pin = cluster.token(), cluster.pin()
    if kind == "token":
        token = "0" * 32
    if kind == "pin":
        pin = "sha256:" + "1" * 64
    if kind == "expired":
        token = cluster.token(ttl="1s")
        time.sleep(1.5)
    conf = configure(cluster, f"bad-{kind}", token, pin, tmp_path)
    log = tmp_path / "log"
    with open(log, "wb") as out:
        daemon = subprocess.Popen(cluster.net.prefix(f"bad-{kind}") + [str(BIN / "tportd"), "-c", str(conf)], stdout=out, stderr=out)
    try:
        wait_for(lambda: says in log.read_text())
        assert token not in log.read_text()
    finally:
        daemon.terminate()
        daemon.wait(10)
    assert f"bad-{kind}" not in json.dumps(cluster.node_list())


def test_node_offline_is_said(fresh):
    cluster = fresh(nodes=("node1",))
    person = cluster.person("alice")
    cluster.nodes["node1"].stop()
    cluster.wait_online("node1", online=False)
    result = person.tport("ssh", "root@node1", "true")
    assert result.returncode != 0 and "offline" in result.stderr
    cluster.nodes["node1"].start()
    cluster.wait_online("node1")
    assert person.tport("ssh", "root@node1", "echo back").stdout == "back\n"


def test_cable_pulled_and_back(fresh):
    cluster = fresh(nodes=("node1",))
    if not cluster.net.real:
        pytest.skip("needs network namespaces (root)")
    person = cluster.person("alice")
    cluster.net.cut("node1")
    time.sleep(2)
    cluster.net.cut("node1", off=False)
    wait_for(lambda: person.tport("ssh", "root@node1", "echo back").stdout == "back\n", 60)


def test_dynamic_labels_show(cluster):
    node = cluster.add_node("node3", extra="")
    try:
        node.stop()
        node.write(node.conf.read_text().replace("ssh_service:\n", "ssh_service:\n  commands:\n    - name: kernel\n      command: [uname, -s]\n      period: 1s\n", 1))
        node.start()
        wait_for(lambda: "Linux" in cluster.ctl("nodes", "ls").stdout, 30)
    finally:  # others count the servers of this cluster
        node.stop()
        del cluster.nodes["node3"]
        cluster.ctl("rm", "node/" + next(item["metadata"]["name"] for item in cluster.node_list() if item["spec"]["hostname"] == "node3"))
