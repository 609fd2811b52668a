"""Lists of Prefect's, page by page, so that no row is missed while they change under our eyes."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from flows.prefect_api import parsing
from flows.prefect_api.parsing import Raw
from flows.prefect_api.records import JSON
from flows.prefect_api.transport import TransientError, Transport

PAGE = 200
# Pages overlap, because a row deleted meanwhile moves all later ones up by one.
STEP = PAGE - 10
# Looking for one bad row in a page costs 9 failures; a server that fails at everything is left alone after these.
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
    """Reads lists over one wire."""

    def __init__(self, wire: Transport) -> None:
        self._wire = wire

    def rows(self, path: str, body: JSON, *, act: str) -> list[Raw]:
        return self.listed(self._wire.read("POST", path, body, act=act))

    def listed(self, answer: JSON) -> list[Raw]:
        if not isinstance(answer, list):
            raise self._wire.not_prefect(200)
        return [raw for raw in answer if isinstance(raw, dict)]

    def record[**P, T](self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except parsing.Unreadable:
            raise self._wire.not_prefect(200) from None

    def by_offset(self, path: str, body: Mapping[str, JSON], *, act: str) -> Iterator[list[Raw]]:
        """Every page, each row once, for lists whose sorting tells any two rows apart."""
        seen: set[str] = set()
        offset = 0
        while True:
            page = self.rows(path, {**body, "limit": PAGE, "offset": offset}, act=act)
            fresh = [raw for raw in page if str(raw.get("id")) not in seen]
            seen.update(str(raw.get("id")) for raw in fresh)
            yield fresh
            if len(page) < PAGE:
                return
            offset += STEP

    def by_time[T: Identified](self, by: ByTime[T], where: Mapping[str, JSON], *, act: str) -> Iterator[T]:
        """Every row, going on from the time of the last one instead of an offset.

        Prefect sorts equal times as it likes (all schedules fire at midnight), and rows move while we read: an
        offset would skip some. The bounds are inclusive, so that a page begins with what shared the last time.
        """
        cursor: datetime | None = None
        offset = 0
        before: set[UUID] = set()
        while True:
            criteria = dict(where)
            if cursor is not None:
                held = criteria.get(by.field)
                criteria[by.field] = (held if isinstance(held, dict) else {}) | {by.side: utc(cursor)}
            body: dict[str, JSON] = {by.kind: criteria, "sort": by.sort, "offset": offset}
            raws = self._without_bad_rows(f"/{by.kind}/filter", body, act=act)
            page = [self.record(by.read, raw) for raw in raws if raw is not None]
            yield from (row for row in page if row.id not in before)
            if len(raws) < PAGE:
                return
            before = {row.id for row in page}
            last = by.moment(page[-1]) if page else None
            if last is None or last == cursor:
                offset += PAGE
            else:
                cursor, offset = last, 0

    def _without_bad_rows(self, path: str, body: Mapping[str, JSON], *, act: str) -> list[Raw | None]:
        """One page, with None for a row that Prefect cannot write itself.

        A number beyond 64 bits in the parameters of one run is enough for it to answer 500 to every list that the
        run is in. Anybody can start such a run, and it may not hide all others from us.
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
                log.warning("%s fails to return one of its flow runs; delete it in Prefect.", self._wire.where)
                return [None]
            half = limit // 2
            first = part(offset, half)
            return first if len(first) < half else [*first, *part(offset + half, limit - half)]

        offset = body.get("offset")
        return part(offset if isinstance(offset, int) else 0, PAGE)


def chunks(ids: Iterable[UUID]) -> Iterator[list[JSON]]:
    """As many ids as one call takes, each once."""
    every: list[JSON] = [str(each) for each in dict.fromkeys(ids)]
    for start in range(0, len(every), PAGE):
        yield every[start : start + PAGE]


def utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("A time without a time zone cannot be sent to Prefect.")
    return moment.astimezone(UTC).isoformat()
