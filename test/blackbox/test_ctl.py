"""Small commands of tportctl: tokens as they are shown, what is removed and how the audit log says it, editing."""

import json
import os
import pathlib
import re
import ssl
import subprocess

import pytest
import yaml

from tport import BIN, Daemon, wait_for


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
    agent = cluster.nodes[name] = Daemon(cluster.net, name, folder, f"""
version: v3
tport: {{nodename: {name}, data_dir: {folder}/data, proxy_server: "{cluster.proxy}", auth_token: {token}, ca_pin: "{cluster.pin()}"}}
ssh_service: {{enabled: no}}
kubernetes_service: {{enabled: yes, kubeconfig_file: {folder}/kubeconfig}}
""")
    agent.start()
    return agent


def kube_names(cluster):
    return sorted(item["metadata"]["name"] for item in json.loads(cluster.ctl("kube", "ls", "--format=json").stdout))


def test_what_is_removed_stands_in_the_log_with_a_code(fresh):
    cluster = fresh(nodes=("node1",))
    agent = add_kube_agent(cluster, "kube1")
    wait_for(lambda: kube_names(cluster) == ["dev1", "dev2"], timeout=60)
    agent.stop()  # its next heartbeat would bring back what was removed
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


@pytest.fixture
def editor(tmp_path):
    """A program that notes how it was called, then runs these lines of Python over the text."""
    def make(lines):
        program = tmp_path / "editor"
        program.write_text("#!/usr/bin/python3\nimport json, pathlib, subprocess, sys\n"
                           f"pathlib.Path('{tmp_path}/called').write_text(json.dumps(sys.argv[1:-1]))\n"
                           "path = pathlib.Path(sys.argv[-1])\n"
                           f"pathlib.Path('{tmp_path}/edited').write_text(str(path))\n"
                           "text = path.read_text()\n" + lines + "\npath.write_text(text)\n")
        program.chmod(0o755)
        return str(program)
    return make


def edit(cluster, editor, ref="role/edited", names=("EDITOR",)):
    """The first name is the one that counts; all those after it name a program that is not there."""
    env = {"TPORT_EDITOR": "", "VISUAL": "", "EDITOR": "", **{name: "/nonexistent" for name in names[1:]}, names[0]: editor}
    return cluster.ctl("edit", ref, check=False, env=env)


@pytest.fixture
def edited(cluster):
    cluster.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: edited}\nspec: {allow: {logins: [before]}}\n")
    yield lambda: yaml.safe_load(cluster.ctl("get", "role/edited").stdout)["spec"]["allow"]["logins"]
    cluster.ctl("rm", "role/edited")


def test_edit_runs_the_editor_without_a_shell(cluster, editor, edited, tmp_path):
    program = editor("assert path.stat().st_mode & 0o077 == 0, 'others may read it'\ntext = text.replace('before', 'after')")
    result = edit(cluster, f"{program} $(touch {tmp_path}/shell) ;x")
    assert result.returncode == 0 and "has been updated" in result.stdout, result.stderr
    assert edited() == ["after"]
    # What a shell would have run or split off came as words.
    assert json.loads((tmp_path / "called").read_text()) == ["$(touch", f"{tmp_path}/shell)", ";x"]
    assert not (tmp_path / "shell").exists()
    assert not pathlib.Path((tmp_path / "edited").read_text()).exists(), "the text with its secrets was left behind"


def test_edit_asks_for_its_own_editor_first(cluster, editor, edited):
    back = editor("text = text.replace('before', 'visual')")
    assert edit(cluster, back, names=("VISUAL", "EDITOR")).returncode == 0 and edited() == ["visual"]
    back = editor("text = text.replace('visual', 'own')")
    assert edit(cluster, back, names=("TPORT_EDITOR", "VISUAL", "EDITOR")).returncode == 0 and edited() == ["own"]


