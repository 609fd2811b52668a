"""What the page of a deployment shows, put together from Postgres."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Min, QuerySet
from django.http import HttpRequest

from flows.access import Holding, who_may
from flows.models import Alias, Deployment, Grant, Verb, WorkPool
from flows.parameters import MASK, runnable_as_is
from flows.parameters.description import Described, describe
from portal import freshness, tables, times
from portal.admin.base import holding
from portal.admin.deployment_list import Workforce, is_askable
from runs import statistics
from runs.models import Run, Switch

LAST_RUNS = 10
# A job variable of such a name is not shown, wherever it stands; everything under "env" is not either.
SECRET_NAMES = re.compile(r"pass|secret|token|credential|api.?key|private|auth", re.IGNORECASE)
# The verbs whose holders the page names: how the panel calls them.
NAMED_VERBS = {Verb.TRIGGER: "ask for runs", Verb.APPROVE: "approve them", Verb.CANCEL: "cancel them"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as the table shows it."""

    described: Described
    default: str

    @classmethod
    def of(cls, one: Described) -> Parameter:
        return cls(one, text_of(one.default) if one.has_default else "")


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    is_online: bool
    heartbeat: datetime | None

    @property
    def tone(self) -> str:
        return "green" if self.is_online else "grey"


@dataclass(frozen=True, slots=True)
class Figures:
    """How its runs went lately, as text."""

    days: int
    rate: str
    rate_tone: str
    median: str
    ended: int
    failed: int


def text_of(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def context(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """`deployment` comes with its environment and the environment's health."""
    mine = holding(request)
    runs = Run.objects.filter(mine.q(Verb.SEE, deployment="deployment__"), deployment=deployment)
    pool = WorkPool.objects.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    return {
        "deployment": deployment,
        "alias": Alias.objects.filter(environment=deployment.environment_id, full_name=deployment.full_name).first(),
        "freshness": freshness.of([deployment.environment], "deployments"),
        "pool": pool,
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "workers": workers(pool),
        "job_variables": job_variables(deployment.job_variables),
        "parameters": [
            Parameter.of(one) for one in describe(deployment.parameter_schema, deployment.parameter_defaults)
        ],
        "last_runs": tables.RunTable(runs.exclude(state_type="SCHEDULED").order_by("-created_upstream_at")[:LAST_RUNS]),
        "next_run_at": runs.filter(state_type="SCHEDULED", gone_at=None).aggregate(at=Min("expected_start_at"))["at"],
        "figures": figures(runs),
        "who": tables.GrantTable(who(deployment)),
        "switch": deployment.switches.exclude(state=Switch.State.DONE).first(),
        **buttons(mine, deployment),
    }


def buttons(mine: Holding, deployment: Deployment) -> dict[str, Any]:
    """What the reader may do here, and in a sentence why not."""
    trigger, manage = mine.decide(Verb.TRIGGER, deployment), mine.decide(Verb.PAUSE, deployment)
    askable = is_askable(deployment)
    may_run = trigger.allowed and askable
    is_quick = may_run and runnable_as_is(deployment.parameter_schema, deployment.parameter_defaults)
    return {
        "may_run": may_run,
        "may_run_quickly": is_quick,
        "may_switch": manage.allowed and askable,
        "why_no_run": "" if trigger.allowed else trigger.sentence,
        "submission_key": uuid.uuid4(),
    }


def workers(pool: WorkPool | None) -> list[Worker]:
    found = pool.workers if pool else []
    return [
        Worker(
            worker["name"],
            bool(worker["is_online"]),
            datetime.fromisoformat(worker["last_heartbeat"]) if worker["last_heartbeat"] else None,
        )
        for worker in sorted(found, key=lambda worker: (not worker["is_online"], worker["name"]))
    ]


def job_variables(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, text_of(without_secrets(name, value))) for name, value in sorted(values.items())]


def without_secrets(name: str, value: Any) -> Any:
    """A copy without what may be secret: the values of the process environment, and whatever its name gives away."""
    if isinstance(value, dict):
        if name == "env" or SECRET_NAMES.search(name):
            return dict.fromkeys(value, MASK)
        return {key: without_secrets(key, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(name, inner) for inner in value]
    return MASK if value not in (None, "") and SECRET_NAMES.search(name) else value


def figures(runs: QuerySet[Run]) -> Figures:
    found = statistics.reliability(runs)
    rate = found.success_rate
    return Figures(
        found.days,
        "-" if rate is None else f"{rate:.0%}",
        "grey" if rate is None else "green" if rate >= 0.95 else "amber" if rate >= 0.8 else "red",
        "-" if found.median_seconds is None else times.lasted(found.median_seconds),
        found.ended,
        found.failed,
    )


def who(deployment: Deployment) -> list[Grant]:
    """Each grant that bears on running it, once, prohibitions first: they win."""
    found = {grant.pk: grant for verb in NAMED_VERBS for grant, _ in who_may(verb, deployment)}
    return sorted(found.values(), key=lambda grant: (grant.effect == Grant.Effect.ALLOW, grant.subject.lower()))
