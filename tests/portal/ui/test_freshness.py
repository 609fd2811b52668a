"""How old a page is: one sentence an environment, and silence when all is well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment, Health
from portal.ui import freshness
from portal.ui.freshness import Freshness
from runs.governance import freezes
from runs.models import Run
from tests.cast import by
from tests.portal.page_elements import attributes

Make = Callable[..., Freshness]


@pytest.fixture
def judged(dev: Environment) -> Make:
    def make(what: freshness.Source = "runs", **columns: Any) -> Freshness:
        now = timezone.now()
        plain = {"state": "up", "checked_at": now, "synced_at": now, "runs_synced_at": now}
        Health.objects.update_or_create(server=dev.server, defaults={"synced_for": [dev.pk]} | plain | columns)
        return freshness.freshness_of([Environment.objects.select_related("server__health").get(pk=dev.pk)], what)[0]

    return make


def test_an_environment_that_was_just_read_needs_no_words(judged: Make) -> None:
    one = judged()
    assert not one.is_trouble
    assert one.synced_at


def test_one_that_is_down_says_so_and_what_to_do(judged: Make) -> None:
    one = judged(state="down", message="No answer.")
    assert (one.code, one.tone) == ("down", "red")
    assert "dev" in one.sentence
    assert "No answer." in one.sentence
    assert "http://dev.test/api" in one.advice


def test_a_wrong_credential_is_another_trouble(judged: Make) -> None:
    assert judged(state="refused").code == "refused"


def test_background_tasks_that_sleep_are_noticed(judged: Make) -> None:
    one = judged(checked_at=timezone.now() - timedelta(minutes=30))
    assert (one.code, one.tone) == ("overdue", "amber")
    assert "background" in one.advice


@pytest.mark.parametrize(("what", "column"), [("runs", "runs_synced_at"), ("deployments", "synced_at")])
def test_what_was_never_read_or_not_lately_is_said(what: freshness.Source, column: str, judged: Make) -> None:
    never = judged(what, **{column: None})
    assert (never.code, what in never.sentence) == ("never_synced", True)
    late = judged(what, **{column: timezone.now() - timedelta(hours=1)})
    assert (late.code, what in late.sentence) == ("late", True)


def test_a_first_reading_says_how_far_it_is(judged: Make) -> None:
    now = timezone.now()
    began = {"history_begun_at": now, "history_position": now - timedelta(days=15), "history_runs": 420_000}
    one = judged(runs_synced_at=None, **began)
    assert (one.code, "50%" in one.sentence, "420,000" in one.sentence) == ("first_reading", True, True)
    assert judged("deployments", runs_synced_at=None, **began).code == ""


def test_one_that_is_switched_off_says_that_it_is_not_read(judged: Make, dev: Environment) -> None:
    Environment.objects.update(is_active=False)
    assert judged().code == "disabled"


def test_nobody_learns_of_an_environment_they_may_not_see(
    viewer: User, dev: Environment, prod: Environment, rf: RequestFactory, a_run: Callable[..., Run]
) -> None:
    request = rf.get("/")
    request.user = viewer
    assert [str(one.environment) for one in freshness.freshness_of_all(request, "runs")] == ["dev"]


def test_lists_say_in_one_line_what_needs_attention(
    dev: Environment, prod: Environment, deployment: Deployment, admin_user: User, login: Callable[[User], Client]
) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer <b>within</b> 5 s.")
    health.record(prod.server, Health.State.UP, "")
    Health.objects.filter(server=prod.server).update(
        synced_for=[prod.pk], runs_synced_at=timezone.now(), synced_at=timezone.now()
    )
    freezes.freeze(prod, by=by(admin_user), reason="Year end")
    client = login(admin_user)
    for name in ("flows_deployment", "runs_run", "runs_runrequest"):
        page = client.get(reverse(f"admin:{name}_changelist")).content.decode()
        (codes,) = [code for code in attributes(page, "data-code") if "down" in code]
        assert codes.split() == ["down", "frozen"]
        assert "2 environments need attention" in page
        assert f"{reverse('admin:index')}#environments" in page
        assert 'data-key="frozen-' not in page
        assert "<b>within" not in page


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("current", {}),
        ("unfollowed", {"followed_at": None}),
        ("unfollowed", {"followed_at": timezone.now() - timedelta(hours=1)}),
        ("late", {"runs_synced_at": timezone.now() - timedelta(hours=1)}),
        ("late", {"checked_at": timezone.now() - timedelta(hours=1)}),
        ("unread", {"runs_synced_at": None}),
        ("unread", {"checked_at": None}),
        ("unreachable", {"state": "down"}),
        ("unreachable", {"state": "refused"}),
    ],
)
def test_the_dot_says_what_is_wrong_in_shape_and_words(kind: str, columns: dict[str, Any], judged: Make) -> None:
    dot = freshness.dot_of([judged(**{"followed_at": timezone.now()} | columns)])
    assert dot.kind == kind
    shapes = {name: shape for name, (shape, _, _) in freshness.DOTS.items()}
    assert dot.shape == shapes[kind]
    assert (dot.shape == shapes["current"]) == (kind == "current")


def test_the_dot_is_that_of_the_worst_environment(dev: Environment, prod: Environment, judged: Make) -> None:
    Health.objects.create(server=prod.server, state="down", checked_at=timezone.now(), synced_for=[prod.pk])
    judged(followed_at=timezone.now())
    both = freshness.freshness_of(Environment.objects.select_related("server__health"), "runs")
    assert freshness.dot_of(both).kind == "unreachable"
    assert freshness.dot_of([]).kind == ""


def test_each_page_has_the_dot_in_its_header_and_no_words_while_all_is_well(
    judged: Make, a_run: Callable[..., Run], viewer: User, login: Callable[[User], Client]
) -> None:
    judged(followed_at=timezone.now())
    client = login(viewer)
    run = reverse("admin:runs_run_change", args=[a_run("RUNNING").pk])
    for address in (reverse("admin:index"), reverse("admin:runs_run_changelist"), run, reverse("profile")):
        page = client.get(address).content.decode()
        header, _, content = page.partition("</header>")
        assert (attributes(header, "data-dot"), attributes(content, "data-dot")) == (["current"], [])
        assert attributes(header, "aria-label").count(freshness.DOTS["current"][2]) == 1
        assert not [key for key in attributes(content, "data-key") if key.startswith("trouble-")]


def test_the_dot_of_a_page_is_of_the_environments_that_its_reader_sees(
    judged: Make, prod: Environment, a_run: Callable[..., Run], viewer: User, login: Callable[[User], Client]
) -> None:
    judged(followed_at=timezone.now())
    Health.objects.create(server=prod.server, state="down", checked_at=timezone.now(), synced_for=[prod.pk])
    a_run("RUNNING")
    page = login(viewer).get(reverse("profile")).content.decode()
    assert attributes(page, "data-dot") == ["current"]
    assert f"freshness-{prod.pk}" not in attributes(page, "data-key")
