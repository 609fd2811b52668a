"""The rows that benchmarks measure with are made without the product's services, and must fit its models."""

import subprocess
import sys
from pathlib import Path

from django.db.models import Sum

from runs import audit
from runs.models import AuditEntry, Run, RunCount, RunRequest

RUNS = 1000


def test_a_seeded_database_fits_the_models(own_database: str, repository: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.seed_rows", str(RUNS)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    assert Run.objects.count() == AuditEntry.objects.count() == RUNS
    assert RunRequest.objects.exclude(run=None).exists()
    ended = Run.objects.filter(ended_at__isnull=False).count()
    assert RunCount.objects.aggregate(runs=Sum("number"))["runs"] == ended
    assert not audit.verify().broken
