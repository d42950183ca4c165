"""The pages in Chromium, driven by Playwright. Every command fails on a script error, a violation of the
Content-Security-Policy or a request to another host (test/browser/drive.mjs)."""

import gzip
import re

import pytest

from browser import Browser, need_browser
from tport import PASSWORD


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def admin(cluster, browser):
    """Signed in, in the window "main"."""
    person = cluster.person("web-admin", logins="root", sign_in=False)
    browser.open("/web/servers")
    browser.sign_in(person)
    return person


def test_invitation_in_a_browser(cluster, browser):
    person = cluster.person("browser", enrol=False)
    browser.open("/" + person.url.split("/", 3)[3], name="invite", width=900, height=1100)
    browser.picture("invite", name="invite", full=True)
    browser.usable(name="invite")
    person.secret = re.sub("[^A-Z2-7]", "", browser.text(name="invite", target="code.secret"))
    assert len(person.secret) == 32 and browser.evaluate(name="invite", script="document.querySelector('img').naturalWidth") > 0
    # First a mistake, which must be explained beside the form and lose nothing.
    browser.fill(name="invite", target="input[name=password]", text=PASSWORD)
    browser.fill(name="invite", target="input[name=repeat]", text=PASSWORD + "x")
    browser.fill(name="invite", target="input[name=code]", text=person.code())
    browser.click(name="invite", target="button[type=submit]")
    assert "same" in browser.see(name="invite", target=".error")
    browser.usable(name="invite")
    # With the keyboard alone.
    browser.click(name="invite", target="input[name=password]")
    for text in (PASSWORD, PASSWORD, browser.totp(secret=person.secret)):
        browser.type(name="invite", text=text)
        browser.press(name="invite", key="Tab")
    browser.press(name="invite", key="Enter")
    assert "tport login" in browser.see(name="invite", target="main:has(.command)")
    browser.goto(name="invite", url=person.url)
    assert "tport login" not in browser.text(name="invite", target="main")
    browser.size(name="invite", width=360, height=740)
    browser.usable(name="invite")
    browser.close(name="invite")


def test_first_page_is_small_and_is_ours_alone(cluster):
    page = cluster.https("GET", "/web", headers={"Accept-Encoding": "gzip"})
    html = gzip.decompress(page.body).decode()
    names = re.findall(r'(?:src|href)="(/web/assets/[^"]+)"', html)
    assert any(name.endswith(".js") for name in names) and any(name.endswith(".css") for name in names)
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=|https?://", html)
    size = len(page.body)
    for name in names:
        reply = cluster.https("GET", name, headers={"Accept-Encoding": "gzip"})
        assert reply.status == 200 and reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        size += len(reply.body)
    assert size < 120 * 1024
    for header, part in {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY",
                         "Strict-Transport-Security": "max-age="}.items():
        assert part in page.headers[header]
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]


def test_sign_in_says_what_is_wrong_and_signs_out_everywhere(cluster, browser):
    person = cluster.person("web-signer", logins="root", sign_in=False)
    browser.open(name="sign", locale="ko-KR", dark=True)
    assert "로그인" in browser.see(name="sign", target="h1")
    browser.picture("signin-ko-dark", name="sign")
    browser.usable(name="sign")
    browser.click(name="sign", target="button:has-text('한국어')")
    browser.click(name="sign", target="button.item:has-text('English')")
    assert "Sign in" in browser.see(name="sign", target="h1")
    browser.fill(name="sign", target="input[name=username]", text=person.name)
    browser.fill(name="sign", target="input[name=password]", text="not the password")
    browser.fill(name="sign", target="input[name=code]", text="123456")
    browser.press(name="sign", key="Enter")
    assert "not right" in browser.see(name="sign", target=".note.bad")
    browser.usable(name="sign")
    # With the keyboard alone.
    browser.fill(name="sign", target="input[name=password]", text="")
    for text in (person.password, person.code()):
        browser.type(name="sign", text=text) if text != person.password else (
            browser.click(name="sign", target="input[name=password]"), browser.type(name="sign", text=text),
            browser.press(name="sign", key="Tab"))
    browser.press(name="sign", key="Enter")
    browser.see(name="sign", target="h1:has-text('Servers')")
    # The cookie is out of reach of scripts, and neither half alone is a session.
    assert browser.evaluate(name="sign", script="document.cookie") == ""
    token = browser.evaluate(name="sign", script="JSON.parse(localStorage.getItem('tport.token')).token")
    assert cluster.https("GET", "/webapi/sites", headers={"Authorization": f"Bearer {token}"}).status == 401
    browser.click(name="sign", target="button.who")
    browser.click(name="sign", target="text=Sign out")
    assert "Sign in" in browser.see(name="sign", target="h1")
    # The same token and cookie open nothing any more.
    status = browser.evaluate(name="sign", script=f"fetch('/webapi/sites', {{headers: {{Authorization: 'Bearer {token}'}}}}).then((a) => a.status)")
    assert status == 401
    browser.close(name="sign")


