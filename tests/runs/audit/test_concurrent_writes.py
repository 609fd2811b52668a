"""Several processes write to the audit trail at once, on real connections with real commits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.models import AuditEntry

WRITERS, ENTRIES = 6, 10


def at_once(work: Callable[[], None]) -> list[BaseException]:
    """Run `work` in several threads, each with a connection of its own; returns what went wrong."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(WRITERS)

    def run() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def write() -> None:
    for number in range(ENTRIES):
        try:
            with audit.act("grant.give", None, by=Actor.system("test"), subject_name=str(number)):
                if number % 3 == 0:
                    raise Refused("state.illegal", "Not every time.")
        except Refused:
            continue


@pytest.mark.usefixtures("own_database")
def test_they_make_one_unbroken_chain() -> None:
    assert not at_once(write)
    verification = audit.verify()
    assert verification, verification.broken
    assert verification.entries == AuditEntry.objects.count() == WRITERS * ENTRIES
    times = list(AuditEntry.objects.order_by("sequence").values_list("at", flat=True))
    assert times == sorted(times)
