"""Resources: files of Teleport load unchanged and come back unchanged; bad ones give one clear line and change nothing."""

import json
import pathlib
import re

import pytest
import yaml

import tport

HERE = pathlib.Path(__file__).resolve().parents[1] / "resources"
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = HERE / "good" / "tctl-get.yaml"
SINGLE = ("cluster_auth_preference", "cluster_networking_config", "session_recording_config")


class Plain(yaml.SafeLoader):
    """Every scalar as the text that stands in the file: 1.10 is not 1.1."""


for first, resolvers in list(Plain.yaml_implicit_resolvers.items()):
    Plain.yaml_implicit_resolvers = {**Plain.yaml_implicit_resolvers, first: [r for r in resolvers if r[0].endswith(("null", "merge"))]}


def documents(text):
    return [d for d in yaml.load_all(text, Loader=Plain) if d]


def state(cluster):
    """Everything that is written, and the revision of each."""
    return cluster.ctl("get", "all", "--format=json", "--with-secrets").stdout + cluster.ctl("get", "token,node", "--format=json").stdout


def refused(cluster, *words, **kw):
    result = cluster.ctl("create", *words, check=False, **kw)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("ERROR: ") and result.stderr.count("\n") == 1, result.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.stderr), "a control character reached the terminal"
    return result.stderr


def test_bad_files_say_where_and_change_nothing(cluster):
    before = state(cluster)
    assert len(BAD) > 35
    for path in BAD:
        expected = re.search(rb"# expect: (.*)", path.read_bytes()).group(1).decode().strip()
        said = refused(cluster, path)
        assert expected in said and path.name in said, f"{path.name}: {said}"
    assert state(cluster) == before


@pytest.fixture
def big(tmp_path):
    """Files too large to keep, by name, with what the answer must hold."""
    role = "kind: role\nversion: v7\nmetadata: {name: r%d}\nspec: {allow: {logins: [root]}}\n---\n"
    deep = "kind: role\nversion: v7\nmetadata: {name: deep}\nspec:\n  allow: " + "[" * 100000 + "]" * 100000 + "\n"
    files = {"roles.yaml": ("".join(role % i for i in range(100000)), "split"),
             "ten-megabytes.yaml": ("kind: role\nversion: v7\nmetadata: {name: x, description: '" + "a" * 10_000_000 + "'}\n", "split"),
             "deep.yaml": (deep, "deep.yaml:5: nested deeper"),
             "keys.yaml": ("kind: role\nversion: v7\nmetadata: {name: x}\nspec: {allow: {node_labels: {" + ", ".join(f"k{i}: v" for i in range(60000)) + ", k7: v}}}\n", "keys.yaml:4: the key \"k7\" stands twice"),
             "logins.yaml": ("kind: role\nversion: v7\nmetadata: {name: x}\nspec: {allow: {logins: [" + "a, " * 120000 + "]}}\n", "logins.yaml:4: more than")}
    paths = {}
    for name, (text, expected) in files.items():
        (tmp_path / name).write_text(text)
        paths[tmp_path / name] = expected
    return paths


def test_large_files_are_refused_at_once(cluster, big):
    before = state(cluster)
    for path, expected in big.items():
        assert expected in refused(cluster, path), path.name
    assert state(cluster) == before


# One value of each form for every key; a key whose own form it is takes it.
FORMS = {"map": "{a: b}", "list of maps": "[{zzz: b}]", "text": "some text", "list": "[a, [b]]"}


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, path + (key,))
            if path:
                yield path + (key,)


def test_wrong_types_at_every_key(cluster, tmp_path):
    """Whatever stands at whatever key: it is taken as it stands, or refused with its line; never anything else."""
    before = state(cluster)
    tried = taken = 0
    for document in documents(GOOD.read_text()):
        if document["kind"] in SINGLE:
            continue
        for path in sorted(set(leaves(document))):
            for form in FORMS.values():
                broken = json.loads(json.dumps(document))
                place = broken
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = yaml.safe_load(form)
                tried += 1
                (tmp_path / f"{tried}.json").write_text(json.dumps(broken))
    files = sorted(tmp_path.glob("*.json"))
    assert tried > 300
    for path in files[::4]:
        result = cluster.ctl("create", path, check=False)
        if result.returncode == 0:
            taken += 1
            kind = json.loads(path.read_text())
            name = re.search(r"['\"](.*)['\"] has been", result.stdout).group(1)
            assert cluster.ctl("rm", f"{kind['kind']}/{name}", check=False).returncode == 0
        else:
            assert re.match(r"ERROR: \S*\.json: (line \d+|there is no role)", result.stderr), (path.read_text(), result.stderr)
    assert taken < len(files[::4]) / 2
    assert state(cluster) == before


