"""Continuity: what the month before knew must still be in the source, or the export was cut."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from flows.crm.failures import BadSource
from flows.crm.table_schema import SHAPES, Tables

# table -> share of the rows of the month before that may be missing from this month: deleted by hand, merged, retired
LIMITS = {"sales_pipeline": 0.01, "accounts": 0.1, "products": 0.3, "sales_teams": 0.3}


@dataclass(frozen=True, slots=True)
class Vanished:
    table: str
    before: int  # rows of the month before that must still be there
    missing: list[str]
    rows: int  # rows now

    @property
    def is_tolerated(self) -> bool:
        return len(self.missing) <= LIMITS[self.table] * self.before

    def sentence(self, month: str) -> str:
        """Say what is missing, without a full stop."""
        more = ", …" if len(self.missing) > 3 else ""
        return (
            f"{self.table} has {self.rows:,} rows and lacks {len(self.missing):,} of the {self.before:,} that "
            f"{month} had ({', '.join(self.missing[:3])}{more}): {len(self.missing) / self.before:.1%}, "
            f"where at most {LIMITS[self.table]:.0%} are tolerated"
        )


def compare(before: Tables, now: Tables) -> list[Vanished]:
    """Return the tables that lack rows of the month before."""
    found = []
    for table, shape in SHAPES.items():
        known = before[table]
        if table == "sales_pipeline":
            # A prospect that was engaged later than this month is absent from it, rightly.
            known = known[known["engage_date"].notna()]
        missing = pd.Index(known[shape.identifier]).difference(now[table][shape.identifier])
        if len(missing):
            found.append(Vanished(table, len(known), [str(name) for name in missing], len(now[table])))
    return found


def require_continuity(month: str, before: Tables, now: Tables, warn: Callable[[str], None]) -> None:
    """Raise `BadSource` if a table lacks too many rows of the month before; name fewer by `warn`."""
    vanished = compare(before, now)
    for one in vanished:
        if one.is_tolerated:
            warn(f"{one.sentence(month)}.")
    if refused := [one.sentence(month) for one in vanished if not one.is_tolerated]:
        raise BadSource(
            f"{'; '.join(refused)}: export the tables again, or set CRM_LAKE to another folder for another source."
        )
