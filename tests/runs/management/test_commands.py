"""Commands: output and exit codes."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from flows.models import Alias, Deployment, Environment
from runs import changes, dispatch, mirror
from runs.actors import Actor
from runs.governance import grants
from runs.management.cli.command import EXIT_CODES, cell, plain, table
from runs.models import Action, AuditEntry, Run, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.runs.conftest import Say

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a command waits, the background tasks do their work; here the pause between two looks does it."""

    def work(seconds: float) -> None:
        for run_request in RunRequest.objects.filter(state=State.APPROVED):
            dispatch.launch(run_request)
        for cancellation in Action.objects.filter(state="wanted"):
            dispatch.carry_out(cancellation)

    monkeypatch.setattr("runs.desk.run_actions.time.sleep", work)


# Permissions and errors


@pytest.mark.parametrize("words", [["trigger", "dev", "monthly"], ["cancel", "quiet-otter"]])
def test_acting_needs_a_user(deployment: Deployment, say: Say, words: list[str]) -> None:
    code, out, err = say(*words)
    assert (code, out) == (1, "")
    assert "(actor.required)" in err


def test_the_user_may_come_from_the_environment(
    deployment: Deployment, requester: User, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_USER", "requester")
    assert say("trigger", "dev", "monthly", "-p", "month=2026-10")[0] == 0
    assert AuditEntry.objects.get(verb="request.submit").actor_name == "requester"


def test_without_permission_it_leaves_with_2_and_an_audit_entry(deployment: Deployment, viewer: User, say: Say) -> None:
    code, out, err = say("trigger", "dev", "monthly", "-p", "month=2026-10", "--as", "viewer")
    assert (code, out) == (2, "")
    assert "access.no_grant" in err
    assert AuditEntry.objects.get(actor_name="viewer").outcome == "refused"


@pytest.mark.parametrize(
    "words",
    [
        ["trigger", "dev", "monthly", "--as", "stranger"],
        ["trigger", "nowhere", "monthly", "--as", "requester"],
        ["trigger", "dev", "yearly", "--as", "requester"],
        ["trigger", "dev", "monthly", "--as", "no-such-user"],
        ["cancel", "quiet-otter", "--as", "requester"],
        ["flows", "--env", "nowhere"],
        ["runs", "--env", "dev", "--as", "stranger"],
        ["sync", "nowhere"],
        ["health", "nowhere"],
    ],
)
def test_what_is_not_there_or_not_visible_is_3(
    deployment: Deployment, requester: User, stranger: User, say: Say, words: list[str]
) -> None:
    code, out, err = say(*words)
    assert (code, out) == (3, ""), err
    assert re.search(r"\. \([a-z]+\.[a-z_]+\)$", err.strip())


@pytest.mark.parametrize(
    "words",
    [
        ["trigger", "dev"],
        ["trigger"],
        ["cancel"],
        ["runs", "--limit", "many"],
        ["trigger", "dev", "monthly", "--key", "no-uuid"],
        ["flows", "--no-such-option"],
    ],
)
def test_wrong_usage_is_1_with_the_usage(say: Say, words: list[str]) -> None:
    code, _, err = say(*words)
    assert code == 1
    assert err.startswith(f"usage: manage.py {words[0]}")


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["-p", "month"], "argument.parameter"),
        (["-p", "=5"], "argument.parameter"),
        (["--at", "tomorrow"], "time.format"),
        (["--at", "2026-99-99T00:00"], "time.format"),
        (["--parameters-file", "no-such-file"], "file.unreadable"),
        (["-p", "month=2026-10", "-p", f"rows={'[' * 100_000}"], "parameter.type"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(
    deployment: Deployment, requester: User, say: Say, words: list[str], refusal: str
) -> None:
    code, _, err = say("trigger", "dev", "monthly", "--as", "requester", *words)
    assert code == 1
    assert f"({refusal})" in err


@pytest.mark.parametrize(
    ("text", "refusal"), [("{", "file.not_json"), ("[" * 100_000, "file.not_json"), ("[1]", "file.not_object")]
)
def test_a_file_that_holds_something_else_is_refused(
    deployment: Deployment, requester: User, say: Say, tmp_path: Path, text: str, refusal: str
) -> None:
    file = tmp_path / "values.json"
    file.write_text(text)
    code, _, err = say("trigger", "dev", "monthly", "--as", "requester", "--parameters-file", str(file))
    assert code == 1
    assert f"({refusal})" in err


def test_invalid_parameters_are_listed_one_a_line(deployment: Deployment, requester: User, say: Say) -> None:
    code, _, err = say("trigger", "dev", "monthly", "--as", "requester", "-p", "rows=0", "-p", "nope=1")
    assert code == 1
    assert [line.partition(":")[0] for line in sorted(err.splitlines())] == ["month", "nope", "rows"]


def test_every_refusal_has_a_code() -> None:
    assert set(EXIT_CODES.values()) == {1, 2, 3, 4, 6}


# Actions


def test_trigger_asks_for_a_run(deployment: Deployment, requester: User, say: Say) -> None:
    words = ["-p", "month=2026-10", "-p", "rows=5", "--reason", "month end", "--tag", "b", "--tag", "a", "--name", "x"]
    code, out, _ = say("trigger", "dev", "monthly", *words, "--at", "2026-11-30T06:00", "--as", "requester")
    assert code == 0
    run_request = RunRequest.objects.get()
    assert run_request.spec.parameters == {"month": "2026-10", "rows": 5}
    assert (
        run_request.change.reason,
        run_request.spec.tags,
        run_request.spec.run_name,
        run_request.change.channel,
    ) == (
        "month end",
        ["a", "b"],
        "x",
        "command",
    )
    assert run_request.scheduled_for
    assert run_request.scheduled_for.isoformat() == "2026-11-30T06:00:00+00:00"
    assert out == f"Request {run_request.pk} for monthly/monthly in dev: Queued.\n"


def test_trigger_reads_parameters_from_standard_input(
    deployment: Deployment, requester: User, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"month": "2026-09", "rows": 3, "token": "hunter22"}'))
    assert (
        say("trigger", "dev", "monthly", "--parameters-file", "-", "-p", "month=2026-10", "--as", "requester")[0] == 0
    )
    run_request = RunRequest.objects.get()
    assert run_request.spec.parameters == {"month": "2026-10", "rows": 3}
    assert "hunter22" not in repr(AuditEntry.objects.values())


def test_trigger_by_alias_and_as_json(deployment: Deployment, requester: User, say: Say) -> None:
    Alias.objects.create(environment=deployment.environment, name="books", full_name="monthly/monthly")
    code, out, _ = say("trigger", "dev", "books", "-p", "month=2026-10", "--as", "requester", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["request"], result["state"]) == (RunRequest.objects.get().pk, "approved")


@pytest.mark.parametrize(("ends", "leaves"), [("COMPLETED", 0), ("FAILED", 5), ("CRASHED", 5), ("CANCELLED", 5)])
def test_waiting_makes_the_end_of_the_run_the_exit_code(
    deployment: Deployment,
    fake: FakePrefect,
    requester: User,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
    leaves: int,
) -> None:
    def work(seconds: float) -> None:
        run_request = RunRequest.objects.get()
        dispatch.launch(run_request)
        run_request.refresh_from_db()
        assert run_request.flow_run_id
        fake.set_state(run_request.flow_run_id, "RUNNING")
        fake.set_state(run_request.flow_run_id, ends)
        mirror.refresh(run_request.environment, [run_request.flow_run_id])

    monkeypatch.setattr("runs.desk.run_actions.time.sleep", work)
    code, out, _ = say("trigger", "dev", "monthly", "-p", "month=2026-10", "--as", "requester", "--wait")
    assert code == leaves
    assert f"{ends.capitalize()}, http://dev.test" in out


@pytest.mark.usefixtures("in_the_background")
def test_a_run_that_is_not_over_in_time_is_6(
    deployment: Deployment, fake: FakePrefect, requester: User, say: Say
) -> None:
    words = ["-p", "month=2026-10", "--as", "requester", "--wait", "--timeout", "0.2"]
    code, _, err = say("trigger", "dev", "monthly", *words)
    assert code == 6
    assert " 0.2 s" in err
    assert "(wait.timeout)" in err


@pytest.mark.usefixtures("in_the_background")
def test_prefect_that_does_not_answer_in_time_is_4(
    deployment: Deployment, fake: FakePrefect, requester: User, say: Say
) -> None:
    fake.go_down()
    words = ["-p", "month=2026-10", "--as", "requester", "--wait", "--timeout", "0.2"]
    code, _, err = say("trigger", "dev", "monthly", *words)
    assert code == 4
    waiting = RunRequest.objects.get()
    assert waiting.next_attempt_at is not None
    assert waiting.message in err


def test_a_request_that_is_rejected_is_1(
    prod_deployment: Deployment, requester: User, approver: User, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "runs.desk.run_actions.time.sleep",
        lambda seconds: changes.reject(RunRequest.objects.get().change, by=by(approver), reason="Not today."),
    )
    words = ["-p", "month=2026-10", "--as", "requester", "--reason", "month end", "--wait"]
    code, out, err = say("trigger", "prod", "monthly", *words)
    assert code == 1
    assert "Rejected" in out
    assert "Not today. (run.not_started)" in err


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

    monkeypatch.setattr("runs.desk.run_actions.time.sleep", work)
    code, out, _ = say("cancel", "quiet-otter", "--as", "requester", "--wait", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "done"


@pytest.mark.parametrize(("kind", "state"), [("put-back", "SCHEDULED"), ("fail", "FAILED")])
def test_a_stalled_run_is_listed_and_recovered(
    requester: User,
    a_run: Callable[..., Run],
    fake: FakePrefect,
    dev: Environment,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    state: str,
) -> None:
    def work(seconds: float) -> None:
        dispatch.carry_out(Action.objects.get())

    monkeypatch.setattr("runs.desk.run_actions.time.sleep", work)
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    run = a_run("PENDING", name="quiet-otter")
    a_run("RUNNING", name="busy-otter")
    fake.set_state(run.prefect_id, "PENDING", at=timezone.now() - timedelta(minutes=9))
    Run.objects.filter(pk=run.pk).update(state_at=None)  # the fake's clock began later
    mirror.sync(dev)
    listed = json.loads(say("runs", "--stalled", "--json")[1])
    assert [(row["run"], row["stalled"]) for row in listed] == [("quiet-otter", "pending")]
    code, out, _ = say(
        "recover", "quiet-otter", kind, "--as", "requester", "--reason", "host rebooted", "--wait", "--json"
    )
    assert (code, json.loads(out)["state"]) == (0, "done")
    run.refresh_from_db()
    assert run.state_type == state


def test_recovering_a_run_that_moves_is_1(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    a_run("RUNNING", name="quiet-otter")
    code, _, err = say("recover", "quiet-otter", "put-back", "--as", "requester", "--reason", "r")
    assert code == 1
    assert "(run.not_stalled)" in err


def test_cancelling_what_is_over_is_1(requester: User, a_run: Callable[..., Run], say: Say) -> None:
    a_run("COMPLETED", name="quiet-otter")
    code, _, err = say("cancel", "quiet-otter", "--as", "requester")
    assert code == 1
    assert "(run.finished)" in err


# Lists


def test_flows_is_a_table_or_json(deployment: Deployment, say: Say) -> None:
    Alias.objects.create(environment=deployment.environment, name="books", full_name="monthly/monthly")
    code, out, _ = say("flows")
    head, row = out.splitlines()
    assert code == 0
    assert head.split() == ["ENVIRONMENT", "DEPLOYMENT", "ALIAS", "STATUS", "WORK", "POOL", "SCHEDULES", "VERSION"]
    assert row.split()[:4] == ["dev", "monthly/monthly", "books", "ready"]
    assert json.loads(say("flows", "--env", "dev", "--json")[1])[0]["deployment"] == "monthly/monthly"


def test_runs_is_a_table_or_json(a_run: Callable[..., Run], say: Say) -> None:
    run = a_run("RUNNING", name="quiet-otter")
    head, row = say("runs", "--state", "running")[1].splitlines()
    assert head.startswith("ENVIRONMENT")
    assert "quiet-otter" in row
    assert json.loads(say("runs", "--json")[1])[0]["id"] == str(run.prefect_id)
    assert "quiet-otter" not in say("runs", "--state", "failed")[1]
    assert json.loads(say("runs", "--state", "failed", "--json")[1]) == []


def test_a_person_sees_what_they_see_in_the_portal(
    deployment: Deployment, prod_deployment: Deployment, viewer: User, say: Say
) -> None:
    rows = json.loads(say("flows", "--as", "viewer", "--json")[1])
    assert [row["environment"] for row in rows] == ["dev"]


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
    code, out, _ = say("trigger", "--help")
    assert code == 0
    assert "2 not permitted" in " ".join(out.split())


def test_what_a_terminal_would_obey_is_taken_out(deployment: Deployment, fake: FakePrefect, say: Say) -> None:
    fake.add_deployment(flow_name="evil", name="\x1b[2J\x9b31m\u202egnp")
    out = say("sync")[1] + say("flows")[1]
    assert "evil" in out
    assert not set("\x1b\x9b\u202e") & set(out)
    assert plain("a\nb\tc") == "a b c"


def test_a_table_is_as_wide_as_its_widest_value() -> None:
    assert table([{"a": "xx", "long_name": 1.25}, {"a": None, "long_name": True}]) == "A   LONG NAME\nxx  1.2\n-   yes"
    assert cell([]) == cell("") == cell(None) == "-"


def test_other_errors_are_not_swallowed(dev: Environment) -> None:
    with pytest.raises(KeyError):
        call_command("health", "dev")


def test_deny_wins_here_too(deployment: Deployment, requester: User, say: Say) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["trigger"], effect="deny", reason="On leave")
    code, _, err = say("trigger", "dev", "monthly", "-p", "month=2026-10", "--as", "requester")
    assert code == 2
    assert "On leave" in err
