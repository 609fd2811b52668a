"""docs/pipelines.md states what was measured last, and nothing else."""

import json
from pathlib import Path

from benchmarks import pipelines


def test_the_docs_state_what_was_measured(repository: Path) -> None:
    text = (repository / "docs/pipelines.md").read_text()
    results = json.loads(pipelines.RESULTS.read_text())
    assert {"alarms", "hits", "permuted"} <= set(results)
    missing = [line for name, found in results.items() for line in pipelines.TABLES[name](found) if line not in text]
    assert not missing


def test_alarms_without_drift_are_few() -> None:
    found = json.loads(pipelines.RESULTS.read_text())["alarms"]
    assert sum(size["alarms"] for size in found.values()) <= 0.05 * sum(size["months"] for size in found.values())


def test_permuted_outcomes_cannot_be_predicted() -> None:
    assert abs(json.loads(pipelines.RESULTS.read_text())["permuted"]["mean_auc"] - 0.5) <= 0.02
