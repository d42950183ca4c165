"""A server that nobody has set up: its own /etc, /usr/local/bin, /var/lib and /run, in a host of the net."""

import os
import subprocess

import pytest

from tport import DIES_WITH_US, wait_for

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

# What an installation may touch is in memory and gone with the last process; the rest is this machine's.
FRESH = """
set -e
mkdir -p "$1" && mount -t tmpfs none "$1"
for place in /etc /var/lib /run; do
    mkdir -p "$1$place/up" "$1$place/work"
    mount -t overlay none -o "lowerdir=$place,upperdir=$1$place/up,workdir=$1$place/work" "$place"
done
mount -t tmpfs none /usr/local/bin
rm -rf /etc/tport /var/lib/tport
userdel tport-session 2>/dev/null || true
hostname "$2"
touch "$1/ready"
exec sleep infinity
"""


class Machine:
    """One server in a host of the net."""

    def __init__(self, cluster, name):
        if not cluster.net.real:
            pytest.skip("needs root: mounts of its own")
        self.cluster, self.name = cluster, name
        self.top = cluster.folder / f"machine-{name}"
        self.holder = subprocess.Popen(cluster.net.prefix(name) + ["unshare", "-m", "-u", *DIES_WITH_US, "sh", "-c", FRESH, "sh", str(self.top), name])
        wait_for(lambda: self.sh(f"test -e {self.top}/ready").returncode == 0)
        self.daemon = None

    def prefix(self):
        return ["nsenter", "-t", str(self.holder.pid), "-m", "-u", "-n", "--", "env", "-i", f"PATH={PATH}", "HOME=/root",
                *(f"{k}={v}" for k, v in os.environ.items() if k.startswith(("ASAN", "UBSAN", "LSAN")))]

    def sh(self, text, **kw):
        return subprocess.run(self.prefix() + ["bash", "-c", text], capture_output=True, text=True, timeout=120, check=False, **kw)

    def start(self, line):
        log = open(self.cluster.folder / f"machine-{self.name}.log", "ab")
        self.daemon = subprocess.Popen(self.prefix() + [*DIES_WITH_US, "sh", "-c", f"exec {line}"], stdout=log, stderr=log, start_new_session=True)

    def stop(self):
        for process in (self.daemon, self.holder):
            if process:
                process.terminate()
                process.wait(15)
