"""The help of every program and command: one form, 80 columns, every option that the parser knows."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build")) / "bin"
PROGRAMS = ["tport", "tportctl", "tportd"]


def say(program, *words):
    result = subprocess.run([BIN / program, *words], capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, result.stdout, result.stderr


def commands(program):
    """The names in the list of commands; a line that goes on is indented further."""
    block = say(program, "--help")[1].split("\nCommands:\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines() if re.match(r"  \S", line)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_help_has_one_form_and_fits_into_80_columns(program):
    names = commands(program)
    assert len(names) > 5
    groups = sorted({name.split()[0] for name in names if " " in name})
    for words in [[], *[[group] for group in groups], *[name.split() for name in names]]:
        code, text, error = say(program, *words, "--help")
        assert (code, error) == (0, "") and text.startswith(f"Usage: {' '.join([program, *words])} ".rstrip()), (words, text)
        assert not [line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()], (words, text)
        assert text == say(program, "help", *words)[1] == say(program, *words, "-h")[1], words
        assert words in [[group] for group in groups] or re.search(r"^  -h, --help  +Show this text", text, re.M), words


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_that_the_help_names_is_parsed(program):
    """The help is made of the parser's own table; an option that is known is passed over, up to the mistake behind it."""
    for name in commands(program):
        text = say(program, *name.split(), "--help")[1]
        for option in re.findall(r"^  (?:-\w, |    )--([\w-]+)(=\S|)", text, re.M):
            if option[0] == "help":
                continue
            code, _, error = say(program, *name.split(), f"--{option[0]}" + ("=1" if option[1] else ""), "--no-such-option")
            assert code != 0 and "unknown option --no-such-option; see " in error, (name, option, error)


@pytest.mark.parametrize("program,code", [("tport", 1), ("tportctl", 1), ("tportd", 2), ("tport-session", 2)])
def test_wrong_words_get_one_sentence_and_where_to_look(program, code):
    for words in (["frobnicate"], ["--frobnicate"], ["-Z"]):
        got, text, error = say(program, *words)
        assert (got, text, error.count("\n")) == (code, "", 1), (words, text, error)
        assert re.search(rf'"{program} (--)?help"', error), error


@pytest.mark.parametrize("program", [*PROGRAMS, "tport-session"])
def test_every_program_has_help_and_version(program):
    for words in (["help"], ["--help"], ["-h"]):
        code, text, error = say(program, *words)
        assert (code, error) == (0, "") and text.startswith(f"Usage: {program} ") and "--version" in text
    version = re.search(r"^project\(tport VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M).group(1)
    for words in (["version"], ["--version"]):
        code, text, error = say(program, *words)
        assert (code, error) == (0, "") and re.fullmatch(rf"tport(ctl|-session)? v{re.escape(version)}\n", text)


@pytest.mark.parametrize("program", ["bench/kube", "bench/run", "bench/profile", "bench/policy/run"])
def test_measures_have_a_whole_help(program):
    """bench/kube's was cut in the middle of a sentence."""
    result = subprocess.run(["/usr/bin/python3", ROOT / program, "--help"], capture_output=True, text=True, timeout=60, check=False,
                            env={**os.environ, "COLUMNS": "80"})
    assert result.returncode == 0 and result.stdout.startswith(f"usage: {program} ")
    assert not [line for line in result.stdout.splitlines() if len(line) > 80]
    about = result.stdout.split("\n\n", 1)[1].split("\n\n")
    assert all(re.search(r"[.:]$", part) for part in about if part and part[0] != " " and not part.startswith(("options:", "positional"))), about


def test_the_measures_fit_into_a_full_run():
    """A full run had no time left for its last measure on a slow machine."""
    limit = int(re.search(r"^QUICK_S, FULL_S = \d+, (\d+)$", (ROOT / "bench" / "run").read_text(), re.M)[1])
    budgets = [re.search(r"^BUDGET_S = (\d+)$", path.read_text(), re.M) for path in (ROOT / "bench" / "harness" / "measures").glob("[!_]*.py")]
    assert all(budgets) and sum(int(budget[1]) for budget in budgets) <= limit < 1200
