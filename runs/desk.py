"""The portal from Python: look, trigger, wait and cancel by name, with the permissions and the audit of a person.

    by = desk.person("otto")
    wish = desk.trigger("dev", "monthly/monthly", {"month": "2026-10"}, by=by, reason="Month end")
    wish = desk.wait(wish, seconds=600)

Everything is done by the same verbs that the pages call. `by=None`, where it is allowed, sees everything: whoever runs
Python here has the database anyway. All errors but `flows.records.PrefectError` and `flows.parameters.Invalid` are
`flows.access.Refused`, and all of them are sentences for the reader.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F, Model, QuerySet

from flows import catalogue, parameters
from flows import health as healths
from flows.access import Holding, Refused, Target
from flows.catalogue import Sync
from flows.models import Alias, Deployment, Environment, Health, Verb
from flows.records import JSON, PrefectError
from runs import lifecycle, mirror
from runs.actors import Actor, Channel
from runs.models import Cancellation, Run, RunRequest
from runs.models.request import State
from runs.models.run import STATES

# Where a wish can still change; anything else is its end.
OPEN: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.WAITING, State.APPROVED, State.LAUNCHING, State.LAUNCHED}),
    Cancellation: frozenset(Cancellation.OPEN),
}
# A message in one of these is what Prefect said, or that it said nothing.
NOT_SENT: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.APPROVED, State.LAUNCHING}),
    Cancellation: frozenset({Cancellation.State.WANTED}),
}
LOOK_EVERY = 0.5
MOST_CANDIDATES = 10


class NotHere(Refused):
    """Nothing of that name is there, or it may not be seen: the two are not told apart."""

    code = "not-found"


class StillGoing(Refused):
    """It was not over in the time that was given."""

    code = "still-going"


def person(username: str) -> Actor:
    """The actor for a user of the portal; the account and the machine that act in their name are kept with each act."""
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise NotHere(f"The portal has no active user {username}.")
    return Actor.person(user, channel=Channel.COMMAND, address=socket.gethostname(), user_agent=account())


def account() -> str:
    """The operating system's name for whoever runs this."""
    try:
        return f"operating system account {getpass.getuser()}"
    except (OSError, KeyError):
        # A container may run under a number that no account has.
        return "operating system account without a name"


# Looking


def environments(*, by: Actor | None = None) -> list[Environment]:
    return list(Holding.of(by.user).environments() if by else Environment.objects.all())


def environment(name: str, *, by: Actor | None = None) -> Environment:
    found = environments(by=by)
    for each in found:
        if each.slug == name:
            return each
    raise NotHere(f"There is no environment {name}. {listing('There is', [each.slug for each in found])}")


def chosen(name: str, *, by: Actor | None) -> list[Environment]:
    """One environment, or all when there is no name."""
    return [environment(name, by=by)] if name else environments(by=by)


def health(name: str, *, by: Actor | None = None) -> Health:
    """Ask an environment's Prefect now how it is."""
    return healths.check(environment(name, by=by))


def deployments(name: str = "", *, by: Actor | None = None) -> QuerySet[Deployment]:
    """What is deployed in one environment, or in all."""
    visible = Holding.of(by.user).deployments() if by else Deployment.objects.select_related("environment")
    there = visible.filter(environment__in=chosen(name, by=by), gone_at=None)
    return there.order_by("environment__position", "environment", "full_name")


def deployment(environment_name: str, name: str, *, by: Actor | None = None) -> Deployment:
    """By alias, full name, or a flow's or deployment's name that only one has."""
    place = environment(environment_name, by=by)
    there = list(deployments(environment_name, by=by))
    alias = Alias.objects.filter(environment=place, name=name).first()
    wanted = alias.full_name if alias else name
    found = [each for each in there if each.full_name == wanted]
    if not found and not alias:
        found = [each for each in there if name in (each.name, each.flow_name, str(each.prefect_id))]
    if len(found) == 1:
        return found[0]
    if found:
        names = listing("Name one", [each.full_name for each in found])
        raise NotHere(f"{name} may mean several deployments in {place}. {names}")
    if alias and may_know(alias, by):
        raise NotHere(
            f"{name} stands for {alias.full_name}, which is not deployed in {place}. Deploy it there, then read the "
            f"environment again with “manage.py sync {place}”."
        )
    raise NotHere(
        f"{place} has no deployment {name}. {listing('It has', [each.full_name for each in there])} "
        f"One that was deployed just now is read by “manage.py sync {place}”."
    )


def may_know(alias: Alias, by: Actor | None) -> bool:
    """Whether what an alias stands for may be named to somebody."""
    target = Target(alias.environment, alias.full_name.partition("/")[0], alias.full_name)
    return by is None or Holding.of(by.user).decide(Verb.SEE, target).allowed


