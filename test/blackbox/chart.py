"""Helm's chart, rendered. Helm is in no package of the distribution; test/kube/render.go does what "helm template" does, with
the same engine. Run as a program this file prints the plain manifest that stands beside the chart."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "tport-kube-agent"
PLAIN = ROOT / "deploy" / "helm" / "tport-kube-agent.yaml"
HEADER = """# The agent of tport in a Kubernetes cluster, without Helm: what the chart tport-kube-agent makes of its defaults (it was
# made so; change the chart). Put the five words in capitals right, then apply it:
#
#   sed -e 's#CLUSTER-NAME#prod#' -e 's#PROXY-ADDRESS#gate.example.com:443#' -e 's#JOIN-TOKEN#0123...#' \\
#       -e 's#CA-PIN#sha256:0123...#' -e 's#IMAGE#registry.example.com/tport:0.1.0#' tport-kube-agent.yaml | kubectl apply -f -
---
apiVersion: v1
kind: Namespace
metadata:
  name: tport-agent
"""


@functools.lru_cache(maxsize=None)
def _renderer():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tport-render-"))
    subprocess.run(["go", "build", "-o", str(folder / "render"), str(ROOT / "test" / "kube" / "render.go")], check=True, cwd=folder,
                   env={"PATH": os.environ["PATH"], "HOME": str(folder), "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
                        "GOCACHE": str(folder / "cache"), "GOFLAGS": ""})
    return folder / "render"


def run(*sets, release="tport-agent", namespace="tport-agent", env=None, flag="--set"):
    words = [str(_renderer()), str(CHART), release, namespace]
    for one in sets:
        words += [flag, one]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], **(env or {})})


def render(*sets, **options):
    done = run(*sets, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(*sets):
    done = run("kubeClusterName=x", "proxyAddr=h:1", *sets, env={"RENDER_VALUES": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plain():
    text = render("kubeClusterName=CLUSTER-NAME", "proxyAddr=PROXY-ADDRESS", "authToken=JOIN-TOKEN", "caPin[0]=CA-PIN", "image=IMAGE")
    text = re.sub(r"\n +annotations:\n +# A changed.*\n +checksum/config: .*", "", text)
    text = re.sub(r"\n +app.kubernetes.io/managed-by: .*", "", text)
    text = re.sub(r'"IMAGE:[^"]*"', "IMAGE", text)
    return HEADER + re.sub(r"# Source: .*\n", "", text)


if __name__ == "__main__":
    sys.stdout.write(plain())
