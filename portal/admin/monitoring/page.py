"""Model monitoring: what the newest drift result says, how it came about by month, and what to run next.

Everything here is read from mirrored artifacts; their shapes are the contracts `crm-drift/1` and `crm-months/1`.
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
from portal.auth.request_user import permissions_of
from portal.ui import charts, freshness
from runs.access.decisions import Permissions
from runs.artifact_facts import OFFERS, facts, offered
from runs.models import Artifact, Verb

DRIFT, MONTHS, REPORT = "crm-drift", "crm-months", "crm-drift-report"
MOST_REPORTS, MOST_MONTHS = 12, 24
# alert level -> tone, and the words that stand beside it
LEVELS: dict[str, tuple[str, str]] = {
    "NONE": ("green", "No drift"),
    "LOW": ("blue", "Low drift"),
    "MEDIUM": ("amber", "Medium drift"),
    "HIGH": ("red", "High drift"),
}
# What a month goes through: layer, what it is called, flow, and the parameter that takes the month.
STEPS: list[tuple[str, str, str, str]] = [
    ("raw", "Acquired", "crm-data-acquisition", "snapshot_month"),
    ("features", "Ingested", "crm-data-ingestion", "snapshot_month"),
    ("models", "Trained", "monthly-win-probability-training", "snapshot_month"),
    ("reference", "Reference kept", "reference-data-creation", "snapshot_month"),
    ("reports", "Monitored", "model-drift-monitoring", "current_month"),
]
# Measure of the history -> its title, whether it is a share shown in per cent.
CHARTS: dict[str, tuple[str, bool]] = {
    "dataset_drift_share": ("Share of the watched columns that drifted", True),
    "prediction_drift": ("Distance of the predictions from the reference", False),
    "auc": ("AUC where outcomes are known", False),
    "missing_values_share": ("Share of missing values", True),
}
# Tile -> (title, field, whether it is a share).
TILES: list[tuple[str, str, bool]] = [
    ("Prediction drift", "prediction_drift", False),
    ("Dataset drift", "dataset_drift_share", True),
    ("Data quality", "data_quality_score", True),
    ("Missing values", "missing_values_share", True),
    ("Accuracy", "accuracy", True),
    ("AUC", "auc", False),
]
OF_OUTCOMES = frozenset({"accuracy", "auc"})


@dataclass(frozen=True, slots=True)
class Tile:
    title: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A button that leads to a run form with the month filled in."""

    title: str
    address: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the months: which have it, and the way to the next."""

    title: str
    flow: str
    months: list[str]
    door: Link | None


@dataclass(frozen=True, slots=True)
class History:
    title: str
    svg: SafeString
    rows: list[tuple[str, str]]


def page(request: HttpRequest) -> HttpResponse:
    """The page of one environment: the one named in the address, or the first that has something to show."""
    permissions = permissions_of(request)
    if not permissions.can_any(Verb.SEE_LOGS):
        raise PermissionDenied("Model monitoring is made of what runs say: it takes a grant to “view logs”.")
    environments = list(permissions.environments().filter(is_active=True).select_related("health"))
    named = next((each for each in environments if each.slug == request.GET.get("environment")), None)
    shown = named or first_with_data(permissions, environments)
    context = {
        **admin.site.each_context(request),
        "title": "Model monitoring",
        "environments": environments,
        "environment": shown,
        "freshness": freshness.freshness_of([shown], "runs") if shown else [],
        **(read_month(permissions, shown) if shown else {}),
    }
    return TemplateResponse(request, "portal/monitoring/page.html", context)


def first_with_data(permissions: Permissions, environments: Sequence[Environment]) -> Environment | None:
    with_data = set(visible(permissions, key__in=[DRIFT, MONTHS]).values_list("environment", flat=True).distinct())
    return next((each for each in environments if each.pk in with_data), next(iter(environments), None))


def visible(permissions: Permissions, **where: Any) -> QuerySet[Artifact]:
    """Artifacts whose run the reader may see, log included."""
    reach = {"deployment": "run__deployment__", "base": "run__"}
    return Artifact.objects.filter(
        permissions.q(Verb.SEE, **reach), permissions.q(Verb.SEE_LOGS, **reach), **where
    ).order_by("-created_upstream_at", "-pk")


def read_month(permissions: Permissions, environment: Environment) -> dict[str, Any]:
    drift_artifact = visible(permissions, environment=environment, key=DRIFT).select_related("run").first()
    drift = facts(drift_artifact)
    held = facts(visible(permissions, environment=environment, key=MONTHS).first())
    allowed = offered(visible(permissions, environment=environment, key=OFFERS).first())
    deployments = {
        each.flow_name: each
        for each in Deployment.objects.filter(
            permissions.q(Verb.SEE),
            environment=environment,
            flow_name__in=[flow for _, _, flow, _ in STEPS],
            deleted_upstream_at=None,
        ).select_related("environment")
    }
    tone, level = LEVELS.get(str(drift.get("alert_level")), ("grey", "Not known"))
    return {
        "artifact": drift_artifact,
        "drift": drift,
        "tone": tone,
        "level": level,
        "tiles": tiles(drift),
        "drifted": named_rows(drift, "drifted_columns"),
        "advice": advice(drift),
        "measures": measures(drift),
        "histories": histories(drift),
        "months": months(drift),
        "reports": list(visible(permissions, environment=environment, key=REPORT).select_related("run")[:MOST_REPORTS]),
        "steps": steps(permissions, held, allowed, deployments),
        "missing": [flow for _, _, flow, _ in STEPS if flow not in deployments],
    }


def text(value: Any, *, is_share: bool = False) -> str:
    """A figure as people read it; what was not measured is a dash."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return f"{value:.1%}" if is_share else f"{value:.3f}"


