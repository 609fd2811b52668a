"""What the filters of the lists select, where it is more than the comparison of one column."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q, Subquery, Value
from django.db.models.functions import Lower

from flows.models import Deployment, Environment
from runs.errors import Refused
from runs.models import ChangeRequest, RunRequest, RunSpec
from runs.models.request import State
from runs.models.run import ACTIVE, STATES, Stall

# Prefect's state types; ACTIVE is all that have not ended, DELETED what was deleted in Prefect before it ended.
RunState = Literal[
    "SCHEDULED",
    "PENDING",
    "RUNNING",
    "COMPLETED",
    "FAILED",
    "CRASHED",
    "CANCELLING",
    "CANCELLED",
    "PAUSED",
    "ACTIVE",
    "DELETED",
]
Origin = Literal["portal", "schedule", "outside", "subflow"]
ACTIVE_STATES, DELETED = "ACTIVE", "DELETED"
# A search of 3,000 words took 7 s of a processor; five people could stop the portal with it.
MOST_WORDS = 5
LONGEST = 100
# How a run came about -> its condition. `schedule` and the others are about runs that were not requested here.
ORIGINS: dict[str, Q] = {
    "portal": Q(created_by_portal=True),
    "schedule": Q(created_by_portal=False, is_auto_scheduled=True),
    "outside": Q(created_by_portal=False, is_auto_scheduled=False, parent=None),
    "subflow": Q(created_by_portal=False, is_auto_scheduled=False, parent__isnull=False),
}
# The words of a search that are states. A word can also be part of a name, so it selects both.
RUN_WORDS: dict[str, str] = {
    **{label.casefold(): state for state, (label, _) in STATES.items()},
    "active": ACTIVE_STATES,
    "deleted": DELETED,
}
REQUEST_WORDS: dict[str, str] = {
    **{label.casefold(): str(state) for state, label in State.choices},
    "waiting": str(State.HELD),
}


def in_run_states(states: Collection[str]) -> Q:
    """Return the condition for runs in any of these states, of `RunState` in any case."""
    wanted = {state.upper() for state in states}
    if ACTIVE_STATES in wanted:
        wanted |= ACTIVE
    # A run that was deleted before it ended has no state that still counts.
    deleted = Q(state_type__in=ACTIVE, deleted_upstream_at__isnull=False)
    # Only what the column can hold: by another word in the list Postgres could not use the index of active runs.
    types = sorted(wanted & STATES.keys())
    found = Q(state_type__in=types) & (Q(deleted_upstream_at=None) if ACTIVE.issuperset(types) else ~deleted)
    return found | deleted if DELETED in wanted else found


def of_origin(origin: str) -> Q:
    return ORIGINS.get(origin, Q(pk__in=[]))


def in_environment(slug: str) -> Q:
    """Return the condition for the rows of an environment: by its key, which indexes begin with, and not by a join."""
    return Q(environment=Subquery(Environment.objects.filter(slug=slug).values("pk")[:1]))


def is_stalled(wanted: bool) -> Q:
    return ~Q(stalled_kind="") if wanted else Q(stalled_kind="")


def stalled(kinds: Collection[str]) -> Q:
    """Return the condition for runs that are stalled by any of these rules; "any" is all of them."""
    return Q(stalled_kind__in=Stall.values if "any" in kinds else [kind for kind in kinds if kind])


def with_parameter(text: str) -> Q:
    """Return the condition for runs with a parameter, given as "name=value"; the value is JSON or a text.

    Values are as they are stored: of secrets, nothing is found.
    """
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        return Q(pk__in=[])
    values: list[Any] = [value.strip()]
    with suppress(ValueError):
        values.append(json.loads(value))
    found = Q()
    for each in values:
        found |= Q(parameters__contains={name.strip(): each})
    return found


def deployments_named(text: str, column: str = "deployment") -> Q:
    """Return the condition for rows of deployments whose full name contains a text."""
    # By keys: the table of deployments is small, and the rows are indexed by them.
    named = Deployment.objects.filter(full_name__icontains=text).order_by().values("pk")
    return Q(**{f"{column}__in": named})


def require_bounded(text: str) -> None:
    """Refuse a search text that costs too much: each word costs a scan of every searched column."""
    if len(text) > LONGEST:
        raise Refused("search.too_long", f"The search text is too long: {len(text):,} characters, at most {LONGEST}.")
    if len(text.split()) > MOST_WORDS:
        raise Refused("search.too_many_words", f"Search for at most {MOST_WORDS} words.")


def each_word(text: str, condition: Callable[[str], Q]) -> Q:
    require_bounded(text)
    found = Q()
    for word in text.replace("\0", "").split():
        found &= condition(word)
    return found


def search_runs(text: str) -> Q:
    """Return the condition for runs that match every word: a state, a part of a name, or a whole id."""
    return each_word(text, run_matches)


def run_matches(word: str) -> Q:
    found = Q(search_text__contains=Lower(Value(word)))
    if pk := as_uuid(word):
        found |= Q(prefect_id=pk)
    if state := RUN_WORDS.get(word.casefold()):
        found |= in_run_states([state])
    return found


def search_requests(text: str) -> Q:
    """Return the condition for requests that match every word: a state, a number, a name, a person or a reason."""
    return each_word(text, request_matches)


def request_matches(word: str) -> Q:
    # By keys, of tables that are smaller or indexed: as joins, all rows would be read for a page of them.
    about = Q(requested_by_name__icontains=word) | Q(reason__icontains=word) | Q(ticket__iexact=word)
    found = deployments_named(word) | Q(change__in=ChangeRequest.objects.filter(about).order_by().values("pk"))
    found |= Q(spec__in=RunSpec.objects.filter(run_name__icontains=word).order_by().values("pk"))
    number = word.removeprefix("#")
    if number.isascii() and number.isdigit() and len(number) < 19:
        found |= Q(pk=int(number))
    if state := REQUEST_WORDS.get(word.casefold()):
        found |= Q(state=state)
    return found


def as_uuid(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None


def in_request_states(states: Collection[str]) -> Q:
    return Q(state__in=[state for state in states if state in RunRequest.State.values])
