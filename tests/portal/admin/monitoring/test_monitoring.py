"""Model monitoring: from mirrored artifacts alone, and only those that the user can see."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment, Environment
from portal.admin.monitoring import page as monitoring_page
from portal.admin.monitoring import summary
from portal.ui import charts
from runs.actors import Actor
from runs.governance import grants
from runs.models import Artifact, Run, RunEvent
from tests.fakes.prefect import FakePrefect

Login = Callable[[User], Client]
MakeRun = Callable[..., Run]

RESULT: dict[str, Any] = {
    "contract": "crm-drift/1",
    "status": "drifting",
    "alert_level": "HIGH",
    "current_month": "2017-09",
    "reference_period": "2017-08",
    "model_version": "2017-07-abc",
    "columns": [{"name": "sector"}, {"name": "product"}],
    "drifted_columns": [{"name": "<b>sector</b>", "test": "chi-square", "statistic": 12.5, "threshold": 0.01}],
    "dataset_drift_share": 0.5,
    "prediction_drift": 0.41,
    "data_quality_score": 0.987,
    "missing_values_share": 0.012,
    "accuracy": 0.71,
    "auc": 0.612,
    "performance_month": "2017-09",
    "measures": [{"measure": "dataset_drift_share", "title": "columns that drifted", "value": 0.5, "level": "HIGH"}],
    "recommendations": [{"level": "HIGH", "text": "Stop relying on the predictions."}],
    "thresholds": [{"measure": "dataset_drift_share", "low": 0.08, "medium": 0.25, "high": 0.5}],
    "history": [
        {"current_month": "2017-08", "alert_level": "NONE", "dataset_drift_share": 0.0, "auc": None},
        {"current_month": "2017-09", "alert_level": "HIGH", "dataset_drift_share": 0.5, "auc": 0.612},
    ],
}


def table(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"field": field, "value": value} for field, value in values.items()]


def left(run: Run, key: str, data: Any, kind: str = "table", **columns: Any) -> Artifact:
    return Artifact.objects.create(
        environment=run.environment, run=run, prefect_id=uuid4(), key=key, type=kind, data=data, **columns
    )


def text(client: Client, query: str = "") -> str:
    page = client.get(reverse("monitoring") + query).content.decode()
    return re.sub(r"\s+", " ", page)


def test_the_newest_result_is_shown(a_run: MakeRun, viewer: User, login: Login) -> None:
    left(a_run("COMPLETED"), "crm-drift", table(RESULT))
    page = text(login(viewer))
    for piece in ("High drift", "Drift of 2017-09", "against 2017-08", "1 of 2 columns", "98.7%", "0.612", "71.0%"):
        assert piece in page, piece
    assert "deals closed in 2017-09" in page
    assert "Stop relying on the predictions." in page
    assert "<b>sector</b>" not in page


def test_the_history_has_a_picture_with_thresholds_and_a_table(a_run: MakeRun, viewer: User, login: Login) -> None:
    left(a_run("COMPLETED"), "crm-drift", table(RESULT))
    page = text(login(viewer))
    assert page.count("<figure>") == 2, "one picture for each measure that has values"
    assert page.count("portal-chart-limit-name") == 3
    history = page[page.index('data-key="history-table"') :].partition("</details>")[0]
    assert [month in history for month in ("2017-08", "2017-09")] == [True, True]


def test_changes_of_the_level_are_listed_for_who_sees_the_report(
    a_run: MakeRun, viewer: User, admin_user: User, login: Login
) -> None:
    left(a_run("COMPLETED"), "crm-drift", table(RESULT))
    hidden = left(a_run("COMPLETED"), "crm-drift", table(RESULT))
    RunEvent.objects.create(
        kind=RunEvent.Kind.DRIFT_CHANGED,
        environment_id=hidden.environment_id,
        data={"artifact": hidden.pk, "level": "HIGH", "before": "<i>odd</i>"},
    )
    page = text(login(viewer))
    changes = page[page.index("Changes of the level") :].partition("</section>")[0]
    assert [label in changes for label in ("Not known", "High drift", "<i>odd")] == [True, True, False]
    Run.objects.filter(pk=hidden.run_id).update(access_deployment=None, flow_name="secret")
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], flow_name="secret", effect="deny")
    assert "Changes of the level" not in text(login(viewer))


def test_without_data_it_says_what_to_run(
    dev: Environment, fake: FakePrefect, deployment: object, requester: User, viewer: User, login: Login
) -> None:
    fake.add_deployment(flow_name="crm-data-acquisition", name="crm-data-acquisition")
    sync.sync(dev)
    form = reverse("admin:flows_deployment_run", args=[Deployment.objects.get(flow_name="crm-data-acquisition").pk])
    page = text(login(requester))
    assert "portal-monitor-tiles" not in page
    assert "model-drift-monitoring" in page
    assert form in page
    assert form not in text(login(viewer))


def test_a_button_takes_the_month_that_is_due(
    dev: Environment, fake: FakePrefect, a_run: MakeRun, requester: User, login: Login
) -> None:
    record = fake.add_deployment(flow_name="crm-data-ingestion", name="crm-data-ingestion")
    sync.sync(dev)
    left(a_run("COMPLETED"), "crm-months", table({"raw": ["2017-01", "2017-02"], "features": ["2017-01"]}))
    rows = [{"flow": "crm-data-ingestion", "parameter": "snapshot_month", "values": ["2017-01", "2017-02"]}]
    left(a_run("COMPLETED"), "parameter-offers", rows)
    page = text(login(requester))
    assert "?p.snapshot_month=2017-02" in page
    assert str(record.id) not in page


def test_what_the_user_cannot_see_is_not_shown(
    a_run: MakeRun, stranger: User, viewer: User, login: Login, prod: Environment
) -> None:
    left(a_run("COMPLETED"), "crm-drift", table(RESULT))
    assert login(stranger).get(reverse("monitoring")).status_code == 403
    grants.grant(by=Actor.system(), person=stranger, verbs=["see", "see logs"], flow_name="other")
    assert "2017-09" not in text(login(stranger))
    grants.grant(by=Actor.system(), person=viewer, verbs=["see logs"], effect="deny", flow_name="monthly")
    assert "2017-09" not in text(login(viewer))


def test_reports_are_listed(a_run: MakeRun, viewer: User, login: Login) -> None:
    one = left(a_run("COMPLETED"), "crm-drift-report", "<!doctype html>", "markdown", description="Drift of 2017-09")
    page = text(login(viewer))
    assert reverse("admin:runs_artifact_change", args=[one.pk]) in page


NEWER: dict[str, Any] = {
    **RESULT,
    "model_standing": "provisional",
    "deals": 1412,
    "reference_deals": 1000,
    "predictions": 701,
    "performance": {"deals": 655},
    "activity": {"new_deals": 1412, "usual_new_deals": 702.0, "closings": 655, "expected_closings": 640.4},
    "measures": [
        {"measure": "calibration_gap", "title": "gap", "measured": 0.131, "value": 0.024, "level": "LOW"},
        {"measure": "auc_lost", "title": "AUC lost", "measured": None, "value": None, "level": "UNKNOWN"},
    ],
}


def test_a_measure_and_what_of_it_is_beyond_chance_are_two_columns() -> None:
    gap, unknown = monitoring_page.measures(NEWER)
    assert (gap.measured, gap.beyond_chance, gap.level) == ("0.131", "0.024", "Low drift")
    assert (unknown.measured, unknown.beyond_chance, unknown.level) == ("-", "-", "Not known")


def test_a_result_without_the_measured_number_is_shown_with_what_it_has() -> None:
    [older] = monitoring_page.measures(RESULT)
    assert (older.measured, older.beyond_chance, older.level) == ("-", "0.500", "High drift")
    assert summary.compared(RESULT) == [("Model", "2017-07-abc")]


def test_it_says_what_was_scored(a_run: MakeRun, viewer: User, login: Login) -> None:
    left(a_run("COMPLETED"), "crm-drift", table(NEWER))
    page = text(login(viewer))
    for words in dict(summary.compared(NEWER)).values():
        assert words in page
    assert "1,412 deals engaged in 2017-09, compared with 1,000 deals of 2017-08" in page
    assert "655 deals closed in 2017-09" in page
    assert "2017-07-abc (in use for want of a better one)" in page
    assert "655; 640 expected" in page


def test_a_month_that_is_not_known_has_a_level_of_its_own(a_run: MakeRun, viewer: User, login: Login) -> None:
    left(a_run("COMPLETED"), "crm-drift", table({**RESULT, "alert_level": "UNKNOWN"}))
    page = text(login(viewer))
    assert '<span class="portal-badge" data-tone="grey">Not known</span>' in page


def test_scores_of_open_deals_are_told_and_linked(a_run: MakeRun, viewer: User, login: Login) -> None:
    found = {
        "month": "2017-09",
        "model_version": "2017-08-abc",
        "model_standing": "promoted",
        "deals": 1893,
        "without_account": 1201,
        "mean_win_probability": 0.583,
    }
    assert 'id="scores"' not in text(login(viewer))
    left(a_run("COMPLETED"), "crm-scores", table(found))
    listed = left(a_run("COMPLETED"), "crm-open-deals", [{"opportunity_id": "A1"}])
    page = text(login(viewer))
    for words in ("1,893 of 2017-09", "1,201, scored as average deals", "58.3%", "2017-08-abc (promoted)"):
        assert words in page, words
    assert reverse("admin:runs_artifact_change", args=[listed.pk]) in page
    left(a_run("COMPLETED"), "crm-scores", table({"deals": "many", "month": None}))
    assert 'id="scores"' not in text(login(viewer))


@pytest.mark.parametrize(
    "odd",
    [
        {"performance": 5, "activity": [1], "deals": "x", "predictions": True},
        {"activity": {"new_deals": 1.5, "usual_new_deals": None}, "model_version": None},
        {"alert_level": 5, "history": "none", "columns": None},
        {"drifted_columns": [None, 3], "recommendations": [{}], "measures": [{"value": "x"}]},
        {"history": [{"current_month": None, "auc": "0.5", "dataset_drift_share": True}], "thresholds": [{}]},
        {"history": [{"auc": 0.5}], "thresholds": [{"measure": "auc", "low": "x"}]},
    ],
)
def test_a_result_of_another_shape_breaks_nothing(
    odd: dict[str, Any], a_run: MakeRun, viewer: User, login: Login
) -> None:
    left(a_run("COMPLETED"), "crm-drift", table({**RESULT, **odd}))
    left(a_run("COMPLETED"), "crm-months", table({"raw": 5, "features": [None]}))
    assert login(viewer).get(reverse("monitoring")).status_code == 200


def test_the_next_month_is_due_then_the_newest() -> None:
    assert monitoring_page.due(["2017-01", "2017-02", "2017-03"], ["2017-01"]) == "2017-02"
    assert monitoring_page.due(["2017-01"], ["2017-01"]) == ""
    assert monitoring_page.due(["2017-01", "2017-02", "2017-03"], ["2017-01", "2017-03"]) == "2017-02"
    assert monitoring_page.due(["2017-01", "2017-02"], []) == "2017-01"
    # A step that began with a later month has left nothing out.
    assert monitoring_page.due(["2017-01", "2017-02"], ["2017-02"]) == ""
    assert monitoring_page.due([], ["2017-01"]) == ""


def test_a_line_chart_says_its_values_in_words() -> None:
    svg = charts.line("Drift", ["a", "b"], [0.0, 0.5], [charts.Threshold("high", "red", 0.4)])
    assert "<title>Drift</title>" in svg
    assert "b: 0.5" in svg
    assert 'data-tone="red"' in svg
    assert charts.line("Nothing", ["a"], [0.0])


@pytest.mark.parametrize(
    ("highest", "top"), [(0.0, 1.0), (0.084, 0.1), (0.5, 0.6), (0.72, 0.8), (1.0, 1.0), (3.1, 4.0)]
)
def test_an_axis_ends_at_a_round_figure(highest: float, top: float) -> None:
    assert charts.rounded(highest) == top


def test_a_figure_that_was_not_measured_is_a_dash() -> None:
    assert summary.text(None) == "-"
    assert summary.text(True) == "-"
    assert summary.text(0.1234, is_share=True) == "12.3%"
