"""One row per figure, as a table for people and JSON for programs."""

import json
import statistics

WIDTHS = (44, 15, 10, 10, 8, 6, 10)


class Report:
    def __init__(self, out=None):
        self.rows = []
        self.out = out
        self.headed = False

    def row(self, measure, what, ours, rival=None, rival_name="", unit="", ratio=None, bar="", met=None, note="", **more):
        """ours and rival are figures, ratio the median of the pairs' ratios; bar in words, met None where there is none."""
        self.rows.append({"measure": measure, "what": what, "ours": ours, "rival": rival, "rival_name": rival_name, "unit": unit, "ratio": ratio,
                          "bar": bar, "met": met, "note": note, **more})
        if not self.headed:
            self.headed = True
            print(self.line("measure", "unit", "tport", "rival", "", "ratio", "bar", ""), flush=True)
        print(self.text(self.rows[-1]), flush=True)

    def left_out(self, measure, why):
        self.rows.append({"measure": measure, "left_out": why})
        print(f"{measure}: left out: {why}", flush=True)

    @staticmethod
    def line(*cells):
        left = (0, 1, 4, 6)
        return " ".join(str(c).ljust(w) if i in left else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS))) + " " + cells[-1]

    def text(self, row):
        met = {True: "met", False: "MISSED", None: ""}[row["met"]]
        line = self.line(row["what"], row["unit"], number(row["ours"]), number(row["rival"]), row["rival_name"], number(row["ratio"], 2), row["bar"], met)
        return line.rstrip() + (f"\n    {row['note']}" if row["note"] else "")

    def markdown(self):
        lines = ["| measure | tport | rival | ratio | bar | |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            if "left_out" in row:
                lines.append(f"| {row['measure']} | left out: {row['left_out']} | | | | |")
                continue
            rival = number(row["rival"]) + (f" {row['rival_name']}" if row["rival_name"] else "")
            met = {True: "met", False: "**missed**", None: ""}[row["met"]]
            lines.append(f"| {row['what']}, {row['unit']} | {number(row['ours'])} | {rival} | {number(row['ratio'], 2)} | {row['bar']} | {met} |")
        notes = [f"- {row['what']}: {row['note']}" for row in self.rows if row.get("note")]
        return "\n".join(lines + ([""] + notes if notes else []))

    def json(self, **about):
        return json.dumps({**about, "rows": self.rows}, indent=1)


def number(value, digits=None):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if digits is None:
        digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def median(values):
    return statistics.median(values)
