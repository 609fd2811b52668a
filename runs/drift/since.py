"""Since when two deployments differ, by the record of their definitions' changes. No database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from flows import canonical, definition
from runs.models import Drift

Kind = Drift.Kind
type Side = Literal["left", "right", ""]
# kind -> fields of a definition. Default parameters and job variables are recorded as hashes with a key for each
# environment: whether they were the same once is not known.
FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.VERSION: ("version",),
    Kind.CODE: ("entrypoint", "path", "pull_steps"),
    Kind.SCHEMA: ("schema", "enforces_schema"),
    Kind.WORK_POOL: ("work_pool", "work_queue"),
}


@dataclass(frozen=True, slots=True)
class Since:
    """When a difference began, and in which of the two environments the change was; "" if that is not known.

    Not exact: they differed already when they were compared for the first time.
    """

    at: datetime
    side: Side = ""
    is_exact: bool = True

    def stored(self) -> dict[str, Any]:
        return {"at": self.at.isoformat(), "side": self.side, "is_exact": self.is_exact}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        return cls(datetime.fromisoformat(stored["at"]), stored["side"], stored["is_exact"])


@dataclass(frozen=True, slots=True)
class Change:
    """A recorded change of the definition on one side; `before` and `after` have the fields that changed."""

    at: datetime
    side: Side
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def find_beginning(
    kind: Kind, left: Mapping[str, Any], right: Mapping[str, Any], changes: Iterable[Change]
) -> Since | None:
    """Return when a difference of two definitions began; None if the record does not reach back to it.

    `changes` are those of both sides, newest first. They are undone one by one until both sides are the same: the last
    one that was undone began the difference.
    """
    fields = FIELDS.get(kind, ())
    sides = {"left": picked(left, fields), "right": picked(right, fields)}
    for change in changes:
        changed = [name for name in fields if name in change.before or name in change.after]
        if not changed:
            continue
        sides[change.side] |= picked(change.before, changed)
        if canonical.same(sides["left"], sides["right"]):
            return Since(change.at, change.side)
    return None


def picked(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: definition.without_hashes(fields.get(name)) for name in names}
