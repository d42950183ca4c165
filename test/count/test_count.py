"""Instructions for a handshake, a relayed megabyte and a request may not grow by more than 2 % unnoticed."""

import json
import shutil
import warnings

import pytest

import count

MOST = 1.02
SMALL = 0.0001  # of all: what our own code may grow by even where it is next to nothing
KEPT = json.loads(count.NUMBERS.read_text())


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not here (scripts/install-deps test)")
@pytest.mark.parametrize("work", count.WORK)
def test_instructions_do_not_grow(work):
    here = count.platform_name()
    if here != KEPT["platform"]:
        pytest.skip(f"the numbers in the tree are for {KEPT['platform']}; this is {here}")
    for which, value in count.count(work).items():
        before = KEPT["work"][work][which]
        most = max(before * MOST, before + KEPT["work"][work]["all"] * SMALL)
        if value < before / MOST:
            warnings.warn(f"{work}: {which} took {before:,} instructions and takes {value:,} now: test/count/count.py --write keeps that")
        assert value <= most, (f"{work}: {value:,} instructions ({which}) for one {count.WORK[work][1]}, {100 * (value / before - 1):.1f} % more than before. "
                                        "When it is worth that: test/count/count.py --write, and say why in the commit")


def test_cost_is_read_from_callgrinds_form():
    ours = f"{count.ROOT}/src/core/loop.c"
    text = f"version: 1\nevents: Ir\nfl={ours}\nfn=a\n10 5\n12 3\ncfi=/usr/lib/x.c\ncalls=1 20\n12 1000\nfi=/usr/lib/x.c\n11 7\nfe={ours}\n11 1\n\nfl=/usr/lib/x.c\nfn=b\n20 100\ntotals: 116\n"
    assert count.read_callgrind(text) == (116, 9)
