"""Context of the page of one run; everything is read from Postgres, nothing from Prefect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import prefetch_related_objects
from django.utils import timezone

from flows import canonical
from flows.models import Deployment
from flows.parameters.description import describe
from flows.plain_text import prose
from flows.wording import plain_number
from portal.admin.runs import actions, cancel_ladder, graph, headline, log, run_activity, task_groups, task_table
from portal.admin.runs.subflows import subflows_of
from portal.ui import artifact_view, freshness, palette
from runs import diagnosis, run_context
from runs.access.decisions import Permissions, Target
from runs.models import Approval, FailureGroup, Run, RunRequest, Verb
from runs.models.action import CANCELS, State
from runs.models.run import FAILED
from runs.requests import visibility
from runs.run_history import history_of

MOST_ARTIFACTS = 50
NO_PARAMETER = "not given"
# A cancellation that is settled without being confirmed did not stop the run.
SETTLED_LABELS: dict[str, str] = {State.DONE: "Stopped"}
ICONS = {"FAILED": "error", "CRASHED": "error", "CANCELLED": "info"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table of parameters; `usual` is the deployment's default as text."""

    name: str
    text: str
    is_long: bool
    usual: str = ""
    differs: bool = False


def context(run: Run, permissions: Permissions, query: Mapping[str, str], *, is_live: bool) -> dict[str, Any]:
    """Build the template context; select the environment, its health, the deployment and the request with `run`.

    `query` says which part of the log, the tasks and the graph is shown. `is_live` leaves the log out: the page fetches
    new lines by itself, after the last one that it has.
    """
    now = timezone.now()
    # A run that has finished or was deleted in Prefect cannot be cancelled, whatever the permissions.
    is_open = not run.is_over
    run_actions = list(run.actions.order_by("-requested_at"))
    cancellations = [each for each in run_actions if each.kind in CANCELS]
    run_request: RunRequest | None = getattr(run, "run_request", None)
    if run_request:
        prefetch_related_objects([run_request.change], "approvals")
    decision = permissions.decide(Verb.CANCEL, Target.of_run(run))
    sees_inputs, sees_logs = (
        visibility.can_view_parameters(permissions, run),
        visibility.can_view_logs(permissions, run),
    )
    groups = task_groups.groups_of(run)
    tasks = task_table.table(run, permissions, query, groups, has_notes=sees_logs)
    history = history_of(run, permissions, now, has_log=sees_logs)
    situation = run_context.context_of(run, now)
    sentence = diagnosis.explain(visibility.muted(run, permissions), situation)
    artifacts = [artifact_view.shown(each) for each in run.artifacts.all()[:MOST_ARTIFACTS]] if sees_logs else []
    return {
        "run": run,
        "topics": f"run={run.pk}",
        "visited_key": f"{palette.RUN}-{run.pk}",
        "poll": 10 if run.is_over else 5,
        "icon": ICONS.get(run.state_type, "hourglass_empty"),
        "is_retried": run.run_count > 1,
        "took": headline.took(run),
        "compared": headline.compared(run, history, now),
        "sentence": sentence,
        "reason": headline.reason(run, history, sentence),
        "failure": failure_of(run, permissions),
        "origin": origin(run, run_request),
        "parent": visible_parent(run, permissions),
        "run_request": run_request,
        "approvals": list(run_request.change.approvals.all()) if run_request else list[Approval](),
        "cancellations": [(each, SETTLED_LABELS.get(each.state, "Closed")) for each in cancellations],
        **actions.cancelling(run, permissions, run_actions),
        **cancel_ladder.context(run, permissions, run_actions, situation.pool),
        "recoveries": [each for each in run_actions if each not in cancellations],
        **actions.recovering(run, permissions, run_actions),
        **actions.retrying(run, permissions, run_actions),
        "rerun_url": actions.rerun_url(run, run_request, permissions),
        "why_no_cancel": actions.explain_no_cancel(run, decision) if is_open and not decision.allowed else None,
        "Verb": Verb,
        "sees_inputs": sees_inputs,
        "sees_logs": sees_logs,
        "parameters": table(run.parameters, run.deployment) if sees_inputs else [],
        "activity": run_activity.entries(
            list(run.state_changes.all()), run_actions, run_request, has_messages=sees_logs
        ),
        "tasks": tasks,
        "graph": graph.graph(run, permissions, query, groups, tasks, now, links_to_log=sees_logs),
        "subflows": subflows_of(run, permissions),
        "failed_tasks": sum(groups.by_state().get(each, 0) for each in ("FAILED", "CRASHED")),
        "log": None if is_live or not sees_logs else log.window(run, log.Filter.of(query), log.Place.of(query)),
        "artifacts": artifacts,
        "freshness": [freshness.freshness_of([run.environment], "runs")[0]],
    }


def failure_of(run: Run, permissions: Permissions) -> FailureGroup | None:
    """Return the failure group of a run that is failed now, if the reader can see it."""
    if run.state_type not in FAILED:
        return None
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    groups = FailureGroup.objects.select_related("owner").defer("message")
    return groups.filter(visible, failed_runs__run=run).first()


def origin(run: Run, run_request: RunRequest | None) -> str:
    """Name who or what started the run."""
    if run_request:
        return run_request.change.requester
    if run.parent_id:
        return "Another run"
    return "Schedule" if run.is_auto_scheduled else "Prefect (external)"


def visible_parent(run: Run, permissions: Permissions) -> Run | None:
    """Return the run that this one is part of, if the reader can see it: a subflow may have a deployment of its own."""
    parent = run.parent
    return parent if parent and permissions.decide(Verb.SEE, Target.of_run(parent)) else None


def table(values: Mapping[str, Any], deployment: Deployment | None, *, compares: bool = False) -> list[Parameter]:
    """Format parameters as text, in the order of the flow's signature; `compares` marks those not at their default."""
    known = describe(deployment.parameter_schema, deployment.parameter_defaults) if deployment else []
    usual = {each.name: each.default for each in known if each.has_default}
    # Prefect has filled these in since: words and a value cannot be compared.
    filled_in = {each.name for each in known if each.source}
    names = [*(each.name for each in known if compares or each.name in values), *values]
    return [
        Parameter(
            name,
            text := pretty(values[name]) if name in values else NO_PARAMETER,
            is_long="\n" in text or len(text) > 80,
            usual=pretty(usual[name]) if name in usual else "",
            differs=compares
            and name in usual.keys() - filled_in
            and not (name in values and canonical.same(usual[name], values[name])),
        )
        for name in dict.fromkeys(names)
    ]


def pretty(value: Any) -> str:
    """Return text, a whole number without “.0”, and everything else as indented JSON, cleaned for display."""
    return prose(value if isinstance(value, str) else json.dumps(plain_number(value), indent=2, ensure_ascii=False))
