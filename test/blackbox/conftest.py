import os
import re
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from kube_site import DEVELOPER, Site  # noqa: E402  pylint: disable=wrong-import-position
from tport import Cluster  # noqa: E402  pylint: disable=wrong-import-position

# A job in the background of a script is started with this ignored, and what it starts inherits that: no Ctrl-C of a test would be heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster():
    """One cluster with two nodes for all tests that leave it as they found it."""
    made = Cluster(nodes=("node1", "node2"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def alice(cluster):
    """Signed in; roles access, editor, auditor; login root."""
    return cluster.person("alice")


@pytest.fixture(scope="session")
def site():
    """Two real Kubernetes clusters behind tport; tests leave them as they found them."""
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="session")
def member(site):
    """system:masters everywhere."""
    person = site.person("seokbin2", "member")
    person.tport("kube", "login", "prod", check=True)
    person.tport("kube", "login", "--all", check=True)
    return person


@pytest.fixture(scope="session")
def developer(site):
    """The walkthrough's alice."""
    site.prod.admin("apply", "-f", "-", input=DEVELOPER)
    person = site.person("alice", "dev2")
    person.tport("kube", "login", "prod", check=True)
    return person


@pytest.fixture
def fresh():
    """A cluster of the test's own, made by calling it; gone afterwards."""
    made = []

    def make(**options):
        made.append(Cluster(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# What takes longest begins first, when files run beside each other.
LONGEST = ["site", "test_kube_road", "test_web_attacks", "test_browser_trouble", "test_browser_account", "test_mfa", "test_crash", "test_live", "test_session",
           "test_rotation", "test_browser_activity", "test_rbac"]


def shares_site(item):
    found = getattr(item, "_fixtureinfo").name2fixturedefs.get("site")
    return bool(found) and found[-1].scope == "session"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """With `-n N --dist loadgroup`: a file's tests stay together, and so do all that share the two Kubernetes clusters."""
    if not config.getoption("dist", "no") == "loadgroup" and not hasattr(config, "workerinput"):
        return
    group = {item: "site" if shares_site(item) else item.path.stem for item in items}
    for item, name in group.items():
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: LONGEST.index(group[item]) if group[item] in LONGEST else len(LONGEST))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the daemons' logs."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for value in item.funcargs.values():
            value = value.cluster if isinstance(value, Site) else value
            if isinstance(value, Cluster):
                for daemon in [value.daemon, *value.nodes.values()]:
                    report.sections.append((str(daemon.log), "\n".join(daemon.text().splitlines()[-40:])))


def pytest_make_parametrize_id(val):
    """Names of cases are words that a shell and a log take: selectors and sentences become such."""
    if isinstance(val, str) and not re.fullmatch(r"[\w.*:/-]{1,60}", val, re.ASCII):
        return re.sub(r"\W+", "_", val, flags=re.ASCII)[:40].strip("_") or "text"
    return None
