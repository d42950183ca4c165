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
    (tmp_path / "slip").write_text(CASES.replace("colour: red", "rolles: [dev2]"))
    assert 'the key "rolles" is not supported; did you mean "roles"?' in run("test", tmp_path / "slip", "--roles", ROLES).stdout


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


def test_explain_says_that_a_session_needs_others(tmp_path):
    words = offline(tmp_path)
    watched = ROLES.read_text() + ("\n---\nkind: role\nversion: v7\nmetadata: {name: watched}\nspec: {allow: {require_session_join: "
                                   "[{name: x, kinds: [ssh], count: 1}]}}\n")
    (tmp_path / "watched.yaml").write_text(watched)
    users = tmp_path / "watched-users.yaml"
    users.write_text("kind: user\nversion: v2\nmetadata: {name: alice}\nspec: {roles: [dev2, watched], traits: {logins: [admin]}}\n")
    words = ["--roles", tmp_path / "watched.yaml", "--users", users, *words[words.index("--resources"):]]
    answer = json.loads(run("explain", "alice", "access", "node/web", "--login=ec2-user", "-fjson", *words).stdout)
    assert (answer["decision"], answer["reason"], answer["role"], answer["detail"]) == ("deny", "others_needed", "watched", "require_session_join")
    assert json.loads(run("who", "node/web", "--login=admin", "--format=json", *words).stdout) == []


def test_who_lists_those_who_get_in(tmp_path):
    words = offline(tmp_path)
    done = run("who", "node/web", "--login=admin", "--format=json", *words)
    assert [entry["user"] for entry in json.loads(done.stdout)] == ["alice"]
    assert json.loads(run("who", "node/web", "--login=guest", "--format=json", *words).stdout) == []
    assert run("who", "node/web", "--login=guest", *words).stdout == "Nobody gets in.\n"
    missing = run("who", "node/other", *words)
    assert missing.returncode == 1 and "other" in missing.stderr
    odd = run("who", "role/dev2", *words)
    assert odd.returncode == 1 and 'nobody can be let into a "role"' in odd.stderr


def test_who_may_create_is_asked_of_what_is_not_there_yet(tmp_path):
    """explain said that there is no such role; `where` sees the name that it would have."""
    roles, users, none = tmp_path / "r.yaml", tmp_path / "u.yaml", tmp_path / "none.yaml"
    roles.write_text("""kind: role
version: v7
metadata: {name: team}
spec:
  allow:
    rules:
    - {resources: [role], verbs: [create, update], where: 'has_prefix(resource.metadata.name, "team-")'}
""")
    users.write_text("kind: user\nversion: v2\nmetadata: {name: alice}\nspec: {roles: [team]}\n")
    none.write_text("kind: role\nversion: v7\nmetadata: {name: x}\nspec: {}\n")
    words = ["-fjson", "--roles", roles, "--users", users, "--resources", none]
    answers = {name: json.loads(run("explain", "alice", "create", f"role/{name}", *words).stdout)["decision"] for name in ("team-a", "other", "x")}
    assert answers == {"team-a": "allow", "other": "deny", "x": "deny"}
    missing = run("explain", "alice", "update", "role/team-a", *words)
    assert missing.returncode == 1 and 'there is no role "team-a"' in missing.stderr


def test_labels_alone_let_nobody_in(tmp_path):
    """Without --login (or --kube-group) who listed people whose roles select the server but give them no login there."""
    words = offline(tmp_path)
    roles, users = tmp_path / "more.yaml", tmp_path / "more-users"
    roles.write_text(ROLES.read_text() + "\n---\n{kind: role, version: v7, metadata: {name: sees}, spec: {allow: {node_labels: {'*': '*'}, kubernetes_labels: {'*': '*'}}}}\n")
    users.write_text(USERS + "---\n{kind: user, version: v2, metadata: {name: carol}, spec: {roles: [sees]}}\n")
    words = ["--roles", roles, "--users", users, *words[words.index("--resources"):]]
    for kind, name, detail in (("node", "web", "no role gives a login here"), ("kube_cluster", "dev", "no role gives Kubernetes users or groups here")):
        assert [one["user"] for one in json.loads(run("who", f"{kind}/{name}", "-fjson", *words).stdout)] == ["alice"]
        answer = json.loads(run("explain", "carol", "access", f"{kind}/{name}", "-fjson", *words).stdout)
        assert (answer["decision"], answer["reason"], answer["detail"]) == ("deny", "no_login", detail)
    for bad in (["node/web", "--kube-group=g"], ["kube_cluster/dev", "--login=root"]):
        done = run("who", *bad, *words)
        assert done.returncode == 1 and "only: access" in done.stderr, done.stderr
    done = run("explain", "alice", "access", "kube_cluster/dev", b"--kube-group=\xff".decode("utf-8", "surrogateescape"), *words)
    assert done.returncode == 1 and done.stderr == "ERROR: the question is not UTF-8\n", done.stderr


