"""Email notifications: the only code that writes `Notification` and `Subscription`."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit, queue
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Notification, Subscription
from runs.models.notification import Topic

# Shorter than `queue.LEASE`, so that the task that is taken again after a kill finds its row due. A conversation that
# takes longer is not repeated beside it: the queue runs a task once at a time.
LEASE = timedelta(seconds=14)
# After 1, 2, 4, 8 and 16 minutes: half an hour in all, then the message is of little use.
MOST_ATTEMPTS = 6
FIRST_WAIT = timedelta(minutes=1)
# SMTP: 5xx is permanent, 4xx is temporary.
PERMANENT = 500
LONGEST_SUBJECT = 300
# Rows of one transaction.
FORGOTTEN_AT_ONCE = 500


def notify(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
    may: Callable[[User], bool] | None = None,
    also: Iterable[User] = (),
) -> None:
    """Queue a message to all subscribers of the topic, within the current transaction.

    `may` decides who can receive it; by default those who can see the environment. Permissions are checked for each
    message, because a subscription outlives a grant. `also` are people who receive it without a subscription.
    """
    people = {person.pk: person for person in [*subscribers(topic, environment), *also] if person.is_active}
    for person in people.values():
        if may(person) if may else Permissions.of_person(person).environments().filter(pk=environment.pk).exists():
            create(person, topic, environment, subject, text, target)


@dataclass(frozen=True, slots=True)
class Message:
    """The message for one person, and the row that it is about."""

    subject: str
    text: str
    target: models.Model | None = None


def notify_each(topic: Topic, environment: Environment, message: Callable[[User], Message | None]) -> None:
    """Queue a separate message to each subscriber of the topic; None for those it does not concern.

    `message` decides by the person's permissions, because a subscription outlives a grant.
    """
    for person in subscribers(topic, environment):
        if found := message(person):
            create(person, topic, environment, found.subject, found.text, found.target)


def subscribers(topic: Topic, environment: Environment) -> models.QuerySet[User]:
    return User.objects.filter(
        Q(subscriptions__environment=environment) | Q(subscriptions__environment=None),
        subscriptions__topic=topic,
        is_active=True,
    ).distinct()


def overseers() -> models.QuerySet[User]:
    """Return the active administrators and auditors."""
    backend = "django.contrib.auth.backends.ModelBackend"
    return User.objects.with_perm("runs.view_auditentry", backend=backend)


def notify_overseers(
    topic: Topic,
    environments: Sequence[Environment],
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
    also: Iterable[User] = (),
    may: Callable[[User], bool] | None = None,
) -> None:
    """Queue a message to all administrators and auditors, and to subscribers who can see one of the environments.

    `also` are people who receive it without a subscription, as long as their account is active. `may` decides which
    subscribers can receive it, where seeing an environment is not enough.
    """
    # No setting disables this: a person who loosens the rules must not be able to do so unseen.
    people = {person.pk: person for person in [*overseers(), *also] if person.is_active}
    wanted = Q(subscriptions__environment__in=environments) | Q(subscriptions__environment=None)
    for person in User.objects.filter(wanted, subscriptions__topic=topic, is_active=True).distinct():
        places = Permissions.of_person(person).environments().filter(pk__in=[each.pk for each in environments])
        if may(person) if may else places.exists():
            people.setdefault(person.pk, person)
    if target is None and len(environments) == 1:
        target = environments[0]
    about = environments[0] if len(environments) == 1 else None
    for person in people.values():
        create(person, topic, about, subject, text, target)


def notify_concerned(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    people: Iterable[User],
    may: Callable[[User], bool],
    target: models.Model | None = None,
) -> None:
    """Queue a message to these people, as long as their accounts are active, and to subscribers who may receive it."""
    concerned = {person.pk: person for person in people if person.is_active}
    for person in subscribers(topic, environment):
        if may(person):
            concerned.setdefault(person.pk, person)
    for person in concerned.values():
        create(person, topic, environment, subject, text, target)


def notify_person(
    topic: Topic,
    environment: Environment | None,
    person: User,
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
) -> None:
    """Queue a message to one person, if they subscribed; None is about several environments."""
    wanted = Q(environment=environment) | Q(environment=None)
    if person.is_active and person.subscriptions.filter(wanted, topic=topic).exists():
        create(person, topic, environment, subject, text, target)


def create(
    person: User, topic: Topic, environment: Environment | None, subject: str, text: str, target: models.Model | None
) -> None:
    """Store one message and queue its delivery; a rollback takes both back."""
    # Names come from users: a line break in the subject would start another header.
    one_line = " ".join(sanitize(subject).split())[:LONGEST_SUBJECT]
    notice = Notification(person=person, topic=topic, environment=environment, subject=one_line, text=sanitize(text))
    if target:
        notice.target_kind, notice.target_id = target._meta.model_name or "", str(target.pk)
    notice.save()
    queue.enqueue("runs.tasks.send_notification", notice.pk)


def subscribe(person: User, wanted: Iterable[tuple[str, int | None]], *, by: Actor) -> None:
    """Replace a person's subscriptions: pairs of topic and environment key, None for all environments."""
    with audit.act("person.subscribe", person, by=by, subject_kind="person") as act:
        if not by.is_same_person_as(person.pk):
            raise Refused("notifications.not_own", "You can change only your own notification settings.")
        chosen = set(wanted)
        visible = set(Permissions.of_person(person).environments().values_list("pk", flat=True)) | {None}
        if {environment for _, environment in chosen} - visible:
            raise Refused("environment.unknown", "Unknown environment.")
        if unknown := {topic for topic, _ in chosen} - set(Topic.values):
            raise Refused("notifications.topic", f"Unknown notification topics: {', '.join(sorted(unknown))}.")
        # Subscriptions to environments they cannot see now were not in the form, and are kept for when they can.
        kept = {
            (row.topic, row.environment_id): row for row in person.subscriptions.all() if row.environment_id in visible
        }
        # Only the differences, so that unchanged subscriptions keep their rows.
        for pair in kept.keys() - chosen:
            kept[pair].delete()
        for topic, environment in chosen - kept.keys():
            Subscription.objects.create(person=person, topic=topic, environment_id=environment)
        act.after = {"topics": sorted({topic for topic, _ in chosen})}


