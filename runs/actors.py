"""The actor of an action: a person, token, agent, schedule, chain, hook, event rule or the portal, as one type."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from django.contrib.auth.models import AnonymousUser, User

from runs.models import Agent, Grant


# Values of both enums are stored in the audit trail and covered by its digests: never rename one.
class Kind(StrEnum):
    PERSON = "person"
    TOKEN = "token"  # noqa: S105  (a kind of actor)
    AGENT = "agent"
    SCHEDULE = "schedule"
    CHAIN = "chain"
    WEBHOOK = "webhook"
    RULE = "rule"
    SYSTEM = "system"


class Channel(StrEnum):
    ADMIN = "admin"
    API = "api"
    AGENT = "mcp"
    WEBHOOK = "webhook"
    SCHEDULE = "schedule"
    CHAIN = "chain"
    RULE = "rule"
    COMMAND = "command"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool by an agent, as the audit trail names it. `arguments` is a SHA-256, never the values."""

    tool: str
    arguments: str
    client: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, through which channel. Everyone but the system acts with the grants of a user, `holder`.

    A `scope` limits that further, to what its own grants allow as well; None is no limit.
    """

    kind: Kind
    id: str
    name: str
    channel: Channel
    # Out of repr(): it would print the account into logs.
    holder: User | None = field(default=None, repr=False)
    address: str = ""
    user_agent: str = ""
    token_id: str = ""
    on_behalf_of: str = ""
    scope: tuple[Grant, ...] | None = field(default=None, repr=False)
    # Whether a scope leaves the audit trail open to a person who can read it.
    reads_trail: bool = False
    # Who answers for a service account: what it requests, it requests on their behalf.
    owner: User | None = field(default=None, repr=False)
    # An AI agent, which acts with the grants of its owner, `holder`, and what it was called for.
    agent: Agent | None = field(default=None, repr=False)
    call: Call | None = None

    @classmethod
    def person(cls, user: User, *, channel: Channel, address: str = "", user_agent: str = "") -> Actor:
        return cls(Kind.PERSON, str(user.pk), user.get_username(), channel, user, address, user_agent[:400])

    @classmethod
    def program(
        cls,
        user: User,
        *,
        token_id: str,
        scope: tuple[Grant, ...],
        owner: User | None = None,
        reads_trail: bool = False,
        channel: Channel = Channel.API,
        address: str = "",
        user_agent: str = "",
    ) -> Actor:
        """Return the actor of a token: its user within a scope, on behalf of the owner of a service account."""
        return cls(
            Kind.TOKEN,
            str(user.pk),
            user.get_username(),
            channel,
            user,
            address,
            user_agent[:400],
            token_id=token_id,
            on_behalf_of=owner.get_username() if owner else "",
            scope=scope,
            owner=owner,
            reads_trail=reads_trail,
        )

    @classmethod
    def hook(
        cls,
        user: User,
        *,
        key: str,
        scope: tuple[Grant, ...],
        owner: User,
        address: str = "",
        user_agent: str = "",
    ) -> Actor:
        """Return the actor of an inbound hook: its service account within a scope, on behalf of the owner."""
        program = cls.program(
            user,
            token_id=key,
            scope=scope,
            owner=owner,
            channel=Channel.WEBHOOK,
            address=address,
            user_agent=user_agent,
        )
        return replace(program, kind=Kind.WEBHOOK)

    @classmethod
    def of_rule(cls, owner: User, *, key: str, name: str, scope: tuple[Grant, ...]) -> Actor:
        """Return the actor of an event rule: its owner within a scope, and on the owner's behalf.

        Its name can be that of no account, which has no spaces.
        """
        return cls(
            Kind.RULE,
            str(owner.pk),
            f"rule {name}",
            Channel.RULE,
            owner,
            token_id=key,
            on_behalf_of=owner.get_username(),
            scope=scope,
            owner=owner,
        )

    @classmethod
    def of_agent(
        cls, agent: Agent, *, token_id: str, scope: tuple[Grant, ...], address: str = "", user_agent: str = ""
    ) -> Actor:
        """Return the actor of an agent: its owner within a scope, and on the owner's behalf.

        Its name can be that of no account, which has no spaces.
        """
        return cls(
            Kind.AGENT,
            str(agent.owner.pk),
            f"agent {agent.name}",
            Channel.AGENT,
            agent.owner,
            address,
            user_agent[:400],
            token_id=token_id,
            on_behalf_of=agent.owner.get_username(),
            scope=scope,
            owner=agent.owner,
            agent=agent,
        )

    @classmethod
    def chain(cls, pk: int, name: str, *, on_behalf_of: str) -> Actor:
        """Return the actor of a chain that starts its next step, on behalf of the requester: for the audit trail.

        It decides nothing: each step is checked with the grants of the requester.
        """
        return cls(Kind.CHAIN, str(pk), f"chain {name}", Channel.CHAIN, on_behalf_of=on_behalf_of)

    @classmethod
    def of_schedule(cls, owner: User, *, name: str, agent: Agent | None = None) -> Actor:
        """Return the actor of a schedule that requests one of its runs: its owner, by the name it has there."""
        return cls(Kind.SCHEDULE, str(owner.pk), name, Channel.SCHEDULE, owner, agent=agent)

    @classmethod
    def system(cls, name: str = "portal") -> Actor:
        return cls(Kind.SYSTEM, "", name, Channel.SYNC)

    @property
    def requester(self) -> str:
        """Return the name, of an agent with its owner: “agent helper on behalf of kim”."""
        return f"{self.name} on behalf of {self.on_behalf_of}" if self.agent else self.name

    @property
    def user(self) -> User:
        """Return the user whose grants count; raises TypeError for the system, which has none."""
        if self.holder is None:
            raise TypeError(f"{self.name} is the system: it has no grants and makes no decisions.")
        return self.holder

    @property
    def is_administrator(self) -> bool:
        """Return whether the actor can configure everything: the system, or an administrator without a scope."""
        return self.holder is None or (self.scope is None and is_administrator(self.holder))

    def is_same_person_as(self, user_id: int | None) -> bool:
        """Return whether the actor is that user; never for the system, also when `user_id` is None."""
        return self.holder is not None and self.holder.pk == user_id


def is_administrator(user: User | AnonymousUser) -> bool:
    """Return whether a person is an active administrator. The only place that reads `is_superuser` as a permission."""
    return bool(user.is_active and user.is_superuser)
