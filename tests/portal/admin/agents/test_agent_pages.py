"""Agents in the admin: who sees, adds, changes and stops them, and what their pages say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs import changes
from runs.governance import tokens
from runs.models import Agent, AgentStop, AuditEntry, ChangeRequest, Token
from tests.cast import by
from tests.portal.made_tokens import sent, texts
from tests.portal.mcp_calls import PLACE, actor, an_agent, call, done
from tests.portal.page_elements import form_errors, message_codes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db
LIST = reverse("admin:runs_agent_changelist")
ADD = reverse("admin:runs_agent_add")
Login = Callable[[User], Client]
TYPED = {"name": "helper", "purpose": "month end", "requests_per_day": "5", "requests_at_once": "2"}
IN_PROD = {
    "environment": "prod",
    "deployment": "monthly/monthly",
    "parameters": {"month": "2026-10"},
    "reason": "Month end",
}


def page_of(agent: Agent) -> str:
    return reverse("admin:runs_agent_change", args=[agent.pk])


def press(client: Client, name: str, *args: int, reason: str = "a leak") -> list[str]:
    answer = client.post(reverse(f"admin:runs_agent_{name}", args=args), {"reason": reason}, follow=True)
    return message_codes(answer)


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("admin_user", {"helper"}),
        ("auditor", {"helper"}),
        ("requester", {"helper"}),
        ("viewer", set()),
        ("stranger", set()),
    ],
)
def test_owners_see_theirs_and_overseers_all(
    who: str, names: set[str], requester: User, request: pytest.FixtureRequest, login: Login
) -> None:
    agent = an_agent(requester)
    client = login(request.getfixturevalue(who))
    assert {str(row) for row in client.get(LIST).context["cl"].result_list} == names
    assert client.get(page_of(agent)).status_code == (200 if names else 404)


def test_one_adds_an_agent_for_oneself_and_a_token_for_it(requester: User, login: Login) -> None:
    client = login(requester)
    assert client.post(ADD, TYPED).status_code == 302
    agent = Agent.objects.get()
    assert (agent.owner, agent.requests_per_day, agent.requests_at_once) == (requester, 5, 2)
    assert form_errors(client.post(ADD, TYPED)) == {("name", "agent.name")}
    form = client.get(reverse("admin:runs_token_new"), {"agent": agent.pk})
    assert f'<option value="{agent.pk}" selected>' in form.content.decode()
    answer = client.post(reverse("admin:runs_token_new"), sent(requester, agent=agent.pk))
    (text,) = texts(answer.content.decode())
    assert tokens.authenticate(text, address=PLACE, for_agents=True).agent == agent
    assert "/mcp" in answer.content.decode()
    assert AuditEntry.objects.get(verb="token.issue").after["agent"] == "helper"


def test_a_token_of_an_agent_has_no_more_than_an_agent_can_have(requester: User, viewer: User, login: Login) -> None:
    agent = an_agent(requester)
    too_much = sent(requester, {"verbs": ["see", "approve"]}, agent=agent.pk)
    answer = login(requester).post(reverse("admin:runs_token_new"), too_much)
    assert form_errors(answer) == {("agent", "token.agent_scope")}
    stolen = login(viewer).post(reverse("admin:runs_token_new"), sent(viewer, agent=agent.pk))
    assert form_errors(stolen) == {("agent", "invalid_choice")}
    assert not Token.objects.exists()


def test_only_its_owner_and_administrators_change_it(
    requester: User, auditor: User, admin_user: User, login: Login
) -> None:
    agent = an_agent(requester)
    more = TYPED | {"requests_per_day": "7"}
    assert login(auditor).post(page_of(agent), more).status_code == 403
    assert "<form" not in login(auditor).get(page_of(agent)).content.decode().partition('data-panel="budget"')[2]
    for person, number in ((requester, 7), (admin_user, 8)):
        assert login(person).post(page_of(agent), more | {"requests_per_day": str(number)}).status_code == 302
        agent.refresh_from_db()
        assert agent.requests_per_day == number
    too_many = login(requester).post(page_of(agent), more | {"requests_per_day": "1001"})
    assert form_errors(too_many) == {("requests_per_day", "max_value")}
    assert AuditEntry.objects.filter(verb="agent.change", outcome="done").count() == 2


def test_it_is_stopped_and_started(requester: User, auditor: User, admin_user: User, login: Login) -> None:
    agent = an_agent(requester)
    assert press(login(auditor), "stop", agent.pk) == ["agent.not_own"]
    assert press(login(requester), "stop", agent.pk, reason=" ") == ["agent.why_required"]
    press(login(admin_user), "stop", agent.pk)
    page = login(requester).get(page_of(agent)).content.decode()
    assert 'data-code="stopped"' in page
    assert 'data-key="start"' not in page
    assert press(login(requester), "start", agent.pk) == ["agent.stop_held"]
    press(login(admin_user), "start", agent.pk)
    agent.refresh_from_db()
    assert agent.stopped_at is None


def test_all_are_stopped_by_administrators_and_every_page_says_so(
    requester: User, admin_user: User, login: Login
) -> None:
    agent = an_agent(requester)
    assert 'data-key="stop-all"' not in login(requester).get(LIST).content.decode()
    assert press(login(requester), "stop_all") == ["access.administrators_only"]
    press(login(admin_user), "stop_all")
    assert AgentStop.objects.get().why == "a leak"
    for address in (LIST, page_of(agent), ADD):
        page = login(requester).get(address).content.decode()
        assert 'data-code="all_stopped"' in page, address
        assert "a leak" in page
    assert "Active" not in login(requester).get(LIST).content.decode()
    assert press(login(admin_user), "stop_all") == ["agents.stopped_already"]
    press(login(admin_user), "start_all")
    assert 'data-code="all_stopped"' not in login(requester).get(LIST).content.decode()


def test_its_page_says_what_it_did_and_used(
    prod_deployment: Deployment, deployment: Deployment, requester: User, login: Login
) -> None:
    agent = an_agent(requester, day=2)
    helper = actor(agent)
    done(helper, "request_run", **IN_PROD)
    done(helper, "runs")
    call(helper, "runs", hostile="<script>alert(1)</script>")
    page = login(requester).get(page_of(agent)).content.decode()
    assert "1 of 2" in page
    assert "<script>alert(1)" not in page
    (calls,) = [part for part in page.split("<section") if 'data-panel="calls"' in part]
    assert (calls.count('data-outcome="done"'), calls.count('data-outcome="refused"')) == (1, 1)
    row = login(requester).get(LIST).context["cl"].result_list[0]
    assert (row.asked, row.cancelled, row.open_runs) == (1, 0, 1)


def test_approvers_read_who_asks_and_on_whose_behalf(
    prod_deployment: Deployment, deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    change = ChangeRequest.objects.get(pk=done(actor(an_agent(requester)), "request_run", **IN_PROD)["request"])
    client = login(approver)
    for address in (
        reverse("admin:runs_runrequest_changelist"),
        reverse("admin:runs_runrequest_change", args=[change.pk]),
        reverse("admin:index"),
    ):
        assert "agent helper on behalf of requester" in client.get(address).content.decode(), address
    changes.approve(change, by=by(approver))


def test_the_list_costs_the_same_for_many(requester: User, login: Login) -> None:
    client = login(requester)
    an_agent(requester, "one")
    few = count(client, LIST)
    for number in range(5):
        an_agent(requester, f"more-{number}")
    assert count(client, LIST) == few
