"""One Prefect environment: what can be read of it, and the four things it can be asked to do."""

import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from urllib.parse import quote
from uuid import UUID

import httpx

from flows.prefect_api import events, parsing
from flows.prefect_api.pagination import ACTIVE, ENDED, LINES, PAGE, Paginator, chunks, utc
from flows.prefect_api.parsing import Raw
from flows.prefect_api.payload import check_payload, without_values
from flows.prefect_api.records import (
    JSON,
    TERMINAL,
    ArtifactRecord,
    Credential,
    DeploymentRecord,
    EventRecord,
    FlowRunRecord,
    LogRecord,
    NotFound,
    Rejected,
    ServerRecord,
    StateRecord,
    TaskRunRecord,
    Unauthorized,
    WorkerRecord,
    WorkPoolRecord,
)
from flows.prefect_api.transport import TransientError, Transport


class PrefectClient:
    """Speaks to one Prefect API with one credential. Threads may share it; processes may not."""

    def __init__(self, api_url: str, credential: Credential, *, transport: httpx.BaseTransport | None = None) -> None:
        self._wire = Transport(api_url, credential, transport=transport)
        self._pages = Paginator(self._wire)
        self._credential = credential

    def __repr__(self) -> str:
        return f"<PrefectClient {self._wire.url}>"

    def close(self) -> None:
        self._wire.close()

    # What can be run

    def health(self) -> ServerRecord:
        """Answers only if the address, the network and the credential are all good."""
        act = "get the server version"
        try:
            version = self._wire.read("GET", "/admin/version", act=act)
        except (NotFound, Rejected, Unauthorized):
            # A workspace of Prefect Cloud need not have a version; any list tells whether we are let in.
            self._pages.rows("/work_pools/filter", {"limit": 1}, act=act)
            version = ""
        if not isinstance(version, str):
            raise self._wire.not_prefect(200)
        return ServerRecord(version=version)

    def deployments(self) -> Iterator[DeploymentRecord]:
        """Every deployment, the newest first: names repeat over flows and would not tell two rows apart."""
        act = "list the deployments"
        names: dict[UUID, str] = {}
        for page in self._pages.by_offset("/deployments/filter", {"sort": "CREATED_DESC"}, act=act):
            names |= self._flow_names({self._flow_id(raw) for raw in page} - names.keys())
            for raw in page:
                yield self._pages.record(parsing.deployment, raw, names.get(self._flow_id(raw), ""))

    def deployment(self, deployment_id: UUID) -> DeploymentRecord:
        raw = self._wire.read("GET", f"/deployments/{deployment_id}", act=f"read deployment {deployment_id}")
        if not isinstance(raw, dict):
            raise self._wire.not_prefect(200)
        flow_id = self._flow_id(raw)
        return self._pages.record(parsing.deployment, raw, self._flow_names({flow_id}).get(flow_id, ""))

    def work_pools(self) -> list[WorkPoolRecord]:
        pages = self._pages.by_offset("/work_pools/filter", {}, act="list the work pools")
        pools = [raw for page in pages for raw in page]
        return [self._pages.record(parsing.work_pool, raw, self._workers(str(raw.get("name", "")))) for raw in pools]

    # What happened

    def flow_runs(self, ids: Sequence[UUID]) -> list[FlowRunRecord]:
        """These flow runs, in no order; those that Prefect no longer has are simply absent."""
        return [
            self._pages.record(parsing.flow_run, raw) for some in chunks(ids) for raw in self._flow_runs_of_chunk(some)
        ]

    def active_flow_runs(self) -> Iterator[FlowRunRecord]:
        """Everything that has not ended, the longest running first and the far future last."""
        ended: list[JSON] = [*sorted(TERMINAL)]
        return self._pages.by_time(
            ACTIVE, {"state": {"type": {"not_any_": ended}}}, act="list the flow runs that have not ended"
        )

    def flow_runs_ended_since(self, since: datetime) -> Iterator[FlowRunRecord]:
        """The last to end comes first; those that ended at `since` itself are included."""
        return self._pages.by_time(
            ENDED, {"end_time": {"after_": utc(since)}}, act="list the flow runs that ended lately"
        )

    def states(self, flow_run_id: UUID) -> list[StateRecord]:
        """All states of a flow run, oldest first; empty if Prefect does not have the run."""
        answer = self._wire.read(
            "GET",
            "/flow_run_states/",
            params={"flow_run_id": str(flow_run_id)},
            act=f"read the states of flow run {flow_run_id}",
        )
        found = [self._pages.record(parsing.state, raw) for raw in self._pages.listed(answer)]
        return sorted(found, key=lambda each: each.timestamp)

    def task_runs(self, flow_run_ids: Sequence[UUID]) -> list[TaskRunRecord]:
        """All task runs of these flow runs in the order they started; what has not started comes last."""
        found = [
            self._pages.record(parsing.task_run, raw)
            for some in chunks(flow_run_ids)
            for page in self._pages.by_offset(
                "/task_runs/filter",
                {"task_runs": {"flow_run_id": {"any_": some}}, "sort": "ID_DESC"},
                act=f"read the task runs of {len(some)} flow runs",
            )
            for raw in page
        ]
        return sorted(found, key=in_order_of_start)

    def artifacts(self, flow_run_ids: Sequence[UUID]) -> list[ArtifactRecord]:
        """Everything these flow runs left to be looked at, oldest first."""
        found = [
            self._pages.record(parsing.artifact, raw)
            for some in chunks(flow_run_ids)
            for page in self._pages.by_offset(
                "/artifacts/filter",
                {"artifacts": {"flow_run_id": {"any_": some}}, "sort": "ID_DESC"},
                act=f"read the artifacts of {len(some)} flow runs",
            )
            for raw in page
        ]
        return sorted(found, key=lambda each: (each.created_at or parsing.EPOCH, each.id))

    def logs(
        self, flow_run_ids: Sequence[UUID], *, after: datetime | None = None, limit: int = 1000
    ) -> list[LogRecord]:
        """The first `limit` lines from `after` on, oldest first. Lines of that very instant come again: keep by id."""
        found: list[LogRecord] = []
        for some in chunks(flow_run_ids):
            where: dict[str, JSON] = {"flow_run_id": {"any_": some}}
            if after is not None:
                where["timestamp"] = {"after_": utc(after)}
            lines = self._pages.by_time(LINES, where, act=f"read the logs of {len(some)} flow runs")
            found.extend(islice(lines, limit))
        return sorted(found, key=lambda line: line.timestamp)[:limit]

    def events(self) -> AsyncGenerator[EventRecord]:
        """Nudges as they happen, from a minute ago on, until the stream ends: that is always a PrefectError."""
        return events.listen(self._wire.url, self._credential)

    # What Prefect can be asked to do

    def create_flow_run(
        self,
        deployment_id: UUID,
        *,
        parameters: Mapping[str, JSON],
        idempotency_key: str,
        name: str | None,
        tags: Sequence[str],
        scheduled_for: datetime | None,
    ) -> FlowRunRecord:
        """A flow run of a deployment, or the one that this key made before: compare what comes back.

        The body is an allow-list. Prefect takes more, such as job variables and work queues, and we never send it.
        """
        act = f"start a flow run of deployment {deployment_id}"
        body: dict[str, JSON] = {
            "parameters": dict(parameters),
            "idempotency_key": idempotency_key,
            "tags": [*tags],
        }
        if name is not None:
            body["name"] = name
        if scheduled_for is not None:
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": utc(scheduled_for)}}
        check_payload(body, where=self._wire.where, act=act)
        path = f"/deployments/{deployment_id}/create_flow_run"
        answer = self._wire.write(path, body, act=act, quiet=without_values(body["parameters"]))
        try:
            return parsing.flow_run(answer if isinstance(answer, dict) else {})
        except parsing.Unreadable:
            raise self._wire.uncertain(act, "Unreadable response", code="response.unreadable") from None

    def cancel(self, flow_run_id: UUID, *, force: bool = False) -> None:
        """Ask for CANCELLING. The answer is no proof either way: believe only the state read afterwards.

        `force` sets CANCELLED, whatever the process does: it goes on if it is alive, and may end as COMPLETED later.
        """
        body: JSON = {"state": {"type": "CANCELLED" if force else "CANCELLING"}, "force": force}
        self._wire.write(f"/flow_runs/{flow_run_id}/set_state", body, act=f"cancel flow run {flow_run_id}")

    def postpone(self, flow_run_id: UUID, until: datetime, why: str) -> None:
        """Give a run that has not begun another time. Prefect keeps the first one as its expected start."""
        details: JSON = {"scheduled_time": utc(until)}
        body: JSON = {"state": {"type": "SCHEDULED", "message": why, "state_details": details}}
        self._wire.write(f"/flow_runs/{flow_run_id}/set_state", body, act=f"postpone flow run {flow_run_id}")

    def set_paused(self, deployment_id: UUID, paused: bool) -> None:
        """Stop or go on with a deployment's schedules. Pausing deletes the runs that its schedules have planned."""
        verb = "pause" if paused else "resume"
        path = f"/deployments/{deployment_id}/{verb}_deployment"
        self._wire.write(path, None, act=f"{verb} deployment {deployment_id}")

    def _flow_runs_of_chunk(self, ids: list[JSON]) -> list[Raw]:
        body: JSON = {"flow_runs": {"id": {"any_": ids}}, "limit": PAGE}
        try:
            return self._pages.rows("/flow_runs/filter", body, act=f"read {len(ids)} flow runs")
        except TransientError:
            # One run that no list can show; alone, Prefect can. A run left out here would be taken for deleted.
            return [raw for each in ids if (raw := self._flow_run_alone(each)) is not None]

    def _flow_run_alone(self, flow_run_id: JSON) -> Raw | None:
        try:
            raw = self._wire.read("GET", f"/flow_runs/{flow_run_id}", act=f"read flow run {flow_run_id}")
        except NotFound:
            return None
        if not isinstance(raw, dict):
            raise self._wire.not_prefect(200)
        return raw

    def _flow_id(self, raw: Raw) -> UUID:
        return self._pages.record(parsing.identity, raw, "flow_id")

    def _flow_names(self, flow_ids: Iterable[UUID]) -> dict[UUID, str]:
        return {
            self._pages.record(parsing.identity, raw, "id"): str(raw.get("name", ""))
            for some in chunks(flow_ids)
            for raw in self._pages.rows(
                "/flows/filter", {"flows": {"id": {"any_": some}}, "limit": PAGE}, act="read the names of the flows"
            )
        }

    def _workers(self, pool: str) -> tuple[WorkerRecord, ...]:
        path = f"/work_pools/{quote(pool, safe='')}/workers/filter"
        try:
            pages = list(self._pages.by_offset(path, {}, act=f"list the workers of work pool {pool}"))
        except NotFound:
            return ()  # the pool was deleted since it was listed
        return tuple(self._pages.record(parsing.worker, raw) for page in pages for raw in page)


def in_order_of_start(run: TaskRunRecord) -> tuple[bool, float, UUID]:
    return run.started_at is None, run.started_at.timestamp() if run.started_at else 0.0, run.id


# The process id is part of the key: a forked child may not go on with its parent's connections.
_open_client: dict[tuple[int, str, Credential], PrefectClient] = {}


def for_environment(api_url: str, credential: Credential) -> PrefectClient:
    """The one client of this process for this address with this credential; a second one would cost 35 ms."""
    key = (os.getpid(), api_url, credential)
    if key not in _open_client:
        _open_client.setdefault(key, PrefectClient(api_url, credential))
    return _open_client[key]
