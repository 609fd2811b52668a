"""Messages about environments: their Prefect is unreachable or back, and how far a model has drifted."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from flows.wording import deployment_name
from runs.access.decisions import Target
from runs.models import Artifact, Outage, RunEvent, Verb
from runs.models.notification import Topic
from runs.notifications.audience import Audience
from runs.notifications.event_subjects import environment_of
from runs.notifications.recipients import notify
from runs.notifications.services import create

Kind = RunEvent.Kind
# The level that people are notified of, when it is reached and when it is left.
HIGH = "HIGH"


def notify_of_outage(event: RunEvent) -> None:
    """Queue a message to each subscriber who can see the environment."""
    environment = environment_of(event)
    if environment is None:
        return
    since = timezone.localtime(datetime.fromisoformat(event.data["since"]))
    if event.kind == Kind.ENVIRONMENT_BACK:
        what, text = "reachable again", f"It was unreachable since {since:%d %b %Y, %H:%M %Z}."
    else:
        outage = Outage.objects.filter(pk=event.data["outage"]).first()
        reason = f" {outage.message}" if outage and outage.message else ""
        what = "unreachable"
        text = f"Since {since:%d %b %Y, %H:%M %Z}.{reason} Runs are launched when it is back."
    subject = f"Prefect of {environment} is {what}"
    notify(Topic.SERVER, environment, subject, f"{subject}. {text}", target=environment)


def notify_of_drift(event: RunEvent) -> None:
    """Queue a message to each subscriber who can view the log of the run that measured it."""
    rows = Artifact.objects.select_related("run__environment", "run__access_deployment__environment")
    artifact = rows.filter(pk=event.data["artifact"]).first()
    level, before = event.data["level"], event.data["before"]
    if artifact is None or HIGH not in (level, before):
        return
    run, place = artifact.run, artifact.run.environment
    target = Target.named(run)
    audience = Audience([Topic.DRIFT], [target])
    what = "High drift" if level == HIGH else "Drift is no longer high"
    text = f"{deployment_name(run.what)} in {place} reported the level {level}; before it was {before}. Run: {run}."
    subject = f"{what}: {deployment_name(run.what)} in {place}"
    for listener in audience.of([Topic.DRIFT], [target]):
        governing = target if listener.channel else Target.of_run(run)
        if listener.sees(governing) and (listener.channel or listener.can(Verb.SEE_LOGS, governing)):
            create(listener.person, Topic.DRIFT, place, subject, text, run, listener.channels)
