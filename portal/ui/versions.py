"""The versions of one row, newest first: what changed, when, and by whom, or that it was changed outside the portal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Exists, Field, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.fields import DateTimeField
from django.db.models.functions import JSONObject
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flows.models import Alias, Deployment, Environment, Server
from portal.ui.diff import Change, diff
from runs.models import (
    Agent,
    AgentStop,
    AuditCheckpoint,
    AuditEntry,
    Channel,
    EventRule,
    Freeze,
    Grant,
    Hook,
    Policy,
    ResourceProfile,
    RowVersion,
    ServiceAccount,
    SignOnIdentity,
    Window,
)
from runs.models.audit_verbs import VERBS

# Versions displayed; the table `runs_rowversion` has all of them.
MOST = 50
OUTSIDE = "Outside the portal"
RETIRED = "Audit entry retired"
# Transaction IDs start over when a dump is restored into a new server: an entry with the same ID belongs to a version
# only if it is near in time.
LONGEST_TRANSACTION = timedelta(hours=1)
# The models whose pages show versions, a server's are on those of its environments; the tables in LINKS belong to one
# of them. `tests/runs/test_row_versions.py` compares both with the triggers of the database.
VERSIONED: frozenset[type[Model]] = frozenset(
    {
        *(Server, Environment, Alias, Grant, Policy, Window, Freeze, ServiceAccount, Hook, EventRule, Channel),
        ResourceProfile,
        *(Agent, AgentStop, User, Group),
    }
)
# label of a version -> its title. Any other label is the name of a secret column, whose values are not recorded.
LABELS = {"insert": "Added", "update": "Changed", "delete": "Deleted", "found": "Existed before versions were recorded"}
# The same for the server of an environment, on whose page both are displayed.
SERVER_LABELS = LABELS | {"insert": "Server added", "update": "Server changed", "delete": "Server deleted"}
# Columns that repeat what others say: the banner's note of what an environment was before.
DERIVED = frozenset({"loosened"})
SECRETS = {
    "password": "Password",
    "sealed_credential": "Credential",
    "sealed_address": "Address",
    "sealed_secret": "Secret",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A table whose rows belong to rows of another: the owner's column, and the one that is displayed.

    In a many-to-many table that is the key of a row of `model`, displayed by its name.
    """

    through: type[Model]
    owner: str
    named: str
    model: type[Model] | None = None


LINKS: dict[type[Model], list[Link]] = {
    User: [
        Link(User.groups.through, "user_id", "group_id", Group),
        Link(User.user_permissions.through, "user_id", "permission_id", Permission),
        Link(SignOnIdentity, "person_id", "email"),
    ],
    Group: [
        Link(User.groups.through, "group_id", "user_id", User),
        Link(Group.permissions.through, "group_id", "permission_id", Permission),
    ],
}
# foreign key column -> its model, to display names instead of keys
KEYS: dict[str, type[Model]] = {
    "environment_id": Environment,
    "server_id": Server,
    "person_id": User,
    "group_id": Group,
    "user_id": User,
    "owner_id": User,
    "account_id": ServiceAccount,
    "deployment_id": Deployment,
    "hook_id": Hook,
    "granted_by_id": User,
    "begun_by_id": User,
}


@dataclass(frozen=True, slots=True)
class Version:
    """One change of a row; `is_outside` if its transaction has no audit entry."""

    at: datetime
    title: str
    who: str
    how: str
    reason: str
    is_outside: bool
    changes: tuple[Change, ...]


def versions_of(row: Model) -> list[Version]:
    """Return the newest versions of a row and of the rows that belong to it."""
    model = type(row)
    if model not in VERSIONED:
        return []
    found = [
        *own_versions(row),
        *(own_versions(row.server, SERVER_LABELS) if isinstance(row, Environment) else ()),
        *(related_versions(LINKS[model], row.pk) if model in LINKS else ()),
    ]
    return sorted(found, key=lambda version: version.at, reverse=True)[:MOST]


def rows_with(matching: Q) -> QuerySet[RowVersion]:
    """Return the versions that match, newest first, each with the audit entry of its transaction."""
    # The trigger writes the version with the change, the service writes the entry after it: so the first entry at or
    # after the version is the one that explains it.
    entries = AuditEntry.objects.filter(
        transaction=OuterRef("transaction"),
        at__gte=OuterRef("created_at"),
        at__lte=OuterRef("created_at") + LONGEST_TRANSACTION,
    ).order_by("sequence")
    return (
        RowVersion.objects.filter(matching)
        .annotate(
            entry=Subquery(entries.values_list(JSONObject(actor="actor_name", verb="verb", reason="reason"))[:1]),
            is_retired=Exists(AuditCheckpoint.objects.filter(ended_at__gte=OuterRef("created_at"))),
        )
        .order_by("-pk")
    )