def runs(name: str = "", *, by: Actor | None = None, state: str = "", limit: int = 20) -> list[Run]:
    """The newest runs; `state` is Prefect's state type, in capitals or not."""
    wanted = state.upper()
    if wanted and wanted not in STATES:
        raise Refused(f"There is no state {state}. {listing('There is', [each.lower() for each in STATES])}")
    found = visible_runs(by).filter(environment__in=chosen(name, by=by), gone_at=None)
    if wanted:
        found = found.filter(state_type=wanted)
    return list(found.order_by(F("created_upstream_at").desc(nulls_last=True), "-pk")[:limit])


def run(reference: str, environment_name: str = "", *, by: Actor | None = None) -> Run:
    """By Prefect's id, or by a name that only one run has; `request:12` is the run of a request."""
    places = chosen(environment_name, by=by)
    runs_there = visible_runs(by).filter(environment__in=places, **lookup(reference))
    found = list(runs_there.order_by("-pk")[: MOST_CANDIDATES + 1])
    if not found:
        raise NotHere(f"There is no run {reference}.")
    if len(found) > 1:
        names = [f"{each.prefect_id} ({each.state_label} in {each.environment})" for each in found]
        raise NotHere(f"{reference} may mean several runs. {listing('Give the id and the environment of one', names)}")
    return found[0]


def lookup(reference: str) -> dict[str, Any]:
    kind, _, number = reference.partition(":")
    if kind == "request" and number.isdecimal():
        return {"run_request": int(number)}
    try:
        return {"prefect_id": uuid.UUID(reference)}
    except ValueError:
        return {"name": reference}


def visible_runs(by: Actor | None) -> QuerySet[Run]:
    found = Run.objects.select_related("environment", "deployment")
    return found.filter(Holding.of(by.user).q(Verb.SEE, deployment="deployment__")) if by else found


def status(reference: int | RunRequest, *, by: Actor | None = None) -> RunRequest:
    """A request as it is now, by its number."""
    pk = reference.pk if isinstance(reference, RunRequest) else reference
    found = RunRequest.objects.select_related("environment", "deployment", "run__environment").filter(pk=pk)
    if by:
        found = found.filter(Holding.of(by.user).q(Verb.SEE, deployment="deployment__"))
    for wish in found:
        return wish
    raise NotHere(f"There is no request {pk}.")


# Acting


def trigger(
    environment_name: str,
    deployment_name: str,
    values: Mapping[str, JSON],
    *,
    by: Actor,
    reason: str = "",
    tags: Sequence[str] = (),
    run_name: str = "",
    scheduled_for: datetime | None = None,
    key: uuid.UUID | None = None,
) -> RunRequest:
    """Ask for a run; the same `key` again gives the same request, however often it is sent."""
    return lifecycle.submit(
        deployment(environment_name, deployment_name, by=by),
        values,
        by=by,
        reason=reason,
        tags=tags,
        run_name=run_name,
        scheduled_for=scheduled_for,
        submission_key=key,
    )


def cancel(reference: str, environment_name: str = "", *, by: Actor, reason: str = "") -> Cancellation:
    """Ask for a run to be stopped."""
    return lifecycle.cancel(run(reference, environment_name, by=by), by=by, reason=reason)


def wait[Wish: (RunRequest, Cancellation)](wish: Wish, *, seconds: float) -> Wish:
    """Look until it is over, and give it back as it is then.

    When the time is up: `StillGoing`, or `PrefectError` when Prefect has not taken it yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        wish.refresh_from_db()
        if wish.state not in OPEN[type(wish)]:
            return wish
        if time.monotonic() >= deadline:
            said = f"{wish} is not over after {seconds:g} s. {wish.message or f'It is “{wish.get_state_display()}”.'}"
            raise PrefectError(said) if wish.message and wish.state in NOT_SENT[type(wish)] else StillGoing(said)
        time.sleep(min(LOOK_EVERY, max(deadline - time.monotonic(), 0)))


def sync(name: str, *, by: Actor | None = None) -> Sync:
    """Read an environment's deployments and runs from Prefect now."""
    place = environment(name, by=by)
    found = healths.check(place)
    if found.state != Health.State.UP:
        raise PrefectError(found.message)
    result = catalogue.sync(place)
    mirror.sweep(place)
    return result


def typed(place: Deployment, texts: Mapping[str, str], given: Mapping[str, JSON]) -> dict[str, JSON]:
    """Values that came as text: kept as text where the schema takes text, read as JSON where it does not."""
    values: dict[str, JSON] = {**given, **texts}
    try:
        parameters.validate(place.parameter_schema, values, defaults=place.parameter_defaults)
    except parameters.Invalid as invalid:
        for name in {str(error.path[0]) for error in invalid.errors if error.path} & texts.keys():
            try:
                values[name] = json.loads(texts[name])
            except ValueError:
                continue
    return values


def listing(begin: str, names: Sequence[str]) -> str:
    """A sentence that names the candidates, or nothing when there are none."""
    if not names:
        return ""
    more = f" and {len(names) - MOST_CANDIDATES} more" if len(names) > MOST_CANDIDATES else ""
    return f"{begin}: {', '.join(names[:MOST_CANDIDATES])}{more}."
