"""The data in tests/expectations has no row without a test, and no commit changes it together with the product."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.expectations import guard, load

TESTS = Path(__file__).parent


def words() -> set[str]:
    """Every text in the code of the tests."""
    return {
        node.value
        for path in TESTS.rglob("*.py")
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_expectation_is_read_by_a_test() -> None:
    rows = {*load("query_counts"), *(name for area in load("tamper").values() for name in area)}
    assert rows - words() == set()


def commit(root: Path, subject: str, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(subject)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "-q", "-m", subject], cwd=root, check=True)


def test_the_guard_names_a_commit_that_changes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.main(tmp_path) == 0
    assert "No git history" in capsys.readouterr().out
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert guard.main(tmp_path) == 0
    commit(tmp_path, "Before", "runs/a.py")
    commit(tmp_path, "Introduce both", "tests/expectations/doors.json", "runs/a.py")
    commit(tmp_path, "Change the product", "runs/a.py", "tests/expectations/README.md", "tests/test_a.py")
    commit(tmp_path, "Change what is expected", "tests/expectations/doors.json", "tests/test_a.py")
    assert guard.main(tmp_path) == 0
    commit(tmp_path, "Change both", "tests/expectations/doors.json", "portal/b.py")
    commit(tmp_path, "Go on", "runs/a.py")
    capsys.readouterr()
    assert guard.main(tmp_path) == 1
    out = capsys.readouterr().out
    assert "Change both" in out
    assert "Go on" not in out
    assert "portal/b.py" in out


def test_the_guard_sees_through_a_move(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path, "Introduce", "tests/expectations/doors.json", "runs/a.py")
    (tmp_path / "tests/expectations/doors.json").rename(tmp_path / "tests/doors.json")
    commit(tmp_path, "Move the data away", "flows/c.py")
    assert guard.main(tmp_path) == 1
