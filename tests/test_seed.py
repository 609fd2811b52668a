"""The rows that benchmarks measure with are made without the product's services, and must fit its models."""

import json
import subprocess
import sys
from pathlib import Path

from django.db.models import Sum

from runs import audit
from runs.models import AuditEntry, Run, RunCount, RunRequest

RUNS = 3_000


def run(repository: Path, module: str, argument: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", argument]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seeded_database_fits_the_models(own_database: str, repository: Path, tmp_path: Path) -> None:
    run(repository, "seed_rows", str(RUNS))

    assert Run.objects.count() == AuditEntry.objects.count() == RUNS
    assert RunRequest.objects.exclude(run=None).exists()
    ended = Run.objects.filter(ended_at__isnull=False).count()
    assert RunCount.objects.aggregate(runs=Sum("number"))["runs"] == ended
    assert not audit.verify().broken

    # Each page that is measured can be opened by both readers.
    questions = tmp_path / "questions.json"
    run(repository, "page_questions", str(questions))
    queries = json.loads(questions.read_text())["queries"]
    assert {page for counts in queries.values() for page, number in counts.items() if number < 0} == set()