def ask(cluster, *words):
    done = cluster.ctl("access", *words, "--format=json", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_explain_and_who_in_a_cluster(cluster, alice):
    """Over the local socket, with a lock that counts, and with the profile of somebody whose roles allow it."""
    answer = ask(cluster, "explain", "alice", "access", "node/node1", "--login=root")
    assert set(answer) >= {"user", "verb", "kind", "name", "login", "decision", "reason", "role", "section", "detail", "roles"}
    assert (answer["decision"], answer["role"], answer["section"], answer["detail"]) == ("allow", "access", "allow", "node_labels *=*")
    assert [one["role"] for one in answer["roles"]] == ["access", "editor", "auditor"]
    denied = ask(cluster, "explain", "alice", "access", "node/node1", "--login=nobody")
    assert (denied["decision"], denied["reason"]) == ("deny", "no_login")
    assert ask(cluster, "explain", "alice", "delete", "role")["decision"] == "allow"
    assert "alice" in [one["user"] for one in ask(cluster, "who", "node/node1", "--login=root")]
    assert ask(cluster, "who", "node/node1", "--login=nobody") == []
    by_profile = alice.run(TPORTCTL, f"--auth-server={cluster.proxy}", "access", "who", "node/node1", "--login=root", "--format=json", check=True)
    assert json.loads(by_profile.stdout) == ask(cluster, "who", "node/node1", "--login=root")
    lock = cluster.ctl("lock", "--login=root", "--ttl=10m").stdout.split('"')[1]
    try:
        assert ask(cluster, "explain", "alice", "access", "node/node1", "--login=root")["reason"] == "locked"
        assert ask(cluster, "who", "node/node1", "--login=root") == []
    finally:
        cluster.ctl("rm", f"lock/{lock}")
    missing = cluster.ctl("access", "explain", "nobody", "access", "node/node1", check=False)
    assert missing.returncode == 1 and "nobody" in missing.stderr


def test_who_shows_only_what_the_asker_may_read(cluster):
    plain = cluster.person("policy-plain", roles="access")
    done = plain.run(TPORTCTL, f"--auth-server={cluster.proxy}", "access", "who", "node/node1")
    assert done.returncode == 1 and "access denied" in done.stderr


def test_cases_name_roles_of_the_cluster(cluster, tmp_path):
    cluster.ctl("create", "-f", input="{kind: role, version: v5, metadata: {name: policy-x}, spec: {allow: {logins: [x], node_labels: {'*': '*'}}}}")
    case = "- {name: here, roles: [policy-x], resource: {kind: node, name: n}, login: x, expect: allow}\n"
    (tmp_path / "cases").write_text(case)
    try:
        assert cluster.ctl("access", "test", tmp_path / "cases").stdout == "1 passed, 0 failed, 0 unsupported\n"
        # A file says something else of the same name: the file counts.
        (tmp_path / "roles").write_text("{kind: role, version: v5, metadata: {name: policy-x}, spec: {}}")
        assert cluster.ctl("access", "test", tmp_path / "cases", "--roles", tmp_path / "roles", check=False).returncode == 1
    finally:
        cluster.ctl("rm", "role/policy-x")
    done = cluster.ctl("access", "test", tmp_path / "cases", check=False)
    assert done.returncode == 1 and 'no role "policy-x"' in done.stdout
