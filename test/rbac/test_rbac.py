"""src/rbac, through `tportctl access test`: the tables of this folder, and the comparison with the reference model.

The suite compares 100,000 generated cases (10,000 in a sanitized build). Others than those of each run:

    TPORT_RBAC_CASES=100000 TPORT_RBAC_SEED=$RANDOM python3 -m pytest -q --timeout=3600 test/rbac -k reference_model

A disagreement ends it with the seed, and with the case made small."""

import copy
import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402  pylint: disable=wrong-import-position
import reference  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", HERE.parents[1] / "build"))
TABLES = sorted(HERE.glob("cases/*.yaml"))
SANITIZED = "asan" in BUILD.name
GENERATED = int(os.environ.get("TPORT_RBAC_CASES", "10000" if SANITIZED else "100000"))
SEED = int(os.environ.get("TPORT_RBAC_SEED", "20261125"))
BATCH = 5000
# The tables have a sanitized program look for leaks, which takes longer than a small case; what runs it over and over does not.
QUICK = {"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0"}


def access_test(*files, told=None):
    done = subprocess.run([str(BUILD / "bin" / "tportctl"), "access", "test", "--format=json", *map(str, files)],
                          capture_output=True, text=True, timeout=600, check=False,
                          env={**os.environ, **(told or {})})
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def wrong(report):
    return "\n".join(f"{c['file']}:{c['line']}: {c['name']}: {c['result']}: expected {c['expected']}, got {c['got']} ({c['reason']})"
                     for c in report["cases"] if c["result"] != "pass")


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_table(table):
    report = access_test(table)
    assert report["failed"] == 0 and report["unsupported"] == 0, wrong(report)
    assert report["passed"] == len(yaml.load(table.read_text(), Loader=yaml.CSafeLoader))


def test_tables_are_as_many_as_promised():
    assert sum(len(yaml.load(table.read_text(), Loader=yaml.CSafeLoader)) for table in TABLES) >= 1500


def expected(case):
    """The case with the model's answer in it; None when the model has none."""
    try:
        answer = reference.answer(case)
    except reference.Unknown:
        return None
    if "error" in answer:
        return {**case, "expect_error": True}
    if "value" in answer:
        return None if answer["value"] is None else {**case, "expect_value": answer["value"]}
    return {**case, "expect": answer["expect"]}


def disagreements(cases, folder, results=("fail", "error", "unsupported")):
    file = folder / "cases.json"
    file.write_text(json.dumps(cases))
    return [i for i, c in enumerate(access_test(file, told=QUICK)["cases"]) if c["result"] in results]


def made_small(case, folder):
    """The case with nothing in it that the disagreement does not need, and with the model's answer."""
    def still_wrong(less):
        try:
            full = expected(less)
            return bool(full and disagreements([full], folder, ("fail",)))
        except Exception:  # pylint: disable=broad-except # a case cut to nonsense
            return False
    return expected(generate.shrink({key: value for key, value in case.items() if not key.startswith("expect")}, still_wrong))


def explained(case, folder):
    """The case made small, and what tport says about it."""
    small = made_small(case, folder)
    (folder / "small.json").write_text(json.dumps([small]))
    return yaml.safe_dump(small, sort_keys=False) + json.dumps(access_test(folder / "small.json")["cases"], indent=1)


@pytest.mark.timeout(max(900, GENERATED // 50))
def test_agrees_with_the_reference_model(tmp_path):
    compared = 0
    for start in range(0, GENERATED, BATCH):
        made = [case for case in map(expected, generate.cases(SEED + start, BATCH)) if case]
        compared += len(made)
        bad = disagreements(made, tmp_path)
        if bad:
            pytest.fail(f"{len(bad)} of {len(made)} differ, seed {SEED + start}; the first, made small:\n{explained(made[bad[0]], tmp_path)}")
    assert compared > GENERATED * 9 // 10


def test_the_comparison_can_fail(tmp_path):
    """A model that is wrong about one thing is noticed."""
    case = {"name": "x", "roles": [], "resource": {"kind": "node", "name": "n"}, "login": "root"}
    assert disagreements([{**case, "expect": "allow"}], tmp_path) == [0]
    assert disagreements([expected(case)], tmp_path) == []


def test_a_disagreement_is_made_small(tmp_path, monkeypatch):
    """Of a model that knows no deny, every wrong case comes down to what denies and what would grant."""
    right = reference.answer

    def without_deny(case):
        less = copy.deepcopy(case)
        for role in less.get("roles", []):
            role["spec"].pop("deny", None)
        return right(less)

    monkeypatch.setattr(reference, "answer", without_deny)
    made = [case for case in map(expected, generate.cases(4, 1500)) if case]
    wrong_ones = [made[i] for i in disagreements(made, tmp_path) if "verb" in made[i] and "expect" in made[i]]
    assert len(wrong_ones) > 5
    for case in wrong_ones[:5]:
        small = made_small(case, tmp_path)
        assert disagreements([small], tmp_path, ("fail",)) == [0]
        assert set(small) == {"roles", "resource", "verb", "expect"} and len(small["roles"]) <= 2, small
        assert set(small["resource"]) == {"kind"}, small
        [denying] = [role for role in small["roles"] if "deny" in role["spec"]]
        [rule] = denying["spec"]["deny"]["rules"]
        assert set(rule) <= {"resources", "verbs"} and len(rule["resources"]) == len(rule["verbs"]) == 1, small
    said = explained(wrong_ones[0], tmp_path)
    assert "denied_by_rule" in said and "expect: allow" in said
