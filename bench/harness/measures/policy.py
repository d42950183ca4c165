"""What decisions, lists and changes cost as roles and servers grow: bench/policy/run, which has no rival beside it."""

import json
import os
import subprocess

from harness.place import ROOT

NAME = "policy"
BUDGET_S = 80
ABOUT = "decisions, tport ls over 50,000 servers, pages of lists, roles written, and what a request costs as roles and servers grow (bench/policy/run)"
ONLY_FULL = True  # or by its name


def decision(row):
    return [(f"one decision, {row['roles']} roles, labels: {row['labels']}", row["us"], "us")]


def listed(row):
    return [(f"tport ls, {row['seen']} of {row['nodes']} servers are seen", row["ms_median"], "ms")]


def page(row):
    order = row["bench"].removeprefix("policy.page").lstrip(".") or "first"
    return [(f"a page of 50 of {row['total']} servers: {order}", row["ms_median"], "ms")]


def growth(row):
    of = f"{row['roles']} roles, {row['nodes']} servers"
    return [(f"decision by name, {of}: auth and workers", row["decision_cpu_us"], "CPU us"), (f"page of 50, {of}: auth and workers", row["page_cpu_us"], "CPU us")]


KINDS = {
    "policy.decision": decision,
    "policy.list": listed,
    "policy.list.memory": lambda row: [("tport ls: its memory", row["mb"], "MB")],
    "policy.list.labels": lambda row: [("tport ls rack=r0", row["ms_median"], "ms")],
    "policy.growth": growth,
    "policy.changes": lambda row: [(f"roles written, {row['sessions']} sessions and {row['workers']} workers watch", row["per_second"], "1/s")],
    "policy.changes.cut": lambda row: [("until a session that lost its right has ended, meanwhile", row["seconds"], "s")],
}


def run(place, report, full):
    del full
    # Its clusters have hosts of their own; it ends with this process, and says with 1 that a bar is missed.
    done = subprocess.run([ROOT / "bench" / "policy" / "run"], env={**os.environ, **place.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"bench/policy/run: {done.stderr[-300:]}")
    for line in done.stdout.splitlines():
        row = json.loads(line)
        for what, value, unit in KINDS.get(row["bench"], page)(row):
            report.row(NAME, what, value, unit=unit, bar=row.get("bar", ""), met=row.get("ok"))
