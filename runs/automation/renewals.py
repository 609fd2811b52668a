"""Which schedules, hooks, event rules and chains need attention: they ended, end soon, or cannot run.

What a person paused or disabled is none of them. Lists are filtered by the same conditions that the overview counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, TextChoices
from django.utils import timezone

from flows.models import Environment
from runs.automation.ends import REMIND_BEFORE
from runs.governance import tokens
from runs.models import Chain, EventRule, Hook, Schedule, Token

# A schedule that has ended stays what it is: it is named for so long.
ENDED_RECENTLY = timedelta(days=7)
CANNOT_RUN = ~Q(obstacle="")


class Need(TextChoices):
    ENDED = "ended", "Ended"
    ENDING = "ending", "Ends within 7 days"
    UNABLE = "unable", "Cannot run"


def is_ended(wanted: bool) -> Q:
    """Return the condition for those whose end has passed, or has not."""
    now = timezone.now()
    return Q(valid_until__lte=now) if wanted else Q(valid_until__gt=now)


def is_ending() -> Q:
    return is_ended(False) & Q(valid_until__lte=timezone.now() + REMIND_BEFORE)


def of_hooks(need: Need) -> Q:
    """Return the condition for hooks; one accepts nothing either while it waits for the new owner of its account."""
    is_disabled = Q(account__user__is_active=False) | Q(account__owner__is_active=False)
    return Q(is_enabled=True) & by_need(need, is_disabled | ~Q(owner=F("account__owner")) | CANNOT_RUN)


def of_event_rules(need: Need) -> Q:
    """Return the condition for event rules; one that is bound to a token needs that too."""
    has_no_token = Q(token__isnull=False) & ~Q(token__in=Token.objects.filter(tokens.active()).values("pk"))
    is_unable = Q(owner__is_active=False) | has_no_token | CANNOT_RUN
    return Q(is_enabled=True, deleted_at=None) & by_need(need, is_unable)


def of_chains(need: Need) -> Q:
    """Return the condition for chains, whose owner must be able to run every step."""
    return Q(is_enabled=True) & by_need(need, Q(owner__is_active=False) | CANNOT_RUN)


def by_need(need: Need, is_unable: Q) -> Q:
    return {Need.ENDED: is_ended(True), Need.ENDING: is_ending(), Need.UNABLE: is_unable}[need]


def of_schedules(need: Need) -> Q:
    """Return the condition for schedules: one whose owner is disabled or lacks permission is paused."""
    live = Q(state__in=[Schedule.State.ACTIVE, Schedule.State.PAUSED])
    since = timezone.now() - ENDED_RECENTLY
    # Not as a join: it would count one with two replacements twice.
    replaced = Exists(Schedule.objects.filter(replaces=OuterRef("pk")))
    over = Q(state=Schedule.State.ENDED, code="schedule.over", valid_until__gt=since) & ~replaced
    return {
        Need.ENDED: over & is_ended(True),
        Need.ENDING: live & is_ending(),
        Need.UNABLE: Q(state=Schedule.State.PAUSED) & (Q(code="owner.inactive") | Q(code__startswith="access.")),
    }[need]


def environment_of(row: Hook | EventRule | Chain) -> Environment:
    """Return where it runs what it runs."""
    return row.environment if isinstance(row, Chain) else row.deployment.environment


def note_obstacles(enabled: QuerySet[Any], obstacles: Mapping[int, str]) -> list[int]:
    """Note what prevents rows of a table, by key, of those that are enabled, for its writer.

    Returns the keys of those that nothing prevented when they were checked before. Of two processes one returns them.
    """
    stored = dict(enabled.filter(Q(pk__in=obstacles) | CANNOT_RUN).select_for_update().values_list("pk", "obstacle"))
    changed: defaultdict[str, list[int]] = defaultdict(list)
    for key, before in stored.items():
        if before != obstacles.get(key, ""):
            changed[obstacles.get(key, "")].append(key)
    for obstacle, keys in changed.items():
        enabled.filter(pk__in=keys).update(obstacle=obstacle)
    return [key for key, before in stored.items() if not before]


CONDITIONS: dict[type[Model], Callable[[Need], Q]] = {
    Schedule: of_schedules,
    Hook: of_hooks,
    EventRule: of_event_rules,
    Chain: of_chains,
}
