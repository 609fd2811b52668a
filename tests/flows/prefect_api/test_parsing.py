"""What the client makes of Prefect's answers: old ones, new ones, long ones and half-broken ones."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from flows.prefect_api import parsing
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.pagination import PAGE
from flows.prefect_api.parsing import event
from flows.prefect_api.records import JSON, Credential, EventRecord, Unreachable
from flows.prefect_api.schedule_text import describe

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TOO_LARGE = "too large"


def client_of(handler: Callable[[httpx.Request], httpx.Response]) -> PrefectClient:
    return PrefectClient("http://prefect.test/api", Credential(), transport=httpx.MockTransport(handler))


def flow_run(**fields: JSON) -> dict[str, JSON]:
    return {"id": str(uuid4()), "flow_id": str(uuid4()), "name": "run", **fields}


def answering(answer: JSON) -> PrefectClient:
    return client_of(lambda request: httpx.Response(200, json=answer))


class Lists:
    """Prefect's lists as far as their pages go: time bounds, a sorting without a tie-breaker, limit and offset."""

    FIELDS = {"START_TIME_ASC": "start_time", "END_TIME_DESC": "end_time", "TIMESTAMP_ASC": "timestamp"}

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        body = json.loads(request.content)
        kind = request.url.path.split("/")[-2]
        field = self.FIELDS.get(body["sort"], "created")
        bounds = body.get(kind, {}).get(field, {})
        # A database is free to return equal rows in another order each time; this one makes use of it.
        found = sorted(self.rows, key=lambda row: hash((row["id"], self.calls)))
        found = [row for row in found if bounds.get("after_", "0") <= row[field] <= bounds.get("before_", "9")]
        found.sort(key=lambda row: row[field], reverse=body["sort"].endswith("DESC"))
        page = found[body["offset"] : body["offset"] + body["limit"]]
        if any(row.get("parameters") == TOO_LARGE for row in page):
            return httpx.Response(500, json={"exception_message": "Internal Server Error"})
        return httpx.Response(200, json=page)


def at(minutes: int) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


# Pages


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 1000])
def test_a_list_by_time_holds_every_row_once(count: int) -> None:
    rows = [flow_run(start_time=at(minute)) for minute in range(count)]

    found = list(client_of(Lists(rows)).active_flow_runs())

    assert [str(run.id) for run in found] == [row["id"] for row in rows]


def test_runs_that_start_at_the_same_instant_are_not_lost_between_pages() -> None:
    # Every schedule fires at midnight: 150 rows, then 190 of one instant across the first page's end, then more.
    rows = [flow_run(start_time=at(minute)) for minute in [*range(150), *[200] * 190, *range(300, 400)]]

    found = [str(run.id) for run in client_of(Lists(rows)).active_flow_runs()]

    assert sorted(found) == sorted(str(row["id"]) for row in rows)


def test_the_latest_ends_come_first_and_nothing_older_than_asked() -> None:
    rows = [flow_run(end_time=at(minute)) for minute in range(500)]

    found = list(client_of(Lists(rows)).flow_runs_ended_since(NOON + timedelta(minutes=40)))

    assert [str(run.id) for run in found] == [row["id"] for row in reversed(rows[40:])]


