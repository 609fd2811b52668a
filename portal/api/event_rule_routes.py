"""Routes of event rules: list, save, pause, resume and delete them, and what they did and would do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status
from pydantic import AwareDatetime

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from portal.api.request_routes import Reason
from runs import names
from runs.actors import Actor
from runs.automation import event_rules, rule_dry_run, rule_listings
from runs.models import EventRule, RuleFiring

router = Router(tags=["Event rules"])
RuleFilters = paging.filters_of(rule_listings.EVENT_RULES)
FiringFilters = paging.filters_of(rule_listings.FIRINGS, "rule")


class EventRuleRow(paging.Row):
    key: str = Field(description="It names the rule in the audit trail.")
    name: str
    owner: str
    token: str | None = Field(
        description="Key of the token within whose scopes it acts; null for all of the owner's grants."
    )
    trigger: str = Field(description="run, artifact, delivery or event.")
    in_environment: str | None = Field(description="Where the event must come from; null is anywhere.")
    of_deployment: str
    of_flow: str
    of_tag: str
    states: list[str]
    artifact_key: str
    hook: str | None = Field(description="Key of the hook.")
    event_name: str
    conditions: list[dict[str, Any]] = Field(description="All must hold: pointer, is (eq, ne, gt, ge, lt, le), value.")
    environment: str = Field(description="Where it requests runs.")
    deployment: str
    mapping: dict[str, Any]
    debounce_seconds: int
    per_hour: int
    valid_until: datetime
    obstacle: str = Field(description="Why it could not run when last checked; empty if nothing prevents it.")
    is_enabled: bool
    paused_by: str
    created_at: datetime
    url: str

    @classmethod
    def of(cls, row: EventRule) -> EventRuleRow:
        return cls(
            key=row.key,
            name=row.name,
            owner=row.owner.get_username(),
            token=row.token.key if row.token else None,
            trigger=row.trigger,
            in_environment=row.environment.slug if row.environment else None,
            of_deployment=row.full_name,
            of_flow=row.flow_name,
            of_tag=row.tag,
            states=row.states,
            artifact_key=row.artifact_key,
            hook=row.hook.key if row.hook else None,
            event_name=row.event_name,
            conditions=row.conditions,
            environment=row.deployment.environment.slug,
            deployment=row.deployment.full_name,
            mapping=row.mapping,
            debounce_seconds=row.debounce_seconds,
            per_hour=row.per_hour,
            valid_until=row.valid_until,
            obstacle=row.obstacle,
            is_enabled=row.is_enabled,
            paused_by=row.paused_by_name,
            created_at=row.created_at,
            url=link("runs_eventrule_change", row.pk),
        )


class EventRuleBody(Schema):
    """What can be changed of a rule; what is left out has its default."""

    model_config = body(
        name="train after drift",
        artifact_key="drift",
        conditions=[{"pointer": "/artifact/fields/share", "is": "gt", "value": 0.3}],
        mapping={"month": {"pointer": "/run/parameters/month"}},
        debounce_seconds=600,
        per_hour=2,
    )

    name: str = Field(max_length=event_rules.MAX_NAME_LENGTH)
    in_environment: str | None = Field(None, max_length=40, description="Where the event must come from.")
    of_deployment: str = Field("", max_length=601, description="Only of runs of this deployment, by its full name.")
    of_flow: str = Field("", max_length=300, description="Only of runs of this flow.")
    of_tag: str = Field("", max_length=300, description="Only of runs with this tag.")
    states: list[str] = Field([], max_length=10, description="In which a run must end: COMPLETED, FAILED …")
    artifact_key: str = Field("", max_length=300)
    hook: str | None = Field(None, max_length=40, description="Key of a hook of a service account that you own.")
    event_name: str = Field("", max_length=100)
    conditions: list[dict[str, Any]] = Field(
        [], description="All must hold: pointer, is (eq, ne, gt, ge, lt, le), value."
    )
    mapping: dict[str, Any] = Field(
        {}, description="Parameter: {pointer}, {pointer, default} or {value}. Others have the deployment's defaults."
    )
    debounce_seconds: int = Field(0, ge=0, le=2**31 - 1, description="Of events within this time the last one counts.")
    per_hour: int = Field(event_rules.DEFAULT_PER_HOUR, ge=0, le=2**31 - 1, description="Requests an hour at most.")
    valid_until: AwareDatetime | None = Field(None, description="Its end; null is as late as the policies allow.")

    def columns(self, by: Actor) -> dict[str, Any]:
        """Return the arguments of `event_rules.create` and `event_rules.change`; raises `NotVisible` or `Refused`."""
        same = ("states", "artifact_key", "event_name", "conditions", "mapping", "debounce_seconds", "per_hour")
        return {
            **{name: getattr(self, name) for name in (*same, "valid_until")},
            "environment": names.environment(self.in_environment, by=by) if self.in_environment else None,
            "full_name": self.of_deployment,
            "flow_name": self.of_flow,
            "tag": self.of_tag,
            "hook": event_rules.require_hook(self.hook, by) if self.hook else None,
        }


class NewEventRule(EventRuleBody):
    """A rule; `environment` and `deployment` are what it runs. Neither they nor the trigger can be changed later."""

    model_config = body(
        environment="prod",
        deployment="training/monthly",
        name="train after drift",
        trigger="artifact",
        artifact_key="drift",
        conditions=[{"pointer": "/artifact/fields/share", "is": "gt", "value": 0.3}],
        mapping={"month": {"pointer": "/run/parameters/month"}},
    )

    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    trigger: str = Field(max_length=10, description="run, artifact, delivery or event.")


class FiringRow(paging.Row):
    id: int
    event: int = Field(description="Number of the event, of several the last one.")
    source: str = Field(description="What happened.")
    occurred_at: datetime
    matched_at: datetime = Field(description="When the portal saw it.")
    due_at: datetime | None = Field(description="When it is acted on, of one that waits.")
    outcome: str = Field(description="waiting, requested, skipped, refused or failed.")
    code: str = Field(description="Why there is no request; empty if there is one.")
    message: str
    events: int = Field(description="How many events it stands for.")
    request: int | None = Field(description="Number of the request that was made.")
    depth: int = Field(description="How many rules in a row led to it, this one included.")

    @classmethod
    def of(cls, row: RuleFiring) -> FiringRow:
        return cls(
            id=row.pk,
            event=row.event_id,
            source=row.source,
            occurred_at=row.occurred_at,
            matched_at=row.matched_at,
            due_at=row.due_at,
            outcome=row.outcome,
            code=row.code,
            message=row.message,
            events=row.events,
            request=row.run_request_id,
            depth=row.depth,
        )


class RuleDryRunItem(Schema):
    event: int
    at: datetime
    source: str
    result: rule_dry_run.Result
    code: str = Field(description="Why it would not request a run; empty if it would.")
    why: str
    parameters: dict[str, Any] = Field(description="With which it would request a run, secrets masked.")


class RuleDryRunRow(paging.Row):
    """What the events of the last day would have done."""

    since: datetime
    needs_approval: bool = Field(description="Whether each request would wait for approval.")
    is_cut: bool = Field(description="Whether there were more events than are read.")
    request: int
    skip: int
    refuse: int
    items: list[RuleDryRunItem] = Field(description="The newest first.")

    @classmethod
    def of(cls, found: rule_dry_run.DryRun) -> RuleDryRunRow:
        items = [
            RuleDryRunItem(
                event=each.event_id,
                at=each.at,
                source=each.source,
                result=each.result,
                code=each.code,
                why=each.why,
                parameters=dict(each.parameters),
            )
            for each in found.items
        ]
        counts = found.counts
        return cls(
            since=found.since,
            needs_approval=found.needs_approval,
            is_cut=found.is_cut,
            request=counts[rule_dry_run.Result.REQUEST],
            skip=counts[rule_dry_run.Result.SKIP],
            refuse=counts[rule_dry_run.Result.REFUSE],
            items=items,
        )


def rule_of(by: Actor, key: str) -> EventRule:
    return one(rule_listings.EVENT_RULES.rows(by), "event rule", key=key)


@router.get("/event-rules", response={200: paging.page_of(EventRuleRow), **PROBLEMS}, summary="List event rules")
def list_event_rules(request: HttpRequest, query: Query[RuleFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List your event rules."""
    return paging.answer(request, rule_listings.EVENT_RULES, query, EventRuleRow, EventRuleRow.of)