def test_files_of_teleport_come_back_as_written(fresh):
    cluster = fresh()
    source = documents(GOOD.read_text())
    out = cluster.ctl("create", GOOD).stdout
    assert "role 'dev2' has been created" in out and 'user "jean@example.com" has been created' in out
    for document in source:
        kind, name = document["kind"], document["metadata"]["name"]
        text = cluster.ctl("get", kind if kind in SINGLE else f"{kind}/{name}", "--with-secrets").stdout
        back = documents(text)
        assert len(back) == 1
        back[0]["metadata"].pop("revision")
        document["metadata"].pop("revision", None)
        assert back[0] == document
        # The order of keys is that of the file.
        assert list(back[0]) == list(document) and list(back[0]["spec"]) == list(document["spec"])
        assert cluster.ctl("get", kind if kind in SINGLE else f"{kind}/{name}", "--format=json").stdout.startswith("[")
    # Without -f what is there stays.
    again = cluster.ctl("create", GOOD, check=False)
    assert again.returncode == 1 and "exists already" in again.stderr and "Nothing was applied" in again.stderr
    # A backup restores: what is printed can be created again.
    backup = cluster.ctl("get", "role,user,lock,connectors,trusted_cluster,kube_cluster,app,db,node,cap,netconfig,recconfig", "--with-secrets").stdout
    restored = cluster.ctl("create", "-f", input=backup)
    assert restored.stdout.count("has been updated") == len(documents(backup))


def test_a_backup_makes_a_new_cluster_like_the_old_one(fresh):
    """get all named users before their roles, and hosts that registered themselves: no cluster took it back."""
    old, new = fresh(), fresh()
    old.ctl("create", GOOD)
    old.ctl("tokens", "add", "--type=node", "--format=text")
    backup = old.ctl("get", "all", "--with-secrets").stdout
    assert [d["kind"] for d in documents(backup)][0] == "role" and "kind: token" not in backup and "kind: cert_authority" not in backup
    assert new.ctl("create", "-f", input=backup).returncode == 0

    def all_of(cluster):
        found = documents(cluster.ctl("get", "all", "--with-secrets").stdout)
        for document in found:
            document["metadata"].pop("revision")
        return found

    assert all_of(new) == all_of(old) and len(all_of(new)) > 12


def test_R14_the_masked_form_of_a_token_never_becomes_one(cluster):
    """What tokens ls shows, given back by create -f, was a token that everybody who lists tokens knew."""
    cluster.ctl("tokens", "add", "--type=node", "--value=masked-and-shown-0001")
    shown = cluster.ctl("get", "token").stdout
    [name] = [d["metadata"]["name"] for d in documents(shown) if d["metadata"]["name"].startswith("mask")]
    assert name == "mask****************"
    assert "its secret is kept nowhere" in refused(cluster, "-f", input=shown)
    for words in (["tokens", "add", "--type=node", f"--value={name}"], ["edit", f"token/{name}"]):
        result = cluster.ctl(*words, check=False)
        assert result.returncode == 1 and "its secret is kept nowhere" in result.stderr, (words, result.stderr)
    cluster.ctl("tokens", "rm", "masked-and-shown-0001")


def test_what_registers_itself_cannot_be_edited(cluster):
    for ref in ("node/node1", "ca/user"):
        result = cluster.ctl("edit", ref, check=False)
        assert result.returncode == 1 and "can't be edited: it registers itself" in result.stderr, result.stderr


AGENTLESS = """kind: node
sub_kind: openssh
version: v2
metadata:
  name: %s
  labels:
    env: legacy
spec:
  addr: 10.0.0.5:22
  hostname: %s
"""


