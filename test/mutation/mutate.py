#!/usr/bin/env python3
"""Does a test notice when a comparison of the decision code is taken out?

    test/mutation/mutate.py [--sample=N] [--seed=N] [--files=a.c,b.c] [--jobs=2] [--limit=SECONDS] [--json]

Every comparison, and everything else that a condition asks, is replaced by true and by false; && and || change places; <
and <= change places. All of these mutants are compiled into one library, each behind a switch, so that one build serves
all: TPORT_MUTANT=NUMBER turns one on. Each is then run against the tables of test/rbac, the unit tests of src/rbac and a slice of
the cases that the reference model answers. A mutant that changes no verdict survives, and is either a missing test or no
change at all; those are listed in equivalent.yaml with the reason.

Left out: the bound of a loop is not replaced by true or moved by one (that reads past an array, which is no decision),
conditions inside macros, and functions that only give memory back or find words for people. Needs a finished build (TPORT_BUILD, else build), clang for its syntax tree, and a quarter of an
hour for all. Ends with 1 when something survives that the list does not name."""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import resource
import shlex
import subprocess
import sys
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build")).resolve()
WORK = BUILD / "mutation"
RBAC = ROOT / "src" / "rbac"
EQUIVALENT = pathlib.Path(__file__).with_name("equivalent.yaml")
SLICES, SLICE = 2, 1500  # cases of the reference model

# All of src/rbac: what decides, and what reads and checks the documents that decisions are made from.
DECIDING = sorted(path.name for path in RBAC.glob("*.c"))
WORDS = {"names_distance", "names_nearest", "write_sentence", "advice"}
COMPARES = {"==", "!=", "<", "<=", ">", ">="}
NEIGHBOUR = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
LOGIC = {"&&": "||", "||": "&&"}
SWITCH = """\
extern int tport_mutant;
extern unsigned char tport_mutant_seen[];
static inline _Bool tport_mut(int number)
{
    tport_mutant_seen[number] = 1;
    return tport_mutant == number;
}
"""
SWITCH_MAIN = """\
#include <stdio.h>
#include <stdlib.h>
int tport_mutant = -1;
unsigned char tport_mutant_seen[COUNT];
__attribute__((constructor)) static void turn_on(void)
{
    const char *text = getenv("TPORT_MUTANT");
    tport_mutant = text ? atoi(text) : -1;
}
__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("TPORT_MUTANT_SEEN");
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (file) {
        fwrite(tport_mutant_seen, 1, sizeof tport_mutant_seen, file);
        fclose(file);
    }
}
"""

Mutant = collections.namedtuple("Mutant", "number file line function code becomes")


# ---- where the conditions are -------------------------------------------------------------------------------------------

def place(where):
    """(offset, length of the token, offset of the macro that it comes from or None); None outside of the main file."""
    macro = where.get("expansionLoc")
    where = macro or where
    if "includedFrom" in where or "offset" not in where:
        return None
    return where["offset"], where["tokLen"], where["offset"] if macro else None


def call_end(source, at):
    """Where the arguments that begin at this parenthesis end."""
    depth = 0
    for i in range(at, len(source)):
        depth += {40: 1, 41: -1}.get(source[i], 0)
        if depth == 0:
            return i + 1
    return len(source)


class Text:
    """The main file."""

    def __init__(self, source):
        self.source = source

    def span(self, node):
        """(begin, end) of a node in bytes; None when it is not of this file."""
        begin, end = (place(node.get("range", {}).get(side, {})) for side in ("begin", "end"))
        if not begin or not end:
            return None
        last = end[0] + end[1]
        if end[2] is not None and self.source[last:last + 1] == b"(":
            last = call_end(self.source, last)
        return begin[0], last

    @staticmethod
    def in_macro(node):
        """Does it lie within one use of a macro?"""
        begin, end = (place(node.get("range", {}).get(side, {})) for side in ("begin", "end"))
        return bool(begin and end and begin[2] is not None and begin[2] == end[2])


def inner(node):
    return [child for child in node.get("inner", []) if child]


