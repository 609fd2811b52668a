"""The command `portal`: each command, its exit code, and what it prints where."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from portal.client.command_line import build_parser
from runs import dispatch, mirror, requests
from runs.models import Action, ChangeRequest, Grant, Run, RunRequest, TokenScope, Window
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.client.played_runs import play

pytestmark = pytest.mark.django_db
RUN = ("run", "monthly/monthly", "-e", "dev", "-p", "month=2026-10")
IN_PROD = ("run", "monthly/monthly", "-e", "prod", "-p", "month=2026-10", "--reason", "Month end")


@pytest.fixture
def delegate(dev: Environment, stranger: User) -> User:
    verbs = ["see", "manage", "pause"]
    Grant.objects.create(person=stranger, verbs=verbs, environment=dev, granted_by_name="test")
    return stranger


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("whoami",), "requester"),
        (("environments",), "dev"),
        (("deployments", "-e", "dev", "--tag", "crm"), "monthly/monthly"),
        (("deployments", "monthly", "-e", "dev"), "parameter schema"),
        (("runs", "-e", "dev", "--state", "running"), "Running"),
        (("status", "steady-run"), "RUNNING"),
        (("logs", "steady-run"), "one"),
        (("inbox",), "Nothing needs your approval."),
        (("who-can", "monthly", "-e", "dev", "--verb", "trigger"), "requester"),
        (("why", "trigger", "monthly", "-e", "dev", "-p", "month=2026-10"), "Yes: "),
        (("grants",), "requester"),
        (("windows", "dev"), "Runs of dev can start."),
        (("windows", "dev", "monthly", "--at", "2026-11-30T06:00Z"), "No change windows."),
        (("runs", "--stalled"), "There are no such runs"),
        (("audit", "--limit", "5"), "ENTRY"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_what_is_read_is_printed_for_people_and_for_scripts(
    requester: User,
    a_run: Callable[..., Run],
    fake: FakePrefect,
    command: Commands,
    words: tuple[str, ...],
    shown: str,
) -> None:
    row = a_run(name="steady-run")
    fake.add_log(row.prefect_id, "one")
    mirror.fetch_details(row.environment, [row.prefect_id])
    command(requester, *RUN)
    ended = command(requester, *words)
    assert (ended.code, ended.err) == (0, "")
    assert shown in ended.out
    assert "\x1b" not in ended.out
    as_json = command(requester, *words, "--json")
    assert (as_json.code, as_json.err) == (0, "")
    assert isinstance(json.loads(as_json.out), dict | list)


def test_a_table_in_a_pipe_is_not_cut(requester: User, a_run: Callable[..., Run], command: Commands) -> None:
    row = a_run(name="x" * 150)
    (line,) = [each for each in command(requester, "runs").out.splitlines() if "xxx" in each]
    assert row.name in line
    assert str(row.prefect_id) in line


def test_no_more_rows_than_asked_for(requester: User, a_run: Callable[..., Run], command: Commands) -> None:
    for _ in range(3):
        a_run()
    assert len(json.loads(command(requester, "runs", "--limit", "2", "--json").out)) == 2


def test_why_not_exits_as_not_permitted(viewer: User, deployment: Deployment, command: Commands) -> None:
    ended = command(viewer, "why", "trigger-later", "monthly", "-e", "dev")
    assert (ended.code, ended.out.startswith("No: ")) == (2, True)


# Requests -------------------------------------------------------------------------------------------------------------


def test_values_are_json_or_text_and_those_of_the_file_come_first(
    requester: User, deployment: Deployment, command: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "values.json"
    file.write_text('{"month": "2026-09", "rows": 5, "token": "hunter22"}')
    ended = command(requester, *RUN, "--file", file, "-p", "rows=7", "--tag", "nightly", "--name", "October", "--json")
    change = json.loads(ended.out)
    assert change["specs"][0]["parameters"] == {"month": "2026-10", "rows": 7, "token": "••••••"}
    assert (change["specs"][0]["tags"], change["specs"][0]["run_name"]) == (["nightly"], "October")
    assert "hunter22" not in ended.out + ended.err
    assert command(requester, "status", change["requests"][0]["id"]).out.count("approved") == 1


def test_a_run_is_requested_once_for_a_key(requester: User, deployment: Deployment, command: Commands) -> None:
    first, second = (command(requester, *RUN, "--key", "nightly-1", "--json") for _ in range(2))
    assert (first.code, second.out) == (0, first.out)
    assert ChangeRequest.objects.count() == 1


def test_each_wrong_value_is_a_line(requester: User, deployment: Deployment, command: Commands) -> None:
    ended = command(requester, "run", "monthly", "-e", "dev", "-p", "rows=many", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert sorted(line.partition(":")[0] for line in ended.err.splitlines()) == ["month", "rows"]


@pytest.mark.parametrize(("state", "code"), [("COMPLETED", 0), ("FAILED", 5), ("CANCELLED", 5), ("CRASHED", 5)])
def test_the_final_state_is_the_exit_code(
    requester: User,
    deployment: Deployment,
    fake: FakePrefect,
    command: Commands,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    code: int,
) -> None:
    left = [lambda: play(RunRequest.objects.get().pk, fake, state, "one")]
    monkeypatch.setattr(time, "sleep", lambda seconds: left.pop()() if left else None)
    ended = command(requester, *RUN, "--wait", "--logs", "--json")
    assert ended.code == code
    assert json.loads(ended.out)["requests"][0]["run_state"] == state
    assert "one" in ended.err


def test_what_waits_for_approval_after_the_timeout_exits_with_6(
    requester: User, prod_deployment: Deployment, command: Commands
) -> None:
    ended = command(requester, *IN_PROD, "--wait", "--timeout", "0", "--json")
    assert (ended.code, json.loads(ended.out)["state"]) == (6, "waiting")
    assert ended.err.count("\n") == 1


def test_a_request_is_decided(requester: User, approver: User, prod_deployment: Deployment, command: Commands) -> None:
    numbers = [json.loads(command(requester, *IN_PROD, "--json").out)["id"] for _ in range(3)]
    assert str(numbers[0]) in command(approver, "inbox").out
    assert command(approver, "comment", numbers[0], "Why now?").code == 0
    assert command(approver, "approve", numbers[0], "--reason", "fine").code == 0
    assert command(approver, "approve", numbers[1], "--digest", "0" * 64).code == 1
    assert command(approver, "reject", numbers[1]).code == 1
    assert command(approver, "reject", numbers[1], "--reason", "no").code == 0
    assert command(requester, "withdraw", numbers[2]).code == 0
    states = dict(ChangeRequest.objects.values_list("pk", "state"))
    assert [states[each] for each in numbers] == ["approved", "rejected", "withdrawn"]


def test_a_run_is_requested_again_with_its_secrets_unseen(
    requester: User, prod_deployment: Deployment, command: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "values.json"
    file.write_text('{"token": "hush-hush"}')
    number = json.loads(command(requester, *IN_PROD, "--file", file, "--json").out)["requests"][0]["id"]
    words = ("rerun", number, "-p", "rows=7", "--reason", "Once more", "--key", "again-1", "--json")
    ended, repeated = command(requester, *words), command(requester, *words)
    assert (ended.code, repeated.out) == (0, ended.out)
    again = json.loads(ended.out)
    assert again["specs"][0]["parameters"] == {"month": "2026-10", "rows": 7, "token": "••••••"}
    assert "hush" not in ended.out + ended.err
    assert requests.values_of(RunRequest.objects.get(pk=again["requests"][0]["id"]))["token"] == "hush-hush"
    assert command(requester, "rerun", number, "-p", "rows=many", "--reason", "x").code == 1
    assert command(requester, "rerun", "999999", "--reason", "x").code == 3


def test_a_window_is_overridden(requester: User, dev: Environment, deployment: Deployment, command: Commands) -> None:
    Window.objects.create(name="crm night", effect="deny", tag="crm", cron="* * * * *", minutes=60)
    number = json.loads(command(requester, *RUN, "--json").out)["requests"][0]["id"]
    ended = command(requester, "windows", "dev", "monthly")
    assert (ended.code, "“crm night”" in ended.out, "WINDOW" in ended.out) == (0, True, True)
    assert not json.loads(command(requester, "windows", "dev", "monthly", "--json").out)["is_open"]
    words = ("override", number, "--reason", "Cannot wait")
    assert command(requester, *words).code == 2
    Grant.objects.create(person=requester, verbs=["override freeze"], environment=dev, granted_by_name="test")
    assert command(requester, *words[:2]).code == 1
    ended = command(requester, *words)
    assert (ended.code, f"Request {number} " in ended.out) == (0, True)
    assert RunRequest.objects.get(pk=number).overridden_by_name == "requester"


def test_the_inbox_shows_what_an_approver_has_to_look_at(
    requester: User, approver: User, prod_deployment: Deployment, command: Commands
) -> None:
    command(requester, *IN_PROD)
    ended = command(approver, "inbox")
    for part in ("CHANGED", "NOT PINNED", "first approval", "Month end", "monthly/monthly"):
        assert part in ended.out
    (row,) = json.loads(command(approver, "inbox", "--json").out)
    assert (row["changed"], bool(row["not_pinned"]), len(row["digest"])) == (["first approval"], True, 64)


# Runs and rules -------------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_and_a_failed_one_retried(
    requester: User, a_run: Callable[..., Run], fake: FakePrefect, command: Commands
) -> None:
    row = a_run()
    words = ("cancel", row.prefect_id, "--reason", "Wrong month")
    assert command(requester, *words, "--wait", "--timeout", "0").code == 6
    assert command(requester, *words).code == 1
    assert command(requester, "cancel", row.prefect_id, "--force", "--reason", "x").code == 2
    request = json.loads(command(requester, *RUN, "--json").out)["requests"][0]["id"]
    play(request, fake, "FAILED")
    assert command(requester, "retry", f"request:{request}", "--reason", "Network").code == 0


@pytest.mark.parametrize(("kind", "state"), [("put-back", "SCHEDULED"), ("fail", "FAILED")])
def test_a_stalled_run_is_recovered(
    requester: User,
    dev: Environment,
    a_run: Callable[..., Run],
    fake: FakePrefect,
    command: Commands,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    state: str,
) -> None:
    row = a_run("PENDING", name="quiet-otter")
    fake.set_state(row.prefect_id, "PENDING", at=timezone.now() - timedelta(minutes=9))
    Run.objects.filter(pk=row.pk).update(state_at=None)  # the fake's clock began later
    mirror.sync(dev)
    assert "quiet-otter" in command(requester, "runs", "--stalled").out
    Grant.objects.create(person=requester, verbs=["force cancel"], environment=dev, granted_by_name="test")
    words = ("recover", "quiet-otter", kind, "--reason", "Host rebooted", "--wait", "--json")
    monkeypatch.setattr(time, "sleep", lambda seconds: dispatch.carry_out(Action.objects.get()))
    ended = command(requester, *words)
    assert (ended.code, json.loads(ended.out)["state"]) == (0, "done"), ended.err
    row.refresh_from_db()
    assert row.state_type == state
    assert command(requester, *words).code == 1
    assert command(requester, "recover", "quiet-otter", kind).code == 1


@pytest.mark.parametrize(("word", "is_paused"), [("pause", False), ("resume", True)])
def test_schedules_are_paused_and_resumed(
    delegate: User, deployment: Deployment, command: Commands, word: str, is_paused: bool
) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(is_paused=is_paused)
    ended = command(delegate, word, "monthly", "-e", "dev", "--reason", "why", "--json")
    assert (ended.code, json.loads(ended.out)["kind"]) == (0, word)


def test_grants_and_freezes(delegate: User, viewer: User, deployment: Deployment, command: Commands) -> None:
    made = json.loads(command(delegate, "grant", "viewer", "see", "-e", "dev", "--json").out)["grant"]
    assert command(delegate, "revoke", made["id"]).code == 0
    assert command(delegate, "revoke", made["id"]).code == 1
    assert command(delegate, "grant", "viewer", "trigger", "-e", "dev").code == 2
    assert command(delegate, "freeze", "dev", "--reason", "Audit").code == 0
    assert command(delegate, "freeze", "dev", "--reason", "Audit").code == 1
    assert command(delegate, "unfreeze", "dev", "--reason", "Over").code == 0


# Exit codes and errors ------------------------------------------------------------------------------------------------


def test_exit_codes_are_those_of_the_other_commands(
    requester: User, viewer: User, deployment: Deployment, command: Commands
) -> None:
    assert command(requester, "run", "none", "-e", "dev").code == 3
    assert command(requester, "status", "999999").code == 3
    assert command(viewer, *RUN).code == 2
    assert command(requester, *RUN, scopes=(TokenScope(verbs=["see"]),)).code == 2
    assert command(requester, "run", "monthly").code == 1
    assert command(requester, "nonsense").code == 1
    assert command(requester, "runs", "--state", "walking").code == 1
    assert command(requester, *RUN, "--at", "2026-11-30T06:00").code == 1
    assert command(requester, *RUN, "--file", "/none.json").code == 1
    assert command(requester, "deployments", "monthly").code == 1


def test_without_a_portal_it_exits_with_4_and_says_how_to_send_it_once(
    requester: User, command: Commands, monkeypatch: pytest.MonkeyPatch, transport: Any
) -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport.handler = down
    ended = command(requester, *RUN)
    assert (ended.code, ended.out, "--key" in ended.err) == (4, "", True)


def test_a_terminal_obeys_no_name_of_others(
    requester: User, dev: Environment, fake: FakePrefect, command: Commands, capsys: Any
) -> None:
    hostile = "\x1b[31mred\x1b]0;title\x07\u202e"
    fake.add_deployment(flow_name="etl", name="nightly", description=hostile, tags=(hostile,))
    sync.sync(dev)
    record = fake.add_run(Deployment.objects.get().prefect_id, state_type="RUNNING", name=f"run{hostile}")
    fake.add_log(record.id, f"{hostile}\nfaked line")
    mirror.refresh(dev, [record.id])
    mirror.fetch_details(dev, [record.id])
    for words in (
        ("deployments",),
        ("deployments", "nightly", "-e", "dev"),
        ("runs",),
        ("status", record.id),
        ("logs", record.id),
        ("runs", "--json"),
        ("run", hostile, "-e", "dev"),
    ):
        ended = command(requester, *words)
        assert not {"\x1b", "\x07", "\u202e"} & set(ended.out + ended.err), words
    assert "\n    faked line" in command(requester, "logs", record.id).out


def test_colours_are_for_terminals_that_want_them(
    requester: User, a_run: Callable[..., Run], command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in command(requester, "runs").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in command(requester, "runs").out


# Completion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(command: Commands, shell: str) -> None:
    ended = command(None, "completion", shell)
    assert ended.code == 0
    for name in ("run", "who-can", "unfreeze", "completion"):
        assert name in ended.out


@pytest.mark.skipif(not shutil.which("bash"), reason="bash reads its own completion")
def test_bash_completes_options(command: Commands) -> None:
    script = command(None, "completion", "bash").out
    asked = "COMP_WORDS=(portal run --wa); COMP_CWORD=2; _portal; echo ${COMPREPLY[@]}"
    ended = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "--wait"


def test_every_command_says_what_it_does(command: Commands) -> None:
    names = next(each for each in build_parser()._actions if each.dest == "command").choices
    assert names
    for name in names:
        ended = command(None, name, "--help")
        assert ended.code == 0, name


def test_a_run_is_filled_in_from_a_preset(requester: User, deployment: Deployment, command: Commands) -> None:
    done = command(requester, "save-preset", "monthly", "month end", "-e", "dev", "-p", "month=2026-10", "-p", "rows=7")
    assert done.code == 0
    listed = command(requester, "presets", "-e", "dev")
    assert "month end" in listed.out
    assert command(requester, "run", "monthly", "-e", "dev", "--preset", "month end", "-p", "rows=8").code == 0
    assert requests.values_of(RunRequest.objects.get())["rows"] == 8
    (row,) = json.loads(command(requester, "presets", "--json").out)
    number = str(row["id"])
    assert command(requester, "change-preset", number, "--name", "year end", "--share").code == 0
    assert command(requester, "change-preset", number).code == 1
    assert command(requester, "run", "monthly", "-e", "dev", "--preset", "month end").code == 3
    assert command(requester, "delete-preset", number).code == 0
    assert "no such presets" in command(requester, "presets").out