def test_servers_without_an_agent(cluster, alice, tmp_path):
    """A node could not be created from a file. One without an agent can; it is never what a host is called, and nobody reaches it yet."""
    hosts = json.loads(cluster.ctl("nodes", "ls", "--format=json").stdout)
    assert 'node "old-db" has been created' in cluster.ctl("create", input=AGENTLESS % ("old-db", "olddb")).stdout
    made = cluster.ctl("create", input=(AGENTLESS % ("~", "unnamed"))).stdout
    unnamed = re.fullmatch(r'node "([0-9a-f-]{36})" has been created\n', made).group(1)
    cluster.ctl("create", input=AGENTLESS % ("shadow", "node1"))
    try:
        # Listed beside the others for who administers, sorted by host name; not where people look for what they can open.
        rows = [line.split()[:2] for line in cluster.ctl("nodes", "ls").stdout.splitlines()[2:]]
        assert sorted(rows) == rows and ["olddb", "old-db"] in rows and ["unnamed", unnamed] in rows and len(rows) == len(hosts) + 3
        shown = cluster.ctl("nodes", "ls", "env=legacy", "--query", 'name == "olddb"').stdout
        assert "10.0.0.5:22" in shown and "env=legacy" in shown and "unnamed" not in shown
        assert len(documents(cluster.ctl("get", "nodes").stdout)) == len(hosts) + 3
        assert "olddb" not in alice.tport("ls", check=True).stdout
        refused_ssh = alice.tport("ssh", "root@olddb", "true")
        assert refused_ssh.returncode != 0 and refused_ssh.stderr.count("\n") == 1
        assert "olddb is a server without an agent (10.0.0.5:22), to which tport does not connect yet" in refused_ssh.stderr
        assert alice.tport("ssh", "root@node1", "echo", "the-host").stdout.strip() == "the-host"
        # Roles are asked about it as about a host; the name of a host is the host's.
        assert cluster.ctl("access", "explain", "alice", "access", "node/olddb", "--login=root").stdout.startswith("allow: ")
        assert "alice (role access" in cluster.ctl("access", "who", "node/old-db").stdout
        assert "alice (role access" in cluster.ctl("access", "who", "node/node1").stdout
        # Edited; the host of that name is not.
        editor = tmp_path / "editor"
        editor.write_text("#!/bin/sh\nsed -i s/10.0.0.5/10.0.0.6/ $1\n")
        editor.chmod(0o755)
        for ref in ("old-db", "unnamed", "node1"):
            assert "has been updated" in cluster.ctl("edit", f"node/{ref}", env={"TPORT_EDITOR": str(editor)}).stdout
        assert documents(cluster.ctl("get", "node/shadow").stdout)[0]["spec"]["addr"] == "10.0.0.6:22"
        # A backup has them, and no host; hosts are not taken from a file.
        backup = cluster.ctl("get", "all").stdout
        nodes = [d for d in documents(backup) if d["kind"] == "node"]
        assert {d["metadata"]["name"] for d in nodes} == {"old-db", "shadow", unnamed} and {d["sub_kind"] for d in nodes} == {"openssh"}
        again = cluster.ctl("create", input=AGENTLESS % ("old-db", "olddb"), check=False)
        assert again.returncode == 1 and 'node "old-db" exists already; use -f to replace it' in again.stderr
        assert 'node "old-db" has been updated' in cluster.ctl("create", "-f", input=AGENTLESS % ("old-db", "olddb")).stdout
        registered = cluster.ctl("get", f"node/{hosts[0]['metadata']['name']}").stdout
        assert "a node registers itself when its agent joins" in refused(cluster, "-f", input=registered)
    finally:
        for name in ("old-db", "shadow", unnamed):
            assert cluster.ctl("rm", f"node/{name}").stdout == f'node "{name}" has been deleted\n'
    assert json.loads(cluster.ctl("nodes", "ls", "--format=json").stdout)[0]["metadata"] == hosts[0]["metadata"]
    # The log knows it by its host name too: most have a UUID for a name.
    events = [(e["event"], e["code"]) for e in cluster.audit() if e.get("name") == "old-db" and e["server_hostname"] == "olddb"]
    assert sorted(set(events)) == [("node.created", "TND02I"), ("node.deleted", "TND01I"), ("node.updated", "TND03I")]


