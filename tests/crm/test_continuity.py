"""A source that has lost rows since the month before is refused."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.crm import continuity
from flows.crm.acquisition import crm_data_acquisition
from flows.crm.failures import BadMonth, BadSource
from flows.crm.generator import Recipe, generate
from flows.crm.lake import Lake
from flows.crm.months import last_day, month_of, today
from flows.crm.snapshot import as_of
from flows.crm.storage import Folder
from flows.crm.table_schema import Tables
from tests.crm.tables import CSV, deals, write

AUGUST = date(2017, 8, 31)
WORLD = generate(Recipe(deals_a_month=100)).tables


def known(day: date, **changed: object) -> Tables:
    return as_of({**WORLD, **changed}, day)  # type: ignore[dict-item]


def test_a_whole_source_passes_month_after_month() -> None:
    months = [known(last_day(month)) for month in ("2017-07", "2017-08", "2017-09", "2017-12")]
    for before, now in pairwise(months):
        continuity.require_continuity("a month", before, now, pytest.fail)


def test_a_few_deleted_deals_are_a_warning_and_many_are_refused() -> None:
    before = known(AUGUST)
    dated = WORLD["sales_pipeline"].dropna(subset=["engage_date"]).sort_values("engage_date")
    count = len(before["sales_pipeline"].dropna(subset=["engage_date"]))
    few, many = (known(date(2017, 9, 30), sales_pipeline=dated.iloc[cut:]) for cut in (3, 200))
    warnings: list[str] = []
    continuity.require_continuity("2017-08", before, few, warnings.append)
    assert len(warnings) == 1
    assert f"lacks 3 of the {count:,} that 2017-08 had" in warnings[0]
    with pytest.raises(BadSource) as refusal:
        continuity.require_continuity("2017-08", before, many, pytest.fail)
    rows = len(many["sales_pipeline"])
    assert str(refusal.value).startswith(
        f"sales_pipeline has {rows:,} rows and lacks 200 of the {count:,} that 2017-08 had ("
    )
    assert str(refusal.value).endswith(
        f"{200 / count:.1%}, where at most 1% are tolerated: "
        "export the tables again, or set CRM_LAKE to another folder for another source."
    )


@pytest.mark.parametrize("table", [table for table in continuity.LIMITS if table != "sales_pipeline"])
def test_each_table_has_its_limit(table: str) -> None:
    before, half = known(AUGUST), WORLD[table].iloc[: len(WORLD[table]) // 2]
    with pytest.raises(BadSource, match=f"^{table} has "):
        continuity.require_continuity("2017-08", before, known(AUGUST, **{table: half}), pytest.fail)
    one_less = WORLD[table].iloc[1:]
    warnings: list[str] = []
    continuity.require_continuity("2017-08", before, known(AUGUST, **{table: one_less}), warnings.append)
    assert len(warnings) == 1


def test_a_prospect_that_was_engaged_later_has_not_vanished() -> None:
    before = known(AUGUST)
    engaged = WORLD["sales_pipeline"].copy()
    prospects = engaged["deal_stage"] == "Prospecting"
    engaged.loc[prospects, ["deal_stage", "engage_date"]] = ["Engaging", engaged["engage_date"].max()]
    continuity.require_continuity("2017-08", before, known(AUGUST, sales_pipeline=engaged), pytest.fail)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv("CRM_SOURCE_DIR", str(write(tmp_path / "source")))
    monkeypatch.setenv("CRM_LAKE", str(tmp_path / "lake"))
    return Lake(Folder(tmp_path / "lake"))


def test_a_source_that_was_cut_does_not_replace_a_good_month(
    client: SyncPrefectClient, lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for month in ("2017-03", "2017-04"):
        crm_data_acquisition(month)
    good = lake.manifest("raw", "2017-04")
    header, *rows = CSV["sales_pipeline"].splitlines()
    write(tmp_path / "source", sales_pipeline="\n".join([header, *rows[:2], ""]))
    with pytest.raises(
        BadSource, match=r"^sales_pipeline has 2 rows and lacks 3 of the 4 that 2017-03 had \(D2, D3, D4\)"
    ):
        crm_data_acquisition("2017-04")
    assert lake.manifest("raw", "2017-04") == good
    # A damaged month before is named, and does not block.
    lake.store.put("raw/2017-03/manifest.json", b"{}")
    caplog.clear()
    assert crm_data_acquisition("2017-02")["rows"]["sales_pipeline"] == 2
    write(tmp_path / "source", sales_pipeline=deals(*rows))
    crm_data_acquisition("2017-04")
    assert "Not compared with 2017-03: " in caplog.text


def test_a_month_that_has_not_begun_is_refused(client: SyncPrefectClient, lake: Lake) -> None:
    current = month_of(today())
    with pytest.raises(BadMonth, match=rf"^2999-01 has not begun: choose {current} or an earlier month\.$"):
        crm_data_acquisition("2999-01")
    assert not Path(lake.store.name).exists()