@pytest.mark.parametrize("lines,says", [
    ("text = text.replace('name: edited', 'name: renamed')", "kind and name can't be changed by editing"),
    ("text = text.replace('kind: role', 'kind: user')", "kind and name can't be changed by editing"),
    ("text = text.replace('logins:', 'lugins:')", 'unknown key "lugins" in spec.allow; did you mean "logins"?'),
    ("text = text + chr(9) + 'x: y'", "tabs cannot indent YAML"),
    ("text = text.replace('before', 'after')\npath.write_text(text)\nsys.exit(3)", "failed; nothing was changed"),
    ("subprocess.run([CTL, 'create', '-f'], input=text.replace('before', 'other'), text=True, check=True)\n"
     "text = text.replace('before', 'after')", "was changed by someone else in the meantime"),
])
def test_edit_that_is_refused_changes_nothing(cluster, editor, edited, lines, says, tmp_path):
    result = edit(cluster, editor(f"CTL = {str(BIN / 'tportctl')!r}\n{lines}"))
    assert result.returncode == 1 and says in result.stderr, (result.stdout, result.stderr)
    assert edited() == (["other"] if "someone else" in says else ["before"])
    # B18: the work of the person is not lost.
    kept = pathlib.Path(re.search(r"Your text is kept in (/tmp/tportctl-\w{6}\.yaml)\n$", result.stderr).group(1))
    assert kept == pathlib.Path((tmp_path / "edited").read_text()) and kept.stat().st_mode & 0o077 == 0
    assert kept.read_text() and "line 1:" not in result.stderr
    kept.unlink()


def test_edit_names_the_line_of_the_edited_text(cluster, editor, edited, tmp_path):
    """B18: every mistake was said to be in line 1, for what was checked was JSON."""
    result = edit(cluster, editor("text = text.replace('logins:', 'lognis:')"))
    kept = pathlib.Path((tmp_path / "edited").read_text())
    number = next(i for i, line in enumerate(kept.read_text().splitlines(), 1) if "lognis:" in line)
    assert number > 1 and f'the edited text: line {number}: unknown key "lognis"' in result.stderr, result.stderr
    kept.unlink()


def test_edit_that_the_cluster_refuses_keeps_the_text(cluster, editor, tmp_path):
    """What only auth can know: whether a role exists."""
    cluster.ctl("create", "-f", input="kind: user\nversion: v2\nmetadata: {name: edith}\nspec: {roles: [access]}\n")
    result = edit(cluster, editor("text = text.replace('- access', '- no-such-role')"), ref="user/edith")
    kept = pathlib.Path((tmp_path / "edited").read_text())
    assert result.returncode == 1 and "no-such-role" in result.stderr and f"Your text is kept in {kept}\n" in result.stderr, result.stderr
    assert "line 1:" not in result.stderr and "no-such-role" in kept.read_text()
    kept.unlink()
    cluster.ctl("rm", "user/edith")


def test_a_name_on_the_command_line_is_in_no_line(cluster):
    """B18: users add "bad name" said "line 1:"."""
    result = cluster.ctl("users", "add", "bad name", "--roles=access", check=False)
    assert result.returncode == 1 and result.stderr.startswith('ERROR: "bad name" cannot be the name of a user'), result.stderr


def test_what_there_is_one_of_is_edited_and_reset(cluster, editor):
    """edit cap was refused as changed by somebody else, create replaced it without -f, and rm took any name for it."""
    try:
        before = yaml.safe_load(cluster.ctl("get", "cap").stdout)
        assert before["metadata"]["name"] == "cluster-auth-preference" and before["spec"] == {"type": "local", "second_factor": "otp"}
        result = edit(cluster, editor("text = text + '  message_of_the_day: edited\\n'"), ref="cap")
        assert result.returncode == 0 and result.stdout == 'cluster_auth_preference "cluster-auth-preference" has been created\n', result.stderr
        assert yaml.safe_load(cluster.ctl("get", "cap").stdout)["spec"]["message_of_the_day"] == "edited"
        again = cluster.ctl("get", "cap").stdout
        refused = cluster.ctl("create", input=again, check=False)
        assert refused.returncode == 1 and "exists already; use -f to replace it" in refused.stderr
        assert "has been updated" in cluster.ctl("create", "-f", input=again).stdout
        # Of two people who edit it the second is told.
        late = edit(cluster, editor(f"subprocess.run([{str(BIN / 'tportctl')!r}, 'rm', 'cap'], check=True)\ntext = text.replace('edited', 'late')"), ref="cap")
        assert late.returncode == 1 and "was changed by someone else" in late.stderr, late.stderr
        pathlib.Path(re.search(r"/tmp/tportctl-\w{6}\.yaml", late.stderr).group(0)).unlink()
        for ref in ("cap", "cap/cluster-auth-preference"):
            cluster.ctl("create", "-f", input=again)
            wrong = cluster.ctl("rm", "cap/other", check=False)
            assert wrong.returncode == 1 and 'there is no cluster_auth_preference "other"' in wrong.stderr
            assert cluster.ctl("rm", ref).stdout == "cluster_auth_preference has been reset to its defaults\n"
        assert "has its defaults already" in cluster.ctl("rm", "cap", check=False).stderr
        assert yaml.safe_load(cluster.ctl("get", "cap").stdout)["spec"] == before["spec"]
    finally:
        cluster.ctl("rm", "cap", check=False)


