"""HTTPS requests that are passed on: client, worker, tunnel, an agent with kubernetes_service, and an HTTPS server in the place of the API server;
nginx with proxy_pass between the same client and the same server. tport checks and records every request, nginx passes it on."""

import json
import os

from harness.fleet import keys
from harness.pairs import alternate, ratios, report_rates
from harness.place import Place, cpu_of, tree
from harness.report import median
from harness.servers import Tport, nginx, run_json, tool
import tport

NAME = "proxied"
BUDGET_S = 60
ABOUT = "HTTPS requests per second on kept connections, passed on through a tunnel (the Kubernetes road) to a server behind an agent; with nginx's proxy_pass"
ROLE = """
kind: role
version: v5
metadata: {name: bench}
spec:
  allow:
    kubernetes_groups: ["bench"]
    kubernetes_labels: {'*': '*'}
"""
FOLDER = "/api/v1/namespaces/default/configmaps"
BODIES = {"small": 1000, "large": 64 * 1024}


def behind(place):
    """The server that both pass on to."""
    there = place.keep(Place())
    folder = there.root / FOLDER.lstrip("/")
    folder.mkdir(parents=True)
    for name, size in BODIES.items():
        (folder / name).write_bytes(b"x" * size)
    return there, nginx(there)


def add_agent(ours, there, server):
    """As test/blackbox/kube_site.py does it, with that server as its one cluster, named bench."""
    cluster = ours.cluster
    folder = cluster.folder / "kubeagent"
    folder.mkdir()
    os.chmod(folder, 0o755)
    config = folder / "kubeconfig"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": f"https://{server.address}:{server.port}", "certificate-authority": str(there.cert)}}],
        "users": [{"name": "bench", "user": {"token": "bench"}}]}))
    os.chmod(config, 0o644)
    token = json.loads(cluster.ctl("nodes", "add", "--roles=kube", "--ttl=1h", "--format=json").stdout)[0]
    daemon = tport.Daemon(cluster.net, "kubeagent", folder, f"""
version: v3
tport:
  nodename: kubeagent
  data_dir: {folder}/data
  proxy_server: {cluster.proxy}
  join_params: {{method: token, token_name: {token}}}
  ca_pin: {cluster.pin()}
  log:
    severity: warn
ssh_service:
  enabled: no
kubernetes_service:
  enabled: yes
  kubeconfig_file: {config}
""")
    cluster.nodes["kubeagent"] = daemon
    daemon.start()
    tport.wait_for(lambda: any(item["metadata"]["name"] == "bench" for item in json.loads(cluster.ctl("kube", "ls", "--format=json").stdout)), 60)
    return daemon


class Way:
    def __init__(self, name, words, cpu, all_cpu):
        self.name, self.words, self.cpu, self.all_cpu = name, words, cpu, all_cpu


def run(place, report, full):
    there, server = behind(place)
    ours = place.keep(Tport(place, own_cert=True))
    agent = add_agent(ours, there, server)
    ours.cluster.ctl("create", input=ROLE)
    person = ours.cluster.person("bench", roles="bench", logins=None)
    cert, key = keys(person)
    rival = nginx(place, behind=f"{server.address}:{server.port}")
    ways = [Way("tport", [f"--target={ours.cluster.proxy}", f"--server-name={b'bench'.hex()}.kube.{ours.cluster.name}", f"--cert={cert}", f"--key={key}"], ours.worker_cpu,
                lambda: ours.cpu() + cpu_of(tree(agent.process.pid))),
            Way("nginx", [f"--target={rival.address}:{rival.proxy_port}", "--server-name=bench"], rival.cpu, rival.cpu)]
    for name, size in BODIES.items():
        def drive(way, name=name):
            before = way.all_cpu()
            answer = run_json([tool("requests"), *way.words, "--alpn=http/1.1", f"--path={FOLDER}/{name}", "--connections=32", "--seconds=1"], place, 60)
            if answer["failed"]:
                raise RuntimeError(f"{way.name}: {answer['failed']} connections failed: {answer['why']}")
            return answer["done"], {"all": (way.all_cpu() - before) / answer["done"], "p99": answer["p99_us"] / 1000}
        samples = alternate(ways, drive, 7 if full else 2)
        mine, theirs = samples["tport"], samples["nginx"]
        report_rates(report, NAME, f"HTTPS requests passed on, answer of {size} bytes", "", samples, {"nginx": 1.0},
                     f"worker's time; of all processes {1e6 * median([s.more['all'] for s in mine]):.0f} us a request, {median(ratios(mine, theirs, lambda s: s.more['all'])):.2f} times nginx's; "
                     f"p99 {median([s.more['p99'] for s in mine]):.1f} and {median([s.more['p99'] for s in theirs]):.1f} ms")
