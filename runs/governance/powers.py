"""What an account can open in protected environments: by its grants, its groups and its administrator rights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.contrib.auth.models import Group, User
from django.db.models import Q
from django.utils import timezone

from runs.governance.loosening import Account, protected_environments, reached_by
from runs.models import Grant, Policy, ServiceAccount
from runs.models.grant import OPENING


def account_of(person: User, groups: Iterable[Group]) -> Account:
    """Return an account with these groups, which need not be stored yet."""
    protected = protected_environments()
    names = {group.pk: group.name for group in groups}
    opens: defaultdict[int | None, set[str]] = defaultdict(set)
    closes: defaultdict[int | None, set[str]] = defaultdict(set)
    # 1. Grants that count now or later: under None their own and those of their service accounts, whose tokens they
    #    issue; those of a group under its key.
    own = Q(person=person.pk) | Q(person__service_account__owner=person.pk, effect=Grant.Effect.ALLOW)
    owners = Q(group__in=names) | (own if person.pk else Q(pk=None))
    rows = Grant.objects.filter(owners, revoked_at=None, verbs__overlap=sorted(OPENING))
    for row in rows.exclude(valid_until__lte=timezone.now()).select_related("environment"):
        reached = closes if row.effect == Grant.Effect.DENY else opens
        reached[row.group_id] |= {*reached_by(row, protected)}
    # 2. Groups that a stage of approvals names.
    for policy in Policy.objects.select_related("environment"):
        named = {stage["group"] for stage in policy.stages}
        for key, name in names.items():
            opens[key] |= {*reached_by(policy, protected)} if name in named else set()
    owner = owner_of(person)
    return Account(
        name=person.get_username(),
        # A service account comes in with a token instead.
        can_sign_in=person.is_active and bool(person.is_staff or owner),
        is_administrator=person.is_superuser,
        password=person.password,
        email=person.email,
        owner=owner,
        opens=frozenset(opens[None]),
        groups={name: (frozenset(opens[key]), frozenset(closes[key])) for key, name in names.items()},
    )


def owns(person: User, user_pk: int | None) -> bool:
    """Return whether a person is the owner of the service account with that user."""
    if user_pk is None:
        return False
    return ServiceAccount.objects.filter(owner=person, user=user_pk).exists()


def owner_of(person: User) -> str:
    """Return the name of the owner of a service account; empty for a person."""
    account = ServiceAccount.objects.filter(user=person.pk).select_related("owner").first() if person.pk else None
    return account.owner.get_username() if account else ""
