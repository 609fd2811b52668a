"""Messages about runs: stalled ones, failures, service levels that do not hold."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import User

from flows.wording import plural
from runs import failures
from runs.access.decisions import Permissions, Target
from runs.models import Breach, FailureGroup, Run, RunEvent, ServiceLevel, Stall, Verb
from runs.models.notification import Topic
from runs.notifications.audience import Audience
from runs.notifications.event_subjects import environment_of
from runs.notifications.services import Message, create, notify_each

Kind = RunEvent.Kind


# Runs that one message names.
MOST_NAMED = 10


def notify_of_stalls(event: RunEvent) -> None:
    """Queue one message about these runs to each subscriber who requested one of them or can act on it.

    Of the late ones alone to those who want to hear of nothing else.
    """
    kinds: dict[int, str] = {pk: Stall(kind).label for pk, kind in event.data["runs"]}
    rows = Run.objects.filter(pk__in=kinds).order_by("pk")
    # What decides about a run is small; the schema of a deployment is not.
    runs = list(
        rows.select_related("environment", "access_deployment__environment", "run_request__change").defer(
            "parameters",
            "access_deployment__parameter_schema",
            "access_deployment__parameter_defaults",
        )
    )
    environment = environment_of(event)
    if not runs or environment is None:
        return

    late = [run for run in runs if kinds[run.pk] == Stall.LATE.label]
    audience = Audience((Topic.STALLED, Topic.LATE), [environment.pk])
    for listener in audience.of((Topic.STALLED, Topic.LATE), environment.pk):
        topic = Topic.STALLED if audience.wants(listener, Topic.STALLED, environment.pk) else Topic.LATE
        about = runs if topic == Topic.STALLED else late
        theirs = [run for run in about if is_for(run, listener.person, listener.permissions)]
        if theirs:
            what = "stalled run" if topic == Topic.STALLED else "late run"
            subject = f"{plural(len(theirs), what)} in {environment}"
            text = "\n".join(named([f"{run} ({run.what}): {kinds[run.pk]}" for run in theirs]))
            target = theirs[0] if len(theirs) == 1 else None
            create(listener.person, topic, environment, subject, text, target)


def named(names: Sequence[str]) -> list[str]:
    """Return a line for each of the first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return [*(f"- {name}" for name in names[:MOST_NAMED]), *([f"and {more} more"] if more > 0 else [])]


def notify_of_failure(event: RunEvent) -> None:
    """Queue one message about a failure group to each subscriber who can see its deployment."""
    rows = FailureGroup.objects.select_related("environment", "access_deployment__environment")
    group = rows.filter(pk=event.data["group"]).first()
    if group is None:
        return
    what = FAILURE_TEXTS[event.kind]
    by = event.data.get("by", "")

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        # Who resolved it knows.
        if person.pk == event.data.get("by_id") or not permissions.decide(Verb.SEE, failures.target_of(group)):
            return None
        # The message quotes the log.
        reason = group.title if failures.sees_message(permissions, group) else ""
        lines = [f"{what}: {group} in {group.environment}.", *([f"Error: {reason}"] if reason else [])]
        if event.kind == Kind.FAILURE_RESOLVED:
            lines += [f"By {by}, who gave this reason: {group.reason or 'none'}"]
        else:
            lines += ["", "More failures of this kind are counted there. You are not notified of each of them."]
        return Message(f"{what}: {group.what} in {group.environment}", "\n".join(lines), group)

    notify_each(Topic.FAILURE, group.environment, message)


FAILURE_TEXTS: dict[str, str] = {
    Kind.FAILURE_APPEARED: "New failure",
    Kind.FAILURE_REGRESSED: "Failed again after it was resolved",
    Kind.FAILURE_RESOLVED: "Failure resolved",
}


def notify_of_breaches(event: RunEvent) -> None:
    """Queue one message about a level to each subscriber who can see one of the deployments."""
    level = ServiceLevel.objects.select_related("environment").filter(pk=event.data["level"]).first()
    rows = Breach.objects.select_related("deployment__environment").filter(pk__in=event.data["breaches"])
    # What decides about a deployment is small; its schema is not.
    rows = rows.defer("deployment__parameter_schema", "deployment__definition")
    breaches = list(rows.order_by("deployment__full_name", "pk"))
    is_over = event.kind == Kind.LEVEL_CLEARED
    # A level that was removed does not hold again.
    if level is None or (is_over and level.removed_at):
        return
    topics, place = (Topic.LEVEL, *LEVEL_TOPICS.get(level.kind, ())), level.environment
    what = "holds again" if is_over else "breached"
    audience = Audience(topics, [place.pk])
    for listener in audience.of(topics, place.pk):
        theirs = [each for each in breaches if listener.permissions.decide(Verb.SEE, each.deployment)]
        if not theirs:
            continue
        text = [
            f"{level.sentence}{', no longer' if is_over else ''}:",
            *named([str(each.deployment) for each in theirs]),
        ]
        text += ["", f"Runbook: {level.runbook}"] if level.runbook and not is_over else []
        topic = next(topic for topic in topics if audience.wants(listener, topic, place.pk))
        subject = f"Service level {what} in {place}: {level.sentence}"
        create(listener.person, topic, place, subject, "\n".join(text), level)


# Kind of level -> what else its breach is about.
LEVEL_TOPICS: dict[str, tuple[Topic, ...]] = {
    ServiceLevel.Kind.LATE: (Topic.LATE,),
    ServiceLevel.Kind.LONG: (Topic.OVERRUN,),
    ServiceLevel.Kind.UNUSUAL: (Topic.OVERRUN,),
}


def is_for(run: Run, person: User, permissions: Permissions) -> bool:
    """Return whether the person requested the run, or can cancel it."""
    run_request = getattr(run, "run_request", None)
    is_own = run_request is not None and run_request.change.requested_by_id == person.pk
    return is_own or permissions.decide(Verb.CANCEL, Target.of_run(run)).allowed
