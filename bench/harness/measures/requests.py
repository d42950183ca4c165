"""HTTPS requests on kept connections, answered by the worker itself: a file of its web page, and the same bytes from nginx."""

import gzip
import re
import subprocess

from harness.pairs import alternate, report_rates
from harness.place import need
from harness.servers import Tport, haproxy, nginx

NAME = "requests"
BUDGET_S = 50
ABOUT = "HTTPS requests per second on kept connections: tport's own page, the same bytes from nginx and HAProxy"


def wrk(place, server, path, seconds, connections=32):
    """Requests that came back with 200."""
    need("wrk")
    result = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", "Accept-Encoding: gzip", f"https://{server.address}:{server.port}{path}"], capture_output=True, text=True,
                            timeout=seconds + 60, env=place.env, check=False)
    count = re.search(r"(\d+) requests in", result.stdout)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", result.stdout)
    if result.returncode != 0 or not count or bad:
        raise RuntimeError(f"wrk on {server.name}: {result.stdout[-400:]} {result.stderr[-200:]}")
    return int(count.group(1))


GZIP = {"Accept-Encoding": "gzip"}


def assets(server):
    """[(path, body as it is sent)] of what the page loads, largest first."""
    page = server.cluster.https("GET", "/web", headers=GZIP)
    found = {}
    for path in {"/web/style.css", *re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js))"', gzip.decompress(page.body).decode())}:
        reply = server.cluster.https("GET", path, headers=GZIP)
        if reply.status == 200:
            found[path] = reply.body
    if not found:
        raise RuntimeError(f"the page loads nothing: {page.status}")
    return sorted(found.items(), key=lambda item: -len(item[1]))


def run(place, report, full):
    ours = place.keep(Tport(place))
    found = assets(ours)
    small = found[-1]
    bodies = [small] + ([found[0]] if len(found[0][1]) >= 16384 else [])
    for path, body in bodies:
        (place.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (place.root / path.lstrip("/")).write_bytes(body)
    (place.root / "small.css").write_bytes(small[1])
    rivals = [nginx(place), haproxy(place)]
    for path, body in bodies:
        # HAProxy answers with a body out of memory up to one buffer only.
        servers = [ours] + [r for r in rivals if r.name == "nginx" or body is small[1]]
        samples = alternate(servers, lambda server, path=path: (wrk(place, server, path, 1), {}), 7 if full else 2)
        report_rates(report, NAME, f"HTTPS requests, own answer of {len(body)} bytes", "", samples, {"nginx": 1.0})
    if len(bodies) == 1:
        report.left_out(NAME, f"64 KB of the worker's own: its largest file has {len(found[0][1])} bytes; 'proxied' measures 64 KB through a tunnel")
