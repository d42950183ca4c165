"""helm through tport to a real API server, by the kubeconfig that tport wrote: releases of a small chart, as people whose roles
let them and as people whose roles do not."""

import base64
import json
import os

import pytest
import yaml

from kube_site import with_role

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "word: one\n",
    "templates/NOTES.txt": "The word is {{ .Values.word }}.\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-cm"}
data: {word: "{{ .Values.word }}", noise: {{ .Files.Get "noise" | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {release: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {release: "{{ .Release.Name }}"}, annotations: {word: "{{ .Values.word }}"}}
    spec:
      hostNetwork: true
      nodeName: localhost
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"]}
""",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A chart with a pod, and with noise that does not compress: helm stores it twice in each release's secret."""
    folder = tmp_path_factory.mktemp("charts") / "small"
    for name, text in {**CHART, "noise": base64.b64encode(os.urandom(150_000)).decode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    os.chmod(folder.parent, 0o755)
    return folder


def word_of(site, release, namespace="default"):
    return site.prod.admin("get", "cm", "-n", namespace, f"{release}-cm", "-o", "jsonpath={.data.word}").stdout


def test_a_release_from_install_to_uninstall(site, member, small):
    def helm(*words):
        return site.helm(member, *words, check=True, timeout=120).stdout
    shown = helm("install", "first", small, "--wait", "--timeout=90s")
    assert "STATUS: deployed" in shown and "The word is one." in shown
    assert site.prod.admin("get", "deployment", "first", "-o", "jsonpath={.status.readyReplicas}").stdout == "1"
    # What helm stores: a secret of half a megabyte, which comes back as it was.
    stored = json.loads(site.prod.admin("get", "secret", "sh.helm.release.v1.first.v1", "-o", "json").stdout)
    assert len(stored["data"]["release"]) > 400_000
    manifest = {item["kind"]: item for item in yaml.safe_load_all(helm("get", "manifest", "first")) if item}
    assert manifest["ConfigMap"]["data"]["noise"] == (small / "noise").read_text() and "Deployment" in manifest
    assert [one["name"] for one in json.loads(helm("list", "-o", "json"))] == ["first"]
    assert json.loads(helm("status", "first", "-o", "json"))["info"]["status"] == "deployed"
    helm("upgrade", "first", small, "--set", "word=two", "--wait", "--timeout=90s")
    assert word_of(site, "first") == "two"
    assert json.loads(helm("get", "values", "first", "-o", "json")) == {"word": "two"}
    helm("rollback", "first", "1", "--wait", "--timeout=90s")
    assert word_of(site, "first") == "one"
    assert [one["status"] for one in json.loads(helm("history", "first", "-o", "json"))] == ["superseded", "superseded", "deployed"]
    # A list over the whole cluster, and one of another namespace.
    assert "first" in helm("list", "-A") and "first" not in helm("list", "-n", "kube-system")
    assert "uninstalled" in helm("uninstall", "first", "--wait", "--timeout=90s")
    assert site.prod.admin("get", "deploy,cm,secret", "-o", "name").stdout.count("first") == 0
    # All of it as the member, none as the agent itself.
    mine = [e for e in site.prod.audit() if "/secrets/sh.helm.release.v1.first" in e["requestURI"]]
    assert mine and {e["impersonatedUser"]["username"] for e in mine if e["user"]["username"] == "tport-agent"} == {member.name}


def test_who_may_not_reads_why(site, developer, small):
    """The walkthrough's developer: deployments, and the secrets that helm keeps its releases in, are not for his group. The
    cluster says so itself."""
    for words, said in ((("list",), "secrets is forbidden"), (("install", "hers", small), 'deployments.apps "hers" is forbidden')):
        refused = site.helm(developer, *words)
        assert refused.returncode == 1 and said in refused.stderr and 'User "dev" cannot' in refused.stderr, refused


@pytest.mark.parametrize("version", ["v7", "v8"])
def test_a_role_for_one_namespace(site, small, version):
    """Everything in one namespace, nothing elsewhere: there helm works as it does for an administrator."""
    space = f"helm-{version}"
    site.prod.admin("create", "namespace", space)
    everything = {"kind": "*", "name": "*", "namespace": space, "verbs": ["*"], **({"api_group": "*"} if version == "v8" else {})}
    who = with_role(site, f"helm-{version}", version=version, kubernetes_groups=["system:masters"], kubernetes_resources=[everything])

    def helm(*words):
        return site.helm(who, *words, timeout=120)
    done = helm("upgrade", "--install", "own", small, "-n", space, "--wait", "--timeout=90s")
    assert done.returncode == 0, done
    if version == "v7":
        assert helm("upgrade", "own", small, "-n", space, "--set", "word=two").returncode == 0 and word_of(site, "own", space) == "two"
        assert helm("rollback", "own", "1", "-n", space).returncode == 0 and word_of(site, "own", space) == "one"
    assert "own-cm" in helm("get", "manifest", "own", "-n", space).stdout
    # Elsewhere: tport's own refusal, in words.
    for words in (("list", "-n", "kube-system"), ("install", "own", small, "-n", "default")):
        refused = helm(*words)
        assert refused.returncode == 1 and "tport: your roles do not let you" in refused.stderr, refused
    # A list of all namespaces shows his own.
    assert [one["namespace"] for one in json.loads(helm("list", "-A", "-o", "json").stdout)] == [space]
    assert "uninstalled" in helm("uninstall", "own", "-n", space).stdout
    site.prod.admin("delete", "namespace", space, "--wait=false")
