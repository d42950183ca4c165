"""Where it all happens: a folder, processes that end with the bench, their processor time and memory."""

import contextlib
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
TOOLS = BUILD / "bench"
ADDRESS = "127.0.0.1"


class Missing(Exception):
    """A program that a measure needs is not here; the measure is left out and says so."""


def need(*programs):
    for program in programs:
        if not shutil.which(str(program)):
            raise Missing(f"{pathlib.Path(program).name} is not here (scripts/install-deps bench; cmake -DTPORT_BENCH=ON)")


def machine():
    """The machine by its processor; its name and address are nobody's business."""
    model, memory = "unknown processor", 0
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = round(int(line.split()[1]) / 1024 / 1024)
    return f"{model}, {os.cpu_count()} cores, {memory} GB, Linux {platform.release().split('-')[0]}"


def load():
    return os.getloadavg()[0]


def free_port():
    with socket.socket() as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]


def tree(pid):
    """The process and all below it."""
    found, parents = [], {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents.setdefault(int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    queue = [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += parents.get(one, [])
    return found


def cpu_of(pids):
    """Seconds of processor time that all threads of these processes have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError, IndexError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def cpu_with_ended(pids):
    """Seconds of processor time of these processes and of all their children that have ended; to 10 ms for each of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            total += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def memory_of(pid):
    """{"rss", "pss", "private", "anonymous"} in KB. Anonymous is what a process has taken itself; private has pages of files that it alone has mapped too."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        words = line.split()
        if words and words[0] in ("Rss:", "Pss:", "Private_Clean:", "Private_Dirty:", "Anonymous:"):
            found[words[0].rstrip(":").lower()] = int(words[1])
    return {"rss": found["rss"], "pss": found["pss"], "private": found["private_clean"] + found["private_dirty"], "anonymous": found["anonymous"]}


def wait_port(port, address=ADDRESS, timeout=20, process=None):
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), 1).close()
            return
        if time.monotonic() > end or (process and process.popen.poll() is not None):
            raise RuntimeError(f"nothing listens on {address}:{port}")
        time.sleep(0.05)


class Process:
    """A program in a process group of its own, with its output in a file."""

    def __init__(self, words, log, **more):
        self.log = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **more)

    @property
    def pid(self):
        return self.popen.pid

    def cpu(self):
        return cpu_of(tree(self.pid))

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(OSError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(5)


class Place:
    """Certificate, files, what was started; close() ends and removes all of it. until: when the measure has to be over, by time.monotonic()."""

    def __init__(self, until=float("inf")):
        self.until = until
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tport-bench-", dir=os.environ.get("TPORT_BENCH_DIR")))
        os.chmod(self.folder, 0o755)
        self.open = []
        self.cert, self.key, self.both = (self.folder / n for n in ("cert.pem", "key.pem", "both.pem"))
        need("openssl")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench,DNS:localhost,IP:127.0.0.1", "-keyout", self.key, "-out", self.cert], check=True, capture_output=True)
        self.both.write_text(self.cert.read_text() + self.key.read_text())
        self.root = self.folder / "root"
        self.root.mkdir()
        for path in (self.key, self.both):
            os.chmod(path, 0o644)
        # All clients of the bench that read OpenSSL's configuration offer the one cipher.
        self.openssl_conf = self.folder / "openssl.cnf"
        self.openssl_conf.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\nMinProtocol = TLSv1.3\n")
        self.env = {**os.environ, "OPENSSL_CONF": str(self.openssl_conf)}

    def seconds_left(self):
        return self.until - time.monotonic()

    def keep(self, thing):
        self.open.append(thing)
        return thing

    def close(self):
        for thing in reversed(self.open):
            with contextlib.suppress(Exception):
                (getattr(thing, "stop", None) or thing.close)()
        self.open.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