def test_tokens_are_listed_with_their_labels_the_next_to_end_first(cluster):
    """The labels of tokens add stood in no list, and the order was that of hashes."""
    for value, ttl, labels in (("zz-ends-second-00001", "20m", "env=prod,team=a"), ("aa-ends-third-000001", "30m", "env=dev"), ("mm-ends-first-000001", "10m", "x=y")):
        cluster.ctl("tokens", "add", "--type=node", f"--value={value}", f"--ttl={ttl}", f"--labels={labels}")
    try:
        lines = [line.split() for line in cluster.ctl("tokens", "ls").stdout.splitlines() if line[:5] in ("zz-e*", "aa-e*", "mm-e*")]
        assert [(line[0][:2], line[2]) for line in lines] == [("mm", "x=y"), ("zz", "env=prod,team=a"), ("aa", "env=dev")]
    finally:
        for value in ("zz-ends-second-00001", "aa-ends-third-000001", "mm-ends-first-000001"):
            cluster.ctl("tokens", "rm", value)


def test_tables_of_get_show_what_tells_resources_apart(fresh):
    cluster = fresh()
    cluster.ctl("create", input="""\
kind: github
version: v3
metadata: {name: hub}
spec: {client_id: a, client_secret: b, redirect_url: 'https://h/cb', teams_to_roles: [{organization: o, team: t, roles: [access, editor]}]}
---
kind: trusted_cluster
version: v2
metadata: {name: root.example.com}
spec: {enabled: true, token: a-secret-token-0001, tunnel_addr: 'r:3024', web_proxy_addr: 'r:443', role_map: [{remote: admin, local: [access, editor]}]}
""")
    assert "hub   @o/t:access,editor" in cluster.ctl("get", "github", "--format=text").stdout
    table = cluster.ctl("get", "trusted_cluster", "--format=text").stdout
    assert "Role Map" in table and "admin:access,editor" in table and "a-secret" not in table
    fingerprints = {c["type"]: c["fingerprint"] for c in json.loads(cluster.ctl("auth", "ls", "--format=json").stdout)}
    table = cluster.ctl("get", "ca", "--format=text").stdout
    for kind, pin in fingerprints.items():
        assert re.search(rf"^{cluster.name} +{kind} +{pin}$", table, re.MULTILINE), table


def test_warnings_of_a_role_are_lines(cluster):
    """They stood in one line with \\x0a between them, and each named line 1, whatever the file."""
    result = cluster.ctl("create", input="""\
kind: role
version: v7
metadata: {name: odd}
spec:
  allow:
    logins: ['{{internal.nothing}}']
    kubernetes_resources:
    - {kind: service, namespace: '*', name: 'web:*', verbs: [get]}
""")
    cluster.ctl("rm", "role/odd")
    first, second = result.stderr.splitlines()
    assert first.startswith('WARNING: "logins": there is no internal trait "nothing"') and second.startswith('WARNING: "kubernetes_resources": the name "web:*" allows nothing'), result.stderr


