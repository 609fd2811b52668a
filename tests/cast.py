"""One cast for all tests: environments, deployments and people, with the fake Prefect client."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from flows.catalog import sync
from flows.models import Deployment, Environment, Server
from flows.prefect_api.records import Credential
from runs import mirror
from runs.actors import Actor, Channel
from runs.definitions import launch_check
from runs.governance import grants
from runs.models import Run
from tests.fakes.prefect import FakePrefect

ASKS = ["see", "see inputs", "see logs", "trigger", "trigger later", "rerun", "backfill", "cancel"]
ANSWERS = ["see", "see inputs", "see logs", "approve"]

FAKES: dict[str, FakePrefect] = {}

SCHEMA: dict[str, Any] = {
    "title": "Parameters",
    "type": "object",
    "properties": {
        "month": {"title": "month", "type": "string", "position": 0, "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"},
        "rows": {"title": "rows", "type": "integer", "position": 1, "default": 100, "minimum": 1, "maximum": 1000},
        "token": {
            "title": "token",
            "type": "string",
            "position": 2,
            "default": "",
            "format": "password",
            "writeOnly": True,
        },
    },
    "required": ["month"],
}


def connect(api_url: str, credential: Credential) -> FakePrefect:
    """What `settings.PREFECT_CLIENT` names in tests."""
    return FAKES[api_url]


@pytest.fixture(autouse=True)
def doors(settings: Any) -> Iterator[None]:
    """Nothing in a test reaches a server by accident: an address without a fake is a KeyError."""
    settings.PREFECT_CLIENT = "tests.cast.connect"
    FAKES.clear()
    launch_check.READINGS.clear()
    yield
    FAKES.clear()


def make_environment(slug: str, *, api_url: str = "", server: Server | None = None, **columns: Any) -> Environment:
    """An environment on a server of its own, at http://<slug>.test/api by default, or on the one that is given."""
    server = server or Server.objects.create(api_url=api_url or f"http://{slug}.test/api")
    return Environment.objects.create(slug=slug, server=server, **columns)


@pytest.fixture
def dev(db: None) -> Environment:
    return make_environment("dev")


@pytest.fixture
def prod(db: None) -> Environment:
    return make_environment("prod", position=1, is_protected=True, needs_approval=True, needs_reason=True)


@pytest.fixture
def fake(dev: Environment) -> FakePrefect:
    """The Prefect behind `dev`."""
    return FAKES.setdefault(dev.server.api_url, FakePrefect())


@pytest.fixture
def prod_fake(prod: Environment) -> FakePrefect:
    return FAKES.setdefault(prod.server.api_url, FakePrefect())


@pytest.fixture
def deployment(dev: Environment, fake: FakePrefect) -> Deployment:
    """`monthly/monthly` in dev, with a required month, bounded rows and a secret token."""
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, tags=("crm",))
    sync.sync(dev)
    return Deployment.objects.select_related("environment").get(environment=dev)


@pytest.fixture
def prod_deployment(prod: Environment, prod_fake: FakePrefect) -> Deployment:
    prod_fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, tags=("crm",))
    sync.sync(prod)
    return Deployment.objects.select_related("environment").get(environment=prod)


@pytest.fixture
def a_run(deployment: Deployment, fake: FakePrefect) -> Callable[..., Run]:
    """Makes runs of `deployment` that Prefect has and the mirror has read: a_run("RUNNING")."""

    def make(state: str = "RUNNING", **columns: Any) -> Run:
        record = fake.add_run(deployment.prefect_id, state_type=state, **columns)
        mirror.refresh(deployment.environment, [record.id])
        return Run.objects.select_related("environment", "deployment").get(prefect_id=record.id)

    return make


def person(name: str, *groups: str, **columns: Any) -> User:
    user = User.objects.create_user(name, password=None, is_staff=True, **columns)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def requester(prod: Environment) -> User:
    """An operator, who may ask for runs in prod too."""
    user = person("requester", "Operator")
    grants.grant(by=Actor.system(), person=user, verbs=ASKS, environment=prod)
    return user


@pytest.fixture
def approver(prod: Environment) -> User:
    user = person("approver", "Approver")
    grants.grant(by=Actor.system(), person=user, verbs=ANSWERS, environment=prod)
    return user


@pytest.fixture
def viewer(db: None) -> User:
    return person("viewer", "Viewer")


@pytest.fixture
def stranger(db: None) -> User:
    """Signed in, with no grant at all."""
    return person("stranger")


@pytest.fixture
def auditor(db: None) -> User:
    return person("auditor", "Auditor")


@pytest.fixture
def admin_user(db: None) -> User:
    return person("administrator", is_superuser=True)


@pytest.fixture
def second_administrator(db: None) -> User:
    return person("cosigner", is_superuser=True)


@pytest.fixture
def single_administrator(settings: Any) -> None:
    """An installation in which loosening the rules needs no second signature."""
    settings.SINGLE_ADMINISTRATOR = True


@pytest.fixture
def login() -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


def by(user: User) -> Actor:
    """The actor a verb wants."""
    return Actor.person(user, channel=Channel.ADMIN, address="192.0.2.1")


def key() -> uuid.UUID:
    return uuid.uuid4()
