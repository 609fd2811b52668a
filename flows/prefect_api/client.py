"""The client of one Prefect environment: reads, and the calls that change something."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import httpx

from flows import plain_text
from flows.prefect_api import events, limit_calls, parsing, pool_calls
from flows.prefect_api.pagination import ACTIVE, ENDED, LINES, PAGE, Paginator, chunks, utc
from flows.prefect_api.parsing import Raw
from flows.prefect_api.payload import check_payload, without_values
from flows.prefect_api.records import (
    JSON,
    TERMINAL,
    ArtifactRecord,
    AutomationRecord,
    Credential,
    DeploymentRecord,
    EventRecord,
    FlowRunRecord,
    GlobalLimitRecord,
    LogRecord,
    NewFlowRun,
    NotFound,
    Rejected,
    ScheduleRecord,
    ServerRecord,
    StateRecord,
    TaskRunRecord,
    Unauthorized,
    WorkPoolRecord,
)
from flows.prefect_api.transport import TransientError, Transport


class PrefectClient:
    """Client of one Prefect API with one credential. Threads may share it; processes must not."""

    def __init__(self, api_url: str, credential: Credential, *, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = Transport(api_url, credential, transport=transport)
        self._pages = Paginator(self._transport)
        self._credential = credential
        self._names: dict[UUID, str] = {}

    def __repr__(self) -> str:
        return f"<PrefectClient {self._transport.url}>"

    def close(self) -> None:
        self._transport.close()

    # What can be run

    def health(self) -> ServerRecord:
        """Return the server's version. Succeeds only if the URL, the network and the credential are all valid."""
        act = "get the server version"
        # Not /health: it answers without a credential, and under a URL without /api the UI answers it with 200.
        try:
            version = self._transport.read("GET", "/admin/version", act=act)
        except (NotFound, Rejected, Unauthorized):
            # A workspace of Prefect Cloud may have no version; any list shows whether the credential is accepted.
            self._pages.rows("/work_pools/filter", {"limit": 1}, act=act)
            version = ""
        if not isinstance(version, str):
            raise self._transport.not_prefect(200)
        return ServerRecord(version=version)

    def deployments(self) -> Iterator[DeploymentRecord]:
        """Yield every deployment, newest first.

        Not sorted by name: names repeat across flows, and paging by offset needs an order that tells rows apart.
        """
        return self._deployments("CREATED_DESC")

    def deployments_changed_since(self, since: datetime) -> Iterator[DeploymentRecord]:
        """Yield the deployments that were changed at `since` or later, the last change first.

        Prefect counts neither a new status nor an edited schedule as a change, and does not list what was deleted.
        """
        for record in self._deployments("UPDATED_DESC"):
            if record.updated_at is not None and record.updated_at < since:
                return
            yield record

    def _deployments(self, sort: str) -> Iterator[DeploymentRecord]:
        act = "list the deployments"
        names: dict[UUID, str] = {}
        for page in self._pages.by_offset("/deployments/filter", {"sort": sort}, act=act):
            # A deployment carries only the id of its flow: one more call a page, not one a deployment.
            names |= self._flow_names({self._flow_id(raw) for raw in page} - names.keys())
            for raw in page:
                yield self._pages.record(parsing.deployment, raw, names.get(self._flow_id(raw), ""))

    def deployment(self, deployment_id: UUID) -> DeploymentRecord:
        """Return one deployment; raise `NotFound` if Prefect no longer has it."""
        raw = self._transport.read("GET", f"/deployments/{deployment_id}", act=f"read deployment {deployment_id}")
        if not isinstance(raw, dict):
            raise self._transport.not_prefect(200)
        flow_id = self._flow_id(raw)
        return self._pages.record(parsing.deployment, raw, self._flow_names({flow_id}).get(flow_id, ""))

    def work_pools(self) -> list[WorkPoolRecord]:
        """Return every work pool with its workers and queues: one call for each pool besides the lists."""
        return pool_calls.read_all(self._pages)

    def work_pool(self, name: str) -> WorkPoolRecord:
        """Return one work pool, without its workers and queues; raise `NotFound` if Prefect no longer has it."""
        raw = self._transport.read("GET", pool_calls.pool_path(name), act=f"read work pool {name}")
        if not isinstance(raw, dict):
            raise self._transport.not_prefect(200)
        return self._pages.record(parsing.work_pool, raw)

    def global_limits(self) -> list[GlobalLimitRecord]:
        """Return every global concurrency limit, those of tags among them, without those of deployments."""
        return limit_calls.read_all(self._pages)

    def automations(self) -> list[AutomationRecord]:
        """Return every automation, with those of its actions that start runs."""
        pages = self._pages.by_offset("/automations/filter", {"sort": "CREATED_DESC"}, act="list the automations")
        return [self._pages.record(parsing.automation, raw) for page in pages for raw in page]

    # What happened

    def flow_runs(self, ids: Sequence[UUID]) -> list[FlowRunRecord]:
        """Return these flow runs in no particular order; those deleted in Prefect are absent."""
        return [
            self._pages.record(parsing.flow_run, raw)
            for chunk in chunks(ids)
            for raw in self._flow_runs_of_chunk(chunk)
        ]

    def active_flow_runs(self) -> Iterator[FlowRunRecord]:
        """Yield the flow runs that have not ended, the longest running first, the far future last."""
        # By type and not by name: flows give their states names of their own. A type that a newer Prefect invents is
        # read as active, which costs a row in the list; read as ended, its run would never be refreshed.
        ended: list[JSON] = [*sorted(TERMINAL)]
        return self._pages.by_time(ACTIVE, {"state": {"type": {"not_any_": ended}}}, act="list the active flow runs")

    def flow_runs_ended_since(self, since: datetime, *, until: datetime | None = None) -> Iterator[FlowRunRecord]:
        """Yield the flow runs that ended at `since` or later, and not after `until`, the last to end first."""
        bounds: dict[str, JSON] = {"after_": utc(since)}
        if until is not None:
            bounds["before_"] = utc(until)
        return self._pages.by_time(ENDED, {"end_time": bounds}, act="list the ended flow runs")

    def states(self, flow_run_id: UUID) -> list[StateRecord]:
        """Return all states of a flow run, oldest first; empty if Prefect does not have the run."""
        answer = self._transport.read(
            "GET",
            "/flow_run_states/",
            params={"flow_run_id": str(flow_run_id)},
            act=f"read the states of flow run {flow_run_id}",
        )
        found = [self._pages.record(parsing.state, raw) for raw in self._pages.listed(answer)]
        return sorted(found, key=lambda each: each.timestamp)

    def task_runs(self, flow_run_ids: Sequence[UUID]) -> list[TaskRunRecord]:
        """Return all task runs of these flow runs in the order they started; those not started come last."""
        # Read by id and sorted here: no sort of Prefect has a tie-breaker, so offsets by time would skip rows.
        found = [
            self._pages.record(parsing.task_run, raw)
            for chunk in chunks(flow_run_ids)
            for page in self._pages.by_offset(
                "/task_runs/filter",
                {"task_runs": {"flow_run_id": {"any_": chunk}}, "sort": "ID_DESC"},
                act=f"read the task runs of {len(chunk)} flow runs",
            )
            for raw in page
        ]
        return sorted(found, key=start_order)

    def task_run_states(self, task_run_id: UUID) -> list[StateRecord]:
        """Return all states of a task run, oldest first; empty if Prefect does not have it."""
        answer = self._transport.read(
            "GET",
            "/task_run_states/",
            params={"task_run_id": str(task_run_id)},
            act=f"read the states of task run {task_run_id}",
        )
        found = [self._pages.record(parsing.state, raw) for raw in self._pages.listed(answer)]
        return sorted(found, key=lambda each: each.timestamp)

    def flow_runs_of_tasks(self, task_run_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        """Return the flow runs that these task runs belong to; those deleted in Prefect are absent."""
        found = [
            self._pages.record(parsing.task_run, raw)
            for chunk in chunks(task_run_ids)
            for raw in self._pages.rows(
                "/task_runs/filter",
                {"task_runs": {"id": {"any_": chunk}}, "limit": PAGE},
                act=f"read {len(chunk)} task runs",
            )
        ]
        return {record.id: record.flow_run_id for record in found if record.flow_run_id}

    def flow_names(self, flow_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Return the names of these flows; a flow keeps its name, so each is asked for once."""
        wanted = set(flow_ids)
        if unknown := wanted - self._names.keys():
            self._names |= self._flow_names(unknown)
        return {each: self._names[each] for each in wanted if each in self._names}

    def artifacts(self, flow_run_ids: Sequence[UUID]) -> list[ArtifactRecord]:
        """Return the artifacts of these flow runs, oldest first."""
        found = [
            self._pages.record(parsing.artifact, raw)
            for chunk in chunks(flow_run_ids)
            for page in self._pages.by_offset(
                "/artifacts/filter",
                {"artifacts": {"flow_run_id": {"any_": chunk}}, "sort": "ID_DESC"},
                act=f"read the artifacts of {len(chunk)} flow runs",
            )
            for raw in page
        ]
        return sorted(found, key=lambda each: (each.created_at or parsing.EPOCH, each.id))

    def logs(self, flow_run_id: UUID, *, after: datetime | None = None) -> Iterator[LogRecord]:
        """Yield every line from `after` on, oldest first.

        `after` is inclusive, because lines can share an instant: the caller drops by id those it has already.
        """
        where: dict[str, JSON] = {"flow_run_id": {"any_": [str(flow_run_id)]}}
        if after is not None:
            where["timestamp"] = {"after_": utc(after)}
        return self._pages.by_time(LINES, where, act=f"read the log of flow run {flow_run_id}")

    def newest_lines(self, flow_run_ids: Sequence[UUID], *, since: datetime) -> list[LogRecord]:
        """Return the newest lines of these flow runs together, one page: some runs may be absent."""
        act = f"look for new log lines of {len(flow_run_ids)} flow runs"
        where: JSON = {
            "flow_run_id": {"any_": [str(each) for each in flow_run_ids]},
            "timestamp": {"after_": utc(since)},
        }
        rows = self._pages.rows("/logs/filter", {"logs": where, "sort": "TIMESTAMP_DESC", "limit": PAGE}, act=act)
        return [self._pages.record(parsing.log, raw) for raw in rows]

    def heartbeats(self, flow_run_ids: Sequence[UUID], *, since: datetime) -> dict[UUID, datetime]:
        """Return the last heartbeats of these flow runs, from one page of the newest: some runs may be absent."""
        body = events.heartbeat_filter(flow_run_ids, utc(since))
        act = f"read the heartbeats of {len(flow_run_ids)} flow runs"
        answer = self._transport.read("POST", "/events/filter", body, act=act)
        beats = self._pages.listed(answer.get("events") if isinstance(answer, dict) else None)
        # Newest first in the page, so that the last one written of each run must be its newest.
        return dict(beat for raw in reversed(beats) if (beat := parsing.heartbeat(raw)))

    def events(self) -> AsyncGenerator[EventRecord]:
        """Yield events as they happen, starting a minute ago, until the stream ends with a `PrefectError`."""
        return events.listen(self._transport.url, self._credential)

    def log_hints(self) -> AsyncGenerator[UUID]:
        """Yield the flow run of each log line as it arrives, where the server is set up for that."""
        return events.listen_to_logs(self._transport.url, self._credential)

    # What changes something in Prefect

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
        """Create a flow run of a deployment, or return the run that this key created before.

        With a repeated key Prefect ignores the new parameters, so the caller compares what comes back. Keys are unique
        per flow, not per deployment: a key must contain the deployment's id. Prefect creates a work queue that it does
        not know.
        """
        act = f"start a flow run of deployment {deployment_id}"
        run = NewFlowRun(
            parameters, idempotency_key, name, tuple(tags), scheduled_for, dict(job_variables or {}), work_queue_name
        )
        body = create_body(run)
        check_payload(body, where=self._transport.where, act=act)
        path = f"/deployments/{deployment_id}/create_flow_run"
        answer = self._transport.write(path, body, act=act, hidden=without_values(body["parameters"]))
        try:
            return parsing.flow_run(answer if isinstance(answer, dict) else {})
        except parsing.Unreadable:
            # The run may exist although its answer is damaged.
            raise self._transport.uncertain(act, "Unreadable response", code="response.unreadable") from None

    def create_flow_runs(self, deployment_id: UUID, runs: Sequence[NewFlowRun]) -> list[UUID | None]:
        """Create flow runs of a deployment in one call: in order, the id that Prefect gives, None for one that failed.

        An id is a claim, not a result: Prefect answers with the id of an earlier run for a key that was used before,
        and after an error in its database ids of runs that it never stores. The caller reads them back. Raises
        `Rejected` where Prefect has no such call, and for all runs together whatever a single create raises.
        """
        act = f"start {len(runs)} flow runs of deployment {deployment_id}"
        bodies: list[JSON] = [create_body(run) for run in runs]
        check_payload(bodies, where=self._transport.where, act=act)
        hidden = frozenset().union(*(without_values(dict(run.parameters)) for run in runs))
        path = f"/deployments/{deployment_id}/create_flow_run/bulk"
        answer = self._transport.write(path, bodies, act=act, hidden=hidden)
        found = parsing.created(answer if isinstance(answer, dict) else {})
        if len(found) != len(runs):
            raise self._transport.uncertain(act, "Unreadable response", code="response.unreadable")
        return found

    def cancel(self, flow_run_id: UUID, *, force: bool = False) -> None:
        """Request CANCELLING; with `force` set CANCELLED, even if nothing stops the process.

        A forced run whose process is alive goes on, and may become COMPLETED later.
        """
        # The response is not used. Prefect answers REJECT for a scheduled run that it does cancel, and ACCEPT for a
        # running one that may have no worker left to stop it: only the state read afterwards counts.
        body: JSON = {"state": {"type": "CANCELLED" if force else "CANCELLING"}, "force": force}
        self._transport.write(f"/flow_runs/{flow_run_id}/set_state", body, act=f"cancel flow run {flow_run_id}")

    def reschedule(self, flow_run_id: UUID, at: datetime, why: str) -> None:
        """Set SCHEDULED: for a run that no process has started. Prefect keeps the first time as its expected start."""
        details: JSON = {"scheduled_time": utc(at)}
        body: JSON = {"state": {"type": "SCHEDULED", "message": why, "state_details": details}}
        self._transport.write(f"/flow_runs/{flow_run_id}/set_state", body, act=f"reschedule flow run {flow_run_id}")

    def retry(self, flow_run_id: UUID, at: datetime, why: str) -> None:
        """Set AwaitingRetry, as Prefect's own pages do: a run that has ended starts again under its id."""
        details: JSON = {"scheduled_time": utc(at)}
        state: JSON = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": why, "state_details": details}
        self._transport.write(
            f"/flow_runs/{flow_run_id}/set_state", {"state": state}, act=f"retry flow run {flow_run_id}"
        )

    def set_failed(self, flow_run_id: UUID, why: str) -> None:
        """Set FAILED whatever the run is doing; a process that is alive goes on, and may overwrite it later."""
        body: JSON = {"state": {"type": "FAILED", "message": why}, "force": True}
        self._transport.write(f"/flow_runs/{flow_run_id}/set_state", body, act=f"mark flow run {flow_run_id} as failed")

    def set_paused(self, deployment_id: UUID, paused: bool) -> None:
        """Pause or resume a deployment's schedules. Pausing deletes the runs that they have planned."""
        # The two routes leave schedules and parameters alone; a PATCH with `schedules` would replace them all.
        verb = "pause" if paused else "resume"
        path = f"/deployments/{deployment_id}/{verb}_deployment"
        self._transport.write(path, None, act=f"{verb} deployment {deployment_id}")

    def save_schedule(self, deployment_id: UUID, schedule: ScheduleRecord, *, is_new: bool) -> None:
        """Create a schedule of a deployment, or change the one with this id; others of the deployment stay.

        The slug of a deployment's schedule is unique: what is created twice is refused the second time. Prefect deletes
        the runs that it has planned for the deployment when one is changed, and plans them again.
        """
        # Always all of it: Prefect empties the parameters of a change that does not name them.
        body: dict[str, JSON] = {
            "slug": schedule.slug,
            "schedule": schedule.rule,
            "active": schedule.is_active,
            "parameters": schedule.parameters,
        }
        path, act = f"/deployments/{deployment_id}/schedules", f"save schedule {schedule.slug}"
        hidden = without_values(schedule.parameters)
        if is_new:
            self._transport.write(path, [body], act=act, hidden=hidden)
        else:
            self._transport.write(f"{path}/{schedule.id}", body, act=act, hidden=hidden, method="PATCH")

    def switch_schedule(self, deployment_id: UUID, schedule: ScheduleRecord, *, is_active: bool) -> None:
        """Pause or resume one schedule of a deployment; its rule, slug and other columns stay.

        `schedule` is what Prefect has. Prefect deletes the runs that it has planned for the deployment, and plans those
        of its active schedules again.
        """
        # With its parameters, which Prefect empties if they are not named; what else is not named stays.
        body: JSON = {"active": is_active, "parameters": schedule.parameters}
        path, hidden = f"/deployments/{deployment_id}/schedules/{schedule.id}", without_values(schedule.parameters)
        act = f"{'resume' if is_active else 'pause'} schedule {schedule.id}"
        self._transport.write(path, body, act=act, hidden=hidden, method="PATCH")

    def delete_schedule(self, deployment_id: UUID, schedule_id: UUID) -> None:
        """Delete one schedule of a deployment, with the runs that Prefect has planned for the deployment."""
        path = f"/deployments/{deployment_id}/schedules/{schedule_id}"
        self._transport.write(path, None, act=f"delete schedule {schedule_id}", method="DELETE")

    def update_work_pool(self, name: str, changes: Mapping[str, JSON]) -> None:
        """Set `is_paused` or `concurrency_limit` of a work pool; what is not given stays."""
        pool_calls.change(self._transport, name, changes)

    def update_work_queue(self, pool: str, name: str, changes: Mapping[str, JSON]) -> None:
        """Set `is_paused`, `concurrency_limit` or `priority` of a work queue; what is not given stays."""
        pool_calls.change_queue(self._transport, pool, name, changes)

    def update_global_limit(self, limit_id: UUID, changes: Mapping[str, JSON]) -> None:
        """Set `concurrency_limit` or `is_active` of a global limit; what is not given stays, slots in use too."""
        limit_calls.change(self._transport, limit_id, changes)

    def create_global_limit(self, name: str, columns: Mapping[str, JSON]) -> None:
        """Create a global limit, or that of a tag, with `concurrency_limit`, `is_active`, `slot_decay_per_second`."""
        limit_calls.create(self._transport, name, columns)

    def delete_global_limit(self, limit_id: UUID) -> None:
        """Delete a global limit, also while its slots are in use; deployments that share it have no limit then."""
        limit_calls.delete(self._transport, limit_id)

    def set_deployment_limit(self, deployment_id: UUID, limit: int | None, options: Mapping[str, JSON]) -> None:
        """Set the concurrency limit of a deployment, None for none, and all of its concurrency options.

        Never of one that shares a global limit: Prefect would change that, or delete it, for all that use it.
        """
        # Without `schedules`, which would replace them all. Options that are left out of the object are reset.
        body: JSON = {"concurrency_limit": limit, **({"concurrency_options": dict(options)} if options else {})}
        act = f"set the concurrency limit of deployment {deployment_id}"
        self._transport.write(f"/deployments/{deployment_id}", body, act=act, method="PATCH")

    def _flow_runs_of_chunk(self, ids: list[JSON]) -> list[Raw]:
        body: JSON = {"flow_runs": {"id": {"any_": ids}}, "limit": PAGE}
        try:
            return self._pages.rows("/flow_runs/filter", body, act=f"read {len(ids)} flow runs")
        except TransientError:
            # One run that no list can show; alone, Prefect can. A run left out here would be taken for deleted.
            return [raw for each in ids if (raw := self._single_flow_run(each)) is not None]

    def _single_flow_run(self, flow_run_id: JSON) -> Raw | None:
        try:
            raw = self._transport.read("GET", f"/flow_runs/{flow_run_id}", act=f"read flow run {flow_run_id}")
        except NotFound:
            return None
        if not isinstance(raw, dict):
            raise self._transport.not_prefect(200)
        return raw

    def _flow_id(self, raw: Raw) -> UUID:
        return self._pages.record(parsing.identity, raw, "flow_id")

    def _flow_names(self, flow_ids: Iterable[UUID]) -> dict[UUID, str]:
        return {
            self._pages.record(parsing.identity, raw, "id"): plain_text.name(str(raw.get("name", "")))
            for chunk in chunks(flow_ids)
            for raw in self._pages.rows(
                "/flows/filter", {"flows": {"id": {"any_": chunk}}, "limit": PAGE}, act="read the names of the flows"
            )
        }


def create_body(run: NewFlowRun) -> dict[str, JSON]:
    """Return the body of a create.

    An allow-list. Job variables, which could run other code, and a work queue, which Prefect creates silently when it
    does not know its name, come from a resource profile alone.
    """
    body: dict[str, JSON] = {
        "parameters": dict(run.parameters),
        "idempotency_key": run.idempotency_key,
        "tags": [*run.tags],
    }
    # Left out and not sent as null: Prefect then generates a name, and starts the run at once.
    if run.name is not None:
        body["name"] = run.name
    if run.job_variables:
        body["job_variables"] = dict(run.job_variables)
    if run.work_queue_name:
        body["work_queue_name"] = run.work_queue_name
    if run.scheduled_for is not None:
        body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": utc(run.scheduled_for)}}
    return body


def start_order(run: TaskRunRecord) -> tuple[bool, float, UUID]:
    """Sort key of task runs: by start, then id; those not started last."""
    return run.started_at is None, run.started_at.timestamp() if run.started_at else 0.0, run.id
