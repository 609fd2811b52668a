"""Findings of the data quality checks, and when they stop an ingestion.

A check is a question about rows of a month's tables. Rows that fail are a warning up to the limit of the check, a share
of the rows that it looked at, and stop the ingestion above it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from flows.crm.failures import FailedChecks
from flows.crm.table_schema import Tables

ALWAYS, NEVER = 0.0, 1.0  # limits: one failing row stops the ingestion, or no number of them does
# With a limit in between, as few failing rows never stop an ingestion: the share of a handful of rows says little.
FEW = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    raw: Tables
    cleaned: Tables

    @property
    def deals(self) -> pd.DataFrame:
        return self.cleaned["sales_pipeline"]


@dataclass(frozen=True, slots=True)
class Failing:
    rows: list[str]  # the failing rows, usually by identifier
    of: int  # rows that were looked at


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    limit: float  # share of failing rows above which the ingestion is stopped
    asks: str
    reason: str  # why that limit
    find: Callable[[Evidence], Failing]


@dataclass(frozen=True, slots=True)
class Finding:
    check: Check
    failing: Failing

    @property
    def share(self) -> float:
        return len(self.failing.rows) / max(self.failing.of, 1)

    @property
    def result(self) -> str:
        if not self.failing.rows:
            return "passed"
        if self.check.limit == ALWAYS:
            return "failed"
        return "failed" if self.share > self.check.limit and len(self.failing.rows) > FEW else "warning"

    @property
    def examples(self) -> str:
        # Three examples are enough to find the cause; the number says how common it is.
        different = list(dict.fromkeys(self.failing.rows))
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        return ", ".join(different[:3]) + more

    @property
    def size(self) -> str:
        """Compare a share with its limit, for a check that has one."""
        if self.check.limit in (ALWAYS, NEVER):
            return ""
        return f"; {self.share:.1%} of {self.failing.of:,} where at most {self.check.limit:.0%} are tolerated"

    def row(self) -> dict[str, str | int | float]:
        return {
            "check": self.check.name,
            "result": self.result,
            "found": len(self.failing.rows),
            "examples": self.examples,
            "share": round(self.share, 4),
            "blocks_above": self.check.limit,
            "asks": self.check.asks,
            "reason": self.check.reason,
        }


def require_passed(month: str, findings: list[Finding]) -> None:
    """Raise `FailedChecks` with every failed check."""
    failed = [finding for finding in findings if finding.result == "failed"]
    if failed:
        reasons = "; ".join(f"{finding.check.name} ({finding.examples}{finding.size})" for finding in failed)
        noun = "check" if len(failed) == 1 else "checks"
        # All failed checks in one message, so that the source is corrected once.
        raise FailedChecks(
            f"{month} cannot be ingested, {len(failed)} {noun} failed: {reasons}. "
            "Correct the source, then acquire the month again."
        )
