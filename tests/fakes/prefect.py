"""An in-memory Prefect with the client's methods: the only fake. Contract tests compare it with a real server."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from flows import plain_text
from flows.prefect_api.client import PrefectClient, start_order
from flows.prefect_api.error_messages import explain_response
from flows.prefect_api.pagination import PAGE
from flows.prefect_api.payload import check_payload
from flows.prefect_api.pool_calls import POOL_COLUMNS, QUEUE_COLUMNS, require_allowed
from flows.prefect_api.records import (
    JSON,
    ArtifactRecord,
    AutomationRecord,
    AutomationStart,
    DeploymentRecord,
    EventRecord,
    FlowRunRecord,
    GlobalLimitRecord,
    LogRecord,
    NewFlowRun,
    NotFound,
    PrefectError,
    Rejected,
    ScheduleRecord,
    ServerRecord,
    StateRecord,
    TaskRunRecord,
    Uncertain,
    Unreachable,
    WorkPoolRecord,
)
from flows.prefect_api.schedule_text import describe
from tests.fakes import records

WHERE = "Prefect in memory"
LARGEST = 524_288
# The next state of a run on a cancel; a terminal run does not change.
ON_CANCEL = {"SCHEDULED": "CANCELLED", "PENDING": "CANCELLING", "RUNNING": "CANCELLING", "PAUSED": "CANCELLING"}


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call of a client's method."""

    method: str
    arguments: Mapping[str, Any]


