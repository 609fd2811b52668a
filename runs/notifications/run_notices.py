"""Messages about runs: stalled ones, failures, service levels that do not hold."""

from __future__ import annotations

from collections.abc import Sequence

from flows.wording import deployment_name, plural
from runs import failures
from runs.access.decisions import Target
from runs.models import Breach, FailureGroup, Run, RunEvent, ServiceLevel, Stall, Verb
from runs.models.notification import Topic
from runs.notifications.audience import Audience, Listener
from runs.notifications.event_subjects import environment_of
from runs.notifications.recipients import Message, notify_each
from runs.notifications.services import create

Kind = RunEvent.Kind


# Runs that one message names.
MOST_NAMED = 10


def notify_of_stalls(event: RunEvent) -> None:
    """Queue one message about these runs to each subscriber who requested one of them or can act on it.

    Of the late ones alone to those who chose nothing else.
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

    topics = {run: [Topic.STALLED, *([Topic.LATE] if kinds[run.pk] == Stall.LATE.label else [])] for run in runs}
    targets = {run: Target.named(run) for run in runs}
    audience = Audience([Topic.STALLED, Topic.LATE], [*targets.values()])
    for listener in audience.of([Topic.STALLED, Topic.LATE], [*targets.values()]):
        theirs = [
            run
            for run in runs
            if any(audience.wants(listener, topic, targets[run]) for topic in topics[run]) and is_for(run, listener)
        ]
        if theirs:
            is_all_late = all(Topic.LATE in topics[run] for run in theirs)
            topic = Topic.LATE if is_all_late else Topic.STALLED
            what = "stalled run" if topic == Topic.STALLED else "late run"
            subject = f"{plural(len(theirs), what)} in {environment}"
            text = "\n".join(named([f"{run} ({deployment_name(run.what)}): {kinds[run.pk]}" for run in theirs]))
            target = theirs[0] if len(theirs) == 1 else None
            create(listener.person, topic, environment, subject, text, target, listener.channels)


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

    target = failures.target_of(group)

    def message(listener: Listener) -> Message | None:
        # Who resolved it knows.
        if (listener.person and listener.key == event.data.get("by_id")) or not listener.sees(target):
            return None
        # The message quotes the log.
        reason = group.title if listener.can(Verb.SEE_LOGS, target) else ""
        lines = [f"{what}: {group} in {group.environment}.", *([f"Error: {reason}"] if reason else [])]
        if event.kind == Kind.FAILURE_RESOLVED:
            lines += [f"By {by}, who gave this reason: {group.reason or 'none'}"]
        else:
            lines += ["", "More failures of this kind are counted there. You are not notified of each of them."]
        return Message(f"{what}: {deployment_name(group.what)} in {group.environment}", "\n".join(lines), group)

    notify_each(Topic.FAILURE, group.environment, [target], message)


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
    targets = {each: Target.of(each.deployment) for each in breaches}
    audience = Audience(topics, [*targets.values()])
    for listener in audience.of(topics, [*targets.values()]):
        wanted = {
            each: [topic for topic in topics if audience.wants(listener, topic, targets[each])] for each in breaches
        }
        theirs = [each for each in breaches if wanted[each] and listener.sees(targets[each])]
        if not theirs:
            continue
        text = [
            f"{level.sentence}{', no longer' if is_over else ''}:",
            *named([str(each.deployment) for each in theirs]),
        ]
        text += ["", f"Runbook: {level.runbook}"] if level.runbook and not is_over else []
        topic = wanted[theirs[0]][0]
        subject = f"Service level {what} in {place}: {level.sentence}"
        create(listener.person, topic, place, subject, "\n".join(text), level, listener.channels)


# Kind of level -> what else its breach is about.
LEVEL_TOPICS: dict[str, tuple[Topic, ...]] = {
    ServiceLevel.Kind.LATE: (Topic.LATE,),
    ServiceLevel.Kind.LONG: (Topic.OVERRUN,),
    ServiceLevel.Kind.UNUSUAL: (Topic.OVERRUN,),
}


def is_for(run: Run, listener: Listener) -> bool:
    """Return whether the person requested the run, or can cancel it; or a channel sees it."""
    if listener.channel:
        return listener.sees(Target.named(run))
    run_request = getattr(run, "run_request", None)
    is_own = run_request is not None and run_request.change.requested_by_id == listener.key
    return is_own or listener.can(Verb.CANCEL, Target.of_run(run))
