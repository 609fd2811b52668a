"""The named checks: what stops an ingestion, what is only a warning, and in which words."""

from datetime import date

import pandas as pd
import pytest

from flows.crm import checks, corrections
from flows.crm.checks import CHECKS
from flows.crm.failures import FailedChecks
from flows.crm.findings import ALWAYS, FEW, NEVER, Evidence, Finding, require_passed
from flows.crm.generator import Recipe, generate
from flows.crm.snapshot import as_of
from flows.crm.table_schema import SHAPES, Tables
from tests.crm.tables import CSV, deals, tables

DAY = date(2017, 4, 30)
GOOD = "D1,Ada,GTXPro,Acorn,Won,2017-01-10,2017-02-01,4800"


def examine(found: Tables) -> dict[str, Finding]:
    """Without the snapshot's help: a source may be wrong in ways that a snapshot would hide."""
    return {finding.check.name: finding for finding in checks.run(Evidence(found, corrections.clean(found)))}


def test_every_check_has_a_name_a_limit_and_a_reason() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(ALWAYS <= check.limit <= NEVER for check in CHECKS)
    assert all(check.asks.endswith("?") and check.reason.endswith(".") for check in CHECKS)


def test_sound_tables_pass_every_blocking_check() -> None:
    findings = examine(as_of(tables(), DAY))
    assert [name for name, finding in findings.items() if finding.result == "failed"] == []
    require_passed("2017-04", list(findings.values()))


def test_the_flaws_are_reported_as_warnings() -> None:
    findings = examine(as_of(tables(), DAY))
    warnings = {name: finding.examples for name, finding in findings.items() if finding.result == "warning"}
    assert warnings == {
        "spelling": "GTXPro, technolgy, Philipines",
        "agents-have-deals": "Idle",
        "enough-closed-deals": "4 closed deals",
    }
    assert len(findings["spelling"].failing.rows) == 4, "counts cells, shows spellings"


WRONG: dict[str, tuple[str, dict[str, str], str]] = {
    "unknown stage": ("stage-known", {"sales_pipeline": deals(GOOD.replace("Won", "Maybe"))}, "D1"),
    "no stage": ("stage-known", {"sales_pipeline": deals(GOOD.replace("Won", ""))}, "D1"),
    "no agent": ("deal-complete", {"sales_pipeline": deals(GOOD.replace("Ada", ""))}, "D1"),
    "no product": ("deal-complete", {"sales_pipeline": deals(GOOD.replace("GTXPro", ""))}, "D1"),
    "unknown product": ("product-known", {"sales_pipeline": deals(GOOD.replace("GTXPro", "GTX Max"))}, "GTX Max"),
    "unknown agent": ("agent-known", {"sales_pipeline": deals(GOOD.replace("Ada", "Zoe"))}, "Zoe"),
    "unknown account": ("account-known", {"sales_pipeline": deals(GOOD.replace("Acorn", "Cedar"))}, "Cedar"),
    "no price": (
        "price-positive",
        {"products": "product,series,sales_price\nGTX Pro,GTX,\nMG Special,MG,55\n"},
        "GTX Pro",
    ),
    "free": (
        "price-positive",
        {"products": "product,series,sales_price\nGTX Pro,GTX,0\nMG Special,MG,55\n"},
        "GTX Pro",
    ),
    "closed without a day": ("closed-deals-dated", {"sales_pipeline": deals(GOOD.replace("2017-02-01", ""))}, "D1"),
    "closed but never engaged": ("closed-deals-dated", {"sales_pipeline": deals(GOOD.replace("2017-01-10", ""))}, "D1"),
    "open and closed": ("open-deals-not-closed", {"sales_pipeline": deals(GOOD.replace("Won", "Engaging"))}, "D1"),
    "backwards": ("engaged-before-closed", {"sales_pipeline": deals(GOOD.replace("2017-02-01", "2017-01-09"))}, "D1"),
    "engaging since never": (
        "engaging-deals-dated",
        {"sales_pipeline": deals("D1,Ada,GTXPro,Acorn,Engaging,,,")},
        "D1",
    ),
    "two spellings of one product": (
        "identifiers-unique",
        {"products": "product,series,sales_price\nGTX Pro,GTX,1\nGTX  Pro,GTX,1\nMG Special,MG,55\n"},
        "GTX Pro",
    ),
}


