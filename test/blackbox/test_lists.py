"""Lists filtered by the server: --query and --search of the command line, and the same of the web API."""

import pytest

from terminal import Browser
from tport import BIN, Cluster, wait_for


@pytest.fixture(scope="module")
def home():
    made = Cluster(nodes=("node1", "node2"))
    made.add_node("prod1", labels="env=prod,team=web")
    made.wait_online("prod1")
    yield made
    made.close()


def test_query_and_search_of_ls(home):
    alice = home.person("alice")

    def names(*words):
        return alice.tport("ls", "--format=names", *words, check=True).stdout.split()

    assert names() == ["node1", "node2", "prod1"]
    assert names('--query=labels["env"] == "prod"') == ["prod1"]
    assert names('--query=name == "node2" || labels.team == "web"') == ["node2", "prod1"]
    assert names("--search=PROD,web") == ["prod1"]
    assert names("--search=node", '--query=!hasPrefix(name, "node1")') == ["node2"]
    assert names("env=dev", '--query=search("ODE2")') == ["node2"]
    wrong = alice.tport("ls", "--query=name == ")
    assert wrong.returncode == 1 and "at character 9" in wrong.stderr and wrong.stdout == ""
    there = home.ctl("nodes", "ls", '--query=labels.team == "web"').stdout
    assert "prod1" in there and "node1" not in there
    there = alice.run(BIN / "tportctl", "nodes", "ls", "--search=node2", check=True).stdout
    assert "node2" in there and "prod1" not in there
    wrong = alice.tport("kube", "ls", "--query=nmae == 1")
    assert wrong.returncode == 1 and "character 1" in wrong.stderr


def test_a_label_of_two_kinds_has_one_value_everywhere(home):
    """What a command prints hides the static value of its name: in lists, filters, the web and, above all, decisions."""
    def twice(text):
        return text.replace("commands: []\n", "").replace("\n  labels:", '\n  commands:\n  - {name: env, command: [/bin/echo, over], period: 1m}\n  labels:', 1)

    home.add_node("twice1", labels="env=below,area=two", change=twice)
    wait_for(lambda: home.ctl("nodes", "ls", '--query=labels.env == "over"').stdout.count("twice1"))
    role = "kind: role\nversion: v7\nmetadata: {name: %s}\nspec: {allow: {logins: [root], node_labels: {env: %s}}}\n"
    for name in ("below", "over"):
        home.ctl("create", "-f", input=role % (name, name))
    under, over = home.person("under", roles="below"), home.person("over", roles="over")
    assert over.tport("ssh", "root@twice1", "echo in").stdout == "in\n"
    assert under.tport("ssh", "root@twice1", "true").returncode != 0
    assert over.tport("ls", "env=over", "--format=names").stdout == "twice1\n"
    assert under.tport("ls", "--format=names").stdout == ""
    for words in (["env=below"], ["--search=below"], ['--query=labels.env == "below"']):
        assert over.tport("ls", "--format=names", *words).stdout == "", words
    shown = over.tport("ls", "env=over").stdout
    assert "env=over" in shown and "below" not in shown
    for user, answer in (("under", "deny"), ("over", "allow")):
        explained = home.ctl("access", "explain", user, "access", "node/twice1", "--login=root").stdout
        assert explained.startswith(answer), explained
    browser = Browser(over)
    browser.sign_in()
    items = browser.ask("GET", f"/v1/webapi/sites/{home.name}/nodes").json()["items"]
    assert [t for t in items[0]["tags"] if t["name"] == "env"] == [{"name": "env", "value": "over"}]
    names = [t["name"] for t in items[0]["tags"]]
    assert names == sorted(names) and len(names) > 1  # as tport ls has them