def test_the_table_of_events_says_what_was_done(cluster):
    """A rotation without its CA and phase, a join without the host, a lock without whom it locks."""
    cluster.ctl("create", input="{kind: lock, version: v2, metadata: {name: of-the-table}, spec: {target: {login: nobody-has-it}}}")
    cluster.ctl("rm", "lock/of-the-table")
    for kind, says in {"lock.created": "name=of-the-table login=nobody-has-it", "instance.join": "node_name=node1"}.items():
        assert says in cluster.ctl("audit", "ls", f"--type={kind}").stdout


def test_nodes_are_one_table_by_get_and_by_ls(cluster):
    """get had the servers without an agent behind the others, and no addresses. When they were seen is for nodes ls to say."""
    cluster.ctl("create", input="""\
kind: node
version: v2
sub_kind: openssh
metadata: {name: a-box, labels: {zone: b, env: old}}
spec: {addr: '192.0.2.9:22', hostname: a-box}
""")
    try:
        table = cluster.ctl("get", "nodes", "--format=text").stdout
        assert re.search(r"^a-box +a-box +192.0.2.9:22 +env=old,zone=b", table.splitlines()[2]), table
        listed = cluster.ctl("nodes", "ls").stdout.splitlines()
        last = listed[0].index("Last Seen")
        assert "⟵ Tunnel" in table and [line.rstrip() for line in table.splitlines()] == [line[:last].rstrip() for line in listed]
    finally:
        cluster.ctl("rm", "node/a-box")


def test_a_token_is_shown_to_who_names_it_by_its_value(cluster):
    """get knew tokens by their masked names alone, rm by both."""
    for value in ("same-first-letters-1", "same-first-letters-2"):
        cluster.ctl("tokens", "add", "--type=node" if value.endswith("1") else "--type=kube", f"--value={value}")
    try:
        found = json.loads(cluster.ctl("get", "token/same-first-letters-2", "--format=json").stdout)
        assert [token["spec"]["roles"] for token in found] == [["Kube"]] and found[0]["metadata"]["name"] == "same****************"
        assert len(json.loads(cluster.ctl("get", "token/same****************", "--format=json").stdout)) == 2
        refused = cluster.ctl("get", "token/same-first-letters-3", check=False)
        assert refused.returncode == 1 and "there is no token" in refused.stderr
    finally:
        for value in ("same-first-letters-1", "same-first-letters-2"):
            cluster.ctl("tokens", "rm", value)


def test_edit_of_nothing(cluster, editor, edited):
    result = edit(cluster, editor("pass"))
    assert (result.returncode, result.stdout) == (0, "Nothing was changed.\n")
    assert edited() == ["before"]
    missing = edit(cluster, "no-such-editor-here")
    assert missing.returncode == 1 and "there is no editor no-such-editor-here; set EDITOR" in missing.stderr


def ssh_fingerprints(text):
    """What OpenSSH says about the keys in lines of known_hosts or authorized_keys form."""
    keys = "".join(re.search(r"(?:ssh|ecdsa)-\S+ \S+", line).group(0) + "\n" for line in text.splitlines())
    said = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=keys, capture_output=True, text=True, check=True).stdout
    return re.findall(r"SHA256:\S+", said)


