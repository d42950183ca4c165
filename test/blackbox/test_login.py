"""Invitations, passwords, codes, certificates."""

import base64
import json
import pathlib
import re
import signal
import termios
import time

import pexpect
import pytest

from tport import BIN, PASSWORD, Person, totp, wait_for


def test_login_status_logout(cluster):
    carol = cluster.person("carol")
    out = carol.tport("status", check=True).stdout
    assert "carol" in out and "Valid until" in out and "access" in out
    status = json.loads(carol.tport("status", "--format=json", check=True).stdout)
    assert status["active"]["username"] == "carol"
    assert carol.tport("logout").returncode == 0
    assert carol.tport("status").returncode == 1


@pytest.mark.parametrize("end", [lambda child: child.sendcontrol("c"), lambda child: child.kill(signal.SIGTERM)], ids=["ctrl-c", "term"])
def test_the_terminal_is_as_before_when_a_login_ends_at_the_password(cluster, alice, end):
    """Ctrl-C gave status 1 and "ERROR: no answer to: Enter password ..."; a signal left the terminal without echo."""
    child = alice.spawn(BIN / "tport", "login", f"--proxy={cluster.proxy}", "--user=carol")
    before = termios.tcgetattr(child.child_fd)
    child.expect("password for tport user carol: ")
    assert termios.tcgetattr(child.child_fd) != before
    child.send("sec")
    end(child)
    child.expect(pexpect.EOF)
    assert child.before == "\r\n" and termios.tcgetattr(child.child_fd) == before
    child.close()
    assert child.signalstatus in (signal.SIGINT, signal.SIGTERM), child.exitstatus


def test_R14_invitation_works_once(cluster):
    dave = cluster.person("dave", sign_in=False)
    again = cluster.https("GET", "/" + dave.url.split("/", 3)[3])
    assert again.status == 404 or "used" in again.text or "expired" in again.text
    assert "secret" not in again.text


def test_R14_no_secret_is_on_disk_as_it_is(cluster):
    """Links, join tokens and passwords are hashed; seeds of codes and the keys of CAs, which must be read again, are sealed."""
    dana = cluster.person("dana")
    frank = cluster.person("frank", enrol=False, sign_in=False)
    token = cluster.token()
    link = frank.url.rsplit("/", 1)[1]
    seed = base64.b32decode(dana.secret + "=" * (-len(dana.secret) % 8))
    secrets = {"join token": token.encode(), "link": link.encode(), "password": PASSWORD.encode(), "seed": dana.secret.encode(),
               "raw seed": seed, "PEM key": b"PRIVATE KEY-----", "Ed25519 key": bytes.fromhex("302e020100300506032b657004220420"),
               "P-256 key": bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")}
    assert all(len(one) >= 8 for one in secrets.values())
    data = pathlib.Path(cluster.daemon.data)
    store = data / "auth" / "secrets" / "data.mdb"
    found = [f"{what} in {path}" for path in data.rglob("*") if path.is_file()
             for what, secret in secrets.items() if secret in path.read_bytes()]
    assert not found
    assert b"/login/dana" in store.read_bytes()  # it is the file that has them
    key = data / "keys" / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o400 and key.stat().st_uid == store.stat().st_uid
    assert store.stat().st_mode & 0o077 == 0 and store.parent.stat().st_mode & 0o077 == 0 and key.parent.stat().st_mode & 0o077 == 0
    assert not [path for path in data.rglob("*") if path.is_file() and path != key and key.read_bytes().strip() in path.read_bytes()]
    found = [what for what, secret in {**secrets, "key": key.read_bytes().strip()}.items() if secret in cluster.daemon.text().encode()]
    assert not found  # the log, too


def test_R16_every_failed_login_looks_alike(cluster):
    """Status, headers and text; test_auth_timing counts the work behind them."""
    erin = cluster.person("erin", sign_in=False)
    locked = cluster.person("erwin", sign_in=False)
    cluster.ctl("lock", "--user=erwin")
    used = erin.code()
    keys = erin.home / "pair"
    erin.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys, check=True)
    ssh_key = (erin.home / "pair.pub").read_text().strip()
    tls_key = erin.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", check=True).stdout
    tls_key = erin.run("openssl", "pkey", "-pubout", input=tls_key, check=True).stdout

    def attempt(user, password, code):
        reply = cluster.https("POST", "/webapi/mfa/login/finish", body=json.dumps(
            {"user": user, "password": password, "totp_code": code, "ssh_pub_key": ssh_key, "tls_pub_key": tls_key}),
            headers={"Content-Type": "application/json"}, host=erin.host)
        return reply.status, reply.text, tuple(sorted(name for name in reply.headers))

    assert attempt("erin", PASSWORD, used)[0] == 200
    # Who used his code a moment ago must learn that from the sentence that everybody gets.
    assert "each code works once" in attempt("erin", PASSWORD, used)[1]
    answers = {attempt("erin", "wrong password!!", erin.code()), attempt("erin", PASSWORD, "000000"), attempt("erin", PASSWORD, used),
               attempt("nobody-here", PASSWORD, "000000"), attempt("erwin", PASSWORD, locked.code()), attempt("no/such name", PASSWORD, "1")}
    assert len(answers) == 1, answers
    assert answers.pop()[0] in (401, 403)


