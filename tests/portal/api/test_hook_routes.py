"""Hooks and their deliveries, as programs read them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs.governance import tokens
from runs.models import RunRequest, TokenScope
from tests.cast import by
from tests.made_hooks import Sender, new_hook
from tests.portal.api.programs import Program, Programs

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(requester: User, deployment: Deployment) -> Sender:
    return new_hook(requester, deployment)


def keys(caller: Program, **query: str) -> list[str]:
    return [each["key"] for each in caller.get("/hooks" + "".join(f"?{k}={v}" for k, v in query.items())).body["items"]]


def test_the_owner_and_the_account_itself_see_it(sender: Sender, requester: User, program: Programs) -> None:
    assert keys(program(requester)) == [sender.hook.key]
    end = timezone.now() + timedelta(days=1)
    scopes = [TokenScope(verbs=["see"])]
    robot = tokens.issue(sender.hook.account.user, by=by(requester), name="x", scopes=scopes, expires_at=end)
    assert keys(Program(robot.text)) == [sender.hook.key]
    assert keys(program(requester), enabled="false") == []


@pytest.mark.parametrize("who", ["approver", "viewer", "stranger", "admin_user"])
def test_nobody_else_does(who: str, request: pytest.FixtureRequest, sender: Sender, program: Programs) -> None:
    caller = program(request.getfixturevalue(who))
    assert keys(caller) == []
    answer = caller.get(f"/hooks/{sender.hook.key}/deliveries")
    assert (answer.status, answer.code) == (404, "row.unknown")


def test_a_scope_limits_them(sender: Sender, requester: User, program: Programs) -> None:
    caller = program(requester, TokenScope(verbs=["see"], full_name="other/other"))
    assert keys(caller) == []
    assert caller.get(f"/hooks/{sender.hook.key}/deliveries").status == 404


def test_what_each_message_did(sender: Sender, requester: User, program: Programs) -> None:
    sender.send()
    sender.send({"data": {}}, "msg_2")
    caller, path = program(requester), f"/hooks/{sender.hook.key}/deliveries"
    refused, accepted = caller.get(path).body["items"]
    assert (accepted["outcome"], accepted["request"]) == ("accepted", RunRequest.objects.get().pk)
    assert (refused["outcome"], refused["code"], refused["request"]) == ("refused", "hook.pointer", None)
    assert [each["id"] for each in caller.get(f"{path}?outcome=accepted").body["items"]] == [accepted["id"]]
