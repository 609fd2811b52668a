"""Whether two people are independent of each other: who created or changed whose account lately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q, QuerySet
from django.db.models.functions import Cast
from django.utils import timezone

from flows.models import Environment
from runs.actors import Kind
from runs.errors import Refused
from runs.models import AuditEntry, ChangeRequest, Grant, Hook
from runs.shared_reads import shared

# Hours before a request whose changes are displayed where the rule is off.
DISPLAYED_HOURS = 24
# kind of subject -> the verbs that change an account
VERBS = {
    "person": [
        *("person.create", "person.change", "person.password"),
        *("service_account.create", "service_account.change"),
    ],
    "grant": ["grant.give", "grant.revoke"],
    "group": ["group.change"],
    "hook": ["hook.create", "hook.change", "hook.enable", "hook.add_secret", "hook.replace_secrets"],
}
SWITCHES = {
    "is_superuser": ("made {} an administrator", "took administrator rights from {}"),
    "is_active": ("enabled the account {}", "disabled the account {}"),
}


class Change(StrEnum):
    """What was done to an account; the values are in the audit trail."""

    CREATED = "created"
    PASSWORD = "password"  # noqa: S105  (a kind of change)
    EMAIL = "email"
    ACCOUNT = "account"
    GROUPS = "groups"
    GRANT = "grant"
    HOOK = "hook"


# Those after which one person can sign in as the other; a link for a new password goes to the email address.
CONTROLS = frozenset({Change.CREATED, Change.PASSWORD, Change.EMAIL})


@dataclass(frozen=True, slots=True)
class AccountChange:
    """One change of a person's account, groups, grants or password by another person; `what` is a sentence."""

    by_id: int
    by: str
    person_id: int
    person: str
    kind: Change
    what: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.what} on {timezone.localtime(self.at):%d %b %Y, %H:%M %Z}"

    @property
    def gives_control(self) -> bool:
        return self.kind in CONTROLS


# The query ------------------------------------------------------------------------------------------------------------


def account_changes(people: Iterable[int | None], since: datetime) -> tuple[AccountChange, ...]:
    """Return who created or changed these people since then, who did so to those, and so on; newest first.

    From the audit trail: it knows actor and subject, and nothing of it can be removed. What the system did counts for
    no one, nor what people did to their own account.
    """
    found: list[AccountChange] = []
    known: set[int] = set()
    latest = {person for person in people if person is not None}
    # By person. A page asks for overlapping sets of people.
    read = shared(("account changes", since), lambda: defaultdict[int, list[AccountChange]](list))
    # Without a limit: a chain of accounts that is longer than it would lead past the rule.
    while latest:
        known |= latest
        if unread := latest - read.keys():
            read |= {person: [] for person in unread}
            for change in changes_of(unread, since):
                read[change.person_id].append(change)
        found += [change for person in sorted(latest) for change in read[person] if change.by_id != person]
        latest = {change.by_id for change in found} - known
    return tuple(sorted(found, key=lambda change: change.at, reverse=True))


