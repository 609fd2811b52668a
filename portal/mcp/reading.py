"""Tools that only read: deployments, runs, logs, why, and who can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from portal.api.paging import cursor_of, position_of
from portal.mcp import marked_rows
from portal.mcp.marked_rows import Answer
from portal.mcp.untrusted import mark
from runs import changes, diagnosis, listings, names, requests, run_context
from runs.access.decisions import Permissions, Target
from runs.access.who_can import who_can
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import windows
from runs.models import Chain, ChangeRequest, Run, Verb
from runs.names import NotVisible
from runs.requests import visibility

MOST_ROWS, USUAL_ROWS = 50, 20
MOST_LINES, USUAL_LINES = 200, 50
# Characters of all lines of one answer: an agent reads every one of them.
LONGEST_LOG = 40_000
# With all columns: what a run was started with says what is secret in its messages.
RUNS = replace(listings.RUNS, only=())


class Arguments(BaseModel):
    """What a tool is called with; nothing that it does not know."""

    model_config = ConfigDict(extra="forbid", str_max_length=1000)


class InEnvironment(Arguments):
    environment: str = Field(max_length=40, description="Name of the environment, such as prod.")


class OfDeployment(InEnvironment):
    deployment: str = Field(max_length=601, description="Id of the deployment, its full name, or an alias.")


class Paged(Arguments):
    limit: int = Field(USUAL_ROWS, ge=1, le=MOST_ROWS)
    cursor: str = Field("", max_length=2000, description="`next` of the answer before.")


class Deployments(Paged):
    environment: str | None = Field(None, max_length=40, description="Only in this environment.")
    flow: str | None = Field(None, max_length=300, description="Only of this flow.")
    tag: str | None = Field(None, max_length=300, description="Only with this tag.")


class Runs(Paged):
    environment: str | None = Field(None, max_length=40, description="Only in this environment.")
    deployment: str | None = Field(None, max_length=601, description="Full name, “flow/deployment”.")
    state: list[str] = Field([], max_length=20, description="Prefect's state types, such as FAILED; several match any.")
    request: int | None = Field(None, ge=1, le=2**63 - 1, description="Number of the request it was started for.")
    since: AwareDatetime | None = Field(None, description="Not before this time.")


class Logs(InEnvironment):
    run: UUID = Field(description="Id of the run.")
    level: int = Field(0, ge=0, le=100, description="This level and above: 20 info, 30 warning, 40 error.")
    limit: int = Field(USUAL_LINES, ge=1, le=MOST_LINES)
    cursor: str = Field("", max_length=2000, description="`next` of the answer before.")


class Why(InEnvironment):
    run: UUID | None = Field(None, description="Id of a run.")
    request: int | None = Field(None, ge=1, le=2**63 - 1, description="Number of a request.")


class WhoCan(OfDeployment):
    verb: Verb = Field(Verb.APPROVE, description="What they would do.")


# The tools ------------------------------------------------------------------------------------------------------------


def deployments(by: Actor, given: Deployments) -> Answer:
    permissions = Permissions.of(by)
    chosen = {"environment": given.environment, "flow": given.flow, "tag": [given.tag] if given.tag else None}
    return page(
        by,
        listings.DEPLOYMENTS,
        chosen | {"deployed": True},
        given.cursor,
        given.limit,
        lambda row: marked_rows.deployment_row(row, permissions),
    )


def deployment(by: Actor, given: OfDeployment) -> Answer:
    found, permissions = names.deployment(given.environment, given.deployment, by=by), Permissions.of(by)
    decision = permissions.start(found)
    return {
        **marked_rows.deployment_row(found, permissions),
        "why": mark("decision", decision.sentence),
        "parameters": marked_rows.parameters_of(found),
        "profiles": [marked_rows.profile_row(each) for each in requests.offered_profiles(found, by)],
    }


def runs(by: Actor, given: Runs) -> Answer:
    permissions = Permissions.of(by)
    chosen: dict[str, Any] = given.model_dump(include={"environment", "deployment", "request", "since"})
    return page(
        by,
        RUNS,
        chosen | {"state": given.state or None},
        given.cursor,
        given.limit,
        lambda row: marked_rows.run_row(row, permissions),
    )


def logs(by: Actor, given: Logs) -> Answer:
    run = run_of(by, given.environment, given.run)
    Permissions.of(by).require(Verb.SEE_LOGS, Target.of_run(run))
    chosen = {"run": run.pk, "level": given.level}
    after = position_of(given.cursor, listings.LOGS, chosen)
    rows = listings.LOGS.rows(by, chosen).order_by(*listings.LOGS.order)
    rows = rows.filter(listings.LOGS.beyond(after)) if after is not None else rows
    secrets = marked_rows.secrets_of(getattr(run, "run_request", None))
    lines: list[Answer] = []
    total, last = 0, None
    for row in rows[: given.limit]:
        line = marked_rows.log_line(row, secrets)
        total += len(line["message"]["text"])
        if total > LONGEST_LOG:
            break
        lines.append(line)
        last = listings.LOGS.position(row)
    is_more = last is not None and rows.filter(listings.LOGS.beyond(last)).exists()
    return {
        "run": str(run.prefect_id),
        "lines": lines,
        "next": cursor_of(last, listings.LOGS, chosen) if is_more and last is not None else None,
    }


def why(by: Actor, given: Why) -> Answer:
    """Explain a run, or a request that is not one yet."""
    if given.run is not None:
        return why_run(by, run_of(by, given.environment, given.run))
    if given.request is None:
        raise Refused("agent.arguments", "Give the id of a run, or the number of a request.")
    rows = listings.CHANGES.rows(by, {"environment": given.environment})
    change = one(rows.filter(pk=given.request), "request", given.request)
    first = change.run_requests.select_related("run", "deployment__environment").order_by("pk").first()
    standing = windows.standing(Target.of(first.deployment)) if first else None
    return {
        **marked_rows.change_row(change),
        "approvals": [
            {"needed": each.needed, "left": each.left, "group": each.group or None} for each in changes.steps(change)
        ],
        # It names a window or a freeze, in the words of an administrator.
        "window": standing.sentence if standing is not None and not standing else None,
    }


def why_run(by: Actor, run: Run) -> Answer:
    permissions = Permissions.of(by)
    row = marked_rows.run_row(run, permissions)
    secrets = marked_rows.secrets_of(getattr(run, "run_request", None))
    sentence = diagnosis.explain(visibility.muted(run, permissions), run_context.context_of(run, timezone.now()))
    return {**row, "explanation": mark("diagnosis, which quotes messages of the flow", sentence, secrets=secrets)}


def who(by: Actor, given: WhoCan) -> Answer:
    found = names.deployment(given.environment, given.deployment, by=by)
    access = who_can(found, [given.verb])[given.verb]
    return {
        "verb": given.verb.value,
        "allowed": [
            {
                "name": each.name,
                "groups": list(each.groups),
                "only": each.only,
                "until": marked_rows.time_of(each.until),
            }
            for each in access.allowed
        ],
        "denied": [each.name for each in access.denied],
    }


# What they share ------------------------------------------------------------------------------------------------------


def page(by: Actor, listing: Any, chosen: dict[str, Any], cursor: str, limit: int, serialize: Any) -> Answer:
    """Return one page of a list as the API pages it."""
    given = {name: value for name, value in chosen.items() if value is not None}
    found = listing.page(by, given, after=position_of(cursor, listing, given), limit=limit)
    following = cursor_of(found.last, listing, given) if found.last is not None else None
    return {"items": [serialize(row) for row in found.rows], "next": following}


def run_of(by: Actor, environment: str, pk: UUID) -> Run:
    rows = listings.RUNS.rows(by, {"environment": environment}).select_related(
        "environment__server__health", "deployment", *listings.RUNS.related
    )
    return one(rows.filter(prefect_id=pk), "run", pk)


def one[Row: (Run, ChangeRequest, Chain)](rows: QuerySet[Row], noun: str, name: object) -> Row:
    found = rows.first()
    if found is None:
        raise NotVisible("row.unknown", f"There is no {noun} {name}, or you cannot see it.")
    return found
