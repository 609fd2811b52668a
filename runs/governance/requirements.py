"""What a run requires: approvals, reason, ticket and start time, combined from all policies that apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from django.db import models

from flows import definition
from flows.models import Environment
from flows.parameters import formats
from runs.access.decisions import Permissions, Target, matches
from runs.errors import Refused
from runs.governance.loosening import is_guarded
from runs.models import ChangeRequest, Policy, Window
from runs.models.policy import Risk, Stage
from runs.shared_reads import shared

Rule = Policy | Window

# From low to high: the position decides which of two risks is the higher one.
RISKS = [str(risk) for risk in Risk]


@dataclass(frozen=True, slots=True)
class Requirements:
    """The combined requirements for one deployment; `minutes` is the approval timeout."""

    place: str
    stages: tuple[Stage, ...]
    minutes: int
    needs_reason: bool = False
    needs_ticket: bool = False
    ticket_patterns: tuple[str, ...] = ()
    ticket_link: str = ""
    needs_confirmation: bool = False
    refuse_moving: bool = False
    cancel_moved: bool = False
    refuse_outside_window: bool = False
    schedule_days: int | None = None
    approve_each_run: bool = False
    native_schedules: bool = True
    risk: str = Risk.LOW
    names: tuple[str, ...] = ()

    @property
    def approvals_needed(self) -> int:
        return sum(stage["needed"] for stage in self.stages)

    def frozen(self) -> dict[str, Any]:
        """Return the part that a request stores, as JSON."""
        return {"stages": list(self.stages), "risk": self.risk, "policies": list(self.names)}

    def link(self, ticket: str) -> str:
        """Return the URL of a ticket, or an empty string."""
        # Quoted with its slashes: a ticket is typed by the requester and must not change the path.
        return self.ticket_link.replace("{ticket}", quote(ticket, safe="")) if ticket and self.ticket_link else ""

    def require_reason_and_ticket(self, what: str, *, reason: str, ticket: str) -> None:
        """Refuse an action without the required reason or ticket; `what` is “run”, “cancel” and so on."""
        if self.needs_reason and not reason.strip():
            raise Refused("reason.required", f"A reason is required for every {what} in {self.place}.")
        if self.needs_ticket and not ticket.strip():
            raise Refused("ticket.required", f"A ticket is required for every {what} in {self.place}.")
        # A pattern binds also where no ticket is required: a wrong one would lead nowhere.
        for pattern in self.ticket_patterns:
            if ticket.strip() and not formats.fits(pattern, ticket.strip()):
                raise Refused(
                    "ticket.pattern",
                    f"“{ticket.strip()}” is not a valid ticket: it must match {pattern}.",
                    pattern=pattern,
                )

    def require_pinned(self, name: str, found: Mapping[str, Any]) -> None:
        """Refuse a deployment whose definition has references that Prefect resolves later, where a policy does."""
        moving = found.get("moving", [])
        if self.refuse_moving and moving:
            labels = [definition.moving_label(each) for each in moving]
            raise Refused(
                "definition.moving",
                f"{name} does not pin its code, which is required in {self.place}: {', '.join(labels)}. "
                "Deploy it with a commit or an image digest.",
                moving=moving,
            )


def requirements_for(target: Target, *others: Target) -> Requirements:
    """Combine the environment's own requirements and all policies that apply: the strictest of each counts.

    `others` are of the same environment: the runs of one change request are approved together.

    Stages for the same group become one stage with the larger number; stages for different groups all count.
    """
    environment = target.environment
    # There are few policies, so they are matched in Python: the same `matches` as for grants.
    found = [each for each in in_force(Policy, environment) if any(matches(each, one) for one in (target, *others))]
    needed: dict[str, int] = {}
    for policy in found:
        for stage in policy.stages:
            needed[stage["group"]] = max(stage["needed"], needed.get(stage["group"], 0))
    # The environment's own approval is a minimum: any stage of a policy satisfies it.
    if environment.needs_approval and not needed:
        needed[""] = 1
    return Requirements(
        place=str(environment),
        stages=tuple(Stage(needed=count, group=group) for group, count in needed.items()),
        minutes=min(
            [policy.approval_minutes for policy in found if policy.approval_minutes] or [environment.approval_minutes]
        ),
        needs_reason=environment.needs_reason or any(policy.needs_reason for policy in found),
        needs_ticket=any(policy.needs_ticket for policy in found),
        ticket_patterns=tuple(policy.ticket_pattern for policy in found if policy.ticket_pattern),
        ticket_link=next((policy.ticket_link for policy in found if policy.ticket_link), ""),
        needs_confirmation=environment.is_protected or any(policy.needs_confirmation for policy in found),
        refuse_moving=any(policy.refuse_moving for policy in found),
        cancel_moved=any(policy.cancel_moved for policy in found),
        refuse_outside_window=any(policy.outside_window == Policy.Outside.REFUSE for policy in found),
        schedule_days=min((policy.schedule_days for policy in found if policy.schedule_days), default=None),
        approve_each_run=any(policy.approve_each_run for policy in found),
        native_schedules=allows_native(environment, found),
        risk=max((policy.risk for policy in found), key=RISKS.index, default=Risk.LOW),
        names=tuple(policy.name for policy in found),
    )


def allows_native(environment: Environment, policies: Iterable[Policy]) -> bool:
    """Return whether Prefect may keep schedules: never if a policy refuses it; if protected, only if one allows it."""
    stated = {policy.native_schedules for policy in policies}
    return Policy.Native.REFUSE not in stated and (Policy.Native.ALLOW in stated or not is_guarded(environment))


def requirements_of(change: ChangeRequest | None, target: Target, *others: Target) -> Requirements:
    """Return what the runs of a change request require now: more than those of a person if an agent asked for them.

    Everything that asks for a change request that exists, or is about to, asks here. None is one that no agent makes.
    """
    found = requirements_for(target, *others)
    return with_person(found, target.environment) if change is not None and change.agent_id else found


def with_person(found: Requirements, environment: Environment) -> Requirements:
    """Return what an agent's run requires: in a protected environment at least one person who is not its owner.

    The owner is the requester, who never approves: any stage is enough.
    """
    return with_approval(found) if environment.is_protected else found


def with_approval(found: Requirements) -> Requirements:
    """Return the same with one approval where the rules ask for none."""
    return found if found.stages else replace(found, stages=(Stage(needed=1, group=""),))


def visible[R: (Policy, Window)](rows: Iterable[R], permissions: Permissions) -> list[R]:
    """Return the rules that a person may see: those that apply to something they can see.

    A rule names its deployment, flow or tag, and would reveal that it exists.
    """
    # Superusers see all deployments, so also rules for deployments that do not exist yet.
    if permissions.is_administrator:
        return list(rows)
    places = set(permissions.environments().values_list("pk", flat=True))
    targets = [Target.of(each) for each in permissions.deployments().filter(deleted_upstream_at=None)]
    return [
        row
        for row in rows
        if row.environment_id in places | {None}
        and (not names_something(row) or any(matches(row, target) for target in targets))
        and (places or targets)
    ]


def names_something(rule: Rule) -> bool:
    return bool(rule.full_name or rule.flow_name or rule.tag)


def applicable(environment: Environment) -> models.Q:
    """Return a filter for the rules that apply to something in an environment."""
    return models.Q(environment=environment) | models.Q(environment=None)


def in_force[Kind: (Policy, Window)](model: type[Kind], environment: Environment) -> list[Kind]:
    """Return the `applicable` rules of one kind in order of their names, each with its environment."""
    return shared((model, environment.pk), lambda: read_rules(model, environment))


def read_policies(environments: Iterable[Environment]) -> None:
    """Read the policies of several environments in one query, for `requirements_for` within the same `shared_reads`."""
    rows = list(Policy.objects.order_by("name"))
    for environment in environments:
        there = [row for row in rows if row.environment_id in (None, environment.pk)]
        for row in there:
            if row.environment_id:
                row.environment = environment
        shared((Policy, environment.pk), partial(list, there))


def read_rules[Kind: (Policy, Window)](model: type[Kind], environment: Environment) -> list[Kind]:
    # As SQL: each submission reads them, and compiling a queryset takes three times as long.
    table = model._meta.db_table
    sql = f"SELECT * FROM {table} WHERE environment_id = %s OR environment_id IS NULL ORDER BY name"
    found = list(model._default_manager.raw(sql, [environment.pk]))
    for each in found:
        if each.environment_id:
            each.environment = environment
    return found