def changes_of(people: Collection[int], since: datetime) -> Iterator[AccountChange]:
    """Yield changes of accounts, of grants to them or to groups they are in, and of those groups; in three queries."""
    # 1. The groups and grants behind these people. What only takes something away does not count.
    members: dict[int, list[tuple[int, str]]] = {}
    through = User.groups.through.objects.filter(user__in=people)
    for group, person, name in through.values_list("group_id", "user_id", "user__username"):
        members.setdefault(group, []).append((person, name))
    given = Q(effect=Grant.Effect.ALLOW, granted_at__gte=since) | Q(effect=Grant.Effect.DENY, revoked_at__gte=since)
    rows = Grant.objects.filter(Q(person__in=people) | Q(group__in=members), given)
    grants = {row.pk: row for row in rows.select_related("person", "group", "environment")}
    # 2. Who did what to them.
    hooks = Hook.objects.filter(account__user__in=people).annotate(text=Cast("pk", models.TextField())).values("text")
    for entry in entries_about({"person": people, "grant": grants, "group": members}, since, hooks):
        subject = int(entry.subject_id)
        if entry.subject_kind == "person":
            kind, what = describe(entry)
            yield account_change(entry, subject, entry.subject_name, kind, what)
        elif entry.subject_kind == "grant" and (entry.verb == "grant.give") == (grants[subject].effect == "allow"):
            row = grants[subject]
            receivers = [(row.person.pk, row.person.get_username())] if row.person else members[row.group_id or 0]
            for person, name in receivers:
                yield account_change(entry, person, name, Change.GRANT, describe_grant(entry, row))
        elif entry.subject_kind == "group":
            # A group that is renamed becomes the group of another stage.
            for person, name in members[subject]:
                what = f"{entry.actor_name} changed the group {entry.subject_name}, which {name} is in"
                yield account_change(entry, person, name, Change.GROUPS, what)
        elif entry.subject_kind == "hook":
            account = Hook.objects.select_related("account__user").get(pk=subject).account
            did = "created" if entry.verb == "hook.create" else "changed"
            what = f"{entry.actor_name} {did} the hook {entry.subject_name} of {account}"
            yield account_change(entry, account.user_id, str(account), Change.HOOK, what)


def entries_about(
    subjects: Mapping[str, Collection[int]], since: datetime, hooks: QuerySet[Hook, Any]
) -> Iterator[AuditEntry]:
    """Yield what people did to these subjects: kind -> primary keys. `hooks` gives those of hooks, as text."""
    # Not read before: most accounts have none.
    matching = Q(subject_kind="hook", verb__in=VERBS["hook"], subject_id__in=hooks)
    for kind, ids in subjects.items():
        matching |= Q(subject_kind=kind, subject_id__in=[str(pk) for pk in ids], verb__in=VERBS[kind])
    done = AuditEntry.objects.filter(matching, at__gte=since, outcome=AuditEntry.Outcome.DONE)
    # Everyone but the system acts as an account.
    yield from (entry for entry in done.exclude(actor_kind=Kind.SYSTEM) if entry.actor_id.isdecimal())


def account_change(entry: AuditEntry, person_id: int, person: str, kind: Change, what: str) -> AccountChange:
    return AccountChange(int(entry.actor_id), entry.actor_name, person_id, person, kind, what, entry.at)


def describe(entry: AuditEntry) -> tuple[Change, str]:
    """Return what an entry about an account says, with its kind."""
    by, name, before, after = entry.actor_name, entry.subject_name, entry.before, entry.after
    if entry.verb == "person.create":
        return Change.CREATED, f"{by} created the account {name}"
    if entry.verb.startswith("service_account."):
        # Not control of it: only its owner issues its tokens.
        did = "created" if entry.verb == "service_account.create" else "changed"
        return Change.ACCOUNT, f"{by} {did} the service account {name}"
    if entry.verb == "person.password" or "password" in after:
        return Change.PASSWORD, f"{by} set the password of {name}"
    acts = [switches[not after[column]].format(name) for column, switches in SWITCHES.items() if column in after]
    acts += [f"changed the email address of {name}"] if after.get("email") else []
    joined = sorted(set(after.get("groups", [])) - set(before.get("groups", [])))
    left = sorted(set(before.get("groups", [])) - set(after.get("groups", [])))
    acts += [f"added {name} to {' and '.join(joined)}"] if joined else []
    acts += [f"removed {name} from {' and '.join(left)}"] if left else []
    kind = Change.EMAIL if after.get("email") else Change.GROUPS if "groups" in after else Change.ACCOUNT
    return kind, f"{by} {', '.join(acts) or f'changed the account {name}'}"


def describe_grant(entry: AuditEntry, row: Grant) -> str:
    did = "granted" if row.effect == Grant.Effect.ALLOW else "stopped denying"
    return f"{entry.actor_name} {did} “{', '.join(row.verb_labels)}” on {row.selector} to {row.subject}"


# The rule -------------------------------------------------------------------------------------------------------------


