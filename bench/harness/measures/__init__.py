"""All measures by name: each module has NAME, ABOUT, run(place, report, full), and
BUDGET_S: so long it may take in a full run, and besides as long as those before it had left over. All together stay below the limit of a full run. With ONLY_FULL a quick run of all leaves it out."""

from harness.measures import handshakes, mixed, policy, proxied, relay, reload, requests, sessions, slow, ssh, tunnels

ALL = {module.NAME: module for module in (handshakes, requests, proxied, relay, sessions, slow, reload, ssh, tunnels, policy, mixed)}