class FakePrefect(PrefectClient):
    """Contains only what a test has added. Every method of the client must exist here; a test compares them."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.calls: list[Call] = []
        # Prefect's variables, which defaults of deployments may refer to.
        self.variables: dict[str, JSON] = {}
        # Whether it has the call that creates several runs, and the keys of which it answers with ids that it never
        # stores, as after an error in its database.
        self.has_bulk = True
        self.never_stored: set[str] = set()
        # Off by default, as in Prefect.
        self.streams_logs = False
        self._log_hints: deque[UUID] = deque()
        # As under load: silently.
        self.loses_events = False
        # Whether it answers a change of a limit as if it had made it, and does not.
        self.ignores_changes = False
        self._clock = now
        self._last = datetime.min.replace(tzinfo=UTC)
        self._deployments: dict[UUID, DeploymentRecord] = {}
        self._flows: dict[str, UUID] = {}
        self._pools: dict[str, WorkPoolRecord] = {}
        self._automations: dict[UUID, AutomationRecord] = {}
        self._limits: dict[UUID, GlobalLimitRecord] = {}
        # Why the list of automations alone is refused, if it is.
        self.refuses_automations: PrefectError | None = None
        self._runs: dict[UUID, FlowRunRecord] = {}
        self._states: dict[UUID, list[StateRecord]] = {}
        self._task_runs: dict[UUID, TaskRunRecord] = {}
        self._task_states: dict[UUID, list[StateRecord]] = {}
        self._logs: list[LogRecord] = []
        self._heartbeats: dict[UUID, datetime] = {}
        self._artifacts: dict[UUID, ArtifactRecord] = {}
        self._keys: dict[tuple[UUID, str], UUID] = {}
        self._events: deque[EventRecord] = deque()
        self._failure: PrefectError | None = None
        self._next_create: deque[PrefectError] = deque()

    def __repr__(self) -> str:
        return f"<FakePrefect {len(self._deployments)} deployments, {len(self._runs)} runs>"

    # Setup by tests

    def add_deployment(self, name: str = "nightly", flow_name: str = "etl", **fields: Any) -> DeploymentRecord:
        """Add a deployment with any fields of DeploymentRecord; deployments with one flow name share the flow."""
        at = self._now()
        flow_id = self._flows.setdefault(flow_name, uuid4())
        plain = {"flow_id": flow_id, "created_at": at, "updated_at": at}
        record = records.deployment(**plain | {"name": name, "flow_name": flow_name} | fields)
        self._deployments[record.id] = record
        return record

    def change_deployment(self, deployment_id: UUID, **fields: Any) -> DeploymentRecord:
        changed = replace(self._known_deployment(deployment_id), updated_at=self._now(), **fields)
        self._deployments[deployment_id] = changed
        return changed

    def remove_deployment(self, deployment_id: UUID) -> None:
        """Delete a deployment, and like Prefect every run of it that has not started."""
        del self._deployments[deployment_id]
        self._remove_planned(run for run in self._runs.values() if run.deployment_id == deployment_id)

    def add_work_pool(self, name: str, **fields: Any) -> WorkPoolRecord:
        self._pools[name] = records.work_pool(name=name, **fields)
        return self._pools[name]

    def change_work_pool(self, name: str, **fields: Any) -> WorkPoolRecord:
        self._pools[name] = replace(self._pools[name], **fields)
        return self._pools[name]

    def add_work_queue(self, pool: str, name: str, **fields: Any) -> None:
        made = records.work_queue(name, pool_id=self._pools[pool].id, **fields)
        self._pools[pool] = replace(self._pools[pool], queues=(*self._pools[pool].queues, made))

    def add_automation(
        self, name: str, *starts: tuple[str, UUID | None], is_enabled: bool = True, pk: UUID | None = None
    ) -> UUID:
        """Add an automation, or change the one with this id; `starts` are actions with their deployments."""
        found = tuple(AutomationStart(action, deployment) for action, deployment in starts)
        made = AutomationRecord(pk or uuid4(), plain_text.name(name), is_enabled, found)
        self._automations[made.id] = made
        return made.id

    def add_global_limit(self, name: str, concurrency_limit: int, **fields: Any) -> GlobalLimitRecord:
        plain: dict[str, Any] = {"active_slots": 0, "is_active": True, "slot_decay_per_second": 0.0}
        record = GlobalLimitRecord(uuid4(), name, concurrency_limit, **plain | fields)
        self._limits[record.id] = record
        return record

    def change_global_limit(self, limit_id: UUID, **fields: Any) -> None:
        self._limits[limit_id] = replace(self._limits[limit_id], **fields)

    def remove_global_limit(self, limit_id: UUID) -> None:
        del self._limits[limit_id]

    def remove_automation(self, automation_id: UUID) -> None:
        del self._automations[automation_id]

    def remove_work_pool(self, name: str) -> None:
        del self._pools[name]

    def add_run(
        self, deployment_id: UUID | None = None, *, state_type: str = "SCHEDULED", **fields: Any
    ) -> FlowRunRecord:
        """Add a run that was started elsewhere, and move it through the usual states to `state_type`.

        Any field of FlowRunRecord may be given, and overrides what the moves have set.
        """
        deployment = self._known_deployment(deployment_id) if deployment_id else None
        run = self._new_run(deployment, fields)
        way = ("SCHEDULED", "PENDING", "RUNNING", state_type)
        for step in dict.fromkeys(way[: way.index(state_type) + 1]):
            self.set_state(run.id, step)
        self._runs[run.id] = replace(self._runs[run.id], **fields)
        return self._runs[run.id]

    def change_run(self, flow_run_id: UUID, **fields: Any) -> FlowRunRecord:
        """Change fields of a run, such as name or tags. As in Prefect, without an event."""
        changed = replace(self._known_run(flow_run_id), updated_at=self._now(), **fields)
        self._runs[flow_run_id] = changed
        return changed

    def remove_run(self, flow_run_id: UUID) -> None:
        """Delete a run with its states, task runs and logs. As in Prefect, without an event."""
        del self._runs[flow_run_id], self._states[flow_run_id]
        self._task_runs = {key: each for key, each in self._task_runs.items() if each.flow_run_id != flow_run_id}
        self._logs = [each for each in self._logs if each.flow_run_id != flow_run_id]
        self._keys = {key: each for key, each in self._keys.items() if each != flow_run_id}

    def set_state(
        self,
        flow_run_id: UUID,
        state_type: str,
        name: str | None = None,
        message: str = "",
        *,
        at: datetime | None = None,
    ) -> FlowRunRecord:
        """Set a state as a worker or the run itself does: with its times, and an event."""
        run = self._known_run(flow_run_id)
        moment = at or self._now()
        label = plain_text.line(name or state_type.capitalize())
        state = StateRecord(uuid4(), state_type, label, plain_text.prose(message), moment)
        self._states[flow_run_id].append(state)
        started = run.started_at
        if state_type == "RUNNING" or state.is_terminal:
            started = started or moment
        was_running = run.state is not None and run.state.type in ("RUNNING", "CANCELLING")
        worked = (moment - run.state.timestamp).total_seconds() if run.state and was_running else 0.0
        self._runs[flow_run_id] = replace(
            run,
            state=state,
            started_at=started,
            ended_at=moment if state.is_terminal else None,
            run_count=run.run_count + (state_type == "RUNNING"),
            total_run_seconds=run.total_run_seconds + max(worked, 0.0),
            updated_at=moment,
        )
        self.add_event(flow_run_id, f"prefect.flow-run.{state.name}")
        return self._runs[flow_run_id]

    def confirm_cancel(self, flow_run_id: UUID) -> FlowRunRecord:
        """Complete a cancel, as the runner does once it has killed the process."""
        state = self._known_run(flow_run_id).state
        assert state is not None
        assert state.type == "CANCELLING", f"No cancel was requested for this run; it is {state.type}."
        return self.set_state(flow_run_id, "CANCELLED")

    def add_task_run(self, flow_run_id: UUID, **fields: Any) -> TaskRunRecord:
        record = records.task_run(self._known_run(flow_run_id).id, **fields)
        self._task_runs[record.id] = record
        self.add_event(flow_run_id, f"prefect.task-run.{record.state_name}")
        return record

    def add_task_states(self, task_run_id: UUID, *states: StateRecord) -> None:
        """Add states to the history of a task run, whose own state stays as it is."""
        self._task_states.setdefault(self._task_runs[task_run_id].id, []).extend(states)

    def add_artifact(self, flow_run_id: UUID, **fields: Any) -> ArtifactRecord:
        at = self._now()
        made = {"created_at": at, "updated_at": at}
        record = records.artifact(self._known_run(flow_run_id).id, **made | fields)
        self._artifacts[record.id] = record
        return record

    def change_artifact(self, artifact_id: UUID, **fields: Any) -> ArtifactRecord:
        self._artifacts[artifact_id] = replace(self._artifacts[artifact_id], updated_at=self._now(), **fields)
        return self._artifacts[artifact_id]

    def add_log(self, flow_run_id: UUID, message: str, **fields: Any) -> LogRecord:
        record = records.log(
            self._known_run(flow_run_id).id, plain_text.prose(message), **{"timestamp": self._now()} | fields
        )
        self._logs.append(record)
        if self.streams_logs:
            self._log_hints.append(flow_run_id)
        return record

    def add_heartbeat(self, flow_run_id: UUID, *, at: datetime | None = None) -> None:
        """Emit a heartbeat, as the process of a run does every three minutes."""
        self._heartbeats[self._known_run(flow_run_id).id] = at or self._now()
        self.add_event(flow_run_id, "prefect.flow-run.heartbeat")

    def add_event(self, flow_run_id: UUID, kind: str) -> None:
        if not self.loses_events:
            self._events.append(EventRecord(flow_run_id, kind))

    def go_down(self, failure: PrefectError | None = None) -> None:
        """Make every call fail: with `failure`, by default Unreachable."""
        self._failure = failure or Unreachable(f"Connection refused: {WHERE} is down.", code="connection.refused")

    def come_back(self) -> None:
        self._failure = None

    def lose_answer_of_next_create(self) -> None:
        """Make the next create succeed in Prefect and fail for the client."""
        self._next_create.append(
            Uncertain(
                f"Response timed out: {WHERE} did not confirm the flow run. It may have been done.",
                code="connection.timeout",
            )
        )

    def reject_next_create(self, message: str, *, status: int = 409) -> None:
        self._next_create.append(
            Rejected(
                f"{WHERE} rejected the request to start a flow run: {message}.", code="request.rejected", status=status
            )
        )

    # The client's methods

    def close(self) -> None:
        self._note("close")

    def health(self) -> ServerRecord:
        self._call("health")
        return ServerRecord(version="3.9.1")

    def deployments_changed_since(self, since: datetime) -> Iterator[DeploymentRecord]:
        self._call("deployments_changed_since", since=since)
        changed = [each for each in self._deployments.values() if each.updated_at is None or each.updated_at >= since]
        return iter(sorted(changed, key=lambda each: each.updated_at or self._last, reverse=True))

    def deployments(self) -> Iterator[DeploymentRecord]:
        self._call("deployments")
        return iter(sorted(self._deployments.values(), key=lambda each: each.created_at or self._last, reverse=True))

    def deployment(self, deployment_id: UUID) -> DeploymentRecord:
        self._call("deployment", deployment_id=deployment_id)
        return self._known_deployment(deployment_id)

    def work_pools(self) -> list[WorkPoolRecord]:
        self._call("work_pools")
        return [self._pools[name] for name in sorted(self._pools)]

    def work_pool(self, name: str) -> WorkPoolRecord:
        self._call("work_pool", name=name)
        if name not in self._pools:
            raise NotFound(f"{WHERE} has no work pool {name}.", code="object.not_found", status=404)
        return replace(self._pools[name], workers=(), queues=())

    def global_limits(self) -> list[GlobalLimitRecord]:
        self._call("global_limits")
        return sorted(self._limits.values(), key=lambda record: record.name)

    def automations(self) -> list[AutomationRecord]:
        self._call("automations")
        if self.refuses_automations:
            raise self.refuses_automations
        return list(reversed(self._automations.values()))

    def flow_runs(self, ids: Sequence[UUID]) -> list[FlowRunRecord]:
        self._call("flow_runs", ids=tuple(ids))
        return [self._runs[each] for each in dict.fromkeys(ids) if each in self._runs]

    def active_flow_runs(self) -> Iterator[FlowRunRecord]:
        self._call("active_flow_runs")
        active = (run for run in self._runs.values() if run.state and not run.state.is_terminal)
        return self._by_time(active, lambda run: run.started_at or run.expected_start_at)

    def flow_runs_ended_since(self, since: datetime, *, until: datetime | None = None) -> Iterator[FlowRunRecord]:
        self._call("flow_runs_ended_since", since=since, until=until)
        ended = [
            run
            for run in self._runs.values()
            if run.ended_at and run.ended_at >= since and (until is None or run.ended_at <= until)
        ]
        return self._by_time(ended, lambda run: run.ended_at, newest_first=True)

    def states(self, flow_run_id: UUID) -> list[StateRecord]:
        self._call("states", flow_run_id=flow_run_id)
        return sorted(self._states.get(flow_run_id, ()), key=lambda each: each.timestamp)

    def task_runs(self, flow_run_ids: Sequence[UUID]) -> list[TaskRunRecord]:
        self._call("task_runs", flow_run_ids=tuple(flow_run_ids))
        found = [each for each in self._task_runs.values() if each.flow_run_id in flow_run_ids]
        return sorted(found, key=start_order)

    def task_run_states(self, task_run_id: UUID) -> list[StateRecord]:
        self._call("task_run_states", task_run_id=task_run_id)
        return sorted(self._task_states.get(task_run_id, ()), key=lambda each: each.timestamp)

    def flow_runs_of_tasks(self, task_run_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        self._call("flow_runs_of_tasks", task_run_ids=tuple(task_run_ids))
        found = (self._task_runs[each] for each in task_run_ids if each in self._task_runs)
        return {each.id: each.flow_run_id for each in found if each.flow_run_id}

    def flow_names(self, flow_ids: Iterable[UUID]) -> dict[UUID, str]:
        self._call("flow_names", flow_ids=tuple(flow_ids))
        return {pk: name for name, pk in self._flows.items() if pk in flow_ids}

    def artifacts(self, flow_run_ids: Sequence[UUID]) -> list[ArtifactRecord]:
        self._call("artifacts", flow_run_ids=tuple(flow_run_ids))
        found = [each for each in self._artifacts.values() if each.flow_run_id in flow_run_ids]
        return sorted(found, key=lambda each: (each.created_at or datetime.min.replace(tzinfo=UTC), each.id))

    def logs(self, flow_run_id: UUID, *, after: datetime | None = None) -> Iterator[LogRecord]:
        self._call("logs", flow_run_id=flow_run_id, after=after)
        lines = (each for each in self._logs if each.flow_run_id == flow_run_id)
        found = (each for each in lines if after is None or each.timestamp >= after)
        return iter(sorted(found, key=lambda line: line.timestamp))

    def newest_lines(self, flow_run_ids: Sequence[UUID], *, since: datetime) -> list[LogRecord]:
        self._call("newest_lines", flow_run_ids=tuple(flow_run_ids), since=since)
        found = [each for each in self._logs if each.flow_run_id in flow_run_ids and each.timestamp >= since]
        return sorted(found, key=lambda line: line.timestamp, reverse=True)[:PAGE]

    def heartbeats(self, flow_run_ids: Sequence[UUID], *, since: datetime) -> dict[UUID, datetime]:
        self._call("heartbeats", flow_run_ids=tuple(flow_run_ids), since=since)
        return {each: at for each, at in self._heartbeats.items() if each in flow_run_ids and at >= since}

    async def events(self) -> AsyncGenerator[EventRecord]:
        """Yield the events so far, then new ones; raises like the real stream when the server goes down."""
        self._note("events")
        while True:
            self._fail_if_down()
            while self._events:
                yield self._events.popleft()
            await asyncio.sleep(0.005)

    async def log_hints(self) -> AsyncGenerator[UUID]:
        self._note("log_hints")
        while True:
            self._fail_if_down()
            while self._log_hints:
                yield self._log_hints.popleft()
            await asyncio.sleep(0.005)

    def create_flow_run(
        self,
        deployment_id: UUID,
        *,
        parameters: Mapping[str, JSON],
        idempotency_key: str,
        name: str | None,
        tags: Sequence[str],
        scheduled_for: datetime | None,
        job_variables: Mapping[str, JSON] | None = None,
        work_queue_name: str = "",
    ) -> FlowRunRecord:
        body: dict[str, JSON] = {"parameters": dict(parameters), "idempotency_key": idempotency_key, "tags": [*tags]}
        profile: dict[str, Any] = {"job_variables": dict(job_variables or {}), "work_queue_name": work_queue_name}
        self._call(
            "create_flow_run",
            deployment_id=deployment_id,
            **body,
            name=name,
            scheduled_for=scheduled_for,
            **(profile if any(profile.values()) else {}),
        )
        act = f"start a flow run of deployment {deployment_id}"
        check_payload(body, where=WHERE, act=act)
        failure = self._next_create.popleft() if self._next_create else None
        if isinstance(failure, Rejected):
            raise failure
        wanted = NewFlowRun(parameters, idempotency_key, name, tuple(tags), scheduled_for, **profile)
        run = self._create(deployment_id, wanted)
        if failure:
            raise failure
        return run

    def create_flow_runs(self, deployment_id: UUID, runs: Sequence[NewFlowRun]) -> list[UUID | None]:
        self._call("create_flow_runs", deployment_id=deployment_id, keys=[run.idempotency_key for run in runs])
        bodies: list[JSON] = [{"parameters": dict(run.parameters), "tags": [*run.tags]} for run in runs]
        check_payload(bodies, where=WHERE, act=f"start {len(runs)} flow runs of deployment {deployment_id}")
        if not self.has_bulk:
            raise Rejected(f"{WHERE} is not a Prefect API.", code="server.not_prefect", status=404)
        self._known_deployment(deployment_id)
        ids: list[UUID | None] = []
        for run in runs:
            if run.idempotency_key in self.never_stored:
                ids.append(uuid4())
                continue
            try:
                ids.append(self._create(deployment_id, run).id)
            except Rejected:
                ids.append(None)
        if self._next_create and isinstance(self._next_create[0], Uncertain):
            raise self._next_create.popleft()
        return ids

    def _create(self, deployment_id: UUID, run: NewFlowRun) -> FlowRunRecord:
        act = f"start a flow run of deployment {deployment_id}"
        parameters, idempotency_key = run.parameters, run.idempotency_key
        name, tags, scheduled_for = run.name, run.tags, run.scheduled_for
        deployment = self._known_deployment(deployment_id)
        # Prefect validates the parameters before it looks at the idempotency key.
        values = _filled_in(deployment.parameter_defaults, self.variables) | dict(parameters)
        size = len(json.dumps(dict(parameters), separators=(",", ":")))
        if size >= LARGEST:
            reason = f"parameters: they must be less than {LARGEST:,} bytes when serialized (got {size:,} bytes)"
            raise Rejected(f"{WHERE} rejected the request to {act}: {reason}.", code="request.rejected", status=422)
        if reason := _invalid_parameters(deployment, values):
            raise Rejected(f"{WHERE} rejected the request to {act}: {reason}.", code="request.rejected", status=409)
        key = (deployment.flow_id, idempotency_key)
        if key not in self._keys:
            made = self._new_run(
                deployment,
                {
                    "parameters": values,
                    "idempotency_key": idempotency_key,
                    "tags": tuple(sorted({*deployment.tags, *tags})),
                    "expected_start_at": scheduled_for or self._now(),
                    "job_variables": dict(run.job_variables),
                    "work_queue_name": run.work_queue_name or deployment.work_queue_name,
                }
                | ({"name": name} if name else {}),
            )
            self._keys[key] = made.id
            self.set_state(made.id, "SCHEDULED")
        return self._runs[self._keys[key]]

    def cancel(self, flow_run_id: UUID, *, force: bool = False) -> None:
        self._call("cancel", flow_run_id=flow_run_id)
        run = self._known_run(flow_run_id)
        assert run.state is not None
        if force:
            self.set_state(flow_run_id, "CANCELLED")
            return
        next_type = ON_CANCEL.get(run.state.type)
        if run.state.name == "Suspended" or (run.state.type == "SCHEDULED" and not run.infrastructure_pid):
            next_type = "CANCELLED"
        elif run.state.type == "SCHEDULED":
            next_type = "CANCELLING"
        if next_type:
            self.set_state(flow_run_id, next_type)

    def reschedule(self, flow_run_id: UUID, at: datetime, why: str) -> None:
        self._call("reschedule", flow_run_id=flow_run_id, at=at, why=why)
        self.set_state(flow_run_id, "SCHEDULED", message=why)
        self._runs[flow_run_id] = replace(self._known_run(flow_run_id), planned_for=at)

    def retry(self, flow_run_id: UUID, at: datetime, why: str) -> None:
        self._call("retry", flow_run_id=flow_run_id, at=at, why=why)
        # Prefect aborts it for a run without a deployment, which no worker would pick up.
        if self._known_run(flow_run_id).deployment_id:
            self.set_state(flow_run_id, "SCHEDULED", "AwaitingRetry", message=why)
            self._runs[flow_run_id] = replace(self._known_run(flow_run_id), planned_for=at)

    def set_failed(self, flow_run_id: UUID, why: str) -> None:
        self._call("set_failed", flow_run_id=flow_run_id, why=why)
        self.set_state(flow_run_id, "FAILED", message=why)

    def set_paused(self, deployment_id: UUID, paused: bool) -> None:
        self._call("set_paused", deployment_id=deployment_id, paused=paused)
        self.change_deployment(deployment_id, is_paused=paused)
        if paused:
            self._remove_planned_of(deployment_id)

    def save_schedule(self, deployment_id: UUID, schedule: ScheduleRecord, *, is_new: bool) -> None:
        self._call("save_schedule", deployment_id=deployment_id, slug=schedule.slug, is_new=is_new)
        others = self._known_deployment(deployment_id).schedules
        if is_new and schedule.slug in {each.slug for each in others}:
            raise Uncertain(f"{WHERE} has a schedule {schedule.slug} already.", code="server.error")
        if not is_new and schedule.id not in {each.id for each in others}:
            raise NotFound(f"{WHERE} has no schedule {schedule.id}.", code="object.not_found", status=404)
        if self.ignores_changes:
            return
        stored = replace(schedule, description=plain_text.line(describe(schedule.rule)), rule=_stored_rule(schedule))
        if is_new:
            stored = replace(stored, id=uuid4())
        else:
            others = tuple(each for each in others if each.id != schedule.id)
            self._remove_planned_of(deployment_id)
        self._store_schedules(deployment_id, (*others, stored))

    def switch_schedule(self, deployment_id: UUID, schedule: ScheduleRecord, *, is_active: bool) -> None:
        self._call("switch_schedule", deployment_id=deployment_id, schedule_id=schedule.id, is_active=is_active)
        stored = self._known_deployment(deployment_id).schedules
        if schedule.id not in {each.id for each in stored}:
            raise NotFound(f"{WHERE} has no schedule {schedule.id}.", code="object.not_found", status=404)
        if self.ignores_changes:
            return
        changed = {"is_active": is_active, "parameters": schedule.parameters}
        self._store_schedules(
            deployment_id, (replace(each, **changed) if each.id == schedule.id else each for each in stored)
        )

    def delete_schedule(self, deployment_id: UUID, schedule_id: UUID) -> None:
        self._call("delete_schedule", deployment_id=deployment_id, schedule_id=schedule_id)
        before = self._known_deployment(deployment_id).schedules
        left = tuple(each for each in before if each.id != schedule_id)
        if len(left) == len(before):
            raise NotFound(f"{WHERE} has no schedule {schedule_id}.", code="object.not_found", status=404)
        self._remove_planned_of(deployment_id)
        self._store_schedules(deployment_id, left)

    def _store_schedules(self, deployment_id: UUID, schedules: Iterable[ScheduleRecord]) -> None:
        # As in Prefect, the deployment does not count as changed.
        found = tuple(sorted(schedules, key=lambda each: each.id))
        self._deployments[deployment_id] = replace(self._known_deployment(deployment_id), schedules=found)

    def _remove_planned_of(self, deployment_id: UUID) -> None:
        runs = self._runs.values()
        self._remove_planned(run for run in runs if run.deployment_id == deployment_id and run.auto_scheduled)

    def update_work_pool(self, name: str, changes: Mapping[str, JSON]) -> None:
        self._call("update_work_pool", name=name, changes=dict(changes))
        require_allowed(changes, POOL_COLUMNS)
        pool = self._known_pool(name)
        self._pools[name] = replace(pool, **({} if self.ignores_changes else changes))  # type: ignore[arg-type]

    def update_work_queue(self, pool: str, name: str, changes: Mapping[str, JSON]) -> None:
        self._call("update_work_queue", pool=pool, name=name, changes=dict(changes))
        require_allowed(changes, QUEUE_COLUMNS)
        found = self._known_pool(pool)
        if name not in {each.name for each in found.queues}:
            raise NotFound(f"{WHERE} has no queue {name}.", code="object.not_found", status=404)
        queues = [
            replace(each, **changes) if each.name == name and not self.ignores_changes else each  # type: ignore[arg-type]
            for each in found.queues
        ]
        self._pools[pool] = replace(found, queues=tuple(queues))

    def update_global_limit(self, limit_id: UUID, changes: Mapping[str, JSON]) -> None:
        self._call("update_global_limit", limit_id=limit_id, changes=dict(changes))
        if limit_id not in self._limits:
            raise NotFound(f"{WHERE} has no concurrency limit {limit_id}.", code="object.not_found", status=404)
        if not self.ignores_changes:
            self.change_global_limit(limit_id, **changes)

    def create_global_limit(self, name: str, columns: Mapping[str, JSON]) -> None:
        self._call("create_global_limit", name=name, columns=dict(columns))
        if name in {each.name for each in self._limits.values()}:
            raise Rejected(f"{WHERE} has a concurrency limit {name}.", code="request.rejected", status=409)
        if not self.ignores_changes:
            self.add_global_limit(name, **columns)

    def delete_global_limit(self, limit_id: UUID) -> None:
        self._call("delete_global_limit", limit_id=limit_id)
        if limit_id not in self._limits:
            raise NotFound(f"{WHERE} has no concurrency limit {limit_id}.", code="object.not_found", status=404)
        if self.ignores_changes:
            return
        name = self._limits.pop(limit_id).name
        for each in self._deployments.values():
            if each.limit_name == name:
                self.change_deployment(each.id, limit_name="", concurrency_limit=None)

    def set_deployment_limit(self, deployment_id: UUID, limit: int | None, options: Mapping[str, JSON]) -> None:
        self._call("set_deployment_limit", deployment_id=deployment_id, limit=limit, options=dict(options))
        record = self._known_deployment(deployment_id)
        if self.ignores_changes:
            return
        self.change_deployment(
            deployment_id,
            concurrency_limit=limit,
            concurrency_options=dict(options) or record.concurrency_options,
            limit_name="" if limit is None else f"deployment:{deployment_id}",
        )

    # Helpers

    def _known_pool(self, name: str) -> WorkPoolRecord:
        if name not in self._pools:
            raise NotFound(f"{WHERE} has no work pool {name}.", code="object.not_found", status=404)
        return self._pools[name]

    def _call(self, method: str, **arguments: Any) -> None:
        self._note(method, **arguments)
        self._fail_if_down()

    def _note(self, method: str, **arguments: Any) -> None:
        self.calls.append(Call(method, arguments))

    def _fail_if_down(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _now(self) -> datetime:
        """Return the time, never the same twice: what happens later sorts later."""
        self._last = max(self._clock(), self._last + timedelta(microseconds=1))
        return self._last

    def _known_deployment(self, deployment_id: UUID) -> DeploymentRecord:
        if deployment_id not in self._deployments:
            raise NotFound(f"{WHERE} has no deployment {deployment_id}.", code="object.not_found", status=404)
        return self._deployments[deployment_id]

    def _known_run(self, flow_run_id: UUID) -> FlowRunRecord:
        if flow_run_id not in self._runs:
            raise NotFound(f"{WHERE} has no flow run {flow_run_id}.", code="object.not_found", status=404)
        return self._runs[flow_run_id]

    def _new_run(self, deployment: DeploymentRecord | None, fields: Mapping[str, Any]) -> FlowRunRecord:
        at = self._now()
        plain = {"name": f"run-{len(self._runs) + 1}", "expected_start_at": at, "created_at": at, "updated_at": at}
        run = records.flow_run(deployment, **plain | dict(fields))
        self._runs[run.id] = run
        self._states[run.id] = []
        return run

    def _remove_planned(self, runs: Iterable[FlowRunRecord]) -> None:
        for run in [each for each in runs if each.state and each.state.type == "SCHEDULED"]:
            self.remove_run(run.id)

    def _by_time(
        self,
        runs: Iterable[FlowRunRecord],
        moment: Callable[[FlowRunRecord], datetime | None],
        *,
        newest_first: bool = False,
    ) -> Iterator[FlowRunRecord]:
        return iter(sorted(runs, key=lambda run: moment(run) or self._last, reverse=newest_first))


def _stored_rule(schedule: ScheduleRecord) -> dict[str, JSON]:
    """Return a rule as Prefect returns it, with what it adds."""
    return {**({"day_or": True} if "cron" in schedule.rule else {}), **schedule.rule}


def _filled_in(value: Any, variables: Mapping[str, JSON]) -> Any:
    """Return a default as Prefect fills it in; templates stay as they are."""
    if isinstance(value, list):
        return [_filled_in(each, variables) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("__prefect_kind") == "workspace_variable":
        return variables[str(value["variable_name"])]
    if value.get("__prefect_kind") == "json":
        return json.loads(str(value["value"]))
    if "__prefect_kind" in value:
        return value["template"]
    return {name: _filled_in(each, variables) for name, each in value.items()}


def _invalid_parameters(deployment: DeploymentRecord, values: Mapping[str, JSON]) -> str:
    """Return Prefect's reason against these parameters: it checks required names and JSON types only."""
    if "__prefect_kind" in json.dumps(values):
        raise AssertionError(
            "Prefect would fill in this __prefect_kind from its own data; it must not reach the server."
        )
    if not deployment.enforces_schema:
        return ""
    problem = best_match(Draft202012Validator(_nullable(deployment.parameter_schema)).iter_errors(dict(values)))
    if problem is None:
        return ""
    field = problem.json_path.replace("$.", "")
    place = "" if field == "$" else f" for field {field!r}"
    reason = f"Error creating flow run: Validation failed{place}. Failure reason: {problem.message}"
    return explain_response({"detail": reason})


def _nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Allow null for optional properties without a default, as Prefect does."""
    required = schema.get("required", [])
    properties = {
        key: {"anyOf": [each, {"type": "null"}]} if key not in required and "default" not in each else each
        for key, each in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties}
