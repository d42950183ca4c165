"""Profiles: which one is meant, what a sign-out leaves, as whom one comes without saying so."""

import json
import subprocess

import pytest

from tport import BIN


@pytest.fixture(scope="module")
def pia(cluster):
    return cluster.person("pia", logins="daemon,nobody,root")


def test_a_port_that_is_named_counts(cluster, pia):
    """A9 of a first-time user: TPORT_PROXY=HOST:1 listed the servers of HOST:3443."""
    host = cluster.proxy.split(":")[0]
    for words in (["ls", f"--proxy={host}:1"], ["status", f"--proxy={host}:1"], ["ssh", f"--proxy={host}:1", "root@node1", "true"]):
        result = pia.tport(*words)
        assert result.returncode != 0 and f"not logged in to {host}:1 but to {cluster.proxy}" in result.stderr, result.stderr
        assert f'run "tport login --proxy={host}:1"' in result.stderr
    result = pia.run("env", f"TPORT_PROXY={host}:1", BIN / "tport", "ls")
    assert result.returncode == 1 and "node1" not in result.stdout
    result = pia.tport("login", f"--proxy={host}:1", "--user=pia")  # it showed the status of the other one, and no error
    assert result.returncode == 1 and f"cannot connect to {host}:1" in result.stderr, result.stdout
    for proxy in (host, cluster.proxy, f"https://{cluster.proxy}"):
        assert "node1" in pia.tport("ls", f"--proxy={proxy}", check=True).stdout


def test_the_cluster_of_the_environment_is_looked_at(cluster, pia):
    """C44: tport env set TPORT_CLUSTER, and nothing read it."""
    line = next(line for line in pia.tport("env", check=True).stdout.splitlines() if "TPORT_CLUSTER" in line)
    assert line == f"export TPORT_CLUSTER={cluster.name}"
    assert "node1" in pia.run("env", f"TPORT_CLUSTER={cluster.name}", BIN / "tport", "ls").stdout
    other = pia.run("env", "TPORT_CLUSTER=elsewhere", BIN / "tport", "ls")
    assert other.returncode == 1 and f"this profile is for the cluster {cluster.name}, not elsewhere" in other.stderr
    assert "node1" in pia.run("env", "TPORT_CLUSTER=elsewhere", BIN / "tport", "ls", f"--proxy={cluster.proxy}").stdout


def test_who_does_not_say_a_login_comes_as_himself_or_is_asked(cluster, pia):
    """B14: the first login by the alphabet was taken."""
    assert pia.tport("ssh", "node1", "id -un", check=True).stdout == "root\n"  # who runs the tests
    other = cluster.person("pil", logins="daemon,nobody")
    result = other.tport("ssh", "node1", "true")
    assert result.returncode == 255 and "say which login, as in LOGIN@HOST: your roles allow daemon, nobody" in result.stderr
    result = other.tport("scp", "node1:/etc/hostname", ".")
    assert result.returncode == 255 and "say which login" in result.stderr
    single = cluster.person("pim", logins="daemon")
    assert "account is currently not available" in single.tport("ssh", "node1", "true").stdout  # what daemon's shell says


def test_what_fails_before_the_command_is_255(cluster, pia):
    """B15: a script must tell a refusal of ours from the command's own exit status."""
    for target in ("games@node1", "root@nowhere"):
        assert pia.tport("ssh", target, "true").returncode == 255, target
    assert pia.tport("ssh", "root@node1", "exit 7").returncode == 7
    assert pia.tport("scp", "games@node1:/etc/hostname", ".").returncode == 255


def test_a_logout_leaves_no_key(cluster, pia):
    """B12 and B13: parts of an identity file stayed, and the hint lost the port."""
    made = pia.home / "id"
    subprocess.run([BIN / "tportctl", "auth", "sign", "--user=pia", f"--out={made}", "--ttl=1h", "--overwrite"], check=True, capture_output=True,
                   env={"TPORT_ADMIN_SOCKET": str(cluster.daemon.data / "admin.sock"), "PATH": "/usr/bin:/bin", "HOME": "/"})
    pia.tport("-i", made, f"--proxy={cluster.proxy}", "ls", check=True)
    assert list((pia.home / ".tport" / "identities").iterdir())
    pia.tport("logout", check=True)
    left = [str(p) for p in (pia.home / ".tport").rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert not left
    result = pia.tport("ls", f"--proxy={cluster.proxy}")
    assert result.returncode == 1 and f'run "tport login --proxy={cluster.proxy}"' in result.stderr
    assert json.loads(pia.tport("status", "--format=json").stdout or "{}").get("active") is None