def test_a_session_that_ended_leads_back_to_the_same_page(cluster, browser):
    person = cluster.person("web-ended", logins="root", sign_in=False)
    browser.open("/web/kubernetes?search=x", name="ended")
    browser.sign_in(person, name="ended")
    cluster.ctl("users", "reset", person.name)
    browser.click(name="ended", target="nav a:has-text('Servers')")
    assert "ended" in browser.see(name="ended", target=".note.warn")
    browser.close(name="ended")


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_servers(cluster, browser, admin, look):
    language, theme, device = look.split("-")
    browser.visit("/web/servers")
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}'); location.reload()")
    if device == "phone":
        browser.size(width=360, height=740)
    browser.see(target="td:has-text('node1')")
    browser.see(target="td:has-text('node2')")
    browser.usable()
    browser.picture(f"servers-{look}")
    browser.fill(target="input[type=search]", text="node2")
    browser.see(target="td:has-text('node1')", count=0)
    assert "search=node2" in browser.url()
    browser.fill(target="input[type=search]", text="no-such-server")
    browser.see(target=".empty")
    browser.usable()
    browser.click(target=".empty button")
    browser.see(target="td:has-text('node1')")
    browser.click(target="tr:has-text('node1') button[aria-expanded]")
    assert "root" in browser.see(target=".pop")
    browser.usable()
    browser.picture(f"servers-connect-{look}")
    browser.press(key="Escape")
    browser.see(target=".pop", count=0)
    browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme'); location.reload()")
    browser.size(width=1280, height=800)


XSS = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}javascript:alert(3)"


def test_team_users(cluster, browser, admin):
    browser.visit("/web/users")
    browser.see(target="td:has-text('web-admin')")
    browser.usable()
    browser.picture("users")
    browser.click(target="button:has-text('Invite user')")
    browser.fill(target="label=User name", text="web-new")
    browser.click(target="label.mono:has-text('access') input")
    browser.fill(target="label=logins", text="root nobody")
    browser.usable()
    browser.picture("users-invite")
    browser.click(target="button:has-text('Make the invitation')")
    url = browser.see(target=".command code")
    assert re.fullmatch(r"https://\S+/web/invite/[0-9a-f]{32}", url.strip())
    assert cluster.https("GET", "/" + url.strip().split("/", 3)[3]).status == 200
    browser.press(key="Escape")
    browser.see(target="td:has-text('web-new')")
    # The name is taken: the sentence stands in the dialog, nothing typed is lost.
    browser.click(target="button:has-text('Invite user')")
    browser.fill(target="label=User name", text="web-new")
    browser.click(target="label.mono:has-text('access') input")
    browser.click(target="button:has-text('Make the invitation')")
    assert "exists" in browser.see(target="dialog .note.bad")
    assert browser.value(target="label=User name") == "web-new"
    browser.press(key="Escape")
    browser.click(target="tr:has-text('web-new') button:has-text('More')")
    browser.click(target=".pop button:has-text('Delete')")
    browser.click(target="dialog button.main")
    browser.see(target="td:has-text('web-new')", count=0)


