"""Waiting for requests and actions, and following logs, by reading again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from .answers import Action, Change, LogLine, RunRequest
from .client_errors import Forbidden, NotFound, PortalFailed, StillRunning, TooManyRequests, Unreachable

if TYPE_CHECKING:
    from .portal_api import Portal

# Seconds between two readings: at first for a quick answer, later to spare the portal.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
FOLLOW_PAUSE = 2.0
# Readings after the end of a run, for the last lines.
LAST_READINGS = 2
# What passes while one waits: a restart of the portal must not end the job that waits.
PASSING = (Unreachable, PortalFailed, TooManyRequests)


class LogReader:
    """Reads the lines of one log that were not read yet."""

    def __init__(self, portal: Portal, environment: str, run: str, *, level: int = 0) -> None:
        self.portal, self.place, self.level = portal, (environment, run), level
        self.last = 0

    def read(self) -> Iterator[LogLine]:
        for line in self.portal.log_lines(*self.place, level=self.level, after=self.last):
            # At once: the next page may not arrive.
            self.last = line.id
            yield line


def follow_log(portal: Portal, environment: str, run: str, *, level: int = 0) -> Iterator[LogLine]:
    reader, left = LogReader(portal, environment, run, level=level), LAST_READINGS
    while True:
        found = next(portal.runs(environment, id=run), None)
        yield from reader.read()
        left -= found is None or found.is_ended
        if left < 0:
            return
        time.sleep(FOLLOW_PAUSE)


def wait[Row: (Change, RunRequest, Action)](
    portal: Portal, row: Row, *, timeout: float, on_log: Callable[[LogLine], None] | None
) -> Row:
    """Return the row once it has ended; raises `StillRunning`, or the last error if the portal stays away."""
    deadline, pause = time.monotonic() + timeout, FIRST_PAUSE
    readers: dict[str, LogReader] = {}
    while True:
        try:
            row = read_again(portal, row)
            if on_log and not isinstance(row, Action):
                read_logs(portal, row, readers, on_log)
            if row.is_ended:
                if on_log and readers and not isinstance(row, Action):
                    time.sleep(FOLLOW_PAUSE)
                    read_logs(portal, row, readers, on_log)
                return row
        except PASSING:
            if time.monotonic() >= deadline:
                raise
        left = deadline - time.monotonic()
        if left <= 0:
            raise StillRunning(describe(row, timeout), row)
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def read_again[Row: (Change, RunRequest, Action)](portal: Portal, row: Row) -> Row:
    match row:
        case Change():
            return portal.change(row.id)
        case RunRequest():
            return portal.request(row.id)
        case Action():
            return portal.action(row.id)


def read_logs(
    portal: Portal, row: Change | RunRequest, readers: dict[str, LogReader], on_log: Callable[[LogLine], None]
) -> None:
    for each in row.requests if isinstance(row, Change) else [row]:
        if each.run is None:
            continue
        reader = readers.setdefault(each.run, LogReader(portal, each.environment, each.run))
        # Who may run something may not always view its log, and a run is known a moment after its request became it:
        # the result is still waited for.
        with suppress(Forbidden, NotFound):
            for line in reader.read():
                on_log(line)


def describe(row: Change | RunRequest | Action, timeout: float) -> str:
    match row:
        case Change(state="waiting"):
            return f"Change request {row.id} still waits for approval after {timeout:g} s."
        case Change():
            return f"Change request {row.id} has not ended after {timeout:g} s; it continues."
        case RunRequest():
            return f"Request {row.id} has not ended after {timeout:g} s ({row.state_name}); it continues."
        case Action():
            return f"{row.kind.capitalize()} {row.id} has not ended after {timeout:g} s ({row.state}); it continues."
