"""Chains and their runs as the API returns them, and what its routes are sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field, Schema
from pydantic import AwareDatetime

from portal.api.backfill_routes import ItemPart
from portal.api.bodies import body
from portal.api.catalog_schemas import link
from portal.api.paging import Row
from portal.api.request_schemas import ProfilePart
from runs import changes
from runs.access.decisions import Permissions
from runs.automation.chain_definition import MOST_STEPS, Step
from runs.automation.chain_plan import ChainPlan, StepPlan
from runs.automation.chain_progress import ChainProgress
from runs.models import Chain, Verb
from runs.requests import visibility

DEFINITION: dict[str, Any] = {
    "inputs": {"month": {"description": "Month to close"}},
    "steps": [
        {"key": "ingest", "deployment": "ingest/crm", "parameters": {"month": {"input": "month"}}},
        {
            "key": "train",
            "deployment": "train/crm",
            "parameters": {"month": {"input": "month"}, "rows": {"value": 100}},
            "after": [{"step": "ingest", "when": "completed"}],
            "gate": True,
            "retries": 1,
            "timeout_minutes": 60,
        },
    ],
}


class ChainRow(Row):
    id: int = Field(description="Number of the chain.")
    environment: str
    name: str
    description: str
    version: int = Field(description="Number of its newest version, which a run would have.")
    steps: int
    is_enabled: bool
    owner: str = Field(description="Who saved it last. A run has the permissions of its requester.")
    valid_until: datetime = Field(description="When it ends, unless it is saved with a later end.")
    obstacle: str = Field(description="Why its owner could not run it when last checked; empty if nothing prevents it.")
    last_requested_at: datetime | None
    url: str

    @classmethod
    def columns(cls, row: Any) -> dict[str, Any]:
        return {
            "id": row.pk,
            "environment": row.environment.slug,
            "name": row.name,
            "description": row.description,
            "version": row.number,
            "steps": row.step_count,
            "is_enabled": row.is_enabled,
            "owner": row.owner.get_username(),
            "valid_until": row.valid_until,
            "obstacle": row.obstacle,
            "last_requested_at": row.last_requested_at,
            "url": link("runs_chain_change", row.pk),
        }

    @classmethod
    def of(cls, row: Chain) -> ChainRow:
        return cls(**cls.columns(row))


class ChainDetail(ChainRow):
    definition: dict[str, Any] | None = Field(description="null without permission to view parameters everywhere.")


class NewChain(Schema):
    model_config = body(environment="prod", name="Monthly close", definition=DEFINITION)

    environment: str = Field(max_length=40)
    name: str = Field(max_length=100)
    description: str = Field("", max_length=500)
    definition: dict[str, Any] = Field(description="Inputs and steps: docs/chains.md.")
    valid_until: AwareDatetime | None = Field(None, description="Its end; null is as late as the policies allow.")


class Version(Schema):
    model_config = body(definition=DEFINITION)

    definition: dict[str, Any] = Field(description="Inputs and steps: docs/chains.md.")
    name: str | None = Field(None, max_length=100, description="Its new name; null keeps it.")
    description: str | None = Field(None, max_length=500)
    valid_until: AwareDatetime | None = Field(None, description="Its end; null is as late as the policies allow.")


class ChainEdit(Schema):
    model_config = body(is_enabled=False, reason="Source system is down")

    is_enabled: bool
    reason: str = Field("", max_length=1000)


class ChainOutline(Schema):
    """What a run of a chain would have."""

    model_config = body(inputs={"month": "2026-10"}, profiles={"train": "large"})

    inputs: dict[str, Any] = {}
    profiles: dict[str, str] = Field(
        {},
        max_length=MOST_STEPS,
        description="Resource profiles by step, for those that let you choose; an empty name is none.",
    )


class NewChainRun(ChainOutline):
    model_config = body(inputs={"month": "2026-10"}, version=3, reason="Month end")

    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Refused if it is not the newest; null for any.")
    plan: str = Field("", max_length=64, description="`digest` of the plan as you read it; refused if it has changed.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    on_behalf_of: str = Field("", max_length=150, description="User name of the person you act for.")


class StepRow(Row):
    key: str
    deployment: str
    outcome: str = Field(description="waiting, ready, running, completed, failed or skipped.")
    attempt: int = Field(description="0 before it has started.")
    request: int | None = Field(description="Number of the run request of the latest attempt.")
    state: str = Field(description="State of that request.", examples=["held"])
    run: UUID | None = Field(description="Prefect's id of the run.")
    waits_for: str = Field(description="What a person must decide; empty if nothing.")
    items: int = Field(
        description="Runs of a step that is a backfill; 0 of every other. Then the fields above are of one."
    )
    items_completed: int
    over: dict[str, list[Any]] = Field(
        description="Of a step that is a backfill: its values by parameter, every combination of which is a run. Empty "
        "without permission to view them."
    )
    profile: ProfilePart | None = Field(description="The resource profile, with what it sets; null without one.")


class PlannedStep(Row):
    key: str
    deployment: str
    runs: int
    refused: int
    profile: ProfilePart | None = Field(description="The resource profile, with what it sets; null without one.")
    items: list[ItemPart] = Field(description="Its runs; of a step that is no backfill one, without values.")

    @classmethod
    def of(cls, plan: StepPlan) -> PlannedStep:
        profile = plan.outline.profile
        return cls(
            key=plan.step.key,
            deployment=plan.step.deployment,
            runs=len(plan.items),
            refused=len(plan.refused),
            profile=ProfilePart(**profile) if profile else None,
            # Without the constants that the reader may not view.
            items=[ItemPart.of(replace(item, varied=plan.shown(item))) for item in plan.items],
        )


class ChainPlanRow(Row):
    """What a run of a chain would be, and the digest that a request can quote."""

    digest: str
    version: int
    runs: int = Field(description="At most: steps whose conditions do not hold are skipped.")
    refused: int = Field(description="How many of the runs would be refused: then a request is.")
    steps: list[PlannedStep]

    @classmethod
    def of(cls, plan: ChainPlan) -> ChainPlanRow:
        return cls(
            digest=plan.digest,
            version=plan.outline.version.number,
            runs=plan.runs,
            refused=plan.refused,
            steps=[PlannedStep.of(each) for each in plan.steps],
        )


class ChainRunRow(Row):
    id: int = Field(description="Number of its change request.")
    chain: int = Field(description="Number of the chain.")
    name: str
    environment: str
    version: int
    state: str = Field(description="State of the change request.", examples=["approved"])
    progress: str = Field(description="running, paused, or stopped at a failure.", examples=["stopped"])
    message: str
    inputs: dict[str, Any] | None = Field(description="Without secret ones; null without permission to view them.")
    digest: str = Field(description="What an approval is for.")
    steps: list[StepRow]
    url: str

    @classmethod
    def of(cls, progress: ChainProgress, permissions: Permissions) -> ChainRunRow:
        change, chain_run = progress.change, progress.chain_run
        sees = permissions.user.pk == change.requested_by_id or all(
            permissions.decide(Verb.SEE_INPUTS, spec.deployment) for spec in progress.specs.values()
        )
        return cls(
            id=change.pk,
            chain=chain_run.version.chain_id,
            name=chain_run.version.chain.name,
            environment=change.environment_name,
            version=chain_run.version.number,
            state=change.state,
            progress=change.progress,
            message=change.message,
            inputs=chain_run.inputs if sees else None,
            digest=change.digest,
            steps=[step_row(progress, step, permissions, sees=sees) for step in progress.definition.steps],
            url=link("runs_changerequest_change", change.pk),
        )


def step_row(progress: ChainProgress, step: Step, permissions: Permissions, *, sees: bool) -> StepRow:
    run_request, items = progress.latest.get(step.key), progress.items.get(step.key)
    spec = progress.specs[step.key]
    # Who approves it sees what they approve.
    sees = sees or visibility.can_decide_about(permissions, progress.change, spec)
    return StepRow(
        key=step.key,
        deployment=step.deployment,
        outcome=progress.outcomes[step.key],
        attempt=changes.attempt_of(run_request) if run_request else 0,
        request=run_request.pk if run_request else None,
        state=run_request.state if run_request else "",
        run=run_request.flow_run_id if run_request else None,
        waits_for=changes.why_waiting(run_request) if run_request else "",
        items=len(items.values) if items else 0,
        items_completed=items.completed if items else 0,
        over={name: spec.mapped[name]["enum"] for name in step.over.names} if step.over and sees else {},
        profile=ProfilePart.of(spec),
    )
