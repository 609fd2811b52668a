"""The way to the Prefect server of the test session, for Prefect's own client."""

import uuid
from collections.abc import Iterator

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from tests.conftest import Prefect


@pytest.fixture
def client(prefect_server: Prefect) -> Iterator[SyncPrefectClient]:
    """While it is there, flows that are called and deployments that are published go to that server."""
    address = {PREFECT_API_URL: prefect_server.api_url, PREFECT_API_AUTH_STRING: prefect_server.auth}
    with temporary_settings({**address, PREFECT_LOGGING_TO_API_ENABLED: False}), get_client(sync_client=True) as found:
        yield found


@pytest.fixture
def prefix(client: SyncPrefectClient) -> Iterator[str]:
    """Before the names of what this test publishes; removed with all that carries it."""
    name = f"test-{uuid.uuid4().hex[:8]}-"
    yield name
    for deployment in client.read_deployments():
        if deployment.name.startswith(name):
            client.delete_deployment(deployment.id)
    for pool in client.read_work_pools():
        if pool.name.startswith(name):
            client.delete_work_pool(pool.name)
