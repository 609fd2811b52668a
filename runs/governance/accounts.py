"""Users and groups: the only code that saves them, but for service accounts, which are in `service_accounts`."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.utils.crypto import get_random_string

from runs import audit, queue
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import account_names, loosening_gate
from runs.governance.configuration import columns, difference, require_administrator
from runs.governance.loosening import Loosening, loosened
from runs.governance.powers import account_of
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import ChangeRequest, ServiceAccount

# Columns in the audit trail.
PERSON = ["username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser"]
# Key of the advisory lock on names: no constraint compares look-alikes. Any constant that nothing else uses.
NAMES_LOCK = 0x6E616D6573


def save_person(
    person: User,
    *,
    groups: Iterable[Group],
    by: Actor,
    reason: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """Save a new or changed account with its groups.

    `confirm` names the protected environments that the account can open by it: the save then waits as the change
    request that is returned, until it is approved and comes again as `signed`. Raises `Refused` with code
    `person.name_unclear`, `person.name_taken`, `administrator.own`, `loosening.…` or `rules.…`.
    """
    stored, groups = User.objects.filter(pk=person.pk).first(), list(groups)
    verb = "person.change" if stored else "person.create"
    with audit.act(verb, person, by=by, reason=reason, subject_kind="person") as act:
        require_administrator(by)
        if stored and stored.pk == getattr(by.holder, "pk", None) and not (person.is_active and person.is_superuser):
            # Administrators cannot demote themselves, so at least one is always left.
            raise Refused(
                "administrator.own", "You cannot remove your own administrator rights. Another administrator can."
            )
        require_person(stored)
        if stored is None or stored.username != person.username:
            require_distinct_name(person, "username", "user")
        found = loosened_by(stored, person, groups)
        before, proposal = describe_person(stored) if stored else {}, proposal_of(stored, person, groups)
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        # Compared before saving; the hashes themselves are never recorded.
        has_new_password = stored is not None and stored.password != person.password
        person.save()
        person.groups.set(groups)
        act.before, act.after = difference(before, describe_person(person))
        if has_new_password:
            act.after["password"] = "changed"  # noqa: S105  (that it was, not what it is)
        loosening_gate.record_and_notify(found, act, signed)
    return None


def change_own_email(
    person: User, email: str, *, by: Actor, reason: str = "", confirm: str = ""
) -> ChangeRequest | None:
    """Save another email address of the person's own account; blank removes it.

    The caller has checked the password. A link for a new password goes to the address, so where the account can open
    protected environments, it is the same act as an administrator's: the address waits in the change request that is
    returned, and receives nothing before. Raises `Refused` with code `person.invalid`, `loosening.…` or `rules.…`.
    """
    with audit.act("person.change", person, by=by, reason=reason, subject_kind="person") as act:
        if by.holder is None or by.holder.pk != person.pk:
            raise TypeError("Users change their own address; administrators use `save_person`.")
        stored = User.objects.select_for_update().get(pk=person.pk)
        require_person(stored)
        changed = copy(stored)
        changed.email = User.objects.normalize_email(email.strip())
        require_valid(changed, "email")
        groups = list(stored.groups.all())
        found, proposal = loosened_by(stored, changed, groups), proposal_of(stored, changed, groups)
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=None):
            return waiting
        changed.save(update_fields=["email"])
        act.before, act.after = difference(describe_person(stored), describe_person(changed))
        loosening_gate.record_and_notify(found, act)
    return None


def change_own_name(person: User, first_name: str, last_name: str, *, by: Actor) -> None:
    """Save the name that pages show beside the user name of the person's own account; blank shows the user name.

    Raises `Refused` with code `person.name_unclear` or `person.invalid`.
    """
    with audit.act("person.change", person, by=by, subject_kind="person") as act:
        if by.holder is None or by.holder.pk != person.pk:
            raise TypeError("Users change their own name; administrators use `save_person`.")
        stored = User.objects.select_for_update().get(pk=person.pk)
        require_person(stored)
        changed = copy(stored)
        changed.first_name, changed.last_name = first_name.strip(), last_name.strip()
        for part in (changed.first_name, changed.last_name):
            require_clear(part)
        require_valid(changed, "first_name", "last_name")
        changed.save(update_fields=["first_name", "last_name"])
        act.before, act.after = difference(describe_person(stored), describe_person(changed))


def proposal_of(stored: User | None, person: User, groups: Iterable[Group]) -> Proposal:
    """Describe the change of an account with its groups."""
    return Proposal(
        subject_id=str(person.pk or ""),
        subject_name=f"user {person.username}",
        before=describe_person(stored) if stored else {},
        after=columns(person, PERSON) | {"groups": sorted(group.name for group in groups)},
        secret_before={"password": stored.password} if stored else {},
        secret_after={"password": person.password},
        beneficiary=f"person:{person.pk}" if person.pk else "",
    )


def loosened_by(stored: User | None, person: User, groups: Iterable[Group]) -> list[Loosening]:
    """Return what saving this account with these groups makes looser."""
    return loosened(account_of(stored, stored.groups.all()) if stored else None, account_of(person, groups))


def loosened_by_email(person: User, email: str) -> list[Loosening]:
    """Return what becomes looser when a person has another email address."""
    changed = copy(person)
    changed.email = User.objects.normalize_email(email.strip())
    return loosened_by(person, changed, person.groups.all())


def loosened_by_password(person: User) -> list[Loosening]:
    """Return what becomes looser when someone else sets a person's password."""
    after = account_of(person, person.groups.all())
    return loosened(replace(after, password=""), after)


