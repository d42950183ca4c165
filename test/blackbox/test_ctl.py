"""Small commands of tportctl: tokens as they are shown, what is removed and how the audit log says it, editing."""

import json
import re

import pytest
import yaml

from tport import Daemon, wait_for


def codes(cluster, event):
    return [(e["code"], e["name"]) for e in cluster.audit() if e["event"] == event]


def test_a_token_is_removed_by_what_the_list_shows(cluster):
    for value in ("alpha-token-of-the-list-0123456789", "beta-token-of-the-list-0123456789"):
        cluster.ctl("tokens", "add", "--type=node", f"--value={value}")
    listed = cluster.ctl("tokens", "ls").stdout
    assert "of-the-list" not in listed and "of-the-list" not in cluster.ctl("tokens", "ls", "--with-secrets", "--format=json").stdout
    shown = re.search(r"^alph\*+", listed, re.M).group(0)
    assert f"Token {shown} has been deleted" in cluster.ctl("tokens", "rm", shown).stdout
    left = cluster.ctl("tokens", "ls").stdout
    assert "alph" not in left and "beta*" in left
    cluster.ctl("tokens", "rm", "beta-token-of-the-list-0123456789")
    assert "beta" not in cluster.ctl("tokens", "ls").stdout


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: dev1
clusters: [{name: x, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: x, user: {token: t}}]
contexts: [{name: dev1, context: {cluster: x, user: x}}, {name: dev2, context: {cluster: x, user: x}}]
"""


def add_kube_agent(cluster, name):
    """It serves two clusters that nobody reaches: to be listed and removed is all that is asked of them."""
    folder = cluster.folder / name
    folder.mkdir()
    (folder / "kubeconfig").write_text(KUBECONFIG)
    token = json.loads(cluster.ctl("nodes", "add", "--roles=kube", "--format=json").stdout)[0]
    cluster.nodes[name] = Daemon(cluster.net, name, folder, f"""
version: v3
tport: {{nodename: {name}, data_dir: {folder}/data, proxy_server: "{cluster.proxy}", auth_token: {token}, ca_pin: "{cluster.pin()}"}}
ssh_service: {{enabled: no}}
kubernetes_service: {{enabled: yes, kubeconfig_file: {folder}/kubeconfig}}
""").start()


def kube_names(cluster):
    return sorted(item["metadata"]["name"] for item in json.loads(cluster.ctl("kube", "ls", "--format=json").stdout))


def test_what_is_removed_stands_in_the_log_with_a_code(fresh):
    cluster = fresh(nodes=("node1",))
    add_kube_agent(cluster, "kube1")
    wait_for(lambda: kube_names(cluster) == ["dev1", "dev2"], timeout=60)
    gone = cluster.ctl("rm", "kube_server/dev1")
    assert gone.stdout == 'kube_server "dev1" has been deleted\n'
    assert kube_names(cluster) == ["dev2"]
    again = cluster.ctl("rm", "kube_server/dev1", check=False)
    assert again.returncode == 1 and 'there is no kube_server "dev1"' in again.stderr
    wait_for(lambda: codes(cluster, "kube_server.deleted") == [("TKS01I", "dev1")])

    host = cluster.node_list()[0]["metadata"]["name"]
    assert "has been deleted" in cluster.ctl("rm", f"node/{host}").stdout
    assert not cluster.node_list()
    wait_for(lambda: codes(cluster, "node.deleted") == [("TND01I", host)])

    cluster.ctl("tokens", "add", "--type=node", "--value=gone-token-of-the-log-0123456789")
    cluster.ctl("tokens", "rm", "gone-token-of-the-log-0123456789")
    wait_for(lambda: codes(cluster, "join_token.delete") == [("TJT01I", "gone****************")])
    cluster.ctl("auth", "rotate", "--type=db", "--manual", "--phase=init")
    wait_for(lambda: "cert_authority.rotate" in {e["event"] for e in cluster.audit()})
    assert not [e for e in cluster.audit() if e["code"] == "TCC00E"]
