"""The privileged half of tport-session against an unprivileged half that has been taken over."""

import os
import subprocess

import pytest

import session_harness as harness
from session_fixtures import LOGIN, keys, make, pytestmark  # noqa: F401  pylint: disable=unused-import

HOSTILE = os.path.join(harness.BUILD, "test", "hostile_half")
SSH, SHELL, FILE = "ssh", "shell", "file"
# Which kinds of grant a call belongs to. What is not here must be refused.
CALLS = {
    "auth": set(),  # once more, signed in: never
    "open_shell": {SSH, SHELL}, "open_exec": {SSH}, "open_sftp": {SSH},
    "open_file": {FILE}, "file_done": {FILE},
    "signal": {SSH}, "connect": {SSH}, "listen": {SSH}, "agent_listen": {SSH},
    "record": {SSH, SHELL}, "end": {SSH, SHELL},
    "audit": {SSH, SHELL},  # of a resize: a file has no size of its terminal
    "bye": {SSH, SHELL, FILE},
}
EVENTS = {"signal", "end", "audit"}  # which are not answered


def calls():
    return subprocess.run([HOSTILE, "calls"], capture_output=True, text=True, check=True).stdout.split()


def test_every_call_has_its_line_here():
    assert set(calls()) == set(CALLS)


@pytest.mark.parametrize("kind", [SSH, SHELL, FILE])
@pytest.mark.parametrize("call", sorted(CALLS))
def test_R7_a_half_is_held_to_the_kind_of_its_grant(make, monkeypatch, kind, call):  # noqa: F811
    """A call of another kind ends the connection, and the agent hears of nothing but its end."""
    monkeypatch.setattr(harness, "SESSION", HOSTILE)
    agent = make(max_sessions=calls().index(call))
    agent.accepted = {"any"}
    if kind != SSH:
        agent.grant_extra = {"service": "term", "file": kind == FILE, "logins": [{"name": LOGIN, "forward_agent": False}]}
    agent.config_extra = {"host_cert": LOGIN, "file_copy": True}
    connection = agent.connect()
    agent.wait(lambda: agent.processes)
    assert set(agent.reap(15)) <= {0}
    connection.close()
    log = agent.session_log()
    heard = [method for method, _ in agent.requests if method != "session.check_cert"] + [event for event, _ in agent.events]
    if kind in CALLS[call]:
        assert "broke the order" not in log, log
        assert f"the half was answered call={call}" in log or call in EVENTS
    else:
        assert "broke the order" in log, log
        assert f"call={call} code=ok" not in log
        assert not heard, heard
