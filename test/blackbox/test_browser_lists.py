"""Every list: the server searches, sorts and pages it by key, a click on a label filters, and the address holds the state."""

import contextlib
import json
from urllib.parse import quote

import pytest

from browser import Browser, need_browser
from terminal import Browser as Web
from tport import Cluster, wait_for

SITE = "/v1/webapi/sites/test"
USERS = 1100


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1",))
    made.ctl("create", "-f", input="---\n".join(
        f"kind: user\nversion: v2\nmetadata: {{name: bulk-{n:04}}}\nspec: {{roles: [{'access' if n % 2 else 'auditor'}], traits: {{logins: [team{n % 7}]}}}}\n" for n in range(USERS)))
    made.ctl("create", "-f", input="---\n".join(
        f"kind: role\nversion: v7\nmetadata: {{name: bulk-{n:02}, description: 'made for shelf {59 - n:02}'}}\nspec: {{}}\n" for n in range(60)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def admin(home):
    return Web(home.person("lister", logins="root", sign_in=False)).sign_in()


def ask(web, path):
    reply = web.ask("GET", path)
    assert reply.status == 200, reply.text
    return reply.json()


def all_of(web, path, limit, name):
    """Page by page; every page but the last one is full."""
    found, start = [], ""
    while True:
        page = ask(web, f"{path}&limit={limit}&startKey={start}")
        found += [name(item) for item in page["items"]]
        start = page["startKey"].replace(" ", "%20").replace("+", "%2B")
        if not start:
            return found, page["totalCount"]
        assert len(page["items"]) == limit


def test_more_than_a_thousand_users_are_shown(home, admin):
    """Found when the lists were gone through: the page showed the first thousand, and searched among these."""
    found, total = all_of(admin, "/webapi/users?sort=name:asc", 300, lambda item: item["name"])
    assert total == len(found) == len(set(found)) > USERS and found == sorted(found, key=lambda name: (name.lower(), name))
    assert ask(admin, "/webapi/users?limit=10&search=bulk-1099")["items"][0]["name"] == "bulk-1099"
    assert isinstance(ask(admin, "/webapi/users"), list)  # as Teleport's, for who asks for no page
    teams = ask(admin, "/webapi/users?limit=5&search=logins%3Dteam3%20auditor")
    assert teams["totalCount"] == sum(n % 7 == 3 and n % 2 == 0 for n in range(USERS))


def test_pages_are_places(home, admin):
    """What comes and goes between two pages shows nothing twice and leaves nothing out."""
    first = ask(admin, "/webapi/users?limit=3&search=bulk-00&sort=name:asc")
    assert [item["name"] for item in first["items"]] == ["bulk-0000", "bulk-0001", "bulk-0002"]
    home.ctl("users", "rm", "bulk-0001")
    home.ctl("users", "rm", "bulk-0002")
    try:
        second = ask(admin, f"/webapi/users?limit=3&search=bulk-00&sort=name:asc&startKey={first['startKey']}")
        assert [item["name"] for item in second["items"]] == ["bulk-0003", "bulk-0004", "bulk-0005"]
    finally:
        home.ctl("create", "-f", input="---\n".join(f"kind: user\nversion: v2\nmetadata: {{name: bulk-000{n}}}\nspec: {{roles: [access]}}\n" for n in (1, 2)))
    for path in ("/webapi/users?limit=3&startKey=7", "/webapi/users?limit=3&sort=age:asc", "/webapi/roles?sort=name:up", "/webapi/locks?labels=no-json",
                 "/webapi/tokens?limit=x", f"{SITE}/sessions?sort=age", f"{SITE}/nodes?sort=addr:asc", f"{SITE}/nodes?sort=since:up", f"{SITE}/kubernetes?sort=since",
                 f"{SITE}/events/search?order=newest", f"{SITE}/events/search/sessions?sort=age:asc", f"{SITE}/events/search/sessions?sort=user:up"):
        reply = admin.ask("GET", path)
        assert reply.status == 400 and reply.json()["error"]["message"], path


def test_roles_tokens_and_locks(home, admin):
    found, total = all_of(admin, "/webapi/roles?search=shelf&sort=description:desc", 25, lambda item: item["name"])
    assert total == 60 and found == [f"bulk-{n:02}" for n in range(60)]
    for env in ("dev", "prod"):
        made = admin.ask("POST", "/webapi/tokens", {"roles": ["Node"], "suggested_labels": [{"name": "env", "value": env}, {"name": "rack", "value": "r1"}]})
        assert made.status == 200, made.text
    assert ask(admin, "/webapi/tokens?search=rack%3Dr1")["totalCount"] == 2
    [one] = ask(admin, '/webapi/tokens?labels={"env":"prod"}')["items"]
    assert one["spec"]["suggested_labels"]["env"] == ["prod"]
    assert ask(admin, '/webapi/tokens?labels={"env":"prod","rack":"r2"}')["totalCount"] == 0
    home.ctl("lock", "--user=zoe", "--message=lost her phone", "--ttl=1h")
    home.ctl("lock", "--user=adam", "--message=has left")
    assert [item["spec"]["target"]["user"] for item in ask(admin, "/webapi/locks?sort=target:asc")["items"]] == ["adam", "zoe"]
    assert [item["spec"]["target"]["user"] for item in ask(admin, "/webapi/locks?sort=until:asc")["items"]] == ["zoe", "adam"]
    assert ask(admin, "/webapi/locks?search=user%3Dzoe%20phone")["totalCount"] == 1


@contextlib.contextmanager
def running(home, *people):
    """A shell of each."""
    shells = [web.shell() for web in people]
    for terminal in shells:
        wait_for(lambda sid=terminal.session["id"]: any(e["sid"] == sid for e in home.audit(type="session.start")))
    try:
        yield shells
    finally:
        for terminal in shells:
            terminal.send("c")
            terminal.last()


@pytest.fixture(scope="module")
def people(home):
    return [Web(home.person(f"shell-{name}", logins="root", sign_in=False)).sign_in() for name in ("amy", "ben", "cid")]


def test_running_sessions_are_searched_by_the_server(home, admin, people):
    home.ctl("create", "-f", input="kind: role\nversion: v7\nmetadata: {name: sees}\nspec: {allow: {rules: [{resources: [session_tracker], verbs: [list]}]}}\n")
    home.ctl("users", "update", "lister", "--set-roles=access,editor,auditor,sees")
    web = Web(admin.person).sign_in()
    with running(home, *people) as shells:
        found, total = all_of(web, f"{SITE}/sessions?sort=user:asc", 2, lambda item: item["user"])
        assert (found, total) == (["shell-amy", "shell-ben", "shell-cid"], 3)
        assert all_of(web, f"{SITE}/sessions?sort=user:desc", 1, lambda item: item["user"])[0] == ["shell-cid", "shell-ben", "shell-amy"]
        assert [item["user"] for item in ask(web, f"{SITE}/sessions?search=ben")["items"]] == ["shell-ben"]
        assert ask(web, f"{SITE}/sessions?search=root@node1%20amy")["totalCount"] == 1
        assert ask(web, f"{SITE}/sessions?search={shells[2].session['id']}")["items"][0]["user"] == "shell-cid"
        # Who sees fewer finds fewer.
        assert [item["user"] for item in ask(people[0], f"{SITE}/sessions?search=shell")["items"]][-1] == "shell-amy"
    wait_for(lambda: ask(web, f"{SITE}/sessions")["totalCount"] == 0)


@pytest.fixture(scope="module")
def browser(home, admin):
    need_browser()
    made = Browser(home)
    made.open("/web/users")
    made.sign_in(admin.person)
    yield made
    made.stop()


def names(browser):
    return json.loads(browser.evaluate(script="JSON.stringify([...document.querySelectorAll('td .name')].map((one) => one.textContent))"))


def test_the_address_holds_the_state(home, browser):
    browser.visit("/web/users?search=bulk")
    wait_for(lambda: names(browser)[:1] == ["bulk-0000"] and len(names(browser)) == 50)
    assert f"50 of {USERS}" in browser.text(target=".count")
    browser.usable()
    browser.click(target=".pages button:has-text('Next')")
    wait_for(lambda: names(browser)[0] == "bulk-0050")
    assert "start=" in browser.url() and "search=bulk" in browser.url()
    browser.visit(browser.url().split(home.proxy, 1)[1])  # as somebody else's link
    wait_for(lambda: names(browser)[:1] == ["bulk-0050"])
    browser.click(target="th button:has-text('Name')")
    wait_for(lambda: names(browser)[0] == f"bulk-{USERS - 1:04}")
    assert "sort=name%3Adesc" in browser.url() and "start=" not in browser.url()
    browser.evaluate(script="history.back()")
    wait_for(lambda: names(browser)[0] == "bulk-0050")
    browser.fill(target="input[type=search]", text="bulk-1099")
    wait_for(lambda: names(browser) == ["bulk-1099"])
    assert "search=bulk-1099" in browser.url()


def test_a_click_on_a_token_s_label_filters(home, browser):
    browser.visit("/web/tokens")
    browser.see(target="button.tag:has-text('prod')")
    browser.usable()
    browser.picture("tokens-labels")
    browser.click(target="td button.tag:has-text('prod')")
    browser.see(target="td button.tag:has-text('dev')", count=0)
    assert "labels=env%3Dprod" in browser.url()
    browser.click(target=".tools button.tag")
    browser.see(target="td button.tag:has-text('dev')")


def test_running_sessions_keep_the_sentence_too(home, browser, people):
    with running(home, *people):
        browser.visit("/web/sessions?search=shell&sort=user%3Adesc")
        browser.see(target="tr:has-text('shell-amy')")
        order = browser.text(target="tbody")
        assert order.index("shell-cid") < order.index("shell-ben") < order.index("shell-amy")
        browser.fill(target="input[type=search]", text="ben")
        browser.see(target="tr:has-text('shell-amy')", count=0)
        assert "1 of 1" in browser.text(target=".count") and "search=ben" in browser.url()
        browser.usable()


def test_recordings_are_sorted_by_the_server(home, admin, browser, people):
    """By each heading that has an order, page by page; keyboard, and the browser's own way back."""
    with running(home, *people):
        pass
    path = f"{SITE}/events/search/sessions?search=shell&"
    wait_for(lambda: len(admin.ask("GET", path).json()["events"]) >= 3)
    for sort, of in {"user": lambda one: one["user"], "where": lambda one: one["server_hostname"], "size": lambda one: one["size"], "started": lambda one: one["session_start"]}.items():
        for way in ("asc", "desc"):
            found, start = [], ""
            while True:
                page = ask(admin, f"{path}sort={sort}:{way}&limit=2&startKey={quote(start)}")
                found += page["events"]
                start = page["startKey"]
                if not start:
                    break
            assert len(found) == len({one["sid"] for one in found}) >= 3
            assert [of(one) for one in found] == sorted(map(of, found), reverse=way == "desc"), (sort, way)
    browser.visit("/web/recordings?search=shell")
    people_of = lambda: json.loads(browser.evaluate(script="JSON.stringify([...document.querySelectorAll('tbody tr td:first-child')].map((one) => one.textContent))"))  # noqa: E731
    sorted_by = lambda: browser.evaluate(script="[...document.querySelectorAll('th[aria-sort]')].map((one) => one.getAttribute('aria-sort')).join()")  # noqa: E731
    browser.see(target="td .tag:has-text('shell-amy')")
    assert sorted_by() == "none,none,descending,none,none"
    browser.click(target="th button:has-text('Person')")
    wait_for(lambda: people_of()[:1] == ["shell-amy"] and people_of() == sorted(people_of()))
    assert sorted_by() == "ascending,none,none,none,none" and "sort=user%3Aasc" in browser.url()
    browser.press(key="Enter")  # the heading has kept the focus
    wait_for(lambda: people_of()[:1] == ["shell-cid"] and people_of() == sorted(people_of(), reverse=True))
    browser.usable()
    browser.evaluate(script="history.back()")
    wait_for(lambda: sorted_by() == "ascending,none,none,none,none" and people_of()[:1] == ["shell-amy"])
    # Found when it was looked at: a word in a line at 1000 to 1280 pixels, and on a phone, where a table is cards, no heading to press.
    for width in (1000, 1280):
        browser.size(width=width, height=800)
        assert browser.evaluate(script="(() => { const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth; })()") <= 0
        assert browser.evaluate(script="Math.max(...[...document.querySelectorAll('tbody tr')].map((one) => one.offsetHeight))") < 60
    browser.size(width=375, height=800)
    browser.select(target=".sort-by select", value="user:desc")
    wait_for(lambda: people_of()[:1] == ["shell-cid"] and "sort=user%3Adesc" in browser.url())
    browser.usable()
    browser.size(width=1280, height=800)
    browser.visit("/web/servers")
    browser.see(target="td .name:has-text('node1')")
    browser.click(target="th button:has-text('since')")
    browser.see(target="th[aria-sort=ascending] button:has-text('since')")
    browser.see(target="td .name:has-text('node1')")


def test_the_way_back_through_pages(browser):
    """Found when the lists were gone through: after the browser's own back button, Previous led to the page that was shown."""
    browser.visit("/web/users?search=bulk")
    for first in ("bulk-0000", "bulk-0050"):
        wait_for(lambda first=first: names(browser)[:1] == [first])
        browser.click(target=".pages button:has-text('Next')")
    wait_for(lambda: names(browser)[:1] == ["bulk-0100"])
    browser.evaluate(script="history.back()")
    wait_for(lambda: names(browser)[:1] == ["bulk-0050"])
    browser.click(target=".pages button:has-text('Previous')")
    wait_for(lambda: names(browser)[:1] == ["bulk-0000"])