def test_export_of_one_key(fresh):
    cluster = fresh()
    export = lambda *words, **kw: cluster.ctl("auth", "export", *words, **kw)  # noqa: E731
    cluster.ctl("auth", "rotate", "--type=user", "--manual", "--phase=init")
    both = export("--type=user").stdout
    old, new = ssh_fingerprints(both)
    assert old != new
    assert export(f"--fingerprint={old}").stdout == both.splitlines(True)[0]
    assert export("--type=user", f"--fingerprint={new}").stdout == both.splitlines(True)[1]
    host = ssh_fingerprints(export("--type=host").stdout)
    assert len(host) == 1 and export(f"--fingerprint={host[0]}").stdout == export("--type=host").stdout
    # Certificates have the fingerprints that auth ls shows.
    pins = {(ca["type"], ca["keys"]): ca["fingerprint"] for ca in json.loads(cluster.ctl("auth", "ls", "--format=json").stdout)}
    whole = export("--type=tls-user").stdout
    parts = [export("--type=tls-user", f"--fingerprint={pins['user', keys]}").stdout for keys in ("current", "new")]
    assert parts[0] != parts[1] and whole == "".join(parts) and parts[0].count("BEGIN CERTIFICATE") == 1
    der = [subprocess.run([BIN / "tportctl", "auth", "export", f"--type={name}", f"--fingerprint={pins['user', 'new']}"], capture_output=True,
                          env={**os.environ, "TPORT_ADMIN_SOCKET": str(cluster.daemon.data / "admin.sock")}, check=True).stdout
           for name in ("tls-user-der", "windows")]
    assert der[0] == der[1] == ssl.PEM_cert_to_DER_cert(parts[1])
    for words in ([f"--fingerprint={pins['host', 'current']}", "--type=tls-user"], ["--fingerprint=SHA256:none"], [f"--fingerprint={old}", "--type=host"]):
        none = export(*words, check=False)
        assert none.returncode == 1 and none.stdout == "" and "no CA of this type has the fingerprint" in none.stderr
    wrong = export("--type=spiffe", check=False)
    assert wrong.returncode == 1 and "one of" in wrong.stderr and "windows" in wrong.stderr
    for name, way_out in (("openssh", "TrustedUserCAKeys"), ("github", "GitHub"), ("saml-idp", "identity provider")):
        absent = export(f"--type={name}", check=False)
        assert absent.returncode == 1 and absent.stdout == "" and way_out in absent.stderr
    # Databases have a CA of their own, under four names.
    db = export("--type=db").stdout
    assert db.count("BEGIN CERTIFICATE") == 1 and db not in whole and db == export("--type=db-client").stdout == export(f"--fingerprint={pins['db', 'current']}", "--type=db").stdout
    cluster.ctl("auth", "rotate", "--type=db", "--manual", "--phase=init")
    assert export("--type=db").stdout.count("BEGIN CERTIFICATE") == 2 and export("--type=db").stdout.startswith(db)
    one = subprocess.run([BIN / "tportctl", "auth", "export", "--type=db-der", f"--fingerprint={pins['db', 'current']}"], capture_output=True,
                         env={**os.environ, "TPORT_ADMIN_SOCKET": str(cluster.daemon.data / "admin.sock")}, check=True).stdout
    assert one == ssl.PEM_cert_to_DER_cert(db)


@pytest.mark.parametrize("flag", ["device", "windows-desktop", "access-request"])
def test_a_lock_that_would_shut_nobody_out_is_refused(cluster, flag):
    before = cluster.ctl("get", "lock", "--format=json").stdout
    refused = cluster.ctl("lock", f"--{flag}=8d5b0b1e-6a1b-4b3c-9a1d-1f3f5d1c2b3a", check=False)
    assert refused.returncode == 1 and refused.stdout == "" and "such a lock would shut nobody out" in refused.stderr
    in_a_file = cluster.ctl("create", input="kind: lock\nversion: v2\nmetadata: {name: nobody}\nspec: {target: {%s: x}}\n" %
                            flag.replace("-", "_"), check=False)
    assert in_a_file.returncode == 1 and "such a lock would shut nobody out" in in_a_file.stderr
    assert cluster.ctl("get", "lock", "--format=json").stdout == before
    # Beside a user it narrows nothing: the user is shut out.
    lock = cluster.ctl("lock", f"--{flag}=x", "--user=nobody-at-all").stdout.split('"')[1]
    cluster.ctl("rm", f"lock/{lock}")


def test_a_host_is_locked_by_its_id(cluster):
    """lock --node=NAME made a lock that held for nobody."""
    ids = {n["spec"]["hostname"]: n["metadata"]["name"] for n in cluster.node_list()}
    refused = cluster.ctl("lock", "--node=Node1", check=False)
    assert refused.returncode == 1 and refused.stderr == f"ERROR: a host is locked by its id, for names may change: the id of node1 is {ids['node1']}\n"
    assert "no-such-host" in cluster.ctl("lock", "--node=no-such-host").stderr
    for lock in json.loads(cluster.ctl("get", "lock", "--format=json").stdout):
        cluster.ctl("rm", f"lock/{lock['metadata']['name']}")


