"""Messages about runs: stalled ones, failures, service levels that do not hold."""

from __future__ import annotations

from django.contrib.auth.models import User

from flows.wording import plural
from runs import failures
from runs.access.decisions import Permissions, Target
from runs.models import Breach, FailureGroup, Run, RunEvent, ServiceLevel, Stall, Verb
from runs.models.notification import Topic
from runs.notifications.event_subjects import environment_of
from runs.notifications.services import Message, notify_each

Kind = RunEvent.Kind


# Runs that one message names.
MOST_NAMED = 10


def notify_of_stalls(event: RunEvent) -> None:
    """Queue one message about these runs to each subscriber who requested one of them or can act on it."""
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

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        theirs = [run for run in runs if is_for(run, person, permissions)]
        if not theirs:
            return None
        lines = [f"- {run} ({run.what}): {kinds[run.pk]}" for run in theirs]
        more = len(lines) - MOST_NAMED
        return Message(
            f"{plural(len(theirs), 'stalled run')} in {environment}",
            "\n".join([*lines[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]),
            theirs[0] if len(theirs) == 1 else None,
        )

    notify_each(Topic.STALLED, environment, message)


def notify_of_failure(event: RunEvent) -> None:
    """Queue one message about a failure group to each subscriber who can see its deployment."""
    rows = FailureGroup.objects.select_related("environment", "access_deployment__environment")
    group = rows.filter(pk=event.data["group"]).first()
    if group is None:
        return
    is_back = event.kind == Kind.FAILURE_REGRESSED
    what = "Failed again after it was resolved" if is_back else "New failure"

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        if not permissions.decide(Verb.SEE, failures.target_of(group)):
            return None
        # The message quotes the log.
        reason = group.title if failures.sees_message(permissions, group) else ""
        lines = [f"{what} of {group} in {group.environment}.", *([f"Reason: {reason}"] if reason else [])]
        lines += ["", "More failures of this kind are counted there. You are not notified of each of them."]
        return Message(f"{what}: {group.what} in {group.environment}", "\n".join(lines), group)

    notify_each(Topic.FAILURE, group.environment, message)


def notify_of_breaches(event: RunEvent) -> None:
    """Queue one message about a breached level to each subscriber who can see one of the deployments."""
    level = ServiceLevel.objects.select_related("environment").filter(pk=event.data["level"]).first()
    rows = Breach.objects.select_related("deployment__environment").filter(pk__in=event.data["breaches"])
    # What decides about a deployment is small; its schema is not.
    rows = rows.defer("deployment__parameter_schema", "deployment__definition")
    breaches = list(rows.order_by("deployment__full_name", "pk"))
    if level is None:
        return

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        theirs = [each for each in breaches if permissions.decide(Verb.SEE, each.deployment)]
        if not theirs:
            return None
        lines = [f"- {each.deployment}" for each in theirs]
        more = len(lines) - MOST_NAMED
        text = [f"{level.sentence}:", *lines[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
        text += ["", f"Runbook: {level.runbook}"] if level.runbook else []
        return Message(f"Service level breached in {level.environment}: {level.sentence}", "\n".join(text), level)

    notify_each(Topic.LEVEL, level.environment, message)


def is_for(run: Run, person: User, permissions: Permissions) -> bool:
    """Return whether the person requested the run, or can cancel it."""
    run_request = getattr(run, "run_request", None)
    is_own = run_request is not None and run_request.change.requested_by_id == person.pk
    return is_own or permissions.decide(Verb.CANCEL, Target.of_run(run)).allowed
