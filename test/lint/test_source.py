"""Rules of the tree that a compiler does not check."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
FILES = sorted(SRC.rglob("*.[ch]"))

# folder: what it may include besides itself (docs/architecture.md).
MAY_INCLUDE = {
    "base": set(),
    "term": {"base"},
    "core": {"base"},
    "crypt": {"base"},
    "rbac": {"base"},
    "tls": {"base", "core", "crypt"},
    "audit": {"base", "crypt"},
    "store": {"base", "crypt"},
    "tunnel": {"base", "core"},
    "protocols/http": {"base", "core", "tls"},
    "kube": {"base", "rbac", "protocols/http"},
    "auth": {"base", "core", "crypt", "rbac", "audit", "store", "recording"},
    "agent": {"base", "core", "crypt", "tls", "tunnel", "recording", "protocols/http", "rbac", "kube"},
    "recording": {"base", "core"},
    "session": {"base", "term", "core", "recording"},
    "protocols/web": {"base", "core", "crypt", "rbac", "protocols/http"},
    "protocols/mux": {"base"},
    "protocols": {"base", "term", "core", "crypt", "tls", "tunnel", "protocols/http", "kube", "protocols/web", "protocols/mux"},
    "cli/common": {"base", "core", "crypt", "tls", "protocols/http"},
    "cli/tport": {"base", "core", "crypt", "tls", "protocols/http", "cli/common"},
    "cli/tportctl": {"base", "core", "crypt", "tls", "protocols/http", "cli/common", "audit", "rbac"},
}
# foreign header: the folders whose wrappers may include it (R8).
FOREIGN = {
    r"uv\.h": {"core"}, r"openssl/": {"crypt", "tls"}, r"lmdb\.h": {"store"}, r"llhttp\.h": {"protocols/http"},
    r"libssh/": {"session"}, r"security/pam": {"session"}, r"liboath/": {"crypt"}, r"argon2\.h": {"crypt"},
    r"yaml\.h": {"base"}, r"pcre2\.h": {"rbac"}, r"qrencode\.h": {"protocols/web"}, r"png\.h": {"protocols/web"},
    r"seccomp\.h": {"core", "session"},
}


def folder_of(path):
    return str(path.relative_to(SRC).parent)


def test_includes_point_one_way():
    wrong = []
    for path in FILES:
        folder = folder_of(path)
        for include in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
            target = os.path.dirname(include)
            if folder == "bin" or target == folder or target in MAY_INCLUDE.get(folder, set()):
                continue
            wrong.append(f"{path.relative_to(ROOT)} includes {include}")
    assert not wrong, "\n".join(wrong)


def test_R8_foreign_headers_stay_in_their_wrappers():
    wrong = []
    for path in FILES:
        for include in re.findall(r"^#include <([^>]+)>", path.read_text(), re.M):
            for pattern, folders in FOREIGN.items():
                if re.match(pattern, include) and folder_of(path) not in folders:
                    wrong.append(f"{path.relative_to(ROOT)} includes <{include}>")
    assert not wrong, "\n".join(wrong)


def test_R12_no_shell_and_no_unbounded_copies():
    banned = re.compile(r"\b(system|popen|strcpy|strcat|sprintf|vsprintf|gets|tmpnam|mktemp|alloca)\s*\(")
    wrong = [f"{p.relative_to(ROOT)}:{n}: {line.strip()}" for p in FILES
             for n, line in enumerate(p.read_text().splitlines(), 1)
             if banned.search(re.sub(r'"(\\.|[^"])*"|/\*.*?\*/|^\s*\*.*', "", line))]
    assert not wrong, "\n".join(wrong)


def test_R13_no_signal_handler_of_our_own():
    """Signals come through libuv, whose handler writes to a pipe; signal(2) is for ignoring and restoring only."""
    wrong = []
    for path in FILES:
        for n, line in enumerate(path.read_text().splitlines(), 1):
            handler = re.search(r"\bsignal\(\s*\w+\s*,\s*(\w+)", line)
            if handler and handler.group(1) not in ("SIG_IGN", "SIG_DFL"):
                wrong.append(f"{path.relative_to(ROOT)}:{n}")
            if re.search(r"\.sa_handler\s*=\s*(?!SIG_)|\.sa_sigaction\s*=", line):
                wrong.append(f"{path.relative_to(ROOT)}:{n}")
    assert not wrong, wrong


def test_R18_parts_of_libssh_that_are_never_called():
    """SFTP, SCP, GSSAPI, ProxyCommand and configuration files: bytes pass through, libssh does none of it."""
    banned = re.compile(r"<libssh/sftp\.h>|\b(sftp_server_|sftp_new|ssh_scp_|ssh_gssapi|ssh_options_parse_config|ssh_bind_options_parse_config)\w*\s*\(|SSH_OPTIONS_PROXYCOMMAND")
    wrong = [f"{p.relative_to(ROOT)}: {m.group(0)}" for p in FILES for m in banned.finditer(p.read_text())]
    assert not wrong, wrong


def test_files_fit_in_the_head():
    big = [f"{p.relative_to(ROOT)}: {n}" for p in FILES if (n := len(p.read_text().splitlines())) > 700]
    assert not big, "\n".join(big)


def test_layout_is_clang_formats():
    """.clang-format is the style; `make format` brings a file to it."""
    ours = [p for folder in ("src", "test") for p in sorted((ROOT / folder).rglob("*.[ch]"))]
    result = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *map(str, ours)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]


def test_headers_have_guards():
    wrong = [str(p) for p in FILES if p.suffix == ".h" and not re.search(r"#ifndef (\w+)\s+#define \1", p.read_text())]
    assert not wrong


def elf(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["tportd", "tport-session", "tport", "tportctl"])
@pytest.mark.skipif("asan" in str(BUILD), reason="sanitized builds are not hardened")
def test_hardening_of_the_built_file(name):
    program = str(BUILD / "bin" / name)
    header = elf("readelf", "-hW", program)
    segments = elf("readelf", "-lW", program)
    dynamic = elf("readelf", "-dW", program)
    symbols = elf("nm", "-D", program)
    assert "DYN (Position-Independent" in header
    assert "GNU_RELRO" in segments and ("BIND_NOW" in dynamic or "NOW" in dynamic)
    assert re.search(r"GNU_STACK.* RW ", segments)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols)
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    # Nothing of BoringSSL is visible, so no plug-in of libc or PAM can bind to it (dependencies, section 2).
    assert not re.search(r" T (TPB_)?(EVP|SSL|CRYPTO)_", symbols)
    code = elf("objdump", "-d", "--no-show-raw-insn", program)
    assert code.count("endbr64") > 100


@pytest.mark.skipif("asan" in str(BUILD), reason="sanitized builds link more")
def test_R17_linked_libraries_are_the_listed_ones():
    """docs/architecture.md: BoringSSL and OpenSSL's libcrypto never meet in one process."""
    for name in ("tportd", "tport", "tportctl"):
        libraries = elf("ldd", str(BUILD / "bin" / name))
        assert "libcrypto" not in libraries and "libssl" not in libraries and "libssh" not in libraries, libraries
    assert "libssh.so" not in elf("ldd", str(BUILD / "bin" / "tport-session"))
    golden = dict(line.split(": ") for line in (ROOT / "test/lint/libraries.txt").read_text().splitlines() if line[0] != "#")
    assert sorted(golden) == ["tport", "tport-session", "tportctl", "tportd"]
    for name, libraries in golden.items():
        needed = re.findall(r"\(NEEDED\).*\[([\w-]+)\.so", elf("readelf", "-dW", str(BUILD / "bin" / name)))
        assert sorted(needed) == [one for one in libraries.split() if one != "ld-linux-x86-64" or one in needed], name


