"""Commands that approve, freeze and show windows: output and exit codes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment, Server
from runs import desk, requests
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import Action, AuditEntry, BreakGlass, ChangeRequest, Comment, Policy, RunRequest, Window
from runs.models.request import State
from tests.cast import by
from tests.runs.conftest import Say

pytestmark = pytest.mark.django_db


@pytest.fixture
def run_request(prod_deployment: Deployment, requester: User, approver: User) -> RunRequest:
    """A request that waits for approval."""
    return requests.submit(
        prod_deployment, {"month": "2026-10", "token": "hush-hush"}, by=by(requester), reason="Month end"
    )


def state(run_request: RunRequest) -> str:
    return RunRequest.objects.get(pk=run_request.pk).state


def may(user: User, *verbs: str, environment: Environment | None = None) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=verbs, environment=environment)


# Approve and reject


def test_the_inbox_shows_what_waits_for_this_person(run_request: RunRequest, say: Say) -> None:
    code, out, _ = say("inbox", "--as", "approver")
    assert code == 0
    assert "monthly/monthly" in out
    assert "Month end" in out
    assert "hush" not in out
    assert json.loads(say("inbox", "--as", "requester", "--json")[1]) == []


def test_the_inbox_names_what_changed_in_the_deployment(run_request: RunRequest, say: Say) -> None:
    (row,) = json.loads(say("inbox", "--as", "approver", "--json")[1])
    assert row["changed"] == "first approval"
    assert row["not_pinned"]


def test_the_inbox_leaves_out_what_another_group_has_to_answer(
    prod_deployment: Deployment, requester: User, approver: User, say: Say
) -> None:
    Policy.objects.create(name="rule", stages=[{"needed": 1, "group": "Release manager"}])
    requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
    assert json.loads(say("inbox", "--as", "approver", "--json")[1]) == []


def test_the_inbox_leaves_out_what_was_approved_already(
    prod_deployment: Deployment, requester: User, approver: User
) -> None:
    Policy.objects.create(name="rule", stages=[{"needed": 2, "group": ""}])
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
    assert desk.inbox(by=by(approver)) == [run_request]
    desk.approve(run_request, by=by(approver))
    assert desk.inbox(by=by(approver)) == []


def test_an_approval_may_name_what_was_looked_at(run_request: RunRequest, say: Say) -> None:
    (row,) = json.loads(say("inbox", "--as", "approver", "--json")[1])
    assert say("approve", str(run_request.pk), "--digest", "0" * 64, "--as", "approver")[0] == 1
    assert state(run_request) == State.HELD
    code, out, err = say("approve", str(run_request.pk), "--digest", row["digest"], "--as", "approver", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["state"] == "approved"


def test_the_asker_cannot_approve_here_either(
    run_request: RunRequest, requester: User, prod: Environment, say: Say
) -> None:
    may(requester, "approve", environment=prod)
    code, _, err = say("approve", str(run_request.pk), "--as", "requester")
    assert code == 1
    assert "(approval.own)" in err


def test_a_rejection_wants_a_reason(run_request: RunRequest, say: Say) -> None:
    assert say("reject", str(run_request.pk), "--as", "approver")[0] == 1
    assert say("reject", str(run_request.pk), "--reason", "Not today", "--as", "approver")[0] == 0
    assert state(run_request) == State.REJECTED


def test_a_comment_is_kept(run_request: RunRequest, say: Say) -> None:
    assert say("comment", str(run_request.pk), "Which region?", "--as", "approver")[0] == 0
    assert Comment.objects.get().text == "Which region?"


def test_a_request_is_withdrawn(run_request: RunRequest, say: Say) -> None:
    assert say("withdraw", str(run_request.pk), "--as", "approver")[0] == 2
    assert say("withdraw", str(run_request.pk), "--reason", "Too early", "--as", "requester")[0] == 0
    assert state(run_request) == State.WITHDRAWN


@pytest.mark.parametrize("command", ["approve", "reject", "withdraw", "override", "break_glass", "rerun"])
def test_a_request_that_is_not_seen_is_not_there(
    run_request: RunRequest, stranger: User, say: Say, command: str
) -> None:
    seen = say(command, str(run_request.pk), "--reason", "x", "--as", "stranger")
    assert seen[0] == 3
    assert seen[2].replace(str(run_request.pk), "N") == say(command, "999999", "--reason", "x", "--as", "stranger")[
        2
    ].replace("999999", "N")


# Overrides


def test_glass_is_broken_and_reviewed_by_somebody_else(
    run_request: RunRequest, requester: User, approver: User, prod: Environment, say: Say
) -> None:
    assert say("break_glass", str(run_request.pk), "--reason", "Shop is down", "--as", "requester")[0] == 2
    may(requester, "break glass", environment=prod)
    assert say("review", str(run_request.pk), "--right", "--text", "x", "--as", "approver")[0] == 1
    assert (
        say("break_glass", str(run_request.pk), "--reason", "Shop is down", "--minutes", "5", "--as", "requester")[0]
        == 0
    )
    assert state(run_request) == State.APPROVED
    assert say("review", str(run_request.pk), "--right", "--text", "It was", "--as", "requester")[0] == 1
    assert say("review", str(run_request.pk), "--wrong", "--text", "It could have waited", "--as", "approver")[0] == 0
    assert BreakGlass.objects.get().was_right is False


def test_a_waiting_request_may_be_let_go(
    deployment: Deployment, requester: User, admin_user: User, say: Say, dev: Environment
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    assert say("override", str(run_request.pk), "--reason", "x", "--as", "requester")[0] == 2
    may(requester, "override freeze")
    held = RunRequest.objects.get(pk=run_request.pk).message
    code, said, _ = say("override", str(run_request.pk), "--reason", "Cannot wait", "--as", "requester")
    assert code == 0
    assert held
    assert held not in said
    assert RunRequest.objects.get(pk=run_request.pk).overridden_by_name == "requester"


def test_asking_may_go_in_spite_of_a_window_at_once(
    deployment: Deployment, requester: User, admin_user: User, say: Say, dev: Environment
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    words = ("trigger", "dev", "monthly", "-p", "month=2026-10", "--as", "requester", "--override-window")
    assert say(*words, "--reason", "x")[0] == 2
    may(requester, "override freeze")
    assert say(*words)[0] == 1
    assert say(*words, "--reason", "Cannot wait", "--ticket", "OPS-1", "--on-behalf-of", "requester")[0] == 0
    run_request = RunRequest.objects.get()
    assert run_request.overridden_at
    assert run_request.change.ticket == "OPS-1"


def test_whom_one_acts_for_cannot_approve_it(
    prod_deployment: Deployment, requester: User, approver: User, say: Say
) -> None:
    words = (
        "trigger",
        "prod",
        "monthly",
        "-p",
        "month=2026-10",
        "--reason",
        "x",
        "--as",
        "requester",
        "--on-behalf-of",
    )
    assert say(*words, "nobody-of-that-name")[0] == 3
    assert say(*words, "approver")[0] == 0
    assert say("approve", str(RunRequest.objects.get().pk), "--as", "approver")[0] == 1


def test_a_run_is_asked_for_again_with_its_secrets_unseen(run_request: RunRequest, say: Say) -> None:
    code, out, err = say(
        "rerun", str(run_request.pk), "-p", "rows=7", "--reason", "Once more", "--as", "requester", "--json"
    )
    assert (code, err) == (0, "")
    assert "hush" not in out
    again = RunRequest.objects.get(pk=json.loads(out)["request"])
    assert again.spec.rerun_of == run_request
    values = requests.values_of(again)
    assert (values["rows"], values["month"], values["token"]) == (7, "2026-10", "hush-hush")


def test_a_cancel_is_forced_only_after_one_that_came_to_nothing(a_run: Any, requester: User, say: Say) -> None:
    run = a_run()
    may(requester, "force cancel")
    words = ("cancel", run.name, "--as", "requester", "--reason", "Its worker is gone")
    assert say(*words, "--force")[0] == 1
    assert say(*words, "--ticket", "OPS-1")[0] == 0
    assert Action.objects.get().ticket == "OPS-1"
    Action.objects.update(requested_at=timezone.now() - requests.PATIENCE * 2)
    assert say(*words, "--force")[0] == 0
    assert Action.objects.get(kind="force").state == "wanted"


# Freezes and windows


def test_freezing_and_going_on(dev: Environment, deployment: Deployment, requester: User, say: Say) -> None:
    assert say("freeze", "dev", "--reason", "Audit", "--as", "requester")[0] == 2
    may(requester, "manage", environment=dev)
    assert say("freeze", "dev", "--as", "requester")[0] == 1
    assert "(time.format)" in say("freeze", "dev", "--reason", "Audit", "--until", "soon", "--as", "requester")[2]
    code, out, _ = say("freeze", "dev", "--reason", "Audit", "--ticket", "OPS-1", "--as", "requester", "--json")
    assert (code, json.loads(out)["ticket"]) == (0, "OPS-1")
    code, out, _ = say("windows", "dev")
    for part in ("dev", "requester", "Audit"):
        assert part in out
    frozen = json.loads(say("windows", "dev", "--json")[1])
    assert (frozen["open"], frozen["frozen"], frozen["windows"]) == (False, "Audit", [])
    assert say("unfreeze", "dev", "--as", "requester")[0] == 0
    thawed = json.loads(say("windows", "dev", "--json")[1])
    assert (thawed["open"], thawed["frozen"]) == (True, None)


@pytest.mark.usefixtures("single_administrator")
def test_a_protected_environment_is_unfrozen_by_its_name_typed_again(
    prod: Environment, prod_deployment: Deployment, requester: User, say: Say
) -> None:
    may(requester, "manage", environment=prod)
    assert say("freeze", "prod", "--reason", "Audit", "--as", "requester")[0] == 0
    words = ("unfreeze", "prod", "--reason", "Done", "--as", "requester")
    assert "(loosening.confirm)" in say(*words)[2]
    assert say(*words, "--confirm", "prod")[0] == 0


def test_the_hours_of_a_deployment(deployment: Deployment, requester: User, stranger: User, say: Say) -> None:
    plain = {"minutes": 60, "time_zone": "Europe/Vienna", "effect": "allow"}
    Window.objects.create(name="crm night", tag="crm", cron="0 22 * * *", **plain)
    Window.objects.create(name="other night", tag="other", cron="0 23 * * *", **plain)
    code, out, _ = say("windows", "dev", "monthly", "--at", "2026-11-20T12:00", "--as", "requester", "--json")
    result = json.loads(out)
    assert (code, result["open"], result["opens_at"]) == (0, False, "2026-11-20T21:00:00+00:00")
    assert [(row["window"], row["open"]) for row in result["windows"]] == [("crm night", False)]
    result = json.loads(say("windows", "dev", "monthly", "--at", "2026-11-20T21:30", "--json")[1])
    assert result["open"]
    assert result["windows"][0]["changes"] == "2026-11-20T22:00:00+00:00"
    # A deployment's own window does not affect the others.
    assert json.loads(say("windows", "dev", "--at", "2026-11-20T12:00", "--json")[1])["open"]
    assert say("windows", "dev", "--as", "stranger")[0] == 3


def test_the_hours_name_no_rule_about_what_is_not_seen(deployment: Deployment, viewer: User, say: Say) -> None:
    Window.objects.create(name="w", full_name="secret/secret", cron="0 22 * * *", minutes=60)
    assert json.loads(say("windows", "dev", "--as", "viewer", "--json")[1])["windows"] == []
    assert "secret/secret" not in say("windows", "dev", "--as", "viewer")[1]
    assert "secret/secret" in say("windows", "dev")[1]


# Keys


def test_secrets_are_sealed_with_the_newest_key_and_the_old_one_may_go(
    run_request: RunRequest, dev: Environment, say: Say, settings: Any
) -> None:
    dev.server.credential = "user:word"
    dev.server.save()
    old, new = settings.FIELD_KEYS[0], Fernet.generate_key().decode()
    settings.FIELD_KEYS = [new, old]
    code, out, _ = say("rotate_keys", "--json")
    sealed = {"idempotent requests": 0, "rule changes": 0, "run specs": 1, "servers": 1}
    assert (code, json.loads(out)) == (0, sealed)
    assert say("rotate_keys")[1] == (
        "Secrets encrypted with the current key: 0 idempotent requests, 0 rule changes, 0 run specs, 0 servers.\n"
    )
    settings.FIELD_KEYS = [new]
    run_request.refresh_from_db()
    assert requests.values_of(run_request)["token"] == "hush-hush"
    assert requests.is_intact(run_request.change)
    assert Server.objects.get(environments=dev).credential == "user:word"
    assert AuditEntry.objects.filter(verb="portal.reseal", outcome="done").count() == 2


def test_nothing_is_sealed_anew_while_a_key_is_missing(
    run_request: RunRequest, dev: Environment, say: Say, settings: Any
) -> None:
    old, new = settings.FIELD_KEYS[0], Fernet.generate_key().decode()
    dev.server.credential = "user:word"
    dev.server.save()
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    lost = Server(api_url="http://lost.test/api")
    lost.credential = "user:other"
    lost.save()
    settings.FIELD_KEYS = [new, old]
    code, _, err = say("rotate_keys")
    assert code == 1
    assert err.startswith("server ")
    assert "(key.unreadable)" in err
    settings.FIELD_KEYS = [old]
    assert Server.objects.get(environments=dev).credential == "user:word"
    assert AuditEntry.objects.get(verb="portal.reseal").outcome == "refused"


def test_a_wish_expires_from_the_inbox(run_request: RunRequest, approver: User) -> None:
    ChangeRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert desk.inbox(by=by(approver)) == []


def test_what_is_refused_for_the_whole_environment_says_so(dev: Environment, viewer: User, say: Say) -> None:
    code, _, told = say("freeze", "dev", "--reason", "Audit", "--as", "viewer")
    assert code == 2
    assert "“manage” on dev" in told
    assert "  " not in told
