"""What the portal answers about rules, people and the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    verbs: list[str]
    environment: str | None
    flow: str
    deployment: str
    tag: str


@dataclass(frozen=True, slots=True)
class Me:
    """Who the token acts as. `token` is its key, by which the audit trail names it, not its secret."""

    user: str
    on_behalf_of: str
    token: str
    token_name: str
    expires_at: datetime
    scopes: list[Scope]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to “may I”; `decided_by` and `ignored` name grants by number."""

    allowed: bool
    code: str
    why: str
    decided_by: list[int]
    ignored: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    groups: list[str]
    only: str
    until: str | None


@dataclass(frozen=True, slots=True)
class WhoCan:
    verb: str
    allowed: list[Person]
    denied: list[str]


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may (or with `effect` "deny" may not) do what; empty parts of the selection mean all."""

    id: int
    person: str | None
    group: str | None
    effect: str
    verbs: list[str]
    environment: str | None
    flow: str
    deployment: str
    tag: str
    condition: dict[str, Any] | None
    valid_from: datetime | None
    valid_until: datetime | None
    reason: str
    ticket: str
    granted_by: str
    granted_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Granted:
    """The grant, or the number of the change request that a second administrator has to approve first."""

    grant: Grant | None
    change: int | None


@dataclass(frozen=True, slots=True)
class Bypass:
    """What starts runs in a protected environment without the portal: `kind` is schedule, automation or code.

    While `automations_failure` says why the automations could not be read, some can be missing.
    """

    id: int
    environment: str
    kind: str
    name: str
    detail: str
    deployment: str | None
    found_at: datetime
    gone_at: datetime | None
    automations_failure: str


@dataclass(frozen=True, slots=True)
class UnassignedDeployment:
    """A deployment that an administrator has to assign: `in_scope_of` are the environments whose scopes it is in."""

    id: str
    name: str
    server: str
    environment: str | None
    in_scope_of: list[str]
    confirmed: str | None
    work_pool: str
    tags: list[str]
    found_at: datetime
    synced_at: datetime
    url: str


@dataclass(frozen=True, slots=True)
class Freeze:
    id: int
    environment: str
    reason: str
    ticket: str
    begun_by: str
    begun_at: datetime
    until: datetime | None
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lifted:
    """`change` is the number of the change request that a second administrator has to approve first, or None."""

    change: int | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    sequence: int
    at: datetime
    actor: str
    on_behalf_of: str
    channel: str
    token: str
    verb: str
    subject_kind: str
    subject_id: str
    subject: str
    environment: str
    reason: str
    ticket: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True)
class WindowHours:
    """A change window; `effect` is "allow" or "deny", `changes_at` when it opens or closes next."""

    id: int
    name: str
    effect: str
    environment: str | None
    flow: str
    deployment: str
    tag: str
    cron: str
    time_zone: str
    minutes: int
    is_open: bool
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether runs can start; if not, `why`, and `opens_at` when that is known. `freeze` is the reason of a freeze."""

    environment: str
    deployment: str | None
    is_open: bool
    why: str
    opens_at: datetime | None
    freeze: str | None
    windows: list[WindowHours]
