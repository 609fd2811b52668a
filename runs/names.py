"""Find rows by the names that people and programs use, as far as an actor can see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet

from flows.models import Alias, Deployment, Environment
from flows.wording import deployment_name, how_to_deploy, listed
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Run, Verb

# How many names an error lists.
MOST_CANDIDATES = 10
# User names cannot contain a colon, so the prefix is unambiguous.
GROUP = "group:"


class NotVisible(Refused):
    """There is no such row, or it is not visible; which of the two is not revealed."""


def user(username: str) -> User:
    """Return an active user; raises `NotVisible`."""
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise NotVisible("user.unknown", f"Unknown or inactive user {username}.", user=username)
    return found


def environments(*, by: Actor | None = None, permissions: Permissions | None = None) -> list[Environment]:
    permissions = permissions or (Permissions.of(by) if by else None)
    return list(permissions.environments() if permissions else Environment.objects.all())


def environment(name: str, *, by: Actor | None = None, permissions: Permissions | None = None) -> Environment:
    """Return a visible environment by name; raises `NotVisible` with the names there are.

    `permissions` are those of the actor where they have been read.
    """
    found = environments(by=by, permissions=permissions)
    # Among the visible ones: an environment that exists but is not visible gets the same error.
    for each in found:
        if each.slug == name:
            return each
    raise NotVisible(
        "environment.unknown",
        f"Unknown environment {name}. {listing('Environments', [each.slug for each in found])}",
        environment=name,
    )


def chosen(name: str, *, by: Actor | None) -> list[Environment]:
    """Return one environment, or all visible ones when the name is empty."""
    return [environment(name, by=by)] if name else environments(by=by)


def deployments(name: str = "", *, by: Actor | None = None) -> QuerySet[Deployment]:
    """Return the deployments of one environment, or of all visible ones."""
    visible = Permissions.of(by).deployments() if by else Deployment.objects.select_related("environment")
    there = visible.filter(environment__in=chosen(name, by=by), deleted_upstream_at=None)
    return there.order_by("environment__position", "environment", "full_name")


def deployment(environment_name: str, name: str, *, by: Actor | None = None) -> Deployment:
    """Return a deployment by alias, full name, id, or a flow or deployment name that is unique there."""
    permissions = Permissions.of(by) if by else None
    place = environment(environment_name, by=by, permissions=permissions)
    visible = permissions.deployments() if permissions else Deployment.objects.select_related("environment")
    there = visible.filter(environment=place, deleted_upstream_at=None).order_by("full_name")
    alias = Alias.objects.filter(environment=place, name=name).first()
    found = list(there.filter(full_name=alias.full_name if alias else name))
    # An alias names exactly one deployment: no guessing when that one is missing.
    if not found and not alias:
        found = list(there.filter(Q(name=name) | Q(flow_name=name) | Q(prefect_id=as_uuid(name))))
    if len(found) == 1:
        return found[0]
    if found:
        names = listing("Name one", [each.full_name for each in found])
        raise NotVisible(
            "deployment.ambiguous", f"{name} matches several deployments in {place}. {names}", deployment=name
        )
    # An alias is not restricted by grants, but what it points to is.
    if alias and may_know(alias, by):
        raise NotVisible(
            "deployment.not_deployed",
            (
                f"{name} is an alias of {deployment_name(alias.full_name)}, which is not deployed in {place}. Deploy "
                f"it there, then sync with “manage.py sync {place}”."
            ),
            deployment=name,
        )
    known = list(there.values_list("full_name", flat=True)[: MOST_CANDIDATES + 1])
    if not known:
        raise NotVisible("deployment.unknown", how_to_deploy(place), deployment=name)
    raise NotVisible(
        "deployment.unknown",
        f"{place} has no deployment {name}. {listing('It has', known)} One that was deployed just now appears with the "
        f"next sync, or with “manage.py sync {place}”.",
        deployment=name,
    )


def as_uuid(text: str) -> UUID | None:
    """Return the id in a text, or None, which no row has."""
    try:
        return UUID(text)
    except ValueError:
        return None


def may_know(alias: Alias, by: Actor | None) -> bool:
    """Return whether an error may reveal the deployment behind an alias."""
    target = Target(alias.environment, alias.full_name.partition("/")[0], alias.full_name)
    return by is None or Permissions.of(by).decide(Verb.SEE, target).allowed


def listing(begin: str, names: Sequence[str]) -> str:
    """Return a sentence with the candidates, or an empty string when there are none."""
    if not names:
        return ""
    return f"{begin}: {listed(names, MOST_CANDIDATES)}."


def verb(name: str) -> Verb:
    """Return a verb by its stored name, with hyphens or spaces; labels are for pages."""
    try:
        return Verb(name.replace("-", " "))
    except ValueError as error:
        raise Refused("verb.unknown", f"Unknown verb {name}. Verbs: {', '.join(Verb.values)}.", verb=name) from error


def subject(name: str) -> dict[str, Any]:
    """Return the person or group that a grant is for; a group is written `group:Operator`."""
    if not name.startswith(GROUP):
        return {"person": user(name)}
    group = Group.objects.filter(name=name.removeprefix(GROUP)).first()
    if group is None:
        there = listing("There is", list(Group.objects.order_by("name").values_list("name", flat=True)))
        raise NotVisible(
            "group.unknown", f"Unknown group {name.removeprefix(GROUP)}. {there}", group=name.removeprefix(GROUP)
        )
    return {"group": group}


def run(reference: str, environment_name: str = "", *, by: Actor) -> Run:
    """Return a run by Prefect's id, by a unique name, or as `request:12` by its request; raises `NotVisible`."""
    visible = Run.objects.select_related("environment", "access_deployment").filter(
        Permissions.of(by).q(Verb.SEE, deployment="access_deployment__")
    )
    there = visible.filter(environment__in=chosen(environment_name, by=by), **lookup(reference))
    # One more than is listed, to know whether there are others.
    found = list(there.order_by("-pk")[: MOST_CANDIDATES + 1])
    if not found:
        raise NotVisible("run.unknown", f"Unknown run {reference}.", run=reference)
    if len(found) > 1:
        names = [f"{each.prefect_id} ({each.state_label} in {each.environment})" for each in found]
        raise NotVisible(
            "run.ambiguous",
            f"{reference} matches several runs. {listing('Give the id and the environment of one', names)}",
            run=reference,
        )
    return found[0]


def lookup(reference: str) -> dict[str, Any]:
    """Return the filter for a reference to a run."""
    kind, _, number = reference.partition(":")
    if kind == "request" and number.isdecimal():
        return {"run_request": int(number)}
    if pk := as_uuid(reference):
        return {"prefect_id": pk}
    return {"name": reference}
