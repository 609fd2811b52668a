"""The flows, as Prefect runs them: what they leave in the lake, what they ask for, and how they refuse."""

from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.states import Failed
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr

from flows.crm.acquisition import crm_data_acquisition, read_source
from flows.crm.drift_monitoring import model_drift_monitoring
from flows.crm.every_kind import Contact, every_parameter_kind
from flows.crm.failures import BadLake, BadMonth, BadSource, FailedChecks, MissingMonth
from flows.crm.ingestion import crm_data_ingestion
from flows.crm.lake import Lake
from flows.crm.reference import reference_data_creation
from flows.crm.retries import is_disk_trouble
from flows.crm.sample_flows import Stopped, heartbeat, long_haul
from flows.crm.storage import Folder
from flows.crm.training import monthly_win_probability_training
from tests.crm.tables import deals, write


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for setting in ("CRM_SOURCE_DIR", "CRM_SOURCE_URL", "CRM_DRIFT"):
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setenv("CRM_LAKE", str(tmp_path / "lake"))
    return Lake(Folder(tmp_path / "lake"))


@pytest.fixture
def csv_folder(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv("CRM_SOURCE_DIR", str(tmp_path / "source"))
    return write(tmp_path / "source")


def artifacts(client: SyncPrefectClient, ended: State[Any]) -> dict[str, Any]:
    """What a run left, by key; others may run the same flow meanwhile."""
    run_id = ended.state_details.flow_run_id
    assert run_id
    found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id])))
    return {str(artifact.key): artifact.data for artifact in found}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_month_goes_from_the_source_to_features(client: SyncPrefectClient, lake: Lake) -> None:
    acquired = crm_data_acquisition("2017-03")
    ingested = crm_data_ingestion("2017-03")
    assert acquired["source"] == "generator, seed 1, drift 0"
    assert ingested["processed"] == acquired["rows"]
    raw, processed, features = (lake.manifest(layer, "2017-03") for layer in ("raw", "processed", "features"))
    assert (processed.source, features.source) == (raw.name, processed.name)
    assert "GTXPro" in set(lake.read(raw)["sales_pipeline"]["product"])
    assert "GTXPro" not in set(lake.read(processed)["sales_pipeline"]["product"])
    assert ingested["features"] == {"deals": len(lake.read(features)["deals"])}

    before = contents(Path(lake.store.name))
    crm_data_acquisition("2017-03")
    crm_data_ingestion("2017-03")
    assert contents(Path(lake.store.name)) == before, "a second run leaves the same bytes"


def test_the_checks_are_kept_as_an_artifact(client: SyncPrefectClient, csv_folder: Path) -> None:
    kept = artifacts(client, crm_data_acquisition("2017-04", return_state=True))
    assert '"table": "sales_pipeline", "rows": 6' in kept["crm-raw-tables"]
    kept = artifacts(client, crm_data_ingestion("2017-04", return_state=True))
    assert '"check": "product-known", "result": "passed"' in kept["crm-checks"]
    assert '"result": "warning", "found": 4, "examples": "GTXPro, technolgy, Philipines"' in kept["crm-checks"]
    assert kept["crm-features"] == 100.0


@pytest.mark.parametrize("pipeline", [crm_data_acquisition, crm_data_ingestion])
def test_a_month_that_is_none_is_refused(client: SyncPrefectClient, lake: Lake, pipeline: Flow[..., Any]) -> None:
    with pytest.raises(BadMonth, match=r"^'2017-13' is not a month: write it as YYYY-MM, such as 2017-03\.$"):
        pipeline("2017-13")
    assert not Path(lake.store.name).exists()


def test_a_month_before_the_data_is_refused(client: SyncPrefectClient, csv_folder: Path, lake: Lake) -> None:
    with pytest.raises(BadMonth, match=r"^2016-12 is before the data: the first month is 2017-01\.$"):
        crm_data_acquisition("2016-12")
    assert not Path(lake.store.name).exists()


def test_a_bad_source_is_refused(client: SyncPrefectClient, csv_folder: Path) -> None:
    (csv_folder / "accounts.csv").unlink()
    with pytest.raises(BadSource, match=r"^accounts\.csv is missing from "):
        crm_data_acquisition("2017-03")


def test_ingestion_without_acquisition_says_what_to_run_first(client: SyncPrefectClient, lake: Lake) -> None:
    with pytest.raises(MissingMonth, match=r"^Acquire 2017-03 first: .* has no raw tables of it\.$"):
        crm_data_ingestion("2017-03")