def test_rules_have_the_tests_that_the_table_names():
    """docs/security-tests.md: each rule R1-R18 has at least one test, and every test that it names is there."""
    page = (ROOT / "docs/security-tests.md").read_text()
    rows = re.findall(r"^\| (R\d+) \|.*$", page, re.M)
    assert rows == [f"R{n}" for n in range(1, 19)]
    for line in page.splitlines():
        if not re.match(r"\| R\d+ ", line):
            continue
        named = re.findall(r"`(test/[\w/]+\.\w+)`: ((?:`\w+`(?:, )?)+)", line)
        assert named, line
        for path, tests in named:
            text = (ROOT / path).read_text()
            missing = [one for one in re.findall(r"`(\w+)`", tests) if not re.search(r"\b%s\b" % one, text)]
            assert not missing, f"{path}: {missing}"
        rule = re.match(r"\| R(\d+) ", line).group(1)
        assert all(re.search(r"(?i)r%s_" % rule, one) for _, tests in named for one in re.findall(r"`(\w+)`", tests)), line


def test_what_is_not_sanitized_runs_hardened():
    """A test that leaves sanitized programs out must be among those that run with the hardened build, by its file or its name."""
    chosen = (ROOT / "scripts/test").read_text()
    names = re.search(r"for name in (.*?); do", chosen, re.S).group(1).split()
    wrong = []
    for path in sorted((ROOT / "test/blackbox").glob("test_*.py")):
        text = path.read_text()
        left_out = re.findall(r'skipif\("asan".*?\ndef (test_\w+)', text, re.S) if path.stem.removeprefix("test_") not in names else []
        wrong += [f"{path.name}::{name}" for name in left_out if f"test/blackbox/{path.name}::{name}" not in chosen]
    assert not wrong, wrong
