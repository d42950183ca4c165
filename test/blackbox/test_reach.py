"""Who can reach what: the panel beside users and roles, with the answers of `tportctl access explain`."""

import json
import urllib.parse

import pytest

from browser import Browser as Chromium, need_browser
from terminal import Browser

ROLES = """
kind: role
version: v7
metadata: {name: reach-dev}
spec:
  allow: {logins: [ubuntu, '{{internal.logins}}'], node_labels: {env: dev}}
  deny: {logins: [guest]}
---
kind: role
version: v7
metadata: {name: reach-nobody}
spec: {allow: {node_labels: {env: prod}, logins: [x]}}
---
kind: role
version: v7
metadata: {name: reach-reader}
spec: {allow: {rules: [{resources: [user, role], verbs: [list, read]}]}}
---
kind: role
version: v7
metadata: {name: reach-half}
spec: {allow: {rules: [{resources: [user], verbs: [list, read]}], node_labels: {'*': '*'}, logins: [root]}}
---
kind: role
version: v7
metadata: {name: reach-some}
spec: {allow: {node_labels: {'*': '*'}, logins: [root], rules: [{resources: [role], verbs: [list, read]}, {resources: [user], verbs: [list, read], where: 'equals(resource.metadata.name, "reach-ann")'}]}}
"""


@pytest.fixture(scope="module")
def people(cluster):
    cluster.ctl("create", "-f", input=ROLES)
    made = {name: Browser(cluster.person(f"reach-{name}", roles=roles, logins=logins, sign_in=False)) for name, roles, logins in [
        ("admin", "access,editor", "root"), ("ann", "reach-dev,auditor", "annlogin"), ("poor", "access", "root"),
        ("reader", "reach-reader", "root"), ("half", "reach-half", "root"), ("some", "reach-some", "root")]}
    for name in ("admin", "poor", "reader", "half", "some"):
        made[name].sign_in()
    yield made
    for name in ("reach-dev", "reach-nobody"):
        cluster.ctl("rm", f"role/{name}", check=False)


def ask(person, what, **query):
    return person.ask("GET", f"/webapi/sites/test/access/{what}?{urllib.parse.urlencode(query)}")


def reach(person, **query):
    reply = ask(person, "reach", **query)
    assert reply.status == 200, reply.text
    return reply.json()


def test_the_reach_of_a_user_and_of_a_role(people):
    admin = people["admin"]
    mine = reach(admin, user="reach-ann")
    assert {item["name"]: item["logins"] for item in mine["items"]} == {"node1": ["annlogin", "ubuntu"], "node2": ["annlogin", "ubuntu"]}
    assert mine["total"] == 2 and mine["roles"] == ["reach-dev", "auditor"]
    assert [item["name"] for item in mine["items"]] == ["node1", "node2"]
    assert [item["name"] for item in reach(admin, user="reach-ann", search="node2")["items"]] == ["node2"]
    role = reach(admin, role="reach-dev")
    assert role["users"] == ["reach-ann"] and {item["name"]: item["logins"] for item in role["items"]} == {"node1": ["ubuntu"], "node2": ["ubuntu"]}
    assert reach(admin, role="reach-nobody") == {"items": [], "total": 0, "users": []}
    assert reach(admin, user="reach-ann", kind="kube_cluster")["items"] == []
    for query, status in [({}, 400), ({"user": "a", "role": "b"}, 400), ({"user": "nobody"}, 404), ({"role": "nothing"}, 404),
                          ({"user": "reach-ann", "kind": "role"}, 400)]:
        assert ask(admin, "reach", **query).status == status, query


@pytest.mark.parametrize("query", [
    {"kind": "node", "name": "node1"}, {"kind": "node", "name": "node1", "login": "ubuntu"}, {"kind": "node", "name": "node1", "login": "guest"},
    {"kind": "node", "name": "node1", "login": "root"}, {"verb": "delete", "kind": "role"}, {"verb": "list", "kind": "session"},
])
def test_the_answer_is_the_command_s(cluster, people, query):
    said = ask(people["admin"], "explain", user="reach-ann", **query)
    assert said.status == 200, said.text
    reference = f"{query['kind']}/{query['name']}" if "name" in query else query["kind"]
    words = ["access", "explain", "reach-ann", query.get("verb", "access"), reference, "--format=json"] + ([f"--login={query['login']}"] if "login" in query else [])
    assert said.json() == json.loads(cluster.ctl(*words).stdout)


