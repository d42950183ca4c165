"""Through the browser from end to end: with the keyboard alone, and as the walkthrough goes, from invitation to shell."""

import json
import re
import time

import pytest

from browser import Browser, need_browser
from machine import Machine
from tport import PASSWORD, Daemon, totp


@pytest.fixture
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


def tab_to(browser, wanted, name, most=80):
    """Tab until what has the focus says so."""
    seen = []
    for _ in range(most):
        at = browser.focused(name=name)
        if re.search(wanted, at):
            # Whoever sees it must see where he is.
            assert browser.evaluate(name=name, script="(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' || style.boxShadow !== 'none'; })()"), at
            return
        seen.append(at)
        browser.press(name=name, key="Tab")
    raise AssertionError(f"{wanted} is not reached by Tab: {seen}")


def test_keyboard_alone_from_sign_in_to_a_shell(cluster, browser):
    person = cluster.person("web-keys", roles="access", logins="root", sign_in=False)
    browser.open("/web", name="keys")
    browser.see(name="keys", target="input[name=username]")
    for wanted, text in (("username", person.name), ("password", person.password), ("code", person.code())):
        tab_to(browser, wanted, "keys")
        browser.type(name="keys", text=text)
    browser.press(name="keys", key="Enter")
    browser.see(name="keys", target="td:has-text('node1')")
    # Loaded anew, the first stop leads past the menu.
    browser.visit("/web/servers", name="keys")
    browser.see(name="keys", target="td:has-text('node1')")
    browser.press(name="keys", key="Tab")
    tab_to(browser, "Skip to the content", "keys", most=1)
    browser.press(name="keys", key="Enter")
    browser.press(name="keys", key="Tab")
    tab_to(browser, "Search", "keys", most=3)
    browser.type(name="keys", text="node2")
    browser.see(name="keys", target="td:has-text('node1')", count=0)
    tab_to(browser, "^button Connect", "keys")
    browser.press(name="keys", key="Enter")
    assert "root" in browser.see(name="keys", target=".pop")
    assert re.search("Open a shell as root", browser.focused(name="keys"))
    # Escape closes and gives the focus back; the arrow keys walk.
    browser.press(name="keys", key="Escape")
    browser.see(name="keys", target=".pop", count=0)
    assert re.search("^button Connect", browser.focused(name="keys"))
    browser.press(name="keys", key="Enter")
    browser.see(name="keys", target=".pop")
    browser.press(name="keys", key="ArrowDown")
    assert "input" in browser.focused(name="keys")
    browser.press(name="keys", key="ArrowUp")
    browser.popup(name="keys", key="Enter", **{"as": "term"})
    browser.see(name="term", target=".term-line:has-text('Connected')")
    browser.type(name="term", text="echo by-keys-$((40+2))")
    browser.press(name="term", key="Enter")
    browser.see(name="term", target=".xterm-rows:has-text('by-keys-42')")
    # Out of the terminal, which takes Tab for itself, and to its buttons.
    browser.press(name="term", key="Control+Shift+M")
    tab_to(browser, "New tab|Larger text|Copy files", "term")
    browser.close(name="keys")


ROLE = """kind: role
version: v5
metadata:
  name: dev2
spec:
  allow:
    kubernetes_groups: ['{{internal.kubernetes_groups}}', developer]
    kubernetes_labels: {'*': '*'}
    kubernetes_users: ['{{internal.kubernetes_users}}', dev]
    logins: ['{{internal.logins}}', ec2-user]
    node_labels: {environment: dev}
    rules:
    - resources: [session]
      verbs: [read, list]
      where: contains(session.participants, user.metadata.name)
  deny:
    kubernetes_labels: {app: teleport-cluster}
    logins: [guest]
  options: {max_session_ttl: 8h0m0s, record_session: {default: best_effort}}
"""


def invited(browser, url, name):
    """The pages behind the link: the secret of an authenticator and its code, then a password."""
    browser.open("/" + url.strip().split("/", 3)[3], name=name, height=1000)
    secret = re.sub("[^A-Z2-7]", "", browser.text(name=name, target="code.secret"))
    for step in ((("code", browser.totp(secret=secret)),), (("password", PASSWORD), ("repeat", PASSWORD))):
        for field, text in step:
            browser.fill(name=name, target=f"input[name={field}]", text=text)
        browser.usable(name=name)
        browser.click(name=name, target="button[type=submit]")
    browser.see(name=name, target="main:has(.command)")
    return secret


def sign_in(browser, user, secret, name):
    """With the next code: that of now has been used by the invitation."""
    step = int(time.time()) // 30 + 1
    browser.run("sign_in", name=name, user=user, password=PASSWORD, code=totp(secret, step * 30))


