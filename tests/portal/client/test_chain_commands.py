"""The commands of chains, and the methods behind them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from runs.models import Chain, ChangeRequest
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, step
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db
STEPS = {"steps": [step("ingest"), step("train", "ingest", gate=True)]}


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "ingest", "train")
    return dev


def test_a_chain_is_saved_run_followed_and_steered(
    command: Commands, requester: User, deployed: Environment, fake: FakePrefect, tmp_path: Path
) -> None:
    file = tmp_path / "close.json"
    file.write_text(json.dumps(STEPS))
    assert "version 1" in command(requester, "save-chain", "Close", str(file), "-e", "dev").out
    assert "Close" in command(requester, "chains").out
    assert command(requester, "run-chain", "Nowhere", "-e", "dev").code == 3
    words = ("run-chain", "Close", "-e", "dev", "-p", "month=2026-10", "--key", "k1")
    assert command(requester, *words).code == command(requester, *words).code == 0
    change = ChangeRequest.objects.get()
    number = str(change.pk)
    go_on()
    end(change, "ingest", "COMPLETED", fake)
    shown = command(requester, "chain-status", number)
    assert "1 of 2 completed" in shown.out
    assert json.loads(command(requester, "chain-status", number, "--json").out)["steps"][0]["outcome"] == "completed"
    assert command(requester, "let-step-go", number, "train").code == 0
    go_on()
    end(change, "train", "FAILED", fake)
    assert "stopped" in command(requester, "chain-status", number).out
    assert "attempt 2" in command(requester, "resume-chain", number).out
    assert "withdrawn" in command(requester, "cancel-chain", number, "--reason", "enough").out
    assert command(requester, "resume-chain", number).code == 1


def test_the_end_of_a_chain_is_given_when_it_is_saved_and_ended_ones_are_listed(
    command: Commands, requester: User, deployed: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "close.json"
    file.write_text(json.dumps(STEPS))
    words = ("save-chain", "Close", str(file), "-e", "dev")
    assert command(requester, *words, "--until", "2020-01-01T00:00Z").code == 1
    assert command(requester, *words, "--until", "tomorrow").code == 1
    until = timezone.now() + timedelta(days=3)
    assert command(requester, *words, "--until", until.isoformat()).code == 0
    assert Chain.objects.get().valid_until == until
    assert "Close" not in command(requester, "chains", "--ended").out
    Chain.objects.update(valid_until=timezone.now())
    assert "Close" in command(requester, "chains", "--ended").out


def test_a_file_that_is_no_chain_is_wrong_usage(
    command: Commands, requester: User, deployed: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "close.json"
    file.write_text("[]")
    assert command(requester, "save-chain", "Close", str(file), "-e", "dev").code == 1
    file.write_text('{"steps": []}')
    assert command(requester, "save-chain", "Close", str(file), "-e", "dev").code == 1


def test_a_plan_is_shown_and_a_profile_named(
    command: Commands, portal: Portals, requester: User, deployed: Environment
) -> None:
    over = {"month": {"over": {"input": "months"}}}
    portal(requester).save_chain("dev", "Over", {"steps": [step("ingest", parameters=over)]})
    words = ("run-chain", "Over", "-e", "dev", "-p", "months=2026-01..2026-02")
    shown = command(requester, *words, "--plan")
    assert (shown.code, "month=2026-02" in shown.out) == (0, True)
    assert command(requester, *words[:-1], "months=2026-01,soon", "--plan").code == 1
    assert command(requester, *words, "--profile", "ingest").code == 1
    assert command(requester, *words, "--profile", "ingest=large").code == 1
    assert not ChangeRequest.objects.exists()
    plan = portal(requester).plan_chain("dev", "Over", {"months": ["2026-01"]})
    run = portal(requester).run_chain("dev", "Over", {"months": ["2026-01"]}, plan=plan.digest)
    assert run.steps[0].over == {"month": ["2026-01"]}


def test_the_methods_return_what_a_program_needs(portal: Portals, requester: User, deployed: Environment) -> None:
    mine = portal(requester)
    saved = mine.save_chain("dev", "Close", STEPS)
    assert mine.save_chain("dev", "Close", STEPS).version == saved.version == 1
    run = mine.run_chain("dev", "Close", {"month": "2026-10"}, version=1)
    assert [each.outcome for each in run.steps] == ["ready", "waiting"]
    change = mine.change(run.id)
    assert (change.kind, change.is_ended, len(change.specs)) == ("chain", False, 2)