@router.post("/event-rules", response={201: EventRuleRow, **PROBLEMS}, summary="Create an event rule")
@idempotent
def create_event_rule(request: HttpRequest, payload: NewEventRule) -> Status[EventRuleRow]:
    """Create a rule in your name. It acts within the scopes of your token, and as long as that is valid."""
    by = actor_of(request)
    made = event_rules.create(
        payload.name,
        trigger=payload.trigger,
        deployment=names.deployment(payload.environment, payload.deployment, by=by),
        by=by,
        **payload.columns(by),
    )
    return Status(201, EventRuleRow.of(rule_of(by, made.key)))


@router.put("/event-rules/{key}", response={200: EventRuleRow, **PROBLEMS}, summary="Change an event rule")
@idempotent
def change_event_rule(request: HttpRequest, key: str, payload: EventRuleBody) -> EventRuleRow:
    """Change all of a rule of yours. From now on it acts within the scopes of this token."""
    by = actor_of(request)
    event_rules.change(rule_of(by, key), by=by, name=payload.name, **payload.columns(by))
    return EventRuleRow.of(rule_of(by, key))


@router.delete("/event-rules/{key}", response={200: EventRuleRow, **PROBLEMS}, summary="Delete an event rule")
@idempotent
def delete_event_rule(request: HttpRequest, key: str) -> EventRuleRow:
    """Delete a rule of yours, and return it as it was. What it requested stays."""
    by = actor_of(request)
    rule = rule_of(by, key)
    deleted = EventRuleRow.of(rule)
    event_rules.delete(rule, by=by)
    return deleted


