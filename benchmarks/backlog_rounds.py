"""Measures the queue in an empty database; `benchmarks.backlog` starts one and calls this."""

from __future__ import annotations

import json
import logging
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

django.setup()

from django.core.management import call_command  # noqa: E402  (Django must be set up before)
from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.background_processes import Background, until  # noqa: E402
from benchmarks.fake_world import Track  # noqa: E402
from runs import queue  # noqa: E402
from runs.models import QueuedTask, Run, RunRequest  # noqa: E402
from runs.models.request import State  # noqa: E402

RESULT = Path(__file__).parent / "backlog.json"
OPEN, REFRESHES, KILLS = 300, 150, 20
OPENED = (State.APPROVED, State.LAUNCHING)


@contextmanager
def background(log: str, **stub: str) -> Iterator[Background]:
    it = Background(log, **stub)
    try:
        yield it
    finally:
        it.stop()
        QueuedTask.objects.all().delete()
        RunRequest.objects.filter(state__in=OPENED).update(state=State.REFUSED)


def launched(run_request: RunRequest) -> bool:
    return RunRequest.objects.filter(pk=run_request.pk, state=State.LAUNCHED).exists()


def longest_queue(track: Track, log: str) -> dict[str, int]:
    """The most rows in the queue within a minute."""
    for _ in range(OPEN):
        track.ask()
    most = 0
    with background(log, STUB_FAILS="1", STUB_SECONDS="0.5"):
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            most = max(most, QueuedTask.objects.count())
            time.sleep(0.1)
        return {"open requests": RunRequest.objects.filter(state__in=OPENED).count(), "longest queue": most}


def beside_refreshes(track: Track, log: str) -> dict[str, float]:
    """Milliseconds from a request to its launch: alone, and beside refreshes that are queued already."""

    def launch() -> float:
        began = time.perf_counter()
        run_request = track.ask()
        until(lambda: launched(run_request), 60)
        return round((time.perf_counter() - began) * 1000)

    columns = {"environment": track.prod, "state_type": "RUNNING", "name": "busy", "synced_at": timezone.now()}
    runs = [Run.objects.create(prefect_id=uuid.uuid4(), **columns) for _ in range(REFRESHES)]
    with background(log):
        alone = sorted(launch() for _ in range(5))[2]
        for run in runs:
            queue.enqueue("runs.tasks.refresh", run.pk)
        beside = launch()
        waiting = QueuedTask.objects.filter(task="runs.tasks.refresh").count()
    for _ in range(REFRESHES):
        queue.enqueue("runs.tasks.refresh", runs[0].pk)
    one_run = QueuedTask.objects.count()
    return {"alone": alone, "beside": beside, "still queued": waiting, "rows of 150 refreshes of one run": one_run}


def after_kills(track: Track, log: str) -> dict[str, float]:
    """Seconds from a request to its launch, one a second, while the processes are killed."""
    dice, asked, waits = random.Random(1), {}, {}
    with background(log) as processes:
        last_kill, kills = time.monotonic(), 0
        while kills < KILLS or (asked.keys() - waits.keys() and time.monotonic() - last_kill < 60):
            if kills < KILLS:
                asked[track.ask().pk] = time.monotonic()
                if time.monotonic() - last_kill > 3:
                    processes.kill_one(dice)
                    last_kill, kills = time.monotonic(), kills + 1
            for _ in range(20):
                done = RunRequest.objects.filter(pk__in=asked.keys() - waits.keys(), state=State.LAUNCHED)
                waits |= {pk: time.monotonic() - asked[pk] for pk in done.values_list("pk", flat=True)}
                time.sleep(0.05)
    ordered = sorted(waits.values())
    return {
        "requests": len(asked),
        "never launched": len(asked) - len(waits),
        "median": round(ordered[len(ordered) // 2], 2),
        "longest": round(ordered[-1], 1),
    }


def accepting(track: Track) -> dict[str, float]:
    with CaptureQueriesContext(connection) as captured:
        track.ask()
    began = time.perf_counter()
    for _ in range(100):
        track.ask()
    return {"queries": len(captured) - 1, "a second": round(100 / (time.perf_counter() - began), 1)}


def main() -> None:
    log = sys.argv[1]
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("sync_periodic", verbosity=0)
    track = Track.lay(1)
    track.prod.is_protected = track.prod.needs_approval = False
    track.prod.save()
    result = {
        "queue under 503s": longest_queue(track, log),
        "launch, milliseconds": beside_refreshes(track, log),
        f"launch, seconds, {KILLS} kills": after_kills(track, log),
        "accepting": accepting(track),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
