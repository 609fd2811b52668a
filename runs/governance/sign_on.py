"""Single sign-on: which account an identity of the provider opens. The only code that writes `SignOnIdentity`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User

from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.accounts import require_person
from runs.governance.configuration import require_administrator
from runs.models import SignOnIdentity


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in at the provider, as its verified ID token says."""

    issuer: str
    subject: str
    # Blank if the provider has not verified it.
    email: str
    # When they last proved who they are, such as with a password; None if the provider does not say.
    proven_at: datetime | None


def account_of(identity: Identity, *, signed_in: User | None, by: Callable[[User], Actor]) -> User:
    """Return the account that an identity opens.

    At the first sign-on, that is the only account with its email address, which is then connected to the identity. An
    account with a password is connected only if it is that of `signed_in`, because email addresses are not verified.
    `by` returns the actor for an account. Must be called in a transaction. Raises `Refused` with a code `sign_on.…`;
    its data may have the `username` of the refused account.
    """
    known = SignOnIdentity.objects.filter(issuer=identity.issuer, subject=identity.subject)
    connected = known.first()
    person = connected.person if connected else account_with_address(identity)
    if not (person.is_active and person.is_staff):
        raise Refused(
            "sign_on.closed",
            f"The account {person} is disabled, or may not sign in. A portal administrator can change that.",
            username=person.username,
        )
    # Read again: the account is locked now, and a second click may have connected it before.
    if connected is None and not known.exists():
        if person.has_usable_password() and (signed_in is None or signed_in.pk != person.pk):
            raise Refused(
                "sign_on.has_password",
                f"The account {person} has a password. Sign in with it, then connect {settings.SSO_NAME} on your "
                "profile.",
                username=person.username,
            )
        connect(person, identity, by=by(person))
    return person


def account_with_address(identity: Identity) -> User:
    """Return the only account that has the email address of an identity, locked."""
    if not identity.email:
        raise Refused(
            "sign_on.no_email",
            f"{settings.SSO_NAME} sent no verified email address, which the portal needs to find your account.",
        )
    rows = User.objects.select_for_update(of=("self",)).filter(email__iexact=identity.email, service_account=None)
    # Postgres compares more letters as equal than mail servers do, such as a dotless i.
    found = [row for row in rows if folded(row.email) == folded(identity.email)]
    if not found:
        raise Refused(
            "sign_on.unknown",
            f"No account has the email address {identity.email}. A portal administrator can add one, or change the "
            "address of yours.",
        )
    if len(found) > 1:
        raise Refused(
            "sign_on.ambiguous",
            f"{len(found)} accounts have the email address {identity.email}, so single sign-on cannot tell which one "
            "to open. Sign in with a password, or ask a portal administrator to change the address of one.",
        )
    return found[0]


def folded(email: str) -> str:
    return unicodedata.normalize("NFKC", email).casefold()


def connect(person: User, identity: Identity, *, by: Actor) -> None:
    """Let an identity open the account of a person, who has just signed in with it for the first time."""
    with audit.act("person.connect_sign_on", person, by=by, subject_kind="person") as act:
        if SignOnIdentity.objects.filter(person=person).exists():
            raise Refused(
                "sign_on.other_identity",
                f"The account {person} is connected to another identity of {settings.SSO_NAME}. If that identity "
                "no longer exists, a portal administrator can disconnect it on the page of the user.",
                username=person.username,
            )
        act.after = {"issuer": identity.issuer, "subject": identity.subject, "email": identity.email}
        SignOnIdentity.objects.create(
            person=person, issuer=identity.issuer, subject=identity.subject, email=identity.email
        )


def disconnect(person: User, *, by: Actor, end_sessions: Callable[[User], None]) -> None:
    """Forget the identity of a person, for administrators: the next sign-on finds the account by its address again.

    `end_sessions` signs the person out, in the same transaction. Raises `Refused` with code `sign_on.not_connected`.
    """
    with audit.act("person.disconnect_sign_on", person, by=by, subject_kind="person") as act:
        require_administrator(by)
        require_person(person)
        row = SignOnIdentity.objects.select_for_update().filter(person=person).first()
        if row is None:
            raise Refused("sign_on.not_connected", f"{person} is not connected to single sign-on.")
        act.before = {"issuer": row.issuer, "subject": row.subject, "email": row.email}
        row.delete()
        end_sessions(person)