def test_rows_of_one_instant_that_fill_many_pages_are_not_lost() -> None:
    moments = [*range(150), *[200] * 1250, *range(300, 400)]
    rows: list[dict[str, Any]] = [flow_run(start_time=at(minute)) for minute in moments]

    class Database(Lists):
        """Each page has its own order, as in Postgres: its first two rows and the two before change places."""

        def __call__(self, request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            bounds, first = body["flow_runs"].get("start_time", {}), body["offset"]
            low, high = bounds.get("after_", "0"), bounds.get("before_", "9")
            found = sorted((row for row in rows if low <= row["start_time"] <= high), key=lambda row: row["start_time"])
            if first:
                found[first - 2 : first + 2] = found[first : first + 2] + found[first - 2 : first]
            return httpx.Response(200, json=found[first : first + body["limit"]])

    found = [str(run.id) for run in client_of(Database(rows)).active_flow_runs()]
    assert len(found) == len(set(found)) == len(rows)


def test_a_log_is_read_page_by_page_as_far_as_it_is_asked_for() -> None:
    run = uuid4()
    rows = [{"id": str(uuid4()), "flow_run_id": str(run), "timestamp": at(minute)} for minute in range(450)]
    server = Lists(rows)

    assert len(list(islice(client_of(server).logs(run), 300))) == 300
    assert server.calls == 2


def test_a_deployment_deleted_while_the_pages_are_read_hides_no_other() -> None:
    rows = [
        {"id": str(uuid4()), "flow_id": str(UUID(int=1)), "name": f"{number}", "created": at(-number)}
        for number in range(450)
    ]
    server = Lists(list(rows))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/flows/filter"):
            return httpx.Response(200, json=[{"id": str(UUID(int=1)), "name": "etl"}])
        response = server(request)
        del server.rows[:5]
        return response

    found = list(client_of(answer).deployments())

    assert {record.name for record in found} >= {str(number) for number in range(10, 450)}
    assert len({record.id for record in found}) == len(found)
    assert {record.flow_name for record in found} == {"etl"}


def test_one_run_that_prefect_cannot_serialize_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    rows = [flow_run(start_time=at(minute)) for minute in range(500)]
    rows[123]["parameters"] = TOO_LARGE

    found = [str(run.id) for run in client_of(Lists(rows)).active_flow_runs()]

    assert found == [row["id"] for row in rows if row is not rows[123]]
    assert [record.levelname for record in caplog.records if record.name == "flows.prefect_api.pagination"] == [
        "WARNING"
    ]


def test_a_run_that_no_list_can_return_is_read_alone_and_not_taken_for_deleted() -> None:
    good, bad, gone = flow_run(), flow_run(parameters={"n": 2**70}), flow_run()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(500, json={"exception_message": "Internal Server Error"})
        for row in (good, bad):
            if request.url.path.endswith(str(row["id"])):
                return httpx.Response(200, json=row)
        return httpx.Response(404, json={"detail": "Flow run not found"})

    found = client_of(answer).flow_runs([UUID(str(row["id"])) for row in (good, bad, gone)])

    assert [str(run.id) for run in found] == [good["id"], bad["id"]]


def test_bisection_stops_at_a_server_that_always_fails() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(500, json={"exception_message": "Internal Server Error"})

    with pytest.raises(Unreachable) as failure:
        list(client_of(answer).active_flow_runs())
    assert (failure.value.code, failure.value.status) == ("server.error", 500)
    assert len(asked) < 50


# Records


def test_a_bare_run_is_read_with_empty_fields() -> None:
    (run,) = answering([flow_run()]).flow_runs([uuid4()])

    assert (run.state, run.deployment_id, run.idempotency_key, run.started_at) == (None, None, None, None)
    assert (run.parameters, run.tags, run.work_pool_name, run.run_count) == ({}, (), "", 0)


def test_a_state_and_fields_from_the_future_are_passed_on_or_passed_over() -> None:
    state: JSON = {
        "id": str(uuid4()),
        "type": "DREAMING",
        "name": "Dreaming",
        "timestamp": "2030-01-01T12:00:00Z",
        "x": 1,
    }
    raw = flow_run(state=state, new_field={"a": 1}, start_time="not a time", tags=None, total_run_time="much")

    (run,) = answering([raw]).flow_runs([uuid4()])

    assert run.state is not None
    assert (run.state.type, run.state.is_terminal, run.state.timestamp) == ("DREAMING", False, NOON)
    assert (run.started_at, run.tags, run.total_run_seconds) == (None, (), 0.0)


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    raw = flow_run(start_time="2030-01-01T13:00:00+01:00", end_time="2030-01-01T12:00:00")

    (run,) = answering([raw]).flow_runs([uuid4()])

    assert run.started_at == run.ended_at == NOON
    assert run.started_at.tzinfo is run.ended_at.tzinfo is UTC  # type: ignore[union-attr]  # equal to NOON


def test_a_task_run_served_from_the_cache_says_so() -> None:
    run = uuid4()
    raw: JSON = {"id": str(uuid4()), "flow_run_id": str(run), "state": {"type": "COMPLETED", "name": "Cached"}}

    (found,) = answering([raw]).task_runs([run])

    assert found.cached
    assert found.state_type == "COMPLETED"


def test_inputs_of_a_task_run_that_cannot_be_read_are_left_out() -> None:
    good, task = uuid4(), {"input_type": "task_run"}
    inputs: JSON = {
        "rows": [{**task, "id": str(good)}, {**task, "id": "none"}, task, "odd", {"input_type": "constant"}],
        "again": [{**task, "id": str(good)}, {"input_type": "flow_run", "id": str(uuid4())}],
        "odd": "text",
        "__parents__": [{**task, "id": str(uuid4())}],
    }
    raws: JSON = [{"id": str(uuid4()), "task_inputs": inputs}, {"id": str(uuid4()), "task_inputs": ["odd"]}]

    assert {each.upstream for each in answering(raws).task_runs([uuid4()])} == {(good,), ()}


def test_task_runs_come_in_the_order_they_started() -> None:
    starts = {"third": None, "second": at(2), "first": at(1)}
    raws: JSON = [{"id": str(uuid4()), "name": name, "start_time": start} for name, start in starts.items()]

    assert [each.name for each in answering(raws).task_runs([uuid4()])] == ["first", "second", "third"]


def test_work_pools_come_with_their_workers() -> None:
    pool: dict[str, JSON] = {"id": str(uuid4()), "name": "a pool", "type": "process", "concurrency_limit": 4}
    worker: JSON = {"id": str(uuid4()), "name": "w1", "status": "ONLINE", "last_heartbeat_time": at(0)}
    queues: list[JSON] = [
        {"id": str(uuid4()), "name": name, "work_pool_id": of, "priority": priority, "last_polled": at(1)}
        for name, priority, of in (("slow", 2, pool["id"]), ("fast", 1, pool["id"]), ("default", 1, str(uuid4())))
    ]
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        lists = {"workers": [worker], "work_queues": queues, "work_pools": [pool]}
        return httpx.Response(200, json=next(rows for name, rows in lists.items() if name in request.url.path))

    (found,) = client_of(answer).work_pools()

    assert (found.name, found.concurrency_limit, found.is_paused) == ("a pool", 4, False)
    assert [(each.name, each.is_online, each.last_heartbeat) for each in found.workers] == [("w1", True, NOON)]
    assert [(each.name, each.priority) for each in found.queues] == [("fast", 1), ("slow", 2)]
    assert found.queues[0].last_polled == datetime.fromisoformat(at(1))
    assert "/api/work_pools/a%20pool/workers/filter" in asked


def test_more_queues_than_one_page_are_read_pool_by_pool() -> None:
    pool: dict[str, JSON] = {"id": str(uuid4()), "name": "gpu", "type": "process"}
    queues: list[JSON] = [
        {"id": str(uuid4()), "name": f"q{n}", "work_pool_id": pool["id"], "priority": n + 1} for n in range(PAGE + 5)
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        if "workers" in request.url.path:
            return httpx.Response(200, json=[])
        if "queues" not in request.url.path:
            return httpx.Response(200, json=[pool])
        asked = json.loads(request.content)
        first = asked.get("offset", 0)
        return httpx.Response(200, json=queues[first : first + asked["limit"]])

    (found,) = client_of(answer).work_pools()

    assert [each.name for each in found.queues] == [f"q{n}" for n in range(PAGE + 5)]


@pytest.mark.parametrize(
    ("raw", "limit"),
    [
        ({"concurrency_limit": 2}, 2),
        ({"concurrency_limit": None, "global_concurrency_limit": {"limit": 3}}, 3),
        ({"concurrency_limit": None}, None),
    ],
)
def test_a_deployments_concurrency_limit_is_read_where_it_is_kept(raw: dict[str, JSON], limit: int | None) -> None:
    deployment: JSON = {"id": str(uuid4()), "flow_id": str(uuid4()), "name": "nightly", **raw}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=deployment if request.method == "GET" else [])

    assert client_of(answer).deployment(uuid4()).concurrency_limit == limit


# Schedules


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ({"cron": "0 6 * * *", "timezone": "Europe/Vienna", "day_or": True}, "cron 0 6 * * * (Europe/Vienna)"),
        ({"cron": "@daily", "timezone": None}, "cron @daily"),
        ({"interval": 3600.0, "timezone": "UTC"}, "every hour (UTC)"),
        ({"interval": 5400.0, "timezone": "UTC"}, "every 1 hour 30 minutes (UTC)"),
        ({"interval": 172800, "timezone": "UTC"}, "every 2 days (UTC)"),
        ({"rrule": "FREQ=DAILY"}, "every day"),
        ({"rrule": "DTSTART:20200101T000000\nFREQ=WEEKLY;BYDAY=MO,FR"}, "every week on Monday, Friday"),
        (
            {"rrule": "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=6;BYMINUTE=5", "timezone": "UTC"},
            "every 2 weeks on Monday at 06:05 (UTC)",
        ),
        ({"rrule": "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3"}, "every month on day -1 3 times"),
        ({"rrule": "FREQ=DAILY;BYSETPOS=1"}, "rule FREQ=DAILY;BYSETPOS=1"),
        ({"rrule": "FREQ=HOURLY;BYMINUTE=30"}, "rule FREQ=HOURLY;BYMINUTE=30"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=1MO"}, "rule FREQ=MONTHLY;BYDAY=1MO"),
        ({"rrule": "FREQ=DAILY\nEXDATE:20300101T000000"}, "rule FREQ=DAILY EXDATE:20300101T000000"),
        ({"moon": "full"}, "unknown kind of schedule"),
    ],
)
def test_a_schedule_is_text_for_people(schedule: dict[str, JSON], text: str) -> None:
    assert describe(schedule) == text