def tiles(drift: Mapping[str, Any]) -> list[Tile]:
    known_for = drift.get("performance_month")
    return [
        Tile(
            title,
            text(drift.get(name), is_share=is_share),
            (f"deals closed in {known_for}" if known_for else "too few outcomes yet") if name in OF_OUTCOMES else "",
        )
        for title, name, is_share in TILES
    ]


def named_rows(drift: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = drift.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def advice(drift: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tone, level in words and text, the loudest first."""
    return [
        (*LEVELS.get(str(row.get("level")), ("grey", "")), str(row.get("text", "")))
        for row in named_rows(drift, "recommendations")
    ]


def measures(drift: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Title, value, tone and level of every measure that the alert level follows from."""
    return [
        (str(row.get("title", "")), text(row.get("value")), *LEVELS.get(str(row.get("level")), ("grey", "Not known")))
        for row in named_rows(drift, "measures")
    ]


def months(drift: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history by month, newest first, with tone and words of each level."""
    found = []
    for row in reversed(named_rows(drift, "history")[-MOST_MONTHS:]):
        tone, level = LEVELS.get(str(row.get("alert_level")), ("grey", "Not known"))
        values = [text(row.get(name), is_share=is_share) for name, (_, is_share) in CHARTS.items()]
        found.append({"month": row.get("current_month"), "tone": tone, "level": level, "values": values})
    return found


def histories(drift: Mapping[str, Any]) -> list[History]:
    rows = named_rows(drift, "history")[-MOST_MONTHS:]
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
    held: Mapping[str, Any],
    allowed: Mapping[tuple[str, str], Sequence[Any]],
    deployments: Mapping[str, Deployment],
) -> list[Step]:
    """What the lake holds, step by step, and the run that takes the next month through each."""
    found = []
    for layer, title, flow, parameter in STEPS:
        has = held.get(layer)
        there = [str(month) for month in has] if isinstance(has, list) else []
        month = due([str(each) for each in allowed.get((flow, parameter), [])], there)
        found.append(Step(title, flow, there, link_to(permissions, deployments.get(flow), parameter, month)))
    return found


def due(allowed: Sequence[str], there: Sequence[str]) -> str:
    """The first month after the last one that is there, else the newest that can be done at all, else none."""
    later = [month for month in allowed if month > max(there, default="") and month not in there]
    return next(iter(later or allowed[-1:]), "")


def link_to(permissions: Permissions, deployment: Deployment | None, parameter: str, month: str) -> Link | None:
    """The link to the run form, for those who may request a run there."""
    if deployment is None or not permissions.start(deployment):
        return None
    query = f"?{urlencode({f'p.{parameter}': month})}" if month else ""
    words = f"Run for {month} …" if month else "Run …"
    return Link(words, reverse("admin:flows_deployment_run", args=[deployment.pk]) + query)
