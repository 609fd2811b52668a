"""Context of the page of one run request; everything is read from Postgres, nothing from Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import prefetch_related_objects
from django.urls import reverse
from django.utils import timezone

from flows.wording import plural
from portal.admin.requests import account_changes, activity, definition_diff, launch_warnings, parameter_diff
from portal.admin.requests.allowed_actions import Actions
from portal.admin.run_form import rerun
from portal.admin.runs import actions, headline
from portal.ui import freshness, rule_labels, times
from portal.ui.profile_settings import settings_of
from runs import changes, diagnosis, requests, run_context
from runs.access.decisions import Permissions, Target, permissions_of_each, who_may
from runs.changes import queries
from runs.governance import windows
from runs.governance.requirements import requirements_for
from runs.models import BreakGlass, Grant, RunRequest, Verb
from runs.models.policy import Risk
from runs.models.request import State
from runs.requests import visibility

# Groups can have hundreds of members, and each is checked with `decide`.
MOST_MEMBERS = 20
# State -> sentence for the requester, used where the request has no message of its own.
MEANINGS: dict[str, str] = {
    State.HELD: "Needs approval by someone other than the requester.",
    State.APPROVED: "Queued. It is sent to Prefect shortly.",
    State.LAUNCHING: "Being sent to Prefect.",
    State.LAUNCHED: "Submitted; the run appears here shortly.",
    State.REJECTED: "Rejected. It will not run.",
    State.WITHDRAWN: "Cancelled before it was sent to Prefect. It will not run.",
    State.EXPIRED: "Expired without a decision. Submit a new request.",
}
ICONS: dict[str, str] = {
    State.HELD: "how_to_reg",
    State.REJECTED: "block",
    State.REFUSED: "block",
    State.FAILED: "error",
    State.LOST: "error",
    State.LAUNCHED: "hourglass_empty",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the approvals: the names of those who approved, and a range as long as what is missing."""

    title: str
    given: tuple[str, ...]
    missing: range
    is_now: bool
    sentence: str

    @property
    def tone(self) -> str:
        return "green" if not self.missing else "amber" if self.is_now else "grey"


@dataclass(frozen=True, slots=True)
class Approvers:
    """The names of people and groups who can approve now, and a sentence that says so."""

    names: list[str]
    sentence: str


def context(run_request: RunRequest, permissions: Permissions) -> dict[str, Any]:
    """Build the template context; select the environment, deployment and run with `run_request`."""
    now = timezone.now()
    prefetch_related_objects([run_request.change], "approvals")
    run, target = run_request.run, Target.of(run_request.deployment)
    is_unsent = run_request.state in (State.HELD, State.APPROVED)
    # A request for later is checked against the windows at its own time, not at the time of reading.
    standing = windows.standing(target, max(run_request.scheduled_for or now, now)) if is_unsent else None
    emergency = changes.emergency_override(run_request.change)
    requirements = requirements_for(target)
    allowed = Actions.of(run_request, permissions, standing, emergency)
    return {
        "run_request": run_request,
        "run": run,
        "profile": settings_of(run_request.spec.profile),
        "topics": f"request={run_request.pk}" + (f"&run={run.pk}" if run else ""),
        "poll": 10 if run_request.is_over else 5,
        "sentence": diagnosis.explain(visibility.muted(run, permissions), run_context.context_of(run, now))
        if run
        else sentence(run_request, emergency, can_approve=allowed.approve.is_allowed),
        "short_digest": run_request.change.digest[:12],
        "attempts": attempts(run_request, now),
        "icon": ICONS.get(run_request.state, "info"),
        "took": headline.took(run) if run else "",
        "risk": rule_labels.risk_badge(run_request.change.policy.get("risk", Risk.LOW)),
        "policies": run_request.change.policy.get("policies", []),
        "ticket_link": rule_labels.ticket_link(requirements, run_request.change.ticket),
        "standing": standing,
        "stages": stages(run_request),
        "account_changes": account_changes.changes_of_request(run_request, emergency),
        "definition": definition_diff.review(run_request),
        "moments": activity.moments(run_request, emergency),
        "is_destructive": requests.is_destructive(run_request.deployment, run_request.spec.parameters),
        "emergency": emergency,
        "warnings": launch_warnings.warnings(run_request, requirements),
        "actions": allowed,
        "minutes": (changes.MIN_OVERRIDE, changes.MAX_OVERRIDE),
        "approvers": approvers(run_request) if run_request.state == State.HELD else None,
        "Verb": Verb,
        "rerun_url": rerun.form_url(run_request, run_request.deployment, permissions),
        "here": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "freshness": freshness.freshness_of([run_request.environment], "runs"),
        **inputs(run_request, permissions),
        **(actions.cancelling(run, permissions, run.actions.all()) if run else {}),
    }