def serve_cluster(made, name, labels):
    """An agent that has registered a Kubernetes cluster."""
    folder = made.folder / name
    folder.mkdir()
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": name, "contexts": [
        {"name": name, "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "x"}}]}))
    token = json.loads(made.ctl("tokens", "add", "--type=kube", "--format=json").stdout)["token"]
    made.nodes[name] = Daemon(made.net, name, folder, f"""
version: v3
tport: {{nodename: {name}, data_dir: {folder}/data, proxy_server: "{made.proxy}", ca_pin: "{made.pin()}", join_params: {{method: token, token_name: {token}}}}}
ssh_service: {{enabled: no}}
kubernetes_service: {{enabled: yes, kubeconfig_file: {folder}/kubeconfig, labels: {labels}}}
""").start()


def test_the_walkthrough_s_screens(fresh):
    """Chapters 3 to 5 of the document with a browser: an administrator's invitation, a role, a server by one line, a user by a
    link, what she sees and what not, a shell."""
    need_browser()
    home = fresh(name="walk")
    serve_cluster(home, "temp1-cluster", "{env: dev}")
    serve_cluster(home, "own-cluster", "{app: teleport-cluster}")
    home.add_node("prod-1", labels="environment=prod")
    browser = Browser(home)
    machine = None
    try:
        # 5: tctl users add teleport-admin2 --roles=editor,access; the link, password and one-time code.
        out = home.ctl("users", "add", "teleport-admin2", "--roles=editor,access", "--logins=root").stdout
        secret = invited(browser, re.search(r"https://\S+/web/invite/[0-9a-f]{32}", out).group(0), "admin")
        browser.visit("/web", name="admin")
        sign_in(browser, "teleport-admin2", secret, "admin")
        browser.see(name="admin", target="td:has-text('prod-1')")
        # The role is written in the editor, from the example that stands there.
        browser.visit("/web/roles", name="admin")
        browser.click(name="admin", target="button:has-text('New role')")
        browser.see(name="admin", target=".cm-content")
        assert "{{internal.logins}}" in browser.text(name="admin", target=".cm-content")
        browser.click(name="admin", target=".cm-content")
        browser.press(name="admin", key="Control+A")
        browser.evaluate(name="admin", script=f"navigator.clipboard.writeText({json.dumps(ROLE)})")
        browser.press(name="admin", key="Control+V")
        browser.usable(name="admin")
        browser.click(name="admin", target="dialog button.main")
        browser.see(name="admin", target="td:has-text('dev2')")
        # 4: a server by the line of the dialog, with its label.
        browser.visit("/web/servers", name="admin")
        browser.click(name="admin", target=".head button:has-text('Add server')")
        browser.fill(name="admin", target="dialog input.mono", text="environment=dev")
        browser.click(name="admin", target="dialog button:has-text('Make the line')")
        line = browser.see(name="admin", target="dialog .command:has-text('install-node.sh') code").strip()
        save = browser.see(name="admin", target="dialog .command:has-text('BEGIN CERTIFICATE') code")
        machine = Machine(home, "dev-1")
        ran = machine.sh(f"cd /run && {save}\n{line.removeprefix('sudo ')}")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        machine.start("/usr/local/bin/tportd -c /etc/tport/tport.conf")
        browser.see(name="admin", target="dialog .note.good:has-text('dev-1')")
        browser.click(name="admin", target="dialog button.main")
        browser.see(name="admin", target="tr:has-text('dev-1'):has-text('environment=dev')")
        browser.picture("walk-servers", name="admin")
        # 3-1: a user with that role, by a link.
        browser.visit("/web/users", name="admin")
        browser.click(name="admin", target="button:has-text('Invite user')")
        browser.fill(name="admin", target="label=User name", text="alice")
        browser.click(name="admin", target="label.mono:has-text('dev2') input")
        browser.fill(name="admin", target="label=Logins on servers", text="root")
        browser.fill(name="admin", target="label=Kubernetes groups", text="edit")
        browser.click(name="admin", target="button:has-text('Make the invitation')")
        url = browser.see(name="admin", target=".command code")
        browser.press(name="admin", key="Escape")
        secret = invited(browser, url, "alice")
        # What she sees: development only, and no cluster of the proxy's own.
        browser.visit("/web", name="alice")
        sign_in(browser, "alice", secret, "alice")
        browser.see(name="alice", target="td:has-text('dev-1')")
        assert "prod-1" not in browser.text(name="alice")
        menu = browser.text(name="alice", target="nav")
        assert "Users" not in menu and "Roles" not in menu
        browser.click(name="alice", target="nav a:has-text('Kubernetes')")
        browser.see(name="alice", target="td:has-text('temp1-cluster')")
        assert "own-cluster" not in browser.text(name="alice")
        browser.click(name="alice", target="tr:has-text('temp1-cluster') button:has-text('Connect')")
        dialog = browser.see(name="alice", target="dialog")
        for command in (f"tport login --proxy={home.proxy} --auth=local --user=alice walk", "tport kube login temp1-cluster", "kubectl get pods"):
            assert command in " ".join(dialog.split()), dialog
        browser.press(name="alice", key="Escape")
        # The shell.
        browser.click(name="alice", target="nav a:has-text('Servers')")
        browser.click(name="alice", target="tr:has-text('dev-1') button[aria-expanded]")
        logins = browser.see(name="alice", target=".pop")
        assert "root" in logins and "ec2-user" in logins and "guest" not in logins
        browser.popup(name="alice", target="a.item:has-text('root')", **{"as": "term"})
        browser.see(name="term", target=".term-line:has-text('Connected')")
        browser.type(name="term", text="echo on-$(hostname)-$((40+2))\n")
        browser.see(name="term", target=".xterm-rows:has-text('on-dev-1-42')")
        browser.picture("walk-terminal", name="term")
        browser.type(name="term", text="exit\n")
        browser.see(name="term", target=".term-line:has-text('ended with code 0')")
        # 5: she may read the sessions that she took part in.
        if browser.count(name="alice", target="nav a[href='/web/recordings']"):
            row = "tr:has-text('root@dev-1')"
            for _ in range(20):
                browser.visit("/web/recordings", name="alice")
                browser.see(name="alice", target="main h1")
                browser.see(name="alice", target=".bone", count=0)
                if browser.count(name="alice", target=row):
                    break
                time.sleep(1)
            browser.usable(name="alice")
            browser.popup(name="alice", target=f"{row} a.button", **{"as": "player"})
            browser.click(name="player", target="label=Play")
            browser.see(name="player", target=".ap-term-text:has-text('on-dev-1-42')")
            browser.usable(name="player")
    finally:
        browser.stop()
        if machine:
            machine.stop()
