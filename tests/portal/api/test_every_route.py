"""Each route that acts decides as the page for the same act does, for every role, in dev and in prod."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from portal.api.api import api
from runs.models import AuditEntry, Pin, Token
from tests.governance.attempts import ROLES, Site, Visitor
from tests.governance.test_permission_matrix import silence, sites, visitors
from tests.portal.api.programs import Answer, Program, Programs

__all__ = ["silence", "sites", "visitors"]
EXPECTED = json.loads(Path("tests/expectations/doors.json").read_text())
Send = Callable[[Program, Site], Answer]


@dataclass(frozen=True)
class Route:
    """One route, how to send it, and the page that does the same."""

    method: str
    path: str
    page: str
    send: Send


def post(path: str, body: Callable[[Site], dict[str, Any]] | None = None) -> Send:
    return lambda caller, there: caller.post(address(path, there), body(there) if body else {"reason": "r"})


def address(path: str, there: Site) -> str:
    return path.format(
        environment=there.slug, run=there.run.prefect_id, deployment=there.deployment.prefect_id, number=0
    )


def patch(is_paused: bool) -> Send:
    def send(caller: Program, there: Site) -> Answer:
        row = there.deployment if is_paused else there.paused
        path = f"/environments/{there.slug}/deployments/{row.prefect_id}"
        return caller.send("PATCH", path, {"is_paused": is_paused, "reason": "r"}, If_Match="*")

    return send


def unpin(caller: Program, there: Site) -> Answer:
    """With a pin, of the one who calls, to take away."""
    token = Token.objects.get(key=caller.text.removeprefix("portal_").partition(".")[0])
    Pin.objects.create(owner=token.user, environment=there.environment, full_name=there.deployment.full_name)
    return caller.post(address(f"{DEPLOYMENT}/unpin", there))


def steps_of(there: Site) -> dict[str, Any]:
    step = {"key": "ingest", "deployment": there.deployment.full_name, "parameters": {"month": {"input": "month"}}}
    return {"steps": [step]}


RUN = "/environments/{environment}/runs/{run}"
DEPLOYMENT = "/environments/{environment}/deployments/{deployment}"
POOL = "/environments/{environment}/work-pools/{pool}"
ROUTES = [
    Route(
        "post",
        "/changes",
        "request a run, by page",
        post(
            "/changes",
            lambda there: {
                "environment": there.slug,
                "deployment": there.deployment.full_name,
                "parameters": {"month": "2026-10"},
                "reason": "r",
            },
        ),
    ),
    Route(
        "post",
        "/changes/{number}/approve",
        "approve a request, by page",
        lambda caller, there: caller.post(
            f"/changes/{there.run_request.change_id}/approve",
            {"digest": there.run_request.change.digest, "reason": "r"},
        ),
    ),
    *(
        Route(
            "post",
            f"/changes/{{number}}/{verb}",
            f"{verb} a request, by page",
            lambda caller, there, verb=verb: caller.post(  # type: ignore[misc]
                f"/changes/{there.run_request.change_id}/{verb}", {"reason": "r"}
            ),
        )
        for verb in ("reject", "withdraw")
    ),
    Route(
        "post",
        "/changes/{number}/comments",
        "comment on a request, by page",
        lambda caller, there: caller.post(f"/changes/{there.run_request.change_id}/comments", {"text": "hm"}),
    ),
    Route(
        "post",
        "/requests/{number}/rerun",
        "request a run, by page",
        lambda caller, there: caller.post(f"/requests/{there.run_request.pk}/rerun", {"reason": "r"}),
    ),
    Route(
        "post",
        "/requests/{number}/override",
        "override a change window, by page",
        lambda caller, there: caller.post(f"/requests/{there.run_request.pk}/override", {"reason": "r"}),
    ),
    Route(
        "post",
        "/presets",
        "save a preset, by page",
        post(
            "/presets",
            lambda there: {
                "environment": there.slug,
                "deployment": there.deployment.full_name,
                "name": "new",
                "parameters": {"rows": 7},
            },
        ),
    ),
    Route(
        "patch",
        "/concurrency-limits/{number}",
        "change a concurrency limit, by page",
        lambda caller, there: caller.send(
            "PATCH",
            f"/concurrency-limits/{there.global_limit.pk}",
            {"concurrency_limit": 9, "reason": "r", "confirm": there.slug},
        ),
    ),
    Route(
        "patch",
        "/presets/{number}",
        "rename a preset, by page",
        lambda caller, there: caller.send("PATCH", f"/presets/{there.shared_preset.pk}", {"name": "new"}),
    ),
    Route(
        "post",
        "/backfills",
        "request a backfill, by page",
        post(
            "/backfills",
            lambda there: {
                "environment": there.slug,
                "deployment": there.deployment.full_name,
                "vary": {"rows": "1..3"},
                "reason": "r",
            },
        ),
    ),
    *(
        Route(
            "post",
            f"/backfills/{{number}}/{act}",
            f"{name} a backfill, by page",
            lambda caller, there, act=act: caller.post(  # type: ignore[misc]
                f"/backfills/{there.backfill.pk}/{act}", {"reason": "r"}
            ),
        )
        for name, act in (("pause", "pause"), ("resume", "resume"), ("cancel the rest of", "cancel-rest"))
    ),
    Route(
        "post",
        "/schedules",
        "request a schedule, by page",
        post(
            "/schedules",
            lambda there: {
                "environment": there.slug,
                "deployment": there.deployment.full_name,
                "name": "nightly",
                "rule_type": "cron",
                "rule": "0 6 * * *",
                "valid_until": (timezone.now() + timedelta(days=9)).isoformat(),
                "reason": "r",
            },
        ),
    ),
    *(
        Route(
            "post",
            f"/schedules/{{number}}/{act}",
            f"{act} a schedule, by page",
            lambda caller, there, act=act, subject=subject: caller.post(  # type: ignore[misc]
                f"/schedules/{getattr(there, subject).pk}/{act}", {"reason": "r"}
            ),
        )
        for act, subject in (("pause", "schedule"), ("resume", "paused_schedule"), ("end", "schedule"))
    ),
    Route(
        "post",
        "/schedules/{number}/put-back",
        "put back a schedule, by page",
        lambda caller, there: caller.post(f"/schedules/{there.native_schedule.pk}/put-back", {"reason": "r"}),
    ),
    Route(
        "post",
        "/schedules/{number}/replace",
        "request a schedule, by page",
        lambda caller, there: caller.post(
            f"/schedules/{there.schedule.pk}/replace",
            {"valid_until": (timezone.now() + timedelta(days=9)).isoformat(), "reason": "r"},
        ),
    ),
    Route(
        "post",
        "/chains",
        "define a chain, by page",
        post("/chains", lambda there: {"environment": there.slug, "name": "new", "definition": steps_of(there)}),
    ),
    Route(
        "post",
        "/chains/{number}/versions",
        "change a chain, by page",
        lambda caller, there: caller.post(f"/chains/{there.chain.pk}/versions", {"definition": steps_of(there)}),
    ),
    *(
        Route(
            "patch",
            "/chains/{number}",
            f"{name} a chain, by page",
            lambda caller, there, is_enabled=is_enabled: caller.send(  # type: ignore[misc]
                "PATCH", f"/chains/{there.chain.pk}", {"is_enabled": is_enabled}
            ),
        )
        for name, is_enabled in (("enable", True), ("disable", False))
    ),
    Route(
        "post",
        "/chains/{number}/runs",
        "run a chain, by page",
        lambda caller, there: caller.post(
            f"/chains/{there.chain.pk}/runs", {"inputs": {"month": "2026-10"}, "reason": "r"}
        ),
    ),
    *(
        Route(
            "post",
            f"/chain-runs/{{number}}/{path}",
            page,
            lambda caller, there, path=path: caller.post(  # type: ignore[misc]
                f"/chain-runs/{there.chain_run.pk}/{path.format(step='second')}", {"reason": "r"}
            ),
        )
        for path, page in (
            ("steps/{step}/let-go", "let a step of a chain start, by page"),
            ("steps/{step}/reject", "reject a step of a chain, by page"),
            # The page has one address for both kinds.
            ("pause", "pause a backfill, by page"),
            ("resume", "resume a backfill, by page"),
            ("cancel-rest", "cancel the rest of a backfill, by page"),
        )
    ),
    Route("post", f"{RUN}/cancel", "cancel a run, by page", post(f"{RUN}/cancel")),
    *(
        Route(
            "post",
            f"{RUN}/recover",
            page,
            lambda caller, there, kind=kind: caller.post(  # type: ignore[misc]
                f"/environments/{there.slug}/runs/{there.stalled.prefect_id}/recover", {"kind": kind, "reason": "r"}
            ),
        )
        for kind, page in (
            ("put back", "put a stalled run back, by page"),
            ("fail", "mark a stalled run as failed, by page"),
        )
    ),
    Route(
        "post",
        f"{RUN}/retry",
        "retry a failed run, by page",
        lambda caller, there: caller.post(
            f"/environments/{there.slug}/runs/{there.failed.prefect_id}/retry", {"reason": "r"}
        ),
    ),
    *(
        Route(
            "post",
            f"/failures/{{number}}/{act}",
            page,
            lambda caller, there, act=act, body=body: caller.post(  # type: ignore[misc]
                f"/failures/{there.failure.pk}/{act}", body
            ),
        )
        for act, page, body in (
            ("own", "set the owner of a failure, by page", {"owner": "requester"}),
            ("acknowledge", "mark a failure as known, by page", {}),
            ("mute", "mute a failure, by page", {"until": f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}Z"}),
            ("resolve", "resolve a failure, by page", {"reason": "r"}),
            ("notes", "add a note to a failure, by page", {"text": "r"}),
        )
    ),
    Route(
        "post",
        "/concurrency-limits",
        "create a concurrency limit, by page",
        post(
            "/concurrency-limits",
            lambda there: {"environment": there.slug, "name": "new", "concurrency_limit": 1, "reason": "r"},
        ),
    ),
    Route(
        "post",
        "/concurrency-limits/{number}/delete",
        "delete a concurrency limit, by page",
        lambda caller, there: caller.post(
            f"/concurrency-limits/{there.global_limit.pk}/delete", {"reason": "r", "confirm": there.slug}
        ),
    ),
    Route(
        "post",
        "/service-levels",
        "create a service level, by page",
        post("/service-levels", lambda there: {"environment": there.slug, "kind": "late", "threshold": 7}),
    ),
    Route(
        "post",
        "/service-levels/{number}/remove",
        "remove a service level, by page",
        lambda caller, there: caller.post(f"/service-levels/{there.level.pk}/remove", {"reason": "r"}),
    ),
    Route(
        "post",
        "/event-rules",
        "create an event rule, by page",
        post(
            "/event-rules",
            lambda there: {
                "environment": there.slug,
                "deployment": there.deployment.full_name,
                "name": "weekly load",
                "trigger": "run",
                "states": ["FAILED"],
                "mapping": {"month": {"value": "2026-10"}},
            },
        ),
    ),
    Route(
        "post",
        "/notification-rules",
        "create a notification rule, by page",
        post("/notification-rules", lambda there: {"name": "a rule", "topics": ["failed"]}),
    ),
    Route(
        "post",
        "/notification-rules/{number}/remove",
        "remove a notification rule, by page",
        lambda caller, there: caller.post(f"/notification-rules/{there.notification_rule.pk}/remove", {"reason": "r"}),
    ),
    Route("patch", DEPLOYMENT, "pause a deployment, by page", patch(is_paused=True)),
    Route("post", f"{DEPLOYMENT}/pin", "pin a deployment, by page", post(f"{DEPLOYMENT}/pin")),
    Route("post", f"{DEPLOYMENT}/unpin", "unpin a deployment, by page", unpin),
    Route("patch", DEPLOYMENT, "resume a deployment, by page", patch(is_paused=False)),
    *(
        Route(
            "post",
            f"{DEPLOYMENT}/schedules/{{schedule}}/{what}",
            f"{what} one schedule of a deployment, by page",
            lambda caller, there, end=f"{name}/{what}": caller.post(  # type: ignore[misc]
                f"/environments/{there.slug}/deployments/{there.paused.prefect_id}/schedules/{end}", {"reason": "r"}
            ),
        )
        for what, name in (("pause", "going"), ("resume", "held"))
    ),
    Route(
        "post",
        f"{DEPLOYMENT}/limits",
        "change the limit of a deployment, by page",
        lambda caller, there: caller.post(
            address(f"{DEPLOYMENT}/limits", there), {"concurrency_limit": 5, "reason": "r", "confirm": there.slug}
        ),
    ),
    *(
        Route(
            "patch",
            f"{POOL}{path}",
            f"change the limit of a {noun}, by page",
            lambda caller, there, queue=queue: caller.send(  # type: ignore[misc]
                "PATCH",
                f"/environments/{there.slug}/work-pools/gpu{queue}",
                {"concurrency_limit": 9, "confirm": there.slug, "reason": "r"},
            ),
        )
        for noun, path, queue in (("work pool", "", ""), ("work queue", "/queues/{queue}", "/queues/fast"))
    ),
    *(
        Route(
            "post",
            f"{POOL}{path}/{act}",
            f"{act} a {noun}, by page",
            lambda caller, there, act=act, place=place: caller.post(  # type: ignore[misc]
                f"/environments/{there.slug}/work-pools/{place}/{act}",
                {"reason": "r"} | ({"confirm": there.slug} if act == "resume" else {}),
            ),
        )
        for noun, path, act, place in (
            ("work pool", "", "pause", "gpu"),
            ("work pool", "", "resume", "held"),
            ("work queue", "/queues/{queue}", "pause", "gpu/queues/fast"),
            ("work queue", "/queues/{queue}", "resume", "gpu/queues/slow"),
        )
    ),
    Route(
        "post",
        "/environments/{environment}/freeze",
        "freeze an environment, by page",
        post("/environments/{environment}/freeze"),
    ),
]
# Routes that act and have another test: they need grants that no role has, or are about the caller alone.
ELSEWHERE = {
    ("post", "/environments/{environment}/unfreeze"),  # test_acts
    ("post", "/grants"),
    ("post", "/grants/{number}/revoke"),
    ("post", "/why"),
    ("post", "/backfills/plan"),  # test_backfills
    ("post", "/chains/{number}/plan"),  # test_chains
    ("post", "/schedules/next"),  # test_schedules_api
    ("post", "/tokens/revoke"),
    ("post", "/job-tokens"),  # test_job_exchange
    ("post", "/failures/{number}/retry"),  # test_failure_routes: one entry for each of its runs
    # test_event_rule_routes: an administrator pauses a rule on its page, and a token of theirs sees no rule of others.
    ("put", "/event-rules/{key}"),
    ("delete", "/event-rules/{key}"),
    ("post", "/event-rules/{key}/pause"),
    ("post", "/event-rules/{key}/resume"),
    ("post", "/events"),
    ("post", "/notifications/read"),  # test_notification_routes: of the caller alone, and not in the trail
    ("delete", "/presets/{number}"),  # test_preset_routes: a token of an administrator is none
}


def test_every_route_that_acts_is_listed() -> None:
    described = {
        (method, path.removeprefix("/api/v1"))
        for path, operations in api.get_openapi_schema()["paths"].items()
        for method in operations
        if method != "get"
    }
    assert described == {(each.method, each.path) for each in ROUTES} | ELSEWHERE


@pytest.mark.django_db
@pytest.mark.matrix
@pytest.mark.usefixtures("single_administrator")
def test_a_route_decides_as_its_page_does(
    sites: dict[str, Site], visitors: dict[str, Visitor], program: Programs, subtests: pytest.Subtests
) -> None:
    callers = {role: program(visitors[role].user) for role in ROLES}
    for route in ROUTES:
        for place, there in sites.items():
            for role in ROLES:
                expected = EXPECTED[route.page].get(place, EXPECTED[route.page]["dev"])[role]
                with subtests.test(route=f"{route.method} {route.path}", place=place, role=role):
                    outcome, entries = try_route(route, callers[role], there)
                    # Nobody sees a page to press a button on; a program is told 403 all the same.
                    assert outcome in ({"refused", "not_found"} if expected == "hidden" else {expected})
                    assert len(entries) == (0 if outcome == "not_found" else 1)


def try_route(route: Route, caller: Program, there: Site) -> tuple[str, list[tuple[str, str]]]:
    """The outcome, and the entries that it left; everything else of it is taken back."""
    with transaction.atomic():
        last = AuditEntry.objects.values_list("sequence", flat=True).first() or 0
        answer = route.send(caller, there)
        entries = list(AuditEntry.objects.filter(sequence__gt=last).values_list("verb", "outcome"))
        transaction.set_rollback(True)
    outcome = {403: "refused", 404: "not_found"}.get(answer.status, "done" if answer.status < 300 else str(answer.body))
    return outcome, entries
