"""Wrong usage of any command ends with 1, as a refusal does; 2 means “not permitted”."""

from __future__ import annotations

import subprocess
import sys

import pytest

from portal.demo.processes import ROOT

OURS = sorted(
    path.stem
    for folder in ("runs", "portal")
    for path in (ROOT / folder / "management" / "commands").glob("*.py")
    # Its parser is django-q2's.
    if path.stem not in ("__init__", "qcluster", "demo_cast", "demo_story")
)


@pytest.mark.parametrize("command", OURS)
def test_an_option_that_does_not_exist(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", command, "--nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "--nonsense" in ended.stderr or "required" in ended.stderr
    assert "Traceback" not in ended.stderr
