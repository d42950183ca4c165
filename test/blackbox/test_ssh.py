"""A person reaches a server: tport's own commands and stock OpenSSH."""

import json
import os
import pathlib
import re
import subprocess

import pexpect
import pytest

from tport import BIN, Person, wait_for


@pytest.fixture(scope="module")
def config(cluster, alice):
    """tport config in ~/.ssh/config, as the README says."""
    block = alice.tport("config", check=True).stdout
    (alice.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    path = alice.home / ".ssh" / "config"
    path.write_text(block)
    path.chmod(0o600)
    # ssh takes ~ from the password file, not from HOME.
    return ["-F", str(path)]


def test_the_line_of_the_readme_needs_no_ssh_folder(alice):
    """On a fresh machine there is none, and the shell cannot write into it."""
    [line] = re.findall(r"^\$ (.*tport config >> \S+)$", (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text(), re.M)
    fresh = alice.home / "fresh"
    fresh.mkdir()
    result = alice.run("env", f"HOME={fresh}", f"TPORT_HOME={alice.home}/.tport", f"PATH={BIN}:/usr/bin:/bin", "sh", "-c", line)
    assert result.returncode == 0 and (fresh / ".ssh").stat().st_mode & 0o777 == 0o700, result.stderr
    assert "ProxyCommand" in (fresh / ".ssh" / "config").read_text()


def test_exit_status_is_kept(alice):
    result = alice.tport("ssh", "root@node1", "exit 7")
    assert result.returncode == 7, result.stderr


def test_output_both_ways(alice):
    result = alice.tport("ssh", "root@node1", "cat; echo err >&2", input="hello\n")
    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert "err" in result.stderr


def test_ls_shows_labels(alice):
    out = alice.tport("ls", check=True).stdout
    assert "node1" in out and "node2" in out and "env=dev" in out
    names = json.loads(alice.tport("ls", "--format=json", check=True).stdout)
    assert {n["spec"]["hostname"] for n in names} >= {"node1", "node2"}


def test_interactive_shell_has_a_terminal(alice):
    child = alice.spawn(BIN / "tport", "ssh", "root@node1")
    child.sendline("tty; echo size:$(stty size); exit 3")
    child.expect("/dev/pts/[0-9]+")
    child.expect("size:[0-9]+ [0-9]+")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3


def test_stock_ssh_scp_sftp_rsync(cluster, alice, config):
    host = f"root@node1.{cluster.name}"
    assert alice.run("ssh", *config, host, "echo stock").stdout == "stock\n"
    source = alice.home / "file"
    source.write_bytes(os.urandom(300000))
    target = cluster.folder / "copied"
    assert alice.run("scp", *config, source, f"{host}:{target}").returncode == 0
    assert target.read_bytes() == source.read_bytes()
    alice.run("scp", *config, f"{host}:{target}", alice.home / "back", check=True)
    assert (alice.home / "back").read_bytes() == source.read_bytes()
    batch = alice.home / "batch"
    batch.write_text(f"put {source} {target}.sftp\nls -l {target}.sftp\n")
    alice.run("sftp", *config, "-b", batch, host, check=True)
    assert (cluster.folder / "copied.sftp").read_bytes() == source.read_bytes()
    alice.run("rsync", "-a", "-e", f"ssh {' '.join(config)}", source, f"{host}:{target}.rsync", check=True)
    assert (cluster.folder / "copied.rsync").read_bytes() == source.read_bytes()


def test_tport_scp(cluster, alice):
    source = alice.home / "file2"
    source.write_text("by tport scp\n")
    target = cluster.folder / "scp2"
    result = alice.tport("scp", source, f"root@node1:{target}")
    assert result.returncode == 0, result.stderr
    assert target.read_text() == "by tport scp\n"


def through_openssl(cluster, alice, node, *words, client=""):
    keys = alice.home / ".tport" / "keys"
    cert = next(keys.rglob("alice.crt"), None) or next(keys.rglob("alice-x509.pem"))
    key = next(keys.rglob("alice.key"), None) or next(keys.rglob("alice"))
    ssh_key = next(p for p in keys.rglob("alice") if p.is_file())
    ssh_cert = next(keys.rglob("*-cert.pub"))
    sni = f"{node.encode().hex()}.node.{cluster.name}"
    client = client or f"-cert {cert} -key {key}"
    command = f"openssl s_client -quiet -connect {cluster.proxy} -servername {sni} -alpn tport-ssh {client}"
    return alice.run("ssh", "-F", "/dev/null", "-o", f"ProxyCommand={command} 2>/dev/null", "-i", ssh_key, "-o", f"CertificateFile={ssh_cert}",
                     "-o", f"UserKnownHostsFile={alice.home}/.tport/known_hosts", "-o", "StrictHostKeyChecking=yes",
                     "-o", f"HostKeyAlias={node}.{cluster.name}", f"root@{node}", *words)


def test_openssl_as_proxy_command(cluster, alice):
    result = through_openssl(cluster, alice, "node1", "echo through openssl")
    assert result.stdout == "through openssl\n", result.stderr


def test_openssl_as_proxy_command_hears_why_not(cluster, alice):
    """In the one form that ssh shows: a greeting, and SSH's own disconnect message."""
    for node, why in (("nod1", "no server named nod1; did you mean node1? `tport ls` lists those you can reach"),
                      ("nowhere", "no server named nowhere; `tport ls` lists those you can reach")):
        result = through_openssl(cluster, alice, node, "true")
        assert result.returncode == 255
        assert result.stderr.splitlines() == [f"Received disconnect from UNKNOWN port 65535:11: {why}", "Disconnected from UNKNOWN port 65535"]


def test_R16_a_stranger_hears_nothing_of_names(cluster, alice):
    """Without a certificate a name that is there and one that is not look alike."""
    said = {re.sub(node, "NAME", through_openssl(cluster, alice, node, "true", client="-no_ticket").stderr) for node in ("node1", "nowhere")}
    assert len(said) == 1 and "server named" not in said.pop()


# ---- what is wrong is said in one sentence ----

NO_NODE = "no server named nod1; did you mean node1? `tport ls` lists those you can reach"


def test_an_unknown_name_is_one_sentence(cluster, alice, config):
    for words in (("ssh", "root@nod1"), ("ssh", "root@nod1", "true"), ("scp", alice.home / "file", "root@nod1:/tmp/")):
        result = alice.tport(*words)
        assert (result.returncode, result.stdout, result.stderr) == (255, "", f"ERROR: {NO_NODE}\n")
    # Plain OpenSSH has one line of its own, but no complaint about a greeting.
    plain = alice.run("ssh", *config, f"root@nod1.{cluster.name}", "true")
    assert (plain.returncode, plain.stdout) == (255, "")
    assert plain.stderr.splitlines() == [f"ERROR: {NO_NODE}", "Connection closed by UNKNOWN port 65535"]


def test_a_proxy_that_is_away_is_one_sentence(fresh):
    home = fresh()
    person = home.person("alone")
    home.daemon.stop()
    result = person.tport("ssh", "root@node1", "true")
    assert (result.returncode, result.stderr) == (255, f"ERROR: cannot connect to {home.proxy}: Connection refused\n")


def test_a_host_that_is_offline_is_one_sentence(fresh):
    home = fresh(nodes=("node1",))
    person = home.person("early")
    home.nodes["node1"].stop()
    home.wait_online("node1", online=False)
    result = person.tport("ssh", "root@node1", "true")
    assert (result.returncode, result.stderr) == (255, "ERROR: node1 is offline: its agent is not connected now\n")


def test_the_openssl_recipe_of_the_manual_works(cluster, alice):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "man" / "tport.1").read_text()
    recipe = re.search(r"^\.nf\n(name=.*?)^\.fi$", page, re.M | re.S).group(1).replace("\\-", "-").replace("\\e", "\\")
    host, port = cluster.proxy.rsplit(":", 1)
    for word, value in {"PROXY": host, "PORT": port, "CLUSTER": cluster.name, "USER": "alice", "LOGIN": "root", "HOST": "node1"}.items():
        recipe = re.sub(rf"\b{word}\b", value, recipe)
    result = alice.run("sh", "-c", recipe.rstrip("\n") + " echo by the recipe")
    assert result.stdout == "by the recipe\n", (recipe, result.stderr)
    # It checks who it talks to.
    wrong = alice.run("sh", "-c", recipe.replace(f"cas/{cluster.name}.pem", "alice.crt").rstrip("\n") + " echo by the recipe")
    assert wrong.returncode == 255 and "by the recipe" not in wrong.stdout


def test_local_forward(cluster, alice, config):
    port = cluster._free_port()
    inside = cluster._free_port()
    server = subprocess.Popen(cluster.net.prefix("node1") + ["socat", f"TCP-LISTEN:{inside},bind=127.0.0.1,reuseaddr,fork",
                                                             "EXEC:echo forwarded"])
    tunnel = subprocess.Popen(cluster.net.prefix(alice.host) + ["ssh", *config, "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{inside}",
                                                              f"root@node1.{cluster.name}"], env=alice.env())
    try:
        wait_for(lambda: alice.run("socat", "-", f"TCP:127.0.0.1:{port}").stdout == "forwarded\n")
    finally:
        tunnel.kill()
        server.kill()


def test_remote_forward(cluster, alice, config):
    port = cluster._free_port()
    inside = cluster._free_port()
    server = subprocess.Popen(cluster.net.prefix(alice.host) + ["socat", f"TCP-LISTEN:{inside},bind=127.0.0.1,reuseaddr,fork",
                                                              "EXEC:echo backwards"])
    tunnel = subprocess.Popen(cluster.net.prefix(alice.host) + ["ssh", *config, "-N", "-o", "ExitOnForwardFailure=yes", "-R",
                                                              f"127.0.0.1:{port}:127.0.0.1:{inside}", f"root@node1.{cluster.name}"],
                              env=alice.env())
    try:
        wait_for(lambda: alice.tport("ssh", "root@node1", f"socat - TCP:127.0.0.1:{port}").stdout == "backwards\n")
    finally:
        tunnel.kill()
        server.kill()


def test_dynamic_forward(cluster, alice, config):
    port = cluster._free_port()
    inside = cluster._free_port()
    web = subprocess.Popen(cluster.net.prefix("node1") + ["/usr/bin/python3", "-m", "http.server", str(inside), "--bind", "127.0.0.1"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    tunnel = subprocess.Popen(cluster.net.prefix(alice.host) + ["ssh", *config, "-N", "-D", f"127.0.0.1:{port}", f"root@node1.{cluster.name}"],
                              env=alice.env())
    try:
        wait_for(lambda: "Directory listing" in alice.run("curl", "-s", "--socks5", f"127.0.0.1:{port}",
                                                          f"http://127.0.0.1:{inside}/").stdout)
    finally:
        tunnel.kill()
        web.kill()


def test_agent_forward(cluster, alice, config):
    script = f"eval $(ssh-agent) >/dev/null; ssh-keygen -q -t ed25519 -N '' -C forwarded -f {alice.home}/ak; ssh-add -q {alice.home}/ak; " \
             f"ssh {' '.join(config)} -A root@node1.{cluster.name} ssh-add -l; ssh-agent -k >/dev/null"
    result = alice.run("sh", "-c", script)
    assert "forwarded" in result.stdout, result.stdout + result.stderr


def test_control_master(cluster, alice, config):
    path = alice.home / "cm"
    options = [*config, "-o", f"ControlPath={path}", f"root@node1.{cluster.name}"]
    subprocess.run(cluster.net.prefix(alice.host) + ["ssh", "-fN", "-M", *options], env=alice.env(), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=True)
    try:
        for i in range(3):
            assert alice.run("ssh", *options, f"echo {i}").stdout == f"{i}\n"
    finally:
        alice.run("ssh", "-O", "exit", *options)


def test_ansible_ping(cluster, alice, config):
    result = alice.run("ansible", "all", "-i", f"node1.{cluster.name},", "-u", "root", "-m", "ping", "--ssh-common-args", " ".join(config),
                       "-e", "ansible_python_interpreter=/usr/bin/python3", timeout=120)
    assert '"ping": "pong"' in result.stdout, result.stdout + result.stderr


def test_recordings_play(cluster, alice):
    marker = "recorded-4711"
    alice.tport("ssh", "root@node1", f"echo {marker}", check=True)
    child = alice.spawn(BIN / "tport", "ssh", "root@node1")
    child.sendline("echo in-a-terminal; exit")
    child.expect(pexpect.EOF)

    def played(word):
        """Of some finished recording that holds the word."""
        listed = json.loads(alice.tport("recordings", "ls", "--format=json", check=True).stdout)
        for one in listed:
            if one.get("state") == "done":
                text = alice.tport("play", "--format=text", one["id"], check=True).stdout
                if word in text:
                    return text
        return None

    wait_for(lambda: played(marker))
    wait_for(lambda: played("in-a-terminal"))
    # The beginning of an ID is enough, when it is the only one; more than one are shown to choose from.
    ids = [r["id"] for r in json.loads(alice.tport("recordings", "ls", "--format=json", check=True).stdout)]
    for one in ids[:3]:
        short = next(one[:n] for n in range(4, 37) if sum(i.startswith(one[:n]) for i in ids) == 1)
        assert alice.tport("play", "--format=json", short, check=True).stdout == alice.tport("play", "--format=json", one, check=True).stdout
    nobodys = alice.tport("play", "00000000-0000-0000")
    assert (nobodys.returncode, nobodys.stderr) == (1, "ERROR: no recording that you may list begins with 00000000-0000-0000; `tport recordings ls` shows them\n")
    # And with asciinema.
    listed = json.loads(alice.tport("recordings", "ls", "--format=json", check=True).stdout)
    one = next(r for r in listed if marker in json.dumps(r))
    cast = alice.home / "one.cast"
    cast.write_text(alice.tport("play", "--format=json", one["id"], check=True).stdout)
    child = alice.spawn("asciinema", "cat", cast)
    child.expect(marker)


def test_every_step_is_in_the_audit_log(cluster, alice):
    alice.tport("ssh", "root@node2", "true", check=True)
    steps = {"user.login", "session.start", "session.end", "cert.create", "user.create"}
    wait_for(lambda: steps <= {e["event"] for e in cluster.audit()})
    day = next((cluster.daemon.data / "auth").rglob("log/*.log"))
    for line in day.read_text().splitlines():
        assert json.loads(line)["event"]


def test_the_event_of_a_host_certificate_names_the_host(cluster, alice):
    """It had only identity.host_id, and the name as that of a user."""
    node = next(node for node in json.loads(alice.tport("ls", "--format=json", check=True).stdout) if node["spec"]["hostname"] == "node2")
    made = [e for e in cluster.audit(type="cert.create") if e["cert_type"] == "host" and e.get("server_id") == node["metadata"]["name"]]
    assert made and all(e["server_hostname"] == "node2" and "user" not in e["identity"] and "node2" in e["identity"]["principals"] for e in made), made


@pytest.mark.parametrize("columns", [80, 100])
def test_no_table_wraps_in_a_terminal(cluster, alice, columns):
    """tport recordings ls did at 100 columns, tport status and tportctl auth ls at 80."""
    alice.tport("ssh", "root@node2", "echo a command that is so long that no terminal has room for it beside the other columns", check=True)
    admin = ["env", f"TPORT_ADMIN_SOCKET={cluster.daemon.data / 'admin.sock'}", BIN / "tportctl"]
    for program, words in [([BIN / "tport"], words) for words in ("recordings ls", "sessions ls", "status", "ls", "clusters", "kube ls --all")] + [
            (admin, words) for words in ("recordings ls", "users ls", "nodes ls", "tokens ls", "auth ls", "audit ls --limit=50", "get roles --format=text")]:
        child = alice.spawn(*program, *words.split(), dimensions=(24, columns))
        shown = child.read().splitlines()
        assert shown and not [line for line in shown if len(line) > columns], (words, shown)


def test_unknown_host_says_what_to_do(alice):
    result = alice.tport("ssh", "root@nowhere", "true")
    assert result.returncode != 0
    assert "nowhere" in result.stderr and "tport ls" in result.stderr


def test_login_that_no_role_allows(alice):
    for words in (["ssh", "nobody@node1", "true"], ["scp", "/etc/hostname", "nobody@node1:/tmp/x"]):
        result = alice.tport(*words)
        assert result.returncode == 255
        assert "access denied: your roles do not allow the login nobody, they allow root; a login that was given since" in result.stderr


def test_stock_ssh_says_which_logins_there_are(cluster, alice, config):
    """It said "Permission denied (publickey)" alone; the attempt stays on record all the same."""
    result = alice.run("ssh", *config, f"games@node1.{cluster.name}", "true")
    assert result.returncode == 255 and "Permission denied (publickey)" in result.stderr
    assert "WARNING: access denied: your roles do not allow the login games, they allow root;" in result.stderr
    wait_for(lambda: [e for e in cluster.audit(type="auth", user="alice") if e.get("login") == "games"])


def test_names_of_recordings_that_are_none(alice):
    result = alice.tport("play", "nonsense")
    assert result.returncode == 1 and "tport recordings ls" in result.stderr


def test_host_key_is_never_trusted_on_first_use(cluster, alice, config):
    """With an empty known_hosts there is no prompt and no way in."""
    empty = alice.home / "empty"
    empty.write_text("")
    result = alice.run("ssh", *config, "-o", f"UserKnownHostsFile={empty}", f"root@node1.{cluster.name}", "true")
    assert result.returncode == 255 and "verification failed" in result.stderr
