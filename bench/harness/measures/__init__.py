"""All measures by name: each module has NAME, ABOUT, and run(place, report, full). With ONLY_FULL a quick run of all leaves it out."""

from harness.measures import handshakes, mixed, proxied, relay, reload, requests, sessions, slow, ssh, tunnels

ALL = {module.NAME: module for module in (handshakes, requests, proxied, relay, sessions, slow, reload, ssh, tunnels, mixed)}