def bare(node):
    """Without parentheses and casts that nobody wrote."""
    while node.get("kind") in ("ParenExpr", "ImplicitCastExpr") and inner(node):
        node = inner(node)[0]
    return node


class Site:
    def __init__(self, where, node, kind, loop):
        self.begin, self.end = where
        self.kind, self.loop, self.node = kind, loop, node
        self.inside = []


class Finder:
    """The sites of one function: comparisons, logical operators, and whatever else is asked as a condition."""

    def __init__(self, text):
        self.text, self.sites, self.taken = text, [], set()

    def add(self, node, kind, loop):
        where = self.text.span(node)
        if where and where not in self.taken:
            self.taken.add(where)
            self.sites.append(Site(where, node, kind, loop))

    def condition(self, node, loop=False):
        node = bare(node)
        kind, op = node.get("kind"), node.get("opcode")
        if kind == "BinaryOperator" and (op in COMPARES or op in LOGIC):
            return
        if kind == "UnaryOperator" and op == "!":
            return
        self.add(node, "atom", loop)

    def walk(self, node, loop=False):
        kind, op, children = node.get("kind"), node.get("opcode"), node.get("inner", [])
        if kind in ("ConstantExpr", "UnaryExprOrTypeTraitExpr") or node.get("storageClass") == "static" or self.text.in_macro(node):
            return
        if kind == "BinaryOperator" and op in COMPARES:
            self.add(node, "compare", loop)
        elif kind == "BinaryOperator" and op in LOGIC:
            self.add(node, "logic", loop)
            for child in children:
                self.condition(child, loop)
        elif kind == "UnaryOperator" and op == "!":
            below = bare(inner(node)[0])
            if not (below.get("kind") == "BinaryOperator" and below.get("opcode") in COMPARES | set(LOGIC)):
                self.add(node, "atom", loop)
        elif kind in ("IfStmt", "ConditionalOperator"):
            self.condition(children[0])
        parts = {"ForStmt": 2, "WhileStmt": 0, "DoStmt": 1}
        for i, child in enumerate(children):
            if not child:
                continue
            is_loop = kind in parts and i == parts[kind]
            if is_loop:
                self.condition(child, True)
            self.walk(child, is_loop or (loop and kind in ("BinaryOperator", "ParenExpr", "ImplicitCastExpr", "UnaryOperator")))


def functions(path, flags, text):
    tree = json.loads(subprocess.run(["clang", *flags, "-fsyntax-only", "-w", "-Xclang", "-ast-dump=json", str(path)], capture_output=True,
                                     check=True).stdout)
    for node in tree["inner"]:
        if node.get("name", "").endswith(("_free", "_unref", "_release")) or node.get("name") in WORDS:
            continue
        if node.get("kind") == "FunctionDecl" and text.span(node) and inner(node) and inner(node)[-1].get("kind") == "CompoundStmt":
            yield node["name"], inner(node)[-1]


# ---- the mutants, written into the source -------------------------------------------------------------------------------

class Writer:
    def __init__(self, path, text, mutants):
        self.path, self.file, self.source, self.mutants = path, text, text.source, mutants
        self.function = ""

    def new(self, site, becomes):
        text = self.source[site.begin:site.end].decode()
        number = len(self.mutants)
        self.mutants.append(Mutant(number, self.path.name, self.source[:site.begin].count(b"\n") + 1, self.function, " ".join(text.split()), becomes))
        return number

    def text(self, begin, end, sites):
        out, at = "", begin
        for site in sites:
            out += self.source[at:site.begin].decode() + self.render(site)
            at = site.end
        return out + self.source[at:end].decode()

    def side(self, site, index):
        begin, end = self.file.span(inner(site.node)[index])
        return self.text(begin, end, [s for s in site.inside if begin <= s.begin and s.end <= end])

    def render(self, site):
        if site.kind == "logic":
            op = site.node["opcode"]
            m = f"tport_mut({self.new(site, f'{LOGIC[op]} for {op}')})"
            return f"(((!!({self.side(site, 0)}) != {m}) {op} (!!({self.side(site, 1)}) != {m})) != {m})"
        op = site.node.get("opcode")
        bound = site.loop and op in NEIGHBOUR
        words = {"false": "0"} if bound else {"false": "0", "true": "1"}
        head = "".join(f"tport_mut({self.new(site, word)}) ? {value} : " for word, value in words.items())
        if site.kind == "compare":
            left, right = self.side(site, 0), self.side(site, 1)
            if op in NEIGHBOUR and not bound:
                head += f"tport_mut({self.new(site, NEIGHBOUR[op])}) ? ({left}) {NEIGHBOUR[op]} ({right}) : "
            return f"({head}({left}) {op} ({right}))"
        return f"({head}!!({self.text(site.begin, site.end, site.inside)}))"


