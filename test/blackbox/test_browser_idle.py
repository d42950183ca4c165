"""Idle and absolute limits of web sessions, as their person meets them; and the message of the day."""

import time

import pytest

from browser import Browser, need_browser
from terminal import Browser as Web
from tport import Cluster, wait_for

IDLE = 8  # s
SAID = {"en": {"ask": "Are you still there?", "stay": "Stay signed in", "why": "nothing was done", "close": "Close this message", "connected": "Connected"},
        "ko": {"ask": "아직 계신가요?", "stay": "로그인 유지", "why": "아무 동작이 없어", "close": "이 메시지 닫기", "connected": "연결됨"}}


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1",), auth_extra=f"  web_idle_timeout: {IDLE}s\n  message_of_the_day: 'Maintenance on Sunday <b>night</b>'\n")
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(home):
    need_browser()
    made = Browser(home)
    yield made
    made.stop()


def signed_in(browser, person, language, path="/web/sessions"):
    browser.open(path, locale="ko-KR" if language == "ko" else "en-US", dark=language == "ko")
    browser.sign_in(person)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_who_has_left_is_asked_and_signed_out(home, browser, language):
    """The page of running sessions asks the server all the time: that is no use of the session."""
    said = SAID[language]
    person = home.person(f"idle-{language}", logins="root", sign_in=False)
    signed_in(browser, person, language)
    token = browser.evaluate(script="JSON.parse(localStorage.getItem('tport.token')).token")
    assert said["ask"] in browser.see(target=".leaving", timeout=15000)  # for four seconds: looks at it are below
    browser.click(target=f".leaving button:has-text('{said['stay']}')")
    browser.see(target=".leaving", count=0)
    # A key is an answer too.
    browser.see(target=".leaving", timeout=15000)
    browser.press(key="Shift")
    browser.see(target=".leaving", count=0)
    browser.see(target=".leaving", timeout=15000)
    assert said["why"] in browser.see(target=".note.warn", timeout=15000)
    browser.usable()
    browser.picture(f"left-{language}")
    status = browser.evaluate(script=f"fetch('/webapi/sites', {{headers: {{Authorization: 'Bearer {token}'}}}}).then((a) => a.status)")
    assert status == 401
    browser.close()


def test_the_server_ends_what_a_page_does_not(home, browser):
    """A browser that was put to sleep says nothing: the session is over all the same."""
    person = home.person("idle-asleep", logins="root", sign_in=False)
    signed_in(browser, person, "en", "/web/servers")
    token = browser.evaluate(script="JSON.parse(localStorage.getItem('tport.token')).token")
    ask = f"fetch('/webapi/sites', {{headers: {{Authorization: 'Bearer {token}', 'X-Tport-Idle': '1'}}}}).then((a) => a.status)"
    assert browser.evaluate(script=ask) == 200
    browser.evaluate(script="(() => { const end = Date.now() + 20000; window.setInterval = () => 0; for (let i = 0; i < 100000; i++) clearInterval(i); })()")
    browser.run("forgive", what="401")
    time.sleep(IDLE + 2)
    assert browser.evaluate(script=ask) == 401
    browser.run("forgive", what="")
    browser.close()


def test_an_open_shell_is_use(home, browser):
    person = home.person("idle-shell", logins="root", sign_in=False)
    signed_in(browser, person, "en", "/web/servers")
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    time.sleep(3 * IDLE)
    assert browser.count(target=".leaving") == 0
    browser.type(text="echo still-$((4+4))\n")
    browser.see(target=".xterm-rows:has-text('still-8')")
    browser.close()


def test_watching_somebody_is_use(home, browser):
    """As long as he does something; his idle time is the watcher's too."""
    time_stands = "(() => { const now = Date.now(); Date.now = () => now; window.fetch = () => new Promise(() => undefined); })()"
    person = home.person("idle-watcher", logins="root", sign_in=False)
    shell = Web(home.person("idle-owner", logins="root", sign_in=False)).sign_in().shell()
    shell.type(f"for i in $(seq 1 {3 * IDLE}); do echo tick$i; sleep 1; done\n")
    sid = shell.session["id"]
    wait_for(lambda: [e for e in home.audit(type="session.start") if e["sid"] == sid])
    signed_in(browser, person, "ko", "/web/servers")
    browser.visit(f"/web/player/{sid}?live=1")
    for _ in range(2 * IDLE):
        time.sleep(1)
        assert browser.count(target=".leaving") == 0
    shell.send("c")
    shell.ws.close()
    browser.see(target=".leaving", timeout=20000)
    # Found under load: a look at the question took longer than it stands there.
    browser.evaluate(script=time_stands)
    for theme in ("dark", "light"):
        browser.evaluate(script=f"document.documentElement.dataset.theme = '{theme}'")
        browser.usable()
        browser.picture(f"leaving-{theme}")
    browser.close()


def test_the_longest_time_ends_it_in_any_case(home, browser):
    """max_session_ttl of the roles: nobody is asked, and an open shell does not count."""
    home.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: short}\nspec: {allow: {logins: [root], node_labels: {'*': '*'}}, options: {max_session_ttl: 20s}}\n")
    person = home.person("idle-short", roles="short", logins="root", sign_in=False)
    signed_in(browser, person, "en", "/web/servers")
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    begin = time.monotonic()
    while time.monotonic() - begin < 40 and browser.count(target="input[name=username]") == 0:
        browser.press(key="Shift")
        time.sleep(0.5)
    assert "has ended" in browser.see(target=".note.warn")
    wait_for(lambda: [e for e in home.audit(type="session.end") if e["user"] == "idle-short"])
    browser.close()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_message_of_the_day_is_shown_until_it_is_read(home, browser, language):
    said = SAID[language]
    person = home.person(f"motd-{language}", logins="root", sign_in=False)
    browser.open("/web/servers", locale="ko-KR" if language == "ko" else "en-US")
    assert "Maintenance on Sunday <b>night</b>" in browser.see(target=".motd")  # a text, not HTML
    # Found when the issue was gone through: when the message came, the form below it lost the focus and what was typed.
    assert "username" in browser.focused()
    browser.type(text=person.name)
    assert browser.value(target="input[name=username]") == person.name
    browser.usable()
    browser.sign_in(person)
    assert "Sunday" in browser.see(target=".motd")
    browser.usable()
    browser.click(target=f"label={said['close']}")
    browser.see(target=".motd", count=0)
    browser.visit("/web/kubernetes")
    browser.see(target="main h1")
    assert browser.count(target=".motd") == 0
    browser.evaluate(script="localStorage.setItem('tport.motd', 'another one')")
    browser.visit("/web/servers")
    browser.see(target=".motd")
    browser.close()
