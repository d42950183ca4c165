"""All measures by name: each module has NAME, ABOUT, and run(place, report, full)."""

from harness.measures import handshakes, relay, requests, ssh, tunnels

ALL = {module.NAME: module for module in (handshakes, requests, relay, ssh, tunnels)}
