"""Data quality checks of a month's tables, as a table of named checks."""

from collections.abc import Callable

import pandas as pd
import pandera.pandas as pa

from flows.crm.corrections import SPELLINGS
from flows.crm.findings import ALWAYS, NEVER, Check, Evidence, Failing, Finding
from flows.crm.snapshot import CLOSED, OPEN
from flows.crm.table_schema import SHAPES

FEW_CLOSED_DEALS = 100  # below this, a win rate means little
UNLIKE = 0.05  # difference of two shares of missing accounts that is worth a warning

Find = Callable[[Evidence], Failing]
Rows = Callable[[pd.DataFrame], "pd.Series[bool]"]


def run(evidence: Evidence) -> list[Finding]:
    """Run every check, also after one has failed: the table of findings shows all of them."""
    return [Finding(check, check.find(evidence)) for check in CHECKS]


def _names(table: str, frame: pd.DataFrame, wrong: pd.Series) -> list[str]:
    # A comparison with a missing value is neither true nor false: the checks for missing values report it.
    return [str(name) for name in frame.loc[wrong.fillna(False).astype(bool), SHAPES[table].identifier]]


def _columns(table: str, **columns: pa.Column) -> Find:
    """Check single columns of a cleaned table by pandera. A row that fails twice counts once."""
    schema = pa.DataFrameSchema(dict(columns))

    def find(evidence: Evidence) -> Failing:
        frame = evidence.cleaned[table]
        try:
            schema.validate(frame, lazy=True)
        except pa.errors.SchemaErrors as errors:
            wrong = frame.index.isin(errors.failure_cases["index"].dropna())
            return Failing(_names(table, frame, pd.Series(wrong, frame.index)), len(frame))
        return Failing([], len(frame))

    return find


def _deals(wrong: Rows, *, among: Rows | None = None) -> Find:
    """Check deals by several columns at once, among all of them or some."""

    def find(evidence: Evidence) -> Failing:
        deals = evidence.deals if among is None else evidence.deals[among(evidence.deals)]
        return Failing(_names("sales_pipeline", deals, wrong(deals)), len(deals))

    return find


def _stage(*stages: str) -> Rows:
    return lambda deals: deals["deal_stage"].isin(stages)


def _empty_tables(evidence: Evidence) -> Failing:
    return Failing([name for name, frame in evidence.raw.items() if frame.empty], len(evidence.raw))


def _repeated(evidence: Evidence) -> Failing:
    """Check the cleaned tables: two spellings of a product are one product."""
    repeated: list[str] = []
    for name, shape in SHAPES.items():
        unique = _columns(name, **{shape.identifier: pa.Column(unique=True, report_duplicates="exclude_first")})
        repeated += unique(evidence).rows
    return Failing(repeated, sum(len(frame) for frame in evidence.cleaned.values()))


def _unknown(column: str, table: str) -> Find:
    def find(evidence: Evidence) -> Failing:
        named = set(evidence.deals[column].dropna())
        return Failing(sorted(named - set(evidence.cleaned[table][column])), len(named))

    return find


def _far_from_list_price(evidence: Evidence) -> Failing:
    # Repeated products are another check's finding; here they would break the lookup.
    prices = evidence.cleaned["products"].drop_duplicates("product").set_index("product")["sales_price"]
    won = evidence.deals[evidence.deals["deal_stage"] == "Won"]
    ratio = won["close_value"] / won["product"].map(prices)
    return Failing(_names("sales_pipeline", won, (ratio < 0.5) | (ratio > 2)), len(won))


def _accounts_missing_in_one_outcome(evidence: Evidence) -> Failing:
    """Return the closed deals without an account, if won and lost ones do not lack it equally often."""
    closed = evidence.deals[evidence.deals["deal_stage"].isin(CLOSED)]
    shares = closed["account"].isna().groupby(closed["deal_stage"]).mean()
    if len(shares) < 2 or shares.max() - shares.min() <= UNLIKE:
        return Failing([], len(closed))
    return Failing(_names("sales_pipeline", closed, closed["account"].isna()), len(closed))


def _misspelt(evidence: Evidence) -> Failing:
    """Return one entry per cell, so that the count is the number of cells."""
    found: list[str] = []
    looked_at = 0
    for (table, column), spellings in SPELLINGS.items():
        cells = evidence.raw[table][column].str.strip()
        found += [str(cell) for cell in cells[cells.isin(list(spellings))]]
        looked_at += len(cells)
    return Failing(found, looked_at)


def _idle_agents(evidence: Evidence) -> Failing:
    agents = set(evidence.cleaned["sales_teams"]["sales_agent"])
    return Failing(sorted(agents - set(evidence.deals["sales_agent"])), len(agents))


def _too_few_closed(evidence: Evidence) -> Failing:
    closed = int(evidence.deals["deal_stage"].isin(CLOSED).sum())
    return Failing([f"{closed} closed deals"] if closed < FEW_CLOSED_DEALS else [], 1)


NO_OUTCOME = "The outcome or the day of a deal would be wrong, and models learn from both."
NO_JOIN = "A deal without its product, agent or account has no features."
EXCHANGED = "A few errors are normal. More of them mean that Won and Lost, or two columns, were exchanged."

