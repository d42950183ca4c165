"""What a first person at the browser stumbled over: each mended once, and looked at here in both languages."""

import datetime
import json
import os
import re
import signal
import subprocess

import pytest

from browser import Browser, need_browser
from tport import BIN, Daemon, wait_for


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def admin(cluster, browser):
    person = cluster.person("detail-admin", logins="root", sign_in=False)
    browser.open("/web/servers")
    browser.sign_in(person)
    return person


@pytest.fixture(scope="module")
def gone(cluster):
    """A node that was there and is not any more."""
    daemon = cluster.add_node("gone1", labels=f"env=demo,purpose=a-value-that-is-rather-long-for-a-column-of-a-table,id={64 * 'a'}")
    daemon.stop()
    cluster.wait_online("gone1", online=False)
    yield "gone1"
    cluster.ctl("rm", "node/" + next(item["metadata"]["name"] for item in cluster.node_list() if item["spec"]["hostname"] == "gone1"))
    del cluster.nodes["gone1"]


def look(browser, path, language, theme="light", width=1280, height=800):
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}')")
    browser.size(width=width, height=height)
    browser.visit(path)


# Each piece of text between places where a line may break stands on one line.
WHOLE = """(selector) => [...document.querySelectorAll(selector)].every((one) => {
  const walk = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(text);
    if (text.data.trim() && range.getClientRects().length !== 1) return false;
  }
  return true;
})"""


def whole(browser, selector):
    assert browser.count(target=selector) > 0, selector
    return browser.evaluate(script=f"({WHOLE})({selector!r})")


@pytest.mark.parametrize("language,says,why", [("en", "offline, last seen", "gone1 is offline: its agent is not connected now."),
                                               ("ko", "오프라인, 마지막 확인", "gone1 서버는 오프라인입니다.")])
def test_a_server_that_is_away_says_so_and_since_when_the_others_are_there(cluster, browser, admin, gone, language, says, why):
    look(browser, "/web/servers", language, theme="dark" if language == "ko" else "light")
    row = browser.see(target=f"tr:has-text('{gone}')")
    assert says in row, row
    assert browser.count(target=f"tr:has-text('{gone}') .dot.on") == 0
    browser.usable()
    browser.picture(f"servers-offline-{language}")
    # It opens nothing, and says why, with the keyboard too.
    browser.evaluate(script="document.querySelector('td.end [aria-disabled=true]').focus()")
    browser.press(key="Enter")
    assert why in browser.see(target=".toast")
    assert browser.count(target=".pop") == 0
    # The others: since when auth has had their tunnel without a break.
    assert browser.count(target="tr:has-text('node1') .dot.on") == 1
    node = next(item for item in cluster.node_list() if item["spec"]["hostname"] == "node1")
    assert node["online"] and "last_seen" not in node
    title = browser.evaluate(script="[...document.querySelectorAll('tr')].find((one) => one.innerText.includes('node1')).querySelector('td:nth-child(4) span').title")
    assert re.search(r"\d\d:\d\d:\d\d", title), title
    # Neither label nor type of connection is broken within a word.
    assert whole(browser, "td:nth-child(2) .nowrap")
    # Nor is anything wider than a phone, whatever the labels.
    look(browser, "/web/servers", language, width=360)
    browser.see(target=f"tr:has-text('{gone}')")
    browser.usable()


def test_online_since_survives_another_auth(cluster):
    """A new auth is told how old the tunnels are that workers hold."""
    def since():
        return next((item.get("online_since", "") for item in cluster.node_list() if item["spec"]["hostname"] == "node1"), "")

    before = since()
    assert before
    [auth] = cluster.daemon.children("auth")
    os.kill(auth, signal.SIGKILL)
    wait_for(lambda: list(cluster.daemon.children("auth")) not in ([], [auth]), 20)
    wait_for(lambda: cluster.ctl("status", check=False).returncode == 0, 20)
    cluster.wait_online("node1")
    moved = datetime.datetime.fromisoformat(since().rstrip("Z")) - datetime.datetime.fromisoformat(before.rstrip("Z"))
    assert abs(moved.total_seconds()) < 1


@pytest.mark.parametrize("typed,finds", [("env=demo", True), ("env=demo gone", True), ("nv=dem", True), ("env=dev", False), ("env=dem0", False)])
def test_search_finds_what_is_displayed(browser, admin, gone, typed, finds):
    look(browser, "/web/servers", "en")
    browser.see(target="tr:has-text('node1')")
    browser.fill(target="input[type=search]", text=typed)
    browser.see(target=f"tr:has-text('{'node1' if finds else gone}')", count=0)
    assert browser.count(target=f"tr:has-text('{gone}')") == (1 if finds else 0)


