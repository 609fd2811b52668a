"""Loosening the rules of a protected environment: which acts do, and what each of them requires.

Everything that changes a rule asks `loosened(before, after)`; `loosening_gate` has what follows from it. Tightening is
free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.db.models import Q, QuerySet

from flows import server_identity
from flows.models import Environment, Server
from runs.models import Freeze, Grant, Policy, Window
from runs.models.grant import OPENING
from runs.models.policy import Risk, Stage

Rule = tuple[str, Callable[[Any, Any], bool]]


@dataclass(frozen=True, slots=True)
class Loosening:
    """One rule of one protected environment that an act makes looser; `what` is for people."""

    kind: str
    environment: str
    what: str


@dataclass(frozen=True, slots=True)
class Account:
    """What an account can open: the protected environments that grants, groups and administrator rights reach.

    `groups` is name -> the environments that the group opens, and those that it closes by denials.
    """

    name: str
    can_sign_in: bool
    is_administrator: bool
    password: str
    email: str
    # Of a service account: who issues its tokens.
    owner: str
    opens: frozenset[str]
    groups: Mapping[str, tuple[frozenset[str], frozenset[str]]]

    def reach(self, protected: frozenset[str]) -> frozenset[str]:
        return protected if self.is_administrator else self.opens.union(*(opens for opens, _ in self.groups.values()))


Subject = Environment | Server | Policy | Window | Grant | Freeze | Account


# When a value is looser than the one before ---------------------------------------------------------------------------


def is_turned_off(before: object, after: object) -> bool:
    return bool(before) and not after


def is_different(before: object, after: object) -> bool:
    return before != after


def is_longer(before: int | None, after: int | None) -> bool:
    """Compare minutes; None is the environment's own, which can be longer than any."""
    return before is not None and (after is None or after > before)


def is_shorter(before: int, after: int) -> bool:
    return after < before


def is_kept_shorter(before: int, after: int) -> bool:
    """Compare days; 0 is forever."""
    return after > 0 and (before == 0 or after < before)


def is_elsewhere(before: str, after: str) -> bool:
    return not server_identity.is_same_address(before, after)


def is_narrower(before: object, after: object) -> bool:
    """Compare a field of a selector: blank selects everything, any other value selects something else."""
    return before != after and bool(after)


def needs_fewer(before: Sequence[Stage], after: Sequence[Stage]) -> bool:
    left = {stage["group"]: stage["needed"] for stage in after}
    return any(left.get(stage["group"], 0) < stage["needed"] for stage in before)


def is_lower(before: str, after: str) -> bool:
    risks = [str(risk) for risk in Risk]
    return risks.index(after) < risks.index(before)


def is_refusal_ended(before: str, after: str) -> bool:
    """Compare whether schedules in Prefect are allowed; `allows_more` has what follows from allowing them."""
    return before == Policy.Native.REFUSE and after == Policy.Native.DEFAULT


# The table ------------------------------------------------------------------------------------------------------------

# column -> its name in words, and when a change of it is looser
SELECTOR: dict[str, Rule] = {
    "environment_id": ("environment", is_narrower),
    "flow_name": ("flow", is_narrower),
    "full_name": ("deployment", is_narrower),
    "tag": ("tag", is_narrower),
}
ENVIRONMENT: dict[str, Rule] = {
    "is_protected": ("protected", is_turned_off),
    "needs_approval": ("needs approval", is_turned_off),
    "needs_reason": ("needs a reason", is_turned_off),
    "approval_minutes": ("approval timeout in minutes", is_longer),
    "independence_hours": ("independence window in hours", is_shorter),
    # What is deleted can no longer be looked up.
    "keep_runs_days": ("days for which runs are kept", is_kept_shorter),
    "keep_events_days": ("days for which events are kept", is_kept_shorter),
    # What leaves the scope could be run under other rules; what comes into it can be run here.
    "scope_kind": ("scope", is_different),
    "scope_values": ("scope values", is_different),
    # Disabled, nothing that happens there is seen; enabled again, everything can start.
    "is_active": ("enabled", is_different),
}
SERVER: dict[str, Rule] = {
    "api_url": ("API URL", is_elsewhere),
    "credential_kind": ("credential type", is_different),
    "sealed_credential": ("credential", is_different),
}
POLICY: dict[str, Rule] = {
    "stages": ("approvals", needs_fewer),
    "approval_minutes": ("approval timeout in minutes", is_longer),
    "needs_reason": ("needs a reason", is_turned_off),
    "needs_ticket": ("needs a ticket", is_turned_off),
    "ticket_pattern": ("ticket pattern", lambda before, after: bool(before) and before != after),
    "needs_confirmation": ("needs typed confirmation", is_turned_off),
    "refuse_moving": ("refuses code that is not pinned", is_turned_off),
    "cancel_moved": ("cancels changed runs", is_turned_off),
    "token_days": ("longest token in days", is_longer),
    "schedule_days": ("longest schedule in days", is_longer),
    "approve_each_run": ("each run of a schedule is approved", is_turned_off),
    "native_schedules": ("schedules in Prefect", is_refusal_ended),
    "outside_window": ("outside change windows", lambda before, after: before == Policy.Outside.REFUSE != after),
    "risk": ("risk", is_lower),
    **SELECTOR,
}
# Whether a schedule is looser than another cannot be computed, so every change of one counts.
WINDOW: dict[str, Rule] = {
    "is_active": ("active", is_turned_off),
    **{name: (name.replace("_", " "), is_different) for name in ("effect", "cron", "minutes", "time_zone", *SELECTOR)},
}


