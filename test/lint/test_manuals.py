"""The manual pages say what the programs do: every command, flag and key; and what `make install` puts where."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from test_help import commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
MAN = ROOT / "docs" / "man"


def run(*words):
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=False)
    return result.stdout + result.stderr


def flags(text):
    """The flags in the left column of a help text, each with its spellings: {("-o", "--out"), ("--ttl",), ...}."""
    found = set()
    for line in text.splitlines():
        left = re.match(r"  (?:-\w, |    )--[\w-]+|  -\w(?= )", line)
        if left:
            found.add(tuple(re.findall(r"--[\w-]+|-\w(?=,|$)", left.group(0))))
    return found - {("-h", "--help")}


def named(text):
    """Every flag that a text of the manual names."""
    return set(re.findall(r"(?<![\w-])(?:--[a-z][\w-]*|-[A-Za-z])(?![\w-])", text))


def manual(name):
    """A page without its markup: .Fl -name and \\-\\-name are --name."""
    text = (MAN / name).read_text().replace("\\-", "-").replace("\\&", "").replace("\\(dq", '"')
    text = re.sub(r"\\f(?:\[\w*\]|.)", "", text)
    return re.sub(r"\bFl (-?[\w-]+)", r"-\1", text)


def spoken(line):
    """A line of man(7) as it is read: .BR joins its words, .B puts blanks between them."""
    macro = re.match(r"\.([BIR]{1,2}) (.*)", line)
    if not macro:
        return line
    words = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', macro.group(2))]
    return (" " if len(macro.group(1)) == 1 else "").join(words)


def entries(page, names):
    """For each entry of the list of commands: the commands that its tag names, the tag, tag and text."""
    block = manual(page).split("\n.SH COMMANDS\n")[1].split("\n.SH ")[0]
    for part in re.split(r"^\.TP\n", block, flags=re.M)[1:]:
        lines = [spoken(line) for line in part.splitlines()]
        tag, told = lines[0], []
        for name in sorted(names, key=len, reverse=True):
            if re.search(rf"(?<![\w-]){name}(?![\w-])", re.sub(r"\[[^]]*\]", "", tag)):
                tag = re.sub(rf"(?<![\w-]){name}(?![\w-])", "", tag)
                told.append(name)
        yield told, lines[0], "\n".join(lines)


@pytest.mark.parametrize("program, page", [("tport", "tport.1"), ("tportctl", "tportctl.8")])
def test_each_command_has_its_flags_in_the_manual_and_no_others(program, page):
    """In the entry that names the command, not anywhere; and what stands in a tag is a flag of one of its commands."""
    names = commands(program)
    helps = {name: flags(run(BUILD / "bin" / program, *name.split(), "--help")) for name in names}
    common = {spelling for names in flags(run(BUILD / "bin" / program, "--help")) for spelling in names}
    told = {name: "" for name in names}
    wrong = []
    for here, tag, text in entries(page, names):
        wrong += [] if here else [f"no command in: {tag}"]
        known = common | {spelling for name in here for names in helps[name] for spelling in names}
        wrong += [f"{' '.join(here)}: there is no {flag}" for flag in named(tag) - known]
        for name in here:
            told[name] += text + "\n"
    for name in names:
        wrong += [] if told[name] else [f"{name} is not there"]
        wrong += [f"{name} {'|'.join(flag)} is not told" for flag in helps[name] if not set(flag) & named(told[name])]
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("program, page", [("tport", "tport.1"), ("tportctl", "tportctl.8")])
def test_common_flags_are_in_the_manual(program, page):
    found = flags(run(BUILD / "bin" / program, "--help"))
    assert len(found) > 4
    assert not [flag for flag in found if not set(flag) & named(manual(page))]


@pytest.mark.parametrize("program, page", [("tport", "tport.1"), ("tportctl", "tportctl.8")])
def test_forms_of_output_are_those_that_the_command_takes(program, page):
    """Where the manual names forms of a command ("-f text|json"), its help names the same."""
    wrong, seen = [], 0
    for here, tag, _ in entries(page, commands(program)):
        form = re.search(r"(?:-f |--format=)([a-z]+(?:\|[a-z]+)+)", tag)
        for name in here if form else []:
            taken = re.search(r"--format=(\S+)", run(BUILD / "bin" / program, *name.split(), "--help"))
            seen += 1
            wrong += [] if taken and taken.group(1) == form.group(1) else [f"{name}: {tag}"]
    assert seen > 5 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("words", [[], *[name.split() for name in commands("tportd")]])
def test_flags_of_tportd_are_in_the_manual(words):
    found = flags(run(BUILD / "bin" / "tportd", *words, "--help"))
    assert not [flag for flag in found if not set(flag) & named(manual("tportd.8"))]


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
    assert "usr/local/share/doc/tport/access-cases.md" in files  # tportctl(8) leads there
    assert not [path for path in files if path.endswith((".a", ".h")) or "/home/" in path or str(ROOT).lstrip("/") in path], files
    unit = next(path for path in files if path.endswith("tportd.service"))
    program = re.search(r"^ExecStart=(\S+)", (tmp_path / unit).read_text(), re.M).group(1)
    assert program.lstrip("/") in files, (program, files)


@pytest.mark.parametrize("options,users", [([], True), (["DESTDIR=/nowhere"], False)])
def test_users_are_made_where_the_programs_will_run(options, users):
    told = subprocess.run(["make", "-n", "install", *options], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert "cmake --install" in told.stdout and ("scripts/make-users" in told.stdout) == users


@pytest.mark.parametrize("page", sorted(page.name for page in MAN.iterdir()))
@pytest.mark.skipif(not shutil.which("man") or not shutil.which("groff"), reason="no man on this machine")
def test_manuals_fit_into_80_columns(page):
    """As a terminal shows them: no warning of groff (a table that is too wide was one), no line over the edge."""
    shown = subprocess.run(["man", "--warnings", "-l", str(MAN / page)], capture_output=True, text=True, timeout=60, check=True,
                           env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFOPT": "", "MANPAGER": "cat"})
    assert not shown.stderr, shown.stderr
    plain = re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown.stdout)
    assert len(plain) > 500 and not [line for line in plain.splitlines() if len(line) > 80]


@pytest.mark.parametrize("page", sorted(page.name for page in MAN.iterdir()))
@pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc on this machine")
def test_mandoc_warns_of_nothing(page):
    assert run("mandoc", "-Tlint", "-Wwarning", MAN / page) == ""
