"""What the test session itself offers."""

import os

import httpx
import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from tests.conftest import Prefect


@pytest.mark.django_db
def test_the_database_is_migrated_and_of_this_test_process_alone() -> None:
    assert get_user_model().objects.count() == 0
    assert os.environ["DATABASE_URL"].rpartition("/test_")[1]


def test_a_test_may_have_a_database_where_commits_are_real(own_database: str) -> None:
    get_user_model().objects.create_user("somebody")
    with psycopg.connect(own_database) as other:
        assert other.execute("SELECT username FROM auth_user").fetchall() == [("somebody",)]
    assert connection.settings_dict["NAME"] in own_database


def test_prefect_runs_for_those_who_know_the_password(prefect_server: Prefect) -> None:
    pools = f"{prefect_server.api_url}/work_pools/{prefect_server.work_pool}"
    assert httpx.get(pools).status_code == httpx.codes.UNAUTHORIZED
    user, _, password = prefect_server.auth.partition(":")
    assert httpx.get(pools, auth=(user, password)).json()["status"] == "READY"