def test_users_ls_says_who_is_locked(cluster):
    """One read a list of users, and the one who could not get in stood there as all others."""
    for name, roles in (("lock-a", "access"), ("lock-b", "access"), ("lock-c", "auditor"), ("lock-d", "access")):
        cluster.ctl("users", "add", name, f"--roles={roles}")
    lines = lambda: {line.split()[0]: line.split(None, 2)[2:] for line in cluster.ctl("users", "ls").stdout.splitlines() if line}
    assert "Locked" not in cluster.ctl("users", "ls").stdout
    cluster.ctl("lock", "--user=lock-a", "--message=go \x1b[31mhome")
    cluster.ctl("lock", "--user=lock-b", "--ttl=1h")
    cluster.ctl("lock", "--user=lock-b", "--ttl=10h", "--message=the longer one counts")
    cluster.ctl("lock", "--role=auditor", "--ttl=1h")
    locks = {one["spec"].get("message"): one for one in json.loads(cluster.ctl("get", "lock", "--format=json").stdout)}
    found = lines()
    assert found["User"] == ["Locked"] and found["lock-d"] == []
    assert found["lock-a"] == ["yes: go \\x1b[31mhome"], found
    assert found["lock-b"] == [f"until {locks['the longer one counts']['spec']['expires']}: the longer one counts"], found
    assert re.fullmatch(r"until \S+Z, role auditor", found["lock-c"][0]), found
    as_json = {one["metadata"]["name"]: one.get("locked") for one in json.loads(cluster.ctl("users", "ls", "--format=json").stdout)}
    assert as_json["lock-a"] == {"message": "go \x1b[31mhome"} and as_json["lock-c"]["role"] == "auditor" and as_json["lock-d"] is None
    # What is read to be written again has nothing of it.
    assert "locked" not in cluster.ctl("users", "ls", "--format=yaml").stdout and "locked" not in cluster.ctl("get", "users", "--format=json").stdout
    for lock in json.loads(cluster.ctl("get", "lock", "--format=json").stdout):
        cluster.ctl("rm", f"lock/{lock['metadata']['name']}")
    assert "Locked" not in cluster.ctl("users", "ls").stdout
    cluster.ctl("users", "rm", "lock-a,lock-b,lock-c,lock-d")


def test_a_host_is_removed_by_its_id(cluster):
    """get found it by its name, and rm said that there is no such node."""
    node1 = next(node["metadata"]["name"] for node in cluster.node_list() if node["spec"]["hostname"] == "node1")
    refused = cluster.ctl("rm", "node/node1", check=False)
    assert refused.returncode == 1 and f"the id of node1 is {node1}" in refused.stderr, refused.stderr
    assert 'there is no node "nodex"' in cluster.ctl("rm", "node/nodex", check=False).stderr


def test_auth_sign_knows_the_proxy_and_says_what_was_cut(cluster, alice, tmp_path):
    said = cluster.ctl("auth", "sign", f"--user={alice.name}", "-o", tmp_path / "kubeconfig", "--format=kubernetes", "--kube-cluster-name=k1").stdout
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == f"https://{cluster.proxy}" and "less than" not in said
    assert "less than" not in cluster.ctl("auth", "sign", f"--user={alice.name}", "-o", tmp_path / "short", "--ttl=1h").stdout
    assert "less than was asked for" in cluster.ctl("auth", "sign", f"--user={alice.name}", "-o", tmp_path / "long", "--ttl=1000h").stdout


def test_choices_name_no_empty_one(cluster):
    refused = cluster.ctl("auth", "export", "--type=nope", check=False)
    assert refused.returncode == 1 and "--type=nope: one of user, host, tls-user," in refused.stderr


