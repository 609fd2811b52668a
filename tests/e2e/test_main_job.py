"""The main job against real processes, by the client as scripts do it, and an operator's command."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.e2e.conftest import Portal, parsed, wait_for

# The full name: a shared server may have several deployments of one flow.
LONG_HAUL = "long-haul/long-haul"
PATIENCE = 240  # seconds: a busy machine takes its time to start a flow's process
AS_OTTO = ("--as", "otto", "--reason")
STATE = """
    SELECT state_type FROM runs_run AS run JOIN flows_environment AS environment ON environment.id = environment_id
    WHERE slug = 'dev' AND run.prefect_id = %s
"""


def test_a_run_is_asked_for_and_cancelled_by_command_and_the_trail_verifies(portal: Portal) -> None:
    known = "SELECT 1 FROM flows_deployment WHERE full_name = %s"
    wait_for(lambda: portal.query(known, LONG_HAUL), "the first sync", PATIENCE)
    words = ("run", LONG_HAUL, "-e", "dev", "-p", "minutes=5", "--reason", "month end", "--json")
    (requested,) = parsed(portal.client("otto", *words))["requests"]
    mirrored = "SELECT flow_run_id FROM runs_runrequest WHERE id = %s AND run_id IS NOT NULL"
    ((flow_run,),) = wait_for(lambda: portal.query(mirrored, requested["id"]), "the run in the mirror", PATIENCE)
    wait_for(lambda: portal.query(STATE, flow_run) == [("RUNNING",)], "the run to run", PATIENCE)

    portal.manage("cancel", str(flow_run), "--env", "dev", *AS_OTTO, "wrong month")
    wait_for(lambda: portal.query(STATE, flow_run) == [("CANCELLED",)], "the confirmed cancel", PATIENCE)
    time.sleep(2)
    assert portal.query(STATE, flow_run) == [("CANCELLED",)], "its process must not overwrite the state later"
    settled = "SELECT c.state, c.reason FROM runs_action c JOIN runs_run r ON r.id = run_id WHERE prefect_id = %s"
    assert portal.query(settled, flow_run) == [("done", "wrong month")]

    portal.client("otto", "run", "heartbeat/heartbeat", "-e", "prod", "--reason", "no grant", code=2)
    trail = portal.query("SELECT verb, outcome, actor_name FROM runs_auditentry")
    assert {"request.submit", "request.launch", "run.cancel", "run.cancelled"} <= {verb for verb, _, _ in trail}
    assert ("request.submit", "refused", "otto") in trail
    assert "intact" in portal.manage("verify_audit")


def test_the_trail_cannot_be_rewritten(portal: Portal) -> None:
    for text in ("UPDATE runs_auditentry SET reason = 'x'", "DELETE FROM runs_auditentry", "TRUNCATE runs_auditentry"):
        with pytest.raises(psycopg.DatabaseError):
            portal.query(text)
