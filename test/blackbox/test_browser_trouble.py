"""What goes wrong under somebody's hands in the browser: he is told, in words that help, and nothing that he typed is lost."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from browser import Browser, need_browser
from tport import wait_for

HOST = "troubled"


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    if not cluster.net.real:
        pytest.skip("needs root: a network to pull the cable of")
    person = cluster.person("web-trouble", logins="root", sign_in=False)
    made = Browser(cluster, host=HOST)
    wait_for(lambda: made.open("/web/servers") is None)  # a network that has just been made is "changed" to Chromium for a moment
    made.sign_in(person)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def new_page(browser):
    """What one test leaves open is nothing to the next: a window with a shell asks before it goes elsewhere."""
    yield
    browser.run("leave")
    browser.run("forgive", what="")


def without_network(cluster, browser, act, silent=True):
    """The cable is pulled for the time of one action, or the browser itself has no network, which it notices at once. What
    Chromium notes about it in its console is no fault of the page, until the test ends: what was tried without a network fails
    when it is back, too."""
    browser.run("forgive", what="ERR_")
    cluster.net.cut(HOST) if silent else browser.offline()
    try:
        act()
    finally:
        cluster.net.cut(HOST, off=False) if silent else browser.offline(off=False)


@pytest.mark.parametrize("page, opens, fields, go, then", [
    ("/web/servers", ".head button:has-text('Add server')", {"dialog input.mono": "env=kept"}, "dialog button:has-text('Make the line')", "dialog .command:has-text('install-node.sh')"),
    ("/web/kubernetes", ".head button:has-text('Add Kubernetes')", {"dialog input[name=cluster]": "kept"}, "dialog button:has-text('Make the line')", "dialog .command:has-text('helm')"),
    ("/web/locks", ".head button:has-text('New lock')", {"label=Name": "nobody-kept", "label=Message": "kept"}, "dialog button.main", "td:has-text('nobody-kept')"),
    ("/web/users", "button:has-text('Invite user')", {"label=User name": "kept-user", "label=Logins on servers": "kept"}, "dialog button.main", ".command"),
])
def test_the_network_goes_in_the_middle(cluster, browser, page, opens, fields, go, then):
    browser.visit(page)
    browser.click(target=opens)
    for target, text in fields.items():
        browser.fill(target=target, text=text)
    if page == "/web/users":
        browser.click(target="label.mono:has-text('access') input")

    def act():
        browser.click(target=go)
        assert "cannot be reached" in browser.see(target="dialog .note.bad", timeout=90000)
    without_network(cluster, browser, act, silent=page == "/web/servers")  # silence takes the page half a minute to be sure of
    for target, text in fields.items():
        assert browser.value(target=target) == text, target
    browser.usable()
    # The cable is back: the same button does it.
    browser.click(target=go)
    browser.see(target=then)
    browser.press(key="Escape")
    if page == "/web/locks":
        for lock in json.loads(cluster.ctl("get", "lock", "--format=json").stdout):
            cluster.ctl("rm", f"lock/{lock['metadata']['name']}")
    if page == "/web/users":
        cluster.ctl("users", "rm", "kept-user")


def test_an_answer_that_stops_in_its_middle(cluster, browser):
    """Once the answer had begun nothing watched the time: the export waited for as long as the network was silent."""
    cluster.ctl("create", "-f", input="---\n".join(f"kind: role\nversion: v5\nmetadata: {{name: many-{n}}}\nspec: {{}}\n" for n in range(200)))
    for n in range(200):
        cluster.ctl("rm", f"role/many-{n}")
    browser.visit("/web/audit")
    browser.see(target="td .tag.type")
    # The answer has begun when its head is there; more than one TLS record is still to come.
    browser.evaluate(script="{ const ask = fetch; globalThis.fetch = (...words) => ask(...words).then((answer) => { globalThis.begun = String(words[0]).includes('limit=1000'); return answer; }); }")
    cluster.net.slow(HOST, "64kbit")
    try:
        def act():
            assert browser.count(target=".head button[aria-busy=true]") == 1
            assert "cannot be reached" in browser.see(target=".note.bad", timeout=45000)
            assert browser.count(target=".head button[aria-busy=true]") == 0
        browser.click(target=".head button")
        wait_for(lambda: browser.evaluate(script="globalThis.begun"), 60)
        without_network(cluster, browser, act)
    finally:
        cluster.net.slow(HOST, None)
    assert browser.download(target=".head button")["text"].endswith("}\n")


def test_a_role_of_a_megabyte(cluster, browser):
    """It is refused with the way out, and the text stays; made shorter, it is saved."""
    browser.visit("/web/roles")
    browser.click(target="button:has-text('New role')")
    browser.see(target=".cm-content")
    browser.click(target=".cm-content")
    browser.press(key="Control+A")
    text = "kind: role\nversion: v7\nmetadata: {name: large}\nspec:\n  allow:\n    logins:\n" + "".join(f"    - login-{n:06}\n" for n in range(60000))
    browser.evaluate(script=f"navigator.clipboard.writeText({json.dumps(text)})")
    browser.press(key="Control+V")
    wait_for(lambda: "login-05999" in browser.text(target=".cm-content"), 90)
    browser.click(target="dialog button.main")
    assert "1 MB at most" in browser.see(target="dialog .note.bad")
    assert browser.count(target="dialog .cm-content") == 1
    browser.usable()
    browser.picture("role-large")
    # Seven characters in each line less: near 700 KB.
    browser.evaluate(script=f"navigator.clipboard.writeText({json.dumps(text.replace('login-0', ''))})")
    browser.click(target=".cm-content")
    browser.press(key="Control+A")
    browser.press(key="Control+V")
    wait_for(lambda: "- 59999" in browser.text(target=".cm-content") and "login-05999" not in browser.text(target=".cm-content"), 90)
    browser.click(target="dialog button.main")
    browser.see(target="dialog", count=0, timeout=90000)
    browser.see(target="td:has-text('large')")
    cluster.ctl("rm", "role/large")


def shell(browser, line, wanted):
    browser.type(text=line + "\n")
    browser.see(target=f".xterm-rows:has-text('{wanted}')")


def leave(browser):
    """A window with open shells asks before it closes."""
    browser.click(target=".tab button[aria-label^=Close]")


def test_a_shell_whose_cable_is_pulled(cluster, browser):
    """In silence, as a train's tunnel does it: the page says so soon, and goes on with the same shell when the network is back."""
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    shell(browser, "KEPT=yes; (for i in $(seq 1 30); do echo tick$i; sleep 1; done) & echo on-$((1+1))", "on-2")

    def for_a_while():
        browser.see(target=".term-line:has-text('network is away')", timeout=20000)
        browser.picture("terminal-lost")
        browser.usable()
        time.sleep(6)
    without_network(cluster, browser, for_a_while)
    browser.see(target=".term-line:has-text('Connected')", timeout=20000)
    browser.see(target=".xterm-rows:has-text('tick30')", timeout=60000)
    assert re.findall(r"tick(\d+)", browser.text(target=".xterm-rows")) == [str(i) for i in range(1, 31)]  # nothing is missing or twice
    shell(browser, "echo still-$KEPT", "still-yes")

    def for_too_long():
        browser.see(target=".term-line:has-text('more than 30 seconds')", timeout=70000)
    without_network(cluster, browser, for_too_long)
    browser.usable()
    browser.see(target=".xterm-rows:has-text('still-yes')")
    browser.click(target="button:has-text('Open a new shell')")
    browser.see(target=".term-line:has-text('Connected')", timeout=20000)
    shell(browser, "echo fresh-$KEPT-", "fresh--")
    leave(browser)


