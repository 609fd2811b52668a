"""`Portal`: every act of the REST API as a method. Synchronous, typed, and safe to repeat after a lost connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import httpx

from . import credentials, event_stream, job_identity, lookups, waits
from .answers import (
    Action,
    BackfillPlan,
    Change,
    Deployment,
    DeploymentDetail,
    Environment,
    Event,
    InboxChange,
    LogLine,
    Preset,
    Requested,
    Run,
    RunDetail,
)
from .answers import RunRequest as Request
from .chain_answers import Chain, ChainDetail, ChainPlan, ChainRun
from .channel_answers import Channel, Delivery
from .client_errors import NotFound
from .decoding import decode
from .drift_answers import Drift, DriftMatrix
from .event_rule_answers import EventRule, PostedEvent, RuleDryRun, RuleFiring
from .failure_answers import Failure, FailureDetail, RetriedRuns
from .flow_answers import Flow
from .level_answers import Breach, ServiceLevel
from .message_answers import Marked, Notification
from .notification_answers import NotificationRule
from .pool_answers import ConcurrencyLimit, WorkPool, WorkPoolDetail
from .profile_answers import ResourceProfile
from .rule_answers import (
    AuditEntry,
    Bypass,
    Explanation,
    Freeze,
    Grant,
    Granted,
    Lifted,
    Me,
    Standing,
    UnassignedDeployment,
    WhoCan,
)
from .schedule_answers import NextTimes, Schedule, ScheduleDetail
from .web_session import WebSession, path

PAGE = 200
type RunReference = Run | Request | str | UUID
type DeploymentReference = Deployment | str | UUID


class Portal:
    """One portal, as the person or service account of a token.

    Without arguments it uses PORTAL_ADDRESS and PORTAL_TOKEN, the job token of a CI job, or what `portal login` has
    stored. Methods raise `PortalError`: `portal.client.client_errors` draws its kinds. Lists are iterators over all
    pages.
    """

    def __init__(
        self,
        address: str = "",
        token: str = "",
        *,
        allow_insecure: bool = False,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        found = credentials.find(address, token, allow_insecure=allow_insecure)
        is_insecure = found.allow_insecure
        exchange = job_identity.exchanger(
            found.address, allow_insecure=is_insecure, timeout=timeout, transport=transport
        )
        self._session = WebSession(
            found.address,
            found.token or exchange(),
            renew=None if found.token else exchange,
            allow_insecure=is_insecure,
            timeout=timeout,
            transport=transport,
        )
        self.address = self._session.address

    def __repr__(self) -> str:
        return f"<Portal {self.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    # Who, where and what ----------------------------------------------------------------------------------------------

    def me(self) -> Me:
        return self._get(Me, "/me")

    def environments(self) -> Iterator[Environment]:
        return self._rows(Environment, "/environments")

    def health(self, environment: str) -> Environment:
        """Return an environment with the state of its Prefect server at the last check."""
        return self._get(Environment, path("environments", environment))

    def deployments(
        self, environment: str = "", *, name: str = "", flow: str = "", tags: Sequence[str] = ()
    ) -> Iterator[Deployment]:
        filters = {"environment": environment, "name": name, "flow": flow, "tag": list(tags)}
        return self._rows(Deployment, "/deployments", filters)

    def deployment(self, environment: str, name: DeploymentReference) -> DeploymentDetail:
        """Return a deployment by full name, alias, id, or a flow or deployment name that is unique there."""
        found = path("environments", environment, "deployments", lookups.deployment_path(name))
        answer = self._session.send("GET", found)
        return decode(DeploymentDetail, {**answer.body, "etag": answer.headers.get("ETag", "")})

    def flows(self, environment: str = "", **filters: Any) -> Iterator[Flow]:
        """List the flows of which you see a deployment, by name; `filters` are those of the API: search, tag."""
        return self._rows(Flow, "/flows", {"environment": environment, **filters})

    def flow(self, name: str) -> Flow:
        return self._get(Flow, path("flows", name))

    def pins(self, environment: str = "") -> Iterator[Deployment]:
        """List the deployments that you have pinned, as far as you see them."""
        return self._rows(Deployment, "/pins", {"environment": environment})

    def pin(self, environment: str, name: DeploymentReference) -> Deployment:
        """Pin a deployment for yourself: it is at the top of the pages, and of `pins`."""
        found = path("environments", environment, "deployments", lookups.deployment_path(name), "pin")
        return self._post(Deployment, found, {})

    def unpin(self, environment: str, name: DeploymentReference) -> Deployment:
        found = path("environments", environment, "deployments", lookups.deployment_path(name), "unpin")
        return self._post(Deployment, found, {})

    def work_pools(self, environment: str = "", **filters: Any) -> Iterator[WorkPool]:
        """List work pools by name; `filters` are those of the API: name, type, paused."""
        return self._rows(WorkPool, "/work-pools", {"environment": environment, **filters})

    def work_pool(self, environment: str, name: str) -> WorkPoolDetail:
        """Return a work pool with its queues, and the numbers of runs that wait and go on in them."""
        return self._get(WorkPoolDetail, path("environments", environment, "work-pools", name))

    def concurrency_limits(self, environment: str = "", **filters: Any) -> Iterator[ConcurrencyLimit]:
        """List global limits and those of tags by name; `filters` are those of the API: name, active."""
        return self._rows(ConcurrencyLimit, "/concurrency-limits", {"environment": environment, **filters})

    def change_concurrency_limit(self, number: int, reason: str = "", **changes: Any) -> Requested:
        """Change a limit: `concurrency_limit`, `is_active`, `ticket`, `confirm`; what is left out stays.

        In a protected environment a higher limit, or none, needs its name as `confirm`, and an approval.
        """
        body = {"reason": reason, **changes}
        answer = self._session.send("PATCH", path("concurrency-limits", number), body=body, key=str(uuid4()))
        return decode(Requested, answer.body)

    def create_concurrency_limit(
        self, environment: str, name: str, concurrency_limit: int, reason: str = "", **options: Any
    ) -> Requested:
        """Create a limit; the name of that of a tag begins with “tag:”.

        The other options are those of the API: is_active, slot_decay_per_second, ticket.
        """
        body = {"environment": environment, "name": name, "concurrency_limit": concurrency_limit, "reason": reason}
        return self._post(Requested, "/concurrency-limits", {**body, **options})

    def delete_concurrency_limit(
        self, number: int, reason: str = "", *, ticket: str = "", confirm: str = ""
    ) -> Requested:
        """Delete a limit; in a protected environment that needs its name as `confirm`, and an approval."""
        body = {"reason": reason, "ticket": ticket, "confirm": confirm}
        return self._post(Requested, path("concurrency-limits", number, "delete"), body)

    def resource_profiles(self, environment: str = "", **filters: Any) -> Iterator[ResourceProfile]:
        """List resource profiles by name; `filters` are those of the API: name, pool, type, active."""
        return self._rows(ResourceProfile, "/resource-profiles", {"environment": environment, **filters})

    def offered_profiles(self, environment: str, deployment: DeploymentReference) -> list[ResourceProfile]:
        """Return the resource profiles that you can choose for a run of a deployment."""
        name = lookups.deployment_name(deployment)
        found = self._session.send("GET", path("environments", environment, "deployments", name, "resource-profiles"))
        return [decode(ResourceProfile, row) for row in found.body]

    def pause_pool(
        self, environment: str, name: str, reason: str = "", *, queue: str = "", ticket: str = ""
    ) -> Requested:
        """Pause a work pool, or one of its queues: workers pick up no more of its runs."""
        body = {"reason": reason, "ticket": ticket}
        return self._post(Requested, f"{pool_path(environment, name, queue)}/pause", body)

    def resume_pool(
        self, environment: str, name: str, reason: str = "", *, queue: str = "", ticket: str = "", confirm: str = ""
    ) -> Requested:
        """Resume a work pool or queue; `confirm` is the name of a protected environment, where it needs an approval."""
        body = {"reason": reason, "ticket": ticket, "confirm": confirm}
        return self._post(Requested, f"{pool_path(environment, name, queue)}/resume", body)

    def limit_pool(
        self, environment: str, name: str, reason: str = "", *, queue: str = "", **options: Any
    ) -> Requested:
        """Change `concurrency_limit` of a work pool, or that and `priority` of a queue; None is no limit.

        The other options are those of the API: ticket, confirm.
        """
        found, body = pool_path(environment, name, queue), {"reason": reason, **options}
        return decode(Requested, self._session.send("PATCH", found, body=body, key=str(uuid4())).body)

    def limit(self, environment: str, deployment: DeploymentReference, reason: str = "", **options: Any) -> Requested:
        """Change `concurrency_limit` of a deployment, None for none, or `collision_strategy`: ENQUEUE or CANCEL_NEW.

        The other options are those of the API: ticket, confirm.
        """
        name = lookups.deployment_path(deployment)
        found = path("environments", environment, "deployments", name, "limits")
        return self._post(Requested, found, {"reason": reason, **options})

    # Requests ---------------------------------------------------------------------------------------------------------

    def run(
        self,
        environment: str,
        deployment: DeploymentReference,
        parameters: Mapping[str, Any] | None = None,
        *,
        preset: str = "",
        reason: str = "",
        ticket: str = "",
        scheduled_for: datetime | None = None,
        tags: Sequence[str] = (),
        run_name: str = "",
        profile: str = "",
        retries: int = 0,
        on_behalf_of: str = "",
        override_window: bool = False,
        confirm: str = "",
        rerun_of: int | None = None,
        key: str = "",
    ) -> Change:
        """Request a run. Sent twice with the same `key`, it is one request; without, one is made for this call.

        `preset` names a preset of the deployment that fills in the parameters which are not given, `profile` a resource
        profile.
        """
        body = {
            "environment": environment,
            "deployment": lookups.deployment_name(deployment),
            "parameters": dict(parameters or {}),
            "preset": preset,
            "reason": reason,
            "ticket": ticket,
            "scheduled_for": scheduled_for,
            "tags": list(tags),
            "run_name": run_name,
            "profile": profile,
            "retries": retries,
            "on_behalf_of": on_behalf_of,
            "override_window": override_window,
            "confirm": confirm,
            "rerun_of": rerun_of,
        }
        return self._post(Change, "/changes", body, key=key)

    def request(self, number: int) -> Request:
        return self._get(Request, path("requests", number))

    def requests(self, environment: str = "", **filters: Any) -> Iterator[Request]:
        """List run requests, newest first; `filters` are those of the API: state, deployment, ticket, since …"""
        return self._rows(Request, "/requests", {"environment": environment, **filters})

    def change(self, number: int) -> Change:
        return self._get(Change, path("changes", number))

    def changes(self, environment: str = "", **filters: Any) -> Iterator[Change]:
        """List change requests, newest first; `filters` are those of the API: state, kind, requested_by …"""
        return self._rows(Change, "/changes", {"environment": environment, **filters})

    def rerun(
        self,
        number: int,
        parameters: Mapping[str, Any] | None = None,
        *,
        profile: str | None = None,
        reason: str = "",
        ticket: str = "",
        confirm: str = "",
        key: str = "",
    ) -> Change:
        """Request the run of an earlier request again; values that are not replaced are reused, secret ones unseen.

        `profile` is another resource profile, blank for none; None keeps that of the request.
        """
        body = {
            "parameters": dict(parameters or {}),
            "profile": profile,
            "reason": reason,
            "ticket": ticket,
            "confirm": confirm,
        }
        return self._post(Change, path("requests", number, "rerun"), body, key=key)

    def plan_backfill(
        self,
        environment: str,
        deployment: DeploymentReference,
        vary: Mapping[str, str | Sequence[Any]],
        parameters: Mapping[str, Any] | None = None,
        *,
        skip_completed: bool = True,
        skip_open: bool = True,
        profile: str = "",
    ) -> BackfillPlan:
        """Say what a backfill would run; `vary` has a range such as "2026-01..2026-06", or values, by parameter."""
        body = {
            **outline(environment, deployment, vary, parameters),
            "skip_completed": skip_completed,
            "skip_open": skip_open,
            "profile": profile,
        }
        return self._post(BackfillPlan, "/backfills/plan", body)

    def backfill(
        self,
        environment: str,
        deployment: DeploymentReference,
        vary: Mapping[str, str | Sequence[Any]],
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        **options: Any,
    ) -> Change:
        """Request a backfill: one change request for all its runs.

        The options are those of the API: at_once, on_failure, skip_completed, skip_open, leave_out_refused, plan,
        reason, ticket, tags, profile, on_behalf_of, override_window, confirm. Sent twice with the same `key`, it is one
        request.
        """
        body = {**outline(environment, deployment, vary, parameters), **options}
        return self._post(Change, "/backfills", body, key=key)

    def pause_backfill(self, number: int, reason: str = "") -> Change:
        return self._post(Change, path("backfills", number, "pause"), {"reason": reason})

    def resume_backfill(self, number: int, reason: str = "") -> Change:
        """Go on after a pause, or after the failure at which it stopped."""
        return self._post(Change, path("backfills", number, "resume"), {"reason": reason})

    def cancel_rest(self, number: int, reason: str = "") -> Change:
        """Withdraw the runs of a backfill that were not sent to Prefect."""
        return self._post(Change, path("backfills", number, "cancel-rest"), {"reason": reason})

    # Chains -----------------------------------------------------------------------------------------------------------

    def chains(self, environment: str = "", **filters: Any) -> Iterator[Chain]:
        """List the chains of which you see every deployment; `filters` are those of the API: name, enabled,
        ended.
        """
        return self._rows(Chain, "/chains", {"environment": environment, **filters})

    def chain(self, environment: str, name: str) -> ChainDetail:
        """Return a chain by its name; raises `NotFound`."""
        found = next(self.chains(environment, name=name), None)
        if found is None:
            raise NotFound(404, "row.unknown", f"There is no chain “{name}” in {environment}, or you cannot see it.")
        return self._get(ChainDetail, path("chains", found.id))

    def save_chain(
        self,
        environment: str,
        name: str,
        definition: Mapping[str, Any],
        *,
        description: str | None = None,
        valid_until: datetime | None = None,
    ) -> ChainDetail:
        """Save a version of the chain of this name, or a new one; the same definition again is no new version.

        It ends at `valid_until`, without one as late as the policies allow.
        """
        found = next(self.chains(environment, name=name), None)
        saved = {"definition": dict(definition), "valid_until": valid_until}
        if found:
            body = {**saved, "description": description}
            return self._post(ChainDetail, path("chains", found.id, "versions"), body)
        new = {**saved, "environment": environment, "name": name}
        return self._post(ChainDetail, "/chains", {**new, "description": description or ""})

    def run_chain(
        self, environment: str, name: str, inputs: Mapping[str, Any] | None = None, *, key: str = "", **options: Any
    ) -> ChainRun:
        """Request a run of a chain: one change request for all its steps.

        The options are those of the API: profiles, plan, version, reason, ticket, on_behalf_of. Sent twice with the
        same `key`, it is one request.
        """
        chain = self.chain(environment, name)
        return self._post(
            ChainRun, path("chains", chain.id, "runs"), {"inputs": dict(inputs or {}), **options}, key=key
        )

    def plan_chain(
        self,
        environment: str,
        name: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        profiles: Mapping[str, str] | None = None,
    ) -> ChainPlan:
        """Say which runs a run of a chain would be; `profiles` has resource profiles by step."""
        body = {"inputs": dict(inputs or {}), "profiles": dict(profiles or {})}
        return self._post(ChainPlan, path("chains", self.chain(environment, name).id, "plan"), body)

    def chain_run(self, number: int) -> ChainRun:
        return self._get(ChainRun, path("chain-runs", number))

    def pause_chain(self, number: int, reason: str = "") -> ChainRun:
        """Start no more steps until it is resumed; what was sent to Prefect goes on."""
        return self._post(ChainRun, path("chain-runs", number, "pause"), {"reason": reason})

    def resume_chain(self, number: int, reason: str = "") -> ChainRun:
        """Go on after a pause, or start the failed steps again; what completed is not repeated."""
        return self._post(ChainRun, path("chain-runs", number, "resume"), {"reason": reason})

    def cancel_chain(self, number: int, reason: str = "") -> ChainRun:
        """Start no more steps; what was sent to Prefect goes on."""
        return self._post(ChainRun, path("chain-runs", number, "cancel-rest"), {"reason": reason})

    def let_step_go(self, number: int, step: str, reason: str = "") -> ChainRun:
        """Let a step start that waits at its gate."""
        return self._post(ChainRun, path("chain-runs", number, "steps", step, "let-go"), {"reason": reason})

    def reject_step(self, number: int, step: str, reason: str) -> ChainRun:
        return self._post(ChainRun, path("chain-runs", number, "steps", step, "reject"), {"reason": reason})

    def override(self, number: int, reason: str) -> Request:
        """Start a request that a change window or a freeze holds; it still needs its approvals."""
        return self._post(Request, path("requests", number, "override"), {"reason": reason})

    def inbox(self) -> list[InboxChange]:
        """Return the change requests that need your approval, those that expire first on top."""
        return [decode(InboxChange, each) for each in self._session.send("GET", "/inbox").body]

    def approve(self, number: int, reason: str = "", *, digest: str = "") -> Change:
        """Approve a change request as it is now, or as it was read, which its `digest` says."""
        digest = digest or self.change(number).digest
        return self._post(Change, path("changes", number, "approve"), {"digest": digest, "reason": reason})

    def reject(self, number: int, reason: str) -> Change:
        return self._post(Change, path("changes", number, "reject"), {"reason": reason})

    def withdraw(self, number: int, reason: str = "") -> Change:
        return self._post(Change, path("changes", number, "withdraw"), {"reason": reason})

    def comment(self, number: int, text: str) -> Change:
        return self._post(Change, path("changes", number, "comments"), {"text": text})

    def wait[Row: (Change, Request, Action)](
        self, row: Row, *, timeout: float = 3600.0, on_log: Callable[[LogLine], None] | None = None
    ) -> Row:
        """Return it once it has ended; raises `StillRunning`. Each line of its runs' logs is given to `on_log`."""
        return waits.wait(self, row, timeout=timeout, on_log=on_log)

    # Presets ----------------------------------------------------------------------------------------------------------

    def presets(self, environment: str = "", **filters: Any) -> Iterator[Preset]:
        """List presets, yours and shared ones; `filters` are those of the API: deployment, name, owner, shared."""
        return self._rows(Preset, "/presets", {"environment": environment, **filters})

    def preset(self, number: int) -> Preset:
        return self._get(Preset, path("presets", number))

    def save_preset(
        self,
        environment: str,
        deployment: DeploymentReference,
        name: str,
        parameters: Mapping[str, Any],
        *,
        is_shared: bool = False,
        profile: str = "",
    ) -> Preset:
        """Save values under a name, with a resource profile; required ones may be missing, secret ones are left out."""
        body = {
            "environment": environment,
            "deployment": lookups.deployment_name(deployment),
            "name": name,
            "parameters": dict(parameters),
            "is_shared": is_shared,
            "profile": profile,
        }
        return self._post(Preset, "/presets", body)

    def change_preset(self, number: int, **changes: Any) -> Preset:
        """Change a preset of yours: `name`, `is_shared`, `parameters`; what is left out stays."""
        return decode(Preset, self._session.send("PATCH", path("presets", number), body=changes, key=str(uuid4())).body)

    def delete_preset(self, number: int) -> Preset:
        """Delete a preset and return it as it was."""
        return decode(Preset, self._session.send("DELETE", path("presets", number), key=str(uuid4())).body)

    # Schedules --------------------------------------------------------------------------------------------------------

    def schedules(self, environment: str = "", **filters: Any) -> Iterator[Schedule]:
        """List schedules of the portal by name; `filters` are those of the API: deployment, name, state, owner."""
        return self._rows(Schedule, "/schedules", {"environment": environment, **filters})

    def schedule(self, number: int) -> ScheduleDetail:
        return self._get(ScheduleDetail, path("schedules", number))

    def add_schedule(
        self,
        environment: str,
        deployment: DeploymentReference,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str,
        rule_type: str,
        rule: str,
        valid_until: datetime,
        time_zone: str = "UTC",
        key: str = "",
        **options: Any,
    ) -> ScheduleDetail:
        """Request a schedule: one approval is for all its runs until it ends.

        `rule_type` is cron, interval or rrule. The options are those of the API: anchor, catch_up, native, reason,
        ticket, tags, run_name, profile, on_behalf_of, confirm. Sent twice with the same `key`, it is one request.
        """
        body = {
            "environment": environment,
            "deployment": lookups.deployment_name(deployment),
            "parameters": dict(parameters or {}),
            "name": name,
            "rule_type": rule_type,
            "rule": rule,
            "time_zone": time_zone,
            "valid_until": valid_until,
            **options,
        }
        return self._post(ScheduleDetail, "/schedules", body, key=key)

    def replace_schedule(self, number: int, *, valid_until: datetime, key: str = "", **changes: Any) -> ScheduleDetail:
        """Request a schedule that replaces this one when it is approved; what is left out stays.

        With a new end alone it is a renewal, by another person a change of its owner.
        """
        body = {"valid_until": valid_until, **changes}
        return self._post(ScheduleDetail, path("schedules", number, "replace"), body, key=key)

    def pause_schedule(self, number: int, reason: str = "", *, ticket: str = "") -> ScheduleDetail:
        return self._post(ScheduleDetail, path("schedules", number, "pause"), {"reason": reason, "ticket": ticket})

    def resume_schedule(self, number: int, reason: str = "", *, ticket: str = "") -> ScheduleDetail:
        """Start runs again, from the next due time on."""
        return self._post(ScheduleDetail, path("schedules", number, "resume"), {"reason": reason, "ticket": ticket})

    def put_back_schedule(self, number: int, reason: str = "", *, ticket: str = "") -> ScheduleDetail:
        """Save Prefect's copy of a schedule again as it was approved."""
        return self._post(ScheduleDetail, path("schedules", number, "put-back"), {"reason": reason, "ticket": ticket})

    def end_schedule(self, number: int, reason: str = "", *, ticket: str = "") -> ScheduleDetail:
        return self._post(ScheduleDetail, path("schedules", number, "end"), {"reason": reason, "ticket": ticket})

    def next_times(
        self, rule_type: str, rule: str, time_zone: str = "UTC", *, anchor: datetime | None = None
    ) -> NextTimes:
        """Return the next ten times of a rule; nothing is requested."""
        body = {"rule_type": rule_type, "rule": rule, "time_zone": time_zone, "anchor": anchor}
        return self._post(NextTimes, "/schedules/next", body)

    # Event rules ------------------------------------------------------------------------------------------------------

    def event_rules(self, environment: str = "", **filters: Any) -> Iterator[EventRule]:
        """List your event rules; `filters` are those of the API: deployment, trigger, enabled."""
        return self._rows(EventRule, "/event-rules", {"environment": environment, **filters})

    def event_rule(self, key: str) -> EventRule:
        return self._get(EventRule, path("event-rules", key))

    def save_event_rule(self, rule: Mapping[str, Any], *, key: str = "") -> EventRule:
        """Create a rule, or change the one with this `key`, else your one of the same name and trigger there.

        `rule` has the names of the API: name, environment, deployment, trigger, mapping, conditions and so on. What is
        left out has its default. The rule acts within the scopes of your token, and as long as that is valid.
        """
        if not key:
            rows = self.event_rules(rule["environment"], trigger=rule["trigger"])
            named = [each for each in rows if each.name == rule["name"]]
            if not named:
                return self._post(EventRule, "/event-rules", dict(rule))
            if len(named) > 1:
                raise ValueError(f"{len(named)} of your rules have the name {rule['name']}. Say which by its key.")
            key, runs = named[0].key, named[0].deployment
            # An alias, an id or a short name is resolved by the portal.
            if "/" in rule["deployment"] and rule["deployment"] != runs:
                raise ValueError(f"The rule {rule['name']} runs {runs}, which cannot be changed. Delete it first.")
        body = {name: value for name, value in rule.items() if name not in ("environment", "deployment", "trigger")}
        answer = self._session.send("PUT", path("event-rules", key), body=body, key=str(uuid4()))
        return decode(EventRule, answer.body)

    def delete_event_rule(self, key: str) -> EventRule:
        """Delete a rule and return it as it was; what it requested stays."""
        return decode(EventRule, self._session.send("DELETE", path("event-rules", key), key=str(uuid4())).body)

    def rule_firings(self, key: str, **filters: Any) -> Iterator[RuleFiring]:
        """List what events did with a rule, newest first; `filters` are those of the API: outcome, code, since …"""
        return self._rows(RuleFiring, path("event-rules", key, "firings"), filters)

    def dry_run_rule(self, key: str) -> RuleDryRun:
        """Return what the events of the last day would have done with a rule. Nothing is requested."""
        return self._get(RuleDryRun, path("event-rules", key, "dry-run"))

    def pause_rule(self, key: str, reason: str = "") -> EventRule:
        return self._post(EventRule, path("event-rules", key, "pause"), {"reason": reason})

    def resume_rule(self, key: str, reason: str = "") -> EventRule:
        return self._post(EventRule, path("event-rules", key, "resume"), {"reason": reason})

    def post_event(
        self,
        environment: str,
        name: str,
        body: Mapping[str, Any] | None = None,
        *,
        run: str | UUID | None = None,
        key: str = "",
    ) -> PostedEvent:
        """Say that something happened, for event rules. `run` is the id of the run that posts it.

        With the same `key` it is the same event.
        """
        values = {"environment": environment, "name": name, "body": dict(body or {}), "run": str(run) if run else None}
        return self._post(PostedEvent, "/events", values, key=key)

    # Runs -------------------------------------------------------------------------------------------------------------

    def runs(self, environment: str = "", **filters: Any) -> Iterator[Run]:
        """List runs, newest first; `filters` are those of the API: state, deployment, flow, tag, name, since …"""
        return self._rows(Run, "/runs", {"environment": environment, **filters})

    def run_status(self, run: RunReference) -> RunDetail:
        """Return a run as it is now. A run is given by itself, its id, its unique name or as “request:12”."""
        return self._get(RunDetail, self._run_path(run))

    def logs(self, run: RunReference, *, level: int = 0, follow: bool = False) -> Iterator[LogLine]:
        """Return the log of a run; with `follow`, also what is added until the run has ended."""
        found = lookups.run_place(self, run)
        return waits.follow_log(self, *found, level=level) if follow else self.log_lines(*found, level=level)

    def log_lines(
        self, environment: str, run: str, *, level: int = 0, since: datetime | None = None, after: int | None = None
    ) -> Iterator[LogLine]:
        """List lines by their times; with `after`, those that became known after that line, in that order."""
        filters = {"level": level or None, "since": since, "after": after}
        return self._rows(LogLine, path("environments", environment, "runs", run, "logs"), filters)

    def cancel(self, run: RunReference, reason: str = "", *, ticket: str = "", force: bool = False) -> Action:
        body = {"reason": reason, "ticket": ticket, "force": force}
        return self._post(Action, f"{self._run_path(run)}/cancel", body)

    def recover(self, run: RunReference, kind: str, reason: str, *, ticket: str = "") -> Action:
        """Put a stalled run back to Scheduled (`kind` is "put back"), or mark it as failed ("fail")."""
        body = {"kind": kind, "reason": reason, "ticket": ticket}
        return self._post(Action, f"{self._run_path(run)}/recover", body)

    def retry(self, run: RunReference, reason: str = "", *, ticket: str = "") -> Requested:
        return self._post(Requested, f"{self._run_path(run)}/retry", {"reason": reason, "ticket": ticket})

    def action(self, number: int) -> Action:
        return self._get(Action, path("actions", number))

    def pause(self, environment: str, deployment: DeploymentReference, reason: str = "", *, ticket: str = "") -> Action:
        """Pause the schedules of a deployment. One that was read before must not have changed since."""
        return self._edit(environment, deployment, {"is_paused": True, "reason": reason, "ticket": ticket})

    def resume(
        self, environment: str, deployment: DeploymentReference, reason: str = "", *, ticket: str = ""
    ) -> Action:
        return self._edit(environment, deployment, {"is_paused": False, "reason": reason, "ticket": ticket})

    def pause_prefect_schedule(
        self, environment: str, deployment: DeploymentReference, schedule: str, reason: str = "", *, ticket: str = ""
    ) -> Action:
        """Pause one schedule that Prefect has from code, by its id there or its slug; the others go on."""
        return self._switch("pause", environment, deployment, schedule, reason=reason, ticket=ticket)

    def resume_prefect_schedule(
        self, environment: str, deployment: DeploymentReference, schedule: str, reason: str = "", *, ticket: str = ""
    ) -> Action:
        """Resume one schedule that Prefect has from code; during a freeze that waits for its end."""
        return self._switch("resume", environment, deployment, schedule, reason=reason, ticket=ticket)

    # Failures ---------------------------------------------------------------------------------------------------------

    def failures(self, environment: str = "", **filters: Any) -> Iterator[Failure]:
        """List failure groups, those that failed last first; `filters`: state, deployment, owner, task, search …"""
        return self._rows(Failure, "/failures", {"environment": environment, **filters})

    def failure(self, number: int) -> FailureDetail:
        return self._get(FailureDetail, path("failures", number))

    def own_failure(self, number: int, owner: str) -> FailureDetail:
        """Set the owner by user name; empty for none."""
        return self._post(FailureDetail, path("failures", number, "own"), {"owner": owner})

    def acknowledge_failure(self, number: int, reason: str = "") -> FailureDetail:
        """Mark a failure as known, also one that is muted or was resolved."""
        return self._post(FailureDetail, path("failures", number, "acknowledge"), {"reason": reason})

    def mute_failure(self, number: int, until: datetime, reason: str = "") -> FailureDetail:
        return self._post(FailureDetail, path("failures", number, "mute"), {"until": until, "reason": reason})

    def resolve_failure(self, number: int, reason: str) -> FailureDetail:
        return self._post(FailureDetail, path("failures", number, "resolve"), {"reason": reason})

    def note_failure(self, number: int, text: str) -> FailureDetail:
        return self._post(FailureDetail, path("failures", number, "notes"), {"text": text})

    def retry_failure(
        self, number: int, reason: str = "", *, ticket: str = "", most: int | None = None, key: str = ""
    ) -> RetriedRuns:
        """Retry the runs of a failure that are still failed, at most the newest `most`."""
        body = {"reason": reason, "ticket": ticket} | ({"most": most} if most else {})
        return self._post(RetriedRuns, path("failures", number, "retry"), body, key=key)

    # Service levels ---------------------------------------------------------------------------------------------------

    def service_levels(self, environment: str = "", **filters: Any) -> Iterator[ServiceLevel]:
        """List service levels, newest first; `filters` are those of the API: kind, deployment, tag, active."""
        return self._rows(ServiceLevel, "/service-levels", {"environment": environment, **filters})

    def breaches(self, environment: str = "", **filters: Any) -> Iterator[Breach]:
        """List breaches, newest first; `filters` are those of the API: deployment, level, open."""
        return self._rows(Breach, "/breaches", {"environment": environment, **filters})

    def add_service_level(
        self, environment: str, kind: str, threshold: float, *, key: str = "", **parts: Any
    ) -> ServiceLevel:
        """Create a service level; `parts` are those of the API: deployment, tag, days, owner, runbook."""
        body = {"environment": environment, "kind": kind, "threshold": threshold, **parts}
        return self._post(ServiceLevel, "/service-levels", body, key=key)

    def remove_service_level(self, number: int, reason: str = "") -> ServiceLevel:
        return self._post(ServiceLevel, path("service-levels", number, "remove"), {"reason": reason})

    # Notification rules -----------------------------------------------------------------------------------------------

    def notification_rules(self, environment: str = "", **filters: Any) -> Iterator[NotificationRule]:
        """List your notification rules and those of your groups; `filters`: group, channel, topic, active."""
        return self._rows(NotificationRule, "/notification-rules", {"environment": environment, **filters})

    def add_notification_rule(
        self, name: str, topics: Sequence[str], *, key: str = "", **parts: Any
    ) -> NotificationRule:
        """Create a rule for yourself; `parts` of the API: environment, deployment, flow, tag, after_minutes."""
        body = {"name": name, "topics": list(topics), **parts}
        return self._post(NotificationRule, "/notification-rules", body, key=key)

    def remove_notification_rule(self, number: int, reason: str = "") -> NotificationRule:
        return self._post(NotificationRule, path("notification-rules", number, "remove"), {"reason": reason})

    # Notifications ----------------------------------------------------------------------------------------------------

    def notifications(self, environment: str = "", **filters: Any) -> Iterator[Notification]:
        """List your own notifications, newest first; `filters` are those of the API: topic, unread."""
        return self._rows(Notification, "/notifications", {"environment": environment, **filters})

    def mark_read(self, *numbers: int) -> Marked:
        """Mark notifications as read, all of yours without numbers."""
        return self._post(Marked, "/notifications/read", {"ids": list(numbers)} if numbers else {"all": True})

    # Channels ---------------------------------------------------------------------------------------------------------

    def channels(self, **filters: Any) -> Iterator[Channel]:
        """List channels by name, with a token that reads the audit trail; `filters` of the API: kind, enabled."""
        return self._rows(Channel, "/channels", filters)

    def channel(self, number: int) -> Channel:
        return self._get(Channel, path("channels", number))

    def deliveries(self, environment: str = "", **filters: Any) -> Iterator[Delivery]:
        """List what was sent, newest first; `filters` of the API: channel, email, state, topic, since, until."""
        return self._rows(Delivery, "/deliveries", {"environment": environment, **filters})

    # Rules ------------------------------------------------------------------------------------------------------------

    def why(
        self, verb: str, environment: str, deployment: DeploymentReference, parameters: Mapping[str, Any] | None = None
    ) -> Explanation:
        """Return whether you may, and why. Without `parameters` the question is whether with any values at all."""
        body = {"verb": verb, "environment": environment, "deployment": lookups.deployment_name(deployment)}
        values = None if parameters is None else dict(parameters)
        answer = self._session.send("POST", "/why", body={**body, "parameters": values}, is_safe=True)
        return decode(Explanation, answer.body)

    def who_can(self, environment: str, deployment: DeploymentReference, *verbs: str) -> list[WhoCan]:
        found = path("environments", environment, "deployments", lookups.deployment_path(deployment), "who-can")
        rows = self._session.send("GET", found, params={"verb": list(verbs)}).body
        return [decode(WhoCan, each) for each in rows]

    def grants(self, environment: str = "", **filters: Any) -> Iterator[Grant]:
        """List grants, newest first; `filters` are those of the API: person, group, verb, effect, revoked."""
        return self._rows(Grant, "/grants", {"environment": environment, **filters})

    def grant(self, to: str, verbs: Sequence[str], environment: str = "", **parts: Any) -> Granted:
        """Create a grant for a user, or “group:NAME”; `parts` are those of the API: flow, deployment, tag, effect …"""
        body = {"to": to, "verbs": list(verbs), "environment": environment, **parts}
        return self._post(Granted, "/grants", body)

    def revoke(self, number: int, reason: str = "", *, ticket: str = "", confirm: str = "") -> Granted:
        body = {"reason": reason, "ticket": ticket, "confirm": confirm}
        return self._post(Granted, path("grants", number, "revoke"), body)

    def freeze(self, environment: str, reason: str, *, until: datetime | None = None, ticket: str = "") -> Freeze:
        body = {"reason": reason, "ticket": ticket, "until": until}
        return self._post(Freeze, path("environments", environment, "freeze"), body)

    def unfreeze(self, environment: str, reason: str = "", *, ticket: str = "", confirm: str = "") -> Lifted:
        body = {"reason": reason, "ticket": ticket, "confirm": confirm}
        return self._post(Lifted, path("environments", environment, "unfreeze"), body)

    def windows(
        self, environment: str, deployment: DeploymentReference = "", *, at: datetime | None = None
    ) -> Standing:
        """Return whether runs of an environment or a deployment can start, now or at a time, with the windows."""
        params = {"deployment": lookups.deployment_path(deployment), "at": at.isoformat() if at else None}
        found = self._session.send("GET", path("environments", environment, "standing"), params=params)
        return decode(Standing, found.body)

    def bypasses(self, environment: str = "", **filters: Any) -> Iterator[Bypass]:
        """List bypasses, newest first; `filters` are those of the API: kind, deployment, state."""
        return self._rows(Bypass, "/bypasses", {"environment": environment, **filters})

    def drift(self, environment: str = "", **filters: Any) -> Iterator[Drift]:
        """List what differs between environments, newest first; `filters` are those of the API: between, kind …"""
        return self._rows(Drift, "/drift", {"environment": environment, **filters})

    def compare_environments(self, environment: str, deployment: DeploymentReference) -> DriftMatrix:
        """Return a deployment next to the same one in the other environments that you see."""
        name = lookups.deployment_path(deployment)
        return self._get(DriftMatrix, path("environments", environment, "deployments", name, "drift"))

    def unassigned_deployments(self, environment: str = "", **filters: Any) -> Iterator[UnassignedDeployment]:
        """List the deployments that have to be assigned; `filters` are those of the API: search, tag.

        Only a token that reads the audit trail sees them.
        """
        return self._rows(UnassignedDeployment, "/unassigned-deployments", {"environment": environment, **filters})

    def audit(self, environment: str = "", **filters: Any) -> Iterator[AuditEntry]:
        """Read the audit trail, newest first; `filters` are those of the API: verb, actor, outcome, since …"""
        return self._rows(AuditEntry, "/audit", {"environment": environment, **filters})

    def events(
        self, environment: str = "", *, after: int | None = None, follow: bool = False, **filters: Any
    ) -> Iterator[Event]:
        """Return what happened, oldest first; with `follow` what happens from now on, or after an event, without end.

        `filters` are those of the API: kind, deployment, run, request, change.
        """
        chosen = {"environment": environment, **filters}
        if follow:
            return event_stream.follow(self._session, chosen, after)
        return self._rows(Event, "/events", {**chosen, "after": after})

    # Sending ----------------------------------------------------------------------------------------------------------

    def _get[Row](self, kind: type[Row], found: str) -> Row:
        return decode(kind, self._session.send("GET", found).body)

    def _post[Row](self, kind: type[Row], found: str, body: Mapping[str, Any], *, key: str = "") -> Row:
        return decode(kind, self._session.send("POST", found, body=body, key=key or str(uuid4())).body)

    def _switch(self, what: str, environment: str, name: DeploymentReference, schedule: str, **body: str) -> Action:
        found = lookups.deployment_path(name)
        address = path("environments", environment, "deployments", found, "schedules", schedule, what)
        return self._post(Action, address, body)

    def _edit(self, environment: str, deployment: DeploymentReference, body: Mapping[str, Any]) -> Action:
        read = deployment if isinstance(deployment, DeploymentDetail) else self.deployment(environment, deployment)
        found = path("environments", environment, "deployments", read.id)
        headers = {"If-Match": read.etag}
        return decode(Action, self._session.send("PATCH", found, body=body, key=str(uuid4()), headers=headers).body)

    def _run_path(self, run: RunReference) -> str:
        environment, pk = lookups.run_place(self, run)
        return path("environments", environment, "runs", pk)

    def _rows[Row](self, kind: type[Row], found: str, filters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        cursor = ""
        while True:
            params = {"limit": PAGE, **(filters or {}), "cursor": cursor}
            page = self._session.send("GET", found, params=params)
            for each in page.body.get("items", ()):
                yield decode(kind, each)
            cursor = page.body.get("next") or ""
            if not cursor:
                return


def outline(
    environment: str,
    deployment: DeploymentReference,
    vary: Mapping[str, str | Sequence[Any]],
    parameters: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what a plan and its submission have in common."""
    return {
        "environment": environment,
        "deployment": lookups.deployment_name(deployment),
        "vary": {name: values if isinstance(values, str) else list(values) for name, values in vary.items()},
        "parameters": dict(parameters or {}),
    }


def pool_path(environment: str, name: str, queue: str) -> str:
    return path("environments", environment, "work-pools", name, *(("queues", queue) if queue else ()))
