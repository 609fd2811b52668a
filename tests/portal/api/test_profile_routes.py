"""Resource profiles through the API, the client and the tools of agents."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs.models import ChangeRequest, RunRequest
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import let_schedule
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands
from tests.portal.mcp_calls import actor, an_agent, done, refused_with
from tests.runs.requests.test_resource_profiles import LARGE, VALUES, in_pool, make

__all__ = ["make"]
pytestmark = pytest.mark.django_db
RUN = {"environment": "dev", "deployment": "monthly/monthly", "parameters": VALUES}


@pytest.fixture
def pooled(deployment: Deployment, fake: FakePrefect) -> Deployment:
    in_pool(deployment, fake)
    return deployment


def test_a_program_lists_them_and_requests_runs_with_one(
    pooled: Deployment, requester: User, stranger: User, make: object, program: Programs
) -> None:
    make(pooled.environment)  # type: ignore[operator]  # a fixture
    make(pooled.environment, "approvers", groups=["Approver"])  # type: ignore[operator]  # a fixture
    caller = program(requester)
    assert [each["name"] for each in caller.get("/resource-profiles?environment=dev").body["items"]] == [
        "approvers",
        "large",
    ]
    offered = caller.get(f"/environments/dev/deployments/{pooled.prefect_id}/resource-profiles")
    assert [(each["name"], each["job_variables"]) for each in offered.body] == [("large", LARGE)]
    assert program(stranger).get("/resource-profiles").body["items"] == []
    made = caller.post("/changes", {**RUN, "profile": "large"})
    assert made.body["specs"][0]["profile"] == {"name": "large", "work_queue": "", "job_variables": LARGE}
    refusal = caller.post("/changes", {**RUN, "profile": "approvers"})
    assert (refusal.status, refusal.code) == (422, "resource_profile.not_allowed")
    number = made.body["requests"][0]["id"]
    assert caller.post(f"/requests/{number}/rerun").body["specs"][0]["profile"]["name"] == "large"
    assert caller.post(f"/requests/{number}/rerun", {"profile": ""}).body["specs"][0]["profile"] is None
    preset = {"environment": "dev", "deployment": "monthly/monthly", "name": "end", "parameters": VALUES}
    assert caller.post("/presets", {**preset, "profile": "large"}).body["profile"] == "large"
    from_preset = caller.post("/changes", {**RUN, "parameters": {}, "preset": "end"})
    assert from_preset.body["specs"][0]["profile"]["name"] == "large"


def test_the_command_names_one(pooled: Deployment, requester: User, make: object, command: Commands) -> None:
    make(pooled.environment)  # type: ignore[operator]  # a fixture
    assert "large" in command(requester, "profiles", "-e", "dev").out
    assert "large" in command(requester, "profiles", "-e", "dev", "-d", "monthly/monthly").out
    words = ("monthly/monthly", "-e", "dev", "-p", "month=2026-10", "--profile")
    assert command(requester, "run", *words, "large").code == 0
    first = RunRequest.objects.get()
    assert first.spec.profile_name == "large"
    assert command(requester, "run", *words, "none").code == 1
    assert command(requester, "rerun", str(first.pk), "--profile", "").code == 0
    assert RunRequest.objects.latest("pk").spec.profile == {}
    backfill = (
        "backfill",
        "monthly/monthly",
        "-e",
        "dev",
        "--range",
        "month=2026-01..2026-02",
        "--yes",
        "--at-once",
        "1",
    )
    assert command(requester, *backfill, "--profile", "large").code == 0
    let_schedule(requester, pooled)
    assert RunRequest.objects.latest("pk").spec.profile_name == "large"


def test_an_agent_names_one_that_is_for_agents(pooled: Deployment, requester: User, make: object) -> None:
    make(pooled.environment)  # type: ignore[operator]  # a fixture
    make(pooled.environment, "agents", allows_agents=True)  # type: ignore[operator]  # a fixture
    helper = actor(an_agent(requester))
    found = done(helper, "deployment", environment="dev", deployment="monthly/monthly")["profiles"]
    assert [(each["name"], each["sets"]["value"]["job_variables"]) for each in found] == [("agents", LARGE)]
    assert refused_with(helper, "request_run", **RUN, profile="large") == "resource_profile.not_allowed"
    done(helper, "request_run", **RUN, profile="agents")
    assert RunRequest.objects.get().spec.profile_name == "agents"
    months = {"environment": "dev", "deployment": "monthly/monthly", "vary": {"month": "2026-01..2026-02"}}
    plan = done(helper, "request_backfill", **months, profile="agents")
    assert plan["profile"]["value"]["job_variables"] == LARGE
    assert refused_with(helper, "request_backfill", **months, profile="large") == "resource_profile.not_allowed"
    # Without it, or with another one of the name, it is not what was planned.
    quoted = {**months, "plan": plan["digest"], "only_plan": False}
    assert refused_with(helper, "request_backfill", **quoted) == "backfill.plan_changed"
    done(helper, "request_backfill", **quoted, profile="agents")
    assert {each.profile_name for each in ChangeRequest.objects.latest("pk").specs.all()} == {"agents"}
