"""tport kube on a machine: what kubectl is given, without a cluster behind it."""

import json
import subprocess
import time

import pytest

from tport import BIN, BUILD, wait_for


def exec_plugin(person, *words, **kw):
    return person.tport("kube", "credentials", f"--proxy={person.cluster.proxy}", *words, **kw)


def test_credentials_come_from_the_profile(cluster, alice):
    result = exec_plugin(alice, "--kube-cluster=any", "--teleport-cluster=test", check=True)
    answer = json.loads(result.stdout)
    assert answer["kind"] == "ExecCredential" and answer["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    keys = alice.home / ".tport" / "keys" / cluster.proxy.split(":")[0]
    assert answer["status"]["clientCertificateData"] == (keys / "alice.crt").read_text()
    assert answer["status"]["clientKeyData"] == (keys / "alice.key").read_text()
    assert time.strptime(answer["status"]["expirationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")


def test_credentials_answer_in_the_version_that_is_asked_for(alice):
    for version in ("v1", "v1beta1"):
        info = json.dumps({"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential", "spec": {"interactive": False}})
        result = subprocess.run([BIN / "tport", "kube", "credentials"], env={**alice.env(), "KUBERNETES_EXEC_INFO": info},
                                capture_output=True, text=True, check=True)
        assert json.loads(result.stdout)["apiVersion"].endswith(f"/{version}")


def test_credentials_that_are_no_use_say_so(cluster, alice):
    other = exec_plugin(alice, "--teleport-cluster=elsewhere")
    assert other.returncode == 1 and "elsewhere" in other.stderr and not other.stdout
    nobody = alice.run("env", f"TPORT_HOME={alice.home}/none", BIN / "tport", "kube", "credentials", f"--proxy={cluster.proxy}")
    assert nobody.returncode == 1 and "tport login" in nobody.stderr and not nobody.stdout
    brief = cluster.person("kube-brief", sign_in=False)
    status, output = brief.login("--ttl=1m")
    assert status == 0, output
    if "asan" in str(BUILD): # faketime and the sanitizer do not go together
        wait_for(lambda: exec_plugin(brief).returncode != 0, timeout=90, step=1)
        late = exec_plugin(brief)
    else:
        late = brief.run("faketime", "-f", "+2m", BIN / "tport", "kube", "credentials", f"--proxy={cluster.proxy}")
    assert late.returncode == 1 and "expired" in late.stderr and "tport login" in late.stderr and not late.stdout


@pytest.mark.skipif("asan" in str(BUILD), reason="sanitized programs start slowly")
def test_credentials_take_under_ten_milliseconds(alice):
    """kubectl starts it before each command. The best of many runs: the machine does other things too; and what starting
    any program from Python costs is taken off."""
    def best(*command):
        times = []
        for _ in range(40):
            begin = time.perf_counter()
            subprocess.run(command, env=alice.env(), stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begin)
        return min(times)
    took = best(BIN / "tport", "kube", "credentials") - best("/bin/true")
    assert took < 0.010, f"{took * 1000:.1f} ms more than /bin/true"


def test_kube_login_wants_a_name_or_all(alice):
    kubeconfig = alice.home / ".kube" / "config"
    before = kubeconfig.read_text() if kubeconfig.exists() else None
    for words in ((), ("--all", "x"), ("--all", "--static"), ("x", "--out=f")):
        result = alice.tport("kube", "login", *words)
        assert result.returncode == 1 and result.stderr.startswith("ERROR: ")
    assert (kubeconfig.read_text() if kubeconfig.exists() else None) == before


def test_kube_login_refuses_what_kubectl_could_do_nothing_with(alice):
    for words, said in ((("-n", "Bad Namespace!"), '"Bad Namespace!" can\'t be a namespace'), (("-n", ""), '"" can\'t be a namespace'),
                        (("-n", "-a"), "namespace"), (("-n", 64 * "a"), "namespace"), (("--as-groups=ops",), "--as-groups needs --as")):
        result = alice.tport("kube", "login", "x", *words)
        assert result.returncode == 1 and result.stderr.startswith("ERROR: ") and said in result.stderr, result.stderr
    for words in (("-n", "kube-system"), ("-n", 63 * "a"), ("--as=bob", "--as-groups=ops")):
        assert 'cluster "x" was not found' in alice.tport("kube", "login", "x", *words).stderr
