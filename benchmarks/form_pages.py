"""Measures run forms in an empty database; `benchmarks.form` starts one and calls this."""

from __future__ import annotations

import gc
import html
import re
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.fake_world import deployment_of  # noqa: E402
from flows import definition  # noqa: E402
from flows.catalog import definition_reader  # noqa: E402
from flows.models import Deployment, Environment, Server  # noqa: E402
from flows.parameters import fingerprint  # noqa: E402
from runs.models import Grant  # noqa: E402

NOTHING = {"type": "null"}
COLOURS = {"enum": ["red", "green", "blue", "black", "white"], "type": "string"}
CUSTOMERS = {"enum": [f"customer-{number:05d}" for number in range(10_000)], "type": "string"}
MODEL_FIELDS: dict[str, Any] = {
    "name": {"type": "string"},
    "rows": {"type": "integer", "minimum": 1},
    "day": {"type": "string", "format": "date"},
    "colour": COLOURS,
    "ratio": {"type": "number"},
}
MODEL = {"type": "object", "title": "Model", "properties": MODEL_FIELDS, "required": list(MODEL_FIELDS)}

# kind -> the schema of one parameter, and what is typed into each of its inputs, by the end of their names.
Typed = dict[str, str | list[str]]
KINDS: dict[str, tuple[dict[str, Any], Typed]] = {
    "texts": ({"type": "string"}, {"": "some text"}),
    "optional texts": ({"anyOf": [{"type": "string"}, NOTHING], "default": None}, {"": "some text"}),
    "described texts": ({"type": "string", "description": "Where it is read from. " * 4}, {"": "some text"}),
    "numbers": ({"type": "integer", "minimum": 1, "maximum": 1000}, {"": "7"}),
    "flags": ({"type": "boolean"}, {"": "true"}),
    "boxes": ({"type": "boolean", "default": False}, {"": ["false", "true"]}),
    "choices": (COLOURS, {"": "green"}),
    "dates": ({"type": "string", "format": "date"}, {"": "2026-01-31"}),
    "moments": ({"type": "string", "format": "date-time"}, {"": "2026-01-31T10:00"}),
    "lists": ({"type": "array", "items": {"type": "string"}}, {"": "one\r\ntwo"}),
    "ticks": ({"type": "array", "items": COLOURS}, {"": ["", "green", "blue"]}),
    "models": (MODEL, {".name": "x", ".rows": "7", ".day": "2026-01-31", ".colour": "red", ".ratio": "1.5"}),
    "JSON": ({"type": "object", "additionalProperties": {"type": "integer"}}, {"": '{"a": 1}'}),
}
SEARCHED = ({"$ref": "#/definitions/Customer"}, {"": "customer-01234"})


@dataclass(frozen=True)
class Case:
    """A form to measure."""

    name: str
    schema: dict[str, Any]
    typed: dict[str, Any]


def make_case(name: str, kinds: Sequence[tuple[dict[str, Any], Typed]]) -> Case:
    properties, typed = {}, {}
    for number, (node, texts) in enumerate(kinds):
        properties[f"parameter{number}"] = {"title": f"parameter{number}", "position": number, **node}
        typed |= {f"parameters-parameter{number}{end}": text for end, text in texts.items()}
    required = [parameter for parameter, node in properties.items() if "default" not in node]
    schema = {"type": "object", "properties": properties, "required": required, "definitions": {"Customer": CUSTOMERS}}
    return Case(name, schema, typed)


def cases(count: int) -> list[Case]:
    # A model counts as ten: a form has at most 300 parts, beyond which what is nested is one input of JSON.
    counts = {name: count // 10 if name == "models" else count for name in KINDS}
    of_one_kind = [make_case(f"{counts[name]} {name}", [kind] * counts[name]) for name, kind in KINDS.items()]
    mixed = [kind for name, kind in KINDS.items() if name != "models"] * count
    few = min(count, 10)
    searched = make_case(f"{few} of {len(CUSTOMERS['enum']):,} choices", [SEARCHED] * few)
    return [*of_one_kind, make_case(f"{count} mixed", [KINDS["models"]] * (count // 50) + mixed[:count]), searched]


def deploy(environment: Environment, case: Case) -> Deployment:
    prefect_id = uuid.uuid4()
    described = definition_reader.describe(environment, deployment_of(prefect_id, "1"), {})
    return Deployment.objects.create(
        environment=environment,
        prefect_id=prefect_id,
        flow_id=uuid.uuid4(),
        flow_name="bench",
        name=case.name,
        full_name=f"bench/{case.name}",
        version="1",
        parameter_schema=case.schema,
        schema_fingerprint=fingerprint(case.schema),
        definition=described,
        definition_fingerprint=definition.fingerprint(described),
        synced_at=timezone.now(),
    )


def hidden(page: str) -> dict[str, str]:
    """Return the hidden inputs that identify the form."""
    names = ("submission_key", "form_fingerprint", "filled_by")
    return {name: html.unescape(re.findall(f'name="{name}" value="([^"]*)"', page)[0]) for name in names}


def measure(rounds: int, call: Callable[[], Any], status: int) -> tuple[list[float], int]:
    """Return the milliseconds of each round, and the size of the answer in bytes; the first call fills caches."""
    times, size = [], 0
    for _ in range(rounds + 1):
        gc.collect()
        began = time.perf_counter()
        answer = call()
        times.append((time.perf_counter() - began) * 1000)
        size = len(answer.content)
        if answer.status_code != status:
            sys.exit(f"Answered {answer.status_code}: {answer.content.decode()[:500]}")
    return times[1:], size


def report(name: str, verb: str, times: list[float], size: int) -> None:
    ordered = sorted(times)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    kilobytes = f"{size / 1000:9,.0f}" if size else ""
    print(f"{name:<24}{verb:<16}{statistics.median(ordered):8.0f}{p95:8.0f}{kilobytes}", flush=True)


def measure_case(client: Client, deployment: Deployment, case: Case, rounds: int) -> None:
    address = reverse("admin:flows_deployment_run", args=[deployment.pk])
    body = hidden(client.get(address).content.decode()) | {"start": "now"}
    blank = body | dict.fromkeys(case.typed, "")

    def post(typed: Mapping[str, Any]) -> Any:
        client.cookies.pop("messages", None)
        return client.post(address, urlencode(typed, doseq=True), "application/x-www-form-urlencoded")

    def submit() -> Any:
        return post(body | case.typed | {"submission_key": str(uuid.uuid4())})

    report(case.name, "GET", *measure(rounds, lambda: client.get(address), 200))
    if case.schema["required"]:
        report(case.name, "POST, errors", *measure(rounds, lambda: post(blank), 200))
    report(case.name, "POST, accepted", *measure(rounds, submit, 302))


def main(rounds: int, count: int, only: str) -> None:
    call_command("migrate", verbosity=0)
    environment = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.bench/api"))
    user = User.objects.create(username="requester", is_staff=True)
    verbs = ["see", "see inputs", "trigger", "trigger later"]
    Grant.objects.create(person=user, verbs=verbs, environment=environment, granted_by_name="bench")
    client = Client()
    client.force_login(user)
    print(f"{'form':<40}{'ms p50':>8}{'p95':>8}{'kB':>9}")
    for case in cases(count):
        if only in case.name:
            measure_case(client, deploy(environment, case), case, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