def inputs(run_request: RunRequest, permissions: Permissions) -> dict[str, Any]:
    """Compare the parameters with the defaults, the last successful run and the request that is repeated.

    Other runs and requests are compared only where the user can view their parameters.
    """
    if not visibility.can_view_parameters(permissions, run_request):
        return {"sees_inputs": False}
    deployment, earlier = run_request.deployment, run_request.spec.rerun_of
    # Approvers decide by the difference from the last run, so they see it without “see inputs”.
    sees_all = visibility.can_view_parameters(permissions, deployment) or visibility.can_decide(
        permissions, run_request
    )
    last = parameter_diff.last_success(deployment, before=run_request.launched_at, besides=run_request.run_id)
    if earlier and not (sees_all or visibility.can_view_parameters(permissions, earlier)):
        earlier = None
    against = parameter_diff.columns(deployment, last if sees_all else None, earlier)
    values, note = parameter_diff.masked_with_note(run_request)
    return {
        "sees_inputs": True,
        "against": against,
        "rows": parameter_diff.rows(values, deployment, against),
        "parameters_note": note,
    }


def stages(run_request: RunRequest) -> list[Stage]:
    steps = changes.steps(run_request.change)
    # Stages are decided in their order: the first that is incomplete is due.
    now = next((step.position for step in steps if not step.is_done), None)
    # Once overridden, rejected or expired, no stage is due although some are incomplete.
    is_waiting = run_request.state == State.HELD
    return [
        Stage(
            rule_labels.group_label(step.group).capitalize() if not step.group else step.group,
            step.given,
            range(step.left),
            is_waiting and step.position == now,
            stage_sentence(step),
        )
        for step in steps
    ]


def stage_sentence(step: changes.Step) -> str:
    names = f": {', '.join(step.given)}" if step.given else ""
    return f"{len(step.given)} of {step.needed} approvals{names}"


def sentence(run_request: RunRequest, emergency: BreakGlass | None = None, *, can_approve: bool = False) -> str:
    """Explain the state; once there is a run, its own explanation is shown instead."""
    # Until the first attempt the message only says who used the override, which has a banner of its own.
    is_repeated = emergency is not None and not run_request.attempts and emergency.by_name in run_request.message
    meaning = "Needs your approval." if can_approve else MEANINGS.get(run_request.state, "")
    return (run_request.message if not is_repeated else "") or meaning


def attempts(run_request: RunRequest, now: datetime) -> str:
    """Say how often the launch was tried and when it is tried next, while that is what it is waiting for."""
    # During a launch there is no message, and the time is only the end of its lease.
    next_at = run_request.next_attempt_at
    if run_request.is_over or not run_request.message or next_at is None:
        return ""
    when = f"next attempt in {times.span((next_at - now).total_seconds())}" if next_at > now else "next attempt due"
    return f"{plural(run_request.attempts, 'attempt')} so far; {when}."


def describe_progress(run_request: RunRequest) -> str:
    """Tell the approver what the approval led to."""
    waiting = next((step for step in changes.steps(run_request.change) if not step.is_done), None)
    if waiting is None:
        return "Approved. The run is being sent to Prefect."
    return f"Approved. {waiting.left} more needed from {rule_labels.group_label(waiting.group)}."


def approvers(run_request: RunRequest) -> Approvers:
    """Name who can approve now: the members of the stage's group, or else everyone with a grant."""
    group = queries.group_of(run_request.change)
    if group:
        others = User.objects.filter(is_active=True, groups__name=group).order_by("username")
        # Belonging to the group is not enough: each member also needs a grant to approve here.
        members = others.exclude(pk__in=[run_request.change.requested_by_id, run_request.change.on_behalf_of_id])
        found = [
            each.user.get_username()
            for each in permissions_of_each(members[:MOST_MEMBERS])
            if each.decide(Verb.APPROVE, run_request.deployment)
        ]
    else:
        grants = [grant for grant, _ in who_may(Verb.APPROVE, run_request.deployment)]
        # People and groups can have several grants; each is named once.
        found = list(dict.fromkeys(grant.subject for grant in grants if grant.effect == Grant.Effect.ALLOW))
    if found:
        return Approvers(found, f"Approvers: {', '.join(found)}.")
    where = f" in the group {group}" if group else ""
    return Approvers([], f"No one{where} can approve this. Ask an administrator to grant “{Verb.APPROVE.label}”.")


def status(run_request: RunRequest) -> dict[str, Any]:
    """Build the JSON of `status.json`: the states of the request and its run, for scripts that poll."""
    run = run_request.run
    return {
        "id": run_request.pk,
        "url": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "state": run_request.state,
        "label": run_request.state_label,
        "colour": run_request.state_colour,
        # Once there is a run, its state says more than the message of the request.
        "sentence": "" if run else sentence(run_request),
        "is_over": run_request.is_over,
        "run": run
        and {
            "id": run.pk,
            "prefect_id": str(run.prefect_id),
            "name": run.name,
            "url": reverse("admin:runs_run_change", args=[run.pk]),
            "state": run.state_type,
            "label": run.state_label,
            "colour": run.state_colour,
            "is_over": run.is_over,
        },
    }