def own_versions(row: Model, labels: Mapping[str, str] = LABELS) -> Iterator[Version]:
    # 1. One more than displayed, so that the oldest displayed has one to compare with.
    own = Q(table_name=row._meta.db_table, row_pk=str(row.pk))
    found = list(rows_with(own)[: MOST + 1])
    # 2. The names of all keys in them, by one query for each foreign key.
    names = display_name(found)
    fields = {field.attname: field for field in row._meta.concrete_fields}
    # 3. Compare each with the next older one.
    for number, each in enumerate(found[:MOST]):
        values = columns(each, fields, names)
        if each.label in ("insert", "found"):
            yield version(each, labels[each.label], diff({}, with_names(values)))
        elif each.label == "delete":
            yield version(each, labels[each.label], diff(with_names(values), {}))
        elif each.label == "update":
            before = columns(found[number + 1], fields, names) if number + 1 < len(found) else {}
            differing = [name for name in values if before.get(name) != values[name]]
            # What follows from another column repeats it, unless it is all that changed.
            differing = [name for name in differing if name not in DERIVED] or differing
            # A column added by a later migration is missing in older versions: it counts as new, not as changed.
            was = {name: before[name] for name in differing if name in before}
            yield version(each, labels[each.label], diff(was, {name: values[name] for name in differing}))
        else:
            yield version(each, f"{SECRETS.get(each.label, each.label)} changed", iter(()))


def related_versions(links: Sequence[Link], pk: Any) -> Iterator[Version]:
    """Yield the rows of such tables that were added and removed."""
    by_table = {link.through._meta.db_table: link for link in links}
    # "found" are those of the installation; listing them would repeat the current state.
    belonging = Q(
        *(Q(table_name=table, data__contains={link.owner: pk}) for table, link in by_table.items()), _connector=Q.OR
    )
    newest = list(rows_with(belonging).exclude(label="found")[:MOST])
    for table, link in by_table.items():
        rows = [each for each in newest if each.table_name == table]
        names = {each.data[link.named]: str(each.data[link.named]) for each in rows}
        if link.model:
            existing = link.model._default_manager.filter(pk__in=names.keys())
            names = {key: f"no. {key} (deleted)" for key in names} | {row.pk: str(row) for row in existing}
        what = str((link.model or link.through)._meta.verbose_name)
        for each in rows:
            named = {what: names[each.data[link.named]]}
            if each.label == "delete":
                yield version(each, "Removed", diff(named, {}))
            else:
                yield version(each, "Added", diff({}, named))


def display_name(versions: list[RowVersion]) -> dict[tuple[str, Any], str]:
    """Return the names of the rows that the keys in these versions refer to; one query for each model."""
    wanted: dict[type[Model], set[Any]] = {}
    for column, model in KEYS.items():
        wanted.setdefault(model, set()).update({each.data.get(column) for each in versions} - {None})
    names = {
        model: {row.pk: str(row) for row in model._default_manager.filter(pk__in=pks)} if pks else {}
        for model, pks in wanted.items()
    }
    return {(column, pk): name for column, model in KEYS.items() for pk, name in names[model].items()}


def columns(
    row: RowVersion, fields: Mapping[str, Field[Any, Any]], names: Mapping[tuple[str, Any], str]
) -> dict[str, Any]:
    """Return the recorded values for display by field name; a column that no longer exists keeps its own name."""
    return {
        fields[column].name if column in fields else column: display_value(fields.get(column), column, value, names)
        for column, value in row.data.items()
        if column != "id"
    }


def display_value(field: Field[Any, Any] | None, column: str, value: Any, names: Mapping[tuple[str, Any], str]) -> Any:
    if isinstance(field, DateTimeField) and isinstance(value, str) and (at := parse_datetime(value)):
        return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S")
    return names.get((column, value), value) if isinstance(value, int) else value


def with_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without empty ones, for a row that was added or deleted."""
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}


def version(row: Any, title: str, found: Iterator[Change]) -> Version:
    # No entry means a change outside the portal, unless the entries were retired or the row predates versions.
    entry = row.entry or {}
    is_outside = not entry and not row.is_retired and row.label != "found"
    verb = entry.get("verb", "")
    missing = OUTSIDE if is_outside else RETIRED if row.is_retired and row.label != "found" else ""
    return Version(
        at=row.created_at,
        title=title,
        who=entry.get("actor", "") or missing,
        how=VERBS.get(verb, verb),
        reason=entry.get("reason", ""),
        is_outside=is_outside,
        changes=tuple(found),
    )