def test_secrets_show_only_when_asked(fresh):
    cluster = fresh()
    cluster.ctl("create", GOOD)
    for words in (["get", "all"], ["get", "connectors"], ["get", "trusted_cluster,kube_cluster", "--format=json"], ["get", "all", "--format=text"]):
        out = cluster.ctl(*words).stdout
        assert "top-secret" not in out and "dG9wLXNlY3JldC1vZi1rdWJl" not in out
    assert cluster.ctl("get", "all", "--with-secrets").stdout.count("top-secret") == 4
    # Written back without its secret, a connector keeps it; sent elsewhere, the secret must be given anew.
    without = cluster.ctl("get", "oidc/okta").stdout
    cluster.ctl("create", "-f", input=without)
    assert "top-secret-of-oidc" in cluster.ctl("get", "oidc/okta", "--with-secrets").stdout
    moved = cluster.ctl("create", "-f", input=without.replace("example.okta.com", "evil.example.com"), check=False)
    assert moved.returncode == 1 and "client_secret must be given again" in moved.stderr
    # The store keeps them in the half that is sealed (R14).
    held = [str(p.relative_to(cluster.daemon.data)) for p in cluster.daemon.data.rglob("*") if p.is_file() and b"top-secret-of-oidc" in p.read_bytes()]
    assert not held, held
    events = {(e["event"], e["code"]) for e in cluster.audit()}
    assert {("github.created", "T8000I"), ("oidc.created", "T8100I"), ("oidc.updated", "T8102I"), ("saml.created", "T8200I"),
            ("trusted_cluster.create", "T7000I"), ("kube.create", "T3010I"), ("app.create", "TAP03I"), ("db.create", "TDB03I"),
            ("role.created", "T9000I"), ("user.create", "T1002I"), ("lock.created", "TLK00I"),
            ("auth_preference.update", "TCAUTH001I"), ("cluster_networking_config.update", "TCNET002I"),
            ("session_recording_config.update", "TCREC003I")} <= events


def test_half_a_file_says_what_was_done(cluster):
    text = "".join(f"kind: user\nversion: v2\nmetadata: {{name: half-{i}}}\nspec: {{roles: [{role}]}}\n---\n" for i, role in enumerate(["access", "access", "gone", "access"]))
    result = cluster.ctl("create", "-f", input=text, check=False)
    assert result.returncode == 1
    assert "document 3 of 4 (line 11)" in result.stderr and "Documents 1 to 2 are applied, the rest is not" in result.stderr
    cluster.ctl("users", "rm", "half-0,half-1")


def test_role_of_a_connector_stays(fresh):
    cluster = fresh()
    cluster.ctl("create", input="kind: role\nversion: v7\nmetadata: {name: mapped}\nspec: {}\n---\nkind: github\nversion: v3\nmetadata: {name: gh}\nspec:\n  client_id: x\n  teams_to_roles: [{organization: o, team: t, roles: [mapped]}]\n")
    result = cluster.ctl("rm", "role/mapped", check=False)
    assert result.returncode == 1 and 'in use by github "gh"' in result.stderr
    cluster.ctl("rm", "github/gh")
    assert 'role "mapped" has been deleted' in cluster.ctl("rm", "role/mapped").stdout


def test_nobody_gives_himself_more(cluster):
    """A person who may write users, but not roles."""
    cluster.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: helpdesk}\nspec:\n  allow:\n    rules:\n    - {resources: [user, github], verbs: [list, read, create, update, delete]}\n")
    hugo = cluster.person("hugo", roles="helpdesk,access", logins="hugo")
    ctl = lambda *words, **kw: hugo.run(*words, **kw)  # noqa: E731
    program = tport.BIN / "tportctl"
    for words in (["users", "update", "hugo", "--set-roles=helpdesk,access,editor"], ["users", "update", "hugo", "--set-logins=hugo,root"],
                  ["users", "add", "puppet", "--roles=editor"], ["users", "add", "puppet", "--roles=access", "--logins=root"]):
        result = ctl(program, f"--auth-server={cluster.proxy}", *words)
        assert result.returncode == 1 and "access denied" in result.stderr, (words, result.stdout, result.stderr)
    result = ctl(program, f"--auth-server={cluster.proxy}", "create", "-f", input="kind: github\nversion: v3\nmetadata: {name: mine}\nspec:\n  client_id: x\n  teams_to_roles: [{organization: o, team: t, roles: [editor]}]\n")
    assert result.returncode == 1 and "access denied" in result.stderr
    # What is his he may give on, and what others have stays theirs when he changes something else.
    done = ctl(program, f"--auth-server={cluster.proxy}", "users", "add", "puppet", "--roles=access", "--logins=hugo")
    assert done.returncode == 0, done.stderr
    cluster.ctl("users", "rm", "puppet,hugo")
    cluster.ctl("rm", "role/helpdesk")


