"""Find rows by name, as far as a person can see them."""

from __future__ import annotations

import getpass
import socket
import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from flows.catalog import health as healths
from flows.models import Alias, Deployment, Environment, Health
from flows.wording import how_to_deploy, listed
from runs.access.decisions import Permissions, Target
from runs.actors import Actor, Channel, Kind
from runs.errors import Refused
from runs.models import Run, RunRequest, Verb
from runs.models.run import STATES

# How many names an error lists.
MOST_CANDIDATES = 10


class NotVisible(Refused):
    """There is no such row, or it is not visible; which of the two is not revealed."""


def user(username: str) -> User:
    """Return an active user; raises `NotVisible`."""
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise NotVisible("user.unknown", f"Unknown or inactive user {username}.", user=username)
    return found


def person(username: str) -> Actor:
    """Return the actor for a user of the portal.

    Anyone with a shell here can name any user, so the operating system's account and the host are audited too.
    """
    who = user(username)
    return Actor.person(who, channel=Channel.COMMAND, address=socket.gethostname(), user_agent=account())


def operator() -> Actor:
    """Return the actor for the operator of the installation: no user, but the operating system's account."""
    return Actor(Kind.SYSTEM, "", account(), Channel.COMMAND, address=socket.gethostname())


def account() -> str:
    """Return the operating system's name of the current user, as a phrase."""
    try:
        return f"operating system account {getpass.getuser()}"
    except (OSError, KeyError):
        # A container can run under a user id without an account.
        return "operating system account without a name"


def environments(*, by: Actor | None = None) -> list[Environment]:
    return list(Permissions.of(by).environments() if by else Environment.objects.all())


def environment(name: str, *, by: Actor | None = None) -> Environment:
    """Return a visible environment by name; raises `NotVisible` with the names there are."""
    found = environments(by=by)
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


def health(name: str, *, by: Actor | None = None) -> Health:
    """Check the Prefect server of an environment now."""
    return healths.check(environment(name, by=by).server)


def deployments(name: str = "", *, by: Actor | None = None) -> QuerySet[Deployment]:
    """Return the deployments of one environment, or of all visible ones."""
    visible = Permissions.of(by).deployments() if by else Deployment.objects.select_related("environment")
    there = visible.filter(environment__in=chosen(name, by=by), deleted_upstream_at=None)
    return there.order_by("environment__position", "environment", "full_name")


def deployment(environment_name: str, name: str, *, by: Actor | None = None) -> Deployment:
    """Return a deployment by alias, full name, id, or a flow or deployment name that is unique there."""
    place = environment(environment_name, by=by)
    there = list(deployments(environment_name, by=by))
    alias = Alias.objects.filter(environment=place, name=name).first()
    wanted = alias.full_name if alias else name
    found = [each for each in there if each.full_name == wanted]
    # An alias names exactly one deployment: no guessing when that one is missing.
    if not found and not alias:
        found = [each for each in there if name in (each.name, each.flow_name, str(each.prefect_id))]
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
                f"{name} is an alias of {alias.full_name}, which is not deployed in {place}. Deploy it there, then "
                f"sync with “manage.py sync {place}”."
            ),
            deployment=name,
        )
    if not there:
        raise NotVisible("deployment.unknown", how_to_deploy(place), deployment=name)
    raise NotVisible(
        "deployment.unknown",
        f"{place} has no deployment {name}. {listing('It has', [each.full_name for each in there])} "
        f"If it was deployed just now, run “manage.py sync {place}”.",
        deployment=name,
    )


def may_know(alias: Alias, by: Actor | None) -> bool:
    """Return whether an error may reveal the deployment behind an alias."""
    target = Target(alias.environment, alias.full_name.partition("/")[0], alias.full_name)
    return by is None or Permissions.of(by).decide(Verb.SEE, target).allowed


def runs(
    name: str = "", *, by: Actor | None = None, state: str = "", is_stalled: bool = False, limit: int = 20
) -> list[Run]:
    """Return the newest runs; `state` is Prefect's state type in any case."""
    wanted = state.upper()
    if wanted and wanted not in STATES:
        raise Refused(
            "state.unknown",
            f"Unknown state {state}. {listing('States', [each.lower() for each in STATES])}",
            state=state,
        )
    found = visible_runs(by).filter(environment__in=chosen(name, by=by), deleted_upstream_at=None)
    if wanted:
        found = found.filter(state_type=wanted)
    if is_stalled:
        found = found.exclude(stalled_kind="")
    return list(found.order_by("-sort_at", "-pk")[:limit])


def run(reference: str, environment_name: str = "", *, by: Actor | None = None) -> Run:
    """Return a run by Prefect's id, by a unique name, or as `request:12` by its request."""
    places = chosen(environment_name, by=by)
    runs_there = visible_runs(by).filter(environment__in=places, **lookup(reference))
    # One more than is listed, to know whether there are others.
    found = list(runs_there.order_by("-pk")[: MOST_CANDIDATES + 1])
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
    try:
        return {"prefect_id": uuid.UUID(reference)}
    except ValueError:
        return {"name": reference}


def visible_runs(by: Actor | None) -> QuerySet[Run]:
    """Return the runs that the actor can see, or all runs without an actor."""
    found = Run.objects.select_related("environment", "access_deployment")
    return found.filter(Permissions.of(by).q(Verb.SEE, deployment="access_deployment__")) if by else found


def status(reference: int | RunRequest, *, by: Actor | None = None) -> RunRequest:
    """Return a request by number, as it is now."""
    pk = reference.pk if isinstance(reference, RunRequest) else reference
    found = RunRequest.objects.select_related(
        "environment", "deployment__environment", "run__environment__server", "change", "spec"
    ).filter(pk=pk)
    if by:
        found = found.filter(Permissions.of(by).q(Verb.SEE, deployment="deployment__"))
    for run_request in found:
        return run_request
    raise NotVisible("request.unknown", f"Unknown request {pk}.", request=pk)


def listing(begin: str, names: Sequence[str]) -> str:
    """Return a sentence with the candidates, or an empty string when there are none."""
    if not names:
        return ""
    return f"{begin}: {listed(names, MOST_CANDIDATES)}."
