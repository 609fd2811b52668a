"""The page about a month's drift: complete, small, and harmless whatever the data says."""

import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from flows.crm import drift, html_report, report_figures, results
from flows.crm.results import Result
from tests.crm import generated

NASTY = "<script>alert(1)</script> & \"quoted\" 'name'"


@pytest.fixture(scope="module")
def rendered() -> tuple[Result, str]:
    tables = generated.world(1, 1.0).tables
    normal = generated.reference(tables)
    deals = generated.month(tables, generated.CURRENT)
    now = deals.deals[deals.deals["engage_date"] > pd.Timestamp("2017-07-31")]
    now = now.assign(prediction=normal.model(now), product=now["product"].replace("GTX Pro", NASTY))
    quality = normal.quality.as_json()
    closed = now[now["won"].notna()]
    found = drift.compare(
        normal.deals,
        now,
        counts=normal.counts,
        earlier=normal.earlier,
        closed=closed,
        activity=generated.USUAL,
        baseline=quality,
    )
    card: dict[str, Any] = {"month": "2017-06", "version": "2017-06-abc", "promoted": True, "quality": quality}
    result = results.describe(found, current_month="2017-08", reference_period="2017-06", card=card)
    return result, html_report.page(result, [results.remember(result)], normal.deals, now)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.left_open: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "rect"):
            self.left_open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "rect"):
            assert self.left_open.pop() == tag


def test_it_has_no_script_and_loads_nothing(rendered: tuple[Result, str]) -> None:
    page = rendered[1]
    tags = Tags()
    tags.feed(page)
    assert tags.left_open == []
    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(tags.opened)
    assert not {"src", "href"} & tags.attributes
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", page)


def test_names_of_the_data_are_text(rendered: tuple[Result, str]) -> None:
    assert NASTY not in rendered[1]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;" in rendered[1]


def test_it_is_small(rendered: tuple[Result, str]) -> None:
    assert len(rendered[1].encode()) < 60_000


def test_it_tells_level_columns_and_history(rendered: tuple[Result, str]) -> None:
    result, page = rendered
    assert f"Drift of {result['current_month']} against {result['reference_period']}" in page
    for row in (*result["measures"], *result["columns"]):
        assert row.get("title", row.get("name")) in page
    for row in result["recommendations"]:
        assert row["text"] in page
    assert f'<td class="text">{result["current_month"]}</td>' in page[page.index("By month") :]


def test_the_values_of_every_column_are_drawn(rendered: tuple[Result, str]) -> None:
    result, page = rendered
    drifted = {column["name"] for column in result["drifted_columns"]}
    assert 0 < len(drifted) < len(drift.WATCHED)
    for name in drift.WATCHED:
        start = f"<details open><summary>{name} (drifted)<" if name in drifted else f"<details><summary>{name}<"
        [unfolded] = re.findall(rf"{re.escape(start)}.*?</details>", page, re.DOTALL)
        assert f"Shares by {name}" in unfolded
        assert '<rect class="now"' in unfolded


def test_shares_of_a_number_are_those_of_intervals_with_equal_parts_of_the_reference() -> None:
    was, now = pd.Series(range(1000)), pd.Series([999_999.0] * 10 + [None] * 30)
    drawn = report_figures.column("price", "number", was, now, is_drifted=False)
    assert "0.0% missing in the reference, 75.0% this month" in drawn
    assert re.findall(r'<td class="text">(\d+\.\d)%</td><td class="text">(\d+\.\d)%</td>', drawn) == [
        *[("10.0", "0.0")] * 9,
        ("10.0", "100.0"),
    ]
    assert '<td class="text">999,999</td>' in drawn


def test_a_column_without_values_is_drawn_empty() -> None:
    empty, some = pd.Series([None, None], dtype=float), pd.Series([1.0, 2.0])
    for kind in ("number", "category"):
        for was, now in ((empty, some), (some, empty), (empty, empty)):
            drawn = report_figures.column("price", kind, was, now, is_drifted=False)
            assert f"{was.isna().mean():.1%} missing in the reference, {now.isna().mean():.1%} this month" in drawn


def test_what_is_not_known_is_told_as_such(rendered: tuple[Result, str]) -> None:
    result = {**rendered[0], "performance": None, "performance_month": None, "auc": None, "accuracy": None}
    deals = generated.reference(generated.world().tables).deals
    page = html_report.page(result, [results.remember(result)], deals, deals)
    assert 'id="no-performance"' in page
    assert "not known" in page
