"""Loosened rules in words: the banners of an environment, and what an audit entry changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from flows.models import Environment, Server
from runs.models import AuditEntry

# column -> what the environment has been; {was} and {is_now} are the values
SENTENCES = {
    "is_protected": "{environment} has been without protection",
    "needs_approval": "{environment} has been without approval",
    "needs_reason": "{environment} has been without required reasons",
    "approval_minutes": "{environment} has had an approval timeout of {is_now} instead of {was} minutes",
    "independence_hours": "{environment} has had an independence window of {is_now} instead of {was} hours",
}


@dataclass(frozen=True, slots=True)
class LoosenedRule:
    """One switch that is looser than it was: “prod has been without approval”, since when, by whom."""

    column: str
    sentence: str
    since: datetime | None
    by: str


def loosened_rules(environment: Environment) -> list[LoosenedRule]:
    """Return the switches of an environment that are looser than they were."""
    return [
        LoosenedRule(
            column,
            SENTENCES[column].format(environment=environment, was=found["was"], is_now=getattr(environment, column)),
            parse_datetime(found["since"]),
            found["by"],
        )
        for column, found in environment.loosened.items()
        if column in SENTENCES
    ]


def changes_in_words(entry: AuditEntry) -> list[str]:
    """Return what an entry loosens, or which settings of an environment it changed: “needs approval: on → off”."""
    if loosened := entry.after.get("loosened") or entry.after.get("proposed"):
        return list(dict.fromkeys(f"{each['environment']}: {each['what']}" for each in loosened))
    if entry.verb != "environment.change" or entry.is_unusual:
        return []
    return [f"{label(name)}: {value(entry.before.get(name))} → {value(after)}" for name, after in entry.after.items()]


def label(column: str) -> str:
    # A column of an old entry may be gone; the credential is recorded as “credential”.
    fields = [*Environment._meta.concrete_fields, *Server._meta.concrete_fields]
    names = {field.name: str(field.verbose_name) for field in fields}
    return names.get(column, column)


def value(stored: Any) -> str:
    if isinstance(stored, bool):
        return "on" if stored else "off"
    return "blank" if stored in (None, "") else str(stored)
