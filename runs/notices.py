"""Messages to people by mail: the only code that writes `Notice` and `Subscription`."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.utils import timezone

from flows.access import Holding, Refused
from flows.models import Environment
from runs import audit, queue
from runs.actors import Actor
from runs.models import Notice, Subscription
from runs.models.notice import Topic

LEASE = timedelta(minutes=2)
MOST_ATTEMPTS = 6
FIRST_WAIT = timedelta(minutes=1)


def tell(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    path: str = "",
    may: Callable[[User], bool] | None = None,
) -> None:
    """Queue a message to everybody who subscribed, within the current transaction.

    `may` says of one person whether they may know of it; left out: whoever may see the environment.
    """
    people = User.objects.filter(
        Q(subscriptions__environment=environment) | Q(subscriptions__environment=None),
        subscriptions__topic=topic,
        is_active=True,
    ).distinct()
    for person in people:
        if may(person) if may else Holding.of(person).environments().filter(pk=environment.pk).exists():
            write(person, topic, subject, text, path)


def tell_one(topic: Topic, environment: Environment, person: User, subject: str, text: str, *, path: str = "") -> None:
    """Queue a message to one person, if they subscribed."""
    wanted = Q(environment=environment) | Q(environment=None)
    if person.is_active and person.subscriptions.filter(wanted, topic=topic).exists():
        write(person, topic, subject, text, path)


def write(person: User, topic: Topic, subject: str, text: str, path: str) -> None:
    one_line = " ".join(subject.split())[:300]
    notice = Notice.objects.create(person=person, topic=topic, subject=one_line, text=text, path=path)
    queue.later("runs.tasks.mail", notice.pk)


def subscribe(person: User, wanted: Iterable[tuple[str, int | None]], *, by: Actor) -> None:
    """Make somebody's subscriptions these: pairs of topic and environment, None for every one."""
    with audit.act("person.subscribe", person, by=by, subject_kind="person") as act:
        if not by.is_same_person_as(person.pk):
            raise Refused("People choose their own messages.")
        chosen = set(wanted)
        if unknown := {topic for topic, _ in chosen} - set(Topic.values):
            raise Refused(f"There are no messages about {', '.join(sorted(unknown))}.")
        kept = {(row.topic, row.environment_id): row for row in person.subscriptions.all()}
        for pair in kept.keys() - chosen:
            kept[pair].delete()
        for topic, environment in chosen - kept.keys():
            Subscription.objects.create(person=person, topic=topic, environment_id=environment)
        act.after = {"topics": sorted({topic for topic, _ in chosen})}


def send(notice: Notice) -> None:
    """Mail one message, once; a server that cannot be reached is tried again."""
    now = timezone.now()
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    mine = Notice.objects.filter(due, pk=notice.pk, state=Notice.State.WANTED)
    if not mine.update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE):
        return
    notice.refresh_from_db()
    if not notice.person.email:
        settle(notice, Notice.State.FAILED, f"{notice.person} has no mail address.")
        return
    if not settings.SENDS_MAIL:
        settle(notice, Notice.State.FAILED, "No mail server is set up: PORTAL_MAIL_HOST names one.")
        return
    link = f"\n\n{settings.PUBLIC_URL.rstrip('/')}{notice.path}" if notice.path else ""
    try:
        EmailMessage(notice.subject, f"{notice.text}{link}\n", to=[notice.person.email]).send()
    except (OSError, smtplib.SMTPException) as error:
        said = f"The mail server said: {type(error).__name__}."
        if notice.attempts >= MOST_ATTEMPTS:
            settle(notice, Notice.State.FAILED, said)
        else:
            Notice.objects.filter(pk=notice.pk).update(
                message=said, next_attempt_at=now + FIRST_WAIT * (1 << (notice.attempts - 1))
            )
    else:
        settle(notice, Notice.State.SENT, "", sent_at=now)


def settle(notice: Notice, state: str, message: str, **columns: object) -> None:
    Notice.objects.filter(pk=notice.pk).update(state=state, message=message, next_attempt_at=None, **columns)
