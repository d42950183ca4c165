"""Helm's chart, rendered by helm itself (test/kube/helm). Run as a program this file prints the plain manifest that stands
beside the chart."""

import re
import subprocess
import sys

from kube import newest
from tport import ROOT

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


def helm(*words):
    """helm, with no configuration but its own defaults."""
    return subprocess.run([str(newest("helm")), *map(str, words)], capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})


def run(*sets, flag="--set", more=()):
    return helm("template", "tport-agent", CHART, "--namespace=tport-agent", *more, *(word for one in sets for word in (flag, one)))


def render(*sets, **options):
    done = run(*sets, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain():
    text = render("kubeClusterName=CLUSTER-NAME", "proxyAddr=PROXY-ADDRESS", "authToken=JOIN-TOKEN", "caPin[0]=CA-PIN", "image=IMAGE",
                  more=["--skip-schema-validation"])
    text = re.sub(r"\n +annotations:\n +# A changed.*\n +checksum/config: .*", "", text)
    text = re.sub(r"\n +app.kubernetes.io/managed-by: .*", "", text)
    text = re.sub(r'"IMAGE:[^"]*"', "IMAGE", text)
    return HEADER + re.sub(r"# Source: .*\n", "", text)


if __name__ == "__main__":
    sys.stdout.write(plain())