def test_identity_files(fresh, tmp_path):
    """auth sign: the files work in place of a profile and with OpenSSH, and hold no more than the roles allow."""
    cluster = fresh(nodes=("node1",))
    cluster.ctl("users", "add", "robot", "--roles=access", "--logins=root")
    robot = tport.Person(cluster, "robot")
    out = robot.home / "id"
    said = cluster.ctl("auth", "sign", "--user=robot", "-o", out, "--ttl=1h").stdout
    assert f"The credentials have been written to {out}" in said and (out.stat().st_mode & 0o777) == 0o600
    again = cluster.ctl("auth", "sign", "--user=robot", "-o", out, check=False)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    # tport and tportctl with -i, nothing in the profile folder before or after.
    listed = robot.tport("-i", out, f"--proxy={cluster.proxy}", "ls", check=True).stdout
    assert "node1" in listed
    done = robot.tport("-i", out, f"--proxy={cluster.proxy}", "ssh", "root@node1", "echo", "from-an-identity")
    assert done.stdout.strip() == "from-an-identity", done.stderr
    nodes = robot.run(tport.BIN / "tportctl", "-i", out, f"--auth-server={cluster.proxy}", "nodes", "ls", "--format=json", check=True)
    assert json.loads(nodes.stdout)[0]["spec"]["hostname"] == "node1"
    assert not (robot.home / ".tport" / "current-profile").exists()
    by_role = robot.run(tport.BIN / "tportctl", "-i", out, f"--auth-server={cluster.proxy}", "get", "roles")
    assert by_role.returncode == 1 and "access denied" in by_role.stderr
    # Signing is not to be had over the network.
    stolen = robot.run(tport.BIN / "tportctl", "-i", out, f"--auth-server={cluster.proxy}", "auth", "sign", "--user=robot", "-o", robot.home / "x")
    assert stolen.returncode == 1 and not (robot.home / "x").exists()
    # OpenSSH's pair, a host's, TLS, a kubeconfig.
    cluster.ctl("auth", "sign", "--user=robot", "-o", tmp_path / "ssh", "--format=openssh")
    shown = robot.run("ssh-keygen", "-L", "-f", tmp_path / "ssh-cert.pub", check=True).stdout
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in shown and 'Key ID: "robot"' in shown and "root" in shown
    cluster.ctl("auth", "sign", "--host=web1.example.com,web1", "-o", tmp_path / "host", "--format=openssh")
    shown = robot.run("ssh-keygen", "-L", "-f", tmp_path / "host-cert.pub", check=True).stdout
    assert "host certificate" in shown and "web1.example.com" in shown
    cluster.ctl("auth", "sign", "--user=robot", "-o", tmp_path / "tls", "--format=tls")
    (tmp_path / "user-ca.pem").write_text(cluster.ctl("auth", "export", "--type=tls-user").stdout)
    checked = robot.run("openssl", "verify", "-CAfile", tmp_path / "user-ca.pem", tmp_path / "tls.crt")
    assert "OK" in checked.stdout, checked.stderr
    cluster.ctl("auth", "sign", "--user=robot", "-o", tmp_path / "kube", "--format=kubernetes", "--kube-cluster-name=prod", f"--proxy={cluster.proxy}")
    config = yaml.safe_load((tmp_path / "kube").read_text())
    assert config["clusters"][0]["cluster"]["tls-server-name"] == f"{b'prod'.hex()}.kube.{cluster.name}"
    assert config["clusters"][0]["cluster"]["server"] == f"https://{cluster.proxy}" and config["current-context"] == f"{cluster.name}-prod"
    # On record, and a lock ends it.
    assert any(e.get("impersonator") == "admin" and e["user"] == "robot" for e in cluster.audit(type="cert.create"))
    cluster.ctl("lock", "--user=robot", "--message=gone")
    assert robot.tport("-i", out, f"--proxy={cluster.proxy}", "ls").returncode == 1
    locked = cluster.ctl("auth", "sign", "--user=robot", "-o", tmp_path / "late", check=False)
    assert locked.returncode == 1 and "gone" in locked.stderr
    # What is no identity file says what is missing.
    broken = robot.tport("-i", tmp_path / "tls.crt", f"--proxy={cluster.proxy}", "ls")
    assert broken.returncode == 1 and "is no identity file: an SSH key is missing" in broken.stderr