def require_person(stored: User | None) -> None:
    """Refuse to give a service account what only people have: a password, groups, rights to sign in."""
    if stored and ServiceAccount.objects.filter(user=stored.pk).exists():
        raise Refused(
            "service_account.person",
            f"{stored} is a service account: it has no password and no groups, and cannot sign in. Change it on its "
            "own page.",
        )


def require_clear(name: str) -> None:
    """Refuse a name that cannot be read."""
    if not account_names.is_clear(name):
        raise Refused(
            "person.name_unclear",
            f"The name {name!r} cannot be used: it has invisible characters or extra spaces, or mixes alphabets in one "
            "word. Type it again in one alphabet.",
        )


def require_distinct_name(row: User | Group, column: str, noun: str) -> None:
    """Refuse a name that cannot be read, or that looks like the name of another account or group."""
    name: str = getattr(row, column)
    require_clear(name)
    with connection.cursor() as cursor:
        # Two look-alikes that are created at once: the second waits here, and finds the first.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [NAMES_LOCK])
    others: models.QuerySet[Any] = type(row)._default_manager.exclude(pk=row.pk)
    own = account_names.keys(name)
    for other in others.values_list(column, flat=True):
        if not own.isdisjoint(account_names.keys(other)):
            raise Refused(
                "person.name_taken",
                f"The name {name} looks like the {noun} {other}. Choose a name that cannot be confused with it.",
                name=other,
            )


def describe_person(person: User) -> dict[str, Any]:
    return columns(person, PERSON) | {"groups": sorted(person.groups.values_list("name", flat=True))}


def set_password(
    person: User, *, by: Actor, reason: str = "", confirm: str = "", signed: ChangeRequest | None = None
) -> ChangeRequest | None:
    """Save the password of another person, which the caller has set on `person`; for administrators.

    `confirm` names the protected environments that the account can open: the password then waits, encrypted, in the
    change request that is returned, until it is approved and comes again as `signed`. Raises `Refused` with code
    `loosening.…` or `rules.…`.
    """
    with audit.act("person.password", person, by=by, reason=reason, subject_kind="person") as act:
        require_administrator(by)
        stored = User.objects.get(pk=person.pk)
        require_person(stored)
        found = loosened_by_password(person) if person.has_usable_password() else []
        proposal = Proposal(
            subject_id=str(person.pk),
            subject_name=f"password of {person.username}",
            before={"username": stored.username},
            after={"username": person.username},
            secret_before={"password": stored.password},
            secret_after={"password": person.password},
            beneficiary=f"person:{person.pk}",
        )
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        person.save(update_fields=["password"])
        loosening_gate.record_and_notify(found, act, signed)
    return None


def save_group(group: Group, *, permissions: Iterable[Permission], by: Actor) -> None:
    """Save a new or changed group with its Django permissions; its grants are separate.

    Raises `Refused` with code `person.name_unclear` or `person.name_taken`.
    """
    stored = Group.objects.filter(pk=group.pk).first()
    with audit.act("group.change" if stored else "group.create", group, by=by) as act:
        require_administrator(by)
        if stored is None or stored.name != group.name:
            require_distinct_name(group, "name", "group")
        before = describe_group(stored) if stored else {}
        group.save()
        group.permissions.set(permissions)
        act.before, act.after = difference(before, describe_group(group))