def test_R3_who_may_ask(cluster, people):
    for name in ("poor", "half"):  # no right to read users, or roles
        assert ask(people[name], "reach", user="reach-ann").status == 403
        assert ask(people[name], "explain", user="reach-ann", kind="node", name="node1").status == 403
        assert ask(people[name], "reach", role="access").status == 403
    # The right to read, but no server of his own to see: none is shown, and none can be asked about.
    reader = people["reader"]
    assert reach(reader, user="reach-ann")["items"] == [] and reach(reader, role="reach-dev")["items"] == []
    assert ask(reader, "explain", user="reach-ann", kind="node", name="node1").status == 404
    # What a rule's where leaves out is as what is not there; in the holders of a role too.
    some = people["some"]
    assert reach(some, user="reach-ann")["total"] == 2
    hidden, absent = ask(some, "reach", user="reach-admin"), ask(some, "reach", user="reach-xdmin")
    assert hidden.status == absent.status == 404 and hidden.text.replace("reach-admin", "reach-xdmin") == absent.text
    assert ask(some, "explain", user="reach-admin", kind="node", name="node1").status == 404
    assert reach(some, role="access")["users"] == [] and "reach-admin" in reach(people["admin"], role="access")["users"]


def test_a_locked_user_reaches_nothing(cluster, people):
    cluster.ctl("lock", "--user=reach-ann", "--message=left us")
    try:
        mine = reach(people["admin"], user="reach-ann")
        assert mine["items"] == [] and "left us" in mine["locked"]
        assert ask(people["admin"], "explain", user="reach-ann", kind="node", name="node1").json()["reason"] == "locked"
    finally:
        for lock in json.loads(cluster.ctl("get", "lock", "--format=json").stdout):
            cluster.ctl("rm", f"lock/{lock['metadata']['name']}")


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_the_panel(cluster, people, look):
    need_browser()
    language, theme, device = look.split("-")
    words = {"en": ("Reach", "Why", "allowed", "denied", "Explain"), "ko": ("접근 범위", "이유", "허용", "거부", "설명 보기")}[language]
    chromium = Chromium(cluster)
    try:
        chromium.open("/web/roles?search=reach-dev", locale={"en": "en-US", "ko": "ko-KR"}[language], dark=theme == "dark",
                      **({"width": 360, "height": 740} if device == "phone" else {}))
        chromium.sign_in(people["admin"].person)
        chromium.click(target=f"tr:has-text('reach-dev') button:has-text('{words[0]}')")
        chromium.see(target="dialog td:has-text('node1')")
        chromium.usable()
        chromium.click(target="dialog button.tag:has-text('reach-ann')")
        chromium.see(target="dialog td:has-text('annlogin')")
        chromium.usable()
        chromium.click(target=f"dialog tr:has-text('node1') button:has-text('{words[1]}')")
        assert words[2] in chromium.see(target="dialog .why .note")
        assert "reach-dev" in chromium.text(target="dialog .why .facts") and "auditor" in chromium.text(target="dialog .why .facts")
        chromium.usable()
        chromium.picture(f"reach-{look}")
        chromium.fill(target="dialog form input >> nth=1", text="guest")
        chromium.click(target=f"dialog form button:has-text('{words[4]}')")
        assert words[3] in chromium.see(target="dialog .why .note.bad")
        chromium.usable()
        chromium.fill(target="dialog form input >> nth=0", text="no-such-node")
        chromium.click(target=f"dialog form button:has-text('{words[4]}')")
        assert "no-such-node" in chromium.see(target="dialog .note.bad")
        chromium.click(target="dialog [role=tab] >> nth=1")
        chromium.see(target="dialog .empty")
        chromium.usable()
        chromium.press(key="Escape")
        chromium.see(target="dialog", count=0)
        chromium.visit("/web/users?search=reach-ann")
        chromium.click(target=f"tr:has-text('reach-ann') button:has-text('{words[0]}')")
        chromium.see(target="dialog td:has-text('annlogin')")
        chromium.press(key="Escape")
    finally:
        chromium.stop()
