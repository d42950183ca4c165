"""The account page in Chromium: password, devices, sessions; and the routes behind it tried from where they must not be."""

import base64
import re
import time

import pytest

from browser import Browser, need_browser
from terminal import Browser as Web
from tport import totp, wait_for

NEW_PASSWORD = "eight loud gates by the sea"


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


def b64(text):
    return base64.b64encode(text.encode()).decode()


CHANGES = {
    ("PUT", "/webapi/users/password"): {"old_password": b64("x"), "new_password": b64(NEW_PASSWORD), "second_factor_token": "000000"},
    ("POST", "/webapi/mfa/devices/new"): None,
    ("POST", "/webapi/mfa/devices"): {"deviceName": "x", "new_code": "000000", "second_factor_token": "000000"},
    ("PUT", "/webapi/mfa/devices/ID"): {"deviceName": "x", "second_factor_token": "000000"},
    ("DELETE", "/webapi/mfa/devices/ID"): {"second_factor_token": "000000"},
    ("DELETE", "/webapi/sessions/web/ID"): None,
    ("DELETE", "/webapi/sessions/web/others"): None,
}


def test_routes_of_the_account_from_where_they_must_not_be(cluster):
    alice = Web(cluster.person("acc-alice", sign_in=False)).sign_in()
    bob = Web(cluster.person("acc-bob", sign_in=False)).sign_in()
    [device] = alice.ask("GET", "/webapi/mfa/devices").json()["items"]
    [session] = alice.ask("GET", "/webapi/sessions/web").json()["items"]
    assert session["current"] and set(device) == {"id", "name", "type", "added", "used"}
    for (method, path), body in CHANGES.items():
        own = path.replace("ID", device["id"] if "devices" in path else session["id"])
        # A page of another site (with the cookie that the browser sends along), and half a session.
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}):
            assert alice.ask(method, own, body, headers=headers).status == 403, (path, headers)
        assert alice.ask(method, own, body, headers={"Authorization": ""}).status == 401, path
        assert alice.ask(method, own, body, headers={"Authorization": f"Bearer {bob.token}"}).status == 401, path
        assert alice.ask(method, own, body, headers={"Cookie": bob.cookie}).status == 401, path
        # A body that a form of another site could send.
        assert not body or alice.ask(method, own, body, headers={"Content-Type": "text/plain"}).status == 400, path
        # Somebody else, with all that is his: what he names is not his.
        if "ID" in path:
            assert bob.ask(method, own, body).status == 404, path
    assert alice.ask("GET", "/webapi/mfa/devices").json()["items"] == [device]
    assert bob.ask("DELETE", "/webapi/sessions/web/others").status == 200 and alice.ask("GET", "/webapi/sites").status == 200
    assert not [e for e in cluster.audit(type="mfa.delete") if e["user"] in ("acc-alice", "acc-bob")]
    assert alice.ask("DELETE", f"/webapi/sessions/web/{session['id']}").status == 200
    assert alice.ask("GET", "/webapi/sessions/web").status == 401
    assert [e for e in cluster.audit(type="user.logout") if e["user"] == "acc-alice"]
    # By certificate there is no such call.
    for name in ("account.password", "account.devices", "account.device_add", "account.session_end"):
        assert cluster.https("POST", f"/webapi/rpc/{name}", body="{}", headers={"Content-Type": "application/json"}).status in (401, 403, 404)


