"""Evidently's report: the same findings as ours, and not a word to anybody."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows import deploy
from flows.crm import drift, metrics, report_process
from flows.crm.failures import NoReport
from tests.crm import generated

# In a process of its own, whose every connection fails: importing Evidently takes seconds.
ALONE = """
import json, socket, sys

def refuse(*arguments):
    raise AssertionError(f"a connection to {arguments[1:]}")

socket.socket.connect = socket.getaddrinfo = refuse
import pandas as pd
from flows.crm import evidently_report

was, now = (pd.read_parquet(path) for path in sys.argv[1:3])
found = evidently_report.full_report(was, now, float(sys.argv[3]))
print(json.dumps({
    "p_values": found.p_values,
    "begins": found.html.lstrip()[:15],
    "reports home": [name for name in ("iterative_telemetry", "evidently.telemetry") if name in sys.modules],
}))
"""


@pytest.fixture(scope="module")
def months() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A reference, and a month with planted drift."""
    tables = generated.world(1, 1.0).tables
    normal = generated.reference(tables)
    now = generated.month(tables, generated.CURRENT).deals
    now = now[now["engage_date"] > pd.Timestamp("2017-07-31")]
    return normal.deals, now.assign(prediction=normal.model(now))


@pytest.fixture(scope="module")
def theirs(
    months: tuple[pd.DataFrame, pd.DataFrame], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("evidently")
    for name, deals in zip(("was", "now"), months, strict=True):
        drift.observed(deals).to_parquet(folder / name)
    command = [sys.executable, "-W", "ignore", "-c", ALONE, folder / "was", folder / "now", str(metrics.P_VALUE)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def test_it_finds_what_we_find(months: tuple[pd.DataFrame, pd.DataFrame], theirs: dict[str, Any]) -> None:
    was, now = months
    baseline = {"auc": 0.6, "auc_high": 0.7, "deals": 100}
    ours = drift.compare(was, now, closed=now.iloc[:0], activity=generated.USUAL, baseline=baseline)
    assert ours.drifted
    assert set(theirs["p_values"]) == {*drift.WATCHED, drift.PREDICTION}
    for column in (*ours.columns, ours.prediction):
        assert theirs["p_values"][column.name] == pytest.approx(column.p_value), column.name
    assert theirs["begins"] == "<!DOCTYPE html>"


def test_it_opens_no_connection(theirs: dict[str, Any]) -> None:
    assert theirs["reports home"] == []


def test_publishing_does_not_load_it() -> None:
    modules = {name for pipeline in deploy.PIPELINES.values() for name in deploy._modules_of(pipeline.module, set())}
    text = {name: deploy._file(name).read_text() for name in modules}
    assert "flows.crm.report_process" in modules
    assert not [name for name in modules if "from evidently" in text[name] or "import evidently" in text[name]]


def test_its_program_counts_for_the_version() -> None:
    pipeline = deploy.PIPELINES["model-drift-monitoring"]
    assert pipeline.programs == (report_process.PROGRAM,)
    without = deploy.Pipeline(pipeline.module, pipeline.function, pipeline.tags)
    assert deploy.version(pipeline) != deploy.version(without)


def deals(size: int) -> pd.DataFrame:
    return pd.DataFrame({name: ["x"] * size for name in drift.WATCHED} | {"prediction": [0.5] * size}).assign(
        sales_price=1.0, revenue=1.0, employees=1
    )


def render(**options: Any) -> bytes:
    with report_process.Renderer(**options) as renderer:
        return renderer.page(deals(3), deals(3))


def test_trouble_is_told_in_one_sentence() -> None:
    with pytest.raises(NoReport, match=r"^Evidently cannot draw its report \(.*nothing_here.*\): install the extra"):
        render(program="flows.crm.nothing_here")
    with pytest.raises(NoReport, match=r"^Evidently took more than 0 seconds for its report: run this again when"):
        render(timeout=0.01)


def test_the_process_ends_when_no_report_is_wanted() -> None:
    with report_process.Renderer() as renderer:
        assert renderer._process.poll() is None
    assert renderer._process.poll() is not None
