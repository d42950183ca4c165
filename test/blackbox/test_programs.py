"""What the programs say by themselves, without a cluster: versions, help, wrong words."""

import subprocess

import pytest

from tport import BIN


def say(*words, **env):
    return subprocess.run([str(BIN / words[0]), *words[1:]], capture_output=True, text=True, timeout=20, check=False, **env)


@pytest.mark.parametrize("program", ["tport", "tportctl", "tportd"])
def test_each_program_tells_its_version(program):
    result = say(program, "--version")
    assert (result.returncode, result.stderr) == (0, "") and result.stdout == say(program, "version").stdout != ""


@pytest.mark.parametrize("program,group,lists", [("tport", "proxy", "proxy ssh"), ("tport", "kube", "kube login"),
                                                 ("tport", "recordings", "recordings ls"), ("tportctl", "users", "users add")])
def test_help_of_a_group_lists_its_commands(program, group, lists):
    for flag in ("--help", "-h"):
        result = say(program, group, flag)
        assert (result.returncode, result.stderr) == (0, "") and f"\n  {lists} " in result.stdout
    assert say(program, group).returncode == 1
    unknown = say(program, "frobnicate", "--help")
    assert unknown.returncode == 1 and 'there is no command "frobnicate"' in unknown.stderr


def test_status_of_tportd_has_a_help():
    result = say("tportd", "status", "--help")
    assert result.returncode == 0 and result.stdout.startswith("tportd: ") and "tportd status" in result.stdout
    assert say("tportd", "status", "--nonsense").returncode == 1
