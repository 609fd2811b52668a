"""Messages about ends of runs: read, and written, for a batch of events at a time, because runs end often."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models import Q

from flows.wording import deployment_name
from runs.access.decisions import Target
from runs.models import Channel, Run, RunEvent, RunRequest
from runs.models.notification import Topic
from runs.models.run import TERMINAL
from runs.notifications.audience import Audience, Listener
from runs.notifications.services import Draft, create_many

Kind = RunEvent.Kind
EVENTS = (Kind.RUN_APPEARED, Kind.RUN_MOVED)
# State -> what a run in it did, in words.
DID = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "crashed",
    "CANCELLED": "was cancelled",
}
# State -> the topics of its end for everyone, and for who requested the run, the first one first.
TOPICS: dict[str, tuple[tuple[Topic, ...], tuple[Topic, ...]]] = {
    "COMPLETED": ((Topic.RECOVERED,), (Topic.OWN_ENDED,)),
    "FAILED": ((Topic.FAILED,), (Topic.OWN_FAILED, Topic.OWN_ENDED)),
    "CRASHED": ((Topic.FAILED,), (Topic.OWN_FAILED, Topic.OWN_ENDED)),
    "CANCELLED": ((Topic.CANCELLED,), (Topic.OWN_ENDED,)),
}
ALL = {topic for everyone, own in TOPICS.values() for topic in (*everyone, *own)}
# What the portal reads later than this is no news: such as a run that is back after Prefect was restored.
NEWS = timedelta(days=1)
# What decides about a run is small; these columns are not.
LARGE = [
    "parameters",
    "state_message",
    *(
        f"access_deployment__{name}"
        for name in ("parameter_schema", "parameter_defaults", "schedules", "job_variables", "definition")
    ),
]
# The completed runs among these whose deployment failed before: in the run before them, or in an attempt of their own.
RECOVERED = """
    SELECT run.id FROM runs_run AS run
    WHERE run.id = ANY(%s) AND (
        EXISTS (SELECT FROM runs_failedrun AS own WHERE own.run_id = run.id)
        OR (
            SELECT earlier.state_type FROM runs_run AS earlier
            WHERE earlier.deployment_id = run.deployment_id
            AND (earlier.sort_at, earlier.id) < (run.sort_at, run.id)
            AND earlier.state_type IN ('COMPLETED', 'FAILED', 'CRASHED')
            ORDER BY earlier.sort_at DESC, earlier.id DESC LIMIT 1
        ) IN ('FAILED', 'CRASHED')
    )
"""


@dataclass(frozen=True, slots=True)
class End:
    """That a run ended, in a state that it may have left since; `requesters` are the keys of who asked for it."""

    run: Run
    state: str
    target: Target
    request_id: int | None
    requesters: frozenset[int]


def notify_of_end(event: RunEvent) -> None:
    notify_of_ends([event])


def notify_of_ends(events: Sequence[RunEvent]) -> None:
    """Create the messages that follow from a batch of events; queries do not depend on how many there are."""
    ends = ends_of([event for event in events if is_news(event)])
    if not ends:
        return
    requesters = {pk for end in ends for pk in end.requesters}
    audience = Audience(ALL, [end.target for end in ends], people=requesters)
    if not audience.listeners:
        return
    recovered = recovered_among(ends) if audience.has_any(Topic.RECOVERED) else frozenset()
    create_many(
        [
            draft(listener, topic, end)
            for end in ends
            for listener, topic in listeners_of(end, audience, recovered)
            # What a channel sees is selected by the names of the run, as its rules are.
            if listener.sees(end.target if listener.channel else Target.of_run(end.run))
        ]
    )


def is_news(event: RunEvent) -> bool:
    """Return whether a run ended by an event, lately. What a first reading finds never gets here."""
    return event.data.get("state") in TERMINAL and event.observed_at - event.occurred_at < NEWS


def ends_of(events: Sequence[RunEvent]) -> list[End]:
    """Return the ends of the runs that are still known, but for those that are only a part of another run."""
    rows = Run.objects.select_related("environment", "access_deployment__environment").defer(*LARGE)
    runs = rows.in_bulk({event.run_id for event in events if event.run_id})
    # A launch can be recorded after its run was read: then the event names the request, which does not know its run.
    named = {event.run_id: event.request_id for event in events if event.run_id and event.request_id}
    requested = RunRequest.objects.filter(Q(run__in=runs) | Q(pk__in={*named.values()}))
    people = dict[int, frozenset[int]]()
    linked = dict[int, int]()
    for each in requested.select_related("change").only("run", "change__requested_by", "change__on_behalf_of"):
        people[each.pk] = frozenset(pk for pk in (each.change.requested_by_id, each.change.on_behalf_of_id) if pk)
        linked[each.run_id or 0] = each.pk
    found = []
    for event in events:
        run = runs.get(event.run_id or 0)
        if run is None or (run.parent_id and not run.deployment_id):
            continue
        request_id = linked.get(run.pk) or named.get(run.pk)
        requesters = people.get(request_id or 0, frozenset())
        found.append(End(run, event.data["state"], Target.named(run), request_id, requesters))
    return found


def recovered_among(ends: Sequence[End]) -> frozenset[int]:
    """Return the keys of the completed runs whose deployment failed before."""
    completed = [end.run.pk for end in ends if end.state == "COMPLETED" and end.run.deployment_id]
    if not completed:
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute(RECOVERED, [completed])
        return frozenset(pk for (pk,) in cursor.fetchall())


def listeners_of(end: End, audience: Audience, recovered: Collection[int]) -> Iterator[tuple[Listener, Topic]]:
    """Yield the receivers of an end, each once, and because of which topic: first as who requested the run."""
    everyone, own = TOPICS[end.state]
    if end.run.pk not in recovered:
        everyone = tuple(topic for topic in everyone if topic != Topic.RECOVERED)
    seen = set[tuple[int | None, tuple[Channel, ...]]]()
    for topic in (*own, *everyone):
        for listener in audience.of([topic], [end.target]):
            receiver = listener.key, listener.channels
            if receiver not in seen and (topic not in own or listener.key in end.requesters):
                seen.add(receiver)
                yield listener, topic


def draft(listener: Listener, topic: Topic, end: End) -> Draft:
    run, place = end.run, end.run.environment
    again = " again" if topic == Topic.RECOVERED else ""
    text = f"Run {run} of {deployment_name(run.what)} in {place} {DID[end.state]}."
    text += " The run before it had failed." if again else ""
    text += f" It is the run of request {end.request_id}." if end.request_id else ""
    subject = f"{deployment_name(run.what)} {DID[end.state]}{again} in {place}"
    return Draft(listener.person, topic, place, subject, text, run, listener.channels)
