"""Pin and unpin deployments, and find the pinned ones: the only code that writes `Pin`."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from flows.models import Deployment
from runs import audit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.listings import DEPLOYMENTS, IN_ENVIRONMENT
from runs.models import Pin, Verb

# Of one person: more would be a list of its own, and no page shows them all at once.
MOST_PINS = 20


def is_pinned_by(person: User | AnonymousUser) -> Exists:
    """Return the condition for deployments that the person has pinned, visible or not."""
    own = Pin.objects.filter(owner=person.pk, environment=OuterRef("environment"), full_name=OuterRef("full_name"))
    return Exists(own.order_by())


def shows(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the pinned deployments that the actor sees and that Prefect still has."""
    return permissions.q(Verb.SEE) & Q(is_pinned_by(by.user), deleted_upstream_at=None)


PINS = replace(DEPLOYMENTS, name="pins", visible=shows, filters={"environment": IN_ENVIRONMENT})


def of(person: User | AnonymousUser) -> QuerySet[Pin]:
    """Return the pins of a person, also of deployments that are hidden or gone."""
    return Pin.objects.filter(owner=person.pk)


def pin(deployment: Deployment, *, by: Actor) -> None:
    """Pin a deployment for the actor's person; nothing happens if it is pinned already.

    Raises `Forbidden` for one that the actor does not see, or `Refused` with code `pin.too_many`.
    """
    with audit.act("deployment.pin", deployment, by=by) as act:
        Permissions.of(by).require(Verb.SEE, deployment)
        # Two at once must not both be the last one that fits.
        owner = User.objects.select_for_update(no_key=True).get(pk=by.user.pk)
        own = Pin.objects.filter(owner=owner)
        named = {"environment": deployment.environment, "full_name": deployment.full_name}
        act.is_repeat = own.filter(**named).exists()
        if act.is_repeat:
            return
        if own.count() >= MOST_PINS:
            # Those of deployments that are gone, or hidden from their owner, make room first.
            own.exclude(displayed(owner)).delete()
        if own.count() >= MOST_PINS:
            raise Refused(
                "pin.too_many",
                f"You have {MOST_PINS} pinned deployments, which is the limit. Unpin one first.",
                limit=MOST_PINS,
            )
        Pin.objects.create(owner=owner, **named)


def unpin(deployment: Deployment, *, by: Actor) -> None:
    """Unpin a deployment for the actor's person; nothing happens if it is not pinned."""
    with audit.act("deployment.unpin", deployment, by=by) as act:
        own = Pin.objects.filter(owner=by.user.pk, environment=deployment.environment, full_name=deployment.full_name)
        deleted, _ = own.delete()
        act.is_repeat = not deleted


def displayed(owner: User) -> Exists:
    """Return the condition for pins, of an outer query, of which the owner sees the deployment."""
    visible = Permissions.of_person(owner).deployments().filter(deleted_upstream_at=None)
    return Exists(visible.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name")).order_by())