@pytest.mark.parametrize("language,width", [("en", 1280), ("ko", 1280), ("en", 360), ("ko", 360)])
def test_audit_types_are_never_broken_within_a_word(cluster, browser, admin, language, width):
    cluster.ctl("lock", "--user=nobodyhere", "--ttl=1s")
    look(browser, "/web/audit", language, theme="dark" if language == "ko" else "light", width=width)
    browser.see(target=".tag.type")
    assert whole(browser, ".tag.type")
    browser.usable()
    browser.picture(f"audit-{language}-{width}")
    if width == 1280:
        assert browser.evaluate(script="(() => { const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth; })()") <= 0


@pytest.mark.parametrize("language,locked,refused,host", [
    ("en", "locked user nobodyhere", "detail-cli was refused: gone1 is offline", "issued to the host gone1"),
    ("ko", "사용자 nobodyhere을(를) 잠갔습니다", "detail-cli 님의 접속이 거부되었습니다: gone1 is offline", "호스트 gone1에 인증서를")])
def test_audit_sentences_hold_no_objects_and_no_holes(cluster, browser, admin, gone, language, locked, refused, host):
    if "detail-cli" not in cluster.people:
        person = cluster.person("detail-cli", logins="root")
        config = person.home / "ssh_config"  # tport ssh would see it in the list, and not even ask
        config.write_text(person.tport("config", check=True).stdout)
        assert person.run("ssh", "-F", config, f"root@gone1.{cluster.name}", "true").returncode != 0
        cluster.ctl("lock", "--user=nobodyhere", "--ttl=1s")
    look(browser, "/web/audit?type=lock.created", language)
    assert "{" not in browser.see(target=f"td:has-text('{locked}')")
    look(browser, "/web/audit?type=auth", language)
    browser.see(target=f"td:has-text('{refused}')")
    look(browser, "/web/audit?type=cert.create&search=gone1", language)
    browser.see(target=f"td:has-text('{host}')")


@pytest.mark.parametrize("language,unlock", [("en", "Unlock"), ("ko", "풀기")])
def test_a_lock_that_is_over_goes(cluster, browser, admin, language, unlock):
    cluster.ctl("lock", f"--user=past-{language}", "--ttl=1s")
    cluster.ctl("lock", f"--user=present-{language}", "--ttl=1h")
    look(browser, f"/web/locks?search={language}", language)
    wait_for(lambda: (browser.visit(f"/web/locks?search={language}"), browser.see(target="td:has-text('present')"), browser.count(target="td:has-text('past')"))[2] == 0)
    assert unlock in browser.text(target=f"tr:has-text('present-{language}') td.end")
    browser.usable()
    cluster.ctl("rm", "lock/" + next(lock["metadata"]["name"] for lock in locks(cluster) if lock["spec"]["target"].get("user") == f"present-{language}"))


def locks(cluster):
    return json.loads(cluster.ctl("get", "locks", "--format=json").stdout)


@pytest.mark.parametrize("language,word,person,role,forever", [
    ("en", "Locked", "A lock on this person is in force.", "A lock on the role kept-out is in force.", "Until somebody removes it"),
    ("ko", "잠김", "이 사용자에 대한 잠금이 적용 중입니다.", "kept-out 역할에 대한 잠금이 적용 중입니다.", "누군가 풀 때까지")])
def test_a_locked_user_is_seen_to_be_locked(cluster, browser, admin, language, word, person, role, forever):
    cluster.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: kept-out}\nspec: {}\n")
    for name, roles in (("shut-one", "access"), ("shut-two", "kept-out"), ("shut-none", "access")):
        cluster.ctl("users", "add", name, f"--roles={roles}")
    cluster.ctl("lock", "--user=shut-one", "--message=<b>go</b> home")
    cluster.ctl("lock", "--role=kept-out", "--ttl=1h")
    try:
        look(browser, "/web/users?search=shut", language)
        browser.see(target="tr:has-text('shut-none')")
        assert browser.count(target=f"td button:has-text('{word}')") == 2
        assert browser.count(target=f"tr:has-text('shut-none') button:has-text('{word}')") == 0
        browser.usable()
        browser.click(target=f"tr:has-text('shut-one') button:has-text('{word}')")
        told = browser.see(target=".pop")
        assert person in told and "<b>go</b> home" in told and forever in told, told
        browser.usable()
        browser.picture(f"users-locked-{language}")
        browser.press(key="Escape")
        browser.click(target=f"tr:has-text('shut-two') button:has-text('{word}')")
        told = browser.see(target=".pop")
        assert role in told and forever not in told and re.search(r"\d:\d\d", told), told
        browser.click(target=".pop a")  # where it can be ended
        browser.see(target="td:has-text('kept-out')")
        look(browser, "/web/users?search=shut-one", language, width=390)
        browser.see(target=f"button:has-text('{word}')")
        browser.usable()
    finally:
        for lock in locks(cluster):
            cluster.ctl("rm", f"lock/{lock['metadata']['name']}")
        cluster.ctl("users", "rm", "shut-one,shut-two,shut-none")
        cluster.ctl("rm", "role/kept-out")
    look(browser, "/web/users?search=detail", language)
    browser.see(target="td:has-text('detail-admin')")
    assert browser.count(target=f"td button:has-text('{word}')") == 0


