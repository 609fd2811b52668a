"""Messages to hooks, sent by the library of Standard Webhooks and as GitHub does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from standardwebhooks.webhooks import Webhook

from flows.models import Deployment
from portal.hooks import inbound
from runs import changes
from runs.actors import Actor
from runs.automation import hooks
from runs.governance import grants, service_accounts
from runs.models import AuditEntry, ChangeRequest, Grant, Hook, HookDelivery, HookRefusal, HookSecret, RunRequest
from runs.requests import spec_values
from tests.cast import by, person
from tests.made_hooks import MAPPING, PAYLOAD, PLACE, Sender, new_hook, robot_for
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(requester: User, deployment: Deployment) -> Sender:
    return new_hook(requester, deployment)


def the_refusal() -> tuple[str, int]:
    row = HookRefusal.objects.get()
    return row.code, row.number


# What a message does --------------------------------------------------------------------------------------------------


def test_a_signed_message_requests_a_run_with_what_it_says(sender: Sender, requester: User) -> None:
    answer = sender.send()
    delivery, request = HookDelivery.objects.get(), RunRequest.objects.get()
    assert answer.status == 202
    assert answer.body == {"id": delivery.pk, "outcome": "accepted", "code": "", "request": request.pk}
    assert spec_values(request.spec) == {"month": "2026-10", "rows": 10, "token": ""}
    assert (request.change.requested_by.username, request.change.on_behalf_of) == ("shop", requester)
    assert request.change.channel == "webhook"
    assert (delivery.outcome, delivery.message_id, delivery.address) == ("accepted", "msg_1", PLACE)


def test_the_trail_names_the_hook_and_who_answers_for_it(sender: Sender) -> None:
    sender.send()
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_kind, entry.actor_name, entry.channel) == ("webhook", "shop", "webhook")
    assert (entry.token_id, entry.on_behalf_of, entry.address) == (sender.hook.key, "requester", PLACE)


def test_nothing_of_a_payload_is_stored_with_the_delivery(sender: Sender) -> None:
    sender.send({**PAYLOAD, "other": "a private word"})
    assert "a private word" not in repr([*HookDelivery.objects.values(), *AuditEntry.objects.values()])


def test_a_message_that_is_sent_again_is_answered_as_before_and_done_once(sender: Sender) -> None:
    first, second = sender.send(), sender.send(at=datetime.now(UTC) - timedelta(minutes=1))
    assert (first.status, first.body) == (second.status, second.body)
    assert RunRequest.objects.count() == 1
    assert HookDelivery.objects.get().attempts == 2


def test_a_killed_portal_submits_once(sender: Sender) -> None:
    """The request was committed, the delivery was not: the key of the submission finds it."""
    sender.send()
    HookDelivery.objects.all().delete()
    assert sender.send().body["request"] == RunRequest.objects.get().pk


def test_what_is_protected_waits_for_an_approval_and_not_by_the_owner(
    requester: User, approver: User, prod_deployment: Deployment
) -> None:
    grants.grant(
        by=Actor.system(), person=requester, verbs=["approve"], environment=prod_deployment.environment, reason="r"
    )
    new_hook(requester, prod_deployment).send()
    change = ChangeRequest.objects.get()
    assert change.state == ChangeRequest.State.WAITING
    with refused("approval.own"):
        changes.approve(change, by=by(requester))
    changes.approve(change, by=by(approver))
    assert ChangeRequest.objects.get().state == ChangeRequest.State.APPROVED


def test_a_condition_says_which_messages_act(requester: User, deployment: Deployment) -> None:
    sender = new_hook(
        requester, deployment, predicate={"properties": {"data": {"properties": {"ok": {"const": True}}}}}
    )
    ignored = sender.send()
    assert (ignored.status, ignored.body["outcome"], ignored.code) == (202, "ignored", "condition")
    assert not RunRequest.objects.exists()
    assert sender.send({"data": {"ok": True, "month": "2026-10"}}, "msg_2").body["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"data": {}}, "hook.pointer"),
        ({"data": {"month": "October"}}, "parameters.invalid"),
        ({"data": {"month": "2026-10", "rows": "10"}}, "parameters.invalid"),
        ({"data": {"month": {"__prefect_kind": "jinja", "template": "x"}}}, "parameters.invalid"),
        ({"data": {"month": "2026-\x00"}}, "hook.payload"),
        ([PAYLOAD], "hook.payload"),
        ("no JSON", "hook.payload"),
        ("[" * 200 + "]" * 200, "hook.payload"),
        ('{"data": ' + '{"a":' * 60 + "1" + "}" * 61, "hook.payload"),
    ],
)
def test_a_payload_that_gives_no_valid_parameters_is_refused_and_the_sender_is_told(
    sender: Sender, payload: Any, code: str
) -> None:
    answer = sender.send(payload)
    assert (answer.status, answer.body["outcome"], answer.code) == (422, "refused", code)
    assert not RunRequest.objects.exists()
    assert HookDelivery.objects.get().message
    assert AuditEntry.objects.filter(outcome="refused").get().after["refused"]["code"] == code


def test_a_missing_value_is_named_with_its_pointer(sender: Sender) -> None:
    sender.send({"data": {}})
    message = HookDelivery.objects.get().message
    assert "/data/month" in message
    assert "“month”" in message


def test_its_account_needs_the_grant_at_each_message(sender: Sender) -> None:
    assert sender.send().status == 202
    for grant in Grant.objects.filter(person=sender.hook.account.user):
        grants.revoke(grant, by=Actor.system(), reason="r")
    assert sender.send(name="msg_2").code == "access.no_grant"
    entry = AuditEntry.objects.get(verb="request.submit", outcome="refused")
    assert entry.token_id == sender.hook.key


def test_a_wide_grant_of_its_account_does_not_reach_further_than_its_deployment(
    sender: Sender, prod_deployment: Deployment
) -> None:
    grants.grant(
        by=Actor.system(),
        person=sender.hook.account.user,
        verbs=["trigger"],
        environment=prod_deployment.environment,
        reason="r",
    )
    # Only in the database: the portal never changes the deployment of a hook.
    Hook.objects.update(deployment=prod_deployment)
    assert sender.send().status == 401
    assert not RunRequest.objects.exists()


# What is refused ------------------------------------------------------------------------------------------------------

STANDARD = {
    "another secret": ({"webhook_signature": "v1," + "A" * 43 + "="}, 401, "hook.signature"),
    "another version": ({"webhook_signature": "v1a," + "A" * 43 + "="}, 401, "hook.signature"),
    "no signature": ({"webhook_signature": None}, 400, "hook.header"),
    "an empty one": ({"webhook_signature": ""}, 400, "hook.header"),
    "a malformed one": ({"webhook_signature": "v1;x"}, 400, "hook.header"),
    "too many": ({"webhook_signature": " ".join(["v1,AAAA"] * 11)}, 400, "hook.header"),
    "no id": ({"webhook_id": None}, 400, "hook.header"),
    "another id": ({"webhook_id": "msg_2"}, 401, "hook.signature"),
    "an id with a space": ({"webhook_id": "msg 2"}, 400, "hook.header"),
    "a long id": ({"webhook_id": "m" * 256}, 400, "hook.header"),
    "no time": ({"webhook_timestamp": None}, 400, "hook.header"),
    "a time that is none": ({"webhook_timestamp": "now"}, 400, "hook.header"),
    "a negative one": ({"webhook_timestamp": "-1"}, 400, "hook.header"),
    "another time": ({"webhook_timestamp": "999999999999"}, 401, "hook.signature"),
}


@pytest.mark.parametrize("name", STANDARD)
def test_what_is_not_signed_with_its_secret_is_refused_counted_and_audited(sender: Sender, name: str) -> None:
    changed, status, code = STANDARD[name]
    answer = sender.send(**changed)
    assert (answer.status, answer.code) == (status, code)
    assert the_refusal() == (code, 1)
    entry = AuditEntry.objects.get(verb="hook.refuse")
    assert (entry.outcome, entry.after["refused"]["code"], entry.token_id) == ("refused", code, sender.hook.key)
    # It does not say that the account did it.
    assert (entry.actor_id, entry.actor_name, entry.on_behalf_of) == ("", "unproven sender", "")
    assert not HookDelivery.objects.exists()
    # Nothing of it stands in the way of the real message.
    assert sender.send().status == 202


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_message_that_is_too_old_or_from_the_future_is_refused(sender: Sender, minutes: int) -> None:
    answer = sender.send(at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert (answer.status, answer.code) == (401, "hook.timestamp")
    assert the_refusal() == ("hook.timestamp", 1)
    assert sender.send(at=datetime.now(UTC) + timedelta(minutes=minutes * 2 / 3)).status == 202


def test_another_body_with_the_same_id_is_a_replay(sender: Sender) -> None:
    sender.send()
    answer = sender.send({"data": {"month": "2026-11"}})
    assert (answer.status, answer.code) == (409, "hook.replay")
    assert the_refusal() == ("hook.replay", 1)
    assert RunRequest.objects.count() == 1


def test_a_changed_body_is_refused(sender: Sender) -> None:
    body = json.dumps(PAYLOAD)
    assert sender.post(body.replace("10", "11"), sender.headers(body, "msg_1")).code == "hook.signature"


def test_any_of_its_secrets_and_any_of_the_signatures_will_do(sender: Sender, requester: User) -> None:
    new = hooks.add_secret(sender.hook, by=by(requester))
    assert sender.send().status == 202
    at, body = datetime.now(UTC), json.dumps(PAYLOAD)
    both = " ".join([Webhook(text).sign("msg_2", at, body) for text in (sender.secret, new.text)])
    assert sender.send(name="msg_2", at=at, webhook_signature=f"v1a,AAAA {both}").status == 202
    hooks.remove_secret(sender.hook, HookSecret.objects.earliest("pk"), by=by(requester))
    assert sender.send(name="msg_3").code == "hook.signature"
    assert Sender(sender.hook, new.text).send(name="msg_3").status == 202


def test_an_unknown_address_is_not_found_and_leaves_no_row(sender: Sender) -> None:
    body = json.dumps(PAYLOAD)
    answer = sender.post(body, sender.headers(body, "msg_1"), key="x" * 20)
    assert (answer.status, answer.code) == (404, "hook.unknown")
    assert not HookRefusal.objects.exists()
    assert not AuditEntry.objects.filter(verb="hook.refuse").exists()


@pytest.mark.parametrize("key", ["", "x" * 20])
def test_guessing_is_slowed_down_and_signed_messages_are_not(sender: Sender, key: str) -> None:
    body = json.dumps(PAYLOAD)
    headers = sender.headers(body, "msg_1") | {"webhook-signature": "v1,AAAA"}
    codes = [sender.post(body, headers, key=key).code for _ in range(40)]
    assert codes[-1] == "hook.throttled"
    assert sender.send().status == 202


def test_a_flood_writes_one_row_and_one_entry(sender: Sender) -> None:
    for _ in range(50):
        sender.send(webhook_signature="v1,AAAA")
    assert the_refusal() == ("hook.signature", 50)
    assert AuditEntry.objects.filter(verb="hook.refuse").count() == 1


def test_too_many_messages_a_minute_wait(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "LIMIT", 3)
    answers = [sender.send(name=f"msg_{number}") for number in range(5)]
    assert {answer.status for answer in answers[:3]} == {202}
    assert (answers[-1].status, answers[-1].code) == (429, "hook.rate")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_a_body_that_is_too_large_is_refused(requester: User, deployment: Deployment) -> None:
    sender = new_hook(requester, deployment, max_bytes=1024)
    answer = sender.send({**PAYLOAD, "other": "x" * 1024})
    assert (answer.status, answer.code) == (413, "hook.too_large")
    assert the_refusal() == ("hook.too_large", 1)


def test_a_disabled_hook_is_gone_but_only_for_those_who_know_its_secret(sender: Sender, requester: User) -> None:
    hooks.set_enabled(sender.hook, False, by=by(requester))
    assert sender.send(webhook_signature="v1,AAAA").status == 401
    answer = sender.send()
    assert (answer.status, answer.code) == (410, "hook.disabled")


@pytest.mark.parametrize("who", ["owner", "account"])
def test_it_ends_with_its_account_and_its_owner(sender: Sender, requester: User, who: str) -> None:
    user = requester if who == "owner" else sender.hook.account.user
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert sender.send().status == 410
    assert not RunRequest.objects.exists()


@pytest.mark.usefixtures("single_administrator")
def test_another_owner_has_to_replace_its_secrets(sender: Sender, admin_user: User, requester: User) -> None:
    heir = person("heir")
    service_accounts.change(
        sender.hook.account, owner=heir, purpose="x", is_active=True, by=by(admin_user), reason="r", confirm="prod"
    )
    answer = sender.send()
    assert (answer.status, answer.code) == (410, "hook.disabled")
    assert the_refusal()[0] == "hook.owner_changed"
    assert "heir" not in json.dumps(answer.body)
    hook = hooks.rows().get()
    with refused("hook.not_own"):
        hooks.replace_secrets(hook, by=by(requester))
    new = hooks.replace_secrets(hook, by=by(heir))
    assert sender.send().status == 401
    assert Sender(hook, new.text).send().status == 202
    assert ChangeRequest.objects.get(kind="run").on_behalf_of == heir


# GitHub ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def github(requester: User, deployment: Deployment) -> Sender:
    return new_hook(requester, deployment, kind="github")


def test_github_is_known_by_its_signature(github: Sender) -> None:
    assert github.send(name="72d3162e-cc78-11e3-81ab-4c9367dc0958").status == 202
    assert github.send().status == 409


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401, "hook.signature"),
        ({"X_Hub_Signature_256": "sha1=" + "0" * 40}, 400, "hook.header"),
        ({"X_Hub_Signature_256": None}, 400, "hook.header"),
        ({"X_GitHub_Delivery": None}, 400, "hook.header"),
    ],
)
def test_what_github_did_not_sign_is_refused(github: Sender, changed: dict[str, Any], status: int, code: str) -> None:
    answer = github.send(**changed)
    assert (answer.status, answer.code) == (status, code)
    assert the_refusal() == (code, 1)


def test_the_same_body_with_another_id_is_a_replay_because_github_signs_no_id(github: Sender) -> None:
    assert github.send(name="one").status == 202
    assert github.send(name="one").status == 202
    answer = github.send(name="two")
    assert (answer.status, answer.code) == (409, "hook.replay")
    assert RunRequest.objects.count() == 1


def test_a_ping_requests_nothing_and_succeeds(github: Sender) -> None:
    answer = github.send({"zen": "Design for failure."}, X_GitHub_Event="ping")
    assert (answer.status, answer.body["outcome"]) == (202, "ignored")


# Changed in the database ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        {"mapping": {**MAPPING, "rows": {"value": 999}}},
        {"predicate": {"properties": {"x": {"const": 1}}}},
        {"kind": "github"},
        {"max_bytes": 1_000_000},
        {"name": "other"},
        {"pepper": 7},
    ],
)
def test_a_hook_that_was_changed_in_the_database_accepts_nothing(sender: Sender, column: dict[str, Any]) -> None:
    Hook.objects.update(**column)
    changed = Sender(Hook.objects.get(), sender.secret)
    answer = changed.send()
    # Outside it looks like a wrong signature.
    assert (answer.status, answer.code) == (401, "hook.signature")
    assert the_refusal()[0] == "hook.altered"
    assert not RunRequest.objects.exists()


def test_a_disabled_hook_is_not_enabled_in_the_database(sender: Sender, requester: User) -> None:
    hooks.set_enabled(sender.hook, False, by=by(requester))
    Hook.objects.update(is_enabled=True)
    assert sender.send().status == 401


def test_another_account_or_secret_in_the_database_opens_nothing(
    sender: Sender, requester: User, deployment: Deployment
) -> None:
    other = new_hook(requester, deployment, robot_for(requester, deployment, "other"))
    HookSecret.objects.filter(hook=other.hook).update(hook=sender.hook)
    assert Sender(sender.hook, other.secret).send().status == 401
    HookSecret.objects.filter(hook=sender.hook).latest("pk").delete()
    assert sender.send().status == 202
    Hook.objects.filter(pk=sender.hook.pk).update(account=other.hook.account)
    assert sender.send(name="msg_2").status == 401
