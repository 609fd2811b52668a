"""The row of filters: what it offers, its chips, and what a search understands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run
from tests.portal.many_rows import many_runs

URL = "/admin/runs/run/"
Login = Callable[[User], Client]
HOSTILE = '"><script>alert(1)</script>'


def names(client: Client, query: str) -> set[str]:
    answer = client.get(URL + query)
    assert answer.status_code == 200, query
    rows = re.findall(r"field-title[^>]*>(?:<a[^>]*>)?([^<]+)<", answer.content.decode())
    return {unescape(name).strip() for name in rows}


def chips(page: str) -> dict[str, str]:
    """Return text -> link of the chips."""
    found = re.findall(
        r'<a class="portal-chip" href="([^"]*)"[^>]*><span class="portal-faint">([^<]*)</span> ([^<]*)<', page
    )
    return {f"{title}: {unescape(text)}": unescape(link) for link, title, text in found}


def test_a_chip_removes_its_filter_and_no_other(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 2)
    client = login(requester)
    page = client.get(f"{URL}?state=FAILED&state=CRASHED&environment=dev&q=run").content.decode()
    found = chips(page)
    assert set(found) == {"state: Failed, Crashed", "environment: dev", "search: run"}
    assert found["state: Failed, Crashed"] == "?environment=dev&q=run"
    assert found["search: run"] == "?environment=dev&state=FAILED&state=CRASHED"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("failed", {"broken", "failed-on-paper"}),
        ("active", {"going"}),
        ("deleted", {"gone"}),
        ("GOING", {"going"}),
        ("monthly", {"going", "broken", "failed-on-paper", "gone"}),
        ("failed broken", {"broken"}),
        ("nothing-like-that", set()),
    ],
)
def test_a_search_understands_states(
    requester: User, deployment: Deployment, login: Login, words: str, found: set[str]
) -> None:
    many_runs(deployment, 1, name="going", state_type="RUNNING")
    many_runs(deployment, 1, name="broken", state_type="FAILED")
    many_runs(deployment, 1, name="failed-on-paper")
    many_runs(deployment, 1, name="gone", state_type="RUNNING", deleted_upstream_at=timezone.now())
    assert names(login(requester), f"?q={words}") == found


def test_a_run_is_found_by_its_whole_id(requester: User, deployment: Deployment, login: Login) -> None:
    wanted, _ = many_runs(deployment, 2)
    assert names(login(requester), f"?q={wanted.prefect_id}") == {wanted.name}
    assert names(login(requester), f"?q={str(wanted.prefect_id)[:13]}") == set()


@pytest.mark.parametrize("typed", ["month=2026-07", 'month="2026-07"', " month = 2026-07 "])
def test_a_run_is_found_by_a_parameter(requester: User, deployment: Deployment, login: Login, typed: str) -> None:
    many_runs(deployment, 1, name="july", parameters={"month": "2026-07", "rows": 5})
    many_runs(deployment, 1, name="may", parameters={"month": "2026-05", "rows": 5})
    client = login(requester)
    assert names(client, f"?parameter={typed}") == {"july"}
    assert names(client, "?parameter=rows=5") == {"july", "may"}
    assert names(client, "?parameter=rows") == set()


def test_a_parameter_that_one_may_not_view_finds_nothing(stranger: User, deployment: Deployment, login: Login) -> None:
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"], environment=deployment.environment)
    many_runs(deployment, 1, name="july", parameters={"month": "2026-07"})
    client = login(stranger)
    assert names(client, "") == {"july"}
    assert names(client, "?parameter=month=2026-07") == set()
    grants.grant(by=Actor.system(), person=stranger, verbs=["see inputs"], environment=deployment.environment)
    assert names(client, "?parameter=month=2026-07") == {"july"}


def test_a_part_of_a_deployments_name_filters(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 1, name="in-dev")
    client = login(requester)
    assert names(client, "?deployment=mont") == {"in-dev"}
    assert names(client, f"?deployment={deployment.full_name}") == {"in-dev"}
    assert names(client, "?deployment=nothing") == set()


def test_requested_by_names_the_person(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 1, name="foreign")
    assert names(login(requester), "?requester=nobody") == set()


def test_rows_and_columns_are_remembered_for_the_session(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 30)
    client = login(requester)
    assert len(names(client, "")) == 30
    page = client.get(f"{URL}?columns=&columns=state&columns=created&rows=25").content.decode()
    assert ".column-deployed" in page
    again = client.get(URL).content.decode()
    assert ".column-deployed" in again
    assert ".column-state" not in again
    assert len(names(client, "")) == 25
    assert len(names(login(requester), "?rows=3")) in (25, 30)


def test_what_somebody_typed_is_shown_as_text(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    for name in ("q", "deployment", "tag", "parameter", "requester", "environment", "state", "sort_at_from", "columns"):
        page = client.get(URL, {name: HOSTILE}).content.decode()
        assert HOSTILE not in page, name


def test_today_is_the_day_on_which_it_is_opened(requester: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    many_runs(deployment, 1, name="now", created_upstream_at=now)
    many_runs(deployment, 1, name="then", created_upstream_at=now - timedelta(days=2))
    assert names(login(requester), "?sort_at_from=today") == {"now"}
    assert names(login(requester), f"?sort_at_to={(now - timedelta(days=1)).isoformat()}".replace("+", "%2B")) == {
        "then"
    }
    assert Run.objects.count() == 2
