"""The manual pages say what the programs do: every command, flag and key; and what `make install` puts where."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
MAN = ROOT / "docs" / "man"


def run(*words):
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=False)
    return result.stdout + result.stderr


def commands(program):
    """The names in the list of commands, as `--help` prints them."""
    block = run(BUILD / "bin" / program, "--help").split("Commands:\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines()]


def flags(text):
    """The flags in the left column of a help text, each with its spellings: {("-o", "--out"), ("--ttl",), ...}."""
    found = set()
    for line in text.splitlines():
        left = re.match(r"\s+((?:-\w, )?--[\w-]+|-\w)", line)
        if left:
            found.add(tuple(re.findall(r"--[\w-]+|-\w(?=,|$)", left.group(1))))
    return found


def undocumented(found, text):
    """Flags of which the page shows no spelling."""
    return [" ".join(names) for names in sorted(found)
            if not any(re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(name), text) for name in names)]


def manual(name):
    """A page without its markup: .Fl -name and \\-\\-name are --name."""
    text = (MAN / name).read_text().replace("\\-", "-").replace("\\&", "")
    text = re.sub(r"\\f\[?\w+\]?|\\f.", "", text)
    return re.sub(r"\bFl (-?[\w-]+)", r"-\1", text)


@pytest.mark.parametrize("program, page", [("tport", "tport.1"), ("tportctl", "tportctl.8")])
def test_every_command_and_flag_is_in_the_manual(program, page):
    text = manual(page)
    words = re.sub(r"\b(Cm|Ic|Nm|Ar|Op|Fl)\b|[.\"]", " ", text)
    words = re.sub(r"\s+", " ", words)
    names = commands(program)
    assert len(names) > 10
    missing = [name for name in names if not re.search(r"\b%s\b" % name.replace(" ", r" +"), words)]
    for name in names:
        missing += [f"{name} {flag}" for flag in undocumented(flags(run(BUILD / "bin" / program, *name.split(), "--help")), text)]
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize("program, page", [("tport", "tport.1"), ("tportctl", "tportctl.8")])
def test_forms_of_output_are_those_that_the_command_takes(program, page):
    """Where the manual names forms of a command ("-f text|json"), its help names the same."""
    wrong, seen = [], 0
    for line in manual(page).splitlines():
        entry = re.match(r'\.BR (?:"([a-z ]+)"|([a-z]+)).*?(?:-f|--format=)[" ]*([a-z]+(?:\|[a-z]+)+)', line)
        name = entry and (entry.group(1) or entry.group(2))
        if name in commands(program):
            seen += 1
            help_text = run(BUILD / "bin" / program, *name.split(), "--help")
            wrong += [] if f"--format={entry.group(3)} " in help_text else [line]
    assert seen > 1 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("words", [["configure"], ["node", "configure"]])
def test_flags_of_tportd_are_in_the_manual(words):
    found = flags(run(BUILD / "bin" / "tportd", *words, "--help"))
    assert len(found) > 3
    assert not undocumented(found, manual("tportd.8"))


def test_every_key_of_the_configuration_is_in_the_manual():
    keys = re.findall(r'^    \{"([a-z_]+(?:\.[a-z_]+)+)", CONF_', (ROOT / "src/core/conf_table.c").read_text(), re.M)
    assert len(keys) > 40
    text = manual("tport.conf.5")
    assert not [key for key in keys if not re.search(r"(?<![\w.])%s(?![\w.])" % re.escape(key), text)]


def test_what_is_installed(tmp_path):
    subprocess.run(["cmake", "--install", str(BUILD)], check=True, capture_output=True, timeout=120,
                   env={**os.environ, "DESTDIR": str(tmp_path)})
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    names = {os.path.basename(path) for path in files}
    assert {"tportd", "tport", "tportctl", "tport-session", "tportd.service"} <= names, files
    assert {page.name for page in MAN.iterdir()} <= names, files
    assert not [path for path in files if path.endswith((".a", ".h")) or "/home/" in path or "root/wt" in path], files
    unit = next(path for path in files if path.endswith("tportd.service"))
    program = re.search(r"^ExecStart=(\S+)", (tmp_path / unit).read_text(), re.M).group(1)
    assert program.lstrip("/") in files, (program, files)


@pytest.mark.parametrize("page", sorted(page.name for page in MAN.iterdir()))
@pytest.mark.skipif(not shutil.which("man") or not shutil.which("groff"), reason="no man on this machine")
def test_manuals_fit_into_80_columns(page):
    """As a terminal shows them: no warning of groff (a table that is too wide was one), no line over the edge."""
    shown = subprocess.run(["man", "--warnings", "-l", str(MAN / page)], capture_output=True, text=True, timeout=60, check=True,
                           env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFOPT": "", "MANPAGER": "cat"})
    assert not shown.stderr, shown.stderr
    plain = re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown.stdout)
    assert len(plain) > 500 and not [line for line in plain.splitlines() if len(line) > 80]
