"""The main job, on real parts, as programs and people do it without a browser."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.e2e.conftest import Portal, parsed, wait_for

# Whole names: on a server that others use too there may be more deployments of a flow.
ACQUISITION = "crm-data-acquisition/crm-data-acquisition"
LONG_HAUL = "long-haul/long-haul"
PATIENCE = 240  # seconds: a busy machine takes its time to start a flow's process
RUN_STATE = """
    SELECT state_type, log.lines FROM runs_run AS run
    JOIN flows_environment AS environment ON environment.id = run.environment_id
    CROSS JOIN LATERAL (SELECT count(*) AS lines FROM runs_logline WHERE run_id = run.id) AS log
    WHERE environment.slug = 'dev' AND run.prefect_id = %s
"""


@pytest.fixture(scope="module", autouse=True)
def deployments(portal: Portal) -> None:
    wait_for(
        lambda: portal.query("SELECT 1 FROM flows_deployment WHERE full_name = %s", LONG_HAUL),
        "the first sync",
        PATIENCE,
    )


def trigger(portal: Portal, deployment: str, *values: str) -> dict[str, object]:
    pairs = [argument for value in values for argument in ("-p", value)]
    answer: dict[str, object] = parsed(
        portal.manage("trigger", "dev", deployment, *pairs, "--as", "otto", "--reason", "a test", "--json")
    )
    return answer


def flow_run_of(portal: Portal, request: object) -> object:
    rows = wait_for(
        lambda: portal.query("SELECT flow_run_id FROM runs_runrequest WHERE id = %s AND run_id IS NOT NULL", request),
        "the flow run in the mirror",
        PATIENCE,
    )
    return rows[0][0]


def state(portal: Portal, flow_run: object) -> str:
    rows = portal.query(RUN_STATE, flow_run)
    return rows[0][0] if rows else ""


def test_a_run_is_asked_for_and_completes_with_its_log(portal: Portal) -> None:
    request = trigger(portal, ACQUISITION, "snapshot_month=2017-03")["request"]
    flow_run = flow_run_of(portal, request)
    wait_for(lambda: state(portal, flow_run) in {"COMPLETED", "FAILED", "CRASHED"}, "the end of the run", PATIENCE)
    assert state(portal, flow_run) == "COMPLETED"
    wait_for(lambda: portal.query(RUN_STATE, flow_run)[0][1] > 0, "its log lines")
    settled = portal.query("SELECT state FROM runs_runrequest WHERE id = %s", request)
    assert settled == [("completed",)]


def test_a_running_run_is_cancelled_for_good(portal: Portal) -> None:
    flow_run = flow_run_of(portal, trigger(portal, LONG_HAUL, "minutes=5")["request"])
    wait_for(lambda: state(portal, flow_run) == "RUNNING", "the run to run", PATIENCE)
    portal.manage("cancel", str(flow_run), "--env", "dev", "--as", "otto", "--reason", "wrong month")
    wait_for(lambda: state(portal, flow_run) == "CANCELLED", "the confirmed cancel", PATIENCE)
    time.sleep(2)
    assert state(portal, flow_run) == "CANCELLED"
    (cancellation,) = portal.query(
        "SELECT c.state, c.reason FROM runs_cancellation c JOIN runs_run r ON r.id = c.run_id WHERE r.prefect_id = %s",
        flow_run,
    )
    assert cancellation == ("confirmed", "wrong month")


def test_what_was_done_is_in_a_trail_that_verifies(portal: Portal) -> None:
    portal.manage("trigger", "prod", "heartbeat/heartbeat", "--as", "otto", "--reason", "no grant", code=2)
    verbs = {verb for (verb,) in portal.query("SELECT verb FROM runs_auditentry")}
    assert {"request.submit", "request.launch", "run.cancel", "run.cancelled"} <= verbs
    refused = portal.query("SELECT actor_name FROM runs_auditentry WHERE outcome = 'refused'")
    assert ("otto",) in refused
    assert "unbroken" in portal.manage("verify_audit")


def test_the_trail_cannot_be_rewritten(portal: Portal) -> None:
    for text in ("UPDATE runs_auditentry SET reason = 'x'", "DELETE FROM runs_auditentry", "TRUNCATE runs_auditentry"):
        with pytest.raises(psycopg.DatabaseError):
            portal.query(text)