@router.get("/event-rules/{key}", response={200: EventRuleRow, **PROBLEMS}, summary="Read an event rule")
def read_event_rule(request: HttpRequest, key: str) -> EventRuleRow:
    return EventRuleRow.of(rule_of(actor_of(request), key))


@router.get(
    "/event-rules/{key}/firings",
    response={200: paging.page_of(FiringRow), **PROBLEMS},
    summary="List what events did with a rule",
)
def list_firings(request: HttpRequest, key: str, query: Query[FiringFilters]) -> HttpResponse:  # type: ignore[valid-type]
    rule = rule_of(actor_of(request), key)
    return paging.answer(request, rule_listings.FIRINGS, query, FiringRow, FiringRow.of, rule=rule.pk)


@router.get(
    "/event-rules/{key}/dry-run",
    response={200: RuleDryRunRow, **PROBLEMS},
    summary="Say what a rule would have done in the last day",
)
def dry_run(request: HttpRequest, key: str) -> RuleDryRunRow:
    """Read the events of the last 24 hours, with what you can see and do now. Nothing is requested."""
    by = actor_of(request)
    return RuleDryRunRow.of(rule_dry_run.dry_run(rule_of(by, key), within=by))


@router.post("/event-rules/{key}/pause", response={200: EventRuleRow, **PROBLEMS}, summary="Pause an event rule")
@idempotent
def pause(request: HttpRequest, key: str, payload: Reason) -> EventRuleRow:
    """Request nothing more until it is resumed."""
    return act(request, key, payload, event_rules.pause)


@router.post("/event-rules/{key}/resume", response={200: EventRuleRow, **PROBLEMS}, summary="Resume an event rule")
@idempotent
def resume(request: HttpRequest, key: str, payload: Reason) -> EventRuleRow:
    """Go on after a pause. What happened meanwhile is ignored."""
    return act(request, key, payload, event_rules.resume)


def act(request: HttpRequest, key: str, payload: Reason, service: Callable[..., None]) -> EventRuleRow:
    by = actor_of(request)
    service(rule_of(by, key), by=by, reason=payload.reason)
    return EventRuleRow.of(rule_of(by, key))