def test_every_trait_has_an_option(cluster):
    names = ["logins", "windows-logins", "kubernetes-users", "kubernetes-groups", "db-users", "db-names", "db-roles", "aws-role-arns",
             "azure-identities", "gcp-service-accounts", "default-relay-addr", "host-user-uid", "host-user-gid"]
    traits = lambda: yaml.safe_load(cluster.ctl("get", "user/traits").stdout)["spec"]["traits"]  # noqa: E731
    cluster.ctl("users", "add", "traits", "--roles=access", *(f"--{name}=a{i}" for i, name in enumerate(names)))
    assert traits() == {name.replace("-", "_"): [f"a{i}"] for i, name in enumerate(names)}
    cluster.ctl("users", "update", "traits", *(f"--set-{name}=b{i},c" for i, name in enumerate(names)))
    assert traits() == {name.replace("-", "_"): [f"b{i}", "c"] for i, name in enumerate(names)}
    cluster.ctl("users", "rm", "traits")


def test_a_named_socket_is_the_only_way(cluster, alice, tmp_path):
    """A2 of a first-time user: with a profile at hand, the socket that was named and is gone led to the profile's cluster."""
    (tmp_path / "own.conf").write_text(f"version: v3\ntport: {{data_dir: {tmp_path}}}\nauth_service: {{enabled: yes}}\n")
    nothing = str(tmp_path / "nothing.sock")
    assert alice.run(BIN / "tportctl", "users", "ls").returncode == 0  # her profile would do
    for words, env in ((["users", "ls"], {"TPORT_ADMIN_SOCKET": nothing}), (["-c", str(tmp_path / "own.conf"), "status"], {}),
                       (["status"], {"TPORT_CONFIG_FILE": str(tmp_path / "own.conf")})):
        result = alice.run("env", *(f"{name}={value}" for name, value in env.items()), BIN / "tportctl", *words)
        assert result.returncode == 1 and not result.stdout, (words, result.stdout)
        assert "nothing listens on the admin socket " + (nothing if env.get("TPORT_ADMIN_SOCKET") else f"{tmp_path}/admin.sock") in result.stderr


def test_without_socket_and_profile_it_says_both_ways(tmp_path):
    result = subprocess.run([str(BIN / "tportctl"), "status"], capture_output=True, text=True, check=False,
                            env={"HOME": str(tmp_path), "TPORT_HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    assert result.returncode == 1
    assert result.stderr == ("ERROR: nothing listens on the admin socket /var/lib/tport/admin.sock: no tportd with auth_service runs there; and there "
                             'is no profile: sign in with "tport login", or run this as root on the machine of the auth service, with '
                             "TPORT_ADMIN_SOCKET=DATA_DIR/admin.sock when its data_dir is another one\n")


@pytest.mark.parametrize("ttl,said", [("1s", "1 second"), ("90s", "90 seconds"), ("2m", "2 minutes"), ("1h", "60 minutes")])
def test_how_long_a_token_lasts_is_said_as_it_is(cluster, ttl, said):
    assert f"This token will expire in {said}.\n" in cluster.ctl("nodes", "add", f"--ttl={ttl}").stdout


def test_the_join_command_that_is_printed_exists(cluster, tmp_path):
    """A5 of a first-time user: the text told to run "tportd start --roles=...", which no program has."""
    for words in (("nodes", "add"), ("tokens", "add", "--type=node")):
        said = cluster.ctl(*words).stdout
        lines = re.findall(r"^> ((?:.*\\\n)*.*)", said, re.M)
        configure, start = (line.replace("\\\n", " ").split() for line in lines)
        assert start == ["tportd", "-c", "/etc/tport/tport.conf"] and configure[0] == "tportd", said
        conf = tmp_path / f"{words[0]}.conf"
        configure[configure.index("-o") + 1] = str(conf)
        subprocess.run([BIN / configure[0], *configure[1:]], check=True, capture_output=True)
        subprocess.run([BIN / "tportd", "-t", "-c", conf], check=True, capture_output=True)


def test_auth_sign_away_from_the_admin_socket_says_where_it_works(cluster):
    editor = cluster.person("signer")
    for words in (["--user=signer"], ["--host=h1"]):
        result = editor.run(BIN / "tportctl", "auth", "sign", *words, f"--out={editor.home}/made")
        assert result.returncode == 1 and "on the admin socket only: run it as root on the machine of the auth service" in result.stderr, result
    assert not list(editor.home.glob("made*"))