def test_signing_out_elsewhere_ends_terminals(cluster):
    person = cluster.person("acc-shells", sign_in=False)
    here, there = Web(person).sign_in(), Web(person).sign_in()
    shell = there.shell()
    shell.type("echo in-$((1+1))\n")
    shell.until("in-2")
    [other] = [s for s in here.ask("GET", "/webapi/sessions/web").json()["items"] if not s["current"]]
    started = time.monotonic()
    assert here.ask("DELETE", f"/webapi/sessions/web/{other['id']}").status == 200
    assert "signed out" in str(shell.last())
    assert time.monotonic() - started < 2
    assert there.ask("GET", "/webapi/sites").status == 401
    assert here.ask("GET", "/webapi/sites").status == 200


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_account_page(cluster, browser, look):
    language, theme, device = look.split("-")
    person = cluster.person(f"acc-{language}", sign_in=False)
    phone = {"width": 360, "height": 740} if device == "phone" else {}
    browser.open("/web/servers", name="acc", locale="ko-KR" if language == "ko" else "en-US", dark=theme == "dark", **phone)
    browser.sign_in(person, name="acc")
    browser.visit("/web/account", name="acc")
    browser.see(name="acc", target="section:has(#account-devices) td:has-text('otp')")
    browser.see(name="acc", target="section:has(#account-sessions) .chip.good")
    browser.usable(name="acc")
    browser.picture(f"account-{look}", name="acc", full=True)
    # The only device can be renamed, not removed.
    row = "section:has(#account-devices) tbody tr"
    assert browser.count(name="acc", target=f"{row} button") == 1
    # A second one: wrong code first, which is said and loses nothing.
    browser.click(name="acc", target="section:has(#account-devices) > .row button")
    secret = re.sub("[^A-Z2-7]", "", browser.see(name="acc", target="dialog .command code"))
    assert len(secret) == 32 and browser.evaluate(name="acc", script="document.querySelector('dialog img').naturalWidth") > 100
    codes = "dialog input.code"
    browser.fill(name="acc", target=f"{codes} >> nth=0", text="000000")
    browser.fill(name="acc", target="dialog input.input:not(.code)", text="tablet <b>")
    browser.fill(name="acc", target=f"{codes} >> nth=1", text="000000")
    browser.usable(name="acc")
    browser.picture(f"account-add-{look}", name="acc", full=False)
    browser.click(name="acc", target="dialog button.main")
    browser.see(name="acc", target="dialog .note.bad")
    assert browser.value(name="acc", target="dialog input.input:not(.code)") == "tablet <b>"
    step = int(time.time()) // 30
    browser.fill(name="acc", target=f"{codes} >> nth=0", text=totp(secret, step * 30))
    browser.fill(name="acc", target=f"{codes} >> nth=1", text=person.code())
    browser.click(name="acc", target="dialog button.main")
    browser.see(name="acc", target=f"{row}:has-text('tablet <b>')")
    # Its own next code removes the first one.
    browser.click(name="acc", target=f"{row}:has-text('otp') button:nth-child(2)")
    browser.usable(name="acc")
    browser.fill(name="acc", target=codes, text=totp(secret, (step + 1) * 30))
    browser.click(name="acc", target="dialog button.main")
    browser.see(name="acc", target=f"{row}:has-text('otp')", count=0)
    browser.see(name="acc", target=f"{row}:has-text('tablet <b>')")
    person.secret, person.used_step = secret, step + 1
    # Signed in elsewhere, too; a new password ends that.
    browser.open("/web/servers", name="else")
    browser.sign_in(person, name="else")
    browser.visit("/web/account", name="acc")
    browser.see(name="acc", target="section:has(#account-sessions) tbody tr >> nth=1")
    fields = "section:has(#account-password) input[type=password]"
    browser.fill(name="acc", target=f"{fields} >> nth=0", text=person.password)
    browser.fill(name="acc", target=f"{fields} >> nth=1", text=NEW_PASSWORD)
    browser.fill(name="acc", target=f"{fields} >> nth=2", text=NEW_PASSWORD + "x")
    browser.fill(name="acc", target="section:has(#account-password) input.code", text="123456")
    browser.click(name="acc", target="section:has(#account-password) button.main")
    browser.see(name="acc", target="section:has(#account-password) .note.bad")
    browser.fill(name="acc", target=f"{fields} >> nth=2", text=NEW_PASSWORD)
    browser.fill(name="acc", target="section:has(#account-password) input.code", text=person.code())
    browser.click(name="acc", target="section:has(#account-password) button.main")
    browser.see(name="acc", target=".toast")
    wait_for(lambda: browser.value(name="acc", target=f"{fields} >> nth=0") == "")
    browser.usable(name="acc")
    browser.visit("/web/kubernetes", name="else")
    browser.see(name="else", target="input[name=username]")
    person.password = NEW_PASSWORD
    browser.sign_in(person, name="else")
    browser.close(name="else")
    browser.close(name="acc")
    names = [event["event"] for event in cluster.audit(user=person.name)]
    assert {"mfa.add", "mfa.delete", "user.password_change"} <= set(names)
