"""What the page of a request shows, put together from Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from portal.admin.requests import parameter_diff
from portal.admin.requests.allowed_actions import Actions
from portal.admin.run_form import rerun
from portal.admin.runs import actions, page
from portal.ui import freshness, rule_labels, times
from runs import changes, diagnosis
from runs.access.decisions import Permissions, Target, decide, who_may
from runs.changes import queries
from runs.governance import windows
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Approval, BreakGlass, Grant, RunRequest, Verb
from runs.models.policy import Risk
from runs.models.request import State
from runs.requests import visibility

# A group may have hundreds; the page names the first.
MOST_MEMBERS = 20
# State -> what it means for the requester, where the request has no message.
MEANINGS: dict[str, str] = {
    State.WAITING: "Somebody other than its requester has to approve it before it is sent to Prefect.",
    State.APPROVED: "It is queued and will be sent to Prefect in a moment.",
    State.LAUNCHING: "It is being sent to Prefect.",
    State.LAUNCHED: "Prefect has taken it; its run will be shown here in a moment.",
    State.REJECTED: "It was rejected and will not run.",
    State.WITHDRAWN: "It was taken back before it was sent, and will not run.",
    State.EXPIRED: "Nobody answered in time. It has to be asked for again.",
}
ICONS: dict[str, str] = {
    State.WAITING: "how_to_reg",
    State.REJECTED: "block",
    State.REFUSED: "block",
    State.FAILED: "error",
    State.LAUNCHED: "hourglass_empty",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of what happened to a request. `at` in the future is what will happen."""

    at: datetime
    what: str
    tone: str
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the approvals, as the picture shows it: who signed, and how many are missing."""

    title: str
    given: tuple[str, ...]
    missing: range
    is_now: bool
    sentence: str

    @property
    def tone(self) -> str:
        return "green" if not self.missing else "amber" if self.is_now else "grey"


def context(run_request: RunRequest, permissions: Permissions) -> dict[str, Any]:
    """Everything the template needs; `run_request` comes with its environment, deployment and run."""
    now = timezone.now()
    run, target = run_request.run, Target.of(run_request.deployment)
    is_ahead = run_request.state in (State.WAITING, State.APPROVED)
    standing = windows.standing(target, max(run_request.scheduled_for or now, now)) if is_ahead else None
    glass = BreakGlass.objects.filter(run_request=run_request).first()
    rules = requirements_for(target)
    doors = Actions.of(run_request, permissions, standing, glass)
    return {
        "run_request": run_request,
        "run": run,
        "topics": f"request={run_request.pk}" + (f"&run={run.pk}" if run else ""),
        "poll": 10 if run_request.is_over else 5,
        "sentence": diagnosis.explain(visibility.muted(run, permissions), page.scene(run, now))
        if run
        else sentence(run_request, glass),
        "digest": run_request.digest[:12],
        "attempts": attempts(run_request, now),
        "icon": ICONS.get(run_request.state, "info"),
        "took": page.took(run) if run else "",
        "risk": rule_labels.risk_badge(run_request.policy.get("risk", Risk.LOW)),
        "policies": run_request.policy.get("policies", []),
        "ticket_link": rule_labels.ticket_link(rules, run_request.ticket),
        "standing": standing,
        "stages": stages(run_request),
        "moments": moments(run_request, glass),
        "glass": glass,
        "warnings": warnings(run_request, rules),
        "doors": doors,
        "minutes": (changes.MIN_OVERRIDE, changes.MAX_OVERRIDE),
        "answerers": answerers(run_request) if run_request.state == State.WAITING else "",
        "again": rerun.address(run_request, run_request.deployment, permissions),
        "here": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "freshness": freshness.freshness_of([run_request.environment], "runs"),
        **inputs(run_request, permissions),
        **(actions.cancelling(run, permissions, run.cancellations.all()) if run else {}),
    }


def inputs(run_request: RunRequest, permissions: Permissions) -> dict[str, Any]:
    """What it runs with, beside what is usual; of other runs only what the reader may see of them."""
    if not visibility.can_view_parameters(permissions, run_request):
        return {"sees_inputs": False}
    deployment, earlier = run_request.deployment, run_request.rerun_of
    # Approvers also see the difference from the last run.
    sees_all = visibility.can_view_parameters(permissions, deployment) or visibility.can_decide(
        permissions, run_request
    )
    last = parameter_diff.last_success(deployment, before=run_request.launched_at, besides=run_request.run_id)
    if earlier and not (sees_all or visibility.can_view_parameters(permissions, earlier)):
        earlier = None
    against = parameter_diff.columns(deployment, last if sees_all else None, earlier)
    shown, note = parameter_diff.shown(run_request)
    return {
        "sees_inputs": True,
        "against": against,
        "rows": parameter_diff.rows(shown, deployment, against),
        "parameters_note": note,
    }


def stages(run_request: RunRequest) -> list[Stage]:
    steps = changes.steps(run_request)
    now = next((step.position for step in steps if not step.is_done), None)
    # What somebody went around, rejected or let expire waits for nobody.
    is_waiting = run_request.state == State.WAITING
    return [
        Stage(
            rule_labels.group_label(step.group).capitalize() if not step.group else step.group,
            step.given,
            range(step.left),
            is_waiting and step.position == now,
            stage_sentence(step, is_waiting and step.position == now),
        )
        for step in steps
    ]


def stage_sentence(step: changes.Step, is_now: bool) -> str:
    """The picture in words."""
    signed = f"{len(step.given)} of {step.needed} approved"
    names = f": {', '.join(step.given)}" if step.given else ""
    left = f". It waits for {step.left} more now" if is_now else f". {step.left} missing" if step.left else ""
    return f"{signed}{names}{left}."


def sentence(run_request: RunRequest, glass: BreakGlass | None = None) -> str:
    """Why it is where it is; once there is a run, that says more. That the glass was broken is said apart."""
    is_said = glass is not None and run_request.message == f"{glass.by_name} broke the glass."
    return (run_request.message if not is_said else "") or MEANINGS.get(run_request.state, "")


def attempts(run_request: RunRequest, now: datetime) -> str:
    """How often it was tried and when it is tried next, while that is what it waits for."""
    next_at = run_request.next_attempt_at
    if run_request.is_over or not run_request.message or next_at is None:
        return ""
    when = (
        f"the next one comes in {times.span((next_at - now).total_seconds())}" if next_at > now else "the next is due"
    )
    return f"{run_request.attempts} attempt{'' if run_request.attempts == 1 else 's'} so far; {when}."


def what_is_left(run_request: RunRequest) -> str:
    """What an approval led to, for the person who gave it."""
    waiting = next((step for step in changes.steps(run_request) if not step.is_done), None)
    if waiting is None:
        return "Approved: it is on its way to Prefect."
    return f"Approved. It waits for {waiting.left} more of {rule_labels.group_label(waiting.group)} now."


def moments(run_request: RunRequest, glass: BreakGlass | None) -> list[Moment]:
    """What happened, newest first."""
    run = run_request.run
    behalf = f" on behalf of {run_request.on_behalf_of_name}" if run_request.on_behalf_of_name else ""
    who = f"{run_request.requested_by_name}{behalf}"
    found = [Moment(run_request.requested_at, "Asked for", "blue", who, run_request.reason)]
    found += [answered(each, run_request) for each in run_request.approvals.all()]
    found += [Moment(each.at, "Commented", "grey", each.by_name, each.text) for each in run_request.comments.all()]
    found += around(run_request, glass)
    if run_request.launched_at:
        attempts = f"At the {ordinal(run_request.attempts)} attempt" if run_request.attempts > 1 else ""
        found.append(Moment(run_request.launched_at, "Sent to Prefect", "blue", note=attempts))
    if run and run.started_at:
        found.append(Moment(run.started_at, "Run started", "blue"))
    if run and run.ended_at:
        found.append(Moment(run.ended_at, f"Run ended: {run.state_label}", run.state_colour))
    if run_request.state in (State.WITHDRAWN, State.EXPIRED, State.REFUSED):
        found.append(Moment(run_request.changed_at, run_request.state_label, run_request.state_colour))
    if run_request.state == State.WAITING and run_request.expires_at:
        found.append(Moment(run_request.expires_at, "Expires, if nobody answers", "grey"))
    return sorted(found, key=lambda each: each.at, reverse=True)


def answered(answer: Approval, run_request: RunRequest) -> Moment:
    if not answer.approved:
        return Moment(answer.at, "Rejected", "red", answer.by_name, answer.reason)
    stages = run_request.policy.get("stages", [])
    group = stages[answer.stage]["group"] if answer.stage < len(stages) else ""
    what = f"Approved as {group}" if group else "Approved"
    return Moment(answer.at, what, "green", answer.by_name, answer.reason)


def around(run_request: RunRequest, glass: BreakGlass | None) -> list[Moment]:
    """What went around the rules."""
    found = []
    if run_request.overridden_at:
        what = "Let go in spite of a window or freeze"
        found.append(Moment(run_request.overridden_at, what, "amber", run_request.overridden_by_name))
    if glass:
        found.append(Moment(glass.at, "Used emergency override", "red", glass.by_name, glass.reason))
    if glass and glass.reviewed_at:
        what, tone = ("Reviewed: it was right", "green") if glass.was_right else ("Reviewed: it was not right", "red")
        found.append(Moment(glass.reviewed_at, what, tone, glass.reviewed_by_name, glass.review))
    return found


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def warnings(run_request: RunRequest, rules: Requirements) -> list[str]:
    """What will be refused at launch although the request looks fine; said before somebody approves it."""
    if run_request.state not in (State.WAITING, State.APPROVED):
        return []
    deployment, planned = run_request.deployment, run_request.scheduled_for
    asked, deployed = run_request.deployment_version or "none", deployment.version or "none"
    table = [
        (
            deployment.deleted_upstream_at is not None,
            f"{deployment} is no longer deployed in {run_request.environment}. It would be refused at launch.",
        ),
        (
            deployment.schema_fingerprint != run_request.schema_fingerprint,
            "The parameters of the deployment changed after the request. It would be refused at launch.",
        ),
        (
            run_request.needs_approval and asked != deployed,
            f"It was asked for with version {asked}; deployed is {deployed}. It would be refused at launch.",
        ),
        (
            bool(rules.stages) and list(rules.stages) != run_request.policy.get("stages", list(rules.stages)),
            f"It now takes {rule_labels.approvals_label(rules.stages)}, and was asked for when it took "
            f"{rule_labels.approvals_label(run_request.policy.get('stages', []))}. It would be refused at launch.",
        ),
        (
            planned is not None and planned < timezone.now(),
            "The time it was planned for has passed: it would start at once.",
        ),
    ]
    return [text for applies, text in table if applies]


def answerers(run_request: RunRequest) -> str:
    """Whose answer it waits for: the people and groups whose grants allow one, in a stage of a group its members."""
    group = queries.group_of(run_request)
    if group:
        others = User.objects.filter(is_active=True, groups__name=group).order_by("username")
        members = others.exclude(pk__in=[run_request.requested_by_id, run_request.on_behalf_of_id])[:MOST_MEMBERS]
        found = [each.username for each in members if decide(each, Verb.APPROVE, run_request.deployment)]
    else:
        grants = [grant for grant, _ in who_may(Verb.APPROVE, run_request.deployment)]
        found = list(dict.fromkeys(grant.subject for grant in grants if grant.effect == Grant.Effect.ALLOW))
    if found:
        return f"It can be answered by: {', '.join(found)}."
    whoever = f"in the group {group} " if group else ""
    return f"Nobody {whoever}may answer it: somebody has to be given a grant to approve it."


def status(run_request: RunRequest) -> dict[str, Any]:
    """Where a request and its run are, for programs and for a page that waits."""
    run = run_request.run
    return {
        "id": run_request.pk,
        "url": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "state": run_request.state,
        "label": run_request.state_label,
        "colour": run_request.state_colour,
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
            "is_over": run.is_terminal,
        },
    }
