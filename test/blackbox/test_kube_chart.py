"""The agent as a pod: Helm's chart, the plain manifest and the image, rendered, applied to a real API server, and run by a
real kubelet with a service account whose token changes."""

import json
import re
import subprocess

import pytest
import yaml

import chart
import kube
from tport import BUILD, ROOT, wait_for

NEEDED = ("kubeClusterName=temp1", "proxyAddr=gate.example.com:443", "authToken=abc")


def objects(*sets, **options):
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(chart.render(*sets, **options)) if item}


def conf_of(made):
    return made["ConfigMap", "tport-agent"]["data"]["tport.conf"]


def check_conf(tmp_path, text):
    file = tmp_path / "tport.conf"
    file.write_text(text)
    return subprocess.run([str(BUILD / "bin" / "tportd"), "-t", "-c", str(file)], capture_output=True, text=True, check=False)


# --- rendered ---

def test_the_walkthrough_s_values(tmp_path):
    made = objects(*NEEDED, "labels.env=dev", "caPin[0]=sha256:" + "0" * 64)
    conf = yaml.safe_load(conf_of(made))
    assert conf["kubernetes_service"] == {"enabled": True, "kube_cluster_name": "temp1", "labels": {"env": "dev"}}
    assert conf["tport"]["proxy_server"] == "gate.example.com:443" and conf["ssh_service"] == {"enabled": False}
    assert conf["tport"]["ca_pin"] == ["sha256:" + "0" * 64]
    assert made["Secret", "tport-kube-agent-join-token"]["stringData"] == {"auth-token": "abc"}
    assert "abc" not in json.dumps([item for key, item in made.items() if key[0] != "Secret"])
    done = check_conf(tmp_path, conf_of(made))
    assert done.returncode == 0, done.stderr
    pod = made["Deployment", "tport-agent"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    rules = made["ClusterRole", "tport-agent"]["rules"]
    assert [(r["resources"], r["verbs"]) for r in rules] == [
        (["users", "groups", "serviceaccounts"], ["impersonate"]), (["pods"], ["get"]), (["selfsubjectaccessreviews"], ["create"])]


def test_values_cannot_break_out_of_the_configuration(tmp_path):
    hostile = 'x"\\n evil: yes # {{ .Values.authToken }}'
    made = objects('kubeClusterName="temp1"', 'proxyAddr="gate.example.com:443"', "labels=" + json.dumps(
        {"a": hostile, "number": 7, "flag": True}), flag="--set-json")
    labels = yaml.safe_load(conf_of(made))["kubernetes_service"]["labels"]
    assert labels == {"a": hostile, "number": "7", "flag": "true"}
    assert check_conf(tmp_path, conf_of(made)).returncode == 0


@pytest.mark.parametrize("missing,said", [("kubeClusterName", "kubeClusterName is needed"), ("proxyAddr", "proxyAddr is needed")])
def test_what_is_missing_is_said(missing, said):
    done = chart.run(*(one for one in NEEDED if not one.startswith(missing)))
    assert done.returncode == 1 and said in done.stderr and not done.stdout


def test_the_schema_knows_all_values_and_no_others():
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    assert set(yaml.safe_load((chart.CHART / "values.yaml").read_text())) == set(schema["properties"]) - {"global"}
    for sets in ((), ("labels.env=dev", "authToken=x", "storage.enabled=true"), ("caPin=sha256:00",), ("roles=kube",)):
        assert chart.run(*NEEDED, *sets).returncode == 0, sets
    for sets, said in ((("apps[0].name=x",), "apps"), (("roles=kube\\,app",), "roles"), (("proxyAddr=nohost",), "proxyAddr"),
                       (("labels.env.deep=x",), "labels/env"), (("tokenExpirationSeconds=5",), "tokenExpirationSeconds")):
        done = chart.run(*NEEDED, *sets)
        assert done.returncode == 1 and "values don't meet the specifications of the schema" in done.stderr and said in done.stderr, done


def test_other_ways_of_the_chart():
    kept = objects(*NEEDED, "storage.enabled=true", "highAvailability.replicaCount=2")
    claim = kept["StatefulSet", "tport-agent"]["spec"]
    assert claim["replicas"] == 2 and claim["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
    assert ("Deployment", "tport-agent") not in kept
    own = objects(*NEEDED[:2], "secretName=mine", "rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=sa")
    assert {kind for kind, _ in own} == {"ConfigMap", "Deployment"}
    pod = own["Deployment", "tport-agent"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "sa" and {"name": "join-token", "secret": {"secretName": "mine", "optional": True}} in pod["volumes"]
    one, other = (objects(*NEEDED, f"labels.env={env}")["Deployment", "tport-agent"]["spec"]["template"]["metadata"]["annotations"]
                  for env in ("dev", "prod"))
    assert one["checksum/config"] != other["checksum/config"] # a changed configuration starts new pods


def test_the_plain_manifest_is_the_chart():
    assert chart.PLAIN.read_text() == chart.plain(), "run: /usr/bin/python3 test/blackbox/chart.py >deploy/helm/tport-kube-agent.yaml"


def test_tportctl_prints_a_line_that_works(cluster):
    out = cluster.ctl("tokens", "add", "--type=kube").stdout
    words = out.partition("> helm install ")[2].partition("\n\n")[0].replace("\\\n", " ").replace("'", "").split()
    assert words[0] == "tport-agent" and (ROOT / words[1] / "Chart.yaml").exists()
    sets = [words[i + 1].replace("=NAME", "=temp1") for i, word in enumerate(words) if word == "--set"]
    conf = yaml.safe_load(conf_of(objects(*sets)))
    assert conf["tport"] == {**conf["tport"], "proxy_server": cluster.proxy, "ca_pin": [cluster.pin()]}
    assert re.search(r"--set authToken=[0-9a-f]{32}\b", out)


def test_a_token_that_ends_before_the_next_pod_is_warned_of(cluster):
    """A pod that came after its token had ended was never let in, and nothing had said so before."""
    assert "Each new pod joins with the token" in cluster.ctl("tokens", "add", "--type=kube", "--ttl=1h").stdout
    for sets, said in ((NEEDED, True), ((*NEEDED, "storage.enabled=true"), False)):
        done = chart.helm("install", "tport-agent", chart.CHART, "--dry-run=client", "--namespace=tport-agent",
                          *(word for one in sets for word in ("--set", one)))
        assert done.returncode == 0 and ("Each new pod joins with the token" in done.stdout) == said, done


def test_helm_lint():
    done = chart.helm("lint", "--strict", chart.CHART, *(word for one in NEEDED for word in ("--set", one)))
    assert done.returncode == 0 and "1 chart(s) linted, 0 chart(s) failed" in done.stdout, done
    assert "WARN" not in done.stdout + done.stderr and "[ERROR]" not in done.stdout, done


# --- in a real cluster ---

def bind(site, pod):
    """The scheduler's work: the test cluster has none."""
    site.prod.admin("create", "--raw", f"/api/v1/namespaces/tport-agent/pods/{pod}/binding", "-f", "-", input=json.dumps(
        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"apiVersion": "v1", "kind": "Node", "name": "localhost"}}))


def pods(site):
    return [item["metadata"]["name"] for item in json.loads(site.prod.admin("get", "pods", "-n", "tport-agent", "-o", "json").stdout)["items"]
            if "deletionTimestamp" not in item["metadata"]]


def helm(site, line, **more):
    """A line of helm as the cluster's administrator types it at the top of the sources."""
    environment = {"PATH": f"{kube.newest('helm').parent}:/usr/bin:/bin", "HOME": str(site.prod.folder), "KUBECONFIG": site.prod.kubeconfig("admin")}
    return subprocess.Popen([*site.cluster.net.prefix(site.prod.host), "sh", "-c", line], cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def finish(process):
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 0, out
    return out


def readme_line(site, name):
    """README's line, with what stands in capitals there."""
    line = re.search(r"^\$ (helm install .*?[^\\])$", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    for word, value in (("=prod", f"={name}"), ("HOST:443", site.cluster.proxy), ("TOKEN", site.token()), ("sha256:...", site.cluster.pin())):
        assert line.count(word) == 1, word
        line = line.replace(word, value)
    return line


def here(site):
    """What this cluster needs: an image without a registry, and pods on the network of their host."""
    values = site.prod.folder / "values.yaml"
    values.write_text(json.dumps({"imageTag": "test", "hostNetwork": True, "extraEnv": [
        {"name": "KUBERNETES_SERVICE_HOST", "value": site.prod.address}, {"name": "KUBERNETES_SERVICE_PORT", "value": str(kube.API_PORT)}]}))
    return values


def start(site, *old):
    """Binds the pod that is not one of the old ones; its name when it runs."""
    name = wait_for(lambda: [one for one in pods(site) if one not in old], timeout=60)[0]
    bind(site, name)
    try:
        wait_for(lambda: site.prod.pod_ready(name, "tport-agent"), timeout=90)
        site.wait_clusters("inside", timeout=90)
    except AssertionError:
        print(site.prod.admin("describe", "pod", "-n", "tport-agent", name).stdout[-3000:])
        print(site.prod.admin("logs", "-n", "tport-agent", name, check=False).stdout[-3000:])
        raise
    return name


@pytest.fixture(scope="module")
def pod(site):
    """The chart's agent in a pod of the cluster "prod", which it offers as "inside"."""
    site.prod.import_image(tport_image(site))
    out = finish(helm(site, f"{readme_line(site, 'inside')} -f {here(site)}"))
    assert "STATUS: deployed" in out and "tport kube login inside" in out
    yield start(site)
    site.prod.admin("delete", "namespace", "tport-agent", "--wait=false")
    site.prod.admin("delete", "clusterrole,clusterrolebinding", "-l", "app=tport-agent")
    site.cluster.ctl("rm", "kube_server/inside")


def tport_image(site):
    out = site.prod.folder / "tport-image"
    subprocess.run([str(ROOT / "deploy/container/make-image"), f"--build={BUILD}", "--program=tportd", "--tag=docker.io/library/tport:test",
                    str(out)], check=True)
    return out


def test_an_agent_in_a_pod_serves_its_cluster(site, pod, member, developer):
    member.tport("kube", "login", "inside", check=True)
    assert "shell" in site.kubectl(member, "get", "pods", context="inside", check=True).stdout
    assert site.kubectl(member, "exec", "shell", "--", "echo", "from the pod", context="inside", check=True).stdout == "from the pod\n"
    # The walkthrough's developer: refused by the cluster itself, as himself.
    developer.tport("kube", "login", "inside", check=True)
    refused = site.kubectl(developer, "get", "endpoints", context="inside")
    assert refused.returncode == 1 and 'User "dev" cannot list resource "endpoints"' in refused.stderr
    as_agent = [e for e in site.prod.audit() if e["user"]["username"] == "system:serviceaccount:tport-agent:tport-agent"]
    assert any(e.get("impersonatedUser", {}).get("username") == "dev" for e in as_agent)
    shown = member.tport("kube", "ls", check=True).stdout
    assert re.search(r"inside +.*env=dev", shown)


def test_a_rotated_token_is_taken(site, pod, member):
    """The kubelet replaces the token's file in one step. Here it becomes the token of another service account, so that the
    API server's own log tells which one was shown."""
    member.tport("kube", "login", "inside", check=True)
    site.kubectl(member, "get", "pods", context="inside", check=True)
    site.prod.admin("create", "serviceaccount", "-n", "tport-agent", "second")
    site.prod.admin("create", "clusterrolebinding", "second", "--clusterrole=tport-agent", "--serviceaccount=tport-agent:second")
    site.prod.admin("label", "clusterrolebinding", "second", "app=tport-agent")
    asked = site.prod.admin("create", "--raw", "/api/v1/namespaces/tport-agent/serviceaccounts/second/token", "-f", "-", input=json.dumps(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}))
    token = json.loads(asked.stdout)["status"]["token"]

    def second_seen():
        # The kubelet puts its own back when it looks at the pod next: then once more.
        site.prod.in_node("sh", "-c", "cd /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/service-account && mkdir -p ..tport && "
                          "cp -p ..data/* ..tport/ && cat >..tport/token && ln -sfn ..tport ..new && mv -T ..new ..data", input=token)
        assert "shell" in site.kubectl(member, "get", "pods", context="inside", check=True).stdout
        return any(e["user"]["username"] == "system:serviceaccount:tport-agent:second" for e in site.prod.audit())
    wait_for(second_seen, timeout=60)


def test_helm_upgrade_and_uninstall(site, pod, member):
    """New labels: a new pod takes over, and the old one goes. Then nothing is left of it."""
    command = helm(site, "helm upgrade tport-agent deploy/helm/tport-kube-agent --namespace=tport-agent --reuse-values "
                         "--set labels.env=stage --wait --timeout=90s")
    new = start(site, pod)
    assert "STATUS: deployed" in finish(command) and new != pod
    wait_for(lambda: pods(site) == [new], timeout=60)
    wait_for(lambda: re.search(r"inside +.*env=stage", member.tport("kube", "ls", check=True).stdout), timeout=30)
    member.tport("kube", "login", "inside", check=True)
    assert "shell" in site.kubectl(member, "get", "pods", context="inside", check=True).stdout
    finish(helm(site, "helm uninstall tport-agent --namespace=tport-agent --wait --timeout=90s"))
    # What belongs to the deployment goes when Kubernetes clears up behind it.
    wait_for(lambda: not site.prod.admin("get", "deploy,rs,cm,secret,sa,clusterrole,clusterrolebinding", "-n", "tport-agent", "-o", "name", "-l",
                                         "app.kubernetes.io/name=tport-kube-agent").stdout, timeout=50)
    site.wait_online(member, "inside", online=False)
    wait_for(lambda: not site.prod.admin("get", "pods", "-n", "tport-agent", "-o", "name").stdout, timeout=50) # no kill after a minute


def test_the_plain_manifest_is_accepted_by_an_api_server(site):
    text = chart.PLAIN.read_text()
    for word, value in (("CLUSTER-NAME", "plain"), ("PROXY-ADDRESS", "gate.example.com:443"), ("JOIN-TOKEN", "abc"),
                        ("CA-PIN", "sha256:" + "0" * 64), ("IMAGE", "tport:test")):
        assert word in text
        text = text.replace(word, value)
    text = text.replace("namespace: tport-agent", "namespace: plain").replace("name: tport-agent", "name: plain")
    try:
        site.prod.admin("apply", "-f", "-", input=text)
        assert site.prod.admin("get", "deployment", "-n", "plain", "plain", "-o", "jsonpath={.spec.replicas}").stdout == "1"
    finally:
        site.prod.admin("delete", "--wait=false", "-f", "-", input=text)


def test_every_object_has_a_name_that_the_api_takes():
    for (kind, name), item in objects(*NEEDED, "storage.enabled=true").items():
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) and len(name) <= 253, (kind, name)
        assert item["apiVersion"] in ("v1", "apps/v1", "rbac.authorization.k8s.io/v1"), item["apiVersion"]
        for labels in (item["metadata"].get("labels", {}), item["metadata"].get("annotations", {})):
            assert all(isinstance(value, str) for value in labels.values()), labels
