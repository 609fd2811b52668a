"""Pages of a list by position: every row once, in both directions, whatever appears meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from portal.lists import change_list
from tests.portal.many_rows import many_requests, many_runs

URL = "/admin/runs/run/"
Login = Callable[[User], Client]


def read(client: Client, query: str, url: str = URL) -> tuple[list[str], dict[str, str]]:
    """Return the keys of the rows of a page, and its links to other pages."""
    answer = client.get(url + query)
    assert answer.status_code == 200, query
    page = answer.content.decode()
    links = re.findall(r'rel="(prev|next)" href="([^"]+)"', page)
    return re.findall(r'name="_selected_action" value="(\d+)"', page), {rel: unescape(link) for rel, link in links}


def walk(client: Client, query: str, rel: str) -> list[list[str]]:
    rows, links = read(client, query)
    pages = [rows]
    while rel in links:
        rows, links = read(client, links[rel])
        pages.append(rows)
    return pages


@pytest.mark.parametrize("order", ["", "&o=8", "&o=-7", "&o=7"])
def test_every_row_is_on_one_page(requester: User, deployment: Deployment, login: Login, order: str) -> None:
    runs = many_runs(deployment, 60, run_seconds=3)
    many_runs(deployment, 40, run_seconds=5, created_upstream_at=timezone.now())
    client = login(requester)
    pages = walk(client, f"?rows=25{order}", "next")
    assert [len(page) for page in pages] == [25, 25, 25, 25]
    assert len({pk for page in pages for pk in page}) == 100
    assert {str(run.pk) for run in runs} < {pk for page in pages for pk in page}


def test_backwards_are_the_same_pages(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 75)
    client = login(requester)
    forwards = walk(client, "?rows=25", "next")
    link = "?rows=25"
    for _ in forwards[1:]:
        link = read(client, link)[1]["next"]
    assert walk(client, link, "prev") == forwards[::-1]


def test_a_row_that_appears_meanwhile_moves_no_other(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 30)
    client = login(requester)
    first, links = read(client, "?rows=25")
    many_runs(deployment, 10, created_upstream_at=timezone.now() + timedelta(minutes=1))
    second, _ = read(client, links["next"])
    assert len(second) == 5
    assert not {*first} & {*second}


@pytest.mark.parametrize(
    "place",
    ["after=x", "after=~", "before=2026-01-01", "after=2026-01-01T00:00:00~x", "before=9999-99-99~1", "after=~~~"],
)
def test_a_position_that_is_none_is_no_server_error(
    requester: User, deployment: Deployment, login: Login, place: str
) -> None:
    many_runs(deployment, 3)
    assert login(requester).get(f"{URL}?{place}").status_code in (200, 302)


def test_behind_the_last_row_there_is_a_way_back(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 3)
    page = login(requester).get(f"{URL}?after=2000-01-01T00:00:00%2B00:00~1").content.decode()
    assert ">First<" in re.sub(r"<span[^>]*>[^<]*</span>", "", page)


def test_rows_are_counted_up_to_a_limit(
    requester: User, deployment: Deployment, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_runs(deployment, 12)
    monkeypatch.setattr(change_list, "MOST_COUNTED", 10)
    assert ">10+ runs<" in login(requester).get(URL).content.decode()
    monkeypatch.setattr(change_list, "MOST_COUNTED", 12)
    assert ">12 runs<" in login(requester).get(URL).content.decode()


def test_what_a_search_finds_is_counted_only_if_it_is_one_page(
    requester: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 30)
    client = login(requester)
    assert ">25+ runs<" in client.get(f"{URL}?rows=25&q={deployment.full_name}").content.decode()
    assert ">30 runs<" in client.get(f"{URL}?rows=50&q={deployment.full_name}").content.decode()


def test_filters_and_order_stay_on_the_next_page(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 30, state_type="FAILED")
    many_runs(deployment, 30)
    client = login(requester)
    _, links = read(client, "?rows=25&state=FAILED&o=8")
    rows, links = read(client, links["next"])
    assert len(rows) == 5
    assert "state=FAILED" in links["prev"]


def test_requests_are_paged_too(requester: User, deployment: Deployment, login: Login) -> None:
    many_requests(deployment, requester, 30)
    client = login(requester)
    first, links = read(client, "?rows=25", "/admin/runs/runrequest/")
    second, _ = read(client, links["next"], "/admin/runs/runrequest/")
    assert (len(first), len(second), len({*first, *second})) == (25, 5, 30)


def test_the_page_of_a_hidden_row_is_not_told(
    viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login, admin_user: User
) -> None:
    # A position is a time and a key, and can be anybody's: rows behind it are those that the reader sees.
    many_runs(prod_deployment, 30)
    visible = many_runs(deployment, 2, created_upstream_at=timezone.now() - timedelta(days=30))
    links: dict[str, Any] = read(login(admin_user), "?rows=25")[1]
    rows, _ = read(login(viewer), links["next"])
    assert {*rows} <= {str(run.pk) for run in visible}
