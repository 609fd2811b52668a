"""Create, revoke, list and explain grants by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from flows.prefect_api.records import JSON
from runs.access import who_can
from runs.access.explain import Explanation
from runs.actors import Actor
from runs.governance import grants, preview
from runs.models import ChangeRequest, Grant, Verb
from runs.names import NotVisible, deployment, environment, subject, verb


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
    deny: bool = False,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
) -> Grant | ChangeRequest:
    """Create a grant; `whom` is a user name or `group:NAME`, `deny` makes it a denial.

    `confirm` is the name of a protected environment that it opens: it then waits for a second administrator, as the
    change request that is returned.
    """
    return grants.grant(
        by=by,
        **subject(whom),
        verbs=[verb(each) for each in verbs],
        effect=Grant.Effect.DENY if deny else Grant.Effect.ALLOW,
        environment=environment(environment_name, by=by) if environment_name else None,
        flow_name=flow_name,
        full_name=full_name,
        tag=tag,
        predicate=predicate,
        valid_from=valid_from,
        valid_until=valid_until,
        reason=reason,
        ticket=ticket,
        confirm=confirm,
    )


def revoke(number: int, *, by: Actor, reason: str = "", ticket: str = "", confirm: str = "") -> Grant | ChangeRequest:
    """Revoke a grant by its number; the end of a denial can wait for a second administrator, as in `grant`."""
    # Not restricted by visibility: the service refuses grants that the actor did not create.
    row = Grant.objects.select_related("environment", "person", "group").filter(pk=number).first()
    if row is None:
        raise NotVisible("grant.unknown", f"Unknown grant {number}.", grant=number)
    return grants.revoke(row, by=by, reason=reason, ticket=ticket, confirm=confirm) or row


def who(
    environment_name: str, deployment_name: str, *, by: Actor | None = None, verbs: Sequence[str] = ()
) -> dict[Verb, who_can.Access]:
    """Return for each verb who is allowed it on a deployment, and who is denied it."""
    # The deployment is looked up with the reader's permissions; the people listed are not hidden from them.
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
    """Explain whether a person is allowed a verb; without `values`, whether with any values at all."""
    # Also a disabled account: that it is disabled is the explanation.
    whose = User.objects.filter(username=username).first()
    if whose is None:
        raise NotVisible("user.unknown", f"Unknown user {username}.", user=username)
    place = deployment(environment_name, deployment_name, by=by)
    return preview.why(whose, verb(verb_name), place, values, by=by)
