"""Submit a change request for one run or several, and repeat one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows import definition, deployments
from flows.models import Deployment
from runs import audit, events, moments, queue
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.digests import change_digest
from runs.errors import Refused
from runs.governance.agents import require_within_budget
from runs.governance.independence import Involved
from runs.governance.requirements import Requirements, requirements_for, with_approval, with_person
from runs.models import ChainRun, ChangeRequest, RunEvent, RunRequest, RunSpec, Schedule, Verb
from runs.models.request import State
from runs.requests import profile_rules
from runs.requests.destructive import is_destructive, require_name_typed
from runs.requests.frozen_values import contents_digest, values_of
from runs.requests.offered_values import require_offered
from runs.requests.rules import is_later, require_future, require_start_window, validate_text
from runs.requests.spec import Frozen, Spec, freeze, require_possible, verb_for

# Kind of change request -> the verb that it needs beside the one for its runs.
ALSO_NEEDED = {ChangeRequest.Kind.BACKFILL: Verb.BACKFILL, ChangeRequest.Kind.SCHEDULE: Verb.SCHEDULE}


def submit(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    *,
    by: Actor,
    tags: Sequence[str] = (),
    run_name: str = "",
    rerun_of: RunRequest | None = None,
    retries: int = 0,
    profile: str = "",
    form_fingerprint: str = "",
    **options: Any,
) -> RunRequest:
    """Submit a change request for one run and return its run request; the options are those of `submit_change`."""
    spec = Spec(
        deployment,
        parameters,
        tags=tags,
        run_name=run_name,
        rerun_of=rerun_of,
        retries=retries,
        profile=profile,
        form_fingerprint=form_fingerprint,
    )
    return submit_change([spec], by=by, **options).run_request


def submit_change(
    specs: Sequence[Spec],
    *,
    by: Actor,
    kind: ChangeRequest.Kind = ChangeRequest.Kind.RUN,
    scheduled_for: datetime | None = None,
    reason: str = "",
    ticket: str = "",
    on_behalf_of: User | None = None,
    overrides_windows: bool = False,
    submission_key: uuid.UUID | None = None,
    confirmation: str = "",
    at_once: int | None = None,
    on_failure: ChangeRequest.OnFailure | None = None,
    schedule: Mapping[str, Any] | None = None,
    chain_run: ChainRun | None = None,
    occurrence_of: Schedule | None = None,
    decide_before: datetime | None = None,
) -> ChangeRequest:
    """Submit a change request; its runs are queued for launch, or wait for approval.

    The specs are of one environment. Those of a run or a backfill start once each, at `scheduled_for` or now; the
    occurrences of a schedule or a chain come later, by `add_occurrence`; a retry has none. The same `submission_key`
    again returns the same change request. `on_behalf_of` is the person the requester acts for. `overrides_windows`
    starts outside change windows and during a freeze, for requesters with that permission. `confirmation` is the typed
    name of the deployment, for a run that deletes data. `at_once` is the number of runs that may be open at a time;
    None is no limit. `on_failure` is what a backfill does when one of its runs fails, `schedule` when those of a
    schedule are due. `chain_run` is the unsaved row of a chain, whose specs are its steps. `occurrence_of` is the
    schedule of which this is one run: it needs an approval whatever the rules ask, in time before `decide_before`.
    Raises `Forbidden`, `Refused`, or `flows.parameters.Invalid` with every error at once.
    """
    key = submission_key or uuid.uuid4()
    # A service account acts for its owner, who therefore cannot approve it either.
    acts_for_another = by.owner is not None and on_behalf_of is not None and on_behalf_of.pk != by.owner.pk
    on_behalf_of = by.owner or on_behalf_of
    if on_behalf_of and not by.agent and not by.is_same_person_as(on_behalf_of.pk):
        by = replace(by, on_behalf_of=on_behalf_of.get_username())
    with audit.act("request.submit", specs[0].deployment, by=by, reason=reason, ticket=ticket) as act:
        if acts_for_another:
            raise Refused("service_account.on_behalf", f"{by.name} is a service account: it acts for its owner only.")
        # 1. The deployments are read again: the caller's may be minutes old. Then which verbs are needed.
        if scheduled_for:
            scheduled_for = moments.in_utc(scheduled_for)
        specs = reread(specs)
        permissions = Permissions.of(by)
        # That a schedule starts later is another permission, which the clock has asked for.
        starts_at = None if occurrence_of else scheduled_for
        verbs = [verb_for(spec, starts_at, permissions, by) for spec in specs]
        # 2. What does not depend on the values, permission first: without it nothing else is revealed.
        for spec, verb in zip(specs, verbs, strict=True):
            permissions.require(verb, spec.deployment)
            if kind in ALSO_NEEDED:
                permissions.require(ALSO_NEEDED[kind], spec.deployment)
        requirements = requirements_for(*map(Target.of, deployments_of(specs)))
        if kind == ChangeRequest.Kind.RETRY:
            # It is a change request only because its first start was approved: so is this one, whatever rules say now.
            requirements = with_approval(requirements)
        elif occurrence_of:
            requirements = with_approval(requirements)
        elif by.agent:
            requirements = with_person(requirements, specs[0].deployment.environment)
        for spec in specs:
            require_possible(spec, scheduled_for)
        require_future(scheduled_for)
        requirements.require_reason_and_ticket("run", reason=reason, ticket=ticket)
        profiles = profile_rules.chosen(specs, by)
        for spec in {(spec.deployment.pk, spec.profile): spec for spec in specs}.values():
            profile = profiles.get((spec.deployment.pk, spec.profile), {})
            found = definition.with_profile(spec.deployment.definition, profile)
            requirements.require_pinned(str(spec.deployment), found)
        validate_text(reason, ticket)
        # 3. The values, and the permission for exactly these.
        frozen = [
            freeze(
                spec,
                verb,
                permissions,
                position=position,
                profile=profiles.get((spec.deployment.pk, spec.profile)),
            )
            for position, (spec, verb) in enumerate(zip(specs, verbs, strict=True))
        ]
        for each in frozen:
            if kind == ChangeRequest.Kind.BACKFILL:
                permissions.require(Verb.BACKFILL, each.row.deployment, each.values)
        # Until a later start, or by the steps before, the data can arrive: the launch decides.
        if not is_later(scheduled_for) and kind != ChangeRequest.Kind.CHAIN:
            require_offered((each.row.deployment, each.values) for each in frozen)
        # 4. The rows, with everything that an approval is for.
        environment = specs[0].deployment.environment
        change = ChangeRequest(
            kind=kind,
            submission_key=key,
            environment=environment,
            environment_name=environment.slug,
            requested_by=by.user,
            requested_by_name=by.name,
            on_behalf_of=on_behalf_of,
            on_behalf_of_name=on_behalf_of.get_username() if on_behalf_of else "",
            agent=by.agent,
            occurrence_of=occurrence_of,
            channel=by.channel,
            reason=reason.strip(),
            ticket=ticket.strip(),
            needs_approval=bool(requirements.stages),
            approvals_needed=requirements.approvals_needed,
            policy=policy_of(kind, requirements),
            pacing={
                name: value
                for name, value in (("at_once", at_once), ("on_failure", on_failure), ("schedule", schedule))
                if value
            },
            state=ChangeRequest.State.WAITING if requirements.stages else ChangeRequest.State.APPROVED,
        )
        if requirements.stages:
            expires_at = timezone.now() + timedelta(minutes=requirements.minutes)
            change.expires_at = min(expires_at, decide_before or expires_at)
        starts = first_occurrences(change, [each.row for each in frozen], scheduled_for)
        seal(change, [each.row for each in frozen], starts, chain_run)
        for run_request in starts:
            require_start_window(run_request, requirements, permissions, overrides=overrides_windows)
        for each in frozen:
            require_name_typed(each.row.deployment, each.values, confirmation)
        # 5. Insert them, or find what the same form made.
        stored, is_new = insert_once(change, [each.row for each in frozen], starts, chain_run)
        act.subject = stored.subject
        if not is_new:
            # The same key with other content is not a double click.
            if stored.digest != change.digest or not by.is_same_person_as(stored.requested_by_id):
                raise Refused(
                    "submission.reused",
                    "This form was already submitted with other values. Open it again to request another run.",
                )
            act.is_repeat = True
            return stored
        require_within_budget(by, is_run=True)
        # 6. The audit entry, without secret values; then what happens next, in the same transaction.
        act.after = describe(stored, frozen, starts, scheduled_for)
        if chain_run:
            act.after |= {"chain": chain_run.version.chain.name, "version": chain_run.version.number}
        follow_up(stored, starts, requirements)
        return stored


def reread(specs: Sequence[Spec]) -> list[Spec]:
    """Return the specs with their deployments as they are now; raises `Refused` for those of several environments."""
    keys = {spec.deployment.pk for spec in specs}
    now = Deployment.objects.order_by().select_related("environment__server").in_bulk(keys)
    if len({deployment.environment_id for deployment in now.values()}) > 1:
        raise Refused("change.environments", "The runs are of several environments. Submit a request for each of them.")
    return [replace(spec, deployment=now[spec.deployment.pk]) for spec in specs]


def policy_of(kind: ChangeRequest.Kind, requirements: Requirements) -> dict[str, Any]:
    """Return the requirements that a change request stores; of a schedule also whether each of its runs is approved."""
    is_each = kind == ChangeRequest.Kind.SCHEDULE and requirements.approve_each_run
    return requirements.frozen() | ({"each_run": True} if is_each else {})


def deployments_of(specs: Sequence[Spec]) -> list[Deployment]:
    """Return their deployments, each once."""
    return list({spec.deployment.pk: spec.deployment for spec in specs}.values())


def first_occurrences(
    change: ChangeRequest, rows: Sequence[RunSpec], scheduled_for: datetime | None
) -> list[RunRequest]:
    """Return the unsaved run requests of a run or backfill, one for each spec; a schedule or chain has none yet."""
    if change.kind not in ChangeRequest.FIXED:
        return []
    # A backfill is released as its pacing allows: `runs.changes.release`.
    is_queued = change.state == ChangeRequest.State.APPROVED and not change.pacing
    return [
        RunRequest(
            change=change,
            spec=row,
            environment=change.environment,
            deployment=row.deployment,
            scheduled_for=scheduled_for,
            state=State.APPROVED if is_queued else State.HELD,
        )
        for row in rows
    ]


def seal(
    change: ChangeRequest, rows: Sequence[RunSpec], starts: Sequence[RunRequest], chain_run: ChainRun | None
) -> None:
    """Set the digest of the change request, and sign it and everything in it."""
    change.contents = contents_digest(rows, starts, chain_run)
    change.digest = change_digest(change)
    change.signature = signatures.sign(change)
    for row in rows:
        row.change = change
        row.signature = signatures.sign(row)
    for run_request in starts:
        run_request.signature = signatures.sign(run_request)


def insert_once(
    change: ChangeRequest, rows: Sequence[RunSpec], starts: Sequence[RunRequest], chain_run: ChainRun | None
) -> tuple[ChangeRequest, bool]:
    """Insert the change request and all in it, or return the one of the same form, and whether it is new."""
    # The unique key decides, not a query before it: a double click sends both at once.
    try:
        with transaction.atomic():
            change.save(force_insert=True)
    except IntegrityError:
        return ChangeRequest.objects.get(submission_key=change.submission_key), False
    # The objects hold the unsaved change request and specs: a foreign key is copied when it is assigned.
    for row in rows:
        row.change = change
    RunSpec.objects.bulk_create(rows)
    if chain_run:
        chain_run.change = change
        chain_run.save(force_insert=True)
    for run_request, row in zip(starts, rows, strict=False):
        run_request.change, run_request.spec = change, row
    if change.kind == ChangeRequest.Kind.RUN:
        # One number for both: people speak of request 17.
        starts[0].pk = change.pk
        change.run_request = starts[0]
    RunRequest.objects.bulk_create(starts)
    return change, True


def describe(
    change: ChangeRequest,
    frozen: Sequence[Frozen],
    starts: Sequence[RunRequest],
    scheduled_for: datetime | None,
) -> dict[str, Any]:
    """Return what the audit entry says of a new change request; of several runs, what they have in common."""
    if change.kind == ChangeRequest.Kind.RUN:
        contents: dict[str, Any] = {"parameters": frozen[0].masked, "definition": frozen[0].row.definition_fingerprint}
    else:
        contents = {"kind": change.kind, "specs": len(frozen), "pacing": change.pacing}
    grants = {grant.pk for each in frozen for grant in each.decision.grants}
    overridden = next((each.message for each in starts if each.overridden_at), "")
    profiles: Any = list(dict.fromkeys(each.row.profile_name for each in frozen if each.row.profile))
    if profiles and change.kind == ChangeRequest.Kind.RUN:
        profiles = frozen[0].row.profile
    return {
        "deployment": ", ".join(dict.fromkeys(each.row.deployment_name for each in frozen)),
        **contents,
        **({"profile": profiles} if profiles else {}),
        "scheduled_for": scheduled_for,
        "state": change.state,
        "digest": change.digest,
        # Which grants allowed it then; they may be revoked by the time someone asks.
        "grants": sorted(grants),
        **({"destructive": True} if any(is_destructive(each.row.deployment, each.values) for each in frozen) else {}),
        **({"overrides": overridden} if overridden else {}),
        **(Involved.of(change).audit_details() if change.needs_approval else {}),
    }


def follow_up(change: ChangeRequest, starts: Sequence[RunRequest], requirements: Requirements) -> None:
    """Queue the launches, or have those notified whose approval is needed."""
    if change.state == ChangeRequest.State.WAITING:
        data = {"group": requirements.stages[0]["group"]}
        events.record(RunEvent.Kind.REQUEST_WAITING, change=change, data=data)
    elif change.pacing:
        queue.enqueue("runs.tasks.advance_changes")
    for run_request in starts:
        if run_request.state == State.APPROVED:
            queue.enqueue("runs.tasks.launch", run_request.pk)
    publish("request", [run_request.pk for run_request in starts])


def rerun(
    run_request: RunRequest,
    *,
    by: Actor,
    changes: Mapping[str, Any] | None = None,
    profile: str | None = None,
    reason: str = "",
    ticket: str = "",
    confirmation: str = "",
    submission_key: uuid.UUID | None = None,
) -> RunRequest:
    """Request the same run again; secret values are reused unseen. `changes` are parameters to replace.

    `profile` is another resource profile, blank for none; None keeps that of the request.

    If the deployment was deleted and deployed again, it is a run of the one that has its name now.
    """
    return submit(
        deployments.current(run_request.deployment) or run_request.deployment,
        {**values_of(run_request), **(changes or {})},
        by=by,
        tags=run_request.spec.tags,
        run_name=run_request.spec.run_name,
        profile=run_request.spec.profile_name if profile is None else profile,
        reason=reason,
        ticket=ticket,
        rerun_of=run_request,
        confirmation=confirmation,
        submission_key=submission_key,
    )
