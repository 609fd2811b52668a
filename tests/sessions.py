"""Work in another session of the database, at the same time as the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def elsewhere(work: Callable[[], object]) -> Iterator[None]:
    """Run `work` in a transaction of another session, which commits at the end of the block."""
    done, end = threading.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic():
                work()
                done.set()
                end.wait(20)
        finally:
            done.set()
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    done.wait(20)
    try:
        yield
    finally:
        end.set()
        thread.join()
