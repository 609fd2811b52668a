"""What the flows offer to forms: the months that each pipeline has data for."""

from flows.crm import publication
from flows.crm.lake import LAYERS

NOTHING: dict[str, list[str]] = {**{layer: [] for layer in LAYERS}, "promoted_models": [], "models_in_use": []}


def offered(held: dict[str, list[str]], span: tuple[str, str] | None) -> dict[tuple[str, str], list[str]]:
    return {(row["flow"], row["parameter"]): row["values"] for row in publication.offers({**NOTHING, **held}, span)}


def test_each_pipeline_is_offered_what_the_one_before_has_left() -> None:
    held = {
        "raw": ["2017-01", "2017-02", "2017-03"],
        "features": ["2017-01", "2017-02", "2017-03"],
        "models_in_use": ["2017-02"],
        "reference": ["2017-02"],
    }
    assert offered(held, ("2017-01", "2017-04")) == {
        ("crm-data-acquisition", "snapshot_month"): ["2017-01", "2017-02", "2017-03", "2017-04"],
        ("crm-data-ingestion", "snapshot_month"): ["2017-01", "2017-02", "2017-03"],
        ("monthly-win-probability-training", "current_month"): ["2017-01", "2017-02", "2017-03"],
        ("reference-data-creation", "reference_period"): ["2017-02", "2017-03"],
        ("open-deal-scoring", "current_month"): ["2017-02", "2017-03"],
        # Monitoring compares with an earlier month.
        ("model-drift-monitoring", "current_month"): ["2017-03"],
        ("model-drift-monitoring", "reference_period"): ["2017-02"],
    }


def test_an_empty_lake_offers_nothing() -> None:
    assert not any(offered({}, None).values())


def test_months_of_the_lake_are_binding_and_those_of_the_source_are_not() -> None:
    rows = publication.offers(NOTHING, ("2017-01", "2017-04"))
    loose = {row["flow"] for row in rows if not row["binding"]}
    assert loose == {"crm-data-acquisition"}
    assert len(rows) == 7
