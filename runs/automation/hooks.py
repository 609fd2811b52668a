"""Create and change inbound hooks: the only code that writes `Hook` and `HookSecret`.

Only the owner of a service account decides what its hooks do and knows their secrets, as with its tokens: they answer
for what is requested. Administrators can disable a hook and remove secrets, which only takes something away.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from flows import encryption
from flows.db_text import sanitize
from flows.models import Deployment
from runs import audit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import LARGEST_BODY, ends, hook_digest, hook_mapping
from runs.automation.hook_digest import sign
from runs.automation.hook_messages import MOST_SECRETS, SCHEMES
from runs.automation.renewals import note_obstacles
from runs.errors import Refused
from runs.governance.configuration import difference
from runs.governance.rule_changes import oversees
from runs.governance.token_secrets import ALPHABET
from runs.models import Hook, HookSecret, ServiceAccount, Verb
from runs.models.hook import DEFAULT_BYTES

KEY_LENGTH, MAX_NAME_LENGTH = 20, 100
SMALLEST_BODY = 1024


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that was just made. `text` is the only time that it leaves the portal."""

    hook: Hook
    text: str

    def __repr__(self) -> str:
        return f"NewSecret({self.hook})"


# Create and change ----------------------------------------------------------------------------------------------------


def create(
    account: ServiceAccount,
    *,
    by: Actor,
    name: str,
    kind: str,
    deployment: Deployment,
    mapping: dict[str, Any],
    predicate: dict[str, Any] | None = None,
    max_bytes: int = DEFAULT_BYTES,
    valid_until: datetime | None = None,
) -> NewSecret:
    """Create a hook of a service account, by its owner, with its first secret.

    It ends at `valid_until`, by default as late as the policies allow.

    Account, kind and deployment cannot be changed later. Raises `Forbidden` if the account cannot run the deployment,
    or `Refused` with a code `hook.…`.
    """
    with audit.act("hook.create", None, by=by, subject_kind="hook", subject_name=name.strip()) as act:
        require_interactive(by)
        account = ServiceAccount.objects.select_related("user", "owner").get(pk=account.pk)
        require_own(account, by)
        if kind not in SCHEMES:
            raise Refused("hook.kind", f"“{kind}” is not a kind of hook.")
        Permissions.of_person(account.user).require(Verb.TRIGGER, deployment)
        hook = Hook(
            key="".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH)),
            kind=kind,
            deployment=deployment,
            account=account,
            owner=account.owner,
            created_by_name=by.name,
            **checked(deployment, name, mapping, predicate, max_bytes, valid_until),
        )
        hook.pepper, hook.digest = 0, ""
        hook.save(force_insert=True)
        text = insert_secret(hook, by)
        sign(hook)
        act.subject, act.after, act.environment = hook, describe(hook), deployment.environment.slug
    return NewSecret(hook, text)


def change(
    hook: Hook,
    *,
    by: Actor,
    name: str,
    mapping: dict[str, Any],
    predicate: dict[str, Any] | None,
    max_bytes: int,
    valid_until: datetime | None = None,
) -> None:
    """Change what a hook does with a message, and renew it, by the owner of its service account. Raises `Refused`."""
    with audit.act("hook.change", hook, by=by, environment=place_of(hook)) as act:
        stored = lock_own(hook, by)
        before = describe(stored)
        for column, value in checked(stored.deployment, name, mapping, predicate, max_bytes, valid_until).items():
            setattr(stored, column, value)
        stored.reminded_at = None
        sign(stored)
        act.before, act.after = difference(before, describe(stored))


def set_enabled(hook: Hook, is_enabled: bool, *, by: Actor, reason: str = "") -> None:
    """Enable a hook, by the owner of its service account, or disable it, also by an administrator."""
    verb = "hook.enable" if is_enabled else "hook.disable"
    with audit.act(verb, hook, by=by, reason=reason, environment=place_of(hook)) as act:
        stored = lock_own(hook, by, also_administrators=not is_enabled)
        act.before, act.after = {"is_enabled": stored.is_enabled}, {"is_enabled": is_enabled}
        stored.is_enabled = is_enabled
        sign(stored)


# Secrets --------------------------------------------------------------------------------------------------------------


def add_secret(hook: Hook, *, by: Actor) -> NewSecret:
    """Add a secret beside those that are valid, by the owner: the sender gets it before the old one is removed."""
    with audit.act("hook.add_secret", hook, by=by, environment=place_of(hook)) as act:
        stored = lock_own(hook, by)
        if stored.secrets.count() >= MOST_SECRETS:
            raise Refused(
                "hook.secrets", f"A hook has at most {MOST_SECRETS} secrets. Remove one that is no longer used."
            )
        text = insert_secret(stored, by)
        sign(stored)
        act.after = {"secrets": numbers(stored)}
    return NewSecret(stored, text)


def remove_secret(hook: Hook, secret: HookSecret, *, by: Actor, reason: str = "") -> None:
    """Delete a secret, by the owner or an administrator: what is signed with it is refused from now on."""
    with audit.act("hook.remove_secret", hook, by=by, reason=reason, environment=place_of(hook)) as act:
        stored = lock_own(hook, by, also_administrators=True)
        act.before = {"secrets": numbers(stored)}
        if not stored.secrets.filter(pk=secret.pk).delete()[0]:
            raise Refused("hook.secret_unknown", "The hook does not have this secret any more.")
        sign(stored)
        act.after = {"secrets": numbers(stored)}


