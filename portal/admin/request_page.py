"""What the page of a request shows, put together from Postgres."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from flows import parameters as schemas
from flows import vault
from flows.access import Decision, Holding, who_may
from flows.models import Grant, Verb
from portal import freshness, times
from portal.admin import run_page
from runs import lifecycle, reasons
from runs.models import RunRequest
from runs.models.request import State

# State -> what it means for whoever waits, when the request carries no message of its own.
MEANINGS: dict[str, str] = {
    State.WAITING: "Somebody other than its asker has to approve it before it is sent to Prefect.",
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
class Door:
    """Whether a button is shown, and if not, why not; an empty sentence says that there is nothing to explain."""

    is_open: bool
    why_not: str = ""


def context(run_request: RunRequest, mine: Holding, user: User) -> dict[str, Any]:
    """Everything the template needs; `run_request` comes with its environment, deployment and run."""
    now = timezone.now()
    run = run_request.run
    answer, withdraw = may_answer(run_request, mine, user), may_withdraw(run_request, mine, user)
    cancel = mine.decide(Verb.CANCEL, lifecycle.target_of(run)) if run and not run.is_terminal else None
    is_cancelling = run is not None and run.cancellations.filter(state__in=["wanted", "sent"]).exists()
    shown, note = shown_parameters(run_request)
    return {
        "run_request": run_request,
        "run": run,
        "topics": f"request={run_request.pk}" + (f"&run={run.pk}" if run else ""),
        "poll": 10 if run_request.is_over else 5,
        "sentence": reasons.why(run, run_page.scene(run, now)) if run else sentence(run_request),
        "digest": run_request.digest[:12],
        "attempts": attempts(run_request, now),
        "icon": ICONS.get(run_request.state, "info"),
        "took": run_page.took(run) if run else "",
        "moments": moments(run_request),
        "parameters": run_page.table(shown, run_request.deployment, compares=True),
        "parameters_note": note,
        "compares": True,
        "warnings": warnings(run_request),
        "answer": answer,
        "withdraw": withdraw,
        "answerers": answerers(run_request) if run_request.state == State.WAITING else [],
        "may_cancel": bool(cancel) and not is_cancelling,
        "here": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "freshness": freshness.of([run_request.environment], "runs"),
    }


def sentence(run_request: RunRequest) -> str:
    """Why it is where it is; once there is a run, that says more."""
    return run_request.message or MEANINGS.get(run_request.state, "")


def attempts(run_request: RunRequest, now: datetime) -> str:
    """How often it was tried and when it is tried next, while that is what it waits for."""
    next_at = run_request.next_attempt_at
    if run_request.is_over or not run_request.message or next_at is None:
        return ""
    when = (
        f"the next one comes in {times.span((next_at - now).total_seconds())}" if next_at > now else "the next is due"
    )
    return f"{run_request.attempts} attempt{'' if run_request.attempts == 1 else 's'} so far; {when}."


def shown_parameters(run_request: RunRequest) -> tuple[dict[str, Any], str]:
    """The frozen parameters with the secret ones masked, and a sentence when those cannot be told."""
    if not run_request.sealed_parameters:
        return run_request.parameters, ""
    try:
        names = json.loads(vault.unseal(run_request.sealed_parameters))
    except vault.Sealed as error:
        return run_request.parameters, f"It has secret parameters too. {error}"
    return schemas.join(run_request.parameters, dict.fromkeys(names, schemas.MASK)), ""


def moments(run_request: RunRequest) -> list[Moment]:
    """What happened, newest first."""
    run = run_request.run
    found = [Moment(run_request.asked_at, "Asked for", "blue", run_request.asked_by_name, run_request.reason)]
    found += [
        Moment(each.at, *(("Approved", "green") if each.approved else ("Rejected", "red")), each.by_name, each.reason)
        for each in run_request.approvals.all()
    ]
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


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def warnings(run_request: RunRequest) -> list[str]:
    """What will be refused at launch although the request looks fine; said before somebody approves it."""
    if run_request.state not in (State.WAITING, State.APPROVED):
        return []
    deployment, planned = run_request.deployment, run_request.scheduled_for
    asked, deployed = run_request.deployment_version or "none", deployment.version or "none"
    table = [
        (
            deployment.gone_at is not None,
            f"{deployment} is no longer deployed in {run_request.environment}. It would be refused at launch.",
        ),
        (
            deployment.schema_fingerprint != run_request.schema_fingerprint,
            "The parameters of the deployment changed after this was asked for. It would be refused at launch.",
        ),
        (
            run_request.needs_approval and asked != deployed,
            f"It was asked for with version {asked}; deployed is {deployed}. It would be refused at launch.",
        ),
        (
            planned is not None and planned < timezone.now(),
            "The time it was planned for has passed: it would start at once.",
        ),
    ]
    return [text for applies, text in table if applies]


def may_answer(run_request: RunRequest, mine: Holding, user: User) -> Door:
    if run_request.state != State.WAITING or run_request.asked_by_id == user.pk:
        return Door(False)
    if run_request.expires_at and run_request.expires_at <= timezone.now():
        return Door(False, "Nobody answered in time. It has to be asked for again.")
    return door(mine.decide(Verb.APPROVE, run_request.deployment, run_request.parameters))


def may_withdraw(run_request: RunRequest, mine: Holding, user: User) -> Door:
    if run_request.state not in lifecycle.COMES_FROM[State.WITHDRAWN]:
        return Door(False)
    if run_request.asked_by_id == user.pk:
        return Door(True)
    # Who did not ask and may not cancel expects no such button.
    return Door(mine.decide(Verb.CANCEL, run_request.deployment).allowed)


def door(decision: Decision) -> Door:
    return Door(decision.allowed, "" if decision.allowed else decision.sentence)


def answerers(run_request: RunRequest) -> list[str]:
    """The people and groups whose grants allow an answer."""
    found = [grant for grant, _ in who_may(Verb.APPROVE, run_request.deployment)]
    return list(dict.fromkeys(grant.subject for grant in found if grant.effect == Grant.Effect.ALLOW))


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
