"""The table of subscriptions: a row for each topic, a box for all environments and one for each."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.http import HttpRequest

from flows.models import Environment
from runs import notifications
from runs.errors import Refused
from runs.models.notification import OVERSIGHT, Topic

EVERYWHERE = "all"


@dataclass(frozen=True, slots=True)
class Cell:
    """One check box; `value` is "topic:environment id" or "topic:all"."""

    value: str
    is_ticked: bool
    label: str
    # Received in any case, whatever is ticked.
    is_fixed: bool = False


def split_choice(value: str) -> tuple[str, int | None]:
    """Split the value of a box into topic and environment id; None for all environments. Raises `Refused`."""
    # From the right, because a topic may contain a colon one day and an id never does.
    topic, _, place = value.rpartition(":")
    if place == EVERYWHERE:
        return topic, None
    if not place.isdecimal() or len(place) > 18:
        raise Refused("environment.unknown", "Unknown environment.")
    return topic, int(place)


def subscription_table(request: HttpRequest, places: list[Environment]) -> list[tuple[str, list[Cell]]]:
    """Return a row for each topic, with a box for all environments and one for each."""
    chosen = notifications.chosen_by(request.user) if isinstance(request.user, User) else set()
    is_overseer = notifications.overseers().filter(pk=request.user.pk or 0).exists()

    def is_fixed(topic: Topic) -> bool:
        return is_overseer and topic in OVERSIGHT

    return [
        (
            str(topic.label),
            [
                Cell(
                    f"{topic.value}:{place.pk if place else EVERYWHERE}",
                    is_fixed(topic) or (topic.value, place.pk if place else None) in chosen,
                    f"{topic.label} in {place or 'all environments'}",
                    is_fixed(topic),
                )
                for place in [None, *places]
            ],
        )
        # Only administrators and auditors receive that one, always.
        for topic in Topic
        if topic != Topic.CHANNEL
    ]
