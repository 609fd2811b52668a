"""Tools that ask for something: runs, a cancellation, or why something is not allowed. None of them decides."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from pydantic import AwareDatetime, Field

from flows.models import Deployment
from portal.mcp import automation_reading, marked_rows
from portal.mcp.marked_rows import Answer
from portal.mcp.reading import Arguments, InEnvironment, OfDeployment, run_of
from portal.mcp.untrusted import mark
from runs import audit, names, requests
from runs.access.decisions import Permissions
from runs.access.explain import explain
from runs.actors import Actor
from runs.automation import chains
from runs.automation.chain_definition import MOST_STEPS
from runs.automation.chain_plan import plan_run
from runs.models import ChangeRequest, Verb

OnFailure = ChangeRequest.OnFailure


class RunRequestArguments(OfDeployment):
    parameters: dict[str, Any] = Field({}, description="Values by name, as the schema of the deployment describes.")
    profile: str = Field(
        "", max_length=100, description="Name of a resource profile that is for agents; empty for none."
    )
    reason: str = Field("", max_length=1000, description="Why, for those who approve it.")
    ticket: str = Field("", max_length=100)
    scheduled_for: AwareDatetime | None = Field(None, description="Start time with its offset; null for now.")
    key: UUID | None = Field(None, description="Any UUID: the same request with the same key is made once.")


class BackfillArguments(OfDeployment):
    vary: dict[str, str | list[Any]] = Field(
        description="One or two parameters, each with a range (2026-01..2026-06, 2026-01-01..2026-03-31/7, 1..50) or "
        "a list of values. Every combination is a run."
    )
    parameters: dict[str, Any] = Field({}, description="The values that all runs share.")
    profile: str = Field(
        "", max_length=100, description="Name of a resource profile that is for agents, for all runs; empty for none."
    )
    at_once: int = Field(requests.AT_ONCE, ge=1, le=requests.MOST_ITEMS, description="Runs that are open at a time.")
    stop_on_failure: bool = Field(True, description="Start no more when one did not complete.")
    only_plan: bool = Field(True, description="Return the plan and request nothing. Look at it before you request it.")
    plan: str = Field("", max_length=64, description="`digest` of the plan that you saw: refused if it has changed.")
    reason: str = Field("", max_length=1000, description="Why, for those who approve it.")
    ticket: str = Field("", max_length=100)
    key: UUID | None = Field(None, description="Any UUID: the same request with the same key is made once.")


class ChainRequestArguments(Arguments):
    chain: int = Field(ge=1, le=2**63 - 1, description="Number of the chain.")
    inputs: dict[str, Any] = Field({}, description="Values by name, as the tool `chain` describes them.")
    profiles: dict[str, str] = Field(
        {},
        max_length=MOST_STEPS,
        description="Resource profiles by step, of those that the tool `chain` offers; an empty name is none.",
    )
    only_plan: bool = Field(False, description="Return the runs that it would be and request nothing.")
    plan: str = Field("", max_length=64, description="`digest` of the plan that you saw: refused if it has changed.")
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="That you read: refused if it has changed.")
    reason: str = Field("", max_length=1000, description="Why, for those who approve it.")
    ticket: str = Field("", max_length=100)
    key: UUID | None = Field(None, description="Any UUID: the same request with the same key is made once.")


class Cancellation(InEnvironment):
    run: UUID = Field(description="Id of the run.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)


class Denial(OfDeployment):
    verb: Verb = Field(Verb.TRIGGER, description="What you would do.")
    parameters: dict[str, Any] | None = Field(None, description="With exactly these values; null for any.")


def request_run(by: Actor, given: RunRequestArguments) -> Answer:
    """Submit a request for one run; it starts by itself, or waits for people."""
    run_request = requests.submit(
        names.deployment(given.environment, given.deployment, by=by),
        given.parameters,
        by=by,
        profile=given.profile,
        reason=given.reason,
        ticket=given.ticket,
        scheduled_for=given.scheduled_for,
        submission_key=given.key or uuid4(),
    )
    return marked_rows.change_row(run_request.change)


def request_backfill(by: Actor, given: BackfillArguments) -> Answer:
    """Plan a backfill, or submit it as one change request: each of its runs counts in the budget of the agent."""
    deployment = names.deployment(given.environment, given.deployment, by=by)
    if given.only_plan:
        plan = requests.plan_backfill(deployment, given.parameters, given.vary, by=by, profile=given.profile)
        return marked_rows.plan_row(plan)
    change = requests.submit_backfill(
        deployment,
        given.parameters,
        given.vary,
        by=by,
        at_once=given.at_once,
        on_failure=OnFailure.STOP if given.stop_on_failure else OnFailure.GO_ON,
        displayed_plan=given.plan,
        profile=given.profile,
        reason=given.reason,
        ticket=given.ticket,
        submission_key=given.key or uuid4(),
    )
    return marked_rows.change_row(change)


def request_chain(by: Actor, given: ChainRequestArguments) -> Answer:
    """Plan a run of a chain, or submit one request for all its steps: each run counts in the budget of the agent."""
    chain = automation_reading.chain_of(by, given.chain)
    if given.only_plan:
        return automation_reading.plan_row(plan_run(chain, given.inputs, by=by, profiles=given.profiles))
    change = chains.request_run(
        chain,
        given.inputs,
        by=by,
        profiles=given.profiles,
        displayed_plan=given.plan,
        displayed_version=given.version,
        reason=given.reason,
        ticket=given.ticket,
        submission_key=given.key or uuid4(),
    )
    return automation_reading.chain_run_row(change)


def request_cancel(by: Actor, given: Cancellation) -> Answer:
    run = run_of(by, given.environment, given.run)
    action = requests.cancel(run, by=by, reason=given.reason, ticket=given.ticket)
    return {"action": action.pk, "state": action.state, "run": str(run.prefect_id)}


def explain_denial(by: Actor, given: Denial) -> Answer:
    """Say whether it would be allowed, and what decides: the owner's grants, or the limits of the agent."""
    found = names.deployment(given.environment, given.deployment, by=by)
    with audit.act("agent.explain", found, by=by) as act:
        decision = Permissions.of(by).decide(given.verb, found, given.parameters)
        act.after = {"verb": given.verb.value, "code": decision.code}
    return {
        "verb": given.verb.value,
        "allowed": decision.allowed,
        "code": decision.code,
        "sentence": mark("decision", decision.sentence),
        "other_grants": other_grants(by, given, found),
    }


def other_grants(by: Actor, given: Denial, found: Deployment) -> dict[str, int]:
    """Return why grants of the owner for this verb do not count here, by reason. Their places are left out."""
    counts: dict[str, int] = {}
    for each in explain(by.user, given.verb, found, given.parameters).ignored:
        counts[each.code] = counts.get(each.code, 0) + 1
    return counts