def nest(sites):
    """Sites as a forest, in the order of the text."""
    top, open_ = [], []
    for site in sorted(sites, key=lambda s: (s.begin, -s.end)):
        while open_ and open_[-1].end <= site.begin:
            open_.pop()
        (open_[-1].inside if open_ else top).append(site)
        open_.append(site)
    return top


def mutate(path, flags, mutants):
    """The file's text with a switch at each site; its mutants go to the list."""
    source = path.read_bytes()
    text = Text(source)
    writer, out, at = Writer(path, text, mutants), "", 0
    for name, body in functions(path, flags, text):
        finder = Finder(text)
        finder.walk(body)
        writer.function = name
        begin, end = text.span(body)
        out += source[at:begin].decode() + writer.text(begin, end, nest(finder.sites))
        at = end
    return out + source[at:].decode()


# ---- building -----------------------------------------------------------------------------------------------------------

def ninja(target):
    out = subprocess.run(["ninja", "-C", str(BUILD), "-t", "commands", target], capture_output=True, text=True, check=True).stdout
    return out.strip().splitlines()[-1]


def compile_flags():
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        if entry["file"] == str(RBAC / "access.c"):
            words = shlex.split(entry["command"])
            return [w for w in words if re.match(r"-(I|D|std|isystem|O|g|f(?!cf-))", w) or w.startswith("/usr/include")]
    sys.exit(f"mutate: {BUILD} has no src/rbac/access.c; build first")


def build(files):
    (WORK / "src").mkdir(parents=True, exist_ok=True)
    flags = compile_flags()
    parse_flags = [f for f in flags if f.startswith(("-I", "-D", "-std", "-isystem"))] + ["-U_FORTIFY_SOURCE"]
    mutants, texts = [], {}
    for name in files:
        texts[name] = mutate(RBAC / name, parse_flags, mutants)
    (WORK / "switch.h").write_text(SWITCH)
    (WORK / "src" / "switch_main.c").write_text(SWITCH_MAIN.replace("COUNT", str(max(1, len(mutants)))))
    jobs = {"switch_main.c": WORK / "src" / "switch_main.c"}
    for path in sorted(RBAC.glob("*.c")):
        jobs[path.name] = path
        if path.name in texts:
            jobs[path.name] = WORK / "src" / path.name
            jobs[path.name].write_text(texts[path.name])

    def compile_one(item):
        done = subprocess.run(["cc", *flags, "-O1", "-w", "-include", str(WORK / "switch.h"), "-c", str(item[1]), "-o", str(WORK / (item[0] + ".o"))],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"mutate: {item[0]} with its mutants does not compile:\n{done.stderr[:3000]}")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, jobs.items()))
    library = WORK / "libtport_rbac.a"
    library.unlink(missing_ok=True)
    subprocess.run(["ar", "rcs", str(library), *(str(WORK / (name + ".o")) for name in jobs)], check=True)
    for program in ["tportctl", *unit_tests()]:
        link = ninja(program).split(" && ")
        command = next(part for part in link if "libtport_rbac.a" in part)
        command = command.replace("src/rbac/libtport_rbac.a", str(library))
        command = re.sub(r" -o \S+", f" -o {WORK / program}", command)
        subprocess.run(shlex.split(command), cwd=BUILD, check=True)
    return mutants