def environment_loosenings(
    before: Environment | None, after: Environment | None, _: frozenset[str]
) -> Iterator[Loosening]:
    if before and after and is_guarded(before):
        rows = changed(ENVIRONMENT, before, after), changed(SERVER, before.server, after.server)
        for column, what in chain(*rows):
            yield Loosening(f"environment.{column}", before.slug, what)


def server_loosenings(before: Server | None, after: Server | None, _: frozenset[str]) -> Iterator[Loosening]:
    # A change of a server is one of each environment on it.
    if before and after:
        changes = list(changed(SERVER, before, after))
        for environment in filter(is_guarded, before.environments.all() if changes else ()):
            for column, what in changes:
                yield Loosening(f"environment.{column}", environment.slug, what)


def policy_loosenings(before: Policy | None, after: Policy | None, protected: frozenset[str]) -> Iterator[Loosening]:
    for environment in reached_by(before, protected) if before else ():
        if after is None:
            yield Loosening("policy.deleted", environment, f"policy {before} deleted")
        else:
            for column, what in changed(POLICY, before, after):
                yield Loosening(f"policy.{column}", environment, f"policy {before}, {what}")
    # The one setting that allows what is refused without it: also a new policy, or one that applies to more.
    for environment in reached_by(after, protected) if after and allows_more(before, after) else ():
        yield Loosening("policy.native_schedules", environment, f"policy {after} allows schedules in Prefect")


def allows_more(before: Policy | None, after: Policy) -> bool:
    """Return whether a policy allows schedules in Prefect where it did not before."""
    if after.native_schedules != Policy.Native.ALLOW:
        return False
    if before is None or before.native_schedules != Policy.Native.ALLOW:
        return True
    return any(getattr(before, column) != getattr(after, column) for column in SELECTOR)


def window_loosenings(before: Window | None, after: Window | None, protected: frozenset[str]) -> Iterator[Loosening]:
    # 1. One that was in force is deleted or changed.
    for environment in reached_by(before, protected) if before and before.is_active else ():
        if after is None:
            yield Loosening("window.deleted", environment, f"change window {before} deleted")
        else:
            for column, what in changed(WINDOW, before, after):
                yield Loosening(f"window.{column}", environment, f"change window {before}, {what}")
    # 2. Another one that allows is one more time in which runs start.
    pk = after.pk if after and after.pk else 0
    is_new = after and after.is_active and after.effect == Window.Effect.ALLOW and not (before and before.is_active)
    for environment in reached_by(after, protected) if after and is_new else ():
        if Window.objects.filter(
            Q(environment__slug=environment) | Q(environment=None), effect=Window.Effect.ALLOW, is_active=True
        ).exclude(pk=pk):
            yield Loosening("window.added", environment, f"change window {after} added")


def freeze_loosenings(before: Freeze | None, after: Freeze | None, _: frozenset[str]) -> Iterator[Loosening]:
    if before and after is None and is_guarded(before.environment):
        yield Loosening("freeze.ended", before.environment.slug, "freeze ended")


