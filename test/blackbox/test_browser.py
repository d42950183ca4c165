"""The pages in Chromium, driven by Playwright."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from tport import PASSWORD, Cluster, in_host

BROWSER = pathlib.Path(__file__).resolve().parents[1] / "browser"


@pytest.fixture(scope="module")
def playwright():
    if not shutil.which("chromium"):
        pytest.skip("no chromium on this machine")
    if not (BROWSER / "node_modules" / "playwright-core").exists():
        done = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], cwd=BROWSER,
                              capture_output=True, text=True, timeout=170, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_invitation_in_a_browser(cluster, playwright, tmp_path):
    person = cluster.person("browser", enrol=False)
    pictures = os.environ.get("TPORT_SCREENSHOTS", str(tmp_path))
    done = subprocess.run(cluster.net.prefix("client") + ["node", "invite.mjs", person.url, PASSWORD, pictures], cwd=BROWSER,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["secret"] == 32 and seen["qr"] > 0
    assert "match" in seen["mistake"] or "same" in seen["mistake"]
    assert "tport login" in seen["done"] and "browser" in seen["done"]
    assert "tport login" not in seen["again"] or "not" in seen["again"]
    assert not seen["overflow"]
    assert seen["hosts"] == [cluster.proxy]
    # A refused page is answered with 4xx, which Chromium notes in its console; nothing else may be there.
    assert not [p for p in seen["problems"] if "status of 4" not in p], seen["problems"]
