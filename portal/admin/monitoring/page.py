"""Model monitoring: the newest drift result, its history by month, and links to the runs that are due.

Everything is read from mirrored artifacts, whose shapes are the contracts `crm-drift/1`, `crm-scores/1` and
`crm-months/1`. They come from flows, so every value may be missing or of another type; older ones have fewer fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from flows.models import Deployment, Environment
from portal.admin.monitoring.drift_changes import drift_changes
from portal.admin.monitoring.summary import compared, scores, text
from portal.auth.request_user import permissions_of
from portal.ui import charts, freshness
from runs.access.decisions import Permissions
from runs.artifact_facts import DRIFT, OFFERS, facts, offered
from runs.models import Artifact, Verb

MONTHS, REPORT = "crm-months", "crm-drift-report"
SCORES, OPEN_DEALS = "crm-scores", "crm-open-deals"
MOST_REPORTS, MOST_MONTHS = 12, 24
# Alert level -> tone and label.
LEVELS: dict[str, tuple[str, str]] = {
    "NONE": ("green", "No drift"),
    "UNKNOWN": ("grey", "Not known"),
    "LOW": ("blue", "Low drift"),
    "MEDIUM": ("amber", "Medium drift"),
    "HIGH": ("red", "High drift"),
}
# (layer in `crm-months/1`, label, flow, parameter for the month), in the order that a month goes through.
STEPS: list[tuple[str, str, str, str]] = [
    ("raw", "Acquired", "crm-data-acquisition", "snapshot_month"),
    ("features", "Ingested", "crm-data-ingestion", "snapshot_month"),
    ("models", "Trained", "monthly-win-probability-training", "current_month"),
    ("reference", "Reference created", "reference-data-creation", "reference_period"),
    ("scores", "Open deals scored", "open-deal-scoring", "current_month"),
    ("reports", "Monitored", "model-drift-monitoring", "current_month"),
]
# Measure of the history -> (title, whether it is a share shown as a percentage).
CHARTS: dict[str, tuple[str, bool]] = {
    "dataset_drift_share": ("Share of monitored columns that drifted", True),
    "prediction_drift": ("Distance of predictions from the reference", False),
    "auc": ("AUC where outcomes are known", False),
    "missing_values_share": ("Share of missing values", True),
}
# (title, field of the result, whether it is a share shown as a percentage).
TILES: list[tuple[str, str, bool]] = [
    ("Prediction drift", "prediction_drift", False),
    ("Dataset drift", "dataset_drift_share", True),
    ("Data quality", "data_quality_score", True),
    ("Missing values", "missing_values_share", True),
    ("Accuracy", "accuracy", True),
    ("AUC", "auc", False),
]
# Measured only for months whose outcomes are known.
OUTCOME_FIELDS = frozenset({"accuracy", "auc"})


@dataclass(frozen=True, slots=True)
class Tile:
    title: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of drift: as measured, the part beyond chance that is judged, and the level."""

    title: str
    measured: str
    beyond_chance: str
    tone: str
    level: str


@dataclass(frozen=True, slots=True)
class Link:
    """A button that opens a run form with the month filled in."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the pipeline: the months that have passed it, and a link to run the next one that has not."""

    title: str
    flow: str
    months: list[str]
    link: Link | None
    is_complete: bool


@dataclass(frozen=True, slots=True)
class History:
    title: str
    svg: SafeString
    rows: list[tuple[str, str]]


def page(request: HttpRequest) -> HttpResponse:
    """Show one environment: the one in the query string, or the first that has data."""
    permissions = permissions_of(request)
    if not permissions.can_any(Verb.SEE_LOGS):
        raise PermissionDenied(f"Model monitoring requires the permission “{Verb.SEE_LOGS.label}”.")
    environments = list(permissions.environments().filter(is_active=True).select_related("server__health"))
    named = next((each for each in environments if each.slug == request.GET.get("environment")), None)
    environment = named or first_with_data(permissions, environments)
    context = {
        **admin.site.each_context(request),
        "title": "Model monitoring",
        "environments": environments,
        "environment": environment,
        "freshness": freshness.freshness_of([environment], "runs") if environment else [],
        **(read_results(permissions, environment) if environment else {}),
    }
    return TemplateResponse(request, "portal/monitoring/page.html", context)


def first_with_data(permissions: Permissions, environments: Sequence[Environment]) -> Environment | None:
    # One query for all environments; the first in their own order is chosen.
    with_data = set(visible(permissions, key__in=[DRIFT, MONTHS]).values_list("environment", flat=True).distinct())
    return next((each for each in environments if each.pk in with_data), next(iter(environments), None))


def visible(permissions: Permissions, **where: Any) -> QuerySet[Artifact]:
    """Return the artifacts of runs whose log the user can view, newest first."""
    lookups = {"deployment": "run__access_deployment__", "base": "run__"}
    return Artifact.objects.filter(
        permissions.q(Verb.SEE, **lookups), permissions.q(Verb.SEE_LOGS, **lookups), **where
    ).order_by("-created_upstream_at", "-pk")


