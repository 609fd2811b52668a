"""Tokens of programs: the only code that writes `Token` and `TokenScope`.

A token is `portal_KEY.SECRET`. The key is public and names the token in the audit trail. The secret ends with a
checksum over all that precedes it, so that scanners for leaked secrets find tokens without false alarms.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from flows import canonical
from flows.db_text import sanitize
from runs import audit, moments
from runs.access import predicates
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.powers import owns
from runs.governance.rule_changes import can_read_trail, oversees
from runs.models import Agent, Grant, JobTrust, Policy, Scope, ServiceAccount, Token, TokenScope, Verb
from runs.models.grant import WITH_PARAMETERS

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "portal_"
KEY_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 40, 6
# For scanners as well: docs/tokens.md quotes it.
FORMAT = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{KEY_LENGTH}}})\.([0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}})")
# The longest life of a token where no policy says less.
LONGEST = timedelta(days=365)
# For which a replaced token stays valid: programs are given the new one meanwhile.
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=7)
# Its last use is stored at most this often.
NOTED_EVERY = timedelta(minutes=1)
MOST_SCOPES, MOST_NETWORKS, MAX_NAME_LENGTH = 20, 20, 100
# An emergency override is the act of a person who has just signed in.
NEVER = frozenset({Verb.BREAK_GLASS})
VERBS = tuple(verb for verb in Verb if verb not in NEVER)
# What decides whether a token is valid, read with it.
RELATED = ("user__service_account__owner", "job_trust", "agent__owner")
# An agent looks and asks. It decides nothing, and views no parameters.
AGENT_VERBS = (Verb.SEE, Verb.SEE_LOGS, Verb.TRIGGER, Verb.TRIGGER_LATER, Verb.CANCEL)


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
        require_agent_scopes(token, scopes)
        require_may_read_trail(token)
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
        ends = min(timezone.now() + (old.expires_at - old.created_at), timezone.now() + longest(scopes))
        new = build(old.user, old.name, scopes, ends, old.networks)
        new.replaces, new.agent, new.reads_trail = old, old.agent, old.reads_trail
        require_agent_scopes(new, scopes)
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
        key=new_key(),
        user=user,
        name=required_name(name),
        networks=parse_networks(networks),
        expires_at=checked_expiry(expires_at, scopes),
    )


def new_key() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))


def insert(token: Token, scopes: Sequence[TokenScope]) -> NewToken:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    text = f"{PREFIX}{token.key}.{secret}"
    secret += checksum(text)
    token.pepper = max(settings.TOKEN_PEPPERS)
    token.digest = digest(token, scopes, secret, settings.TOKEN_PEPPERS[token.pepper])
    token.save(force_insert=True)
    for scope in scopes:
        scope.token = token
    TokenScope.objects.bulk_create(scopes)
    # Times are those of the database from here on.
    token.refresh_from_db(fields=["created_at"])
    return NewToken(token, f"{PREFIX}{token.key}.{secret}")


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


def required_name(name: str) -> str:
    name = sanitize(name.strip())[:MAX_NAME_LENGTH]
    if not name:
        raise Refused("token.name_required", "Give the token a name by which you will know it, such as “nightly CI”.")
    return name


def checked_expiry(expires_at: datetime, scopes: Sequence[Scope]) -> datetime:
    """Return an expiry in UTC; refuse scopes that are not usable, and an expiry that is too late for them."""
    if not scopes or len(scopes) > MOST_SCOPES:
        raise Refused("token.scope", f"Give the token 1 to {MOST_SCOPES} scopes.")
    for scope in scopes:
        require_usable(scope)
    expires_at = moments.in_utc(expires_at)
    allowed = longest(scopes)
    # A minute, so that the choice of “30 days” is not refused when it arrives.
    if not timezone.now() < expires_at <= timezone.now() + allowed + timedelta(minutes=1):
        raise Refused(
            "token.expiry",
            f"Choose an expiry in the future, at most {allowed.days} days ahead.",
            days=allowed.days,
        )
    return expires_at


def require_usable(scope: Scope) -> None:
    """Refuse a scope without verbs, or with a condition that cannot apply."""
    if not scope.verbs or set(scope.verbs) - set(VERBS):
        raise Refused(
            "token.scope", "Choose at least one verb for each scope. A token cannot have “emergency override”."
        )
    scope.verbs = [verb for verb in Verb.values if verb in scope.verbs]
    if scope.predicate is None:
        return
    if errors := predicates.problems(scope.predicate):
        raise Refused("grant.condition", f"The condition on parameters is not valid. {' '.join(errors)}")
    if unbound := [verb for verb in scope.verbs if verb not in WITH_PARAMETERS]:
        raise Refused(
            "grant.condition_unbound",
            f"A condition on parameters cannot apply to {', '.join(Verb(verb).label for verb in unbound)}. Add a scope "
            "without it for them.",
            verbs=unbound,
        )


def require_may_read_trail(token: Token) -> None:
    """Refuse to open the audit trail by a token whose account cannot read it, or that is an agent's."""
    if token.reads_trail and (token.agent or not can_read_trail(token.user)):
        raise Refused(
            "token.trail", "Only administrators and auditors can have a token that reads the whole audit trail."
        )


