"""The real application behind uvicorn on loopback, with commits that are real."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn
from django.contrib.auth.models import User
from django.db import connection

from flows.catalog import sync
from flows.models import Deployment
from portal.asgi import application
from runs.actors import Actor
from runs.governance import grants
from runs.models import Agent
from tests.cast import ASKS, FAKES, SCHEMA, make_environment, person
from tests.fakes.prefect import FakePrefect
from tests.portal.mcp_calls import an_agent, token_of

PATIENCE = 20


@dataclass(frozen=True)
class Served:
    """Where the portal is, with one deployment in dev and in prod, and an agent of a person who may run both."""

    address: str
    owner: User
    agent: Agent
    token: str


@pytest.fixture
def address() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def served(own_database: str, address: str) -> Served:
    dev = make_environment("dev")
    prod = make_environment("prod", position=1, is_protected=True)
    owner = person("requester")
    for environment in (dev, prod):
        fake = FAKES.setdefault(environment.server.api_url, FakePrefect())
        fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, tags=("crm",))
        sync.sync(environment)
        grants.grant(by=Actor.system(), person=owner, verbs=ASKS, environment=environment)
    assert Deployment.objects.count() == 2
    agent = an_agent(owner, day=5, at_once=5)
    found = Served(address, owner, agent, token_of(agent))
    connection.close()
    return found
