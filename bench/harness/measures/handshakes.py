"""Full and resumed TLS 1.3 handshakes."""

from harness.pairs import alternate, report_rates
from harness.servers import Tport, haproxy, hitch, nginx, run_json, tool

NAME = "handshakes"
BUDGET_S = 75
ABOUT = "TLS 1.3 handshakes, full and resumed, with nginx, HAProxy and hitch"


def run(place, report, full):
    driver = tool("handshakes")
    (place.root / "small.css").write_text("a{}")
    servers = [place.keep(Tport(place)), nginx(place), haproxy(place), hitch(place)]
    for words, what, bars in (([], "full TLS 1.3 handshakes (P-256)", {"nginx": 1.5, "haproxy": 1.5}), (["--resume"], "resumed TLS 1.3 handshakes", {})):
        def drive(server, words=words):
            answer = run_json([driver, f"--target={server.address}:{server.port}", "--seconds=1", "--server-name=bench", "--alpn=http/1.1", *words], place, 60)
            if answer["failed"] > answer["done"] / 100:
                raise RuntimeError(f"{server.name}: {answer['failed']} handshakes failed, {answer['done']} were done")
            if words and answer["resumed"] < answer["done"] * 0.9:
                raise RuntimeError(f"{server.name}: only {answer['resumed']} of {answer['done']} handshakes were resumed")
            return answer["done"], {}
        report_rates(report, NAME, what, "", alternate(servers, drive, 7 if full else 2), bars)
