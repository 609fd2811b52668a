"""The worked examples of docs/api.md and docs/client.md, carried out as they are written there."""

from __future__ import annotations

import json
import re
import sys
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

import portal.client
from flows.catalog import sync
from flows.models import Deployment, Environment
from portal.client import CRMDeployments, Portal
from runs.models import Grant, Run, RunRequest
from tests.documents import blocks
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import ROOT, Answer, Program, Programs
from tests.portal.client.conftest import transport
from tests.portal.client.played_runs import play

__all__ = ["transport"]
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
    # A run is requested, approved by somebody else, carried out, and read.
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
    # What the page mentions in passing.
    paths = dict.fromkeys(INLINE.findall((DOCS / "api.md").read_text()))
    assert len(paths) >= 6
    for verb, written in paths:
        here = written.replace("NUMBER", str(number)).replace("runs/ID", f"runs/{run.prefect_id}")
        here = here.replace("deployments/ID", f"deployments/{prod_deployment.prefect_id}")
        if verb == "GET" and "actions" not in here and "stream" not in here:
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


def test_the_python_of_the_client(
    requester: User,
    prod: Environment,
    prod_fake: FakePrefect,
    program: Programs,
    transport: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = CRMDeployments.DATA_ACQUISITION
    schema = {"type": "object", "properties": {"snapshot_month": {"type": "string"}}, "required": ["snapshot_month"]}
    prod_fake.add_deployment(flow_name=name, name=name, parameter_schema=schema)
    sync.sync(prod)
    prod.needs_approval = False
    prod.save()
    Grant.objects.create(
        person=requester, verbs=["see", "see logs", "trigger"], environment=prod, granted_by_name="test"
    )
    monkeypatch.setenv("PORTAL_ADDRESS", "https://testserver")
    monkeypatch.setenv("PORTAL_TOKEN", program(requester).text)
    # The distribution is imported under its own name, from the folder that it is built of.
    monkeypatch.setitem(sys.modules, "portal_client", portal.client)
    monkeypatch.setattr(Portal, "__init__", partialmethod(Portal.__init__, transport=transport))
    # Each pause plays what happens meanwhile: the run begins, writes two lines, and ends.
    monkeypatch.setattr("time.sleep", lambda seconds: None if Run.objects.exists() else carry_out(prod_fake))
    (block,) = (each for each in blocks(DOCS / "client.md") if each.language == "python")
    exec(compile(block.text, "docs/client.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert f"{name}/{name}" in printed
    assert printed[-3:-1] == ["one", "two"]
    assert printed[-1] == f"completed {Run.objects.get().prefect_id}"


def carry_out(fake: FakePrefect) -> None:
    play(RunRequest.objects.get().pk, fake, "COMPLETED", "one", "two")