def grant_loosenings(before: Grant | None, after: Grant | None, protected: frozenset[str]) -> Iterator[Loosening]:
    # Grants are never changed: they are given, and taken back.
    row = after if after and after.effect == Grant.Effect.ALLOW else None
    row = row or (before if before and before.effect == Grant.Effect.DENY else None)
    if row and OPENING & set(row.verbs):
        what = f"grant to {row.subject}: {', '.join(row.verb_labels)}"
        for environment in reached_by(row, protected):
            if row.effect == Grant.Effect.DENY:
                yield Loosening("grant.denial_ended", environment, f"end of a denial for {row.subject}")
            else:
                yield Loosening("grant.given", environment, what)


def account_loosenings(before: Account | None, after: Account | None, protected: frozenset[str]) -> Iterator[Loosening]:
    if after is None:
        return
    groups = before.groups if before else {}
    found: list[tuple[str, Iterable[str], str]] = [
        ("account.group", opens, f"{after.name} added to the group {name}")
        for name, (opens, _) in after.groups.items()
        if name not in groups
    ]
    found += [
        ("account.group", closes, f"{after.name} removed from the group {name}, which is denied access")
        for name, (_, closes) in groups.items()
        if name not in after.groups
    ]
    if after.is_administrator and not (before and before.is_administrator):
        found.append(("account.administrator", protected, f"{after.name} made an administrator"))
    if before and after.can_sign_in and not before.can_sign_in:
        found.append(("account.enabled", after.reach(protected), f"account {after.name} enabled"))
    if before and after.password != before.password:
        found.append(("account.password", after.reach(protected), f"password of {after.name} set"))
    # A link for a new password goes there.
    if before and after.email and after.email != before.email:
        found.append(("account.email", after.reach(protected), f"email address of {after.name} changed"))
    # The owner issues its tokens.
    if before and after.owner != before.owner:
        found.append(("account.owner", after.reach(protected), f"owner of {after.name} changed to {after.owner}"))
    yield from (Loosening(kind, name, what) for kind, reach, what in found for name in sorted(reach))


# subject -> what an act that leads from one to the other makes looser; None before it is made and after it is deleted
TABLE: dict[type, Callable[[Any, Any, frozenset[str]], Iterator[Loosening]]] = {
    Environment: environment_loosenings,
    Server: server_loosenings,
    Policy: policy_loosenings,
    Window: window_loosenings,
    Freeze: freeze_loosenings,
    Grant: grant_loosenings,
    Account: account_loosenings,
}


def loosened(before: Subject | None, after: Subject | None) -> list[Loosening]:
    """Return what becomes looser in protected environments; nothing if the act only tightens."""
    return list(TABLE[type(before or after)](before, after, protected_environments()))


def changed(table: Mapping[str, Rule], before: Any, after: Any) -> Iterator[tuple[str, str]]:
    """Yield the columns that become looser, each with what happens to it in words."""
    for column, (name, is_looser) in table.items():
        was, becomes = getattr(before, column), getattr(after, column)
        # Both are encrypted, so they are only compared; bytes may come as a memoryview.
        if column == "sealed_credential":
            if bytes(was) != bytes(becomes):
                yield column, f"{name} changed"
        elif is_looser(was, becomes):
            yield column, f"{name}: {display_value(before, column)} → {display_value(after, column)}"


def display_value(row: Any, column: str) -> str:
    value = getattr(row, column)
    match value:
        case bool():
            return "on" if value else "off"
        case list() if column == "scope_values":
            return ", ".join(value) or "none"
        case list():
            return ", ".join(f"{stage['needed']} of {stage['group'] or 'anyone'}" for stage in value) or "none"
        case _ if column == "environment_id":
            return str(row.environment or "all environments")
        case _:
            return str(value) if value not in (None, "") else "blank"


def is_guarded(environment: Environment) -> bool:
    """Return whether an environment counts as protected, which it does also after its protection was switched off."""
    # Otherwise one act would take the protection, and the next ones would need nothing.
    return environment.is_protected or "is_protected" in environment.loosened


def guarded_environments() -> QuerySet[Environment]:
    """Return the environments whose rules are those of a protected one."""
    return Environment.objects.filter(Q(is_protected=True) | Q(loosened__has_key="is_protected"))


def protected_environments() -> frozenset[str]:
    return frozenset(guarded_environments().values_list("slug", flat=True))


def reached_by(row: Policy | Window | Grant, protected: frozenset[str]) -> list[str]:
    """Return the protected environments that a rule or grant applies to."""
    if isinstance(row, Grant) and row.environment is None and row.effect == Grant.Effect.ALLOW:
        return []  # an allowing grant for all environments leaves the protected ones out
    return sorted(protected if row.environment is None else protected & {row.environment.slug})