def test_the_button_of_a_lock_says_what_it_does(browser, admin):
    look(browser, "/web/locks", "en")
    browser.click(target=".head button:has-text('New lock')")
    assert browser.text(target="dialog button.main").strip() == "Lock"


def test_a_new_role_needs_a_name(cluster, browser, admin):
    look(browser, "/web/roles", "en")
    browser.click(target=".head button:has-text('New role')")
    browser.see(target=".cm-content")
    browser.click(target="dialog button.main")
    assert "name" in browser.see(target="dialog .note.bad")
    assert "my-role" not in cluster.ctl("get", "roles", "--format=json").stdout
    # One begins to type where it is missing.
    browser.press(key="Escape")
    browser.visit("/web/roles")
    browser.click(target=".head button:has-text('New role')")
    browser.see(target=".cm-content")
    browser.type(text="typed-at-once")
    browser.click(target="dialog button.main")
    browser.see(target="td:has-text('typed-at-once')")
    cluster.ctl("rm", "role/typed-at-once")


def test_refusals_of_the_server_in_korean(cluster, browser, admin):
    """Frequent ones in our own words; the others say in Korean what kind of refusal it is, and quote the server as such."""
    look(browser, "/web/users", "ko")
    browser.click(target=".head button.main")
    browser.fill(target="label=사용자 이름", text="detail-admin")
    browser.click(target="label.mono:has-text('access') input")
    browser.click(target="dialog button.main")
    assert "detail-admin 사용자가 이미 있습니다" in browser.see(target="dialog .note.bad")
    browser.usable()
    browser.fill(target="label=사용자 이름", text="no such/name")
    browser.click(target="dialog button.main")
    said = browser.see(target="dialog .note.bad:has-text('영어')")
    assert said.startswith("입력한 내용이 올바르지 않습니다. 서버의 설명(영어): ") and "`" not in said, said
    browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme')")


@pytest.mark.parametrize("language,new,value,make", [("en", "New token", "Token for other tools", "Make the token"), ("ko", "새 토큰", "다른 도구에 쓸 토큰", "토큰 만들기")])
def test_a_new_token_of_the_tokens_page_lets_a_machine_join(cluster, browser, admin, language, new, value, make):
    look(browser, "/web/tokens", language, theme="dark" if language == "ko" else "light", width=1280 if language == "en" else 360)
    browser.click(target=f".head button:has-text('{new}')")
    browser.usable()
    # The same dialogs as on the pages of what joins.
    for same in ("Add server", "Add Kubernetes") if language == "en" else ("서버 추가", "쿠버네티스 추가"):
        browser.click(target=f".pop button:has-text('{same}')")
        browser.see(target=f"dialog h2:has-text('{same}')")
        browser.press(key="Escape")
        browser.click(target=f".head button:has-text('{new}')")
    browser.click(target=f".pop button:has-text('{value}')")
    browser.usable()
    browser.fill(target="dialog input.mono", text=f"made=by token {language}")
    browser.click(target=f"dialog button:has-text('{make}')")
    token = browser.see(target="dialog .command code").strip()
    assert re.fullmatch("[0-9a-f]{32}", token)
    browser.usable()
    browser.picture(f"token-made-{language}")
    name = f"by-token-{language}"
    folder = cluster.folder / name
    folder.mkdir()
    os.chmod(folder, 0o755)
    configure, start = browser.text(target="dialog .command:has-text('configure') code").strip().rsplit("\n", 1)
    assert start == "tportd -c /etc/tport/tport.conf"
    # As it stands there, but for the places of files.
    line = configure.replace("tportd", str(BIN / "tportd"), 1).replace("-o /etc/tport/tport.conf", f"-o {folder}/tport.conf --data-dir={folder}/data --node-name={name}")
    made = subprocess.run(cluster.net.prefix(name) + ["sh", "-c", line], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    daemon = Daemon(cluster.net, name, folder, (folder / "tport.conf").read_text())
    daemon.start()
    try:
        browser.see(target=f"dialog .note.good:has-text('{name}')")
        browser.usable()
        cluster.wait_online(name)
        node = next(item for item in cluster.node_list() if item["spec"]["hostname"] == name)
        assert node["metadata"]["labels"]["made"] == f"by token {language}"
        browser.press(key="Escape")
        browser.see(target="td:has-text('node')")
        assert token not in browser.text()
    finally:
        daemon.stop()
        cluster.ctl("rm", "node/" + next(item["metadata"]["name"] for item in cluster.node_list() if item["spec"]["hostname"] == name))
