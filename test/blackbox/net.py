"""Hosts of our own: network namespaces joined by one bridge. Needs root; without it everything runs on loopback."""

import contextlib
import os
import signal
import subprocess


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Net:
    """net.host("node1") is a namespace with an address; net.prefix("node1") goes before a command to run it there."""

    def __init__(self, tag):
        self.tag = tag
        self.names = {}
        self.real = os.geteuid() == 0 and run("ip", "netns", "add", f"{tag}-sw", check=False).returncode == 0
        if self.real:
            self._sw("ip", "link", "add", "br0", "type", "bridge")
            self._sw("ip", "link", "set", "br0", "up")

    def _sw(self, *command):
        run("ip", "netns", "exec", f"{self.tag}-sw", *command)

    def host(self, name):
        """Its address."""
        if not self.real:
            return "127.0.0.1"
        if name not in self.names:
            number = len(self.names) + 1
            space = f"{self.tag}-{name}"
            port = f"v{number}"
            run("ip", "netns", "add", space)
            run("ip", "-n", f"{self.tag}-sw", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            self._sw("ip", "link", "set", port, "master", "br0", "up")
            run("ip", "-n", space, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")
            self.names[name] = (space, f"10.77.0.{number}", port)
        return self.names[name][1]

    def prefix(self, name):
        if not self.real:
            return []
        self.host(name)
        return ["ip", "netns", "exec", self.names[name][0]]

    def cut(self, name, off=True):
        """Pulls the host's cable, or puts it back."""
        self._sw("ip", "link", "set", self.names[name][2], "down" if off else "up")

    def slow(self, name, rate):
        """What comes to the host comes at this rate ("100kbit"), or at full speed again (None)."""
        words = ("add", "dev", self.names[name][2], "root", "tbf", "rate", rate, "burst", "4kb", "latency", "5s") if rate else ("del", "dev", self.names[name][2], "root")
        self._sw("tc", "qdisc", *words)

    @staticmethod
    def _end_all(space):
        """Whoever is still there: a program whose terminal hangs up while the leak sanitizer looks at it never ends (the signal takes away the
        stop that the sanitizer waits for), and costs a processor."""
        for pid in run("ip", "netns", "pids", space, check=False).stdout.split():
            if int(pid) != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)

    def close(self):
        if self.real:
            for space, _, _ in self.names.values():
                self._end_all(space)
                run("ip", "netns", "del", space, check=False)
            run("ip", "netns", "del", f"{self.tag}-sw", check=False)
