"""How old a page is: one sentence an environment, and silence when all is well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.utils import timezone

from flows.models import Environment, Health
from portal.ui import freshness
from portal.ui.freshness import Freshness
from runs.models import Run

Make = Callable[..., Freshness]


@pytest.fixture
def judged(dev: Environment) -> Make:
    def make(what: freshness.Source = "runs", **columns: Any) -> Freshness:
        now = timezone.now()
        plain = {"state": "up", "checked_at": now, "synced_at": now, "runs_synced_at": now}
        Health.objects.update_or_create(environment=dev, defaults=plain | columns)
        return freshness.freshness_of([Environment.objects.select_related("health").get(pk=dev.pk)], what)[0]

    return make


def test_an_environment_that_was_just_read_needs_no_words(judged: Make) -> None:
    one = judged()
    assert not one.is_trouble
    assert one.read_at


def test_one_that_is_down_says_so_and_what_to_do(judged: Make) -> None:
    one = judged(state="down", message="No answer.")
    assert one.sentence == "dev: Unreachable. No answer."
    assert "Is the server running" in one.advice
    assert one.tone == "red"


def test_a_wrong_credential_is_another_trouble(judged: Make) -> None:
    assert judged(state="refused").sentence == "dev: Wrong credential."


def test_background_tasks_that_sleep_are_noticed(judged: Make) -> None:
    one = judged(checked_at=timezone.now() - timedelta(minutes=30))
    assert one.tone == "amber"
    assert "qcluster" in one.advice


@pytest.mark.parametrize(("what", "column"), [("runs", "runs_synced_at"), ("deployments", "synced_at")])
def test_what_was_never_read_or_not_lately_is_said(what: freshness.Source, column: str, judged: Make) -> None:
    assert judged(what, **{column: None}).sentence == f"The {what} of dev have not been read yet."
    late = judged(what, **{column: timezone.now() - timedelta(hours=1)})
    assert late.sentence.startswith(f"The {what} of dev were not read completely for a while")


def test_one_that_is_switched_off_says_that_it_is_not_read(judged: Make, dev: Environment) -> None:
    Environment.objects.update(is_active=False)
    assert judged().sentence.startswith("dev is switched off")


def test_nobody_learns_of_an_environment_they_may_not_see(
    viewer: User, dev: Environment, prod: Environment, rf: RequestFactory, a_run: Callable[..., Run]
) -> None:
    request = rf.get("/")
    request.user = viewer
    assert [str(one.environment) for one in freshness.freshness_of_all(request, "runs")] == ["dev"]
