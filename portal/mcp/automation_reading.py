"""Tools that read what runs by itself and how it goes: chains, schedules, event rules, failures, service levels.

What people named in the portal is text of others for an agent as well, and is marked. Values of parameters are left
out: constants, conditions and mappings have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from flows import parameters as schemas
from portal.api.catalog_schemas import link
from portal.mcp import marked_rows
from portal.mcp.marked_rows import LONGEST_IN_SCHEMA, Answer, time_of
from portal.mcp.reading import Arguments, Paged, one, page
from portal.mcp.untrusted import mark, mark_value
from runs import changes, failures, levels
from runs.access.decisions import Permissions
from runs.access.whole_chains import sees_whole_chain
from runs.actors import Actor
from runs.automation import chain_definition
from runs.automation.chain_checks import deployments_of
from runs.automation.chain_definition import Step
from runs.automation.chain_inputs import input_schema
from runs.automation.chain_listings import CHAINS
from runs.automation.chain_plan import ChainPlan
from runs.automation.chain_progress import ChainProgress, read_progress
from runs.automation.rule_listings import EVENT_RULES
from runs.automation.schedule_listings import SCHEDULES
from runs.models import Chain, ChangeRequest, EventRule, FailureGroup, ResourceProfile, Schedule, ServiceLevel
from runs.requests import profile_rules

# How a parameter of a step has its value, as the definition names it.
SOURCES = ("over", "value", "input", "artifact")


class Listed(Paged):
    environment: str | None = Field(None, max_length=40, description="Only in this environment.")


class ListedOfDeployment(Listed):
    deployment: str | None = Field(None, max_length=601, description="Full name, “flow/deployment”.")


class ListedFailures(ListedOfDeployment):
    state: list[Literal["new", "known", "muted", "resolved", "regressed", "open"]] = Field(
        ["open"], max_length=6, description="open is new, known or regressed."
    )


class OneChain(Arguments):
    chain: int = Field(ge=1, le=2**63 - 1, description="Number of the chain.")


class OneChainRun(Arguments):
    request: int = Field(ge=1, le=2**63 - 1, description="Number of the request for the run of the chain.")


# Chains ---------------------------------------------------------------------------------------------------------------


def chains(by: Actor, given: Listed) -> Answer:
    return page(by, CHAINS, {"environment": given.environment}, given.cursor, given.limit, chain_row)


def chain_row(row: Any) -> Answer:
    return {
        "chain": row.pk,
        "environment": row.environment.slug,
        "name": mark("chain name", row.name),
        "description": mark("chain description", row.description),
        "version": row.number,
        "steps": row.step_count,
        "is_enabled": row.is_enabled,
        "owner": row.owner.get_username(),
        "valid_until": time_of(row.valid_until),
        "last_requested_at": time_of(row.last_requested_at),
        "url": link("runs_chain_change", row.pk),
    }


def chain_of(by: Actor, number: int) -> Chain:
    found: Chain = one(CHAINS.rows(by).filter(pk=number), "chain", number)
    return found


def chain(by: Actor, given: OneChain) -> Answer:
    """Return a chain with the schema of its inputs and its steps, without any values."""
    row = chain_of(by, given.chain)
    definition = chain_definition.read(row.versions.get(number=row.number).definition)
    by_key = deployments_of(definition, row.environment)
    schema, _ = input_schema(definition, by_key)
    offered = profile_rules.offered_for(by_key.values(), by) if any(map(has_choice, definition.steps)) else {}
    return {
        **chain_row(row),
        "inputs": mark_value(
            "parameter schema", schemas.published(schema, with_values=False), longest=LONGEST_IN_SCHEMA
        ),
        "steps": [
            {**step_row(step), "profiles": profiles_of(step, offered.get(by_key[step.key].pk, []))}
            for step in definition.steps
        ],
    }


def has_choice(step: Step) -> bool:
    return step.chooses_profile


def profiles_of(step: Step, offered: Sequence[ResourceProfile]) -> list[Answer]:
    """Return the resource profiles that the agent can choose for a step that lets it."""
    return [marked_rows.profile_row(each) for each in offered] if step.chooses_profile else []


def plan_row(plan: ChainPlan) -> Answer:
    """Return the runs that a run of a chain would be: values that come from inputs, and no others."""
    return {
        "digest": plan.digest,
        "version": plan.outline.version.number,
        "runs": plan.runs,
        "refused": plan.refused,
        "steps": [
            {
                "step": each.step.key,
                "deployment": mark("deployment name", each.step.deployment),
                "runs": len(each.items),
                "profile": mark_value("resource profile", dict(each.outline.profile)) if each.outline.profile else None,
                "items": [
                    {
                        "values": each.shown(item),
                        "outcome": item.outcome.value,
                        "code": item.code,
                        "why": mark("refusal", item.why),
                    }
                    for item in each.items
                ],
            }
            for each in plan.steps
        ],
    }


def step_row(step: Step) -> Answer:
    return {
        "step": step.key,
        "deployment": mark("deployment name", step.deployment),
        "after": [
            {"step": edge.before, "when": edge.when.value, "tests_value": edge.test is not None} for edge in step.after
        ],
        "parameters": {
            name: next(each for each in SOURCES if each in source) for name, source in step.parameters.items()
        },
        "gate": step.gate,
        "retries": step.retries,
        "timeout_minutes": step.timeout_minutes,
        "profile": mark("resource profile", step.profile) if step.profile else None,
    }


def chain_run(by: Actor, given: OneChainRun) -> Answer:
    rows = ChangeRequest.objects.filter(sees_whole_chain(Permissions.of(by)), pk=given.request)
    return chain_run_row(one(rows.select_related("environment", "requested_by"), "run of a chain", given.request))


def chain_run_row(change: ChangeRequest) -> Answer:
    """Return where each step of a run of a chain is; its inputs are left out."""
    progress = read_progress(change)
    chain_run = progress.chain_run
    return {
        **{name: value for name, value in marked_rows.change_row(change).items() if name != "runs"},
        "chain": chain_run.version.chain_id,
        "version": chain_run.version.number,
        "progress": change.progress,
        "steps": [taken_step(progress, step) for step in progress.definition.steps],
    }


def taken_step(progress: ChainProgress, step: Step) -> Answer:
    run_request, items = progress.latest.get(step.key), progress.items.get(step.key)
    return {
        "step": step.key,
        "deployment": mark("deployment name", step.deployment),
        "outcome": progress.outcomes[step.key].value,
        "attempt": changes.attempt_of(run_request) if run_request else 0,
        "state": run_request.state if run_request else None,
        "run": str(run_request.flow_run_id) if run_request and run_request.flow_run_id else None,
        "waits_for": changes.why_waiting(run_request) if run_request else "",
        "items": len(items.values) if items else 0,
        "items_completed": items.completed if items else 0,
        "profile": mark("resource profile", profile) if (profile := progress.specs[step.key].profile_name) else None,
    }


# Schedules and event rules --------------------------------------------------------------------------------------------


def schedules(by: Actor, given: ListedOfDeployment) -> Answer:
    chosen = {"environment": given.environment, "deployment": given.deployment}
    return page(by, SCHEDULES, chosen, given.cursor, given.limit, schedule_row)


def schedule_row(row: Schedule) -> Answer:
    return {
        "schedule": row.pk,
        "environment": row.environment.slug,
        "deployment": mark("deployment name", row.deployment.full_name),
        "name": mark("schedule name", row.name),
        "owner": row.change.requested_by_name,
        "rule_type": row.rule_type,
        "rule": row.rule,
        "time_zone": row.time_zone,
        "state": row.state,
        "code": row.code,
        "message": mark("schedule message", row.message),
        "next_due": time_of(row.next_due),
        "last_due": time_of(row.last_due),
        "valid_until": time_of(row.valid_until),
        "url": link("runs_schedule_change", row.pk),
    }


def event_rules(by: Actor, given: ListedOfDeployment) -> Answer:
    """List the rules of the owner, without the values of their conditions and mappings."""
    chosen = {"environment": given.environment, "deployment": given.deployment}
    return page(by, EVENT_RULES, chosen, given.cursor, given.limit, rule_row)


def rule_row(row: EventRule) -> Answer:
    return {
        "rule": row.key,
        "name": mark("rule name", row.name),
        "trigger": row.trigger,
        "in_environment": row.environment.slug if row.environment else None,
        "of_deployment": mark("deployment name", row.full_name),
        "of_flow": mark("flow name", row.flow_name),
        "of_tag": mark("deployment tag", row.tag),
        "states": row.states,
        "artifact_key": mark("artifact key", row.artifact_key),
        "event_name": row.event_name,
        "conditions": [{"pointer": mark("pointer", each["pointer"]), "is": each["is"]} for each in row.conditions],
        "environment": row.deployment.environment.slug,
        "deployment": mark("deployment name", row.deployment.full_name),
        "parameters": sorted(row.mapping),
        "debounce_seconds": row.debounce_seconds,
        "per_hour": row.per_hour,
        "valid_until": time_of(row.valid_until),
        "is_enabled": row.is_enabled,
        "url": link("runs_eventrule_change", row.pk),
    }


# Failures and service levels ------------------------------------------------------------------------------------------


def failure_groups(by: Actor, given: ListedFailures) -> Answer:
    permissions = Permissions.of(by)
    chosen = {"environment": given.environment, "deployment": given.deployment, "state": list(given.state) or None}
    return page(by, failures.FAILURES, chosen, given.cursor, given.limit, lambda row: failure_row(row, permissions))


def failure_row(row: FailureGroup, permissions: Permissions) -> Answer:
    sees = failures.sees_message(permissions, row)
    return {
        "failure": row.pk,
        "environment": row.environment.slug,
        "deployment": mark("deployment name", row.what),
        "task": mark("task name", row.task_name),
        # Without what varies in it. The message of one run, in which secrets of that run are masked, is for `why`.
        "reason": mark("exception of the flow", row.title) if sees else None,
        "state": row.shown_state.value,
        "owner": row.owner.get_username() if row.owner else None,
        "failures": row.number,
        "first_seen_at": time_of(row.first_seen_at),
        "last_seen_at": time_of(row.last_seen_at),
        "url": link("runs_failuregroup_change", row.pk),
    }


def service_levels(by: Actor, given: ListedOfDeployment) -> Answer:
    """List the service levels that apply, each with how many of its breaches are open."""
    chosen = {"environment": given.environment, "deployment": given.deployment, "active": True}
    answer = page(by, levels.LEVELS, chosen, given.cursor, given.limit, level_row)
    shown = [each["level"] for each in answer["items"]]
    is_open = levels.BREACHES.rows(by, {"open": True}).filter(level__in=shown).order_by()
    open_breaches = list(is_open.values_list("level", flat=True))
    return answer | {
        "items": [each | {"open_breaches": open_breaches.count(each["level"])} for each in answer["items"]]
    }


def level_row(row: ServiceLevel) -> Answer:
    return {
        "level": row.pk,
        "environment": row.environment.slug,
        "deployment": mark("deployment name", row.full_name),
        "tag": mark("deployment tag", row.tag),
        "kind": row.kind,
        "threshold": row.threshold,
        "days": row.days,
        "sentence": mark("service level", row.sentence),
        "owner": row.owner.get_username() if row.owner else None,
        "url": link("runs_servicelevel_change", row.pk),
    }