def test_R14_code_works_once(cluster):
    frank = cluster.person("francis", sign_in=False)
    code = frank.code()
    assert frank.login(code=code)[0] == 0
    frank.tport("logout")
    status, output = frank.login(code=code)
    assert status != 0 and "invalid" in output.lower()


def test_expired_invitation(cluster):
    out = cluster.ctl("users", "add", "late", "--roles=access", "--ttl=1s").stdout
    url = re.search(r"https://\S+/web/invite/[0-9a-f]{32}", out).group(0)
    time.sleep(1.5)
    page = cluster.https("GET", "/" + url.split("/", 3)[3])
    assert page.status in (403, 404, 410) and ("expired" in page.text or "no longer" in page.text or "not valid" in page.text)


def test_short_password_is_refused_with_a_reason(cluster):
    grace = cluster.person("grace", enrol=False)
    grace.password = "short"
    reply = grace.accept(grace.url)
    assert "12" in reply.text and "short" not in re.sub("too short|shorter", "", reply.text)
    grace.password = PASSWORD
    grace.used_step = 0
    assert grace.accept(grace.url).status == 200


def test_certificate_lives_no_longer_than_the_roles_allow(cluster):
    cluster.ctl("create", "-f", input="""
kind: role
version: v7
metadata: {name: short-lived}
spec:
  allow: {logins: [root], node_labels: {'*': '*'}}
  options: {max_session_ttl: 50s}
""")
    heidi = cluster.person("heidi", roles="short-lived", logins="")
    status = json.loads(heidi.tport("status", "--format=json", check=True).stdout)
    until = status["active"]["valid_until"]
    seconds = time.mktime(time.strptime(until[:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime())
    assert 0 < seconds <= 51
    left = re.search(r"\[valid for (\d+)s\]", heidi.tport("status").stdout)  # and not "1m0s", or "0s" in the end
    assert left and 0 < int(left[1]) <= 50


def test_a_wrong_pin_is_said_also_when_signed_in(cluster):
    paula = cluster.person("paula")
    for pin, says in (("sha256:" + 64 * "0", "pin"), ("garbage", "sha256:")):
        result = paula.tport("login", f"--proxy={cluster.proxy}", "--user=paula", f"--ca-pin={pin}")
        assert result.returncode == 1 and says in result.stderr, result.stderr
    assert paula.tport("login", f"--proxy={cluster.proxy}", "--user=paula", f"--ca-pin={cluster.pin()}").returncode == 0


def test_the_ca_of_one_proxy_vouches_for_no_other(cluster):
    """Found by following the README: any file in the folder counted for any proxy, so each could pose as another."""
    stranger = cluster.person("stranger-of-two", sign_in=False)
    host, port = cluster.proxy.split(":")
    folder = stranger.home / ".tport" / "trusted"
    own = next(folder.iterdir())
    assert stranger.tport("login", f"--proxy={cluster.proxy}", "--user=nobody", input="x\n0\n").stderr.count("invalid user name") == 1
    for name in ("192.0.2.1_3443.pem", f"{host}_{int(port) + 1}.pem", "proxy.pem"):
        own = own.rename(folder / name)
        result = stranger.tport("login", f"--proxy={cluster.proxy}", "--user=nobody", input="x\n0\n")
        assert result.returncode != 0 and "trusted" in result.stderr and "invalid user name" not in result.stderr, (name, result.stderr)


def test_unknown_ca_is_never_trusted(cluster):
    stranger = Person(cluster, "zed")
    for pem in (stranger.home / ".tport" / "trusted").iterdir():
        pem.unlink()
    result = stranger.tport("login", f"--proxy={cluster.proxy}", "--user=zed", input="x\n")
    assert result.returncode != 0 and "--ca-pin" in result.stderr
    # The file that the message names is the one that counts, and counts alone.
    own = stranger.home / ".tport" / "trusted" / f"{cluster.proxy.replace(':', '_').removesuffix('_443')}.pem"
    assert result.stderr.endswith(f"put the CA's certificate into {own}\n"), result.stderr
    own.write_text(cluster.ca())
    assert "certificate of" not in stranger.tport("login", f"--proxy={cluster.proxy}", "--user=zed", input="x\n").stderr
    other = stranger.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other", check=True)
    own.with_name("other.pem").write_text(cluster.ca())
    own.write_text(other.stdout)
    assert "was not signed by a CA" in stranger.tport("login", f"--proxy={cluster.proxy}", "--user=zed", input="x\n").stderr
    own.unlink()
    own.with_name("other.pem").unlink()
    pinned = stranger.tport("login", f"--proxy={cluster.proxy}", "--user=zed", "--ca-pin=sha256:" + "0" * 64, input="x\n")
    assert pinned.returncode != 0 and "pin" in pinned.stderr
