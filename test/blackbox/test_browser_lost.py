"""Each action in the browser while its network is away, and with the answer lost on the way back: the person is told, what he
typed stays, the same button does it afterwards, and nothing is called done that is not, or undone that is."""

import json
import re
import subprocess
import time

import pytest
import yaml

from browser import Browser, need_browser
from tport import BIN, Daemon, totp, wait_for

AWAY = "cannot be reached"
UNSURE = "not known whether"


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    cluster.person("lost-victim", sign_in=False)
    cluster.ctl("create", "-f", input="kind: role\nversion: v5\nmetadata: {name: lost-groups}\nspec: {allow: {kubernetes_labels: {'*': '*'}, kubernetes_groups: [edit]}}\n")
    person = cluster.person("web-lost", roles="access,editor,auditor,lost-groups", logins="root")
    made = Browser(cluster)
    made.open("/web/servers")
    made.sign_in(person)
    made.run("forgive", what="ERR_")  # what Chromium notes in its console about a network that a test takes away
    yield made
    made.stop()
    for name in ("web-lost", "lost-new"):
        cluster.ctl("users", "rm", name, check=False)
    for name in ("lost-groups", "lost-role", "lost-made"):
        cluster.ctl("rm", f"role/{name}", check=False)


def network(browser, there, name="main"):
    """The browser itself has no network: it notices at once, where a pulled cable (test_browser_trouble.py) is silence."""
    browser.offline(name=name, off=not there)


def items(cluster, kind):
    return json.loads(cluster.ctl("get", kind, "--format=json").stdout)


def names(cluster, kind):
    return {one["metadata"]["name"] for one in items(cluster, kind)}


def victim(cluster):
    return next(one for one in items(cluster, "user") if one["metadata"]["name"] == "lost-victim")


def locks(cluster):
    return [one["metadata"]["name"] for one in items(cluster, "lock") if one["spec"]["target"].get("user") == "lost-locked"]


ROLE = "kind: role\nversion: v5\nmetadata:\n  name: lost-role\n  description: kept\nspec: {}\n"


def role(cluster):
    cluster.ctl("create", "-f", input="kind: role\nversion: v5\nmetadata: {name: lost-role}\nspec: {}\n")


def token(cluster):
    cluster.ctl("create", "-f", input=yaml.safe_dump({"kind": "token", "version": "v2", "metadata": {
        "name": "lost-token-0123456789abcdef0123456789", "expires": "2100-01-01T00:00:00Z"}, "spec": {"roles": ["node"], "suggested_labels": {"lost": ["token"]}}}))


def row(text, button):
    return lambda browser: browser.click(target=f"tr:has-text('{text}') button:has-text('{button}')")


def more(item):
    def opens(browser):
        row("lost-victim", "More")(browser)
        browser.click(target=f".pop .item:has-text('{item}')")
    return opens


def new_lock(browser):
    browser.click(target=".head button:has-text('New lock')")
    browser.fill(target="label=Name", text="lost-locked")
    browser.fill(target="label=Message", text="kept")


def new_user(browser):
    browser.click(target=".head button:has-text('Invite user')")
    browser.fill(target="label=User name", text="lost-new")
    browser.click(target="label.mono:has-text('access') input")


def new_role(browser):
    browser.click(target=".head button:has-text('New role')")
    write_role(browser, ROLE.replace("lost-role", "lost-made"))


def new_line(browser):
    browser.click(target=".head button:has-text('Add server')")
    browser.fill(target="label=Labels", text="again=line")


def lines(cluster):
    return [one for one in items(cluster, "token") if "line" in one["spec"].get("suggested_labels", {}).get("again", [])]


def edit_user(browser):
    row("lost-victim", "Edit")(browser)
    browser.fill(target="label=Logins on servers", text="root kept")


def edit_role(browser):
    row("lost-role", "Edit")(browser)
    write_role(browser, ROLE)