def send(notice: Notification) -> None:
    """Send one message, once; retried when the server cannot be reached."""
    # 1. Take the lease in one UPDATE: two workers can have the same task.
    now = timezone.now()
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    claimed = Notification.objects.filter(due, pk=notice.pk, state=Notification.State.WANTED)
    if not claimed.update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE):
        return
    notice.refresh_from_db()
    # 2. Without an address or a server it fails for good.
    if not notice.person.email:
        settle(notice, Notification.State.FAILED, f"{notice.person} has no email address.")
        return
    if not settings.SENDS_MAIL:
        settle(notice, Notification.State.FAILED, "No mail server is configured. Set PORTAL_MAIL_HOST.")
        return
    # 3. Send it. A crash between sending and recording sends it again.
    try:
        EmailMessage(notice.subject, written(notice), to=[notice.person.email]).send()
    except (OSError, smtplib.SMTPException) as error:
        postpone(notice, error, now)
    except ValueError as error:
        # An address or text that is not allowed in an email will not be allowed next time either.
        settle(notice, Notification.State.FAILED, f"Invalid email to “{notice.person.email}”: {error}")
    else:
        settle(notice, Notification.State.SENT, "", sent_at=now)


def written(notice: Notification) -> str:
    """The text of the mail, with a link to what it is about; without PORTAL_PUBLIC_URL only the path is known."""
    path = link_to(notice.target_kind, notice.target_id) if notice.target_kind else ""
    if not path:
        return f"{notice.text}\n"
    host = settings.PUBLIC_URL.rstrip("/")
    return f"{notice.text}\n\n{host}{path}\n" if host else f"{notice.text}\n\nIn the portal: {path}\n"


def link_to(kind: str, pk: str) -> str:
    """The path of a page of the portal; a setting names the function, because only the portal knows its addresses."""
    find_path = cast("Callable[[str, str], str]", import_string(settings.LINK_TO))
    return find_path(kind, pk)


def postpone(notice: Notification, error: Exception, now: datetime) -> None:
    """Schedule a retry, unless the error is permanent or the attempts are used up."""
    message = f"The mail server {settings.SMTP['host']} did not accept it: {error_label(error)}."
    if is_final(error) or notice.attempts >= MOST_ATTEMPTS:
        settle(notice, Notification.State.FAILED, message)
        return
    # Doubles with each attempt.
    wait = FIRST_WAIT * (1 << (notice.attempts - 1))
    Notification.objects.filter(pk=notice.pk).update(message=f"{message} Retrying.", next_attempt_at=now + wait)


def error_label(error: Exception) -> str:
    """Return the kind of error; the server's own text is not repeated, it can contain anything."""
    labels = {
        ConnectionRefusedError: "connection refused",
        TimeoutError: "timed out",
        smtplib.SMTPAuthenticationError: "authentication failed",
        smtplib.SMTPRecipientsRefused: "address rejected",
        smtplib.SMTPSenderRefused: "sender rejected",
        ValueError: "invalid address or text",
    }
    return next((label for kind, label in labels.items() if isinstance(error, kind)), type(error).__name__)


def is_final(error: Exception) -> bool:
    """Return whether every code that the server returned is permanent (5xx)."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= PERMANENT for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError) and error.smtp_code >= PERMANENT


def settle(notice: Notification, state: str, message: str, **columns: object) -> None:
    """Record the final state of a message."""
    Notification.objects.filter(pk=notice.pk).update(state=state, message=message, next_attempt_at=None, **columns)


def forget(environment: Environment | None, before: datetime) -> bool:
    """Delete the first old messages that were sent or failed; return whether there were any.

    Without an environment: those that are about several.
    """
    old = Notification.objects.filter(environment=environment, created_at__lt=before)
    done = old.exclude(state=Notification.State.WANTED)
    pks = list(done.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    return bool(Notification.objects.filter(pk__in=pks).delete()[0])
