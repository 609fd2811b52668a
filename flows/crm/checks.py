"""Data quality checks of a month's tables, as a table of named checks.

A failed blocking check stops the ingestion: features would be built from invalid data. A warning is only reported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import pandas as pd

from flows.crm.corrections import SPELLINGS
from flows.crm.failures import FailedChecks
from flows.crm.snapshot import CLOSED, OPEN
from flows.crm.table_schema import SHAPES, Tables

FEW_CLOSED_DEALS = 100  # below this, a win rate means little


@dataclass(frozen=True, slots=True)
class Evidence:
    raw: Tables
    cleaned: Tables
    day: date  # last day of the month; later dates are errors

    @property
    def deals(self) -> pd.DataFrame:
        return self.cleaned["sales_pipeline"]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    blocking: bool
    asks: str
    find: Callable[[Evidence], list[str]]  # returns the offending rows, usually by identifier


@dataclass(frozen=True, slots=True)
class Finding:
    check: Check
    offenders: list[str]

    @property
    def result(self) -> str:
        if not self.offenders:
            return "passed"
        return "failed" if self.check.blocking else "warning"

    @property
    def examples(self) -> str:
        # Three examples are enough to find the cause; the number says how common it is.
        different = list(dict.fromkeys(self.offenders))
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        return ", ".join(different[:3]) + more

    def row(self) -> dict[str, str | int]:
        return {
            "check": self.check.name,
            "result": self.result,
            "found": len(self.offenders),
            "examples": self.examples,
            "asks": self.check.asks,
        }


def run(evidence: Evidence) -> list[Finding]:
    """Run every check, also after one has failed: the table of findings shows all of them."""
    return [Finding(check, check.find(evidence)) for check in CHECKS]


def require_passed(month: str, findings: list[Finding]) -> None:
    """Raise `FailedChecks` with every failed blocking check."""
    failed = [finding for finding in findings if finding.result == "failed"]
    if failed:
        reasons = "; ".join(f"{finding.check.name} ({finding.examples})" for finding in failed)
        noun = "check" if len(failed) == 1 else "checks"
        # All failed checks in one message, so that the source is corrected once.
        raise FailedChecks(
            f"{month} cannot be ingested, {len(failed)} {noun} failed: {reasons}. "
            "Correct the source, then acquire the month again."
        )


def _ids(table: str, frame: pd.DataFrame, wrong: pd.Series) -> list[str]:
    # A comparison with a missing value is neither true nor false: the checks for missing values report it.
    return [str(name) for name in frame.loc[wrong.fillna(False).astype(bool), SHAPES[table].identifier]]


def _deals(wrong: Callable[[pd.DataFrame], pd.Series]) -> Callable[[Evidence], list[str]]:
    return lambda evidence: _ids("sales_pipeline", evidence.deals, wrong(evidence.deals))


def _empty_tables(evidence: Evidence) -> list[str]:
    return [name for name, frame in evidence.raw.items() if frame.empty]


def _repeated(evidence: Evidence) -> list[str]:
    """Check the cleaned tables: two spellings of a product are one product."""
    repeated: list[str] = []
    for name, shape in SHAPES.items():
        frame = evidence.cleaned[name]
        repeated += _ids(name, frame, frame[shape.identifier].duplicated() | frame[shape.identifier].isna())
    return repeated


def _unknown(column: str, table: str) -> Callable[[Evidence], list[str]]:
    def find(evidence: Evidence) -> list[str]:
        named = evidence.deals[column].dropna()
        return sorted(set(named) - set(evidence.cleaned[table][column]))

    return find


def _too_late(evidence: Evidence) -> list[str]:
    end, deals = pd.Timestamp(evidence.day), evidence.deals
    return _ids("sales_pipeline", deals, (deals["engage_date"] > end) | (deals["close_date"] > end))


def _without_price(evidence: Evidence) -> list[str]:
    products = evidence.cleaned["products"]
    return _ids("products", products, ~(products["sales_price"] > 0))


def _odd_values(evidence: Evidence) -> list[str]:
    # Repeated products are another check's finding; here they would break the lookup.
    prices = evidence.cleaned["products"].drop_duplicates("product").set_index("product")["sales_price"]
    deals = evidence.deals
    ratio = deals["close_value"] / deals["product"].map(prices)
    return _ids("sales_pipeline", deals, (deals["deal_stage"] == "Won") & ((ratio < 0.5) | (ratio > 2)))


def _misspelt(evidence: Evidence) -> list[str]:
    """Return one entry per cell, so that the count is the number of cells."""
    found: list[str] = []
    for (table, column), spellings in SPELLINGS.items():
        cells = evidence.raw[table][column].str.strip()
        found += [str(cell) for cell in cells[cells.isin(list(spellings))]]
    return found


def _idle_agents(evidence: Evidence) -> list[str]:
    return sorted(set(evidence.cleaned["sales_teams"]["sales_agent"]) - set(evidence.deals["sales_agent"]))


def _too_few_closed(evidence: Evidence) -> list[str]:
    closed = int(evidence.deals["deal_stage"].isin(CLOSED).sum())
    return [f"{closed} closed deals"] if closed < FEW_CLOSED_DEALS else []


# Blocking: an outcome, a date or a join would be wrong. Warnings: features are still valid, but worse.
CHECKS = (
    Check("tables-have-rows", True, "Has every table at least one row?", _empty_tables),
    Check("identifiers-unique", True, "Does every row have a unique identifier?", _repeated),
    Check(
        "stage-known",
        True,
        "Is every deal Prospecting, Engaging, Won or Lost?",
        _deals(lambda deals: ~deals["deal_stage"].isin([*CLOSED, *OPEN])),
    ),
    Check(
        "deal-complete",
        True,
        "Does every deal name its agent and its product?",
        _deals(lambda deals: deals["sales_agent"].isna() | deals["product"].isna()),
    ),
    Check("product-known", True, "Is every product of a deal in the price list?", _unknown("product", "products")),
    Check("agent-known", True, "Is every agent of a deal in a sales team?", _unknown("sales_agent", "sales_teams")),
    Check("account-known", True, "Is every account of a deal among the accounts?", _unknown("account", "accounts")),
    Check("price-positive", True, "Does every product have a price above zero?", _without_price),
    Check("nothing-from-the-future", True, "Are all dates within the month or earlier?", _too_late),
    Check(
        "closed-deals-dated",
        True,
        "Does every closed deal have an engage_date and a close_date?",
        _deals(
            lambda deals: deals["deal_stage"].isin(CLOSED) & (deals["engage_date"].isna() | deals["close_date"].isna())
        ),
    ),
    Check(
        "open-deals-not-closed",
        True,
        "Are all open deals without a close_date?",
        _deals(lambda deals: deals["deal_stage"].isin(OPEN) & deals["close_date"].notna()),
    ),
    Check(
        "engaged-before-closed",
        True,
        "Was every deal engaged before it was closed?",
        _deals(lambda deals: deals["close_date"] < deals["engage_date"]),
    ),
    Check(
        "engaging-deals-dated",
        True,
        "Does every deal in stage Engaging have an engage_date?",
        _deals(lambda deals: (deals["deal_stage"] == "Engaging") & deals["engage_date"].isna()),
    ),
    Check(
        "won-deals-have-value",
        False,
        "Does every won deal have a value above zero?",
        _deals(lambda deals: (deals["deal_stage"] == "Won") & ~(deals["close_value"] > 0)),
    ),
    Check(
        "lost-deals-have-no-value",
        False,
        "Is the value of every lost deal zero?",
        _deals(lambda deals: (deals["deal_stage"] == "Lost") & (deals["close_value"] != 0)),
    ),
    Check("value-near-list-price", False, "Is every won deal between half and twice the list price?", _odd_values),
    Check(
        "accounts-filled-in",
        False,
        "Does every deal name its account?",
        _deals(lambda deals: deals["account"].isna()),
    ),
    Check(
        "prospects-undated",
        False,
        "Are all deals in stage Prospecting without an engage_date?",
        _deals(lambda deals: (deals["deal_stage"] == "Prospecting") & deals["engage_date"].notna()),
    ),
    Check("spelling", False, "Is everything spelled correctly? (Known misspellings are corrected.)", _misspelt),
    Check("agents-have-deals", False, "Does every agent have at least one deal?", _idle_agents),
    Check("enough-closed-deals", False, f"Are at least {FEW_CLOSED_DEALS} deals closed?", _too_few_closed),
)