CHECKS = (
    Check("tables-have-rows", ALWAYS, "Has every table at least one row?", NO_JOIN, _empty_tables),
    Check("identifiers-unique", ALWAYS, "Is every row there once?", "A repeated row would count twice.", _repeated),
    Check(
        "stage-known",
        ALWAYS,
        "Is every deal Prospecting, Engaging, Won or Lost?",
        NO_OUTCOME,
        _columns("sales_pipeline", deal_stage=pa.Column(checks=pa.Check.isin([*CLOSED, *OPEN]))),
    ),
    Check(
        "deal-complete",
        ALWAYS,
        "Does every deal name its agent and its product?",
        NO_JOIN,
        _columns("sales_pipeline", sales_agent=pa.Column(), product=pa.Column()),
    ),
    Check(
        "product-known",
        ALWAYS,
        "Is every product of a deal in the price list?",
        NO_JOIN,
        _unknown("product", "products"),
    ),
    Check(
        "agent-known",
        ALWAYS,
        "Is every agent of a deal in a sales team?",
        NO_JOIN,
        _unknown("sales_agent", "sales_teams"),
    ),
    Check(
        "account-known",
        ALWAYS,
        "Is every account of a deal among the accounts?",
        NO_JOIN,
        _unknown("account", "accounts"),
    ),
    Check(
        "price-positive",
        ALWAYS,
        "Does every product have a price above zero?",
        "The price is a feature of every deal of the product.",
        _columns("products", sales_price=pa.Column(checks=pa.Check.gt(0))),
    ),
    Check(
        "closed-deals-dated",
        ALWAYS,
        "Does every closed deal have an engage_date and a close_date?",
        NO_OUTCOME,
        _deals(lambda deals: deals["engage_date"].isna() | deals["close_date"].isna(), among=_stage(*CLOSED)),
    ),
    Check(
        "open-deals-not-closed",
        ALWAYS,
        "Are all open deals without a close_date?",
        NO_OUTCOME,
        _deals(lambda deals: deals["close_date"].notna(), among=_stage(*OPEN)),
    ),
    Check(
        "engaged-before-closed",
        ALWAYS,
        "Was every deal engaged before it was closed?",
        NO_OUTCOME,
        _deals(lambda deals: deals["close_date"] < deals["engage_date"]),
    ),
    Check(
        "engaging-deals-dated",
        ALWAYS,
        "Does every deal in stage Engaging have an engage_date?",
        NO_OUTCOME,
        _deals(lambda deals: deals["engage_date"].isna(), among=_stage("Engaging")),
    ),
    Check(
        "won-deals-have-value",
        0.05,
        "Does every won deal have a value above zero?",
        EXCHANGED,
        _deals(lambda deals: ~(deals["close_value"] > 0), among=_stage("Won")),
    ),
    Check(
        "lost-deals-have-no-value",
        0.05,
        "Is the value of every lost deal zero?",
        EXCHANGED,
        _deals(lambda deals: deals["close_value"] != 0, among=_stage("Lost")),
    ),
    Check(
        "value-near-list-price",
        0.5,
        "Is every won deal between half and twice the list price?",
        "Discounts are common. If most values are far away, they are in another currency or unit.",
        _far_from_list_price,
    ),
    Check(
        "accounts-in-range",
        0.1,
        "Has every account revenue of at least 0, an employee, and a year of foundation from 1500 on?",
        "A few errors are normal. More of them mean that columns were exchanged.",
        _columns(
            "accounts",
            revenue=pa.Column(checks=pa.Check.ge(0), nullable=True),
            employees=pa.Column(checks=pa.Check.ge(1), nullable=True),
            year_established=pa.Column(checks=pa.Check.in_range(1500, 2100), nullable=True),
        ),
    ),
    Check(
        "prospects-undated",
        0.2,
        "Are all deals in stage Prospecting without an engage_date?",
        "A few were put back. More of them mean that the stage is not what it says.",
        _deals(lambda deals: deals["engage_date"].notna(), among=_stage("Prospecting")),
    ),
    Check(
        "accounts-filled-in",
        NEVER,
        "Does every closed deal name its account?",
        "The model counts an unknown account as an average one, and monitoring raises its level.",
        _deals(lambda deals: deals["account"].isna(), among=_stage(*CLOSED)),
    ),
    Check(
        "accounts-missing-alike",
        NEVER,
        f"Do won and lost deals lack their account equally often, within {UNLIKE:.0%}?",
        "Otherwise a missing account tells the outcome; read the quality of the model with care.",
        _accounts_missing_in_one_outcome,
    ),
    Check("spelling", NEVER, "Is everything spelled correctly?", "Known misspellings are corrected.", _misspelt),
    Check(
        "agents-have-deals",
        NEVER,
        "Does every agent have at least one deal?",
        "New agents have none yet.",
        _idle_agents,
    ),
    Check(
        "enough-closed-deals",
        NEVER,
        f"Are at least {FEW_CLOSED_DEALS} deals closed?",
        "Features are right with few deals too; training has a bound of its own.",
        _too_few_closed,
    ),
)