@pytest.mark.parametrize(("name", "changed", "example"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_true_blocks(name: str, changed: dict[str, str], example: str) -> None:
    findings = examine(tables(**changed))
    assert findings[name].result == "failed"
    assert findings[name].examples == example
    with pytest.raises(FailedChecks, match=rf"^2017-04 cannot be ingested, .*{name} \({example}\)"):
        require_passed("2017-04", list(findings.values()))


ODD: dict[str, tuple[str, str]] = {
    "won for nothing": ("won-deals-have-value", GOOD.replace("4800", "0")),
    "won without a value": ("won-deals-have-value", GOOD.replace("4800", "")),
    "lost with a value": ("lost-deals-have-no-value", GOOD.replace("Won", "Lost")),
    "half the price": ("value-near-list-price", GOOD.replace("4800", "2000")),
    "twice the price": ("value-near-list-price", GOOD.replace("4800", "9999")),
    "no account": ("accounts-filled-in", GOOD.replace("Acorn", "")),
    "a dated prospect": ("prospects-undated", "D1,Ada,GTXPro,Acorn,Prospecting,2017-01-10,,"),
}


@pytest.mark.parametrize(("name", "row"), ODD.values(), ids=ODD.keys())
def test_what_is_merely_odd_is_a_warning(name: str, row: str) -> None:
    findings = examine(tables(sales_pipeline=deals(row)))
    assert findings[name].result == "warning"
    assert findings[name].examples == "D1"
    require_passed("2017-04", list(findings.values()))


def world() -> Tables:
    return as_of(generate(Recipe(deals_a_month=100)).tables, date(2017, 9, 30))


def spoiled(column: str, stage: str, value: object, share: float) -> tuple[Tables, int]:
    """Spoil a share of the deals of a stage, and return how many."""
    found = world()
    deals = found["sales_pipeline"]
    rows = deals.index[deals["deal_stage"] == stage]
    rows = rows[: round(share * len(rows))]
    deals.loc[rows, column] = value
    return found, len(rows)


LIMITED: dict[str, tuple[str, str, str, object]] = {
    "won for nothing": ("won-deals-have-value", "close_value", "Won", 0.0),
    "lost with a value": ("lost-deals-have-no-value", "close_value", "Lost", 4800.0),
    "another currency": ("value-near-list-price", "close_value", "Won", 1_000_000.0),
    "dated prospects": ("prospects-undated", "engage_date", "Prospecting", pd.Timestamp("2017-01-10")),
}


@pytest.mark.parametrize(("name", "column", "stage", "value"), LIMITED.values(), ids=LIMITED.keys())
def test_a_few_are_a_warning_and_many_block(name: str, column: str, stage: str, value: object) -> None:
    limit = next(check.limit for check in CHECKS if check.name == name)
    for share, result in ((0.8 * limit, "warning"), (1.3 * limit, "failed"), (1.0, "failed")):
        found, count = spoiled(column, stage, value, share)
        finding = examine(found)[name]
        assert (finding.result, len(finding.failing.rows)) == (result, count)
        assert finding.share == pytest.approx(share, abs=0.02)
        assert (finding.row()["share"], finding.row()["blocks_above"]) == (round(finding.share, 4), limit)


def test_exchanged_outcomes_block_with_their_share() -> None:
    found = world()
    deals = found["sales_pipeline"]
    deals["deal_stage"] = deals["deal_stage"].replace({"Won": "Lost", "Lost": "Won"})
    with pytest.raises(
        FailedChecks, match=r"won-deals-have-value \(.*; 100\.0% of \d+ where at most 5% are tolerated\)"
    ):
        require_passed("2017-09", list(examine(found).values()))


def test_exchanged_columns_of_accounts_block() -> None:
    found = world()
    accounts = found["accounts"]
    accounts["employees"], accounts["year_established"] = accounts["year_established"], accounts["employees"]
    accounts.loc[accounts.index[:1], "revenue"] = -1.0
    assert examine(found)["accounts-in-range"].result == "failed"


def test_a_few_rows_of_a_small_table_do_not_block() -> None:
    rows = [GOOD.replace("D1", f"D{number}").replace("4800", "0") for number in range(FEW + 1)]
    assert examine(tables(sales_pipeline=deals(*rows[:FEW])))["won-deals-have-value"].result == "warning"
    assert examine(tables(sales_pipeline=deals(*rows)))["won-deals-have-value"].result == "failed"


def test_accounts_that_one_outcome_lacks_are_a_warning() -> None:
    found = world()
    deals = found["sales_pipeline"]
    every_third = deals.index % 3 == 0
    alike, unlike = deals.copy(), deals.copy()
    alike.loc[every_third, "account"] = None
    unlike.loc[every_third & (deals["deal_stage"] == "Lost"), "account"] = None
    results = [
        examine({**found, "sales_pipeline": changed})["accounts-missing-alike"].result for changed in (alike, unlike)
    ]
    assert results == ["passed", "warning"]


def test_every_check_can_fail() -> None:
    """A check that nothing above makes fail would be decoration."""
    tried = {name for name, *_ in (*WRONG.values(), *ODD.values(), *LIMITED.values())}
    elsewhere = {"tables-have-rows", "accounts-in-range", "accounts-missing-alike"}
    flaws = {"spelling", "agents-have-deals", "enough-closed-deals"}
    assert tried | elsewhere | flaws == {check.name for check in CHECKS}


def test_an_empty_table_blocks() -> None:
    found = tables()
    found["accounts"] = found["accounts"].iloc[:0]
    assert examine(found)["tables-have-rows"].examples == "accounts"


def test_several_failures_make_one_sentence_each_and_one_remedy() -> None:
    findings = examine(tables(sales_pipeline=deals(GOOD.replace("Ada", "Zoe").replace("Won", "Maybe"))))
    with pytest.raises(FailedChecks) as refusal:
        require_passed("2017-04", list(findings.values()))
    assert str(refusal.value) == (
        "2017-04 cannot be ingested, 2 checks failed: stage-known (D1); agent-known (Zoe). "
        "Correct the source, then acquire the month again."
    )


def test_many_offenders_are_counted_not_listed() -> None:
    rows = [GOOD.replace("D1", f"D{number}").replace("Won", "Maybe") for number in range(9)]
    finding = examine(tables(sales_pipeline=deals(*rows)))["stage-known"]
    assert finding.examples == "D0, D1, D2 and 6 more"
    assert finding.row()["found"] == 9


def test_cleaning_puts_known_slips_right_and_keeps_the_rows() -> None:
    found = tables()
    cleaned = corrections.clean(found)
    assert cleaned["sales_pipeline"]["product"].tolist() == [
        product.replace("GTXPro", "GTX Pro") for product in found["sales_pipeline"]["product"]
    ]
    assert cleaned["accounts"]["sector"].tolist() == ["retail", "technology"]
    assert cleaned["accounts"]["office_location"].tolist() == ["United States", "Philippines"]
    assert cleaned["sales_pipeline"]["account"].isna().sum() == 2
    pd.testing.assert_frame_equal(corrections.clean(cleaned)["accounts"], cleaned["accounts"])
    assert {name: list(table.dtypes) for name, table in cleaned.items()} == {
        name: list(found[name].dtypes) for name in SHAPES
    }


def test_corrections_are_counted() -> None:
    assert corrections.count_corrections(tables()) == {
        "GTXPro -> GTX Pro": 2,
        "technolgy -> technology": 1,
        "Philipines -> Philippines": 1,
    }
    assert CSV["sales_pipeline"].count("GTXPro") == 2
