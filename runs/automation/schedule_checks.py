"""What a schedule needs: a name, a rule and an end when it is requested, and that nothing prevents its runs later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q

from flows import canonical, encryption
from flows.db_text import sanitize
from flows.wording import plural
from runs import changes
from runs.access.decisions import Permissions, Target
from runs.audit import signatures
from runs.automation import ends, native_checks, schedule_times
from runs.automation.schedule_times import Rule, RuleType
from runs.digests import change_digest
from runs.errors import Refused
from runs.governance.in_scope import left_scope
from runs.governance.requirements import Requirements, requirements_for
from runs.models import RunRequest, Schedule, Verb
from runs.requests import require_profile, spec_digest, spec_values

MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why every run of a schedule would be refused: `code` for programs, `sentence` for people."""

    code: str
    sentence: str


def checked_name(name: str) -> str:
    name = sanitize(name.strip())
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise Refused(
            "schedule.name",
            f"Give the schedule a name of 1 to {MAX_NAME_LENGTH} characters, such as “nightly”.",
            limit=MAX_NAME_LENGTH,
        )
    return name


def require_end(valid_until: datetime, now: datetime, requirements: Requirements) -> None:
    days = ends.longest(requirements).days
    if not now < valid_until <= now + timedelta(days=days):
        raise Refused(
            "schedule.end",
            f"A schedule in {requirements.place} ends within {plural(days, 'day')} from now. It can be renewed before.",
            days=days,
        )


def contents_of(
    *, name: str, rule: Rule, catch_up: str, valid_until: datetime, replaces: Schedule | None, is_native: bool = False
) -> dict[str, Any]:
    """Return what of a schedule is approved, as its change request stores it."""
    return {
        "name": name,
        "rule_type": str(rule.type),
        "rule": rule.text,
        "time_zone": rule.time_zone,
        "anchor": spell(rule.anchor),
        "catch_up": str(catch_up),
        "valid_until": spell(valid_until),
        "replaces": replaces.pk if replaces else None,
        **({"native": True} if is_native else {}),
    }


def spell(moment: datetime | None) -> str | None:
    return canonical.moment(moment).isoformat() if moment else None


def rule_of(schedule: Schedule) -> Rule:
    return Rule(RuleType(schedule.rule_type), schedule.rule, schedule.time_zone, schedule.anchor)


def next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first due time after a moment, while the schedule is valid."""
    found = schedule_times.next_time(rule_of(schedule), after)
    return found if found and found < schedule.valid_until else None


def is_as_requested(schedule: Schedule) -> bool:
    """Return whether the row says what its change request was submitted with; select that and the spec with it.

    The portal signs what the clock adds: it must not sign what someone wrote into the table, a due time included.
    """
    change, spec, due = schedule.change, schedule.spec, schedule.next_due
    if due and schedule_times.next_time(rule_of(schedule), due - timedelta(microseconds=1)) != due:
        return False
    contents = {
        "name": schedule.name,
        "rule_type": schedule.rule_type,
        "rule": schedule.rule,
        "time_zone": schedule.time_zone,
        "anchor": spell(schedule.anchor),
        "catch_up": schedule.catch_up,
        "valid_until": spell(schedule.valid_until),
        "replaces": schedule.replaces_id,
        **({"native": True} if schedule.is_native else {}),
    }
    return (
        change.pacing.get("schedule") == contents
        and (not schedule.is_native or schedule.native == native_checks.native_of(change, rule_of(schedule), spec))
        and spec.change_id == change.pk
        and (schedule.deployment_id, schedule.environment_id) == (spec.deployment_id, change.environment_id)
        and change_digest(change) == change.digest
        and spec_digest(spec) == spec.digest
        and signatures.is_signed(change)
        and signatures.is_signed(spec)
    )


# What prevents the runs of active schedules, as far as SQL can decide. `obstacle` says the same of one.
OBSTRUCTED = (
    Q(change__requested_by__is_active=False)
    | Q(change__on_behalf_of__is_active=False)
    | Q(environment__is_active=False)
    | Q(deployment__deleted_upstream_at__isnull=False)
    | Q(deployment__left_scope_at__isnull=False)
    | ~Q(deployment__schema_fingerprint=F("spec__schema_fingerprint"))
    | (Q(change__needs_approval=True) & ~Q(deployment__definition_fingerprint=F("spec__definition_fingerprint")))
)


def obstacle(schedule: Schedule) -> Obstacle | None:
    """Return why every run of the schedule would be refused; None if nothing prevents them.

    Windows and freezes are no reason: they hold a run until it may start.
    """
    change, spec, deployment = schedule.change, schedule.spec, schedule.deployment
    owner = change.requested_by
    if not is_as_requested(schedule):
        return Obstacle("schedule.changed", "The schedule is not the one that was requested. Find out who changed it.")
    disabled = [person for person in (owner, change.on_behalf_of) if person and not person.is_active]
    if disabled:
        names = " and ".join(person.get_username() for person in disabled)
        return Obstacle("owner.inactive", f"Disabled account: {names}. Another person can take the schedule over.")
    if not schedule.environment.is_active:
        return Obstacle("environment.inactive", f"{schedule.environment} is disabled in the portal.")
    if deployment.deleted_upstream_at:
        return Obstacle("deployment.gone", f"{deployment} is no longer deployed in {schedule.environment}.")
    if deployment.left_scope_at:
        refusal = left_scope(deployment)
        return Obstacle(refusal.code, refusal.message)
    if deployment.schema_fingerprint != spec.schema_fingerprint:
        return Obstacle("schema.changed", f"The parameters of {deployment} have changed. Edit the schedule.")
    if change.needs_approval and deployment.definition_fingerprint != spec.definition_fingerprint:
        return Obstacle(
            "definition.changed",
            f"{deployment} was changed in Prefect since the schedule was requested. Renew the schedule.",
        )
    permissions = Permissions.of_person(owner) if owner else None
    try:
        values = spec_values(spec)
    except encryption.DecryptionError as error:
        return Obstacle("key.unreadable", str(error))
    needed: dict[Verb, dict[str, Any] | None] = {Verb.SCHEDULE: None, Verb(spec.verb): values}
    for verb, given in needed.items():
        if permissions and not (decision := permissions.decide(verb, deployment, given)):
            return Obstacle("owner.forbidden", f"Its owner may not run it any more: {decision.sentence}")
    return None if permissions is None else approval_obstacle(schedule)


def approval_obstacle(schedule: Schedule) -> Obstacle | None:
    """Return why approvals or resource profile do not hold for a run of the schedule, as its launch would say."""
    change, spec = schedule.change, schedule.spec
    rules = requirements_for(Target.of(schedule.deployment))
    if schedule.is_native and not rules.native_schedules:
        sentence = f"Schedules in Prefect are not allowed for {schedule.deployment} any more. Edit the schedule."
        return Obstacle("schedule.native_refused", sentence)
    if not schedule.approves_each and rules.approve_each_run:
        sentence = f"Each run of {schedule.deployment} must be approved now. Renew the schedule."
        return Obstacle("approval.each_run", sentence)
    run_request = RunRequest(change=change, spec=spec, environment=schedule.environment, deployment=schedule.deployment)
    try:
        changes.require_approved(run_request)
        require_profile(run_request)
    except Refused as refusal:
        return Obstacle(refusal.code, refusal.message)
    return None
