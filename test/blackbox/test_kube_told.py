"""What kubectl prints when it is refused before it knows anything of the cluster: its first requests are discovery, whose
answers client-go reads in ways of its own (src/kube/kube_status.h)."""

import pytest

from kube_site import role, with_role

ALL = ("version", "api-versions", "api-resources", "get pods", "get --raw /api", "explain pods")
SOME = ("version", "get pods")
VERSIONS = ["1.20", "new", "1.35"]


@pytest.fixture(scope="module")
def told(site):
    """What somebody's kubectl prints on standard error, by version and command, with nothing in its cache."""
    made = {}

    def run(person, version, command, *more):
        made[person] = made.get(person, 0) + 1
        result = site.kubectl(person, f"--cache-dir={person.home}/cache-{made[person]}", *more, *command.split(), version=version, context="prod")
        assert result.returncode == 1, (command, result)
        return result.stderr
    return run


@pytest.fixture(scope="module")
def who(site):
    return with_role(site, "told", kubernetes_groups=["developer"])


def change(site, **allow):
    site.cluster.ctl("create", "-f", "--force", input=role("told-role", **allow))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_role_that_lets_one_be_nobody(site, told, who, version):
    change(site)
    for command in ALL:
        assert "tport: " in told(who, version, command), command


def test_groups_that_were_given_after_the_sign_in(site, told):
    """Who was just given a group and is refused reads that he has it when he signs in anew."""
    person = with_role(site, "given-late", kubernetes_groups=["{{internal.kubernetes_groups}}"])
    site.cluster.ctl("users", "update", person.name, "--set-kubernetes-groups=developer")
    for version in VERSIONS:
        assert "sign in anew (tport logout, then tport login)" in told(person, version, "get pods")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_that_is_not_there_any_more(site, told, who, version):
    change(site, kubernetes_labels={"env": "nowhere"}, kubernetes_groups=["developer"])
    for command in SOME:
        said = told(who, version, command)
        assert "tport: " in said and "prod" in said, command


@pytest.mark.parametrize("version", VERSIONS)
def test_somebody_whom_one_may_not_be(told, developer, version):
    """The agent's refusal, of the first request already."""
    for command in SOME:
        said = told(developer, version, command, "--as=admin")
        assert "tport: " in said and "admin" in said, command


@pytest.mark.parametrize("version", VERSIONS)
def test_a_list_without_its_watch(site, told, who, version):
    """kubectl 1.20 reads no Status of a watch, either: it printed "unknown"."""
    change(site, kubernetes_groups=["system:masters"], kubernetes_resources=[
        {"kind": "pod", "name": "*", "namespace": "*", "verbs": ["get", "list"]}])
    assert "tport: your roles do not let you watch pods in namespace default" in told(who, version, "get pods -w")
