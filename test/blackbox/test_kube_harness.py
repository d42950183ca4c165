"""The Kubernetes that other tests stand on: it runs, refuses strangers, and both kubectls speak to it."""

import pytest

import kube
from net import Net


@pytest.fixture(scope="module")
def alone():
    """An API server without tport in front of it."""
    import os
    net = Net(f"tk{os.getpid() % 10000}")
    one = None
    try:
        one = kube.Kube(net, "kube1")
        yield one
    finally:
        if one:
            one.close()
        net.close()


@pytest.mark.parametrize("version", ["1.20", "new"])
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
    alone.restart_api()
    assert "kept" in alone.admin("get", "cm", "kept").stdout