def read_results(permissions: Permissions, environment: Environment) -> dict[str, Any]:
    """Build the context from the newest artifact of each kind."""
    # 1. The newest artifact of each kind; earlier months are in its history.
    drift_artifact = visible(permissions, environment=environment, key=DRIFT).select_related("run").first()
    drift = facts(drift_artifact)
    months_by_layer = facts(visible(permissions, environment=environment, key=MONTHS).first())
    allowed = offered(visible(permissions, environment=environment, key=OFFERS).first())
    # 2. The deployments that the links lead to; those the user cannot see are reported as missing.
    deployments = {
        each.flow_name: each
        for each in Deployment.objects.filter(
            permissions.q(Verb.SEE),
            environment=environment,
            flow_name__in=[flow for _, _, flow, _ in STEPS],
            deleted_upstream_at=None,
        ).select_related("environment")
    }
    tone, level = LEVELS.get(str(drift.get("alert_level")), LEVELS["UNKNOWN"])
    open_deals = visible(permissions, environment=environment, key=OPEN_DEALS).select_related("run").first()
    return {
        "scores": scores(facts(visible(permissions, environment=environment, key=SCORES).first())),
        "open_deals": open_deals,
        "artifact": drift_artifact,
        "compared": compared(drift),
        "drift": drift,
        "tone": tone,
        "level": level,
        "tiles": tiles(drift),
        "drifted": named_rows(drift, "drifted_columns"),
        "advice": advice(drift),
        "measures": measures(drift),
        "histories": histories(drift),
        "months": months(drift),
        "changes": drift_changes(environment, visible(permissions, environment=environment, key=DRIFT), LEVELS),
        "reports": list(visible(permissions, environment=environment, key=REPORT).select_related("run")[:MOST_REPORTS]),
        "steps": steps(permissions, months_by_layer, allowed, deployments),
        "missing": [flow for _, _, flow, _ in STEPS if flow not in deployments],
    }


def tiles(drift: Mapping[str, Any]) -> list[Tile]:
    known_for = drift.get("performance_month")
    return [
        Tile(
            title,
            text(drift.get(name), is_share=is_share),
            (f"deals closed in {known_for}" if known_for else "not enough outcomes yet")
            if name in OUTCOME_FIELDS
            else "",
        )
        for title, name, is_share in TILES
    ]


def named_rows(drift: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = drift.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def advice(drift: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (tone, label of the level, text) of each recommendation."""
    return [
        (*LEVELS.get(str(row.get("level")), ("grey", "")), str(row.get("text", "")))
        for row in named_rows(drift, "recommendations")
    ]


def measures(drift: Mapping[str, Any]) -> list[Measure]:
    """Return the measures that determine the alert level. Before there was `measured`, only `value` was published."""
    return [
        Measure(
            str(row.get("title", "")),
            text(row.get("measured")),
            text(row.get("value")),
            *LEVELS.get(str(row.get("level")), LEVELS["UNKNOWN"]),
        )
        for row in named_rows(drift, "measures")
    ]


def months(drift: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the history by month, newest first."""
    found = []
    # The history is oldest first, as the charts need it.
    for row in reversed(named_rows(drift, "history")[-MOST_MONTHS:]):
        tone, level = LEVELS.get(str(row.get("alert_level")), LEVELS["UNKNOWN"])
        values = [text(row.get(name), is_share=is_share) for name, (_, is_share) in CHARTS.items()]
        found.append({"month": row.get("current_month"), "tone": tone, "level": level, "values": values})
    return found


def histories(drift: Mapping[str, Any]) -> list[History]:
    """Draw one chart per measure that has values, with its thresholds as lines."""
    rows = named_rows(drift, "history")[-MOST_MONTHS:]
    # Measures without thresholds are drawn without lines.
    limits = {str(row.get("measure")): row for row in named_rows(drift, "thresholds")}
    found = []
    for name, (title, is_share) in CHARTS.items():
        points = [(str(row.get("current_month")), row[name]) for row in rows if isinstance(row.get(name), int | float)]
        if points:
            lines = [
                charts.Threshold(level, tone, float(limits[name][level]))
                for level, tone in (("low", "blue"), ("medium", "amber"), ("high", "red"))
                if name in limits and isinstance(limits[name].get(level), int | float)
            ]
            svg = charts.line(f"{title}, by month", [each for each, _ in points], [v for _, v in points], lines)
            found.append(History(title, svg, [(month, text(v, is_share=is_share)) for month, v in points]))
    return found


def steps(
    permissions: Permissions,
    months_by_layer: Mapping[str, Any],
    allowed: Mapping[tuple[str, str], Sequence[Any]],
    deployments: Mapping[str, Deployment],
) -> list[Step]:
    """Return the steps of the pipeline with the months that each has processed, and a link to run the next."""
    found = []
    for layer, title, flow, parameter in STEPS:
        months = months_by_layer.get(layer)
        done = [str(month) for month in months] if isinstance(months, list) else []
        offered_months = allowed.get((flow, parameter))
        month = due([str(each) for each in offered_months or []], done)
        # Where nothing is offered, the form says what is missing; where all is done, there is nothing to run.
        link = link_to(permissions, deployments.get(flow), parameter, month) if month or not offered_months else None
        found.append(Step(title, flow, done, link, is_complete=bool(offered_months) and not month))
    return found


def due(allowed: Sequence[str], done: Sequence[str]) -> str:
    """Return the first month with data after the last one done, else the newest that was left out between, else ""."""
    left = [month for month in allowed if month not in done and month > min(done, default="")]
    later = [month for month in left if month > max(done, default="")]
    return next(iter(later or left[-1:]), "")


def link_to(permissions: Permissions, deployment: Deployment | None, parameter: str, month: str) -> Link | None:
    """Link to the run form, or None for people who cannot run the deployment."""
    if deployment is None or not permissions.start(deployment):
        return None
    # The run form fills in parameters from the query string, see LINK_PREFIX.
    query = f"?{urlencode({f'p.{parameter}': month})}" if month else ""
    title = f"Run for {month}" if month else "Run"
    return Link(title, reverse("admin:flows_deployment_run", args=[deployment.pk]) + query)
