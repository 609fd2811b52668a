"""Pagination of Prefect's lists that misses no row while the lists change during the read."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from typing import Protocol
from uuid import UUID

from flows.prefect_api import parsing
from flows.prefect_api.parsing import Raw
from flows.prefect_api.records import JSON
from flows.prefect_api.transport import TransientError, Transport

PAGE = 200  # the most that Prefect returns at once
# Pages overlap by ten: each row deleted during the read moves all later ones up by one.
STEP = PAGE - 10
# Sizes of the pages in which the rows of one time are read, one after the other.
SIZES = (PAGE, 170, 130)
INSTANT = timedelta(microseconds=1)  # times are not finer
# Bisecting a page of 200 down to one bad row costs 9 failed calls. After 40 the server itself is the problem.
PATIENCE = 40

log = logging.getLogger(__name__)


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True, slots=True)
class ByTime[T: Identified]:
    """A list sorted by a time: where to ask, how to sort and bound it, and how to read a row and its time."""

    kind: str
    sort: str
    field: str
    side: str
    read: Callable[[Raw], T]
    moment: Callable[[T], datetime | None]


ACTIVE = ByTime(
    "flow_runs",
    "START_TIME_ASC",
    "start_time",  # Prefect means by it the expected start of what has not begun
    "after_",
    parsing.flow_run,
    lambda run: run.started_at or run.expected_start_at,
)
ENDED = ByTime("flow_runs", "END_TIME_DESC", "end_time", "before_", parsing.flow_run, lambda run: run.ended_at)
LINES = ByTime("logs", "TIMESTAMP_ASC", "timestamp", "after_", parsing.log, lambda line: line.timestamp)


class Paginator:
    """Reads lists through one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def rows(self, path: str, body: JSON, *, act: str) -> list[Raw]:
        return self.listed(self._transport.read("POST", path, body, act=act))

    def listed(self, answer: JSON) -> list[Raw]:
        if not isinstance(answer, list):
            raise self._transport.not_prefect(200)
        return [raw for raw in answer if isinstance(raw, dict)]

    def record[**P, T](self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except parsing.Unreadable:
            raise self._transport.not_prefect(200) from None

    def by_offset(self, path: str, body: Mapping[str, JSON], *, act: str) -> Iterator[list[Raw]]:
        """Yield page after page, each row once. The sort of the list must tell any two rows apart."""
        seen: set[str] = set()
        offset = 0
        while True:
            page = self.rows(path, {**body, "limit": PAGE, "offset": offset}, act=act)
            fresh = [raw for raw in page if str(raw.get("id")) not in seen]
            seen.update(str(raw.get("id")) for raw in fresh)
            yield fresh
            # A short page is the last one. An exact multiple of PAGE costs one more call with an empty page.
            if len(page) < PAGE:
                return
            offset += STEP

    def by_time[T: Identified](self, by: ByTime[T], where: Mapping[str, JSON], *, act: str) -> Iterator[T]:
        """Yield every row, continuing from the time of the last one instead of an offset.

        Prefect's sorts have no tie-breaker (all schedules fire at midnight), and rows move during the read: an offset
        would skip some. The bounds are inclusive, so that a page begins with the rows that share the last time.
        """
        cursor: datetime | None = None
        offset = 0
        before: set[UUID] = set()
        while True:
            # 1. Narrow the list to what is not read yet.
            criteria = where if cursor is None else narrowed(where, by.field, {by.side: utc(cursor)})
            # 2. Read a page, and yield what the previous page did not have.
            page_rows = self._page_by_time(by, criteria, offset, PAGE, act=act)
            page = [self.record(by.read, raw) for raw in page_rows if raw is not None]
            yield from (row for row in page if row.id not in before)
            if len(page_rows) < PAGE:
                return
            # 3. Move the cursor to the last time; without one, only an offset moves on.
            before = {row.id for row in page}
            last = by.moment(page[-1]) if page else None
            if last is not None and last == cursor:
                # The whole page shares one time: read that, and continue behind it.
                yield from self._of_one_time(by, where, last, before, act=act)
                before, last = set(), last + (INSTANT if by.side == "after_" else -INSTANT)
            cursor, offset = (last, 0) if last is not None else (cursor, offset + PAGE)

    def _of_one_time[T: Identified](
        self, by: ByTime[T], where: Mapping[str, JSON], at: datetime, known: Iterable[UUID], *, act: str
    ) -> Iterator[T]:
        """Yield the rows of one time that are not known.

        The database returns rows of one time in another order for each page: 2 of 1,250 log lines were on none. So they
        are read again, in pages of other sizes, until a reading finds nothing new.
        """
        seen = set(known)
        criteria = narrowed(where, by.field, {"after_": utc(at), "before_": utc(at)})
        for size in cycle(SIZES):
            fresh: list[T] = []
            for offset in count(0, size):
                page = self._page_by_time(by, criteria, offset, size, act=act)
                rows = [self.record(by.read, raw) for raw in page if raw is not None]
                fresh += [row for row in rows if row.id not in seen]
                seen |= {row.id for row in rows}
                if len(page) < size:
                    break
            yield from fresh
            if not fresh:
                return

    def _page_by_time[T: Identified](
        self, by: ByTime[T], criteria: Mapping[str, JSON], offset: int, size: int, *, act: str
    ) -> list[Raw | None]:
        body: dict[str, JSON] = {by.kind: {**criteria}, "sort": by.sort}
        return self._without_bad_rows(f"/{by.kind}/filter", body, offset, size, act=act)

    def _without_bad_rows(
        self, path: str, body: Mapping[str, JSON], offset: int, size: int, *, act: str
    ) -> list[Raw | None]:
        """Read one page by bisection, with None for a row that Prefect itself cannot serialize.

        A number beyond 64 bits in the parameters of one run makes Prefect answer 500 to every list that contains the
        run. Any user can start such a run, and it must not hide all others.
        """
        failures = 0

        def part(offset: int, limit: int) -> list[Raw | None]:
            nonlocal failures
            try:
                return [*self.rows(path, {**body, "offset": offset, "limit": limit}, act=act)]
            except TransientError:
                failures += 1
                if failures > PATIENCE:
                    raise
            if limit == 1:
                log.warning("%s fails to return one of its flow runs; delete it in Prefect.", self._transport.where)
                return [None]
            # The second half only when the first is full: a short first half ends the list.
            half = limit // 2
            first = part(offset, half)
            return first if len(first) < half else [*first, *part(offset + half, limit - half)]

        return part(offset, size)


def narrowed(criteria: Mapping[str, JSON], field: str, bounds: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the criteria with these bounds on a field, and the caller's own on the same field."""
    own = criteria.get(field)
    return {**criteria, field: {**(own if isinstance(own, dict) else {}), **bounds}}


def chunks(ids: Iterable[UUID]) -> Iterator[list[JSON]]:
    """Yield lists of ids, each id once, as long as one call accepts."""
    every: list[JSON] = [str(each) for each in dict.fromkeys(ids)]
    for start in range(0, len(every), PAGE):
        yield every[start : start + PAGE]


def utc(moment: datetime) -> str:
    """Format a time for Prefect; ValueError without a time zone, because the server would read it as UTC."""
    if moment.tzinfo is None:
        raise ValueError("A time without a time zone cannot be sent to Prefect.")
    return moment.astimezone(UTC).isoformat()
