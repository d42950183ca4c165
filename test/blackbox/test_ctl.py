"""Small commands of tportctl: tokens as they are shown, what is removed and how the audit log says it, editing."""

import json
import re

import pytest
import yaml

from tport import Daemon, wait_for


def codes(cluster, event):
    return [(e["code"], e["name"]) for e in cluster.audit() if e["event"] == event]


def test_a_token_is_removed_by_what_the_list_shows(cluster):
    for value in ("alpha-token-of-the-list-0123456789", "beta-token-of-the-list-0123456789"):
        cluster.ctl("tokens", "add", "--type=node", f"--value={value}")
    listed = cluster.ctl("tokens", "ls").stdout
    assert "of-the-list" not in listed and "of-the-list" not in cluster.ctl("tokens", "ls", "--with-secrets", "--format=json").stdout
    shown = re.search(r"^alph\*+", listed, re.M).group(0)
    assert f"Token {shown} has been deleted" in cluster.ctl("tokens", "rm", shown).stdout
    left = cluster.ctl("tokens", "ls").stdout
    assert "alph" not in left and "beta*" in left
    cluster.ctl("tokens", "rm", "beta-token-of-the-list-0123456789")
    assert "beta" not in cluster.ctl("tokens", "ls").stdout
