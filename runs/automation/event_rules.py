"""Create, change, pause, resume and delete event rules: the only code that writes `EventRule`.

Only the owner decides what a rule does, since it acts in their name and with their grants. Administrators can pause
one, which only takes something away. A rule loosens nothing: each of its requests needs what the owner's would need.
One that a program saves is bound to its token, so that a token which leaked makes no way in that is wider or outlives
it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from flows import parameters as schemas
from flows.db_text import sanitize
from flows.models import Deployment, Environment
from runs import audit
from runs.access.decisions import Permissions, Target, covers
from runs.actors import Actor, Kind
from runs.automation import ends, rule_conditions, rule_digest, rule_matching, value_mapping
from runs.automation.renewals import note_obstacles
from runs.automation.value_mapping import Unusable
from runs.errors import Refused
from runs.governance import tokens
from runs.governance.configuration import difference
from runs.governance.rule_changes import oversees
from runs.governance.service_accounts import is_service_account
from runs.governance.token_secrets import ALPHABET
from runs.models import EventRule, Grant, Hook, Token, Verb
from runs.models.rule import MOST_DEBOUNCE_SECONDS
from runs.models.run import TERMINAL

Trigger = EventRule.Trigger
KEY_LENGTH, MAX_NAME_LENGTH = 20, 100
# Requests of one rule in an hour: also what bounds a loop that leads through another system.
DEFAULT_PER_HOUR, MOST_PER_HOUR = 10, 1000
EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
# Trigger -> the columns that say more about it, beside the selector.
OWN = {Trigger.RUN: "states", Trigger.ARTIFACT: "artifact_key", Trigger.DELIVERY: "hook", Trigger.EVENT: "event_name"}
SELECTOR = ("environment", "tag", "flow_name", "full_name")
# Columns of a rule as they are when nothing is said of them. It ends as late as the policies allow then.
DEFAULTS: dict[str, Any] = {
    "environment": None,
    "tag": "",
    "flow_name": "",
    "full_name": "",
    "states": [],
    "artifact_key": "",
    "hook": None,
    "event_name": "",
    "conditions": [],
    "mapping": {},
    "debounce_seconds": 0,
    "per_hour": DEFAULT_PER_HOUR,
    "valid_until": None,
}


# Create and change ----------------------------------------------------------------------------------------------------


def create(name: str, *, trigger: str, deployment: Deployment, by: Actor, **columns: Any) -> EventRule:
    """Create a rule of the person who acts, or whose token does; `columns` are those of `DEFAULTS`.

    Trigger and deployment cannot be changed later. Raises `Forbidden` if the person cannot run the deployment, or
    `Refused` with a code `event_rule.…`.
    """
    with audit.act("event_rule.create", None, by=by, subject_kind="eventrule", subject_name=name.strip()) as act:
        rule = draft(name, trigger=trigger, deployment=deployment, by=by, **columns)
        rule.pepper, rule.digest = 0, ""
        rule.save(force_insert=True)
        rule_digest.sign(rule)
        act.subject, act.after, act.environment = rule, describe(rule), deployment.environment.slug
    return rule


def draft(name: str, *, trigger: str, deployment: Deployment, by: Actor, **columns: Any) -> EventRule:
    """Return an unsaved rule, checked: what `create` would save."""
    is_own_act = by.kind in (Kind.PERSON, Kind.TOKEN)
    if is_service_account(by.user) or not by.user.is_staff or not is_own_act:
        raise Refused("event_rule.owner", f"{by.name} cannot own a rule: only people who can sign in can.")
    if trigger not in Trigger.values:
        raise Refused("event_rule.trigger", f"“{trigger}” is not something that a rule can wait for.")
    Permissions.of(by).require(Verb.TRIGGER, deployment)
    rule = EventRule(
        key="".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH)),
        owner=by.user,
        token=token_of(by),
        trigger=trigger,
        deployment=deployment,
    )
    apply(rule, name, {**DEFAULTS, **columns}, by)
    return rule


def change(rule: EventRule, *, by: Actor, name: str, **columns: Any) -> None:
    """Change what a rule does, by its owner; columns that are left out get their defaults.

    It is bound to the token with which it is changed, or to none any more. Also makes one valid again that was changed
    in the database.
    """
    with audit.act("event_rule.change", rule, by=by, environment=place_of(rule)) as act:
        stored = lock(rule)
        require_own(stored, by)
        Permissions.of(by).require(Verb.TRIGGER, stored.deployment)
        before = describe(stored)
        stored.token = token_of(by)
        apply(stored, name, {**DEFAULTS, **columns}, by)
        rule_digest.sign(stored)
        act.before, act.after = difference(before, describe(stored))


def pause(rule: EventRule, *, by: Actor, reason: str = "") -> None:
    """Stop a rule until its owner resumes it: by the owner, also with a token, or by an administrator."""
    with audit.act("event_rule.pause", rule, by=by, reason=reason, environment=place_of(rule)) as act:
        stored = lock(rule)
        if not by.is_administrator:
            require_own(stored, by)
        act.before, act.after = {"is_enabled": stored.is_enabled}, {"is_enabled": False}
        turn_off(stored, by, reason)


def delete(rule: EventRule, *, by: Actor, reason: str = "") -> None:
    """Delete a rule, by its owner, also with a token. Its row and its log stay, for what they say of its requests."""
    with audit.act("event_rule.delete", rule, by=by, reason=reason, environment=place_of(rule)) as act:
        stored = lock(rule)
        require_own(stored, by)
        act.before = describe(stored)
        turn_off(stored, by, reason, deleted_at=timezone.now())


def turn_off(rule: EventRule, by: Actor, reason: str, *, deleted_at: datetime | None = None) -> None:
    """Save a locked rule as one that requests nothing."""
    # One that was changed in the database is not signed again: that would make it valid. Off it does nothing.
    is_intact = rule_digest.is_intact(rule)
    rule.is_enabled, rule.paused_by_name, rule.paused_why = False, by.name, sanitize(reason.strip())[:1000]
    rule.deleted_at = deleted_at
    if is_intact:
        rule_digest.sign(rule)
    else:
        rule.save(update_fields=["is_enabled", "paused_by_name", "paused_why", "deleted_at"])


def resume(rule: EventRule, *, by: Actor, reason: str = "") -> None:
    """Let a paused rule go on, by its owner, who must be able to run its deployment. It ignores what it missed."""
    with audit.act("event_rule.resume", rule, by=by, reason=reason, environment=place_of(rule)) as act:
        stored = lock(rule)
        require_own(stored, by)
        rule_digest.require_intact(stored)
        require_token_valid(stored)
        Permissions.of(by).require(Verb.TRIGGER, stored.deployment)
        act.before, act.after = {"is_enabled": stored.is_enabled}, {"is_enabled": True}
        stored.is_enabled, stored.paused_by_name, stored.paused_why = True, "", ""
        stored.obstacle = ""
        rule_digest.sign(stored)


# What is required -----------------------------------------------------------------------------------------------------


def token_of(by: Actor) -> Token | None:
    """Return the token with which a program acts; None for a person who has signed in."""
    if not by.token_id:
        return None
    return Token.objects.select_related(*tokens.RELATED).prefetch_related("scopes").get(key=by.token_id)


def require_token_valid(rule: EventRule) -> None:
    """Refuse a rule whose token has ended: what it may do ended with it."""
    if rule.token is None:
        return
    try:
        tokens.require_valid(rule.token)
    except Refused as refusal:
        raise Refused(
            "event_rule.token_ended",
            f"The token {rule.token}, with which the rule was saved, is not valid any more. Save the rule again.",
        ) from refusal


def require_own(rule: EventRule, by: Actor) -> None:
    """Refuse everyone but the owner; an agent of the owner too, for which nobody decided this."""
    if by.agent or not by.is_same_person_as(rule.owner_id):
        raise Refused("event_rule.not_own", f"Only {rule.owner} decides what this rule does: it acts in their name.")


def apply(rule: EventRule, name: str, columns: Mapping[str, Any], by: Actor) -> None:
    """Set the columns that can be changed, checked; those of other triggers are emptied."""
    rule.name = sanitize(name.strip())[:MAX_NAME_LENGTH]
    if not rule.name:
        raise Refused("event_rule.name_required", "Give the rule a name, such as “load after close”.")
    trigger = Trigger(rule.trigger)
    needless = {column for other, column in OWN.items() if other != trigger}
    needless |= set(SELECTOR) if trigger == Trigger.DELIVERY else set()
    needless |= {"tag", "flow_name", "full_name"} if trigger == Trigger.EVENT else set()
    for column, value in columns.items():
        setattr(rule, column, DEFAULTS[column] if column in needless else value)
    for column in ("tag", "flow_name", "full_name", "artifact_key", "event_name"):
        setattr(rule, column, sanitize(getattr(rule, column).strip()))
    rule.states = sorted(set(rule.states))
    require_trigger(rule, by)
    rule.conditions = rule_conditions.require_usable(rule.conditions)
    rule.mapping = require_mapping(rule.mapping, rule.deployment)
    if not 0 <= rule.debounce_seconds <= MOST_DEBOUNCE_SECONDS:
        raise Refused("event_rule.debounce", f"Wait between 0 and {MOST_DEBOUNCE_SECONDS} seconds.")
    if not 1 <= rule.per_hour <= MOST_PER_HOUR:
        raise Refused("event_rule.per_hour", f"Allow between 1 and {MOST_PER_HOUR} requests an hour.")
    rule.valid_until = ends.end_of([rule.deployment], rule.valid_until)
    # Who saves it has the permission.
    rule.reminded_at, rule.obstacle = None, ""
    rule.match_key = rule_matching.key_of(rule)


def require_trigger(rule: EventRule, by: Actor) -> None:
    """Refuse a trigger that is not complete, and one that the owner cannot see."""
    if rule.trigger == Trigger.RUN and not (rule.states and set(rule.states) <= TERMINAL):
        raise Refused("event_rule.states", f"Choose the states in which a run must end: {', '.join(sorted(TERMINAL))}.")
    if rule.trigger == Trigger.ARTIFACT and not rule.artifact_key:
        raise Refused("event_rule.artifact_key", "Give the key of the artifact, such as drift-report.")
    if rule.trigger == Trigger.EVENT and not EVENT_NAME.fullmatch(rule.event_name):
        raise Refused(
            "event_rule.event_name",
            "Give the name of the event, such as month.closed: lower-case letters, digits, dots, dashes and "
            "underscores.",
        )
    if rule.trigger == Trigger.DELIVERY and not (rule.hook and hooks_of(by).filter(pk=rule.hook.pk).exists()):
        raise no_hook()
    permissions = Permissions.of(by)
    if rule.environment and not permissions.environments().filter(pk=rule.environment.pk).exists():
        raise Refused("event_rule.environment", "Choose an environment that you can view.")
    if rule.trigger == Trigger.EVENT:
        if rule.environment is None:
            raise Refused("event_rule.environment", "Choose the environment to which the event is posted.")
        # What is posted is for who sees all of it: nothing says which deployment it is about.
        permissions.require(Verb.SEE, Target.whole(rule.environment))


def require_mapping(mapping: Any, deployment: Deployment) -> value_mapping.Mapped:
    try:
        found = value_mapping.require_usable(mapping, deployment, example="/run/parameters/month")
    except Unusable as error:
        raise Refused("event_rule.mapping", str(error), **error.data) from error
    public = schemas.public_parameters(deployment.parameter_schema)
    for name in found:
        if name not in public:
            # Events are stored in clear text.
            raise Refused("event_rule.mapping", f"“{name}” is secret: a rule cannot give it a value.", parameter=name)
    return found


def note_reminders(keys: Collection[int]) -> int:
    """Note that the owners of rules were notified of their end."""
    return EventRule.objects.filter(pk__in=keys).update(reminded_at=timezone.now())


def note_checked(obstacles: Mapping[int, str]) -> list[int]:
    """Note what prevents the runs of enabled rules; returns those of which nothing did before."""
    return note_obstacles(EventRule.objects.filter(is_enabled=True, deleted_at=None), obstacles)


# Queries --------------------------------------------------------------------------------------------------------------


def rows() -> QuerySet[EventRule]:
    return with_token(
        EventRule.objects.select_related(
            "deployment__environment__server", "owner", "environment", "hook__account__user"
        )
    )


def with_token(rules: QuerySet[EventRule]) -> QuerySet[EventRule]:
    """Return rules with what their tokens allow."""
    related = [f"token__{name}" for name in tokens.RELATED]
    return rules.select_related("token", *related).prefetch_related("token__scopes")


def firing() -> QuerySet[EventRule]:
    """Return the rules that react to what happens now."""
    bound = Q(token=None) | Q(token__in=Token.objects.filter(tokens.active()))
    valid = EventRule.objects.filter(bound, valid_until__gt=timezone.now(), deleted_at=None)
    return valid.filter(is_enabled=True, owner__is_active=True)


def visible_to(by: Actor) -> QuerySet[EventRule]:
    """Return the rules that the actor sees: their own; administrators and auditors see all."""
    return including_deleted(by).filter(deleted_at=None)


def including_deleted(by: Actor) -> QuerySet[EventRule]:
    """Return the rules whose log the actor sees: also those that were deleted."""
    return rows() if oversees(by) else rows().filter(owner=by.user.pk)


def hooks_of(by: Actor) -> QuerySet[Hook]:
    """Return the hooks that rules of the actor can wait for; with a token those whose deployments it shows."""
    own = Hook.objects.filter(account__owner=by.user.pk)
    if by.scope is None:
        return own
    return own.filter(Permissions.of(by).q(Verb.SEE, deployment="deployment__", base="deployment__"))


def require_hook(key: str, by: Actor) -> Hook:
    """Return a hook that a rule of the actor can wait for, by its key."""
    found = hooks_of(by).filter(key=key).first()
    if found is None:
        raise no_hook()
    return found


def no_hook() -> Refused:
    return Refused("event_rule.hook", "Choose a hook of a service account that you own.")


def environments_of(by: Actor) -> QuerySet[Environment]:
    return Permissions.of(by).environments()


def lock(rule: EventRule) -> EventRule:
    """Return the locked rule; refuse one that was deleted."""
    # Without the key, to which its firings refer: they are added while it is locked.
    stored = rows().select_for_update(of=["self"], no_key=True).get(pk=rule.pk)
    if stored.deleted_at:
        raise Refused("event_rule.deleted", f"The rule {stored} was deleted.")
    return stored


def place_of(rule: EventRule) -> str:
    return rule.deployment.environment.slug


def actor_of(rule: EventRule, deployment: Deployment) -> Actor:
    """Return the actor of a rule: its owner, who may run its deployment and do nothing else.

    One that a program saved runs it with parameters within the scopes of its token.
    """
    conditions: list[dict[str, Any] | None] = [None]
    if rule.token:
        scopes = [tokens.as_grant(each) for each in rule.token.scopes.all()]
        target = Target.of(deployment)
        conditions = [each.predicate for each in scopes if Verb.TRIGGER in each.verbs and covers(each, target)]
    scope = tuple(
        Grant(
            effect=Grant.Effect.ALLOW,
            verbs=[Verb.TRIGGER],
            environment_id=deployment.environment_id,
            full_name=deployment.full_name,
            predicate=condition,
        )
        for condition in conditions
    )
    return Actor.of_rule(rule.owner, key=rule.key, name=rule.name, scope=scope)


def describe(rule: EventRule) -> dict[str, Any]:
    """Return the rule for the audit trail."""
    return {
        "key": rule.key,
        "name": rule.name,
        "owner": rule.owner.get_username(),
        "token": rule.token.key if rule.token else None,
        "trigger": rule.trigger,
        "environment": rule.environment.slug if rule.environment else None,
        **{column: getattr(rule, column) for column in ("tag", "flow_name", "full_name")},
        **{column: getattr(rule, column) for column in ("states", "artifact_key", "event_name", "conditions")},
        "hook": rule.hook.key if rule.hook else None,
        "deployment": rule.deployment.full_name,
        **{column: getattr(rule, column) for column in ("mapping", "debounce_seconds", "per_hour", "valid_until")},
        "is_enabled": rule.is_enabled,
    }
