"""A second factor for each session (require_session_mfa): the real clients ask for it, and nobody comes in without it."""

import base64
import http.client
import json
import socket
import ssl
import subprocess
import time

import pexpect
import pytest

import terminal
from browser import Browser, need_browser
from tport import BIN, Cluster, in_host, wait_for

PROMPT = "Enter an OTP code from a device:"
WRONG = "invalid or used one-time code"


def role(name, login, environment, options="{}"):
    return (f"kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec:\n  options: {options}\n"
            f"  allow: {{logins: [{login}], node_labels: {{env: {environment}}}}}\n")


@pytest.fixture(scope="module")
def home():
    """node1 is of prod and asks for a code, node2 is of dev and does not; node3 is of prod, too."""
    made = Cluster()
    for name, labels in (("node1", "env=prod"), ("node2", "env=dev"), ("node3", "env=prod")):
        made.add_node(name, labels=labels)
    made.ctl("create", "-f", input=role("prod", "root", "prod", "{require_session_mfa: true}") + "---\n" + role("dev", "root", "dev"))
    yield made
    made.close()


@pytest.fixture
def mia(home):
    """Somebody new each time: signed in, with one more code that can be had at once."""
    return home.person(f"mia{len(home.people)}", roles="prod,dev", logins="")


def give_code(child, person, expected=PROMPT):
    child.expect_exact(expected)
    child.sendline(person.code())