def connection(changes: Sequence[AccountChange], one: int, other: int) -> tuple[AccountChange, ...]:
    """Return the shortest chain of changes by which two people are not independent; empty if they are.

    They are not if someone who can act as one of them, having created the account or set its password, created or
    changed the other, directly or through others.
    """
    found: list[tuple[AccountChange, ...]] = []
    for first, second in ((one, other), (other, one)):
        controlling = chains_to([change for change in changes if change.gives_control], first)
        changing = chains_to(changes, second)
        found += [controlling[person] + changing[person] for person in controlling.keys() & changing.keys()]
    return min(filter(None, found), key=len, default=())


def chains_to(changes: Sequence[AccountChange], person: int) -> dict[int, tuple[AccountChange, ...]]:
    """Return, by person, the changes through which they created or changed this one; for the person itself, none."""
    chains: dict[int, tuple[AccountChange, ...]] = {person: ()}
    # Breadth first, so that each chain is a shortest one.
    waiting = [person]
    for each in waiting:
        for change in changes:
            if change.person_id == each and change.by_id not in chains:
                chains[change.by_id] = (change, *chains[each])
                waiting.append(change.by_id)
    return chains


# What requests ask ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Involved:
    """The people of one request, and who created or changed them, directly or through others, lately."""

    people: frozenset[int]
    changes: tuple[AccountChange, ...]
    # 0 where the rule is off.
    hours: int

    @classmethod
    def of(cls, change: ChangeRequest, *others: int | None) -> Involved:
        """Return those who want the run and these others."""
        people = {change.requested_by_id, change.on_behalf_of_id, *others} - {None}
        # Of a change of rules that concerns several environments: the strictest.
        environments = Environment.objects.filter(slug__in=change.environment_name.split(", "))
        places = [change.environment] if change.environment else list(environments)
        hours = max((place.independence_hours for place in places), default=0)
        # Before the request, not before now: otherwise waiting with the approval would help.
        since = (change.requested_at or timezone.now()) - timedelta(hours=hours or DISPLAYED_HOURS)
        return cls(frozenset(person for person in people if person), account_changes(people, since), hours)

    def require_independent(self, person: User) -> None:
        """Refuse a decision by a person who created or changed one of the others, or the reverse."""
        if not self.hours:
            return
        for other in sorted(self.people - {person.pk}):
            if chain := connection(self.changes, person.pk, other):
                raise Refused(
                    "approval.not_independent",
                    f"{person.get_username()} is not independent of the people of this request: "
                    f"{'; '.join(map(str, chain))}. Someone else must decide, or the request must be submitted again "
                    f"{self.hours} hours after that.",
                    changes=as_json(chain),
                )

    def own_changes(self) -> tuple[AccountChange, ...]:
        """Return the changes of these people themselves, newest first."""
        return tuple(change for change in self.changes if change.person_id in self.people)

    def audit_details(self) -> dict[str, Any]:
        """Return the part of an audit entry that says who created or changed them; empty if no one did."""
        found = self.own_changes()
        return {"account_changes": as_json(found)} if found else {}


def require_own_password(person: User) -> None:
    """Refuse a decision by a person whose password someone else chose: two people can sign in as them."""
    # Who signs in elsewhere has no password here that anyone could know.
    if not person.has_usable_password():
        return
    chosen = Q(verb__in=["person.create", "person.password", "person.own_password"])
    entries = AuditEntry.objects.filter(
        chosen | Q(verb="person.change", after__has_key="password"),
        subject_kind="person",
        subject_id=str(person.pk),
        outcome=AuditEntry.Outcome.DONE,
    )
    last = entries.exclude(actor_kind=Kind.SYSTEM).order_by("-sequence").first()
    if last and last.actor_id != str(person.pk):
        raise Refused(
            "approval.password_not_own",
            f"The password of {person.get_username()} was chosen by {last.actor_name}. Change it to one that only you "
            "know, then decide.",
            by=last.actor_name,
        )


def as_json(changes: Iterable[AccountChange]) -> list[dict[str, Any]]:
    return [asdict(change) | {"at": change.at.isoformat()} for change in changes]
