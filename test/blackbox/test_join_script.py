"""A server is added from the browser: the token, the script that uses it, the programs that the script downloads from the proxy."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

import tport
from machine import Machine
from terminal import Browser
from tport import BIN, ROOT, Cluster, wait_for

SCRIPT = ROOT / "src/protocols/web/install-node.sh"
PROGRAMS = ["tportd", "tport-session", "tport", "tportctl"]


@pytest.fixture(scope="module")
def home():
    made = Cluster(name="join")
    yield made
    made.close()


@pytest.fixture(scope="module")
def admin(home):
    return Browser(home.person("adder", sign_in=False)).sign_in()


@pytest.fixture
def machine(home):
    made = []

    def make(name):
        made.append(Machine(home, name))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def add(admin, labels=(), status=200, **more):
    reply = admin.ask("POST", "/webapi/token", {"roles": ["Node"], "join_method": "token", "suggested_labels": [{"name": n, "value": v} for n, v in labels], **more})
    assert reply.status == status, reply.text
    return reply.json()


def line(home, token, option=""):
    """As the dialog shows it, without sudo: the tests are root."""
    return f'bash -c "$(curl -fsSL {option}https://{home.proxy}/scripts/{token}/install-node.sh)"'


def save_ca(home, machine):
    """The first step of the dialog; the second one's flag."""
    assert machine.sh(f"cat > /run/tport-ca.pem <<'END'\n{home.ca()}END\n").returncode == 0
    return "--cacert /run/tport-ca.pem "


