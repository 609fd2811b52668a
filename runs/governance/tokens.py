"""Tokens of programs: the only code that writes `Token` and `TokenScope`.

A token is `portal_KEY.SECRET`. The key is public and names the token in the audit trail.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import token_limits, token_secrets
from runs.governance.powers import owns
from runs.governance.rule_changes import oversees
from runs.models import Agent, Grant, JobTrust, Scope, ServiceAccount, Token, TokenScope

# For which a replaced token stays valid: programs are given the new one meanwhile.
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=7)
# Its last use is stored at most this often.
NOTED_EVERY = timedelta(minutes=1)
# What decides whether a token is valid, read with it.
RELATED = ("user__service_account__owner", "job_trust", "agent__owner")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just created. `text` is the only time that its secret exists outside the client."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"NewToken({self.token})"


# Create, replace, revoke ----------------------------------------------------------------------------------------------


def issue(
    user: User,
    *,
    by: Actor,
    name: str,
    scopes: Sequence[TokenScope],
    expires_at: datetime,
    networks: Sequence[str] = (),
    agent: Agent | None = None,
    reads_trail: bool = False,
) -> NewToken:
    """Create a token of a person, by themselves, of a service account, by its owner, or of the person's `agent`.

    `scopes` are unsaved rows. They can be wider than the grants of the user: both count each time it is used. Raises
    `Refused` with a code `token.…` or `grant.condition…`.
    """
    with audit.act("token.issue", None, by=by, subject_kind="token", subject_name=name.strip()) as act:
        require_interactive(by)
        require_own(user, by)
        token = build(user, name, scopes, expires_at, networks)
        token.agent, token.reads_trail = agent, reads_trail
        token_limits.require_agent_scopes(token, scopes)
        token_limits.require_may_read_trail(token)
        found = insert(token, scopes)
        act.subject, act.after = token, describe(token, scopes)
    return found


def rotate(token: Token, *, by: Actor, overlap: timedelta = OVERLAP) -> NewToken:
    """Replace a token by one with the same name, scopes and networks, and a life of the same length.

    The old one stays valid for `overlap`. Raises `Refused` with a code `token.…`.
    """
    with audit.act("token.rotate", token, by=by) as act:
        require_interactive(by)
        require_own(token.user, by)
        old = lock(token)
        require_valid(old)
        require_replaceable(old)
        scopes = [copy_of(scope) for scope in old.scopes.all()]
        ends = min(timezone.now() + (old.expires_at - old.created_at), timezone.now() + token_limits.longest(scopes))
        new = build(old.user, old.name, scopes, ends, old.networks)
        new.replaces, new.agent, new.reads_trail = old, old.agent, old.reads_trail
        token_limits.require_agent_scopes(new, scopes)
        found = insert(new, scopes)
        end(old, timezone.now() + min(max(overlap, timedelta(0)), LONGEST_OVERLAP), by)
        act.after = {"replaced_by": new.key, "until": old.revoked_at, "expires_at": new.expires_at}
    return found


def revoke(token: Token, *, by: Actor, reason: str = "") -> None:
    """Revoke a token now: by its user, the owner of its service account, or an administrator.

    It cannot be made valid again, not in the database either. Raises `Refused` with a code `token.…`.
    """
    with audit.act("token.revoke", token, by=by, reason=reason) as act:
        # A token may revoke itself: that only takes access away.
        if by.token_id != token.key:
            require_interactive(by)
            if not by.is_administrator:
                require_own(token.user, by)
        stored = lock(token)
        if not stored.digest or (stored.revoked_at and stored.revoked_at <= timezone.now()):
            raise Refused("token.revoked", f"The token {stored} was already revoked.")
        end(stored, timezone.now(), by)
        act.after = {"revoked_at": stored.revoked_at}


def revoke_found(text: str, *, address: str, user_agent: str = "") -> bool:
    """Revoke a token that was found somewhere, by its text; return whether it was valid.

    The text is enough to use a token, so it is enough to revoke it.
    """
    token = find(text)
    if token is None:
        return False
    by = actor_of(token, address=address, user_agent=user_agent)
    try:
        revoke(token, by=by, reason="The token was posted for revocation.")
    except Refused:
        return False
    return True


def build(user: User, name: str, scopes: Sequence[TokenScope], expires_at: datetime, networks: Sequence[str]) -> Token:
    """Return a checked, unsaved token without its secret."""
    return Token(
        key=token_secrets.new_key(),
        user=user,
        name=token_limits.required_name(name),
        networks=token_limits.parse_networks(networks),
        expires_at=token_limits.checked_expiry(expires_at, scopes),
    )


def insert(token: Token, scopes: Sequence[TokenScope]) -> NewToken:
    secret = token_secrets.new_secret(token.key)
    token.pepper = max(settings.TOKEN_PEPPERS)
    token.digest = token_secrets.digest(token, scopes, secret, settings.TOKEN_PEPPERS[token.pepper])
    token.save(force_insert=True)
    for scope in scopes:
        scope.token = token
    TokenScope.objects.bulk_create(scopes)
    # Times are those of the database from here on.
    token.refresh_from_db(fields=["created_at"])
    return NewToken(token, f"{token_secrets.PREFIX}{token.key}.{secret}")


def end(token: Token, at: datetime, by: Actor) -> None:
    token.revoked_at, token.revoked_by_name = at, by.name
    if at <= timezone.now():
        # Without the hash no secret fits any more, whatever the times say.
        token.digest = ""
    token.save(update_fields=["revoked_at", "revoked_by_name", "digest"])


# What is required -----------------------------------------------------------------------------------------------------


def require_interactive(by: Actor) -> None:
    """Refuse an act with a token: one that leaked could otherwise make others that outlive it."""
    if by.token_id:
        raise Refused("token.interactive", "Tokens cannot manage tokens. Sign in to the portal to do that.")


def require_own(user: User, by: Actor) -> None:
    if not by.is_same_person_as(user.pk) and not owns(by.user, user.pk):
        raise Refused("token.not_own", f"{user} is not you, and not a service account that you own.")


def require_valid(token: Token) -> None:
    """Refuse a token that has ended, whose user, or the owner of whose service account, is disabled, or whose trust is.

    The token of a CI job ends with the trust that allowed it, also when that was ended in the database.
    """
    now = timezone.now()
    if not token.digest or (token.revoked_at and token.revoked_at <= now):
        raise Refused("token.revoked", f"The token {token} was revoked or replaced. Use another one.")
    if token.expires_at <= now:
        raise Refused("token.expired", f"The token {token} has expired. Create another one.")
    account = getattr(token.user, "service_account", None)
    if not token.user.is_active or (account and not account.owner.is_active):
        raise Refused("token.user_inactive", f"The account {token.user}, or its owner's, is disabled.")
    if token.job_trust and not is_trusted(token.job_trust, account):
        raise Refused("token.revoked", f"The token {token} was revoked or replaced. Use another one.")


def is_trusted(trust: JobTrust, account: ServiceAccount | None) -> bool:
    """Return whether a trusted job was not revoked, and was created by the present owner of its account."""
    return (
        bool(trust.digest) and not trust.revoked_at and account is not None and account.owner_id == trust.created_by_id
    )


def require_replaceable(token: Token) -> None:
    """Refuse to replace a token twice, or that of a CI job, which would outlive its job."""
    if token.job_trust_id:
        raise Refused("token.of_job", "The token of a CI job cannot be replaced: the next job is given another one.")
    if Token.objects.filter(replaces=token.pk).exists():
        raise Refused("token.revoked", f"The token {token} was revoked or replaced. Use another one.")


# Use ------------------------------------------------------------------------------------------------------------------


def authenticate(text: str, *, address: str, user_agent: str = "", for_agents: bool = False) -> Actor:
    """Return the actor of a token, with its scopes as they are now.

    `for_agents`: at the door of the agents, where only their tokens work, and nowhere else. Raises `Refused` with code
    `token.invalid`, or, for its right secret only, `token.door`, `token.expired`, `token.revoked`, `token.network` or
    `token.user_inactive`.
    """
    token = find(text)
    if token is None:
        raise Refused("token.invalid", "The token is not valid. Check that it was copied as a whole.")
    if (token.agent_id is not None) != for_agents:
        raise Refused(
            "token.door",
            f"The token {token} is of another kind. Tokens of agents work at /mcp only, all others with the API only.",
        )
    require_valid(token)
    if token.networks and not is_within(address, token.networks):
        raise Refused("token.network", f"The token {token} cannot be used from {address}.", address=address)
    note_use(token, address)
    return actor_of(token, address=address, user_agent=user_agent)


def actor_again(by: Actor) -> Actor:
    """Return the actor of a token as it is now, for a connection that lasts; raises `Refused` once it has ended."""
    rows = Token.objects.select_related(*RELATED).prefetch_related("scopes")
    token = rows.get(key=by.token_id)
    require_valid(token)
    return actor_of(token, address=by.address, user_agent=by.user_agent)


def find(text: str) -> Token | None:
    """Return the token with this text, secret included; None if there is none, or if it was changed in the database."""
    match = token_secrets.FORMAT.fullmatch(text)
    if match is None:
        return None
    key, secret = match.groups()
    rows = Token.objects.select_related(*RELATED).prefetch_related("scopes")
    # Not `first()`: sorting by columns takes as long to compile as the rest, and a key is unique.
    token = next(iter(rows.filter(key=key).order_by()), None)
    pepper = settings.TOKEN_PEPPERS.get(token.pepper) if token else None
    if token is None or pepper is None:
        return None
    scopes = list(token.scopes.all())
    if not hmac.compare_digest(token_secrets.digest(token, scopes, secret, pepper).encode(), token.digest.encode()):
        return None
    newest = max(settings.TOKEN_PEPPERS)
    if token.pepper != newest:
        # The only moment in which the secret is known.
        made = token_secrets.digest(token, scopes, secret, settings.TOKEN_PEPPERS[newest])
        Token.objects.filter(pk=token.pk, digest=token.digest).update(pepper=newest, digest=made)
    return token


def actor_of(token: Token, *, address: str, user_agent: str = "") -> Actor:
    account = getattr(token.user, "service_account", None)
    scope = tuple(as_grant(scope) for scope in token.scopes.all())
    if token.agent:
        # As its user: the hash covers that one, and the owner of the agent is another row.
        token_limits.require_agent_scopes(token, list(token.scopes.all()))
        return Actor.of_agent(token.agent, token_id=token.key, scope=scope, address=address, user_agent=user_agent)
    return Actor.program(
        token.user,
        token_id=token.key,
        scope=scope,
        owner=account.owner if account else None,
        reads_trail=token.reads_trail,
        address=address,
        user_agent=user_agent,
    )


def as_grant(scope: Scope) -> Grant:
    """Return an unsaved grant that says what the scope says."""
    return Grant(
        effect=Grant.Effect.ALLOW,
        verbs=scope.verbs,
        environment_id=scope.environment_id,
        tag=scope.tag,
        flow_name=scope.flow_name,
        full_name=scope.full_name,
        predicate=scope.predicate,
    )


def copy_of(scope: TokenScope) -> TokenScope:
    """Return an unsaved copy for another token."""
    return TokenScope(**token_secrets.scope_columns(scope))


def note_use(token: Token, address: str) -> None:
    now = timezone.now()
    due = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - NOTED_EVERY:
        Token.objects.filter(due, pk=token.pk).update(last_used_at=now, last_used_address=address[:64])


def is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        place = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(place in ipaddress.ip_network(each) for each in networks)


def end_all(user: User, by: Actor) -> int:
    """Revoke every token of an account, within an act that says so; return how many."""
    ended = Token.objects.filter(active(), user=user)
    return ended.update(digest="", revoked_at=timezone.now(), revoked_by_name=by.name)


# Queries --------------------------------------------------------------------------------------------------------------


def visible_to(by: Actor) -> QuerySet[Token]:
    """Return the tokens that the actor sees: their own and those of their service accounts; administrators see all."""
    rows = Token.objects.select_related(*RELATED).prefetch_related("scopes__environment")
    if oversees(by):
        return rows
    return rows.filter(Q(user=by.user) | Q(user__service_account__owner=by.user))


def active() -> Q:
    """Return the condition for tokens that can be used."""
    now = timezone.now()
    return ~Q(digest="") & Q(expires_at__gt=now) & (Q(revoked_at=None) | Q(revoked_at__gt=now))


def unused_for(days: int) -> Q:
    """Return the condition for usable tokens that were not used for so many days, counted from their creation."""
    before = timezone.now() - timedelta(days=days)
    return active() & Q(created_at__lt=before) & (Q(last_used_at=None) | Q(last_used_at__lt=before))


def lock(token: Token) -> Token:
    rows = Token.objects.select_for_update(of=["self"]).select_related(*RELATED)
    return rows.get(pk=token.pk)


def describe(token: Token, scopes: Sequence[TokenScope]) -> dict[str, Any]:
    """Return the token for the audit trail."""
    return {
        "key": token.key,
        "user": token.user.get_username(),
        **({"agent": token.agent.name} if token.agent else {}),
        **({"reads_trail": True} if token.reads_trail else {}),
        "scopes": [str(scope) for scope in scopes],
        "networks": token.networks,
        "expires_at": token.expires_at,
    }
