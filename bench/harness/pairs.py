"""A B A B: who else uses the machine takes from both of a pair alike."""

import time

from harness.report import median


class Sample:
    """What one run of a driver gave: rate by the clock, and per second of the server's processor time."""

    def __init__(self, count, seconds, cpu, **more):
        self.count, self.seconds, self.cpu, self.more = count, seconds, cpu, more

    @property
    def rate(self):
        return self.count / self.seconds

    @property
    def per_cpu(self):
        return self.count / max(self.cpu, 1e-9)


def sample(server, drive):
    """drive() -> (count, more); the server's processor time is taken around it."""
    cpu, begin = server.cpu(), time.monotonic()
    count, more = drive(server)
    return Sample(count, time.monotonic() - begin, server.cpu() - cpu, **more)


def alternate(servers, drive, rounds):
    """{name: [Sample per round]}, the servers in turn."""
    found = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            found[server.name].append(sample(server, drive))
    return found


def ratios(ours, theirs, what):
    return [what(a) / what(b) for a, b in zip(ours, theirs)]


def report_rates(report, measure, what, unit, samples, bars, note=""):
    """Two figures of each rival: by processor time (what one core of the server gives, which the bar is about) and by the
    clock (with the client beside it on the same machine). bars: {rival: at least this ratio}."""
    ours = samples["tport"]
    for name, theirs in samples.items():
        if name == "tport":
            continue
        by_cpu = median(ratios(ours, theirs, lambda s: s.per_cpu))
        by_clock = median(ratios(ours, theirs, lambda s: s.rate))
        bar = bars.get(name)
        report.row(measure, what, median([s.per_cpu for s in ours]), median([s.per_cpu for s in theirs]), name, f"{unit}/CPU s", by_cpu,
                   f">= {bar}" if bar else "", by_cpu >= bar if bar else None,
                   f"by the clock {median([s.rate for s in ours]):.0f} and {median([s.rate for s in theirs]):.0f} a second, ratio {by_clock:.2f}{'; ' + note if note else ''}",
                   pairs=len(theirs), clock_ratio=by_clock)
