"""tportctl access test, explain and who, without a cluster: what they say and how they end."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TPORTCTL = Path(os.environ.get("TPORT_BUILD", ROOT / "build")) / "bin" / "tportctl"
ROLES = ROOT / "conf" / "roles" / "dev2.yaml"
USERS = """\
kind: user
version: v2
metadata: {name: alice}
spec: {roles: [dev2], traits: {logins: [admin], kubernetes_groups: [edit]}}
---
kind: user
version: v2
metadata: {name: bob}
spec: {roles: []}
"""
RESOURCES = """\
kind: node
version: v2
metadata: {name: 0001, labels: {environment: dev}}
spec: {hostname: web}
---
kind: kube_cluster
version: v3
metadata: {name: dev, labels: {env: dev}}
spec: {}
"""
CASES = """\
- name: right
  roles: [dev2]
  resource: {kind: node, name: a, labels: {environment: dev}}
  login: ec2-user
  expect: allow

- name: wrong
  roles: [dev2]
  resource: {kind: node, name: a, labels: {environment: prod}}
  login: ec2-user
  expect: allow
- name: strange
  roles: [dev2]
  colour: red
  expect: allow
"""


def run(*words):
    return subprocess.run([TPORTCTL, "access", *map(str, words)], capture_output=True, text=True, timeout=60)


def offline(tmp_path):
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "resources").write_text(RESOURCES)
    return ["--roles", ROLES, "--users", tmp_path / "users", "--resources", tmp_path / "resources"]


def test_cases_report_line_result_and_status(tmp_path):
    (tmp_path / "cases").write_text(CASES)
    done = run("test", tmp_path / "cases", "--roles", ROLES, "--format=json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [(c["name"], c["line"], c["result"]) for c in report["cases"]] == [
        ("right", 1, "pass"), ("wrong", 7, "fail"), ("strange", 12, "unsupported")]
    assert (report["passed"], report["failed"], report["unsupported"]) == (1, 1, 1)
    assert report["cases"][0]["role"] == "dev2"
    assert (report["cases"][1]["expected"], report["cases"][1]["got"]) == ("allow", "deny")
    assert "colour" in report["cases"][2]["reason"]


def test_a_file_that_cannot_be_read_is_status_2(tmp_path):
    done = run("test", tmp_path / "none")
    assert done.returncode == 2 and "none" in done.stderr
    (tmp_path / "bad").write_text("- name: [\n")
    assert run("test", tmp_path / "bad").returncode == 2


def test_explain_names_role_section_and_label(tmp_path):
    words = offline(tmp_path)
    done = run("explain", "alice", "access", "node/web", "--login=ec2-user", "--format=json", *words)
    answer = json.loads(done.stdout)
    assert (answer["decision"], answer["role"], answer["section"]) == ("allow", "dev2", "allow")
    assert answer["detail"] == "node_labels environment=dev"
    denied = json.loads(run("explain", "alice", "access", "node/web", "--login=guest", "-fjson", *words).stdout)
    assert (denied["decision"], denied["reason"], denied["section"]) == ("deny", "denied_by_login", "deny")
    assert denied["roles"][0]["answer"] == "deny"
    group = run("explain", "alice", "access", "kube_cluster/dev", "--kube-group=root", "-fjson", *words)
    assert json.loads(group.stdout)["decision"] == "deny"
    group = run("explain", "alice", "access", "kube_cluster/dev", "--kube-group=developer", "-fjson", *words)
    assert json.loads(group.stdout)["decision"] == "allow"


def test_who_lists_those_who_get_in(tmp_path):
    words = offline(tmp_path)
    done = run("who", "node/web", "--login=admin", "--format=json", *words)
    assert [entry["user"] for entry in json.loads(done.stdout)] == ["alice"]
    assert json.loads(run("who", "node/web", "--login=guest", "--format=json", *words).stdout) == []
    missing = run("who", "node/other", *words)
    assert missing.returncode == 1 and "other" in missing.stderr
