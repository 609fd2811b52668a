"""Freeze and unfreeze environments: the only code that writes `Freeze`."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, models, transaction
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit, events, moments, queue
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate, pausing
from runs.governance.loosening import loosened
from runs.governance.requirements import requirements_for
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import ChangeRequest, Freeze, RunEvent, Verb


def freeze(
    environment: Environment, *, by: Actor, reason: str, ticket: str = "", until: datetime | None = None
) -> Freeze:
    """Freeze an environment until it is unfrozen, or until a moment; requires `manage` for all of it.

    No run starts meanwhile. Schedules in Prefect are paused.
    """
    # In another transaction: each act locks the end of the audit trail last, and holds it until its commit.
    end_expired(environment)
    with audit.act("environment.freeze", environment, by=by, reason=reason, ticket=ticket) as act:
        act.environment = environment.slug
        # 1. Permission, then what a freeze requires.
        require(by, Verb.MANAGE, Target.whole(environment))
        if not reason.strip():
            raise Refused(
                "freeze.reason_required", "Give a reason for the freeze. It is shown to everyone whose run is held."
            )
        requirements_for(Target.whole(environment)).require_reason_and_ticket("freeze", reason=reason, ticket=ticket)
        require_fit(Freeze, reason=reason.strip(), ticket=ticket.strip())
        until = moments.in_utc(until) if until else None
        if until and until <= timezone.now():
            raise Refused("freeze.past", "The end of the freeze is in the past.")
        # 2. A constraint, not a query before it, decides which of two concurrent freezes is stored.
        row = Freeze(environment=environment, reason=sanitize(reason.strip()), until=until)
        row.ticket = sanitize(ticket.strip())
        row.begun_by, row.begun_by_name = by.user, by.name
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError as error:
            raise Refused("freeze.already", f"{environment} is already frozen.") from error
        # 3. Prefect's schedules, and who is notified.
        act.after = {"until": until, "ticket": ticket, "schedules_held": pausing.pause_for_freeze(row)}
        facts = {"by": by.name, "reason": row.reason, "until": until}
        events.record(RunEvent.Kind.FREEZE_STARTED, environment=environment, data=facts)
        return row


def unfreeze(
    environment: Environment,
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """End the freeze of an environment; held runs are launched and paused schedules resumed.

    `confirm` is the typed name of a protected environment: it then waits as the change request that is returned, until
    it is approved and comes again as `signed`.
    """
    with audit.act("environment.unfreeze", environment, by=by, reason=reason, ticket=ticket) as act:
        act.environment = environment.slug
        require(by, Verb.MANAGE, Target.whole(environment))
        requirements_for(Target.whole(environment)).require_reason_and_ticket(
            "end of a freeze", reason=reason, ticket=ticket
        )
        row = freeze_of(environment)
        found = loosened(row, None) if row else []
        if row and (waiting := pass_or_submit(found, act, propose_end(row), confirm=confirm, signed=signed)):
            return waiting
        if row is None or not lift(row, timezone.now(), by.name):
            raise Refused("freeze.none", f"{environment} is not frozen.")
        act.after = {"schedules_released": pausing.resume_after_freeze(row, by_name=by.name)}
        loosening_gate.record_and_notify(found, act, signed)
        queue.enqueue("runs.tasks.recheck", environment.pk)
        events.record(RunEvent.Kind.FREEZE_ENDED, environment=environment, data={"by": by.name})
    return None


def propose_end(row: Freeze) -> Proposal:
    """Return a freeze before and after its end."""
    until = row.until.isoformat() if row.until else None
    return Proposal(
        # Of the freeze: another one of the same environment is another row.
        subject_id=str(row.pk),
        subject_name=f"freeze of {row.environment}",
        before={"reason": row.reason, "until": until, "begun_by": row.begun_by_name},
        after={},
    )


def end_expired(*environments: Environment) -> None:
    """End the freezes whose time is over, in these environments or everywhere."""
    over = Freeze.objects.filter(lifted_at=None, until__lte=timezone.now()).select_related("environment")
    for row in over.filter(environment__in=environments) if environments else over:
        with audit.act("environment.unfreeze", row.environment, by=Actor.system()) as act:
            act.environment = row.environment.slug
            # Of two concurrent calls the second changes nothing, and records nothing.
            act.is_repeat = not lift(row, row.until, act.by.name)
            if not act.is_repeat:
                act.after = {"schedules_released": pausing.resume_after_freeze(row, by_name=act.by.name)}
                queue.enqueue("runs.tasks.recheck", row.environment_id)


def pause_frozen_schedules() -> None:
    """End expired freezes, and pause schedules that were added or resumed during a freeze. Runs every minute."""
    end_expired()
    for row in Freeze.objects.filter(lifted_at=None):
        pausing.pause_for_freeze(row)


def lift(row: Freeze, at: datetime | None, by_name: str) -> int:
    """Mark a freeze as ended; return 0 if it already was."""
    return Freeze.objects.filter(pk=row.pk, lifted_at=None).update(lifted_at=at, lifted_by_name=by_name)


def require_fit(model: type[models.Model], **texts: str) -> None:
    """Refuse texts longer than their columns; Postgres would raise an error without a sentence."""
    for name, text in texts.items():
        longest = getattr(model._meta.get_field(name), "max_length", None)
        if longest and len(text) > longest:
            raise Refused(
                "text.too_long",
                f"The {name} is too long: {len(text)} characters, at most {longest}.",
                field=name,
                limit=longest,
            )


def frozen_now(*environments: Environment) -> models.QuerySet[Freeze]:
    """Return the active freezes of these environments."""
    # By time too: an expired one stays unlifted for up to a minute, until the periodic task ends it.
    in_time = models.Q(until=None) | models.Q(until__gt=timezone.now())
    return Freeze.objects.filter(in_time, environment__in=environments, lifted_at=None)


def freeze_of(environment: Environment) -> Freeze | None:
    """Return the active freeze of an environment, or None."""
    return frozen_now(environment).first()