def finish(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


def without_terminal(person, *words, **kw):
    return person.run("setsid", "--wait", *words, **kw)


def device_of(home, name):
    return next(e["uuid"] for e in home.audit() if e["event"] == "mfa.add" and e["user"] == name)


# ---- the clients ----

def test_ssh_asks_for_a_code_where_one_is_needed(home, mia):
    child = mia.spawn(BIN / "tport", "ssh", "root@node1", "echo", "in-$((20+3))")
    give_code(child, mia)
    status, output = finish(child)
    assert status == 0 and "in-23" in output, output
    plain = without_terminal(mia, BIN / "tport", "ssh", "root@node2", "echo", "free")
    assert plain.returncode == 0 and plain.stdout == "free\n", plain.stderr
    device = device_of(home, mia.name)
    events = home.audit()
    connects = [e for e in events if e["event"] == "session.connect" and e["user"] == mia.name]
    assert {e["server_hostname"]: e.get("with_mfa") for e in connects} == {"node1": device, "node2": None}
    assert any(e["event"] == "session.start" and e.get("with_mfa") == device for e in events)
    given = next(e for e in events if e["event"] == "mfa_auth_challenge.validate")
    assert given["code"] == "T1016I" and given["mfa_device"]["uuid"] == device and given["server_hostname"] == "node1"


def test_a_shell_is_not_disturbed_by_the_question(mia):
    child = mia.spawn(BIN / "tport", "ssh", "root@node1")
    give_code(child, mia)
    child.expect(r"[#$] ")
    child.sendline("echo $((6*7)); exit 5")
    child.expect("42")
    assert finish(child)[0] == 5


def test_without_a_terminal_it_says_why(mia):
    result = without_terminal(mia, BIN / "tport", "ssh", "root@node1", "true")
    assert result.returncode != 0
    assert "node1 needs a one-time code before each session, and there is no terminal to ask for it" in result.stderr


def test_a_wrong_code_is_asked_again(mia):
    child = mia.spawn(BIN / "tport", "ssh", "root@node1", "echo", "right")
    child.expect_exact(PROMPT)
    child.sendline("000000")
    child.expect_exact(WRONG)
    give_code(child, mia)
    status, output = finish(child)
    assert status == 0 and "right" in output


def test_the_third_wrong_code_ends_it(mia):
    child = mia.spawn(BIN / "tport", "ssh", "root@node1", "echo", "never")
    for _ in range(3):
        child.expect_exact(PROMPT)
        child.sendline("12345")
    status, output = finish(child)
    assert status != 0 and WRONG in output and "never" not in output


def test_a_person_who_gives_up_gets_his_terminal_back(mia):
    child = mia.spawn("/bin/sh", "-c", f"{BIN}/tport ssh root@node1 true; echo ended $?; stty -a")
    child.expect_exact(PROMPT)
    child.sendcontrol("c")
    child.expect("ended [1-9]")
    child.expect(r" echo ")
    finish(child)


def test_who_waits_for_a_code_ends_with_its_ssh(mia):
    child = mia.spawn("/bin/sh", "-c", f"timeout --foreground 3 {BIN}/tport ssh root@node1 true; echo ended; sleep 1; stty -a")
    child.expect_exact(PROMPT)
    child.expect("ended")
    child.expect(r" echo ")
    finish(child)


def config_of(person):
    config = person.home / "ssh.config"
    config.write_text(person.tport("config", check=True).stdout)
    return config


def test_plain_ssh_through_the_printed_configuration(mia):
    child = mia.spawn("ssh", "-F", config_of(mia), "root@node1.test", "echo", "plain-$((2+3))")
    give_code(child, mia)
    status, output = finish(child)
    assert status == 0 and "plain-5" in output, output


@pytest.mark.parametrize("plain", [False, True])
def test_scp_both_ways(mia, plain):
    (mia.home / "there").write_text("carried over\n")
    target = mia.cluster.folder / f"arrived-{mia.name}"
    words = ["scp", "-F", config_of(mia)] if plain else [BIN / "tport", "scp"]
    host = "root@node1.test" if plain else "root@node1"
    if plain:
        target.write_text("carried over\n")
        child = mia.spawn(*words, f"{host}:{target}", mia.home / "back")
    else:
        child = mia.spawn(*words, mia.home / "there", f"{host}:{target}")
    give_code(child, mia)
    assert finish(child)[0] == 0
    assert (mia.home / "back" if plain else target).read_text() == "carried over\n"


def test_mfa_mode_knows_codes_only(mia):
    assert mia.tport("--mfa-mode=otp", "status").returncode == 0
    refused = mia.tport("ls", "--mfa-mode=platform")
    assert refused.returncode == 1 and "second factors are one-time codes here" in refused.stderr


def test_explain_says_that_a_code_is_asked_for(home, mia):
    words = ("access", "explain", mia.name, "access")
    assert "with a one-time code before each session" in home.ctl(*words, "node/node1", "--login=root").stdout
    asked = {node: json.loads(home.ctl(*words, f"node/{node}", "--login=root", "--format=json").stdout) for node in ("node1", "node2")}
    assert {node: (one["decision"], one["mfa"]) for node, one in asked.items()} == {"node1": ("allow", "code"), "node2": ("allow", "none")}
    home.ctl("create", "-f", input=role("keys", "root", "prod", "{require_session_mfa: hardware_key_touch}"))
    home.ctl("users", "update", mia.name, "--set-roles=prod,dev,keys")
    assert "with a hardware key" in home.ctl(*words, "node/node1", "--login=root").stdout


def test_roles_that_change_after_the_login(home):
    """The profile was written when no role asked; the proxy's refusal makes up for it, and ssh loses no byte of its greeting."""
    home.ctl("create", "-f", input=role("later", "root", "prod"))
    late = home.person("late", roles="later", logins="")
    assert without_terminal(late, BIN / "tport", "ssh", "root@node1", "true").returncode == 0
    home.ctl("create", "-f", input=role("later", "root", "prod", "{require_session_mfa: true}"))
    child = late.spawn(BIN / "tport", "ssh", "root@node1", "echo", "asked")
    give_code(child, late)
    status, output = finish(child)
    assert status == 0 and "asked" in output


def test_one_login_needs_a_code_and_another_does_not(home):
    home.ctl("create", "-f", input=role("free", "nobody", "prod"))
    both = home.person("both", roles="prod,free", logins="")
    result = without_terminal(both, BIN / "tport", "ssh", "nobody@node1", "true")
    assert "needs a one-time code" not in result.stderr
    child = both.spawn(BIN / "tport", "ssh", "root@node1", "id", "-un")
    give_code(child, both)
    status, output = finish(child)
    assert status == 0 and "root" in output


def test_the_cluster_asks_for_all(fresh):
    home = fresh(nodes=("node1",), auth_extra="  authentication:\n    require_session_mfa: yes\n")
    anna = home.person("anna")
    assert without_terminal(anna, BIN / "tport", "ssh", "root@node1", "true").returncode != 0
    child = anna.spawn(BIN / "tport", "ssh", "root@node1", "true")
    give_code(child, anna)
    assert finish(child)[0] == 0


# ---- the browser ----

@pytest.fixture
def page(home):
    """A web session of somebody new, with one more code that can be had at once."""
    return terminal.Browser(home.person(f"web{len(home.people)}", roles="prod,dev", logins="", sign_in=False)).sign_in()


def refused(page, node="node1", **params):
    """What a terminal that is not opened says."""
    line = page.terminal({"server_id": node, "login": "root", "term": {"w": 80, "h": 24}, **params})
    while True:
        kind, payload = line.step()
        if kind == "e":
            return payload


def give(page, code, node="node1"):
    return page.ask("POST", "/webapi/mfa/session", {"server_id": node, "totp_code": code})


def test_a_web_terminal_needs_a_code(home, page):
    told = refused(page)
    assert told["reason"] == "mfa_needed" and not told["resume"] and "the web terminal ask for a one-time code" in told["message"]
    wrong = give(page, "000000")
    assert wrong.status == 400 and wrong.json()["error"]["message"] == WRONG
    assert give(page, page.person.code()).status == 200
    shell = page.shell("node1")
    shell.type("echo got-$((20+2))\n")
    shell.until("got-22")
    assert refused(page, "node3")["reason"] == "mfa_needed"  # the code was for node1
    # A lost network: back without a code.
    sid, offset = shell.session["id"], shell.offset
    shell.lose()
    back = page.shell("node1", sid=sid, offset=offset)
    back.type("echo back-$((20+3))\n")
    back.until("back-23")
    device = device_of(home, page.person.name)
    lock = home.ctl("lock", f"--mfa-device={device}").stdout.split('"')[1]
    assert "a lock is in force on the device" in json.dumps(back.last())
    home.ctl("rm", f"lock/{lock}")


def test_R4_a_code_in_one_web_session_opens_nothing_elsewhere(home, page):
    thief = home.person(f"thief{len(home.people)}", roles="prod", logins="", sign_in=False)
    theirs = terminal.Browser(thief).sign_in()
    other = terminal.Browser(page.person).sign_in()  # the same person in another browser
    code = page.person.code()
    assert give(theirs, code).status == 400
    assert give(page, code).status == 200
    for session in (theirs, other):
        assert refused(session)["reason"] == "mfa_needed"
    without = home.https("POST", "/webapi/mfa/session", body=json.dumps({"server_id": "node1", "totp_code": "000000"}),
                         headers={"Content-Type": "application/json"})
    assert without.status == 401
    evil = page.ask("POST", "/webapi/mfa/session", {"server_id": "node1", "totp_code": "1"}, headers={"Origin": "https://evil.example"})
    assert evil.status == 403


def test_the_page_asks_for_a_code(home):
    need_browser()
    person = home.person(f"page{len(home.people)}", roles="prod,dev", logins="", sign_in=False)
    browser = Browser(home)
    try:
        browser.open("/web/servers", name="term")
        browser.sign_in(person, name="term")
        browser.visit("/web/terminal/node1?login=root", name="term")
        browser.see(name="term", target=".term-line:has-text('A one-time code is needed first')")
        browser.usable(name="term")
        browser.picture("terminal-code", name="term")
        browser.fill(name="term", target=".term-code input", text="000000")
        browser.press(name="term", key="Enter")
        browser.see(name="term", target=".term-code .note.bad:has-text('one-time code')")
        browser.usable(name="term")
        browser.fill(name="term", target=".term-code input", text=person.code())
        browser.press(name="term", key="Enter")
        browser.see(name="term", target=".term-line:has-text('Connected')")
        browser.type(name="term", text="echo typed-$((40+2))\n")
        browser.see(name="term", target=".xterm-rows:has-text('typed-42')")
        # Files of the same server need no further code for a minute.
        browser.click(name="term", target="label=Copy files")
        browser.click(name="term", target="dialog [role=tab]:has-text('Download')")
        browser.fill(name="term", target="dialog input.mono", text="/etc/hostname")
        browser.download(name="term", target="dialog button.main")
        browser.close(name="term")
    finally:
        browser.stop()


def test_the_page_asks_for_a_code_for_files_too(home):
    """When the code of the shell counts no longer."""
    need_browser()
    home.ctl("create", "-f", input=role("blink", "root", "prod", "{require_session_mfa: true, mfa_verification_interval: 5s}"))
    person = home.person(f"files{len(home.people)}", roles="blink", logins="", sign_in=False)
    browser = Browser(home)
    try:
        browser.open("/web/servers", name="term", locale="ko-KR", dark=True)
        browser.sign_in(person, name="term")
        browser.visit("/web/terminal/node1?login=root", name="term")
        browser.fill(name="term", target=".term-code input", text=person.code())
        browser.press(name="term", key="Enter")
        browser.see(name="term", target=".term-line:has-text('연결됨')")
        time.sleep(6)
        browser.click(name="term", target="label=파일 복사")
        browser.click(name="term", target="dialog [role=tab]:has-text('내려받기')")
        browser.fill(name="term", target="dialog input.mono", text="/etc/hostname")
        browser.click(name="term", target="dialog button.main:has-text('내려받기')")
        browser.see(name="term", target="dialog input.code")
        browser.usable(name="term")
        browser.picture("files-code-ko-dark", name="term")
        browser.fill(name="term", target="dialog input.code", text=person.code())
        browser.download(name="term", target="dialog button.main:has-text('세션 열기')")
        browser.see(name="term", target="dialog .note:has-text('내려받았습니다')")
        browser.close(name="term")
    finally:
        browser.stop()


# ---- who watches ----

SITE = "/v1/webapi/sites/test"


@pytest.fixture
def running(home, mia):
    """A shell of somebody on node1, and the id of its session."""
    shell = mia.spawn(BIN / "tport", "ssh", "root@node1")
    give_code(shell, mia)
    shell.expect(r"[#$] ")
    [sid] = wait_for(lambda: [e["sid"] for e in home.audit(type="session.start") if e["user"] == mia.name])
    yield shell, sid
    shell.close(force=True)


def watcher(home, roles):
    return terminal.Browser(home.person(f"watch{len(home.people)}", roles=roles, logins="", sign_in=False)).sign_in()


def watch(page, sid, offset=0, how="watch"):
    return page.ask("GET", f"{SITE}/sessions/{sid}/{how}?offset={offset}")


def needs_code(reply):
    return reply.status == 403 and reply.json()["error"]["code"] == "mfa_needed"


def give_for(page, sid, code):
    return page.ask("POST", "/webapi/mfa/session", {"sid": sid, "totp_code": code})


def test_R4_watching_takes_a_code_where_opening_does(home, running):
    """Without a code, with a wrong one, with one for its server or for another session: nothing is seen, whichever way it is read."""
    shell, sid = running
    page = watcher(home, "auditor,prod")
    other = home.person(f"other{len(home.people)}", roles="dev", logins="")
    second = other.spawn(BIN / "tport", "ssh", "root@node2")
    second.expect(r"[#$] ")
    [second_sid] = wait_for(lambda: [e["sid"] for e in home.audit(type="session.start") if e["user"] == other.name])

    def refused_both():
        assert needs_code(watch(page, sid)) and needs_code(watch(page, sid, how="stream"))

    refused_both()
    assert give_for(page, sid, "000000").json()["error"]["message"] == WRONG
    assert give(page, page.person.code()).status == 200
    refused_both()
    assert give_for(page, second_sid, page.person.code()).status == 200
    refused_both()
    assert give_for(page, "00000000-0000-0000-0000-000000000000", "000000").status == 404
    assert give_for(page, sid, page.person.code()).status == 200
    shell.sendline("echo seen-$((40+2))")
    wait_for(lambda: b"seen-42" in watch(page, sid).body)
    elsewhere = terminal.Browser(page.person).sign_in()
    assert needs_code(watch(elsewhere, sid))
    # Who asks again after a while comes in anew: each time by the code's device.
    joined = [e.get("with_mfa") for e in home.audit(type="session.join") if e["sid"] == sid]
    assert set(joined) == {device_of(home, page.person.name)}
    given = [e for e in home.audit(type="mfa_auth_challenge.validate") if e["user"] == page.person.name and e.get("sid") == sid]
    assert [e["success"] for e in given if e["server_hostname"] == "node1"].count(True) == 1
    second.close(force=True)
    # When it is over it is a recording, which is read by the roles alone.
    shell.sendline("exit")
    finish(shell)
    wait_for(lambda: watch(elsewhere, sid, how="stream").status == 200)


def test_who_watches_needs_no_second_code(home, running):
    """The code is for three seconds here; an answer that waits for more is not cut short by that, nor is the one after it."""
    shell, sid = running
    home.ctl("create", "-f", input=role("blinking", "root", "prod", "{require_session_mfa: true, mfa_verification_interval: 3s}"))
    page, late = watcher(home, "auditor,blinking"), watcher(home, "auditor,blinking")
    assert give_for(page, sid, page.person.code()).status == 200
    text = watch(page, sid).body
    assert give_for(late, sid, late.person.code()).status == 200
    time.sleep(5)
    assert needs_code(watch(late, sid))
    assert needs_code(watch(late, sid, how="stream"))
    assert watch(page, sid, how="stream").status == 200  # to who watches it is the same
    shell.sendline("echo still-$((40+3))")
    for _ in range(20):
        reply = watch(page, sid, len(text))
        assert reply.status == 200
        text += reply.body
        if b"still-43" in text:
            break
    assert b"still-43" in text
    # A lock on the device ends it.
    home.ctl("lock", f"--mfa-device={device_of(home, page.person.name)}", "--ttl=10m")
    assert watch(page, sid, len(text)).status == 403
    assert watch(page, sid, how="stream").status == 403


def test_nobody_else_is_asked_to_watch(home, running):
    _, sid = running
    assert watch(watcher(home, "auditor"), sid).status == 200


def test_play_of_a_running_session_says_that_a_code_is_needed(home, running):
    _, sid = running
    reader = home.person(f"reader{len(home.people)}", roles="auditor,prod", logins="")
    result = reader.tport("play", "--format=text", sid)
    assert result.returncode == 1
    assert result.stderr == "ERROR: to watch this session a one-time code is needed first; the page of the session in the browser asks for it\n"


def test_the_page_of_a_session_asks_for_a_code(home, running):
    need_browser()
    shell, sid = running
    browser = Browser(home)
    try:
        for language, dark, width in (("en-US", False, 1280), ("ko-KR", True, 360)):
            person = home.person(f"viewer{len(home.people)}", roles="auditor,prod", logins="", sign_in=False)
            browser.open("/web/sessions", name="live", locale=language, dark=dark)
            browser.size(name="live", width=width, height=760)
            browser.sign_in(person, name="live")
            browser.visit(f"/web/player/{sid}?live=1", name="live")
            browser.see(name="live", target=".term-code input")
            browser.usable(name="live")
            browser.picture(f"watch-code-{language}", name="live")
            browser.fill(name="live", target=".term-code input", text="000000")
            browser.press(name="live", key="Enter")
            browser.see(name="live", target=".term-code .note.bad")
            browser.usable(name="live")
            browser.picture(f"watch-code-wrong-{language}", name="live")
            browser.fill(name="live", target=".term-code input", text=person.code())
            browser.press(name="live", key="Enter")
            browser.see(name="live", target=".dot.on")
            shell.sendline(f"echo page-{width}-$((40+4))")
            browser.see(name="live", target=f".ap-term-text:has-text('page-{width}-44')")
            browser.see(name="live", target=".term-code", count=0)
            browser.usable(name="live")
            browser.picture(f"watch-{language}", name="live")
            browser.close(name="live")
    finally:
        browser.stop()


# ---- opponents ----

class Thief:
    """Speaks to the proxy with whatever certificate he has."""

    def __init__(self, person, host=None):
        self.person, self.cluster, self.host = person, person.cluster, host or person.host
        keys = person.home / ".tport" / "keys" / self.cluster.proxy.split(":")[0] / person.name
        self.base = (f"{keys}.crt", f"{keys}.key")
        self.key = person.home / "thief.key"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key], check=True)
        self.public = subprocess.run(["openssl", "ec", "-in", self.key, "-pubout"], capture_output=True, text=True, check=True).stdout
        self.short = None

    def tls(self, pair, alpn, name=None):
        address, port = self.cluster.proxy.split(":")
        with in_host(self.cluster.net, self.host):
            raw = socket.create_connection((address, int(port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        context.load_cert_chain(*map(str, pair))
        return context.wrap_socket(raw, server_hostname=name)

    def call(self, method, params, pair=None):
        connection = http.client.HTTPConnection("proxy")
        connection.sock = self.tls(pair or self.base, "tport-api")
        connection.request("POST", f"/v1/webapi/rpc/{method}", body=json.dumps(params),
                           headers={"Host": self.cluster.proxy, "Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    def redeem(self, code, target="node1"):
        status, body = self.call("mfa.session", {"target": target, "otp_token": code, "tls_pub_key": self.public})
        if status == 200:
            path = self.person.home / "thief.crt"
            path.write_text(body["tls_cert"])
            self.short = (path, self.key)
        return status, body

    def greeting(self, node, pair):
        """The first line that the way to a node gives."""
        with self.tls(pair, "tport-ssh", f"{node.encode().hex()}.node.{self.cluster.name}") as tls:
            tls.settimeout(20)
            text = b""
            while b"\n" not in text:
                more = tls.recv(4096)
                if not more:
                    break
                text += more
        return text.split(b"\n")[0].decode()


@pytest.fixture
def thief(home, mia):
    made = Thief(mia)
    status, body = made.redeem(mia.code())
    assert status == 200, body
    return made


def test_R4_a_code_opens_its_node_and_nothing_else(thief):
    assert thief.greeting("node1", thief.base).startswith("tport: mfa_needed: access to node denied")
    assert thief.greeting("node1", thief.short).startswith("SSH-2.0-")
    for node in ("node2", "node3"):
        assert "it opens one target, no more" in thief.greeting(node, thief.short)
    for method in ("user.status", "nodes.list", "resources.get", "mfa.required", "cluster.info", "recordings.list"):
        status, body = thief.call(method, {"kind": "role", "target": "node1"}, pair=thief.short)
        assert status == 403 and "it opens one target, no more" in body["error"]["message"], (method, body)


def test_R4_it_can_not_be_renewed(thief):
    params = {"target": "node1", "otp_token": "123456", "tls_pub_key": thief.public}
    status, body = thief.call("mfa.session", params, pair=thief.short)
    assert status == 403, body


def test_R14_a_code_is_worth_one_certificate(home, mia):
    thief = Thief(mia)
    code = mia.code()
    other = home.person(f"paul{len(home.people)}", roles="prod", logins="")
    status, body = thief.redeem(other.code())
    assert status == 400 and body["error"]["message"] == WRONG
    assert thief.redeem(code)[0] == 200
    for target in ("node1", "node3"):
        status, body = thief.redeem(code, target)
        assert status == 400 and body["error"]["message"] == WRONG


def test_it_ends_soon(home):
    """After a minute, or when the roles want codes more often."""
    home.ctl("create", "-f", input=role("often", "root", "prod", "{require_session_mfa: true, mfa_verification_interval: 2s}"))
    often = Thief(home.person("otto", roles="often", logins=""))
    assert often.redeem(often.person.code())[0] == 200
    assert often.greeting("node1", often.short).startswith("SSH-2.0-")
    time.sleep(3.1)
    with pytest.raises(ssl.SSLError, match="EXPIRED"):
        often.greeting("node1", often.short)


def test_R4_pin_source_ip_binds_it(home):
    home.ctl("create", "-f", input=role("pinned", "root", "prod", "{require_session_mfa: true, pin_source_ip: true}"))
    pia = home.person("pia", roles="pinned", logins="")
    near = Thief(pia)
    assert near.redeem(pia.code())[0] == 200
    assert near.greeting("node1", near.short).startswith("SSH-2.0-")
    if not home.net.real:
        pytest.skip("needs hosts with addresses of their own")
    near.host = "elsewhere"
    assert "from the address of its login only" in near.greeting("node1", near.short)


def test_a_locked_device_ends_its_sessions_and_opens_no_more(home):
    dora = home.person("dora", roles="prod,dev", logins="")
    device = device_of(home, "dora")
    shell = dora.spawn(BIN / "tport", "ssh", "root@node1")
    give_code(shell, dora)
    shell.expect(r"[#$] ")
    free = dora.spawn(BIN / "tport", "ssh", "root@node2")
    free.expect(r"[#$] ")
    name = home.ctl("lock", f"--mfa-device={device}", "--message=phone lost").stdout.split('"')[1]
    begun = time.monotonic()
    shell.expect_exact("a lock is in force on the device of this second factor", timeout=10)
    finish(shell)
    assert time.monotonic() - begun < 3
    # What needed no code was opened by a login with this device: it ends, too, and the login's certificate opens nothing more.
    free.expect_exact("a lock is in force on the device that you signed in with", timeout=10)
    finish(free)
    refused = without_terminal(dora, BIN / "tport", "ssh", "root@node2", "true")
    assert refused.returncode == 255 and "a lock is in force on the device that you signed in with" in refused.stderr
    dora.tport("logout", check=True)
    status, output = dora.login()
    assert status != 0 and "invalid user name, password or one-time code" in output
    home.ctl("rm", f"lock/{name}")
