"""Hooks of a served portal: the example of the documentation, bodies without an end, and two at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from django.db import connections

from flows.catalog import sync
from flows.models import Deployment
from portal.asgi import application
from runs.automation import LARGEST_BODY
from runs.models import HookDelivery, HookRefusal, RunRequest
from runs.requests import spec_values
from tests.cast import FAKES, SCHEMA, make_environment, person
from tests.documents import Block
from tests.fakes.prefect import FakePrefect
from tests.made_hooks import Sender, new_hook

PAGE = Path(__file__).parents[3] / "docs" / "hooks.md"


@pytest.fixture
def address(own_database: str) -> Iterator[str]:
    """Where uvicorn serves the portal, on a database of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_config=None))

        def serve() -> None:
            asyncio.run(server.serve([listener]))
            connections.close_all()

        thread = threading.Thread(target=serve)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def deployment(own_database: str) -> Deployment:
    dev, fake = make_environment("dev"), FakePrefect()
    FAKES[dev.server.api_url] = fake
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    return Deployment.objects.select_related("environment").get()


@pytest.fixture
def sender(deployment: Deployment) -> Sender:
    return new_hook(person("otto", "Operator"), deployment)


def test_the_example_of_the_documentation_requests_a_run(deployment: Deployment, address: str, tmp_path: Path) -> None:
    page = PAGE.read_text()
    mapping, predicate = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    sender = new_hook(person("otto", "Operator"), deployment, mapping=mapping, predicate=predicate)
    (block,) = (each for each in Block.read(page) if each.file)
    (tmp_path / block.file).write_text(block.text)
    given = {"HOOK_ADDRESS": f"{address}/hooks/{sender.hook.key}", "HOOK_SECRET": sender.secret}
    ran = subprocess.run(
        [sys.executable, block.file], cwd=tmp_path, env=os.environ | given, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "202 accepted\n"
    assert f"`{ran.stdout.strip()}`" in page
    assert spec_values(RunRequest.objects.get().spec) == {"month": "2026-10", "rows": 100, "token": ""}


def test_a_body_without_an_end_is_not_read(sender: Sender, address: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += LARGEST_BODY // 4
            yield b"x" * (LARGEST_BODY // 4)

    body = json.dumps({})
    answer = httpx.post(
        f"{address}/hooks/{sender.hook.key}", content=endless(), headers=sender.headers(body, "msg_1"), timeout=30
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "hook.too_large"
    assert HookRefusal.objects.get().code == "hook.too_large"


def test_a_length_that_is_too_large_is_answered_before_the_body_is_sent(sender: Sender, address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = f"POST /hooks/{sender.hook.key} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_the_same_message_at_once_is_done_once(sender: Sender, address: str) -> None:
    body = json.dumps({"type": "month.closed", "data": {"month": "2026-10"}})
    headers = sender.headers(body, "msg_1")

    def send(_: int) -> tuple[int, object]:
        answer = httpx.post(f"{address}/hooks/{sender.hook.key}", content=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()["request"]

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(send, range(6)))
    assert answers == {(202, RunRequest.objects.get().pk)}
    assert HookDelivery.objects.get().attempts == 6
