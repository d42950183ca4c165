#!/usr/bin/env python3
"""test/count/count.py: how many instructions a handshake, a relayed megabyte and a request take, counted by callgrind.

    test/count/count.py            counts, beside what test/count/numbers.json has
    test/count/count.py --write    counts, and keeps the result there

Counts do not depend on how busy the machine is. What would change them from machine to machine is held fast: the work runs on the processor that
valgrind shows, less all that BoringSSL and the C library would choose other code for. "ours" is what the tree's own sources execute, "all" has the
libraries too. Needs a build (TPORT_BUILD, else build) and valgrind."""

import functools
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
NUMBERS = pathlib.Path(__file__).with_name("numbers.json")
# name of the work: (how much of it is counted, what one is).
WORK = {"handshakes": (20, "handshake"), "up": (4, "megabyte"), "down": (4, "megabyte"), "requests": (300, "request")}
# No RDRAND, AVX, FMA, F16C, MOVBE, XSAVE; nothing of leaf 7 (BMI, AVX2, ADX, SHA).
PINNED = {"OPENSSL_ia32cap": "~0x7c40100000000000:0", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-BMI1,-BMI2,-MOVBE,-RTM"}


def platform_name():
    """What else the numbers hold for: another compiler or library makes other code."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    name = "clang" if "clang" in version else "gcc"
    kind = re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.M).group(1)
    number = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip().split(".")[0]
    return f"{platform.machine()}, {name} {number}, {' '.join(platform.libc_ver())}, {kind}"


@functools.cache
def is_ours(path):
    """A source of this tree, wherever it was compiled."""
    parts = pathlib.Path(path).parts
    return "src" in parts and (ROOT / "src" / pathlib.Path(*parts[len(parts) - parts[::-1].index("src"):])).is_file()


def read_callgrind(text):
    """(all, ours): self cost by source file, of callgrind's uncompressed form; a line after calls= is the cost of the callee."""
    total, ours, mine, callee = 0, 0, False, False
    for line in text.splitlines():
        if line.startswith(("fl=", "fi=", "fe=")):
            mine = is_ours(line[3:])
        elif line.startswith("calls="):
            callee = True
        elif line[:1].isdigit():
            cost = int(line.split()[1])
            if not callee:
                total += cost
                ours += cost if mine else 0
            callee = False
    return total, ours


def count(work):
    """{"all", "ours"}: instructions for one."""
    amount = WORK[work][0]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        done = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=measured*", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}", str(BUILD / "test" / "count_work"), work, str(amount)],
                              env={"PATH": os.environ["PATH"], **PINNED}, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0 or not out.exists():
            raise RuntimeError(f"count_work {work}: {done.stderr[-500:]}")
        total, ours = read_callgrind(out.read_text())
    if ours == 0:
        raise RuntimeError(f"count_work {work}: nothing was counted")
    return {"all": total // amount, "ours": ours // amount}


def main():
    kept = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {"platform": "", "work": {}}
    found = {work: count(work) for work in WORK}
    for work, numbers in found.items():
        for which, value in numbers.items():
            before = kept["work"].get(work, {}).get(which)
            print(f"{work:<12} {which:<5} {value:>12,} a {WORK[work][1]:<10}" + (f" {100 * (value / before - 1):+6.2f} %" if before else ""))
    if "--write" in sys.argv[1:]:
        NUMBERS.write_text(json.dumps({"platform": platform_name(), "work": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
