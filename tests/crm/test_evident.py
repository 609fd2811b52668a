"""Evidently's report: the same findings as ours, and not a word to anybody."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from flows.crm import drawing, drift, evident
from flows.crm.failures import NoReport
from tests.crm import worlds


def test_it_finds_what_we_find() -> None:
    tables = worlds.world(1, 1.0).tables
    normal = worlds.reference(tables)
    now = worlds.month(tables, worlds.CURRENT).deals
    now = now[now["engage_date"] > pd.Timestamp("2017-07-31")].assign(prediction=lambda d: normal.model(d))
    ours = drift.compare(normal.deals, now, closed=now.iloc[:0], baseline=normal.quality.as_json())
    theirs = evident.full_report(drift.observed(normal.deals), drift.observed(now), drift.P_VALUE)
    assert ours.drifted
    assert set(theirs.p_values) == {*drift.WATCHED, drift.PREDICTION}
    for column in (*ours.columns, ours.prediction):
        assert theirs.p_values[column.name] == pytest.approx(column.p_value), column.name
    assert theirs.html.lstrip().startswith("<!DOCTYPE html>")


ALONE = """
import socket, sys

def refuse(*arguments):
    raise AssertionError(f"a connection to {arguments[1:]}")

socket.socket.connect = socket.getaddrinfo = refuse
import pandas as pd
from tests.crm import worlds
from flows.crm import drift, evident

tables = worlds.world().tables
normal = worlds.reference(tables)
evident.full_report(drift.observed(normal.deals), drift.observed(normal.deals), drift.P_VALUE)
print([name for name in ("iterative_telemetry", "evidently.telemetry") if name in sys.modules])
"""


def test_it_speaks_to_nobody(repository: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ALONE]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "[]"


def deals(size: int) -> pd.DataFrame:
    return pd.DataFrame({name: ["x"] * size for name in drift.WATCHED} | {"prediction": [0.5] * size}).assign(
        sales_price=1.0, revenue=1.0, employees=1
    )


def test_trouble_is_told_in_one_sentence() -> None:
    with pytest.raises(NoReport, match=r"^Evidently cannot draw its report \(.*nothing_here.*\): install the extra"):
        drawing.full_page(deals(3), deals(3), program="flows.crm.nothing_here")
    with pytest.raises(NoReport, match=r"^Evidently took more than 0 seconds for its report: run this again when"):
        drawing.full_page(deals(3), deals(3), patience=0.01)


LOADED = """
import sys
import flows.deploy
for pipeline in flows.deploy.PIPELINES.values():
    __import__(pipeline.module)
print("evidently" in sys.modules, "sklearn" in sys.modules)
"""


def test_publishing_does_not_load_it(repository: Path) -> None:
    process = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=repository)
    assert process.stdout.split() == ["False", "True"]
