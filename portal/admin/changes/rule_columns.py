"""The columns that a change of rules changes, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.utils import timezone
from django.utils.formats import date_format

from flows.models import Environment
from flows.wording import deployment_name
from runs.governance import rule_changes
from runs.models import RuleChange, Verb

# column -> the model whose row it names, and its heading
KEYS: dict[str, tuple[type[Model], str]] = {
    "environment_id": (Environment, "environment"),
    "person_id": (User, "user"),
    "group_id": (Group, "group"),
}
# Columns whose blank means something.
BLANKS: dict[str, str] = {"environment_id": "all environments"}
HEADINGS = {
    "is_superuser": "administrator",
    "is_staff": "can sign in",
    "is_active": "enabled",
    "verbs": "permissions",
    "full_name": "deployment",
    "flow_name": "flow",
    "predicate": "parameter values",
    "token_days": "longest token (days)",
    "schedule_days": "longest schedule (days)",
    "api_url": "API URL",
    "ui_url": "UI URL",
    "effective_predicate": "condition, with that of the person who grants it",
}
# Kind of a loosening of an account -> its column, where they differ.
LOOSENED = {"enabled": "is_active", "administrator": "is_superuser", "group": "groups"}
# Columns in the order in which people read them; the rest comes after these.
ORDER = [
    *(
        "username",
        "person_id",
        "group_id",
        "name",
        "effect",
        "verbs",
        "environment_id",
        "flow_name",
        "full_name",
        "tag",
    ),
    *("predicate", "effective_predicate", "valid_from", "valid_until", "cron", "minutes", "time_zone"),
]
LAST = ["reason", "ticket"]
SECRET = "••••••"  # noqa: S105  (what is shown in its place)


@dataclass(frozen=True, slots=True)
class Row:
    """One column before and after, as text."""

    name: str
    before: str
    after: str
    is_looser: bool = False


def rows(rules: RuleChange) -> list[Row]:
    """Return the columns that change; of a new or deleted row those that are not blank."""
    found = rule_changes.differences(rules)
    kinds = {each["kind"].partition(".")[2] for each in rules.loosened}
    looser = {LOOSENED.get(kind, kind) for kind in kinds}
    columns = sorted(found["columns"].items(), key=lambda item: place_of(item[0]))
    changed = [
        Row(heading(name), display(name, before), display(name, after), name in looser)
        for name, (before, after) in columns
        if is_worth_showing(rules, name, before, after)
    ]
    # Secrets are shown by their column alone, here and in the audit trail.
    return changed + [Row(heading(name), SECRET, SECRET, is_looser=True) for name in found.get("secrets", [])]


def place_of(column: str) -> tuple[int, str]:
    if column in ORDER:
        return ORDER.index(column), ""
    return len(ORDER) + (column in LAST), column


def is_worth_showing(rules: RuleChange, name: str, before: Any, after: Any) -> bool:
    if name == "effective_predicate":
        return bool(after != rules.after.get("predicate"))
    return bool(before not in (None, "", [], {}) or after not in (None, "", [], {}) or name in BLANKS)


def heading(column: str) -> str:
    if column in KEYS:
        return KEYS[column][1]
    return HEADINGS.get(column, column.removeprefix("is_").replace("_", " "))


def display(column: str, value: Any) -> str:
    """Return a stored value for people; keys as the names of their rows."""
    if value in (None, "", [], {}):
        return BLANKS.get(column, "-")
    if column in KEYS:
        model, _ = KEYS[column]
        return str(model._default_manager.filter(pk=value).first() or value)
    if column == "full_name":
        return deployment_name(value)
    if column == "verbs":
        return ", ".join(str(Verb(verb).label) for verb in value)
    if column in ("valid_from", "valid_until"):
        return date_format(timezone.localtime(datetime.fromisoformat(value)), "j M Y, H:i e")
    if column == "stages":
        return ", ".join(f"{stage['needed']} of {stage['group'] or 'anyone'}" for stage in value)
    return next((show(value) for kind, show in SHOWN.items() if isinstance(value, kind)), str(value))


# type -> how a value of it is shown
SHOWN: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "on" if value else "off",
    list: lambda value: ", ".join(str(each) for each in value),
    dict: lambda value: json.dumps(value, ensure_ascii=False),
}