# Events


RUN = uuid4()
THE_RUN: JSON = {"prefect.resource.id": f"prefect.flow-run.{RUN}", "prefect.resource.role": "flow-run"}
PARENT: JSON = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}", "prefect.resource.role": "parent-flow-run"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"event": "prefect.flow-run.Running", "resource": {"prefect.resource.id": f"prefect.flow-run.{RUN}"}},
            EventRecord(RUN, "prefect.flow-run.Running"),
        ),
        (
            {
                "event": "prefect.task-run.Completed",
                "resource": {"prefect.resource.id": f"prefect.task-run.{uuid4()}"},
                "related": [{"prefect.resource.id": "prefect.tag.a"}, PARENT, THE_RUN],
            },
            EventRecord(RUN, "prefect.task-run.Completed"),
        ),
        ({"event": "prefect.task-run.Completed", "resource": {"prefect.resource.id": "prefect.task-run.x"}}, None),
        ({"event": "prefect.flow-run.Running", "resource": {"prefect.resource.id": "prefect.flow-run.x"}}, None),
        ({"event": "prefect.work-pool.ready", "related": [THE_RUN]}, None),
        ({}, None),
    ],
)
def test_an_event_names_the_flow_run_it_is_about(raw: dict[str, JSON], expected: EventRecord | None) -> None:
    assert event(raw) == expected


