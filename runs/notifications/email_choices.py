"""Choose when one's email is sent: the only code that writes `EmailSettings`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.module_loading import import_string

from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.models import EmailSettings
from runs.models.notification import URGENT, Topic
from runs.notifications.email_times import Digest, EmailTimes, due_at

MOST_MERGE_MINUTES = 24 * 60


def choose(
    person: User,
    *,
    by: Actor,
    quiet_from: time | None = None,
    quiet_until: time | None = None,
    digest: str = "",
    digest_hour: int = 8,
    merge_minutes: int = 10,
    urgent_at_once: bool = True,
) -> EmailSettings:
    """Save when a person's email is sent, by the person alone. Raises `Refused`."""
    with audit.act("person.choose_email", person, by=by, subject_kind="person") as act:
        if not by.is_same_person_as(person.pk) or by.agent:
            raise Refused("notifications.not_own", "You can change only your own notification settings.")
        if (quiet_from is None) != (quiet_until is None):
            raise Refused("notifications.quiet", "Give both times of the quiet hours, or none.")
        if digest not in EmailSettings.Digest.values or not 0 <= digest_hour <= 23:
            raise Refused("notifications.digest", "Choose at once, every hour, or every day at an hour from 0 to 23.")
        if not 0 <= merge_minutes <= MOST_MERGE_MINUTES:
            raise Refused("notifications.merge", f"Merge messages within 0 to {MOST_MERGE_MINUTES} minutes.")
        act.before = describe(settings_of(person))
        chosen = EmailSettings(
            person=person,
            quiet_from=quiet_from,
            quiet_until=quiet_until,
            digest=digest,
            digest_hour=digest_hour,
            merge_minutes=merge_minutes,
            urgent_at_once=urgent_at_once,
        )
        chosen.save()
        act.after = describe(chosen)
    return chosen


def settings_of(person: User) -> EmailSettings:
    """Return what a person chose, or what is so without a choice; read with the person if that was selected."""
    found: EmailSettings | None = getattr(person, "email_settings", None)
    return found or EmailSettings(person=person)


def collects(chosen: EmailSettings) -> bool:
    """Return whether what is due at the same time is one email: of a digest, and after quiet hours."""
    return bool(chosen.digest or chosen.quiet_from)


def email_due_at(chosen: EmailSettings, topic: Topic, now: datetime) -> datetime | None:
    """Return when the email of a message of now may be sent to a person; None is at once."""
    if not collects(chosen):
        return None
    find_zone = cast("Callable[[User], ZoneInfo]", import_string(settings.ZONE_OF))
    times = EmailTimes(
        find_zone(chosen.person),
        chosen.quiet_from,
        chosen.quiet_until,
        Digest(chosen.digest),
        chosen.digest_hour,
        chosen.urgent_at_once,
    )
    return due_at(now, times, is_urgent=topic in URGENT)


def describe(chosen: EmailSettings) -> dict[str, Any]:
    names = ("quiet_from", "quiet_until", "digest", "digest_hour", "merge_minutes", "urgent_at_once")
    found = {name: getattr(chosen, name) for name in names}
    return {name: f"{value:%H:%M}" if isinstance(value, time) else value for name, value in found.items()}
