"""Create and change service accounts: the only code that writes `ServiceAccount`, and the users behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User

from flows.db_text import sanitize
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate, tokens
from runs.governance.accounts import require_distinct_name, require_valid
from runs.governance.configuration import difference, require_administrator
from runs.governance.loosening import Loosening, loosened
from runs.governance.powers import account_of
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import ChangeRequest, ServiceAccount

MAX_PURPOSE_LENGTH = 500


def create(name: str, *, owner: User, purpose: str, by: Actor) -> ServiceAccount:
    """Create an account for a program, without grants: those are given to it like to a person.

    Raises `Refused` with a code `service_account.…` or `person.…`.
    """
    name = User.normalize_username(name.strip())
    with audit.act("service_account.create", None, by=by, subject_kind="person", subject_name=name) as act:
        require_administrator(by)
        require_owner(owner)
        user = User(username=name, is_active=True, is_staff=False)
        user.set_unusable_password()
        require_valid(user, "username")
        require_distinct_name(user, "username", "user")
        account = ServiceAccount(user=user, owner=owner, purpose=required_purpose(purpose), created_by_name=by.name)
        user.save()
        # The object holds the unsaved user: a foreign key is copied when it is assigned.
        account.user = user
        account.save(force_insert=True)
        act.subject, act.after = user, describe(account)
    return account


def change(
    account: ServiceAccount,
    *,
    owner: User,
    purpose: str,
    is_active: bool,
    by: Actor,
    reason: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """Give a service account another owner or purpose, or disable or enable it.

    A new owner can act in the protected environments that the account opens, which `confirm` names: it then waits as
    the change request that is returned, until it is approved and comes again as `signed`. Its tokens end with the
    former owner, who may know their texts. Raises `Refused` with code `service_account.…`, `loosening.…` or `rules.…`.
    """
    with audit.act("service_account.change", account.user, by=by, reason=reason, subject_kind="person") as act:
        require_administrator(by)
        stored = (
            ServiceAccount.objects.select_for_update(of=["self"]).select_related("user", "owner").get(pk=account.pk)
        )
        if is_active or owner.pk != stored.owner_id:
            require_owner(owner)
        before, former = describe(stored), stored.owner_id
        found = loosened_by(stored, owner=owner, is_active=is_active)
        stored.owner, stored.purpose, stored.user.is_active = owner, required_purpose(purpose), is_active
        proposal = Proposal(
            subject_id=str(stored.pk),
            subject_name=f"service account {stored}",
            before=before,
            after=describe(stored),
            beneficiary=f"person:{owner.pk}",
        )
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        stored.user.save(update_fields=["is_active"])
        stored.save(update_fields=["owner", "purpose"])
        act.before, act.after = difference(before, describe(stored))
        if owner.pk != former:
            # The former owner may know their texts, and could now approve what they request.
            act.after["tokens_ended"] = tokens.end_all(stored.user, by)
        loosening_gate.record_and_notify(found, act, signed)
    return None


def loosened_by(account: ServiceAccount, *, owner: User, is_active: bool) -> list[Loosening]:
    """Return what giving a stored service account this owner, or enabling it, makes looser."""
    power = account_of(account.user, [])
    return loosened(power, replace(power, owner=owner.get_username(), can_sign_in=is_active))


def describe(account: ServiceAccount) -> dict[str, Any]:
    return {
        "username": account.user.get_username(),
        "owner": account.owner.get_username(),
        "purpose": account.purpose,
        "is_active": account.user.is_active,
    }


def required_purpose(purpose: str) -> str:
    purpose = sanitize(purpose.strip())[:MAX_PURPOSE_LENGTH]
    if not purpose:
        raise Refused("service_account.purpose_required", "Say what the service account is for.")
    return purpose


def require_owner(owner: User) -> None:
    """Refuse an owner who cannot sign in, and so could not answer for the account."""
    if not owner.is_active or not owner.is_staff or is_service_account(owner):
        raise Refused(
            "service_account.owner", f"{owner} cannot own a service account. Choose an active person who can sign in."
        )


def is_service_account(user: User) -> bool:
    return ServiceAccount.objects.filter(user=user.pk).exists()
