"""All pipelines of a month, one after the other as Prefect runs them, and what they promise to leave behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.utilities.callables import parameter_schema

from flows.crm import alert_levels, results
from flows.crm.acquisition import crm_data_acquisition
from flows.crm.cleanup import crm_data_cleanup
from flows.crm.drift_monitoring import model_drift_monitoring
from flows.crm.failures import BadChoice, BadMonth, Failure, MissingMonth, TooFewDeals
from flows.crm.ingestion import crm_data_ingestion
from flows.crm.lake import LAYERS, Lake
from flows.crm.publication import LARGEST_REPORT
from flows.crm.reference import reference_data_creation
from flows.crm.scoring import SHOWN, open_deal_scoring
from flows.crm.storage import Folder
from flows.crm.training import monthly_win_probability_training
from flows.parameters import destructive_parameters

KEYS = {"name", "test", "statistic", "p_value", "threshold", "drifted"}
QUALITY = {
    "deals",
    "win_rate",
    "mean_prediction",
    "auc",
    "auc_low",
    "auc_high",
    "accuracy",
    "log_loss",
    "brier",
    "calibration_error",
}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for setting in ("CRM_SOURCE_DIR", "CRM_SOURCE_URL", "CRM_DRIFT"):
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setenv("CRM_LAKE", str(tmp_path / "lake"))
    return Lake(Folder(tmp_path / "lake"))


@pytest.fixture
def run(client: SyncPrefectClient) -> Callable[..., tuple[Any, dict[str, Artifact]]]:
    """Runs a flow; answers with its result and its artifacts by key, the newest of each."""

    def run(pipeline: Flow[..., Any], *arguments: Any) -> tuple[Any, dict[str, Artifact]]:
        ended = pipeline(*arguments, return_state=True)
        assert ended.is_completed(), ended.message
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[ended.state_details.flow_run_id]))
        kept = sorted(client.read_artifacts(artifact_filter=wanted), key=lambda artifact: str(artifact.created))
        return ended.result(), {str(artifact.key): artifact for artifact in kept if artifact.key}

    return run


def fields(artifact: Artifact) -> dict[str, Any]:
    assert artifact.type == "table"
    rows = json.loads(str(artifact.data))
    assert all(set(row) == {"field", "value"} for row in rows)
    assert rows[0] == {"field": "contract", "value": f"{artifact.key}/1"}
    return {row["field"]: row["value"] for row in rows[1:]}


def documented(repository: Path, contract: str) -> set[str]:
    """The fields that docs/pipelines.md names for a contract."""
    table = (repository / "docs/pipelines.md").read_text().partition(f"**`{contract}`**\n\n")[2].partition("\n\n")[0]
    return {name.strip(" `") for line in table.splitlines()[2:] for name in line.split("|")[1].split(",")}


def test_a_month_goes_from_the_source_to_a_drift_report(
    run: Callable[..., tuple[Any, dict[str, Artifact]]], lake: Lake, repository: Path
) -> None:
    for month in ("2017-04", "2017-05"):
        run(crm_data_acquisition, month)
        _, left = run(crm_data_ingestion, month)
    held = fields(left["crm-months"])
    assert set(held) == documented(repository, "crm-months/1")
    assert (held["source_first_month"], held["source_last_month"]) == ("2016-10", "2017-12")
    assert {layer: held[layer] for layer in LAYERS} == {
        layer: ["2017-04", "2017-05"] if layer in ("raw", "processed", "features") else [] for layer in LAYERS
    }

    trained, left = run(monthly_win_probability_training, "2017-04")
    card = fields(left["crm-model-card"])
    assert set(card) == documented(repository, "crm-model-card/1")
    assert set(card["quality"]) == QUALITY
    assert (card["version"], card["promoted"]) == (trained["version"], True)
    assert fields(left["crm-months"])["promoted_models"] == ["2017-04"]
    assert left["crm-training"].data == 100.0

    created, left = run(reference_data_creation, "2017-04", 700)
    assert created == {"month": "2017-04", "deals": 700, "model_version": trained["version"]}
    assert fields(left["crm-months"])["reference"] == ["2017-04"]

    found, left = run(model_drift_monitoring, "2017-05")
    drift = fields(left["crm-drift"])
    assert set(drift) == documented(repository, "crm-drift/1")
    assert found == {"month": "2017-05", "reference": "2017-04", "alert_level": drift["alert_level"]}
    assert (drift["status"], drift["alert_level"]) == ("stable", "NONE")
    assert all(set(column) == KEYS for column in (*drift["columns"], drift["prediction_test"]))
    assert set(drift["performance"]) == QUALITY
    assert drift["performance_month"] == "2017-05"
    assert drift["baseline"]["month"] == "2017-04"
    assert [row["measure"] for row in drift["measures"]] == [measure.name for measure in alert_levels.RULE]
    assert [set(month) for month in drift["history"]] == [set(results.REMEMBERED)]

    page = str(left["crm-drift-report"].data)
    assert page.startswith("<!doctype html>")
    assert len(page.encode()) < LARGEST_REPORT
    assert left["crm-drift-file"].type == "markdown"
    kept = lake.manifest("reports", "2017-05")
    assert f"file://{lake.address(kept, results.PAGE)}" in str(left["crm-drift-file"].data)
    assert lake.document(kept, results.PAGE).decode() == page

    scored, left = run(open_deal_scoring, "2017-05")
    told = fields(left["crm-scores"])
    assert set(told) == documented(repository, "crm-scores/1")
    assert told["deals"] == scored["deals"] > SHOWN
    assert told["model_version"] == scored["model_version"] == trained["version"]
    rows = json.loads(str(left["crm-open-deals"].data))
    assert len(rows) == SHOWN
    kept = lake.manifest("scores", "2017-05")
    assert kept.source == lake.manifest("features", "2017-05").name
    assert kept.rows == {"deals": told["deals"]}
    stored = lake.read(kept)["deals"]
    assert stored["opportunity_id"].tolist()[:SHOWN] == [row["opportunity_id"] for row in rows]
    assert f"file://{lake.table_address(kept, 'deals')}" in str(left["crm-scores-file"].data)
    assert fields(left["crm-months"])["scores"] == ["2017-05"]

    before = {kept.path: lake.store.read(kept.path) for kept in lake.store.files()}
    run(monthly_win_probability_training, "2017-04")
    run(reference_data_creation, "2017-04", 700)
    run(open_deal_scoring, "2017-05")
    again = {kept.path: lake.store.read(kept.path) for kept in lake.store.files()}
    assert again == before, "the same months, the same bytes"

    returned, left = run(crm_data_cleanup, True, ["features"])
    assert (returned["dry_run"], returned["files"]) == (True, 2)
    assert {"crm-months", "parameter-offers"} <= left.keys(), "a dry run renews what is on offer"
    assert lake.months("features") == ["2017-04", "2017-05"]
    returned, left = run(crm_data_cleanup, False, ["features"])
    assert json.loads(str(left["crm-cleanup"].data))[0]["path"] == "features/2017-04/manifest.json"
    assert fields(left["crm-months"])["features"] == ["2017-05"]


REFUSED: dict[str, tuple[Flow[..., Any], tuple[Any, ...], type[Failure], str]] = {
    "training of no month": (monthly_win_probability_training, ("2017-13",), BadMonth, "'2017-13' is not a month:"),
    "reference of no month": (reference_data_creation, ("2017-3",), BadMonth, "'2017-3' is not a month:"),
    "current is no month": (model_drift_monitoring, ("2017-13",), BadMonth, "'2017-13' is not a month:"),
    "reference is no month": (model_drift_monitoring, ("2017-05", "May"), BadMonth, "'May' is not a month:"),
    "current before reference": (
        model_drift_monitoring,
        ("2017-03", "2017-05"),
        BadChoice,
        "current_month 2017-03 is not after reference_period 2017-05: ",
    ),
    "current is reference": (model_drift_monitoring, ("2017-03", "2017-03"), BadChoice, "current_month 2017-03 is not"),
    "a sample too small": (reference_data_creation, ("2017-03", 99), BadChoice, "sample_size is 99: choose a whole"),
    "training what is not ingested": (monthly_win_probability_training, ("2017-03",), MissingMonth, "Ingest 2017-03 f"),
    "reference of what is not ingested": (reference_data_creation, ("2017-03",), MissingMonth, "Ingest 2017-03 first:"),
    "scoring of no month": (open_deal_scoring, ("2017-13",), BadMonth, "'2017-13' is not a month:"),
    "scoring what is not ingested": (open_deal_scoring, ("2017-03",), MissingMonth, "Ingest 2017-03 first: "),
    "monitoring without a reference": (
        model_drift_monitoring,
        ("2017-03",),
        MissingMonth,
        "Create the reference data of 2017-02 first: ",
    ),
    "cleaning up the source": (crm_data_cleanup, (False, ["raw"]), BadChoice, "Raw tables are never deleted: "),
    "cleaning up by a word": (crm_data_cleanup, ("yes",), BadChoice, "dry_run is 'yes': choose true or false."),
}


@pytest.mark.parametrize(("pipeline", "arguments", "failure", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_fails_the_run_with_one_sentence(
    client: SyncPrefectClient,
    lake: Lake,
    pipeline: Flow[..., Any],
    arguments: tuple[Any, ...],
    failure: type[Failure],
    sentence: str,
) -> None:
    with pytest.raises(failure) as refusal:
        pipeline(*arguments)
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)
    assert lake.store.files() == []


def test_what_the_data_cannot_give_is_refused(client: SyncPrefectClient, lake: Lake) -> None:
    crm_data_acquisition("2016-11")
    crm_data_ingestion("2016-11")
    with pytest.raises(TooFewDeals, match=r"^2016-11 has \d+ closed deals, and training needs 300: choose"):
        monthly_win_probability_training("2016-11")
    with pytest.raises(MissingMonth, match=r"^Train 2016-11 first: .* has no current model of that month or before\.$"):
        reference_data_creation("2016-11")


def test_the_parameters_are_described_and_bounded() -> None:
    size = parameter_schema(reference_data_creation).model_dump_for_openapi()["properties"]["sample_size"]
    assert (size["minimum"], size["maximum"], size["default"]) == (100, 5000, 1000)
    drift = parameter_schema(model_drift_monitoring).model_dump_for_openapi()
    assert drift["required"] == ["current_month"]
    properties = drift["properties"]
    assert properties["reference_period"]["anyOf"][0]["pattern"] == properties["current_month"]["pattern"]
    cleanup = parameter_schema(crm_data_cleanup).model_dump_for_openapi()
    assert cleanup.get("required", []) == []
    assert cleanup["properties"]["dry_run"]["default"] is True
    assert destructive_parameters(cleanup, {"dry_run": False}) == ["dry_run"]
    assert destructive_parameters(cleanup, {"dry_run": True}) == []
    assert "raw" not in cleanup["properties"]["categories"]["items"]["enum"]
    for pipeline in (reference_data_creation, model_drift_monitoring, crm_data_cleanup):
        properties = parameter_schema(pipeline).model_dump_for_openapi()["properties"]
        assert all(field["description"] for field in properties.values())


def test_the_rule_is_documented_as_it_is(repository: Path) -> None:
    text = (repository / "docs/pipelines.md").read_text()
    for measure in alert_levels.RULE:
        assert f"| {measure.title} | {measure.low:g} | {measure.medium:g} | {measure.high:g} |" in text