def test_a_server_whose_network_breaks(cluster, browser):
    """Found when the issue was gone through: the server kept the shell, and the page said that it had ended."""
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    shell(browser, "KEPT=yes; echo on-$((1+1))", "on-2")
    done = subprocess.run(cluster.net.prefix("node1") + ["ss", "-K", "-t", "-n", "dst", cluster.proxy.split(":")[0]], capture_output=True, text=True, check=True)
    assert "ESTAB" in done.stdout, done.stdout + done.stderr
    browser.see(target=".term-line:has-text('network is away')")
    browser.see(target=".term-line:has-text('Connected')")
    shell(browser, "echo still-$KEPT", "still-yes")
    leave(browser)


def test_a_copy_whose_cable_is_pulled(cluster, browser, tmp_path):
    """It says so soon, both ways; the same button does it again; what was half there is gone."""
    browser.visit("/web/terminal/node1?login=root")
    browser.see(target=".term-line:has-text('Connected')")
    big = tmp_path / "big"
    big.write_bytes(os.urandom(1024) * 300 * 1024)
    there = tmp_path / "there"
    there.mkdir()
    browser.click(target="label=Copy files")
    browser.choose(target="dialog input[type=file]", file=str(big))
    browser.fill(target="dialog input.mono", text=f"{there}/")

    def in_the_midst():
        browser.see(target="dialog .note.bad", timeout=60000)

    def start_and_pull():
        browser.click(target="dialog button.main")
        wait_for(lambda: "MB" in browser.text(target="dialog [role=status]"))
        without_network(cluster, browser, in_the_midst)
    start_and_pull()
    assert "connection was lost" in browser.text(target="dialog .note.bad")
    browser.usable()
    wait_for(lambda: not list(there.iterdir()), 90)
    browser.click(target="dialog button.main")
    browser.see(target="dialog .note:has-text('Uploaded')", timeout=120000)
    assert (there / "big").stat().st_size == big.stat().st_size
    browser.click(target="dialog [role=tab]:has-text('Download')")
    browser.fill(target="dialog input.mono", text=f"{there}/big")
    start_and_pull()
    browser.press(key="Escape")
    leave(browser)


