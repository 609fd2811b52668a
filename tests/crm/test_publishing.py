"""What the flows offer to forms: the months that each pipeline has data for."""

from typing import Any

import pytest

from flows.crm import publishing


class Held:
    """The months of a lake; only what is asked for here."""

    def __init__(self, span: tuple[str, str] | None, **layers: list[str]) -> None:
        self.span, self.layers = span, layers

    def source_months(self) -> tuple[str, str] | None:
        return self.span

    def months(self, layer: str) -> list[str]:
        return self.layers.get(layer, [])


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[str]]:
    kept: dict[tuple[str, str], list[str]] = {}

    def create(*, table: list[dict[str, Any]], key: str, description: str) -> None:
        assert key == "parameter-offers"
        kept.update({(row["flow"], row["parameter"]): row["values"] for row in table})

    monkeypatch.setattr(publishing, "create_table_artifact", create)
    monkeypatch.setattr(publishing, "promoted", lambda lake: lake.months("promoted"))
    return kept


def test_each_pipeline_is_offered_what_the_one_before_has_left(offered: dict[tuple[str, str], list[str]]) -> None:
    held = Held(
        ("2017-01", "2017-04"),
        raw=["2017-01", "2017-02", "2017-03"],
        features=["2017-01", "2017-02"],
        promoted=["2017-02"],
        reference=["2017-02"],
    )
    publishing.offers(held)  # type: ignore[arg-type]  # only two of its methods are asked
    assert offered == {
        ("crm-data-acquisition", "snapshot_month"): ["2017-01", "2017-02", "2017-03", "2017-04"],
        ("crm-data-ingestion", "snapshot_month"): ["2017-01", "2017-02", "2017-03"],
        ("monthly-win-probability-training", "snapshot_month"): ["2017-01", "2017-02"],
        ("reference-data-creation", "snapshot_month"): ["2017-02"],
        ("model-drift-monitoring", "current_month"): ["2017-02"],
        ("model-drift-monitoring", "reference_month"): ["2017-02"],
    }


def test_an_empty_lake_offers_nothing(offered: dict[tuple[str, str], list[str]]) -> None:
    publishing.offers(Held(None))  # type: ignore[arg-type]  # only two of its methods are asked
    assert set(map(tuple, offered.values())) == {()}