def require_agent_scopes(token: Token, scopes: Sequence[TokenScope]) -> None:
    """Refuse a token of someone else's agent, and one with more verbs than an agent can have."""
    if token.agent is None:
        return
    if token.agent.owner_id != token.user_id:
        raise Refused("agent.not_own", f"The agent {token.agent} belongs to someone else.")
    if beyond := sorted({verb for scope in scopes for verb in scope.verbs} - set(AGENT_VERBS)):
        raise Refused(
            "token.agent_scope",
            f"An agent cannot have {', '.join(Verb(verb).label for verb in beyond)}. It can have "
            f"{', '.join(verb.label for verb in AGENT_VERBS)}.",
            verbs=beyond,
        )


def parse_networks(networks: Sequence[str]) -> list[str]:
    """Return addresses and networks in CIDR notation, in one spelling each."""
    found = []
    for each in filter(None, map(str.strip, networks)):
        try:
            found.append(str(ipaddress.ip_network(each, strict=False)))
        except ValueError as error:
            raise Refused(
                "token.networks", f"“{each}” is not an address or a network such as 10.0.0.0/8.", network=each
            ) from error
    if len(found) > MOST_NETWORKS:
        raise Refused("token.networks", f"Give at most {MOST_NETWORKS} networks.")
    return list(dict.fromkeys(found))


def longest(scopes: Sequence[Scope]) -> timedelta:
    """Return the longest life of a token with these scopes, by the policies that reach something in them."""
    limits = [
        # Compared as numbers: a policy may hold more days than a timedelta.
        timedelta(days=min(policy.token_days or 0, LONGEST.days))
        for policy in Policy.objects.exclude(token_days=None).select_related("environment")
        if any(reaches(policy, scope) for scope in scopes)
    ]
    return min([LONGEST, *limits])


def reaches(policy: Policy, scope: Scope) -> bool:
    """Return whether there could be a deployment to which both apply."""
    # A scope without an environment leaves the protected ones out. Tags exclude nothing: a deployment can get any tag.
    if scope.environment_id is None and policy.environment and policy.environment.is_protected:
        return False
    pairs = [
        (policy.environment_id, scope.environment_id),
        (policy.full_name, scope.full_name),
        (policy.flow_name or policy.full_name.partition("/")[0], scope.flow_name or scope.full_name.partition("/")[0]),
    ]
    return all(not one or not other or one == other for one, other in pairs)


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
    match = FORMAT.fullmatch(text)
    if match is None:
        return None
    key, secret = match.groups()
    rows = Token.objects.select_related(*RELATED).prefetch_related("scopes")
    token = rows.filter(key=key).first()
    pepper = settings.TOKEN_PEPPERS.get(token.pepper) if token else None
    if token is None or pepper is None:
        return None
    scopes = list(token.scopes.all())
    if not hmac.compare_digest(digest(token, scopes, secret, pepper).encode(), token.digest.encode()):
        return None
    newest = max(settings.TOKEN_PEPPERS)
    if token.pepper != newest:
        # The only moment in which the secret is known.
        made = digest(token, scopes, secret, settings.TOKEN_PEPPERS[newest])
        Token.objects.filter(pk=token.pk, digest=token.digest).update(pepper=newest, digest=made)
    return token


def actor_of(token: Token, *, address: str, user_agent: str = "") -> Actor:
    account = getattr(token.user, "service_account", None)
    scope = tuple(as_grant(scope) for scope in token.scopes.all())
    if token.agent:
        # As its user: the hash covers that one, and the owner of the agent is another row.
        require_agent_scopes(token, list(token.scopes.all()))
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
    return TokenScope(**scope_columns(scope))


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


# The secret -----------------------------------------------------------------------------------------------------------


def checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62."""
    number, found = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        found = ALPHABET[digit] + found
    return found


def digest(token: Token, scopes: Sequence[Scope], secret: str, pepper: str) -> str:
    """Return the HMAC-SHA256, in hexadecimal, over a secret and everything that it opens."""
    covered = {
        "key": token.key,
        "user": token.user_id,
        "agent": token.agent_id,
        # Whoever knows the token of a service account must stay the one who cannot approve what it requests.
        "owner": owner_id(token.user),
        "secret": secret,
        "expires_at": token.expires_at,
        "networks": token.networks,
        "reads_trail": token.reads_trail,
        "scopes": scopes_text(scopes),
        # Otherwise the token would outlive its trust when the reference to it is removed.
        "job_trust": token.job_trust_id,
    }
    return hmac.new(pepper.encode(), canonical.text(covered).encode(), hashlib.sha256).hexdigest()


def owner_id(user: User) -> int | None:
    """Return the key of a service account's owner; None for a person."""
    account = getattr(user, "service_account", None)
    return account.owner_id if account else None


def end_all(user: User, by: Actor) -> int:
    """Revoke every token of an account, within an act that says so; return how many."""
    ended = Token.objects.filter(active(), user=user)
    return ended.update(digest="", revoked_at=timezone.now(), revoked_by_name=by.name)


def scopes_text(scopes: Iterable[Scope]) -> list[str]:
    """Return the scopes as a digest covers them, in whatever order they were read."""
    return sorted(canonical.text(scope_columns(scope)) for scope in scopes)


def scope_columns(scope: Scope) -> dict[str, Any]:
    names = ("environment_id", "tag", "flow_name", "full_name", "verbs", "predicate")
    return {name: getattr(scope, name) for name in names}


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