def unit_tests():
    return sorted(path.stem for path in (ROOT / "test" / "unit").glob("test_rbac_*.c"))


# ---- running ------------------------------------------------------------------------------------------------------------

def slices():
    """Cases with the answers of the reference model, in files."""
    sys.path.insert(0, str(ROOT / "test" / "rbac"))
    import generate  # pylint: disable=import-outside-toplevel
    import test_rbac  # pylint: disable=import-outside-toplevel
    files = []
    for i in range(SLICES):
        files.append(WORK / f"slice{i}.json")
        files[-1].write_text(json.dumps([case for case in map(test_rbac.expected, generate.cases(77 + i, SLICE)) if case]))
    return files


def commands():
    test = [str(WORK / "tportctl"), "access", "test", "--roles", str(ROOT / "conf" / "roles" / "dev2.yaml")]
    tables = sorted((ROOT / "test" / "rbac" / "cases").glob("*.yaml")) + sorted((ROOT / "test" / "rbac").glob("*.yaml"))
    return ([[*test, str(table)] for table in tables] + [[str(WORK / name)] for name in unit_tests()] + [[*test, str(file)] for file in slices()])


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (6, 6))  # the longest takes one
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command, **env):
    """What a run says: its status and, of a table, its counts. A run that does not end says nothing else."""
    try:
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, timeout=120, preexec_fn=limits, check=False)
    except subprocess.TimeoutExpired:
        return "no end", b""
    return done.returncode, done.stdout.splitlines()[-1:] if "access" in command else b""


class Runner:
    def __init__(self, command):
        self.command = command
        seen = WORK / "seen"
        seen.unlink(missing_ok=True)
        begin = time.monotonic()
        self.normal = run(command, TPORT_MUTANT_SEEN=str(seen))
        self.seconds = time.monotonic() - begin
        if self.normal[0] != 0:
            sys.exit(f"mutate: fails without a mutant: {' '.join(command)}")
        self.seen = seen.read_bytes() if seen.exists() else b""

    def reaches(self, mutant):
        return mutant.number < len(self.seen) and self.seen[mutant.number]

    def notices(self, mutant):
        return self.reaches(mutant) and run(self.command, TPORT_MUTANT=str(mutant.number)) != self.normal


def known():
    entries = yaml.safe_load(EQUIVALENT.read_text()) or []
    return {(e["file"], e["function"], " ".join(str(e["code"]).split()), becomes) for e in entries
            for becomes in (e["becomes"] if isinstance(e["becomes"], list) else [e["becomes"]])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", help="only these files of src/rbac")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=3600, help="seconds; what is not run then is counted as such")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    options = parser.parse_args()
    mutants = build(options.files.split(",") if options.files else DECIDING)
    runners = sorted(map(Runner, commands()), key=lambda r: r.seconds)
    chosen = mutants if not options.sample else random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    equal, end = known(), time.monotonic() + options.limit
    counts = collections.Counter()
    survivors = []

    def judge(mutant):
        if (mutant.file, mutant.function, mutant.code, mutant.becomes) in equal:
            return "equivalent"
        if time.monotonic() > end:
            return "not run"
        return "killed" if any(runner.notices(mutant) for runner in runners) else "survived"
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, verdict in zip(chosen, pool.map(judge, chosen)):
            counts[verdict] += 1
            if verdict == "survived":
                survivors.append(mutant)
                reached = any(runner.reaches(mutant) for runner in runners)
                print(f"src/rbac/{mutant.file}:{mutant.line}: {mutant.function}: {mutant.code} -> {mutant.becomes}{'' if reached else ' (never reached)'}",
                      flush=True)
    judged = counts["killed"] + counts["survived"]
    result = {"mutants": len(mutants), **{key: counts[key] for key in ("killed", "survived", "equivalent", "not run")},
              "score": round(counts["killed"] / judged, 4) if judged else None}
    print(json.dumps(result) if options.json else ", ".join(f"{value} {key}" for key, value in result.items()))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
