"""Every command that a page shows has a button that copies it; a terminal copies and pastes, and shows what it copies."""

import pytest

from browser import Browser, need_browser
from tport import wait_for

CLIPBOARD = "navigator.clipboard.readText()"


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    made.open("/web/servers")
    made.sign_in(cluster.person("copier", logins="root", sign_in=False))
    yield made
    made.stop()


@pytest.mark.parametrize("language, server, make, said", [("en", "Add server", "Make the line", "Copied"), ("ko", "서버 추가", "명령 만들기", "복사했습니다")])
def test_the_line_of_add_server(browser, language, server, make, said):
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}')")
    try:
        browser.visit("/web/servers")
        browser.click(target=f".head button:has-text('{server}')")
        browser.click(target=f"dialog button:has-text('{make}')")
        browser.see(target="dialog .command:has-text('install-node.sh')")
        browser.copies_all(1)
        # Found when the issue was gone through: what was said stood behind the dialog, in the dark and out of hearing.
        browser.see(target=f"dialog .toasts[role=status] .toast:has-text('{said}')")
        browser.press(key="Escape")
    finally:
        browser.evaluate(script="localStorage.removeItem('tport.language')")


def test_all_other_commands(cluster, browser):
    """But those of Connect to a Kubernetes cluster: test_browser_lost.py has one."""
    browser.visit("/web/kubernetes")
    browser.click(target=".head button:has-text('Add Kubernetes')")
    browser.fill(target="dialog input[name=cluster]", text="prod")
    browser.click(target="dialog button:has-text('Make the line')")
    browser.see(target="dialog .command:has-text('helm')")
    browser.copies_all(1)
    browser.click(target="dialog [role=tab] >> nth=1")
    browser.see(target="dialog .command:has-text('kubectl apply')")
    browser.copies_all(1)
    browser.press(key="Escape")
    browser.visit("/web/tokens")
    browser.click(target=".head button")
    browser.click(target=".pop .item >> nth=2")
    browser.click(target="dialog .actions .main")
    browser.see(target="dialog .command:has-text('tportd node configure')")
    browser.copies_all(2)
    browser.press(key="Escape")
    browser.visit("/web/account")
    browser.click(target="section:has(#account-devices) > .row button")
    browser.see(target="dialog .command")
    browser.copies_all(1)
    browser.press(key="Escape")
    browser.visit("/web/users")
    browser.click(target="button:has-text('Invite user')")
    browser.fill(target="label=User name", text="copied")
    browser.click(target="label.mono:has-text('access') input")
    browser.click(target="dialog button.main")
    browser.see(target=".command")
    browser.copies_all(1)
    browser.press(key="Escape")
    browser.click(target="tr:has-text('copied') button:has-text('More')")
    browser.click(target=".pop .item:has-text('Reset')")
    browser.click(target="dialog .actions .main")
    browser.see(target=".command:has-text('/web/')")
    browser.copies_all(1)
    browser.press(key="Escape")
    cluster.ctl("users", "rm", "copied")


def test_a_terminal_copies_and_pastes(browser):
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    browser.type(text="PS1='> '; clear; echo word$((40+2))word\n")
    browser.see(target=".xterm-rows:has-text('word42word')")
    wait_for(lambda: browser.text(target=".xterm-rows").lstrip().startswith("word42word"))
    browser.dblclick(target=".xterm-screen", x=30, y=8)
    browser.press(key="Control+Shift+C")
    wait_for(lambda: browser.evaluate(script=CLIPBOARD) == "word42word")
    browser.evaluate(script="navigator.clipboard.writeText('echo pasted-$((1+2))')")
    browser.press(key="Control+Shift+V")
    browser.see(target=".xterm-rows:has-text('echo pasted-')")
    browser.press(key="Enter")
    browser.see(target=".xterm-rows:has-text('pasted-3')")
    browser.click(target=".tab button[aria-label^=Close]")


def test_an_underscore_is_seen_at_every_size(browser):
    """Lines of a terminal were so low that they cut it off: a_b was read, and typed again, as "a b"."""
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    # The cursor goes elsewhere: two lines that differ in underscores alone.
    browser.type(text="PS1=; clear; printf '%s\\n' x__x 'x  x' seen_$((40+2))\n")
    browser.see(target=".xterm-rows:has-text('seen_42')")
    wait_for(lambda: browser.text(target=".xterm-rows > div >> nth=0").strip() == "x__x")
    line = browser.text(target=".xterm-rows > div >> nth=1").replace("\xa0", " ").strip()
    assert line == "x  x"
    for step in ("A+", "A+", *["A\u2212"] * 4, "A+", "A+"):
        assert browser.look(target=".xterm-rows > div >> nth=0") != browser.look(target=".xterm-rows > div >> nth=1"), step
        browser.click(target=f"button:has-text('{step}')")
    browser.click(target=".tab button[aria-label^=Close]")
