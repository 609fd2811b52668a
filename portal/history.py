"""The versions of one row, newest first: what changed, when, and who did it, or that it was done past the portal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.utils import timezone

from flows.models import Environment
from portal.differences import Change, changes
from runs.models import EVENTS
from runs.models.audit import VERBS

MOST = 50
OUTSIDE = "Outside the portal"
# The label of a version -> what happened. Any other label is the name of a secret column.
LABELS = {"insert": "Added", "update": "Changed", "delete": "Deleted", "found": "Was there when versions began"}
SECRETS = {"password": "Password", "sealed_credential": "Credential"}


@dataclass(frozen=True, slots=True)
class Link:
    """Rows that belong to another: their kind, the columns of the owner and of what is named, and its model."""

    kind: str
    owner: str
    named: str
    model: type[Model]


LINKS: dict[str, list[Link]] = {
    "person": [
        Link("membership", "user_id", "group_id", Group),
        Link("personpermission", "user_id", "permission_id", Permission),
    ],
    "group": [
        Link("membership", "group_id", "user_id", User),
        Link("grouppermission", "group_id", "permission_id", Permission),
    ],
}
# column -> the model that a key in it belongs to
KEYS: dict[str, type[Model]] = {
    "environment_id": Environment,
    "person_id": User,
    "group_id": Group,
    "granted_by_id": User,
    "begun_by_id": User,
}
KINDS: dict[type[Model], str] = {User: "person"}


@dataclass(frozen=True, slots=True)
class Version:
    """One change of a row; `is_outside` when nobody signed it."""

    at: datetime
    title: str
    who: str
    how: str
    reason: str
    is_outside: bool
    changes: tuple[Change, ...]


def of(row: Model) -> list[Version]:
    """The newest versions of a row and of what belongs to it."""
    kind = KINDS.get(type(row), row._meta.model_name or "")
    if kind not in EVENTS:
        return []
    found = [*own(kind, row.pk), *(version for link in LINKS.get(kind, []) for version in belonging(link, row.pk))]
    return sorted(found, key=lambda version: version.at, reverse=True)[:MOST]


def own(kind: str, pk: Any) -> Iterator[Version]:
    # One more than is shown, so that the oldest shown has something to differ from.
    events = list(EVENTS[kind]._default_manager.filter(pgh_obj_id=pk).order_by("-pgh_id")[: MOST + 1])
    names = called(events)
    for number, event in enumerate(events[:MOST]):
        values = columns(event, names)
        label = event.pgh_label  # type: ignore[attr-defined]  # pghistory's columns are not known to the checker
        if label in ("insert", "found"):
            yield version(event, LABELS[label], changes({}, filled(values)))
        elif label == "delete":
            yield version(event, LABELS[label], changes(filled(values), {}))
        elif label == "update":
            before = columns(events[number + 1], names) if number + 1 < len(events) else {}
            differing = [name for name in values if before.get(name) != values[name]]
            was = {name: before[name] for name in differing if name in before}
            yield version(event, LABELS[label], changes(was, {name: values[name] for name in differing}))
        else:
            yield version(event, f"{SECRETS.get(label, label)} changed", iter(()))


def belonging(link: Link, pk: Any) -> Iterator[Version]:
    """Rows of another table that came and went."""
    events = EVENTS[link.kind]._default_manager.filter(**{link.owner: pk}).exclude(pgh_label="found")
    newest: list[Any] = list(events.order_by("-pgh_id")[:MOST])
    pks = {getattr(event, link.named) for event in newest}
    names = {row.pk: str(row) for row in link.model._default_manager.filter(pk__in=pks)}
    for event in newest:
        key = getattr(event, link.named)
        named = {str(link.model._meta.verbose_name): names.get(key, f"no. {key}, which is gone")}
        if event.pgh_label == "delete":
            yield version(event, "Taken away", changes(named, {}))
        else:
            yield version(event, "Given", changes({}, named))


def called(events: list[Model]) -> dict[tuple[str, Any], str]:
    """The names of what the keys in these versions belong to; one query for each column."""
    names: dict[tuple[str, Any], str] = {}
    for column, model in KEYS.items():
        pks = {getattr(event, column) for event in events if hasattr(event, column)} - {None}
        names |= {(column, row.pk): str(row) for row in model._default_manager.filter(pk__in=pks)} if pks else {}
    return names


def columns(event: Model, names: Mapping[tuple[str, Any], str]) -> dict[str, Any]:
    kept = [field for field in event._meta.concrete_fields if not field.name.startswith("pgh_") and field.name != "id"]
    return {field.name: shown(field.attname, getattr(event, field.attname), names) for field in kept}


def shown(column: str, value: Any, names: Mapping[tuple[str, Any], str]) -> Any:
    if isinstance(value, datetime):
        return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S")
    return names.get((column, value), value) if isinstance(value, int) else value


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing, for a row that came or went as a whole."""
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}


def version(event: Any, title: str, found: Iterator[Change]) -> Version:
    signed = event.pgh_context or {}
    is_outside = not signed and event.pgh_label != "found"
    verb = signed.get("verb", "")
    return Version(
        at=event.pgh_created_at,
        title=title,
        who=signed.get("actor", "") or (OUTSIDE if is_outside else ""),
        how=VERBS.get(verb, verb),
        reason=signed.get("reason", ""),
        is_outside=is_outside,
        changes=tuple(found),
    )
