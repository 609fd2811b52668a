"""The list of requests and its actions on several at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory

from flows.models import Deployment, Environment
from portal import inbox
from portal.ui.approval_labels import approved_by
from runs import changes
from runs import requests as runs_requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Approval, Grant, Policy, RunRequest
from tests.cast import by, person
from tests.portal.downloads import rows_of
from tests.portal.many_rows import many_requests, many_runs
from tests.portal.page_elements import attributes, message_codes
from tests.portal.query_counts import count, must_be_agreed

URL = "/admin/runs/runrequest/"
Login = Callable[[User], Client]
State = RunRequest.State


def text(client: Client, query: str = "") -> str:
    answer = client.get(URL + query)
    assert answer.status_code == 200
    return answer.content.decode()


def post(client: Client, action: str, requests: list[RunRequest], **more: str) -> Any:
    data = {"action": action, "_selected_action": [each.pk for each in requests], "index": "0", **more}
    answer = client.post(URL, data, follow=True)
    for each in requests:
        each.refresh_from_db()
    return answer


def decidable(answer: Any) -> set[int]:
    """The requests of the list that can be decided."""
    return {int(pk) for pk in re.findall(r'name="seen-(\d+)"', answer.content.decode())}


def results(answer: Any) -> list[str]:
    """What became of each request: "done" or the code of its refusal."""
    return attributes(answer.content.decode(), "data-outcome")


def displayed(requests: list[RunRequest]) -> dict[str, str]:
    return {f"seen-{each.pk}": each.change.digest for each in requests}


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> list[RunRequest]:
    return [
        runs_requests.submit(
            prod_deployment,
            {"month": f"2026-0{month}"},
            by=by(requester),
            reason=f"Month {month}",
            tags=[f"month-{month}"],
        )
        for month in (1, 2)
    ]


def test_a_row_shows_what_was_requested_by_whom_and_its_state(
    approver: User, waiting: list[RunRequest], login: Login
) -> None:
    page = text(login(approver))
    for piece in (
        f"Request {waiting[0].pk}",
        "monthly/monthly",
        ">Waiting for approval<",
        "requester",
        "Month 1",
        ">prod<",
    ):
        assert piece in page or piece.strip("<>") in page


def test_an_empty_list_says_why_it_is_empty(requester: User, login: Login) -> None:
    assert 'data-code="no_rows"' in text(login(requester))
    assert 'data-code="no_results"' in text(login(requester), "?q=no-such-request")


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
        ("?whose=to-answer", "requester", set()),
        ("?whose=mine", "requester", {"Month 1", "Month 2"}),
        ("?whose=mine", "approver", set()),
        ("?state=held", "requester", {"Month 1", "Month 2"}),
        ("?state=completed", "requester", set()),
        ("?environment=dev", "requester", set()),
        ("?q=Month+2", "requester", {"Month 2"}),
        ("?deployment=monthly/monthly", "requester", {"Month 1", "Month 2"}),
        ("?deployment=monthly/other", "requester", set()),
        ("?tag=month-2", "requester", {"Month 2"}),
    ],
)
def test_a_filter_keeps_what_it_says(
    query: str, who: str, found: set[str], requester: User, approver: User, waiting: list[RunRequest], login: Login
) -> None:
    page = text(login({"requester": requester, "approver": approver}[who]), query)
    assert {reason for reason in ("Month 1", "Month 2") if f">{reason}<" in page} == found


def test_several_are_approved_at_once(approver: User, waiting: list[RunRequest], login: Login) -> None:
    client = login(approver)
    listed = post(client, "approve_selected", waiting)
    page = listed.content.decode()
    assert {each.state for each in waiting} == {State.HELD}
    assert decidable(listed) == {each.pk for each in waiting}
    assert "month: 2026-01" in page, "what is approved must be displayed"
    seen = displayed(waiting)
    assert all(f'name="{name}" value="{digest}"' in page for name, digest in seen.items())
    answer = post(client, "approve_selected", waiting, reason="Month end", **seen)
    assert results(answer) == ["done", "done"]
    items = [item for group in answer.context["sidebar_navigation"] for item in group["items"]]
    assert [item["badge"] for item in items if item["title"] == "Run requests"] == [0], "the menu counts those left"
    assert {each.state for each in waiting} == {State.APPROVED}
    assert set(Approval.objects.values_list("reason", flat=True)) == {"Month end"}


def test_the_list_to_decide_shows_risk_and_every_value_and_no_secret(
    approver: User, requester: User, prod_deployment: Deployment, login: Login
) -> None:
    Policy.objects.create(environment=prod_deployment.environment, name="Careful", risk="high")
    values = {"month": "2026-01", "rows": 7, "token": "opensesame"}
    run_request = runs_requests.submit(prod_deployment, values, by=by(requester), reason="Closing", ticket="OPS-7")
    page = post(login(approver), "approve_selected", [run_request]).content.decode()
    for piece in ("High risk", "rows: 7", "default 100", "Closing", "Ticket OPS-7", "token: ••••••"):
        assert piece in page
    assert "opensesame" not in page


def test_the_results_survive_a_reload_and_decide_nothing_again(
    approver: User, requester: User, waiting: list[RunRequest], login: Login
) -> None:
    client = login(approver)
    answer = post(client, "approve_selected", waiting, reason="", **displayed(waiting))
    ((address, status),) = answer.redirect_chain
    assert status == 302
    assert results(client.get(address)) == ["done", "done"]
    assert Approval.objects.count() == 2
    # They are of one session, and of what one still sees.
    assert login(requester).get(address).status_code == 404
    Grant.objects.filter(person=approver).delete()
    approver.groups.set(Group.objects.filter(name="Viewer"))
    again = client.get(address)
    assert results(again) == []
    assert f"Request {waiting[0].pk}" not in again.content.decode()


def test_the_approver_stands_beside_each_request(
    approver: User, prod: Environment, waiting: list[RunRequest], login: Login
) -> None:
    first, second = waiting
    changes.approve(first.change, by=by(approver))
    changes.reject(second.change, by=by(approver), reason="No")
    rows = {int(row["request"]): row["approved by"] for row in rows_of(login(approver), f"{URL}export.csv")}
    assert rows == {first.pk: "approver", second.pk: "rejected by approver"}
    page = text(login(approver))
    assert "rejected by approver" in page
    third = runs_requests.submit(first.deployment, {"month": "2026-03"}, by=by(first.change.requested_by), reason="r")
    assert approved_by(third.change) == "0 of 1"


def test_what_was_not_displayed_is_not_approved(approver: User, waiting: list[RunRequest], login: Login) -> None:
    answer = post(login(approver), "approve_selected", waiting, reason="", **{f"seen-{waiting[0].pk}": "0" * 64})
    assert results(answer) == ["approval.stale", "approval.stale"]
    assert {each.state for each in waiting} == {State.HELD}


def test_several_are_rejected_at_once_with_a_reason(approver: User, waiting: list[RunRequest], login: Login) -> None:
    client = login(approver)
    assert 'name="reason"' in post(client, "reject_selected", waiting).content.decode()
    refused = post(client, "reject_selected", waiting, reason="  ").content.decode()
    assert attributes(refused, "data-error") == ["rejection.reason_required"]
    assert {each.state for each in waiting} == {State.HELD}
    assert results(post(client, "reject_selected", waiting, reason="Freeze until Monday")) == ["done", "done"]
    assert {(each.state, each.message) for each in waiting} == {(State.REJECTED, "Freeze until Monday")}


def test_several_are_withdrawn_by_their_requester(requester: User, waiting: list[RunRequest], login: Login) -> None:
    assert message_codes(post(login(requester), "withdraw_selected", waiting)) == ["success", "success"]
    assert {each.state for each in waiting} == {State.WITHDRAWN}


def test_one_that_is_too_late_does_not_stop_the_others(approver: User, waiting: list[RunRequest], login: Login) -> None:
    changes.reject(waiting[0].change, by=by(approver), reason="No")
    client = login(approver)
    assert decidable(post(client, "approve_selected", waiting)) == {waiting[1].pk}
    answer = post(client, "approve_selected", waiting, reason="", **displayed(waiting))
    assert results(answer) == ["state.illegal", "done"]
    assert [each.state for each in waiting] == [State.REJECTED, State.APPROVED]


def test_an_own_request_among_them_is_explained_and_left_out(
    approver: User, prod: Environment, waiting: list[RunRequest], login: Login
) -> None:
    grants.grant(by=Actor.system(), person=approver, verbs=["trigger"], environment=prod)
    own = runs_requests.submit(waiting[0].deployment, {"month": "2026-03"}, by=by(approver), reason="Mine")
    answer = post(login(approver), "approve_selected", [*waiting, own])
    assert decidable(answer) == {each.pk for each in waiting}
    assert attributes(answer.content.decode(), "data-why") == ["approval.own"]


# The inbox


def badge(client: Client) -> int:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=client.session["_auth_user_id"])
    return inbox.waiting_for_me(request)


def in_stages(prod: Environment, *groups: str) -> None:
    stages = [{"needed": 1, "group": group} for group in groups]
    Policy.objects.create(environment=prod, name="In stages", stages=stages)


def test_what_waits_for_another_group_is_not_in_the_inbox(
    approver: User, requester: User, prod: Environment, prod_deployment: Deployment, login: Login
) -> None:
    in_stages(prod, "Release manager", "Approver")
    run_request = runs_requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Month 1")
    manager = person("manager", "Release manager")
    grants.grant(by=Actor.system(), person=manager, verbs=["see", "approve"], environment=prod)
    client, other = login(approver), login(manager)
    assert (badge(client), badge(other)) == (0, 1)
    assert ">Month 1<" not in text(client, "?whose=to-answer")
    changes.approve(run_request.change, by=by(manager))
    assert (badge(client), badge(other)) == (1, 0)
    assert ">Month 1<" in text(client, "?whose=to-answer")


def test_what_one_approved_or_was_requested_on_ones_behalf_is_not_in_the_inbox(
    approver: User, requester: User, prod: Environment, prod_deployment: Deployment, login: Login
) -> None:
    Policy.objects.create(environment=prod, name="Two", stages=[{"needed": 2, "group": ""}])
    options = {"by": by(requester), "reason": "Month 1"}
    first = runs_requests.submit(prod_deployment, {"month": "2026-01"}, **options)
    runs_requests.submit(prod_deployment, {"month": "2026-02"}, on_behalf_of=approver, **options)
    client = login(approver)
    assert badge(client) == 1
    changes.approve(first.change, by=by(approver))
    first.refresh_from_db()
    assert first.state == State.HELD
    assert badge(client) == 0


def test_what_no_grant_reaches_by_its_values_is_not_in_the_inbox(
    requester: User, prod: Environment, prod_deployment: Deployment, login: Login
) -> None:
    bound = person("bound")
    only = {"properties": {"rows": {"maximum": 10}}}
    grants.grant(by=Actor.system(), person=bound, verbs=["see"], environment=prod)
    grants.grant(by=Actor.system(), person=bound, verbs=["approve"], environment=prod, predicate=only)
    for rows in (5, 50):
        runs_requests.submit(prod_deployment, {"month": "2026-01", "rows": rows}, by=by(requester), reason="Closing")
    assert badge(login(bound)) == 1


def test_the_inbox_costs_the_same_for_2_and_20(
    approver: User, requester: User, prod: Environment, prod_deployment: Deployment, login: Login
) -> None:
    in_stages(prod, "Approver", "Release manager")

    def add(number: int) -> int:
        many_requests(
            prod_deployment, requester, number, policy={"stages": [{"needed": 1, "group": "Release manager"}]}
        )
        return count(login(approver), URL)

    assert add(2) == add(18)


def test_the_requester_is_not_offered_to_approve(requester: User, waiting: list[RunRequest], login: Login) -> None:
    client = login(requester)
    assert 'value="approve_selected"' not in text(client)
    post(client, "approve_selected", waiting, reason="Mine", **displayed(waiting))
    assert {each.state for each in waiting} == {State.HELD}


def test_what_may_not_be_seen_is_not_reached_by_its_number(
    viewer: User, waiting: list[RunRequest], login: Login
) -> None:
    post(login(viewer), "withdraw_selected", waiting)
    assert {each.state for each in waiting} == {State.HELD}


def test_the_cost_is_the_same_for_10_and_100_rows(
    approver: User, requester: User, prod_deployment: Deployment, login: Login
) -> None:
    client = login(approver)

    def add(number: int) -> None:
        rows = many_requests(prod_deployment, requester, number)
        for row, run in zip(rows, many_runs(prod_deployment, number), strict=True):
            row.run = run
        RunRequest.objects.bulk_update(rows, ["run"])

    add(10)
    ten = count(client, f"{URL}?all=")
    add(90)
    hundred = count(client, f"{URL}?all=")
    # More than one page is counted.
    assert ten + 1 == hundred <= 15
    must_be_agreed("request list", hundred)
