"""Who wants to hear of what, read for a batch of events with the same few queries whatever its size.

That somebody wants to hear of it does not mean that they may: each message asks the person's permissions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Q

from runs.access.decisions import Permissions, permissions_of_each
from runs.models import Subscription
from runs.models.notification import Topic


@dataclass(frozen=True, slots=True)
class Listener:
    """A person who wants to hear of something, and what they may do."""

    person: User
    permissions: Permissions


class Audience:
    """The active people who want to hear of some topics, in some environments."""

    def __init__(self, topics: Collection[Topic], environments: Collection[int], *, people: Iterable[int] = ()) -> None:
        """Read it; `people` are keys of others who are asked by name, such as requesters."""
        places = Q(environment__in=environments) | Q(environment=None)
        rows = Subscription.objects.filter(places, topic__in=topics, person__is_active=True)
        # Topic and environment, None for all of them -> the people who subscribed to it.
        self.subscribed: dict[tuple[str, int | None], set[int]] = {}
        for topic, place, pk in rows.values_list("topic", "environment", "person"):
            self.subscribed.setdefault((topic, place), set()).add(pk)
        wanted = {pk for each in self.subscribed.values() for pk in each} | set(people)
        found = list(User.objects.filter(pk__in=wanted, is_active=True)) if wanted else []
        read = zip(found, permissions_of_each(found), strict=True)
        self.listeners = {person.pk: Listener(person, permissions) for person, permissions in read}

    def keys(self, topic: Topic, environment: int) -> set[int]:
        return self.subscribed.get((topic, environment), set()) | self.subscribed.get((topic, None), set())

    def has_any(self, topic: Topic) -> bool:
        return any(pk in self.listeners for (each, _), pks in self.subscribed.items() if each == topic for pk in pks)

    def of(self, topics: Collection[Topic], environment: int) -> list[Listener]:
        """Return the people who want to hear of any of the topics there, each once."""
        wanted = {pk for topic in topics for pk in self.keys(topic, environment)}
        return [self.listeners[pk] for pk in sorted(wanted) if pk in self.listeners]

    def wants(self, listener: Listener, topic: Topic, environment: int) -> bool:
        return listener.person.pk in self.keys(topic, environment)
