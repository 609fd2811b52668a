"""The worked examples of docs/api.md and docs/tokens.md, carried out as they are written there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import ROOT, Answer, Program, Programs
from tests.portal.client.played_runs import play

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).parents[3] / "docs"
FENCED = re.compile(r"^```(?:http)?\n((?:GET|POST|PATCH) /api/v1.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(GET|PATCH) /api/v1(/[^`\s]*)`")


def requests_of(page: str) -> dict[str, tuple[str, str, dict[str, str], Any]]:
    """The fenced requests of a page: path -> method, path, headers and body; an answer below them is left out."""
    found = {}
    for text in FENCED.findall((DOCS / page).read_text()):
        head, brace, body = text.partition("{")
        first, *headers = filter(None, head.splitlines())
        method, path = first.split()[:2]
        names = dict(line.split(": ", 1) for line in headers if method != "GET")
        found[path] = (method, path.removeprefix(ROOT), names, json.loads(brace + body) if method != "GET" else None)
    return found


def send(caller: Program, example: tuple[str, str, dict[str, str], Any], **instead: Any) -> Answer:
    method, path, headers, body = example
    for written, here in instead.items():
        path = path.replace(written.strip("_"), str(here))
    return caller.send(method, path, body, **{name.replace("-", "_"): text for name, text in headers.items()})


def test_the_examples_of_the_api(
    requester: User,
    approver: User,
    prod_deployment: Deployment,
    deployment: Deployment,
    prod_fake: FakePrefect,
    a_run: Any,
    program: Programs,
) -> None:
    examples = requests_of("api.md")
    caller = program(requester)
    # A run is requested, approved by someone else, carried out, and read.
    submitted = send(caller, examples["/api/v1/changes"])
    assert (submitted.status, submitted.body["state"]) == (201, "waiting"), submitted.body
    again = send(caller, examples["/api/v1/changes"])
    assert again.body == submitted.body
    method, path, headers, body = examples["/api/v1/changes/17/approve"]
    decision = (method, path, headers, body | {"digest": submitted.body["digest"]})
    approved = send(program(approver), decision, _17_=submitted.body["id"])
    assert (approved.status, approved.body["state"]) == (200, "approved"), approved.body
    number = submitted.body["requests"][0]["id"]
    run = play(number, prod_fake, "COMPLETED", "a line").run
    assert run
    # What the page mentions in passing; one channel is for readers of the whole trail (test_channel_routes).
    paths = dict.fromkeys(INLINE.findall((DOCS / "api.md").read_text()))
    assert len(paths) >= 6
    for verb, written in paths:
        here = written.replace("NUMBER", str(number)).replace("runs/ID", f"runs/{run.prefect_id}")
        here = here.replace("deployments/ID", f"deployments/{prod_deployment.prefect_id}")
        if verb == "GET" and not any(part in here for part in ("actions", "stream", "channels/")):
            assert caller.get(here).status == 200, here
    lines = caller.get(f"/environments/prod/runs/{run.prefect_id}/logs?after=0").body["items"]
    assert [each["message"] for each in lines] == ["a line"]
    assert caller.get("/environments/prod/deployments/monthly/monthly").status == 200


def test_the_example_of_a_found_token(requester: User, program: Programs) -> None:
    example = requests_of("tokens.md")["/api/v1/tokens/revoke"]
    caller = program(requester)
    method, path, _, body = example
    assert caller.get("/me").status == 200
    assert Program("").send(method, path, dict.fromkeys(body, caller.text)).body == {"revoked": True}
    assert caller.get("/me").status == 401
