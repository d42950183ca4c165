"""Chromium, driven by test/browser/drive.mjs: browser.click(target="..."), one command after the other."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

from tport import wait_for

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "browser"


def need_browser():
    if not shutil.which("chromium"):
        pytest.skip("no chromium on this machine")
    if not shutil.which("npm"):
        pytest.skip("no npm on this machine")
    if not all((FOLDER / "node_modules" / name).exists() for name in ("playwright-core", "axe-core")):
        done = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], cwd=FOLDER,
                              capture_output=True, text=True, timeout=170, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class Browser:
    """Runs in one host of the cluster's net."""

    def __init__(self, cluster, host="client"):
        self.cluster = cluster
        self.origin = f"https://{cluster.proxy}"
        self.process = subprocess.Popen(cluster.net.prefix(host) + ["node", "drive.mjs"], cwd=FOLDER, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, command, **args):
        self.process.stdin.write(json.dumps({"run": command, "args": args}) + "\n")
        self.process.stdin.flush()
        guard = threading.Timer(150, self.process.kill)
        guard.start()
        try:
            line = self.process.stdout.readline()
        except BaseException:
            self.process.kill() # its answer to this would be taken for that to the next command
            raise
        finally:
            guard.cancel()
        assert line, f"the browser ended in {command} {args}"
        answer = json.loads(line)
        assert "error" not in answer, f"{command} {args}: {answer['error']}"
        return answer["ok"]

    def __getattr__(self, command):
        return lambda **args: self.run(command, **args)

    def open(self, path="/web", **args):
        return self.run("open", url=self.origin + path, **args)

    def visit(self, path, **args):
        return self.run("goto", url=self.origin + path, **args)

    def sign_in(self, person, **args):
        return self.run("sign_in", user=person.name, password=person.password, code=person.code(), **args)

    def usable(self, **args):
        """axe finds nothing, and nothing is wider than the window; when everything is there."""
        self.run("see", target=".bone", count=0, **args)
        found = self.run("check", **args)
        assert not found["found"], "\n".join(found["found"])
        assert found["wide"] <= 0, f"{found['wide']} pixels wider than the window"

    def copies_all(self, least):
        """Each command of the dialog has a button that copies it, as it is."""
        count = self.run("count", target="dialog .command")
        assert count >= least
        for n in range(count):
            def copies(n=n):
                text = self.run("text", target=f"dialog .command >> nth={n} >> pre").strip()
                self.run("evaluate", script="navigator.clipboard.writeText('nothing yet')")
                self.run("click", target=f"dialog .command >> nth={n} >> button")
                return text and self.run("evaluate", script="navigator.clipboard.readText()").strip() == text
            wait_for(copies)

    def picture(self, picture, **args):
        """For human eyes: only where TPORT_SCREENSHOTS says so."""
        folder = os.environ.get("TPORT_SCREENSHOTS")
        if folder:
            self.run("shot", path=f"{folder}/{picture}.png", **args)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