def write_role(browser, text):
    browser.click(target=".cm-content")
    browser.press(key="Control+A")
    browser.evaluate(script=f"navigator.clipboard.writeText({json.dumps(text)})")
    browser.press(key="Control+V")
    browser.see(target=".cm-content:has-text('kept')")


CLOSED = "body:not(:has(dialog))"
ACTIONS = {
    # what: (made before, page, what opens it, kept fields, the call, is it done, what the page has at the end)
    "save-role": (role, "/web/roles?search=lost-role", edit_role, {}, ("PUT", "/webapi/roles/"),
                  lambda cluster: "description: kept" in cluster.ctl("get", "role/lost-role", "--format=yaml").stdout, "dialog .note:has-text('your own try')"),
    "delete-role": (role, "/web/roles?search=lost-role", row("lost-role", "Delete"), {}, ("DELETE", "/webapi/roles/"),
                    lambda cluster: "lost-role" not in names(cluster, "role"), CLOSED),
    "delete-token": (token, "/web/tokens?labels=lost%3Dtoken", row("lost=token", "Delete"), {},
                     ("DELETE", "/webapi/tokens/"), lambda cluster: "lost" not in json.dumps(items(cluster, "token")), CLOSED),
    "lock": (lambda cluster: None, "/web/locks", new_lock, {"label=Name": "lost-locked", "label=Message": "kept"}, ("POST", "/webapi/locks"),
             locks, "td:has-text('lost-locked')"),
    # What was made by the try before is not made twice: its name is taken, and the page says what then.
    "invite": (lambda cluster: None, "/web/users", new_user, {"label=User name": "lost-new"}, ("POST", "/webapi/users"),
               lambda cluster: "lost-new" in names(cluster, "user"), "dialog .note.bad:has-text('Reset sign-in')"),
    "new-role": (lambda cluster: None, "/web/roles", new_role, {}, ("POST", "/webapi/roles"),
                 lambda cluster: "lost-made" in names(cluster, "role"), "dialog .note.bad:has-text('your own try')"),
    # A token whose value nobody has seen opens nothing; the next one does.
    "add-server": (lambda cluster: None, "/web/servers", new_line, {"label=Labels": "again=line"}, ("POST", "/webapi/token"),
                   lines, "dialog .command:has-text('install-node.sh')"),
    "unlock": (lambda cluster: locks(cluster) or cluster.ctl("lock", "--user=lost-locked"), "/web/locks?search=lost-locked", row("lost-locked", "Unlock"), {},
               ("DELETE", "/webapi/locks/"), lambda cluster: not locks(cluster), CLOSED),
    "edit-user": (lambda cluster: None, "/web/users?search=lost-victim", edit_user, {"label=Logins on servers": "root kept"}, ("PUT", "/webapi/users"),
                  lambda cluster: "kept" in json.dumps(victim(cluster)), CLOSED),
    "reset-user": (lambda cluster: None, "/web/users?search=lost-victim", more("Reset"), {}, ("POST", "/webapi/users/password/token"),
                   lambda cluster: [one for one in cluster.audit(type="reset_password_token.create") if one.get("name") == "lost-victim" and one["user"] == "web-lost"], ".command:has-text('/web/')"),
    "delete-user": (lambda cluster: None, "/web/users?search=lost-victim", more("Delete"), {}, ("DELETE", "/webapi/users/"),
                    lambda cluster: "lost-victim" not in names(cluster, "user"), CLOSED),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_network_goes_in_an_action(cluster, browser, action):
    before, page, opens, fields, (method, path), done, end = ACTIONS[action]
    before(cluster)
    browser.visit(page)
    opens(browser)

    def kept(said):
        assert said in browser.see(target="dialog .note.bad")
        for target, text in fields.items():
            assert browser.value(target=target) == text, target
        if action in ("save-role", "new-role"):
            assert "description: kept" in browser.text(target=".cm-content")
    go = "dialog .actions button.main"
    # Nothing comes to the server.
    network(browser, False)
    try:
        browser.click(target=go)
        kept(UNSURE)
        browser.picture(f"lost-{action}")
        assert not done(cluster)
    finally:
        network(browser, True)
    # It is done, and nobody hears of it.
    browser.lose_answer(method=method, path=path)
    browser.click(target=go)
    browser.see(target=f"{go}:not([aria-busy=true])")
    wait_for(lambda: done(cluster))
    kept(UNSURE)
    browser.usable()
    browser.lose_nothing()
    browser.click(target=go)
    browser.see(target=end)
    assert done(cluster)
    browser.usable()
    browser.picture(f"again-{action}")
    if action == "lock":
        [lock] = locks(cluster)  # found when this was read: a second one was made by the second try
        cluster.ctl("rm", f"lock/{lock}")


def test_the_network_goes_when_a_session_is_ended(cluster, browser):
    shell = cluster.people["web-lost"].spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo in-$((5+5))")
    shell.expect("in-10")
    browser.visit("/web/sessions?search=web-lost")
    browser.click(target="tr:has-text('web-lost') button:has-text('End')")
    browser.fill(target="dialog input", text="kept words")
    go = "dialog button.main"
    network(browser, False)
    try:
        browser.click(target=go)
        assert UNSURE in browser.see(target="dialog .note.bad") and browser.value(target="dialog input") == "kept words"
    finally:
        network(browser, True)
    shell.sendline("echo on-$((6+6))")
    shell.expect("on-12")
    browser.lose_answer(method="DELETE", path="/webapi/sites/")
    browser.click(target=go)
    shell.expect("kept words")
    browser.see(target=f"{go}:not([aria-busy=true])")
    assert UNSURE in browser.see(target="dialog .note.bad")
    browser.lose_nothing()
    browser.click(target=go)
    browser.see(target="body:not(:has(dialog))")
    browser.see(target="tr:has-text('web-lost')", count=0)


def test_the_network_goes_in_a_download(cluster, browser):
    """No file is made of a part, and no count stays on the button."""
    browser.visit("/web/audit")
    browser.see(target="td .tag.type")
    button = ".head button"
    network(browser, False)
    try:
        browser.click(target=button)
        assert AWAY in browser.see(target=".note.bad") and browser.text(target=button) == "Export as NDJSON"
    finally:
        network(browser, True)
    saved = browser.download(target=button)
    assert saved["name"] == "audit.ndjson" and all(json.loads(line)["event"] for line in saved["text"].splitlines())
    browser.see(target=".note.bad", count=0)
    # A kubeconfig, in a dialog: it is said there, not behind it.
    folder = cluster.folder / "lost-kube"
    folder.mkdir()
    (folder / "kubeconfig").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "lost-kube", "contexts": [
        {"name": "lost-kube", "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "x"}}]}))
    token = json.loads(cluster.ctl("nodes", "add", "--roles=kube", "--ttl=1h", "--format=json").stdout)[0]
    subprocess.run([BIN / "tportd", "node", "configure", "--roles=kube", f"--proxy={cluster.proxy}", f"--token={token}", f"--ca-pin={cluster.pin()}",
                    f"--kubeconfig-file={folder}/kubeconfig", "--node-name=lost-kube", f"--data-dir={folder}/data", "-o", str(folder / "made.conf")], check=True)
    agent = Daemon(cluster.net, "lost-kube", folder, (folder / "made.conf").read_text())
    agent.start()
    try:
        wait_for(lambda: [one for one in items(cluster, "kube_server") if "lost-kube" in json.dumps(one)])
        browser.visit("/web/kubernetes?search=lost-kube")
        browser.click(target="tr:has-text('lost-kube') button:has-text('Connect')")
        browser.copies_all(4)
        button = "dialog .panel button:has-text('Download')"
        network(browser, False)
        try:
            browser.click(target=button)
            assert AWAY in browser.see(target="dialog .panel .note.bad")
            browser.usable()
        finally:
            network(browser, True)
        assert "client-key-data" in browser.download(target=button)["text"]
        assert browser.count(target="dialog .note.bad") == 0
        browser.see(target="dialog .panel .note:has-text('Downloaded')")
    finally:
        agent.stop()
        for one in items(cluster, "kube_server"):
            if "lost-kube" in json.dumps(one):
                cluster.ctl("rm", f"kube_server/{one['metadata']['name']}")


def test_the_network_goes_in_a_list(cluster, browser):
    """What stands in the list is what was asked for, or nothing; a button tries again."""
    many = [f"lost-many-{n:02}" for n in range(60)]
    cluster.ctl("create", "-f", input="---\n".join(f"kind: role\nversion: v5\nmetadata: {{name: {name}}}\nspec: {{}}\n" for name in many))
    try:
        for go, gone, then in (
                (lambda: browser.click(target=".pages button:has-text('Next')"), "lost-many-00", "lost-many-55"),
                (lambda: browser.fill(target="input[type=search]", text="lost-many-07"), "lost-many-00", "lost-many-07"),
                (lambda: browser.click(target="th button:has-text('Name')"), "lost-many-00", "lost-many-59")):
            browser.visit("/web/roles?search=lost-many-")
            browser.see(target="td:has-text('lost-many-00')")
            network(browser, False)
            try:
                go()
                assert AWAY in browser.see(target=".note.bad")
                browser.see(target=f"td:has-text('{gone}')", count=0)
                browser.usable()
                browser.picture("lost-list")
            finally:
                network(browser, True)
            browser.click(target=".note.bad button:has-text('Try again')")
            browser.see(target=f"td:has-text('{then}')")
            browser.see(target=".note.bad", count=0)
            assert browser.count(target=f"td:has-text('{gone}')") == 0
    finally:
        for name in many:
            cluster.ctl("rm", f"role/{name}")
    # The log has a list of its own.
    browser.visit("/web/audit")
    browser.see(target="td .tag.type")
    network(browser, False)
    try:
        browser.click(target=".pages button:has-text('Next')")
        assert AWAY in browser.see(target=".note.bad")
        browser.see(target="td .tag.type", count=0)
    finally:
        network(browser, True)
    browser.click(target=".note.bad button:has-text('Try again')")
    browser.see(target="td .tag.type")
    browser.see(target=".note.bad", count=0)


def twice(browser, go, note, call, kept):
    """An action of the account page without a network, then with its answer lost."""
    network(browser, False, "acc")
    try:
        browser.click(name="acc", target=go)
        assert UNSURE in browser.see(name="acc", target=note)
        kept()
    finally:
        network(browser, True, "acc")
    browser.lose_answer(name="acc", method=call[0], path=call[1])
    browser.click(name="acc", target=go)
    browser.see(name="acc", target=f"{go}:not([aria-busy=true])")
    assert UNSURE in browser.see(name="acc", target=note)
    kept()
    browser.lose_nothing(name="acc")


def account_of(cluster, browser, who):
    """Each a person of his own: nobody has to wait for his next code."""
    person = cluster.person(who, sign_in=False)
    browser.open("/web/account", name="acc")
    browser.sign_in(person, name="acc")
    return person


def test_the_network_goes_when_devices_are_changed(cluster, browser):
    person = account_of(cluster, browser, "lost-devices")
    devices = "section:has(#account-devices)"
    # The list itself, and the picture of a new device, try again.
    network(browser, False, "acc")
    try:
        browser.click(name="acc", target=f"{devices} > .row button")
        assert AWAY in browser.see(name="acc", target="dialog .note.bad")
    finally:
        network(browser, True, "acc")
    browser.click(name="acc", target="dialog .note.bad button:has-text('Try again')")
    secret = re.sub("[^A-Z2-7]", "", browser.see(name="acc", target="dialog .command code"))
    step = int(time.time()) // 30
    typed = {"dialog input.code >> nth=0": totp(secret, step * 30), "dialog input.input:not(.code)": "kept tablet", "dialog input.code >> nth=1": person.code()}

    def all_there():
        for target, text in typed.items():
            assert browser.value(name="acc", target=target) == text, target
    for target, text in typed.items():
        browser.fill(name="acc", target=target, text=text)
    go = "dialog button.main"
    twice(browser, go, "dialog .note.bad", ("POST", "/webapi/mfa/devices"), all_there)
    # It is there: the next try is refused, and says so; the list has it.
    browser.click(name="acc", target=go)
    browser.see(name="acc", target="dialog .note.bad:has-text('in the list')")
    browser.picture("again-device", name="acc")
    assert browser.value(name="acc", target="dialog input.input:not(.code)") == "kept tablet"
    browser.press(name="acc", key="Escape")
    tablet = f"{devices} tbody tr:has-text('kept tablet')"
    browser.see(name="acc", target=tablet)
    # Away with the other one, by a code of the new one.
    other = f"{devices} tbody tr:has-text('otp')"
    browser.click(name="acc", target=f"{other} button:has-text('Remove')")
    code = totp(secret, (step + 1) * 30)
    browser.fill(name="acc", target="dialog input.code", text=code)
    lost = lambda: browser.value(name="acc", target="dialog input.code") == code or pytest.fail("the code is gone")  # noqa: E731
    twice(browser, go, "dialog .note.bad", ("DELETE", "/webapi/mfa/devices/"), lost)
    browser.click(name="acc", target=go)
    browser.see(name="acc", target="body:not(:has(dialog))")
    browser.see(name="acc", target=tablet)
    browser.see(name="acc", target=other, count=0)
    browser.close(name="acc")


def test_the_network_goes_when_other_browsers_are_signed_out(cluster, browser):
    person = account_of(cluster, browser, "lost-elsewhere")
    go = "dialog button.main"
    browser.open("/web/servers", name="else")
    browser.sign_in(person, name="else")
    browser.visit("/web/account", name="acc")
    browser.click(name="acc", target="button:has-text('Sign out everywhere else')")
    twice(browser, go, "dialog .note.bad", ("DELETE", "/webapi/sessions/web/"), lambda: None)
    browser.click(name="acc", target=go)
    browser.see(name="acc", target="body:not(:has(dialog))")
    browser.evaluate(name="else", script="document.querySelector('nav a[href$=servers]')?.click()")
    browser.see(name="else", target=".note.warn:has-text('ended')")
    browser.close(name="else")
    browser.close(name="acc")


def test_the_network_goes_when_a_password_is_changed(cluster, browser):
    """Whoever did not hear that it is new learns what to do."""
    person = account_of(cluster, browser, "lost-password")
    section = "section:has(#account-password)"
    fresh = "nine slow gates by the lake"
    filled = dict(zip([f"{section} input[type=password] >> nth={n}" for n in range(3)] + [f"{section} input.code"], [person.password, fresh, fresh, person.code()]))
    for target, text in filled.items():
        browser.fill(name="acc", target=target, text=text)

    def typed_there():
        for target, text in filled.items():
            assert browser.value(name="acc", target=target) == text, target
    twice(browser, f"{section} button.main", f"{section} .note.bad", ("PUT", "/webapi/users/password"), typed_there)
    browser.usable(name="acc")
    browser.picture("lost-password", name="acc", full=True)
    browser.click(name="acc", target=f"{section} button.main")
    browser.see(name="acc", target=f"{section} .note.bad:not(:has-text('not known'))")
    browser.close(name="acc")


def test_the_network_goes_when_a_person_signs_out(cluster, browser):
    """That is no sign-out at the server, and is not called one."""
    account_of(cluster, browser, "lost-out")
    network(browser, False, "acc")
    try:
        browser.click(name="acc", target=".who")
        browser.click(name="acc", target=".pop .item:has-text('Sign out')")
        assert "did not answer" in browser.see(name="acc", target=".door .note.bad")
        browser.picture("lost-signout", name="acc")
        browser.usable(name="acc")
    finally:
        network(browser, True, "acc")
    browser.close(name="acc")
