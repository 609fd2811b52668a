"""What happened past the rules of protected environments, counted for administrators and auditors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count as CountRows
from django.db.models import JSONField, Value
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment
from portal.ui.run_links import list_url
from runs.audit import queries
from runs.governance import loosening
from runs.models import AuditEntry
from runs.models.audit import PAST_RULES

DAYS = 7
# The criterion of the audit trail that finds acts which loosened the rules of an environment.
LOOSENED = "loosened"
# heading -> the verb that is counted; acts that loosen rules have many verbs
COLUMNS = {
    "Runs started outside the portal": "run.appeared",
    "Deployments changed in Prefect": "deployment.changed",
    "Rules loosened": LOOSENED,
    "Emergency overrides": "request.break_glass",
}


# What is there now, beside what happened in the last days.
WAYS = "Bypasses"
HEADINGS = [*COLUMNS, WAYS]


@dataclass(frozen=True, slots=True)
class Count:
    """One number, and the entries of the audit trail behind it."""

    key: str
    number: int
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    environment: Environment
    counts: list[Count]


def rows_for(overseen: Iterable[Environment]) -> list[Row]:
    """Return a row for each protected environment of those that the reader oversees."""
    protected = list(filter(loosening.is_guarded, overseen))
    since = timezone.localdate() - timedelta(days=DAYS - 1)
    found = counted([environment.slug for environment in protected], since) if protected else Counter()
    return [
        Row(
            environment,
            [
                *(
                    Count(key, found[environment.slug, key], address(environment, key, since))
                    for key in COLUMNS.values()
                ),
                Count("bypass", environment.ways, list_url("runs_bypass", environment=environment.slug)),  # type: ignore[attr-defined]  # annotated
            ],
        )
        for environment in protected
    ]


def counted(slugs: Collection[str], since: date) -> Counter[tuple[str, str]]:
    """Return the number of entries by environment and column since the beginning of a day."""
    done = AuditEntry.objects.filter(queries.since(since.isoformat()), outcome=AuditEntry.Outcome.DONE)
    # Two parts, each with an index of its own.
    by_verb = done.filter(verb__in=PAST_RULES, environment__in=slugs).order_by()
    of_rules = done.filter(after__has_key=LOOSENED).order_by()
    nothing = Value(None, JSONField())
    grouped = by_verb.values_list("environment", "verb", nothing).annotate(number=CountRows("*"))
    loosening_acts = of_rules.values_list("environment", "verb", f"after__{LOOSENED}").annotate(number=CountRows("*"))
    found: Counter[tuple[str, str]] = Counter()
    for environment, verb, loosened, number in grouped.union(loosening_acts, all=True).order_by():
        if loosened is None:
            found[environment, verb] += number
        # An act can loosen the rules of several environments, and counts once in each.
        found.update({(slug, LOOSENED): number for slug in {each["environment"] for each in loosened or ()}})
    return found


def address(environment: Environment, key: str, since: date) -> str:
    """Return the list of the audit trail with exactly the entries that were counted."""
    criteria: dict[str, Any] = {"at_from": since.isoformat(), "outcome": AuditEntry.Outcome.DONE}
    criteria |= {LOOSENED: environment.slug} if key == LOOSENED else {"verb": key, "environment": environment.slug}
    return f"{reverse('admin:runs_auditentry_changelist')}?{urlencode(criteria)}"