def test_team_roles(cluster, browser, admin):
    hostile = ("kind: role\nversion: v5\nmetadata:\n  name: hostile\n  description: " + repr(XSS.replace("'", "")) + "\nspec: {}\n")
    cluster.ctl("create", "-f", input=hostile)
    browser.visit("/web/roles?search=hostile")
    browser.see(target="td:has-text('<script>')")
    browser.usable()
    browser.click(target="tr:has-text('hostile') button:has-text('Edit')")
    browser.see(target=".cm-content")
    # Somebody else is faster: the second is told, and his text stays.
    cluster.ctl("create", "-f", input=hostile.replace("spec: {}", "spec: {options: {max_session_ttl: 1h}}"))
    browser.click(target=".cm-content")
    browser.press(key="Control+End")
    browser.type(text="# mine")
    browser.click(target="dialog button.main")
    assert "Somebody else" in browser.see(target="dialog .note.bad")
    browser.usable()
    browser.press(key="Escape")
    browser.visit("/web/roles")
    browser.click(target="button:has-text('New role')")
    browser.see(target=".cm-content")
    browser.picture("role-editor")
    browser.usable()
    browser.click(target=".cm-content")
    browser.press(key="Control+End")
    browser.type(text="  no_such_option: 1")
    browser.see(target=".cm-lint-marker-error")
    browser.click(target="dialog button.main")
    assert "line " in browser.see(target="dialog .note.bad").lower()
    browser.press(key="Escape")
    cluster.ctl("rm", "role/hostile")


def test_team_locks_and_tokens(cluster, browser, admin):
    browser.visit("/web/locks")
    browser.see(target=".empty")
    browser.usable()
    browser.click(target=".head button:has-text('New lock')")
    browser.fill(target="label=Name", text="somebody")
    browser.fill(target="label=Message", text=XSS)
    browser.usable()
    browser.click(target="dialog button.main")
    browser.see(target="td:has-text('user=somebody')")
    browser.usable()
    browser.click(target="button:has-text('Unlock')")
    browser.click(target="dialog button.main")
    browser.see(target=".empty")
    token = cluster.token()
    browser.visit("/web/tokens")
    browser.see(target="td:has-text('node')")
    assert token not in browser.text()
    browser.usable()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_audit_log(cluster, browser, admin, language):
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}')")
    browser.visit("/web/audit")
    browser.see(target="td:has-text('web-admin')")
    browser.usable()
    browser.picture(f"audit-{language}")
    said = "signed in" if language == "en" else "로그인했습니다"
    browser.visit("/web/audit?type=user.login")
    browser.see(target=f"td:has-text('web-admin'):has-text('{said}')")
    browser.click(target="tr:has-text('web-admin') >> nth=0 >> td.end button")
    assert '"event": "user.login"' in browser.see(target="pre.json")
    browser.usable()
    browser.press(key="Escape")
    saved = browser.download(target=".head button")
    assert saved["name"] == "audit.ndjson" and '"user.login"' in saved["text"].splitlines()[0]
    browser.evaluate(script="localStorage.removeItem('tport.language')")


def test_menu_follows_the_rights_and_so_does_the_server(cluster, browser):
    person = cluster.person("web-poor", roles="access", logins="root", sign_in=False)
    browser.open("/web/users", name="poor")
    browser.sign_in(person, name="poor")
    assert "Not for your roles" in browser.see(name="poor", target=".empty h2")
    assert "Users" not in browser.text(name="poor", target="nav") and "Servers" in browser.text(name="poor", target="nav")
    status = browser.evaluate(name="poor", script="fetch('/webapi/users', {headers: {Authorization: 'Bearer ' + JSON.parse(localStorage.getItem('tport.token')).token}}).then((a) => a.status)")
    assert status == 403
    browser.close(name="poor")
