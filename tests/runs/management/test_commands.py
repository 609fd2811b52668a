"""Operators' commands: output, exit codes, and who acts by them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands, load_command_class
from django.utils import timezone

from flows.models import Deployment, Environment, Server
from runs import dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.management.cli.command import EXIT_CODES, cell, plain, table
from runs.models import Action, AuditEntry, ChangeRequest, Freeze, Run, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.runs.conftest import Say

pytestmark = pytest.mark.django_db


def may(user: User, *verbs: str, environment: Environment | None = None) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=verbs, environment=environment)


# Who acts


def test_only_what_stops_runs_or_lets_them_start_acts_as_a_user() -> None:
    # Anyone with a shell can name any user: nothing is requested, approved or granted that way.
    acting = set()
    for name, app in get_commands().items():
        if app in ("flows", "runs", "portal"):
            parser = load_command_class(str(app), name).create_parser("manage.py", name)
            acting |= {name for action in parser._actions if "--as" in action.option_strings}
    assert acting == {"cancel", "freeze", "unfreeze"}


@pytest.mark.parametrize(
    "words", [["cancel", "quiet-otter"], ["freeze", "dev", "--reason", "x"], ["unfreeze", "dev", "--reason", "x"]]
)
def test_acting_needs_a_user(deployment: Deployment, say: Say, words: list[str]) -> None:
    code, out, err = say(*words)
    assert (code, out) == (1, "")
    assert "(actor.required)" in err


def test_the_user_may_come_from_the_environment(
    requester: User, a_run: Callable[..., Run], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(name="quiet-otter")
    monkeypatch.setenv("PORTAL_USER", "requester")
    assert say("cancel", "quiet-otter")[0] == 0
    entry = AuditEntry.objects.get(verb="run.cancel")
    assert (entry.actor_name, entry.channel) == ("requester", "command")
    assert entry.user_agent.startswith("operating system account")


def test_without_permission_it_leaves_with_2_and_an_audit_entry(
    viewer: User, a_run: Callable[..., Run], say: Say
) -> None:
    a_run(name="quiet-otter")
    code, out, err = say("cancel", "quiet-otter", "--as", "viewer")
    assert (code, out) == (2, "")
    assert "access.no_grant" in err
    assert AuditEntry.objects.get(actor_name="viewer").outcome == "refused"


def test_deny_wins_here_too(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    a_run(name="quiet-otter")
    grants.grant(by=Actor.system(), person=requester, verbs=["cancel"], effect="deny", reason="On leave")
    code, _, err = say("cancel", "quiet-otter", "--as", "requester")
    assert code == 2
    assert "On leave" in err


# Wrong names and usage


@pytest.mark.parametrize(
    "words",
    [
        ["cancel", "quiet-otter", "--as", "requester"],
        ["cancel", "quiet-otter", "--env", "nowhere", "--as", "requester"],
        ["cancel", "quiet-otter", "--as", "no-such-user"],
        ["cancel", "busy-otter", "--as", "stranger"],
        ["freeze", "nowhere", "--reason", "x", "--as", "requester"],
        ["freeze", "dev", "--reason", "x", "--as", "stranger"],
        ["unfreeze", "dev", "--as", "stranger"],
        ["sync", "nowhere"],
        ["health", "nowhere"],
    ],
)
def test_what_is_not_there_or_not_visible_is_3(
    requester: User, stranger: User, a_run: Callable[..., Run], say: Say, words: list[str]
) -> None:
    a_run(name="busy-otter")
    code, out, err = say(*words)
    assert (code, out) == (3, ""), err
    assert re.search(r"\. \([a-z]+\.[a-z_]+\)$", err.strip())


@pytest.mark.parametrize("words", [["cancel"], ["freeze"], ["cancel", "x", "--timeout", "soon"], ["sync", "--no-such"]])
def test_wrong_usage_is_1_with_the_usage(say: Say, words: list[str]) -> None:
    code, _, err = say(*words)
    assert code == 1
    assert err.startswith(f"usage: manage.py {words[0]}")


def test_every_refusal_has_a_code() -> None:
    assert set(EXIT_CODES.values()) == {1, 2, 3, 4, 6}


# Cancel


def test_cancel_asks_for_a_stop(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    run = a_run(name="quiet-otter")
    code, out, _ = say("cancel", "quiet-otter", "--reason", "wrong month", "--as", "requester")
    assert (code, out) == (0, "Cancel quiet-otter (Queued).\n")
    assert run.actions.get().reason == "wrong month"


def test_cancel_waits_until_prefect_confirms(
    requester: User, fake: FakePrefect, a_run: Callable[..., Run], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(name="quiet-otter")

    def work(seconds: float) -> None:
        dispatch.carry_out(Action.objects.get())
        fake.set_state(run.prefect_id, "CANCELLED")
        mirror.refresh(run.environment, [run.prefect_id])

    monkeypatch.setattr("runs.management.cli.row_waits.time.sleep", work)
    code, out, _ = say("cancel", "quiet-otter", "--as", "requester", "--wait", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "done"


def test_one_that_is_not_confirmed_in_time_is_6(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    a_run(name="quiet-otter")
    code, _, err = say("cancel", "quiet-otter", "--as", "requester", "--wait", "--timeout", "0.2")
    assert code == 6
    assert " 0.2 s" in err
    assert "(wait.timeout)" in err


def test_prefect_that_does_not_answer_in_time_is_4(
    requester: User, fake: FakePrefect, a_run: Callable[..., Run], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(name="quiet-otter")
    fake.go_down()
    monkeypatch.setattr(
        "runs.management.cli.row_waits.time.sleep", lambda seconds: dispatch.carry_out(Action.objects.get())
    )
    code, _, err = say("cancel", "quiet-otter", "--as", "requester", "--wait", "--timeout", "0.2")
    assert code == 4
    assert Action.objects.get().message in err


def test_cancelling_what_is_deleted_meanwhile_is_7(
    requester: User, fake: FakePrefect, a_run: Callable[..., Run], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(name="quiet-otter")

    def work(seconds: float) -> None:
        fake.remove_run(run.prefect_id)
        mirror.sync(run.environment)
        dispatch.carry_out(Action.objects.get())

    monkeypatch.setattr("runs.management.cli.row_waits.time.sleep", work)
    assert say("cancel", "quiet-otter", "--as", "requester", "--wait")[0] == 7


def test_cancelling_what_is_over_is_1(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    a_run("COMPLETED", name="quiet-otter")
    code, _, err = say("cancel", "quiet-otter", "--as", "requester")
    assert code == 1
    assert "(run.finished)" in err


def test_a_cancel_is_forced_only_after_one_that_came_to_nothing(
    requester: User, a_run: Callable[..., Run], say: Say
) -> None:
    run = a_run()
    may(requester, "force cancel")
    words = ("cancel", run.name, "--as", "requester", "--reason", "Its worker is gone")
    assert say(*words, "--force")[0] == 1
    assert say(*words, "--ticket", "OPS-1")[0] == 0
    assert Action.objects.get().ticket == "OPS-1"
    Action.objects.update(requested_at=timezone.now() - requests.PATIENCE * 2)
    assert say(*words, "--force")[0] == 0
    assert Action.objects.get(kind="force").state == "wanted"


# Freeze and unfreeze


def test_freezing_and_going_on(dev: Environment, deployment: Deployment, requester: User, say: Say) -> None:
    assert say("freeze", "dev", "--reason", "Audit", "--as", "requester")[0] == 2
    may(requester, "manage", environment=dev)
    assert say("freeze", "dev", "--as", "requester")[0] == 1
    assert "(time.format)" in say("freeze", "dev", "--reason", "Audit", "--until", "soon", "--as", "requester")[2]
    code, out, _ = say("freeze", "dev", "--reason", "Audit", "--ticket", "OPS-1", "--as", "requester", "--json")
    assert (code, json.loads(out)["ticket"]) == (0, "OPS-1")
    held = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    for part in ("dev", "requester", "Audit"):
        assert part in held.message
    code, out, _ = say("unfreeze", "dev", "--as", "requester")
    assert (code, out) == (0, "dev is unfrozen. Held runs are launched now.\n")


@pytest.mark.usefixtures("single_administrator")
def test_a_protected_environment_is_unfrozen_by_its_name_typed_again(
    prod: Environment, prod_deployment: Deployment, requester: User, say: Say
) -> None:
    may(requester, "manage", environment=prod)
    assert say("freeze", "prod", "--reason", "Audit", "--as", "requester")[0] == 0
    words = ("unfreeze", "prod", "--reason", "Done", "--as", "requester")
    assert "(loosening.confirm)" in say(*words)[2]
    assert say(*words, "--confirm", "prod")[0] == 0


@pytest.mark.usefixtures("second_administrator")
def test_unfreezing_a_protected_environment_waits_for_a_second_administrator(
    prod: Environment, prod_deployment: Deployment, admin_user: User, requester: User, say: Say
) -> None:
    may(requester, "manage", environment=prod)
    say("freeze", "prod", "--reason", "Audit", "--as", "requester")
    words = ("unfreeze", "prod", "--reason", "Done", "--confirm", "prod", "--as", "requester")
    code, out, _ = say(*words)
    assert (code, "Another administrator must approve it" in out) == (0, True)
    assert "manage.py" not in out
    assert Freeze.objects.get().lifted_at is None
    assert ChangeRequest.objects.get().state == "waiting"


def test_what_is_refused_for_the_whole_environment_says_so(dev: Environment, viewer: User, say: Say) -> None:
    code, _, told = say("freeze", "dev", "--reason", "Audit", "--as", "viewer")
    assert code == 2
    assert "“manage” on dev" in told
    assert "  " not in told


# Health and sync


def test_health_is_4_when_a_server_is_down(
    dev: Environment, prod: Environment, fake: FakePrefect, prod_fake: FakePrefect, say: Say
) -> None:
    assert say("health")[0] == 0
    prod_fake.go_down()
    code, out, _ = say("health", "--json")
    assert code == 4
    assert [row["state"] for row in json.loads(out)] == ["up", "unreachable"]
    assert say("health", "dev")[0] == 0


def test_sync_reads_the_others_when_one_is_down(
    dev: Environment, prod: Environment, fake: FakePrefect, prod_fake: FakePrefect, say: Say
) -> None:
    fake.go_down()
    prod_fake.add_deployment(flow_name="etl", name="new")
    code, out, _ = say("sync")
    assert code == 4
    assert "1 deployments, 1 new, 0 deleted" in out
    assert say("sync", "prod")[0] == 0


def test_help_tells_the_codes(say: Say) -> None:
    code, out, _ = say("cancel", "--help")
    assert code == 0
    assert "2 not permitted" in " ".join(out.split())


def test_what_a_terminal_would_obey_is_taken_out(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    run = a_run(name="evil\x1b[2J\x9b31m\u202egnp")
    out = say("cancel", str(run.prefect_id), "--as", "requester")[1]
    assert "evil" in out
    assert not set("\x1b\x9b\u202e") & set(out)
    assert plain("a\nb\tc") == "a b c"


def test_a_table_is_as_wide_as_its_widest_value() -> None:
    assert table([{"a": "xx", "long_name": 1.25}, {"a": None, "long_name": True}]) == "A   LONG NAME\nxx  1.2\n-   yes"
    assert cell([]) == cell("") == cell(None) == "-"


def test_other_errors_are_not_swallowed(dev: Environment) -> None:
    with pytest.raises(KeyError):
        call_command("health", "dev")


# Keys


@pytest.fixture
def run_request(prod_deployment: Deployment, requester: User) -> RunRequest:
    """A request with a secret value."""
    values = {"month": "2026-10", "token": "hush-hush"}
    return requests.submit(prod_deployment, values, by=by(requester), reason="Month end")


def test_secrets_are_sealed_with_the_newest_key_and_the_old_one_may_go(
    run_request: RunRequest, dev: Environment, say: Say, settings: Any
) -> None:
    dev.server.credential = "user:word"
    dev.server.save()
    old, new = settings.FIELD_KEYS[0], Fernet.generate_key().decode()
    settings.FIELD_KEYS = [new, old]
    code, out, _ = say("rotate_keys", "--json")
    sealed = {
        "channels": 0,
        "connection tests": 0,
        "hook secrets": 0,
        "idempotent requests": 0,
        "rule changes": 0,
        "run specs": 1,
        "servers": 1,
    }
    assert (code, json.loads(out)) == (0, sealed)
    assert say("rotate_keys")[1] == (
        "Secrets encrypted with the current key: 0 channels, 0 connection tests, 0 hook secrets, "
        "0 idempotent requests, 0 rule changes, 0 run specs, 0 servers.\n"
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
