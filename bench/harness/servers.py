"""tportd and its rivals, each listening on loopback with the same certificate and cipher."""

import string
import subprocess
import sys

from harness.place import ADDRESS, ROOT, TOOLS, Process, cpu_of, free_port, need, tree, wait_port

sys.path.insert(0, str(ROOT / "test" / "blackbox"))
import tport  # noqa: E402  pylint: disable=wrong-import-position


class LoopNet:
    """For the harness of the tests: all hosts are this one, on the loopback interface of the bench's own namespace."""
    real = False
    names = {}

    def host(self, name):
        del name
        return ADDRESS

    def prefix(self, name):
        del name
        return []

    def close(self):
        pass


class Tport:
    """A cluster with one worker. The certificate of the public port is the one that all rivals have."""
    name = "tport"

    def __init__(self, place, workers=1, nodes=(), own_cert=False, auth_extra=""):
        """own_cert: what the cluster's CA signs, which real agents check by their pin, instead of the rivals' certificate."""
        if not (tport.BIN / "tportd").exists():
            raise SystemExit(f"bench: {tport.BIN}/tportd is not built (make all, or set TPORT_BUILD)")
        pair = f"  https_keypairs:\n  - key_file: {place.key}\n    cert_file: {place.cert}\n"
        self.cluster = tport.Cluster(name="bench", workers=workers, proxy_extra="" if own_cert else pair, auth_extra=auth_extra, nodes=nodes, net=LoopNet(),
                                     extra="  log:\n    severity: warn\n")  # as the rivals: no line per connection
        if not own_cert:
            trusted = self.cluster.ca() + place.cert.read_text()
            self.cluster.ca = lambda: trusted  # what people's clients trust
        self.port = self.cluster.port
        self.address = ADDRESS

    def pids(self):
        return tree(self.cluster.daemon.process.pid)

    def workers(self):
        return list(self.cluster.daemon.children("worker"))

    def cpu(self):
        """Of all its processes: what auth does for a request counts."""
        return cpu_of(self.pids())

    def worker_cpu(self):
        return cpu_of(self.workers())

    def stop(self):
        self.cluster.close()


class Rival:
    def __init__(self, place, name, program, words, values):
        need(program)
        template = next((ROOT / "bench" / "rivals").glob(f"{name}.*"))
        self.name = name
        self.conf = place.folder / template.name
        self.port, self.proxy_port, self.address = free_port(), free_port(), ADDRESS
        values = {"folder": place.folder, "cert": place.cert, "key": place.key, "both": place.both, "root": place.root, "address": ADDRESS,
                  "port": self.port, "proxy_port": self.proxy_port, "behind": f"{ADDRESS}:9", "behind_scheme": "https",
                  "behind_address": ADDRESS, "behind_port": 9, **values}
        self.conf.write_text(string.Template(template.read_text()).safe_substitute(values))
        log = place.folder / f"{name}.out"
        self.process = Process([program, *words(self.conf)], log)
        try:
            wait_port(self.port, process=self.process)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{name} did not start: {log.read_text()[-500:]}") from error

    def cpu(self):
        return self.process.cpu()

    worker_cpu = cpu

    def stop(self):
        self.process.stop()


def nginx(place, **values):
    return place.keep(Rival(place, "nginx", "nginx", lambda conf: ["-c", conf], values))


def haproxy(place, **values):
    return place.keep(Rival(place, "haproxy", "haproxy", lambda conf: ["-db", "-f", conf], values))


def hitch(place, **values):
    return place.keep(Rival(place, "hitch", "hitch", lambda conf: ["--config", conf], values))


def tool(name):
    need(TOOLS / name)
    return TOOLS / name


def run_json(words, place, timeout):
    """The last line that a tool prints, as JSON."""
    import json
    result = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout, env=place.env, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{words[0]}: {result.stderr.strip() or result.stdout.strip()}")
    return json.loads(result.stdout.strip().splitlines()[-1])
