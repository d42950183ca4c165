"""scripts/demo: one at a time, and nothing of it stays behind."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest

from tport import BIN, DIES_WITH_US, ROOT, wait_for


class Demo:
    """A build folder of its own with the programs under test in it."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.state = folder / "build" / "demo"
        self.runs = []
        self.home.mkdir()
        (folder / "build").mkdir()
        (folder / "build" / "bin").symlink_to(BIN)

    def start(self):
        log = open(self.folder / f"out{len(self.runs)}", "w+")  # pylint: disable=consider-using-with
        env = {**os.environ, "BUILD": str(self.folder / "build"), "TPORT_HOME": str(self.home), "HOME": str(self.home)}
        run = subprocess.Popen([*DIES_WITH_US, str(ROOT / "scripts" / "demo")], stdout=log, stderr=log, env=env, start_new_session=True)
        run.text = lambda: pathlib.Path(log.name).read_text()
        self.runs.append(run)
        return run

    def up(self):
        run = self.start()
        wait_for(lambda: "Ctrl-C ends the demo" in run.text() or run.poll() is not None, 40)
        assert run.poll() is None, run.text()
        return run

    def master(self):
        return int((self.state / "data" / "tportd.pid").read_text())

    def pems(self):
        return list((self.home / "trusted").glob("*.pem"))


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    for run in demo.runs:
        if run.poll() is None:
            run.terminate()
            run.wait(10)
    with contextlib.suppress(OSError, ValueError):
        os.kill(demo.master(), signal.SIGTERM)


def alive(pid):
    return pathlib.Path(f"/proc/{pid}/exe").exists()


def test_demo_runs_once_cleans_up_and_keeps_its_port(demo):
    first = demo.up()
    port = re.search(r"https://127.0.0.1:(\d+)", first.text()).group(1)
    # B20: a first-time user met the browser's warning without a word about it.
    assert re.search(r"/web/invite/(?s:.*)browser will warn(?s:.*)Advanced, then", first.text()), first.text()
    master = demo.master()
    second = demo.start()
    assert second.wait(10) == 1
    assert f"a demo runs already on https://127.0.0.1:{port} (tportd is process {master})" in second.text(), second.text()
    assert alive(master) and [p.name for p in demo.pems()] == [f"127.0.0.1_{port}.pem"]
    first.terminate()
    assert first.wait(10) == 0
    assert not alive(master) and not demo.pems()

    again = demo.up()
    assert f"https://127.0.0.1:{port}/" in again.text() or f"https://127.0.0.1:{port} " in again.text(), again.text()
    os.kill(demo.master(), signal.SIGTERM)
    assert again.wait(10) == 1 and "tportd has ended" in again.text()
    assert not demo.pems()


def test_demo_behind_an_orphan_says_so(demo):
    first = demo.up()
    master = demo.master()
    first.kill()
    first.wait(10)
    second = demo.start()
    assert second.wait(10) == 1
    assert f"kill {master}" in second.text(), second.text()
    assert alive(master)
    os.kill(master, signal.SIGTERM)
    wait_for(lambda: not alive(master))
    demo.up()