def test_a_failed_check_stops_the_ingestion_before_it_writes(
    client: SyncPrefectClient, csv_folder: Path, lake: Lake
) -> None:
    write(csv_folder, sales_pipeline=deals("D1,Zoe,GTXPro,Acorn,Won,2017-01-10,2017-02-01,4800"))
    crm_data_acquisition("2017-02")
    ended = crm_data_ingestion("2017-02", return_state=True)
    with pytest.raises(FailedChecks, match=r"^2017-02 cannot be ingested, 1 check failed: agent-known \(Zoe\)\."):
        ended.result()
    assert lake.months("processed") == lake.months("features") == []
    assert '"check": "agent-known", "result": "failed"' in artifacts(client, ended)["crm-checks"]


def test_only_trouble_with_the_disk_is_worth_another_try() -> None:
    assert read_source.retries == 2
    assert is_disk_trouble(read_source, None, Failed(data=OSError("Input/output error")))  # type: ignore[arg-type]
    for failure in (BadSource("x"), BadLake("x"), MissingMonth("x"), ValueError("x")):
        assert not is_disk_trouble(read_source, None, Failed(data=failure))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        (crm_data_acquisition, "snapshot_month"),
        (crm_data_ingestion, "snapshot_month"),
        (monthly_win_probability_training, "current_month"),
        (reference_data_creation, "reference_period"),
        (model_drift_monitoring, "current_month"),
    ],
)
def test_the_month_is_required_and_described(pipeline: Flow[..., Any], name: str) -> None:
    schema = parameter_schema(pipeline).model_dump_for_openapi()
    month = schema["properties"][name]
    assert schema["required"] == [name]
    assert month["pattern"] == "^[12][0-9]{3}-(0[1-9]|1[0-2])$"
    assert "YYYY-MM" in month["description"]


@pytest.mark.parametrize("pipeline", [long_haul, heartbeat])
def test_some_flows_run_at_one_click(pipeline: Flow[..., Any]) -> None:
    assert not parameter_schema(pipeline).model_dump_for_openapi().get("required")


def test_bounds_reach_the_schema() -> None:
    properties = parameter_schema(long_haul).properties
    assert (properties["minutes"]["exclusiveMinimum"], properties["minutes"]["maximum"]) == (0, 60)
    assert (properties["fail_at"]["minimum"], properties["fail_at"]["maximum"]) == (0, 100)
    assert (properties["steps"]["minimum"], properties["steps"]["maximum"]) == (1, 20)


def test_every_kind_of_parameter_is_asked_for_and_explained() -> None:
    schema = parameter_schema(every_parameter_kind).model_dump_for_openapi()
    properties = schema["properties"]
    assert schema["required"] == ["code", "password"]
    assert all(field["description"] for field in properties.values())
    assert (properties["password"]["format"], properties["password"]["writeOnly"]) == ("password", True)
    assert (properties["count"]["minimum"], properties["count"]["maximum"]) == (1, 1000)
    formats = {name: properties[name]["format"] for name in ("day", "moment", "clock", "patience")}
    assert formats == {"day": "date", "moment": "date-time", "clock": "time", "patience": "duration"}
    assert properties["colour"]["$ref"] == "#/definitions/Colour"
    assert properties["size"]["enum"] == ["small", "medium", "large"]
    assert properties["limit"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert properties["contacts"]["items"] == {"$ref": "#/definitions/Contact"}
    assert properties["weights"]["additionalProperties"] == {"type": "integer"}


def test_a_password_is_masked_in_result_and_log(client: SyncPrefectClient, caplog: pytest.LogCaptureFixture) -> None:
    received = every_parameter_kind("AB-123", SecretStr("correct horse"), contacts=[Contact(name="Bo")], limit=3)
    assert received["password"] == "**********"
    assert received["contacts"][0]["address"]["city"] == "Vienna"
    assert (received["limit"], received["patience"], received["price"]) == (3, "PT5M", "19.90")
    assert "AB-123" in caplog.text
    assert "correct horse" not in caplog.text


def test_a_parameter_out_of_bounds_is_refused(client: SyncPrefectClient) -> None:
    with pytest.raises(ParameterTypeError, match="count"):
        every_parameter_kind("AB-123", SecretStr("x"), count=1001)


def test_the_long_haul_takes_its_time_and_tells(client: SyncPrefectClient) -> None:
    ended = long_haul(minutes=0.01, steps=2, return_state=True)
    assert ended.result() == "Took 0.01 minutes."
    assert artifacts(client, ended) == {"long-haul": 100.0}


def test_the_long_haul_fails_where_it_is_asked_to(client: SyncPrefectClient) -> None:
    with pytest.raises(Stopped, match=r"^Stopped at 50% because fail_at is 50\.$"):
        long_haul(minutes=0.01, steps=2, fail_at=50)


def test_a_heartbeat_says_the_time(client: SyncPrefectClient) -> None:
    assert heartbeat().endswith("+00:00")
