"""Find changes of rules and accounts that were made in the database past the portal, and raise an alarm.

A trigger records each change as a version. One without an audit entry in its transaction did not come through the
portal: from SQL, or from a command such as createsuperuser.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from flows.models import Alias, Environment, Server
from flows.wording import listed
from runs import audit, events
from runs.actors import Actor
from runs.audit import signatures
from runs.governance.loosening import protected_environments
from runs.governance.loosening_gate import places_of
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
    RunEvent,
    ServiceAccount,
    SignOnIdentity,
    Window,
)

VERB = "configuration.outside"
# The whole period is compared each time: anyone who can write to the database could move a mark of what was compared.
# No change is missed if the background tasks are down for less.
COMPARED = timedelta(days=7)
# As on pages: the entry of a version follows it in its transaction. Transaction ids start over after a restore.
LONGEST_TRANSACTION = timedelta(hours=1)
# Rows that an entry and a message name.
NAMED = 10

# The columns of a person that open or close something: a link for a new password goes to the email address.
SWITCHES = ("username", "email", "is_active", "is_staff", "is_superuser")
# table -> kind of the subject, and the column of its name
NAMES: dict[str, tuple[str, str]] = {
    Environment._meta.db_table: ("environment", "slug"),
    Alias._meta.db_table: ("alias", "name"),
    Grant._meta.db_table: ("grant", "id"),
    Policy._meta.db_table: ("policy", "name"),
    Window._meta.db_table: ("window", "name"),
    Freeze._meta.db_table: ("freeze", "id"),
    ResourceProfile._meta.db_table: ("resourceprofile", "name"),
    Hook._meta.db_table: ("hook", "name"),
    EventRule._meta.db_table: ("eventrule", "name"),
    Channel._meta.db_table: ("channel", "name"),
    Agent._meta.db_table: ("agent", "name"),
    AgentStop._meta.db_table: ("stop of all agents", "id"),
    User._meta.db_table: ("person", "username"),
    Group._meta.db_table: ("group", "name"),
}
# Rows that several environments share: the page of each shows them.
SERVERS = Server._meta.db_table
# Memberships, permissions, owners and identities: table -> kind of the subject, the column of its key, and what it is
GROUPS_OR_PERMISSIONS = "groups or permissions"
BELONGING: dict[str, tuple[str, str, str]] = {
    User.groups.through._meta.db_table: ("person", "user_id", GROUPS_OR_PERMISSIONS),
    User.user_permissions.through._meta.db_table: ("person", "user_id", GROUPS_OR_PERMISSIONS),
    Group.permissions.through._meta.db_table: ("group", "group_id", GROUPS_OR_PERMISSIONS),
    ServiceAccount._meta.db_table: ("person", "user_id", "owner"),
    SignOnIdentity._meta.db_table: ("person", "person_id", "single sign-on"),
}


@dataclass(frozen=True, slots=True)
class OutsideChange:
    """The versions of one transaction without an entry, and the protected environments whose rules they are about."""

    transaction: int
    versions: tuple[RowVersion, ...]
    environments: tuple[str, ...]

    def __str__(self) -> str:
        return listed(list(dict.fromkeys(map(describe, self.versions))), NAMED)


def report() -> int:
    """Write an entry for each new outside change about a protected environment, and tell administrators and auditors.

    Returns how many. Entries and event are one transaction.
    """
    with transaction.atomic():
        found = list(outside_changes())
        if not found:
            return 0
        names = sorted({name for change in found for name in change.environments})
        lines = [f"{change.versions[0].created_at:%Y-%m-%d %H:%M:%S} UTC: {change}" for change in found[:NAMED]]
        events.record(RunEvent.Kind.RULES_CHANGED_OUTSIDE, data={**places_of(names), "lines": lines})
        audit.record_many([act_of(change) for change in found])
    return len(found)


def act_of(change: OutsideChange) -> audit.Act:
    first = change.versions[0]
    kind, key = subject_of(first)
    return audit.Act(
        VERB,
        None,
        Actor.system("database"),
        subject_kind=kind,
        subject_id=key,
        subject_name=str(change),
        environment=change.environments[0] if len(change.environments) == 1 else "",
        after={
            "transaction": change.transaction,
            "changed_at": first.created_at.isoformat(),
            "environments": list(change.environments),
            "versions": len(change.versions),
        },
    )


def outside_changes() -> Iterator[OutsideChange]:
    """Yield the transactions with versions that no entry explains and none has reported, oldest first.

    A version and its entry become visible by the same commit, so none is seen too early, and none is skipped.
    """
    # 1. Not what was retired meanwhile: its entries are gone.
    retired = AuditCheckpoint.objects.aggregate(at=Max("ended_at"))["at"]
    since = max(filter(None, [timezone.now() - COMPARED, retired]))
    versions = RowVersion.objects.filter(created_at__gt=since).exclude(label="found").order_by("pk")
    by_transaction: dict[int, list[RowVersion]] = defaultdict(list)
    for version in versions:
        by_transaction[version.transaction].append(version)
    # 2. What explains them. Entries that the portal did not sign explain nothing.
    explained: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    for entry in AuditEntry.objects.filter(Q(transaction__in=list(by_transaction)) | Q(verb=VERB), at__gt=since):
        if audit.digest(entry) == entry.digest and signatures.is_signed(entry):
            if entry.verb == VERB:
                explained[entry.after["transaction"]].append((since, entry.at))
            else:
                explained[entry.transaction].append((entry.at - LONGEST_TRANSACTION, entry.at))
    # 3. What they reach.
    protected = protected_environments()
    for number, changed in by_transaction.items():
        outside = [
            each for each in changed if not any(first <= each.created_at <= last for first, last in explained[number])
        ]
        if reach := frozenset[str]().union(*(reached_by(each, protected) for each in outside)):
            yield OutsideChange(number, tuple(outside), tuple(sorted(reach)))


def reached_by(version: RowVersion, protected: frozenset[str]) -> frozenset[str]:
    """Return the protected environments whose rules a version is about."""
    data = version.data
    if version.table_name == Environment._meta.db_table:
        # One whose protection was taken away was protected.
        before = version_before(version)
        is_guarded = data["slug"] in protected or data["is_protected"] or before.get("is_protected")
        return frozenset([data["slug"]]) if is_guarded else frozenset()
    if version.table_name == SERVERS:
        return protected & frozenset(environments_on(version).values_list("slug", flat=True))
    # What they run, wherever an event rule looks for events.
    if version.table_name in (Hook._meta.db_table, EventRule._meta.db_table):
        slugs = Environment.objects.filter(deployments=data["deployment_id"]).values_list("slug", flat=True)
        return protected & frozenset(slugs)
    if data.get("environment_id"):
        slugs = Environment.objects.filter(pk=data["environment_id"]).values_list("slug", flat=True)
        return protected & frozenset(slugs)
    if version.table_name == User._meta.db_table and version.label == "update":
        # A changed first or last name gives no access.
        before = version_before(version)
        return protected if any(before.get(name) != data[name] for name in SWITCHES) else frozenset()
    # Rules of all environments, and accounts, which can be given access to any.
    return protected


def environments_on(version: RowVersion) -> QuerySet[Environment]:
    """Return the environments on the server of a version, first the one whose page shows it."""
    return Environment.objects.filter(server=int(version.row_pk)).order_by("-is_protected", "-is_active", "pk")


def version_before(version: RowVersion) -> dict[str, Any]:
    """Return the columns of the row before the change; empty when it was inserted."""
    earlier = RowVersion.objects.filter(table_name=version.table_name, row_pk=version.row_pk, pk__lt=version.pk)
    before = earlier.order_by("-pk").values_list("data", flat=True).first()
    return dict(before or {})


def subject_of(version: RowVersion) -> tuple[str, str]:
    """Return kind and key of the row whose page shows the version."""
    if version.table_name in BELONGING:
        kind, column, _ = BELONGING[version.table_name]
        return kind, str(version.data[column])
    if version.table_name == SERVERS:
        return "environment", str(environments_on(version).values_list("pk", flat=True).first())
    return NAMES[version.table_name][0], version.row_pk


def describe(version: RowVersion) -> str:
    """Return what a version is about, such as “environment prod (update)” or “permissions of group 7 (insert)”."""
    kind, key = subject_of(version)
    if version.table_name in BELONGING:
        _, _, what = BELONGING[version.table_name]
        return f"{what} of {kind} {key} ({version.label})"
    if version.table_name == SERVERS:
        return f"server {version.data['api_url']} ({version.label})"
    return f"{kind} {version.data[NAMES[version.table_name][1]]} ({version.label})"