# Text


EVIL = "\x1b[31mred\x1b[0m\r\u202egnp"


def test_what_people_read_is_clean_when_it_comes_in() -> None:
    ids = {"id": str(uuid4()), "flow_id": str(uuid4())}
    state = {"id": str(uuid4()), "type": "FAILED", "name": EVIL, "message": EVIL}
    run = parsing.flow_run({**ids, "name": EVIL, "tags": [EVIL], "state": state})
    task = parsing.task_run({**ids, "name": EVIL, "state": state})
    found = parsing.deployment({**ids, "name": EVIL, "description": EVIL, "tags": [EVIL]}, "flow")
    artifact = parsing.artifact({**ids, "key": EVIL, "description": EVIL})
    line = parsing.log({**ids, "message": EVIL})
    assert run.state is not None
    prose = [run.state.message, task.message, found.description, artifact.description, line.message]
    assert prose == ["red\ngnp"] * 5
    assert [run.name, run.state.name, task.name, task.state_name] == ["red gnp"] * 4
    for name in (found.name, artifact.key, *run.tags, *found.tags):
        assert not set(name) & set("\x1b\r\u202e")
        assert len(name) == len(EVIL)


def test_what_is_compared_or_sent_back_stays_exact() -> None:
    ids = {"id": str(uuid4()), "flow_id": str(uuid4())}
    exact = {"idempotency_key": EVIL, "parameters": {EVIL: EVIL}, "work_pool_name": EVIL, "work_queue_name": EVIL}
    run = parsing.flow_run({**ids, **exact})
    assert (run.idempotency_key, run.parameters, run.work_pool_name) == (EVIL, {EVIL: EVIL}, EVIL)
    raw = {**ids, "parameters": {"a": EVIL}, "entrypoint": EVIL, "path": EVIL, "job_variables": {"a": EVIL}}
    found = parsing.deployment({**raw, "work_pool_name": EVIL, "pull_steps": [{"step": EVIL}]}, "flow")
    assert (found.parameter_defaults, found.job_variables) == ({"a": EVIL}, {"a": EVIL})
    assert (found.entrypoint, found.path, found.work_pool_name) == (EVIL, EVIL, EVIL)
    assert found.pull_steps == ({"step": EVIL},)
    assert parsing.artifact({**ids, "type": "table", "data": [{"a": EVIL}]}).data == [{"a": EVIL}]
    assert parsing.work_pool({**ids, "name": EVIL}, ()).name == EVIL


def test_a_table_that_is_no_json_stays_as_it_is() -> None:
    assert parsing.artifact({"id": str(uuid4()), "type": "table", "data": "a,b"}).data == "a,b"
    assert parsing.artifact({"id": str(uuid4()), "type": "table", "data": "[[1]]"}).data == [[1]]


def test_a_blank_tag_is_none() -> None:
    run = parsing.flow_run({"id": str(uuid4()), "flow_id": str(uuid4()), "tags": ["", " ", "a"]})
    assert run.tags == ("a",)
