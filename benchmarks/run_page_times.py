"""Measures the page of a run in an empty database; `benchmarks.run_page` starts one and calls this."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks import run_page_world as world  # noqa: E402
from flows.models import Deployment, Environment, Server  # noqa: E402
from runs.models import Grant, LogLine, Run  # noqa: E402

# Task runs of each run, and whether its log is long.
SIZES = ((10, False), (200, True), (2000, True))
FEW_LINES = 100
LIVE = {"X-Portal-Live": "1"}


def make(deployment: Deployment, state_type: str, tasks: int, lines: int) -> Run:
    started = timezone.now() - timedelta(minutes=50)
    run = world.make_run(deployment, f"{state_type.lower()}-{tasks}", state_type, started, 2400)
    made = world.add_tasks(run, tasks)
    world.add_lines(run, lines, made)
    world.add_subflows(run, made[0], ("COMPLETED",) * 12)
    return run


def views(run: Run) -> dict[str, tuple[str, dict[str, str]]]:
    """What is measured: its name -> the query string and the headers."""
    middle = LogLine.objects.filter(run=run).order_by("at").values_list("pk", flat=True)[run.log_lines.count() // 2]
    return {
        "page": ("", {}),
        "update": ("", LIVE),
        "update, one band": ("?band=join-1a2b3c4d", LIVE),
        "log around a line": (f"?line={middle}", {}),
        "log with a text": ("?text=part+7", {}),
    }


def measure(client: Client, address: str, headers: dict[str, str], rounds: int) -> tuple[float, float, int, int]:
    """Return the median and 95th percentile in ms, the bytes and the queries; the first call fills caches."""
    answer: Any = None
    times = []
    for _ in range(rounds + 1):
        gc.collect()
        began = time.perf_counter()
        answer = client.get(address, headers=headers)
        times.append((time.perf_counter() - began) * 1000)
    if answer.status_code != 200:
        sys.exit(f"Answered {answer.status_code}: {answer.content.decode()[:500]}")
    with CaptureQueriesContext(connection) as queries:
        client.get(address, headers=headers)
    ordered = sorted(times[1:])
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    return statistics.median(ordered), p95, len(answer.content), len(queries)


def main(rounds: int, lines: int) -> None:
    # 1. The runs.
    call_command("migrate", verbosity=0)
    environment = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.bench/api"))
    user = User.objects.create(username="requester", is_staff=True)
    verbs = ["see", "see inputs", "see logs", "trigger", "cancel"]
    Grant.objects.create(person=user, verbs=verbs, environment=environment, granted_by_name="bench")
    deployment = world.make_deployment(environment)
    world.add_earlier_runs(deployment, 500, 1200)
    world.add_earlier_runs(deployment, 40, 1200, "FAILED")
    runs = [
        (tasks, make(deployment, state, tasks, lines if is_long else FEW_LINES))
        for state in ("RUNNING", "FAILED")
        for tasks, is_long in SIZES
    ]
    world.analyze()
    # 2. The times, with the ratio to the smallest run in the same state.
    client = Client()
    client.force_login(user)
    print(f"{'run':<28}{'view':<20}{'ms p50':>8}{'p95':>8}{'ratio':>8}{'kB':>8}{'queries':>9}")
    first: dict[tuple[str, str], float] = {}
    for tasks, run in runs:
        address = reverse("admin:runs_run_change", args=[run.pk])
        for view, (query, headers) in views(run).items():
            p50, p95, size, queries = measure(client, address + query, headers, rounds)
            ratio = p50 / first.setdefault((run.state_type, view), p50)
            name = f"{run.state_label}, {tasks:,} task runs"
            print(f"{name:<28}{view:<20}{p50:8.0f}{p95:8.0f}{ratio:8.2f}{size / 1000:8.0f}{queries:9}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