def describe_group(group: Group) -> dict[str, Any]:
    return {"name": group.name, "permissions": sorted(group.permissions.values_list("codename", flat=True))}


def can_have_reset_link(person: User) -> bool:
    """Return whether a link for a new password can be mailed to the account: it signs in here, with a password."""
    return bool(person.is_active and person.is_staff and person.email and person.has_usable_password())


def request_reset_link(person: User, *, by: Actor) -> None:
    """Queue the email with a link by which the person chooses a new password.

    `by` is unknown: the person has not signed in.
    """
    with audit.act("person.reset_link", person, by=by, subject_kind="person"):
        # The key alone: the link is made when it is sent, so that the queue holds nothing that is secret.
        queue.enqueue("runs.tasks.send_reset_link", person.pk)


def reset_password(person: User, password: str, *, by: Actor) -> None:
    """Save a password that the person has chosen by a link; sessions of the account end.

    `person` is the account for which the link was checked. Raises `Refused` with code `reset_link.used` if the link no
    longer applies to it.
    """
    with audit.act("person.own_password", person, by=by, subject_kind="person") as act:
        # What the link is made from, compared under a lock: of two uses at the same time, the second is refused.
        same = {name: getattr(person, name) for name in ("password", "last_login", "email")}
        rows = User.objects.select_for_update().filter(pk=person.pk, is_active=True, is_staff=True, **same)
        stored = rows.first()
        if stored is None:
            raise Refused("reset_link.used", "The link was used already, or the account has been changed since.")
        stored.set_password(password)
        stored.save(update_fields=["password"])
        act.after = {"chosen_by": "link"}


def make_administrator(name: str, *, email: str = "", by: Actor, reason: str) -> User:
    """Create an administrator who can sign in, or make one of an existing account and enable it.

    For the operator of the installation, who is not a user: administrators and auditors are notified. The password is
    random and not stored, so the account needs a link for a new one. Raises `Refused` with code `reason.required`,
    `administrator.already`, `person.invalid`, `person.name_unclear` or `person.name_taken`.
    """
    if by.holder is not None:
        raise TypeError("Users make administrators with `save_person`, which asks them to confirm it.")
    name, reason = User.normalize_username(name), reason.strip()
    with audit.act(
        "person.operator_administrator", None, by=by, reason=reason, subject_kind="person", subject_name=name
    ) as act:
        if not reason:
            raise Refused("reason.required", "Give a reason: administrators and auditors will read it.")
        stored = User.objects.select_for_update().filter(username=name).first()
        if stored and stored.is_superuser and stored.is_active and stored.is_staff:
            raise Refused(
                "administrator.already",
                f"{name} already is an administrator who can sign in. If the password is lost, request a link on the "
                "sign-in page, or name another account.",
            )
        require_person(stored)
        person = copy(stored) if stored else User(username=name)
        person.is_superuser = person.is_active = person.is_staff = True
        person.email = User.objects.normalize_email(email) or person.email
        # Random, not unusable: an account without a usable password counts as one that signs in elsewhere, which no
        # link opens. Also for an existing account: sessions end, and a password that leaked opens no administrator.
        person.set_password(get_random_string(64))
        require_valid(person, "email", *([] if stored else ["username"]))
        if stored is None:
            require_distinct_name(person, "username", "user")
        before = describe_person(stored) if stored else {}
        found = loosened_by(stored, person, stored.groups.all() if stored else [])
        person.save()
        act.subject = person
        act.before, act.after = difference(before, describe_person(person))
        if stored:
            act.after["password"] = "changed"  # noqa: S105  (that it was, not what it is)
        loosening_gate.record_and_notify(found, act)
        loosening_gate.notify_of_operator(f"{name} was made an administrator with a command", found, act)
    return person


def require_valid(person: User, *columns: str) -> None:
    """Refuse values that the form of an account would refuse."""
    try:
        person.clean_fields(exclude={field.name for field in User._meta.fields} - {*columns})
    except ValidationError as error:
        column, messages = next(iter(error.message_dict.items()))
        raise Refused("person.invalid", f"The {column} is not valid. {' '.join(messages)}", field=column) from error
