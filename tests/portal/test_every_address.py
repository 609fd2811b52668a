"""What holds at every address of the portal, whatever is added to it: texts stay texts, a look changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from flows.models import Environment
from runs.models import AuditEntry
from tests.fakes.prefect import FakePrefect
from tests.portal.addresses import everywhere, fill, routes, subject
from tests.portal.hostile_text import SHOWN, World, bad, world
from tests.portal.page_text import Page, VisibleText
from tests.row_counts import written

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
HTML = "text/html"
# What acts, by the last piece of its address; a new one is held by "a look changes nothing".
ACTS = {
    *("approve", "cancel", "export", "pause", "quick-run", "refresh", "reject", "resume", "revoke", "verify"),
    *("withdraw", "freeze", "unfreeze", "choose", "remove", "rotate", "enable", "disable", "add-secret"),
    *("remove-secret", "replace-secrets", "time-zone", "email", "name", "end-session", "end-other-sessions"),
    *("pin", "unpin"),
}


@pytest.fixture
def made(dev: Environment, fake: FakePrefect, admin_user: User) -> World:
    return world(dev, fake, admin_user)


def lists() -> Iterator[tuple[str, Any]]:
    """The address of each list and its admin."""
    for model, model_admin in admin.site._registry.items():
        yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), model_admin


def parameters(model_admin: Any) -> Iterator[str]:
    """The names of the query parameters that the filters of a list read."""
    for each in model_admin.list_filter:
        if isinstance(each, tuple):
            yield from (f"{each[0]}_from", f"{each[0]}_to")
        else:
            yield getattr(each, "parameter_name", f"{each}__exact")


def test_a_text_is_shown_as_a_text_on_every_page(
    made: World, admin_user: User, login: Login, subtests: pytest.Subtests
) -> None:
    client, shown = login(admin_user), ""
    searches = [f"{address}?q={bad('search')}&nonsense={bad('search')}" for address, _ in lists()]
    others = [f"/admin/search/?s={term}" for term in (bad("search"), "bad-")] + [f"/admin/{bad('path')}/"]
    for address in [*everywhere(made.rows), *searches, *others]:
        with subtests.test(address=address), transaction.atomic():
            answer = client.get(address, follow=True)
            if HTML in answer.headers.get("Content-Type", ""):
                page = Page(answer.content.decode())
                assert page.complaints == []
                shown += page.text
            else:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [place for place in SHOWN if bad(place) not in shown] == []


def test_a_name_that_flow_and_deployment_share_stands_once(
    dev: Environment, fake: FakePrefect, admin_user: User, login: Login
) -> None:
    name = bad("deployment")
    made = world(dev, fake, admin_user, flow=name)
    assert made.deployment.full_name == f"{name}/{name}"
    client, shown, twice = login(admin_user), "", {}
    for address in everywhere(made.rows):
        with transaction.atomic():
            answer = client.get(address, follow=True)
        if HTML in answer.headers.get("Content-Type", ""):
            text = VisibleText(answer.content.decode()).text
            shown += text
            at = text.find(f"{name}/{name}")
            if at >= 0:
                twice[address] = " ".join(text[max(at - 60, 0) : at + 200].split())
    assert twice == {}
    assert shown.count(name) > 50


def test_a_look_changes_nothing(made: World, admin_user: User, login: Login, subtests: pytest.Subtests) -> None:
    client = login(admin_user)
    refused = set()
    for address in everywhere(made.rows):
        with subtests.test(address=address), transaction.atomic():
            before = written()
            status = client.get(address).status_code
            assert status in (200, 301, 302, 401, 403, 404, 405)
            assert written() == before
            if status == 405:
                refused.add(address.rstrip("/").rpartition("/")[2])
    assert refused >= ACTS


def test_a_stranger_gets_nowhere_and_reads_no_name(
    made: World, stranger: User, login: Login, subtests: pytest.Subtests
) -> None:
    client = login(stranger)
    # Signing in and out is everybody's, and to choose one's own messages; all are audited.
    everybodys = {reverse(f"admin:{name}") for name in ("login", "logout", "runs_notification_choose")}
    everybodys |= {reverse(f"profile_{name}") for name in ("time_zone", "name", "email", "end_sessions")}
    # Messages to an address without a hook are counted, and no more.
    everybodys.add(reverse("hook", args=["1"]))
    for address in sorted({*everywhere(made.rows)} - everybodys):
        with subtests.test(address=address), transaction.atomic():
            before, last = written(), AuditEntry.objects.count()
            for answer in (client.get(address, follow=True), client.post(address, {"reason": "why not"})):
                assert answer.status_code in (200, 302, 400, 401, 403, 404, 405, 422)
                if not answer.streaming:
                    assert "bad-" not in answer.content.decode()
            # That it was tried is in the trail, where it was more than a look; nothing else is anywhere.
            new = AuditEntry.objects.order_by("sequence")[last:]
            assert {entry.outcome for entry in new} <= {"refused"}
            assert {table for table, count in written().items() if count != before.get(table)} <= {"runs_auditentry"}


def test_nobody_sees_anything_without_signing_in(made: World, client: Client, subtests: pytest.Subtests) -> None:
    for address in everywhere(made.rows):
        with subtests.test(address=address), transaction.atomic():
            answer = client.get(address)
            assert answer.status_code in (200, 302, 401, 403, 404, 405)
            assert "bad-" not in answer.content.decode()


@pytest.mark.parametrize("value", ["\0", "99999999999999999999999", "2026-02-30", "'%[]é" * 100])
def test_a_list_survives_whatever_stands_in_its_address(
    made: World, admin_user: User, login: Login, subtests: pytest.Subtests, value: str
) -> None:
    client = login(admin_user)
    for address, model_admin in lists():
        names = list(parameters(model_admin))
        for query in ({"q": value, "p": value, "o": f"{value}.-1.99"}, dict.fromkeys(names, value), {value: value}):
            with subtests.test(address=address, query=query), transaction.atomic():
                assert client.get(address, query, follow=True).status_code in (200, 400)


@pytest.mark.parametrize("key", ["\0", "99999999999999999999999", "nonsense"])
def test_a_key_that_cannot_be_is_not_found(
    made: World, admin_user: User, login: Login, subtests: pytest.Subtests, key: str
) -> None:
    client = login(admin_user)
    for address in [each for route in routes() if "<" in route for each in fill(route, {subject(route): [key]})]:
        with subtests.test(address=address), transaction.atomic():
            assert client.get(address, follow=True).status_code in (200, 401, 403, 404, 405)


def test_the_walk_finds_what_there_is() -> None:
    assert {"admin/runs/run/<int:pk>/cancel/", "admin/flows/deployment/<int:pk>/run/", "admin/"} <= set(routes())


@pytest.mark.parametrize("page", ["<p>{}</p>", "<script>x = `{}`</script>", '<a x-data="{}">', '<a @click="{}">'])
def test_the_reader_of_pages_notices_a_text_that_is_more(page: str) -> None:
    assert Page(page.format("<bad-name>")).complaints
    assert not Page("<p title='&lt;bad-name&gt;'>&lt;bad-name&gt;</p>").complaints