def replace_secrets(hook: Hook, *, by: Actor) -> NewSecret:
    """Delete all secrets and make one, by the owner, who vouches for the hook as it is now.

    Needed after its service account got another owner, who must not depend on what the one before knows, and after the
    hook was changed in the database.
    """
    with audit.act("hook.replace_secrets", hook, by=by, environment=place_of(hook)) as act:
        stored = lock_own(hook, by, also_altered=True)
        act.before = {"secrets": numbers(stored), "owner": stored.owner.get_username()}
        stored.secrets.all().delete()
        stored.owner = stored.account.owner
        text = insert_secret(stored, by)
        sign(stored)
        act.after = describe(stored)
    return NewSecret(stored, text)


def insert_secret(hook: Hook, by: Actor) -> str:
    text = SCHEMES[hook.kind].new_secret()
    HookSecret.objects.create(hook=hook, sealed_text=encryption.seal(text), created_by_name=by.name)
    return text


def note_reminders(keys: Collection[int]) -> int:
    """Note that the owners of hooks were notified of their end."""
    return Hook.objects.filter(pk__in=keys).update(reminded_at=timezone.now())


def note_checked(obstacles: Mapping[int, str]) -> list[int]:
    """Note what prevents the runs of enabled hooks; returns those of which nothing did before."""
    return note_obstacles(Hook.objects.filter(is_enabled=True), obstacles)


# What is required -----------------------------------------------------------------------------------------------------


def require_interactive(by: Actor) -> None:
    """Refuse an act with a token or by a hook: one that leaked could otherwise make a way in that outlives it."""
    if by.token_id:
        raise Refused("hook.interactive", "Programs cannot manage hooks. Sign in to the portal to do that.")


def require_own(account: ServiceAccount, by: Actor) -> None:
    if not by.is_same_person_as(account.owner_id):
        raise Refused("hook.not_own", f"Only the owner of {account} decides what its hooks do, and sees their secrets.")


def lock_own(hook: Hook, by: Actor, *, also_administrators: bool = False, also_altered: bool = False) -> Hook:
    """Lock the row and return it; refuse actors who may not change it, and a row that was changed in the database."""
    require_interactive(by)
    stored = lock(hook)
    if not (also_administrators and by.is_administrator):
        require_own(stored.account, by)
    # Signing it again would make valid what someone changed past the portal.
    if not also_altered:
        hook_digest.require_intact(stored, hook_digest.texts_of(stored))
    return stored


def checked(
    deployment: Deployment,
    name: str,
    mapping: Any,
    predicate: dict[str, Any] | None,
    max_bytes: int,
    valid_until: datetime | None,
) -> dict[str, Any]:
    """Return the columns that can be changed, checked."""
    name = sanitize(name.strip())[:MAX_NAME_LENGTH]
    if not name:
        raise Refused("hook.name_required", "Give the hook a name, such as “orders from the shop”.")
    if not SMALLEST_BODY <= max_bytes <= LARGEST_BODY:
        raise Refused("hook.size", f"The largest body is between {SMALLEST_BODY:,} and {LARGEST_BODY:,} bytes.")
    hook_mapping.require_condition(predicate)
    return {
        "name": name,
        "mapping": hook_mapping.require_usable(mapping, deployment),
        "predicate": predicate,
        "max_bytes": max_bytes,
        "valid_until": ends.end_of([deployment], valid_until),
    }


# Queries --------------------------------------------------------------------------------------------------------------


def rows() -> QuerySet[Hook]:
    return Hook.objects.select_related("deployment__environment__server", "account__user", "account__owner", "owner")


def visible_to(by: Actor) -> QuerySet[Hook]:
    """Return the hooks that the actor sees: those of their service accounts; administrators and auditors see all."""
    return rows() if oversees(by) else rows().filter(account__owner=by.user.pk)


def accounts_of(by: Actor) -> QuerySet[ServiceAccount]:
    """Return the service accounts for which the actor can create hooks."""
    own = Q(owner=by.user.pk, user__is_active=True)
    return ServiceAccount.objects.select_related("user", "owner").filter(own)


def lock(hook: Hook) -> Hook:
    return rows().select_for_update(of=["self"]).get(pk=hook.pk)


def place_of(hook: Hook) -> str:
    return hook.deployment.environment.slug


def numbers(hook: Hook) -> list[int]:
    return list(hook.secrets.order_by("pk").values_list("pk", flat=True))


def describe(hook: Hook) -> dict[str, Any]:
    """Return the hook for the audit trail, without secrets."""
    return {
        "key": hook.key,
        "name": hook.name,
        "kind": hook.kind,
        "deployment": hook.deployment.full_name,
        "account": hook.account.user.get_username(),
        "owner": hook.owner.get_username(),
        "mapping": hook.mapping,
        "predicate": hook.predicate,
        "max_bytes": hook.max_bytes,
        "valid_until": hook.valid_until,
        "is_enabled": hook.is_enabled,
        "secrets": numbers(hook),
    }