def test_a_server_is_added_by_one_line(home, admin, machine):
    token = add(admin, [("env", "dev"), ("team", "web apps/1")])
    assert token["ownCertificate"] and token["proxy"] == home.proxy and token["caPins"] == [home.pin()]
    left = time.mktime(time.strptime(token["expiry"][:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime())
    assert 3.9 * 3600 < left <= 4 * 3600
    place = machine("fresh1")
    # A machine that does not know the proxy's CA runs nothing.
    refused = place.sh(line(home, token["id"]))
    assert "certificate" in refused.stderr and place.sh("ls -A /usr/local/bin; ls /etc/tport").stdout == ""
    assert admin.ask("GET", f"/webapi/token/{token['id']}/hosts").json() == {"items": []}

    done = place.sh(line(home, token["id"], save_ca(home, place)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.sh("ls /usr/local/bin").stdout.split() == sorted(PROGRAMS)
    assert place.sh("stat -c '%a %U' /etc/tport/tport.conf").stdout == "600 root\n"
    assert place.sh("id tport-session").returncode == 0
    start = re.search(r"^    (/usr/local/bin/tportd -c \S+)$", done.stdout, re.M).group(1)
    place.start(start)
    joined = wait_for(lambda: [one for one in admin.ask("GET", f"/webapi/token/{token['id']}/hosts").json()["items"] if one["online"]])
    assert joined[0]["name"] == "fresh1"
    node = wait_for(lambda: [one for one in admin.ask("GET", "/webapi/sites/join/nodes").json()["items"] if one["hostname"] == "fresh1" and one["tags"]])[0]
    assert {tag["name"]: tag["value"] for tag in node["tags"]} == {"env": "dev", "team": "web apps/1"}
    assert node["online"] and abs(time.mktime(time.strptime(node["since"][:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime())) < 60
    shell = admin.shell("fresh1")
    shell.type("echo on-$(hostname)\n")
    shell.until("on-fresh1")
    # Again: nothing that is there is touched.
    before = place.sh("sha256sum /usr/local/bin/* /etc/tport/tport.conf").stdout
    again = place.sh(line(home, token["id"], save_ca(home, place)))
    assert again.returncode == 1 and "has joined a cluster already" in again.stderr
    assert place.sh("sha256sum /usr/local/bin/* /etc/tport/tport.conf").stdout == before


def test_with_a_certificate_that_machines_trust_one_line_is_all(tmp_path):
    """The proxy's certificate is of an authority that the server's system knows: no file, no flag."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=tmp_path)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "gate.key", "-out", "gate.csr", "-subj", "/CN=gate")
    (tmp_path / "ext").write_text("subjectAltName=IP:10.77.0.1")
    openssl("x509", "-req", "-in", "gate.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "gate.crt")
    other = Cluster(name="public", proxy_extra=f"  https_keypairs: [{{key_file: {tmp_path}/gate.key, cert_file: {tmp_path}/gate.crt}}]")
    try:
        person = Browser(other.person("adder", sign_in=False)).sign_in()
        token = person.ask("POST", "/webapi/token", {"roles": ["Node"]}).json()
        assert token["ownCertificate"] is False
        place = Machine(other, "fresh3")
        try:
            place.sh(f"cat {tmp_path}/ca.crt >> /etc/ssl/certs/ca-certificates.crt")
            done = place.sh(line(other, token["id"]))
            assert done.returncode == 0, done.stdout + done.stderr
            place.start("/usr/local/bin/tportd -c /etc/tport/tport.conf")
            other.wait_online("fresh3")
        finally:
            place.stop()
    finally:
        other.close()


def test_with_systemd_it_starts_by_itself(home, admin, machine):
    token = add(admin)
    place = machine("fresh2")
    # A systemctl that writes down what it is told, and starts the unit's line.
    assert place.sh("""mkdir -p /run/systemd/system && cat > /usr/local/bin/systemctl <<'END'
#!/bin/sh
echo "$@" >> /run/systemctl
case $1 in enable) $(sed -n 's/^ExecStart=//p' /etc/systemd/system/tportd.service) >/run/tportd.log 2>&1 & ;; esac
END
chmod 755 /usr/local/bin/systemctl""").returncode == 0
    try:
        done = place.sh(line(home, token["id"], save_ca(home, place)))
        assert done.returncode == 0, done.stdout + done.stderr + place.sh("cat /run/tportd.log").stdout
        assert "has joined join" in done.stdout
        assert place.sh("cat /run/systemctl").stdout.splitlines() == ["daemon-reload", "enable --now tportd.service"]
        home.wait_online("fresh2")
        # The unit is the one of the installation.
        unit = (ROOT / "deploy/tportd.service.in").read_text().replace("@CMAKE_INSTALL_FULL_BINDIR@", "/usr/local/bin")
        assert place.sh("cat /etc/systemd/system/tportd.service").stdout == unit
    finally:
        place.sh("kill $(cat /var/lib/tport/tportd.pid)")


def script(home, token):
    reply = home.https("GET", f"/scripts/{token}/install-node.sh")
    assert reply.status == 200, reply.text
    return reply.text


def run(text, place):
    """A script as bash -c runs it."""
    return subprocess.run(place.prefix() + ["bash", "-c", text], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("change, says", [
    (lambda text: text.replace("ARCH='", "ARCH='not-"), "this machine is"),
    (lambda text: re.sub(r"PROXY='[^']*'", "PROXY='127.0.0.1:9'", text), "cannot be reached"),
    (lambda text: re.sub(r"(?s)CA='.*?'", "CA='" + "x" * 20 + "'", text), "cannot be reached"),
    (lambda text: re.sub(r"SUMS='[0-9a-f]{8}", "SUMS='00000000", text), "checksum"),
    (lambda text: re.sub(r"PINS='[^']*'", "PINS='nonsense'", text), "configuration"),
    (lambda text: text.replace("! id tport-session", "true").replace("useradd --system", "false --system"), "user tport-session"),
    (lambda text: text[:-200], None),  # the connection broke
], ids=["architecture", "reachability", "ca", "checksum", "configuration", "user", "half"])
def test_what_goes_wrong_leaves_nothing_behind(home, admin, machine, change, says):
    place = machine("broken")
    done = run(change(script(home, add(admin)["id"])), place)
    if says:
        assert done.returncode == 1 and says in done.stderr, done.stdout + done.stderr
    assert place.sh("ls -A /usr/local/bin; ls /etc/tport/tport.conf /etc/systemd/system/tportd.service 2>/dev/null").stdout == ""


@pytest.mark.parametrize("there", ["/usr/local/bin/tport", "/etc/tport/tport.conf", "/var/lib/tport/agent", "/etc/systemd/system/tportd.service"])
def test_what_is_there_is_not_overwritten(home, admin, machine, there):
    place = machine("used")
    place.sh(f"mkdir -p $(dirname {there}) && echo mine > {there}")
    done = run(script(home, add(admin)["id"]), place)
    assert done.returncode == 1 and there in done.stderr and "is there" in done.stderr, done.stderr
    assert place.sh(f"cat {there}").stdout == "mine\n"


def test_missing_libraries_are_named(home, admin, machine):
    place = machine("bare")
    place.sh("printf '#!/bin/sh\\necho \"  libuv.so.1 => not found\"; echo \"  libjansson.so.4 => not found\"\\n' > /usr/local/bin/ldd; chmod 755 /usr/local/bin/ldd")
    done = run(script(home, add(admin)["id"]), place)
    assert done.returncode == 1 and "libjansson4" in done.stderr and "libuv1" in done.stderr, done.stderr
    assert place.sh("ls -A /usr/local/bin").stdout.split() == ["ldd"]


def test_every_library_has_its_package_in_the_script():
    known = SCRIPT.read_text()
    names = {name for text in (ROOT / "test/lint/libraries.txt").read_text().splitlines() if text[0] != "#" for name in text.split(": ")[1].split()}
    assert not [name for name in names - {"libc", "ld-linux-x86-64"} if f"{name}.so." not in known]


def test_the_script_is_plain_sh():
    done = subprocess.run(["shellcheck", "-s", "sh", str(SCRIPT)], capture_output=True, text=True, check=False) if os.path.exists("/usr/bin/shellcheck") else subprocess.run(["sh", "-n", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


HOSTILE = ["'; touch /tmp/pwned; '", "$(touch /tmp/pwned)", "`touch /tmp/pwned`", "\\", "a'b", 'a"b', "a,b=c", "[1m:\"touch /tmp/pwned\"]",
           "a\nb", "a\rb", "a\x1bb", "<script>", "&", "|", ";", "*", "~", "!", "#", "{a,b}", "é"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_labels_reach_no_script(home, admin, value):
    """Typed in the browser they are refused with a sentence; in a token that came another way, the script is."""
    for labels in ([("env", value)], [(value, "dev")]):
        assert "label" in add(admin, labels, status=400)["error"]["message"]
        reply = admin.ask("POST", "/webapi/token", {"roles": ["Node"], "suggested_labels": dict(labels)})
        assert reply.status == 400, reply.text
    token = os.urandom(16).hex()
    home.ctl("create", "-f", input=json.dumps({"kind": "token", "version": "v2", "metadata": {"name": token}, "spec": {
        "roles": ["Node"], "join_method": "token", "suggested_labels": {"env": [value]}}}))
    reply = home.https("GET", f"/scripts/{token}/install-node.sh")
    assert reply.status == 400 and "pwned" not in reply.text and "label" in reply.text, reply.text
    home.ctl("rm", f"token/{token}")


def test_labels_that_are_good_mean_themselves(home, admin, machine, tmp_path):
    """All characters that are let through, as a shell and as the flag --labels read them."""
    value = "azAZ09 _./:@+=-"
    place = machine("labels")
    text = script(home, add(admin, [("a._/:-Z", value), ("empty", "")])["id"])
    assert f"\nLABELS='a._/:-Z={value},empty='\n" in text
    head = text.split("# Joins a server")[0]
    said = subprocess.run(place.prefix() + ["sh", "-c", head + 'printf "%s" "$LABELS"'], capture_output=True, text=True, check=True).stdout
    made = subprocess.run([BIN / "tportd", "node", "configure", "--proxy=a:1", "--token=x", f"--labels={said}"], capture_output=True, text=True, check=True).stdout
    assert f'"{value}"' in made.replace("'", '"') or value in made


def test_R16_bad_tokens_look_alike(home, admin):
    good = add(admin)["id"]
    short = json.loads(home.ctl("tokens", "add", "--type=node", "--ttl=1s", "--format=json").stdout)["token"]
    kube = json.loads(home.ctl("tokens", "add", "--type=kube", "--ttl=1h", "--format=json").stdout)["token"]
    deleted = add(admin)["id"]
    home.ctl("rm", f"token/{deleted}")
    time.sleep(1.2)
    seen = set()
    for token in ("0" * 32, short, kube, deleted, good[:-1], "x", "%27", "a" * 500):
        for name in ("install-node.sh", "tportd", "nothing", "..%2f"):
            reply = home.https("GET", f"/scripts/{token}/{name}", host="stranger")
            if reply.status not in (429, 400):
                seen.add((reply.status, reply.text, reply.headers["Content-Type"]))
    assert len(seen) == 1 and seen.pop()[0] == 404
    assert home.https("GET", f"/scripts/{good}/nothing").status == 404
    assert home.https("GET", f"/scripts/{good}/install-node.sh").status == 200


def test_R14_guessing_tokens_is_slow_and_owners_are_not(home, admin):
    good = add(admin)["id"]
    for _ in range(60):
        assert home.https("GET", f"/scripts/{good}/install-node.sh", host="busy").status == 200
    statuses = [home.https("GET", f"/scripts/{os.urandom(16).hex()}/install-node.sh", host="guesser").status for _ in range(60)]
    assert statuses[0] == 404 and statuses[-1] == 429
    # Past the limit a good token gets no other answer than a bad one. Time gives one more guess now and then.
    answers = [[home.https("GET", f"/scripts/{token}/install-node.sh", host="guesser").status for token in (os.urandom(16).hex(), good)]
               for _ in range(10)]
    assert [429, 429] in answers


def test_programs_are_those_beside_the_proxy(home, admin):
    token = add(admin)["id"]
    sums = dict(reversed(entry.split()) for entry in re.search(r"SUMS='([^']*)'", script(home, token)).group(1).splitlines())
    for name in PROGRAMS:
        reply = home.https("GET", f"/scripts/{token}/{name}")
        assert reply.status == 200 and reply.headers["Cache-Control"] == "no-store"
        assert hashlib.sha256(reply.body).hexdigest() == sums[name] == hashlib.sha256((BIN / name).read_bytes()).hexdigest()
    head = home.https("HEAD", f"/scripts/{token}/tportd")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == (BIN / "tportd").stat().st_size


def test_programs_on_the_disk_change(monkeypatch, tmp_path):
    """What is announced is what is sent: after an update on the disk the old programs, after a reload the new ones. Where one is
    missing, the script says so and not half of it is there."""
    for name in PROGRAMS:
        shutil.copy(BIN / name, tmp_path / name)
    monkeypatch.setattr(tport, "BIN", tmp_path)
    other = Cluster(name="updated")
    try:
        person = Browser(other.person("adder", sign_in=False)).sign_in()
        token = person.ask("POST", "/webapi/token", {"roles": ["Node"]}).json()["id"]

        def announced():
            text = script(other, token)
            return dict(reversed(entry.split()) for entry in re.search(r"SUMS='([^']*)'", text).group(1).splitlines())

        def sent(name):
            return hashlib.sha256(other.https("GET", f"/scripts/{token}/{name}").body).hexdigest()

        old = announced()
        (tmp_path / "new").write_bytes((BIN / "tport").read_bytes() + b"new")
        (tmp_path / "new").rename(tmp_path / "tport")
        assert announced() == old and sent("tport") == old["tport"]
        assert other.daemon.signal("reload").returncode == 0
        wait_for(lambda: announced()["tport"] != old["tport"])
        assert sent("tport") == announced()["tport"] == hashlib.sha256((tmp_path / "tport").read_bytes()).hexdigest()
        (tmp_path / "tportctl").unlink()
        assert other.daemon.signal("reload").returncode == 0
        reply = wait_for(lambda: (one := other.https("GET", f"/scripts/{token}/install-node.sh")).status == 404 and one)
        assert "programs are missing" in reply.text and "tportctl" in other.daemon.text()
    finally:
        monkeypatch.undo()
        other.close()


def test_slow_downloads_cost_little(home, admin):
    """Sixty people who read nothing of a program: what waits for them in a worker is bounded."""
    token = add(admin)["id"]
    workers = home.daemon.children("worker")

    def memory():
        return sum(int(re.search(r"^RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M).group(1)) for pid in workers)

    before = memory()
    open_ones = []
    for _ in range(60):
        sock = admin.connect()
        sock.sendall(f"GET /scripts/{token}/tportd HTTP/1.1\r\nHost: {home.proxy}\r\n\r\n".encode())
        open_ones.append(sock)
    time.sleep(2)
    each = (memory() - before) / 60
    for sock in open_ones:
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        sock.close()
    assert "asan" in str(BIN) or each < 700, f"{each:.0f} KB each"  # sanitizers keep what is freed
    assert home.https("GET", "/webapi/ping").status == 200


def test_who_may_make_tokens(home, admin):
    poor = Browser(home.person("no-tokens", roles="access", sign_in=False)).sign_in()
    assert poor.ask("POST", "/webapi/token", {"roles": ["Node"]}).status == 403
    token = add(admin)["id"]
    assert poor.ask("GET", f"/webapi/token/{token}/hosts").status == 403
    assert add(admin, status=400, join_method="iam")["error"]
    assert admin.ask("POST", "/webapi/token", {"roles": []}).status == 400
    assert admin.ask("POST", "/webapi/token", {"roles": ["Proxy", "nonsense"]}).status == 400
    events = [event for event in home.audit() if event["event"] == "join_token.create" and event["user"] == "adder"]
    assert events and token not in json.dumps(events)
