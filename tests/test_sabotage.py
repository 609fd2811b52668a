"""Every sabotage still fits the code, so that `make sabotage` makes what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage import SABOTAGES, Sabotage, spoiled

ROOT = Path(__file__).resolve().parent.parent


def test_there_are_enough_and_each_has_its_own_name() -> None:
    assert len({each.name for each in SABOTAGES}) == len(SABOTAGES) >= 20


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda each: each.name)
def test_a_sabotage_fits_the_code_and_its_tests_are_there(sabotage: Sabotage) -> None:
    assert bool(sabotage.file) != bool(sabotage.statement)
    if sabotage.file:
        code = spoiled((ROOT / sabotage.file).read_text(), sabotage)
        compile(code, sabotage.file, "exec")
    for test in sabotage.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()
