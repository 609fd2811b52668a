"""Submit a backfill: one change request for the items of a plan."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User

from flows import canonical
from flows.models import Deployment
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.models import ChangeRequest
from runs.requests.backfill_plan import Outcome, Plan, plan_backfill
from runs.requests.backfill_ranges import MOST_ITEMS
from runs.requests.spec import Spec
from runs.requests.submit import submit_change

OnFailure = ChangeRequest.OnFailure
# How many runs are open at a time unless the requester decides otherwise.
AT_ONCE = 5


def submit_backfill(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    vary: Mapping[str, str | Sequence[Any]],
    *,
    by: Actor,
    at_once: int = AT_ONCE,
    on_failure: OnFailure = OnFailure.STOP,
    skip_completed: bool = True,
    skip_open: bool = True,
    leave_out_refused: bool = False,
    displayed_plan: str = "",
    tags: Sequence[str] = (),
    profile: str = "",
    reason: str = "",
    ticket: str = "",
    on_behalf_of: User | None = None,
    overrides_windows: bool = False,
    confirmation: str = "",
    submission_key: uuid.UUID | None = None,
) -> ChangeRequest:
    """Plan the backfill again, and submit one change request for its items; the options are those of the plan.

    `displayed_plan` is the digest of the plan that the requester saw; blank for whatever it is now. `leave_out_refused`
    requests the others although some items are refused. Raises `Forbidden`, `flows.parameters.Invalid`, or `Refused`
    with code `backfill.…`.
    """
    with audit.act("request.submit", deployment, by=by, reason=reason, ticket=ticket) as act:
        require_pacing(at_once)
        skips = {"skip_completed": skip_completed, "skip_open": skip_open}
        plan = plan_backfill(deployment, parameters, vary, by=by, profile=profile, **skips)
        # The entry is that of the submission.
        act.is_repeat = True
        # After the plan, in which the items of an earlier submission are open requests.
        if submission_key and (stored := submitted_before(plan, submission_key, by)):
            return stored
        require_submittable_plan(plan, displayed_plan, leave_out_refused=leave_out_refused)
        return submit_change(
            [Spec(deployment, {**parameters, **item.varied}, tags=tags, profile=profile) for item in plan.to_run],
            by=by,
            kind=ChangeRequest.Kind.BACKFILL,
            reason=reason,
            ticket=ticket,
            on_behalf_of=on_behalf_of,
            overrides_windows=overrides_windows,
            submission_key=submission_key,
            confirmation=confirmation,
            at_once=at_once,
            on_failure=on_failure,
        )


def require_pacing(at_once: int) -> None:
    if not 1 <= at_once <= MOST_ITEMS:
        raise Refused("backfill.at_once", f"The number of runs at a time is 1 to {MOST_ITEMS}.", limit=MOST_ITEMS)


def require_submittable_plan(plan: Plan, displayed: str, *, leave_out_refused: bool) -> None:
    """Refuse a plan that is not the one displayed, has refused items that are not left out, or has nothing to run."""
    counts = plan.counts
    if displayed and displayed != plan.digest:
        raise Refused(
            "backfill.plan_changed",
            f"The plan has changed since it was displayed: it now has {counts[Outcome.RUN]} items to run. Review it "
            "again.",
            items=counts[Outcome.RUN],
        )
    if counts[Outcome.REFUSE] and not leave_out_refused:
        first = next(item for item in plan.items if item.outcome == Outcome.REFUSE)
        raise Refused(
            "backfill.refused_items",
            f"{counts[Outcome.REFUSE]} of {len(plan.items)} items are refused, the first of them item "
            f"{first.position + 1}: {first.why} Correct the values, or leave these items out.",
            items=counts[Outcome.REFUSE],
        )
    if not counts[Outcome.RUN]:
        raise Refused(
            "backfill.nothing", "Nothing is left to run: every item was skipped or refused. Change what is skipped."
        )


def submitted_before(plan: Plan, key: uuid.UUID, by: Actor) -> ChangeRequest | None:
    """Return the backfill that was submitted with the key, of items of this plan; refuse a key of anything else.

    Which items an earlier submission left out cannot be planned again: they may exist by now.
    """
    stored = ChangeRequest.objects.filter(submission_key=key).first()
    if stored is None:
        return None
    planned = {canonical.text(item.varied) for item in plan.items}
    specs = stored.specs.values_list("deployment", "parameters")
    fits = stored.kind == ChangeRequest.Kind.BACKFILL and all(
        pk == plan.deployment.pk and canonical.text({name: values.get(name) for name in plan.names}) in planned
        for pk, values in specs
    )
    if not fits or not by.is_same_person_as(stored.requested_by_id):
        raise Refused(
            "submission.reused",
            "This form was already submitted with other values. Open it again to request another backfill.",
        )
    return stored
