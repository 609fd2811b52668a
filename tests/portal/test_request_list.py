"""The list of requests and its actions on several at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment
from runs import lifecycle
from runs.models import RunRequest
from tests.cast import by
from tests.portal.counting import count, must_be_agreed
from tests.portal.plenty import many_requests, many_runs

URL = "/admin/runs/runrequest/"
Login = Callable[[User], Client]
State = RunRequest.State


def text(client: Client, query: str = "") -> str:
    answer = client.get(URL + query)
    assert answer.status_code == 200
    return answer.content.decode()


def post(client: Client, action: str, requests: list[RunRequest]) -> str:
    data = {"action": action, "_selected_action": [each.pk for each in requests], "index": "0"}
    page = client.post(URL, data, follow=True).content.decode()
    for each in requests:
        each.refresh_from_db()
    return page


@pytest.fixture
def waiting(asker: User, prod_deployment: Deployment) -> list[RunRequest]:
    return [
        lifecycle.submit(prod_deployment, {"month": f"2026-0{month}"}, by=by(asker), reason=f"Month {month}")
        for month in (1, 2)
    ]


def test_a_row_says_what_was_asked_by_whom_and_where_it_is(
    approver: User, waiting: list[RunRequest], login: Login
) -> None:
    page = text(login(approver))
    for piece in (
        f"Request {waiting[0].pk}",
        "monthly/monthly",
        ">Waiting for approval<",
        "asker",
        "Month 1",
        ">prod<",
    ):
        assert piece in page or piece.strip("<>") in page


def test_an_empty_list_says_why_it_is_empty(asker: User, login: Login) -> None:
    assert "Nobody has asked for a run yet" in text(login(asker))
    assert "Nothing fits" in text(login(asker), "?q=no-such-request")


def test_a_viewer_of_dev_sees_no_request_of_prod(viewer: User, waiting: list[RunRequest], login: Login) -> None:
    page = text(login(viewer))
    assert "Month 1" not in page
    assert f"Request {waiting[0].pk}<" not in page


def test_a_stranger_sees_no_list(stranger: User, waiting: list[RunRequest], login: Login) -> None:
    answer = login(stranger).get(URL)
    assert answer.status_code == 403
    assert b"Month 1" not in answer.content


@pytest.mark.parametrize(
    ("query", "who", "found"),
    [
        ("?whose=to-answer", "approver", {"Month 1", "Month 2"}),
        ("?whose=to-answer", "asker", set()),
        ("?whose=mine", "asker", {"Month 1", "Month 2"}),
        ("?whose=mine", "approver", set()),
        ("?state=waiting", "asker", {"Month 1", "Month 2"}),
        ("?state=completed", "asker", set()),
        ("?environment=dev", "asker", set()),
        ("?q=Month+2", "asker", {"Month 2"}),
    ],
)
def test_a_filter_keeps_what_it_says(
    query: str, who: str, found: set[str], asker: User, approver: User, waiting: list[RunRequest], login: Login
) -> None:
    page = text(login({"asker": asker, "approver": approver}[who]), query)
    assert {reason for reason in ("Month 1", "Month 2") if f">{reason}<" in page} == found


def test_several_are_approved_at_once(approver: User, waiting: list[RunRequest], login: Login) -> None:
    page = post(login(approver), "approve_selected", waiting)
    assert page.count("approved.") == 2
    assert {each.state for each in waiting} == {State.APPROVED}


def test_several_are_rejected_at_once(approver: User, waiting: list[RunRequest], login: Login) -> None:
    post(login(approver), "reject_selected", waiting)
    assert {each.state for each in waiting} == {State.REJECTED}


def test_several_are_withdrawn_by_their_asker(asker: User, waiting: list[RunRequest], login: Login) -> None:
    page = post(login(asker), "withdraw_selected", waiting)
    assert page.count("withdrawn.") == 2
    assert {each.state for each in waiting} == {State.WITHDRAWN}


def test_one_that_is_too_late_does_not_keep_the_others_back(
    approver: User, waiting: list[RunRequest], login: Login
) -> None:
    lifecycle.reject(waiting[0], by=by(approver), reason="No")
    page = post(login(approver), "approve_selected", waiting)
    assert "cannot become “Queued” any more" in page
    assert [each.state for each in waiting] == [State.REJECTED, State.APPROVED]


def test_the_asker_is_not_offered_an_answer(asker: User, waiting: list[RunRequest], login: Login) -> None:
    client = login(asker)
    assert "Approve selected requests" not in text(client)
    post(client, "approve_selected", waiting)
    assert {each.state for each in waiting} == {State.WAITING}


def test_what_may_not_be_seen_is_not_reached_by_its_number(
    viewer: User, waiting: list[RunRequest], login: Login
) -> None:
    post(login(viewer), "withdraw_selected", waiting)
    assert {each.state for each in waiting} == {State.WAITING}


def test_the_cost_is_the_same_for_10_and_100_rows(
    approver: User, asker: User, prod_deployment: Deployment, login: Login
) -> None:
    client = login(approver)

    def add(number: int) -> None:
        rows = many_requests(prod_deployment, asker, number)
        for row, run in zip(rows, many_runs(prod_deployment, number), strict=True):
            row.run = run
        RunRequest.objects.bulk_update(rows, ["run"])

    add(10)
    ten = count(client, f"{URL}?all=")
    add(90)
    hundred = count(client, f"{URL}?all=")
    assert ten == hundred <= 15
    must_be_agreed("request list", ten)
