"""The description of the API: it is complete, unchanged unless declared, and what the API does."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import requests as requests_library
import schemathesis
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from ninja import Schema
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import SerializationNotPossible
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flows.models import Deployment
from portal.api import authentication
from portal.api.api import api
from portal.auth import throttle
from runs import requests
from tests.cast import by
from tests.portal.api.programs import Programs

STORED = Path(__file__).with_name("openapi.json")
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


def described() -> dict[str, Any]:
    """The description as JSON."""
    found: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema(), default=str))
    return found


def test_a_change_of_the_api_is_declared() -> None:
    # Programs of others rely on it. `python -m tests.portal.api.test_description` stores a change that is meant.
    assert described() == json.loads(STORED.read_text())


def test_each_component_is_of_one_class() -> None:
    # Of two classes with one name the description has only one, and programs that are made from it send the wrong body.
    places: dict[str, list[str]] = {}
    waiting: list[type] = [Schema]
    while waiting:
        for each in waiting.pop().__subclasses__():
            waiting.append(each)
            if each.__module__.startswith("portal.api."):
                places.setdefault(each.__name__, []).append(each.__module__)
    assert not {name: found for name, found in places.items() if len(set(found)) > 1}


def test_each_operation_says_what_it_does_and_how_it_fails() -> None:
    for path, operations in described()["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            failures = {status for status in operation["responses"] if int(status) >= 400}
            assert {"401", "403", "404", "422", "429"} <= failures, (method, path)
            for status in failures:
                assert operation["responses"][status] == {"$ref": "#/components/responses/Problem"}
    assert list(described()["components"]["responses"]["Problem"]["content"]) == ["application/problem+json"]


def test_each_body_has_an_example_that_fits_it() -> None:
    found = described()
    schemas = found["components"]["schemas"]
    for operation in (each for path in found["paths"].values() for each in path.values() if "requestBody" in each):
        (media,) = operation["requestBody"]["content"].values()
        name = media["schema"]["$ref"].rpartition("/")[2]
        (example,) = schemas[name]["examples"]
        jsonschema.validate(example, {**schemas[name], "components": found["components"]})
        assert schemas[name]["additionalProperties"] is False, name


@pytest.mark.django_db
def test_its_page_is_for_people_who_have_signed_in(requester: User, client: Client) -> None:
    for path in ("/api/v1/docs", "/api/v1/openapi.json"):
        assert client.get(path).status_code == 302
    client.force_login(requester)
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert b"//cdn" not in page.content
    assert client.get("/api/v1/openapi.json").json() == described()


@pytest.mark.django_db
@pytest.mark.matrix
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_it_does_what_it_says(
    requester: User,
    deployment: Deployment,
    prod_deployment: Deployment,
    a_run: Any,
    program: Programs,
    monkeypatch: pytest.MonkeyPatch,
    mode: schemathesis.GenerationMode,
) -> None:
    monkeypatch.setattr(authentication, "LIMIT", 10**9)
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit(10**9))
    run = a_run()
    change = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="x").change
    caller = Caller(program(requester).text)
    # A third of the cases get names and numbers that exist.
    caller.known = {
        "environment": "dev",
        "deployment": str(deployment.prefect_id),
        "run": str(run.prefect_id),
        "number": change.pk,
    }
    schema = schemathesis.openapi.from_dict(described())
    for result in schema.get_all_operations():
        caller.try_operation(result.ok(), mode)
    assert caller.cases > 300


class Caller:
    """Sends generated requests to the API, and holds what comes back against its description."""

    def __init__(self, token: str) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"}
        self.known: dict[str, Any] = {}
        self.cases = 0

    def try_operation(self, operation: Any, mode: schemathesis.GenerationMode) -> None:
        if operation.path.endswith("/stream"):
            return  # its answer has no end; tests/portal/api/test_events.py holds it to its description
        try:
            strategy = operation.as_strategy(generation_mode=mode)
        except SerializationNotPossible:
            return

        @hypothesis_settings(
            max_examples=20,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def try_case(case: schemathesis.Case) -> None:
            self.cases += 1
            if self.cases % 3 == 0:
                case.path_parameters.update({k: v for k, v in self.known.items() if k in case.path_parameters})
            with transaction.atomic():
                self.send(case)
                transaction.set_rollback(True)

        try:
            try_case()
        except Unsatisfiable:
            # An operation without anything that could be wrong has no negative cases.
            assert mode == schemathesis.GenerationMode.NEGATIVE

    def send(self, case: schemathesis.Case) -> None:
        wanted = case.as_transport_kwargs(base_url="http://testserver")
        names = ("method", "url", "params", "json", "data", "cookies")
        made = requests_library.Request(**{name: wanted[name] for name in names if name in wanted}).prepare()
        found = self.client.generic(
            str(made.method),
            str(made.url).removeprefix("http://testserver"),
            made.body or b"",
            content_type=made.headers.get("Content-Type", "application/json"),
            headers=self.headers,
        )
        answer = httpx.Response(
            found.status_code,
            headers=dict(found.headers),
            content=found.content,
            request=httpx.Request(str(made.method), str(made.url)),
        )
        answer.elapsed = timedelta(0)
        case.validate_response(answer, checks=list(CHECKS))


def main() -> None:
    """Store the description as it is now."""
    STORED.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n")
