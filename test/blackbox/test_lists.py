"""Lists filtered by the server: --query and --search of the command line, and the same of the web API."""

import pytest

from tport import BIN, Cluster


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