def test_a_server_that_vanishes_under_a_shell(cluster, browser):
    cluster.add_node("vanishing")
    try:
        browser.visit("/web/terminal/vanishing?login=root")
        browser.see(target=".term-line:has-text('Connected')")
        browser.type(text="echo before-$((1+1))\n")
        browser.see(target=".xterm-rows:has-text('before-2')")
        cluster.nodes["vanishing"].stop()
        # The page says why it is over; what was printed stays.
        browser.see(target=".term-line:has-text('The agent on this host has stopped.')")
        browser.see(target=".xterm-rows:has-text('before-2')")
        browser.usable()
        browser.click(target="button:has-text('Open a new shell')")
        browser.see(target=".term-line:has-text('offline'), .term-line:has-text('not connected'), .term-line:has-text('ended')", timeout=60000)
        leave(browser)
    finally:
        remove(cluster, "vanishing")


def test_a_server_that_loses_its_power_under_a_shell(cluster, browser):
    """It says nothing: it may come back, so the page waits for it as for a network."""
    daemon = cluster.add_node("powerless")
    try:
        browser.visit("/web/terminal/powerless?login=root")
        browser.see(target=".term-line:has-text('Connected')")
        shell(browser, "echo before-$((1+1))", "before-2")
        for pid in [*daemon.children(), daemon.master_pid()]:
            os.kill(pid, signal.SIGKILL)
        browser.see(target=".term-line:has-text('network is away')")
        browser.see(target=".xterm-rows:has-text('before-2')")
        leave(browser)
    finally:
        remove(cluster, "powerless")


def remove(cluster, name):
    cluster.nodes.pop(name).stop()
    for node in cluster.node_list():
        if node["spec"]["hostname"] == name:
            cluster.ctl("rm", f"node/{node['metadata']['name']}")
