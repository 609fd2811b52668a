"""Permissions by name: given, ended, listed and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User

from flows.prefect_api.records import JSON
from runs.access import who_can
from runs.access.explain import Explanation
from runs.actors import Actor
from runs.desk.queries import NotVisible, deployment, environment, listing, user
from runs.errors import Refused
from runs.governance import grants, preview
from runs.models import Grant, Verb

GROUP = "group:"


def verb(name: str) -> Verb:
    """By its name, with a hyphen or a space."""
    try:
        return Verb(name.replace("-", " "))
    except ValueError as error:
        raise Refused("verb.unknown", f"Unknown verb {name}. Verbs: {', '.join(Verb.values)}.", verb=name) from error


def subject(name: str) -> dict[str, Any]:
    """The person that is named, or the group: `group:Operator`."""
    if not name.startswith(GROUP):
        return {"person": user(name)}
    group = Group.objects.filter(name=name.removeprefix(GROUP)).first()
    if group is None:
        there = listing("There is", list(Group.objects.order_by("name").values_list("name", flat=True)))
        raise NotVisible(
            "group.unknown", f"Unknown group {name.removeprefix(GROUP)}. {there}", group=name.removeprefix(GROUP)
        )
    return {"group": group}


def grant(
    whom: str,
    verbs: Sequence[str],
    *,
    by: Actor,
    environment_name: str = "",
    flow_name: str = "",
    full_name: str = "",
    tag: str = "",
    predicate: dict[str, Any] | None = None,
    prohibits: bool = False,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    reason: str = "",
    ticket: str = "",
) -> Grant:
    """Allow or prohibit; `whom` is a user's name or `group:NAME`."""
    return grants.grant(
        by=by,
        **subject(whom),
        verbs=[verb(each) for each in verbs],
        effect=Grant.Effect.DENY if prohibits else Grant.Effect.ALLOW,
        environment=environment(environment_name, by=by) if environment_name else None,
        flow_name=flow_name,
        full_name=full_name,
        tag=tag,
        predicate=predicate,
        valid_from=valid_from,
        valid_until=valid_until,
        reason=reason,
        ticket=ticket,
    )


def revoke(number: int, *, by: Actor, reason: str = "", ticket: str = "") -> Grant:
    """End a grant now."""
    row = Grant.objects.select_related("environment", "person", "group").filter(pk=number).first()
    if row is None:
        raise NotVisible("grant.unknown", f"Unknown grant {number}.", grant=number)
    grants.revoke(row, by=by, reason=reason, ticket=ticket)
    return row


def who(
    environment_name: str, deployment_name: str, *, by: Actor | None = None, verbs: Sequence[str] = ()
) -> dict[Verb, who_can.Access]:
    """For each verb, who may do it with a deployment, and whom a prohibition keeps from it."""
    wanted = [verb(each) for each in verbs] or list(Verb)
    return who_can.who_can(deployment(environment_name, deployment_name, by=by), wanted)


def why(
    username: str,
    verb_name: str,
    environment_name: str,
    deployment_name: str,
    values: Mapping[str, JSON] | None = None,
    *,
    by: Actor,
) -> Explanation:
    """Whether somebody may, and why; without `values`, whether with any values at all."""
    whose = User.objects.filter(username=username).first()
    if whose is None:
        raise NotVisible("user.unknown", f"Unknown user {username}.", user=username)
    place = deployment(environment_name, deployment_name, by=by)
    return preview.why(whose, verb(verb_name), place, values, by=by)
