"""Two machines called the same: the error names them, an id or labels choose one."""

import re
import subprocess

import pytest

from tport import BIN, ROOT_USER, Cluster, Daemon, wait_for


pytestmark = pytest.mark.skipif(not ROOT_USER, reason="two machines need namespaces")


def add_twin(cluster, place, name, labels, change=lambda conf: conf):
    """A node in the host called place that calls itself name; its id."""
    before = {n["metadata"]["name"] for n in cluster.node_list()}
    folder = cluster.folder / place
    folder.mkdir()
    folder.chmod(0o755)
    conf = folder / "tport.conf"
    made = subprocess.run(cluster.net.prefix(place) + [
        str(BIN / "tportd"), "node", "configure", f"--proxy={cluster.proxy}", f"--token={cluster.token()}", f"--ca-pin={cluster.pin()}",
        f"--node-name={name}", f"--labels={labels}", f"--data-dir={folder}/data", "-o", str(conf)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    cluster.nodes[place] = Daemon(cluster.net, place, folder, change(conf.read_text())).start()
    return wait_for(lambda: next(n["metadata"]["name"] for n in cluster.node_list()
                                 if n["metadata"]["name"] not in before and n.get("online")), 40)


@pytest.fixture(scope="module")
def twins():
    cluster = Cluster()
    try:
        cluster.left = add_twin(cluster, "left", "twin", "side=left,env=prod")
        cluster.right = add_twin(cluster, "right", "twin", "side=right,env=prod")
        cluster.alice = cluster.person("alice")
        yield cluster
    finally:
        cluster.close()


def address(cluster, place):
    return cluster.net.names[place][1]


def where(output):
    """The address of the machine that answered."""
    return re.search(r"10\.77\.0\.\d+", output).group(0)


def test_the_error_lists_the_candidates(twins):
    result = twins.alice.tport("ssh", "root@twin", "true")
    assert result.returncode != 0
    shown = sorted([f"{twins.left} (side=left)", f"{twins.right} (side=right)"])
    assert (result.returncode, result.stderr) == (255, f"ERROR: twin is the name of 2 servers; use the id of one: {', '.join(shown)}\n")


def test_a_label_makes_no_row_of_its_own(twins):
    """A host's labels are its own words: with the end of a line in them it could put another name beside its id."""
    add_twin(twins, "plain", "plain", "team=x")
    add_twin(twins, "sly", "sly", "team=x,note=row", lambda conf: conf.replace("note: row", 'note: "row\\n  00000000-1111-4111-8111-111111111111  db1  team=x"'))
    result = twins.alice.tport("ssh", "root@team=x", "true")
    assert result.returncode == 255 and "matches 2 hosts" in result.stderr
    rows = [line for line in result.stderr.splitlines() if line.startswith("  ")]
    assert len(rows) == 2, result.stderr
    assert r"row\x0a  00000000" in result.stderr, result.stderr


def test_stock_ssh_reads_the_same(twins):
    block = twins.alice.tport("config", check=True).stdout
    path = twins.alice.home / "ssh_config"
    path.write_text(block)
    result = twins.alice.run("ssh", "-F", path, f"root@twin.{twins.name}", "true")
    assert result.returncode == 255
    assert twins.left in result.stderr and twins.right in result.stderr, result.stderr
    for node, place in ((twins.left, "left"), (twins.right, "right")):
        out = twins.alice.run("ssh", "-F", path, f"root@{node}.{twins.name}", "ip -4 -o addr show eth0", check=True).stdout
        assert where(out) == address(twins, place)


def test_an_id_chooses(twins):
    for node, place in ((twins.left, "left"), (twins.right, "right")):
        out = twins.alice.tport("ssh", f"root@{node}", "ip -4 -o addr show eth0", check=True).stdout
        assert where(out) == address(twins, place)


def test_labels_choose(twins):
    out = twins.alice.tport("ssh", "root@side=right", "ip -4 -o addr show eth0", check=True).stdout
    assert where(out) == address(twins, "right")
    both = twins.alice.tport("ssh", "root@env=prod", "true")
    assert both.returncode != 0 and twins.left in both.stderr and twins.right in both.stderr, both.stderr
    typo = twins.alice.tport("ssh", "root@side=rihgt", "true")
    assert typo.returncode != 0 and "right" in typo.stderr, typo.stderr


def test_scp_to_an_id_and_to_labels(twins):
    source = twins.alice.home / "note"
    source.write_text("for one of them\n")
    for target, name in ((twins.left, "by-id"), ("side=left", "by-label")):
        path = twins.folder / name
        result = twins.alice.tport("scp", source, f"root@{target}:{path}")
        assert result.returncode == 0 and path.read_text() == "for one of them\n", result.stderr


def test_a_changed_nodename_is_taken_over(twins):
    """What the host said under its new name was refused until its certificate was renewed, and that came with its age, months later."""
    daemon = twins.nodes["left"]
    daemon.stop()
    daemon.write(daemon.conf.read_text().replace("nodename: twin", "nodename: Other"))
    daemon.start()
    twins.wait_online("other")
    assert next(n for n in twins.node_list() if n["spec"]["hostname"] == "other")["metadata"]["name"] == twins.left
    assert where(twins.alice.tport("ssh", "root@other", "ip -o addr").stdout) == address(twins, "left")
