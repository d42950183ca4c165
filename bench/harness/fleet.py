"""Simulated agents, and people who have a certificate."""

import contextlib
import json
import subprocess
import time

from harness.servers import tool


class Agents:
    """bench/tools/agents.c against a cluster; what it last said is in state()."""

    def __init__(self, place, cluster, count, prefix="load", heartbeat=True):
        self.count, self.prefix = count, prefix
        self.log = place.folder / f"agents-{prefix}.log"
        words = [tool("agents"), f"--target={cluster.proxy}", f"--token={cluster.token()}", f"--count={count}", f"--prefix={prefix}"]
        self.out = open(self.log, "wb")
        self.popen = subprocess.Popen([str(w) for w in words + ([] if heartbeat else ["--no-heartbeat"])], stdout=self.out, stderr=self.out, start_new_session=True)
        place.keep(self)

    def state(self):
        if self.popen.poll() is not None:
            raise RuntimeError(f"agents ended: {self.log.read_text()[-400:]}")
        for line in reversed(self.log.read_bytes().splitlines()):
            with contextlib.suppress(ValueError):
                return json.loads(line)
        return {"joined": 0, "up": 0}

    def wait(self, what, timeout):
        """Seconds until what(state) is true."""
        begin = time.monotonic()
        while not what(self.state()):
            if time.monotonic() > begin + timeout:
                raise RuntimeError(f"agents: not after {timeout} s: {self.state()}")
            time.sleep(0.1)
        return time.monotonic() - begin

    def wait_up(self, timeout=60):
        return self.wait(lambda s: s["up"] == self.count, timeout)

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        self.out.close()


def server_name(node, cluster):
    return f"{node.encode().hex()}.node.{cluster.name}"


def keys(person):
    """(certificate, key) files for TLS."""
    folder = person.home / ".tport" / "keys" / person.cluster.proxy.split(":")[0]
    return folder / f"{person.name}.crt", folder / f"{person.name}.key"
