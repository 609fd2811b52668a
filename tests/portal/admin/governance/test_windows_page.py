"""Change windows in the admin: read by whoever they are about, set up by administrators, drawn for two weeks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.ui import calendar, charts
from runs.models import AuditEntry, Freeze, Policy, Window
from tests.portal.page_elements import form_errors
from tests.portal.page_text import Page

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_window_changelist")
ADD = reverse("admin:runs_window_add")
TYPED: dict[str, Any] = {
    "name": "Night",
    "effect": "allow",
    "cron": "0 22 * * 1-5",
    "minutes": 120,
    "time_zone": "Europe/Vienna",
    "is_active": "on",
    "reason": "Nobody works then",
    "environment": "",
    "flow_name": "",
    "full_name": "",
    "tag": "",
}
Login = Callable[[User], Client]


def page_of(window: Window) -> str:
    return reverse("admin:runs_window_change", args=[window.pk])


def window(**columns: Any) -> Window:
    plain = {"name": "Night", "cron": "0 22 * * *", "minutes": 120, "time_zone": "Europe/Vienna"}
    return Window.objects.create(**plain | columns)


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_administrator_adds_changes_and_deletes_one(admin_user: User, dev: Environment, login: Login) -> None:
    client = login(admin_user)
    assert "0 22 * * 1-5" in text(client, ADD)
    answer = client.post(ADD, TYPED | {"environment": dev.pk, "tag": "crm"})
    row = Window.objects.get()
    assert answer.url == page_of(row)  # type: ignore[attr-defined]  # a redirect
    assert (row.environment, row.tag, row.cron, row.minutes) == (dev, "crm", "0 22 * * 1-5", 120)
    client.post(page_of(row), TYPED | {"minutes": 90})
    row.refresh_from_db()
    assert (row.minutes, row.environment) == (90, None)
    client.post(reverse("admin:runs_window_remove", args=[row.pk]))
    assert not Window.objects.exists()
    verbs = AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)
    assert list(verbs) == ["window.create", "window.change", "window.delete"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"cron": "every night"}, ("cron", "window.cron")),
        ({"cron": "0 25 * * *"}, ("cron", "window.cron_never")),
        ({"cron": "<b>0</b> 1 2 3 4"}, ("cron", "window.cron_never")),
        ({"time_zone": "Vienna"}, ("time_zone", "window.time_zone")),
        ({"minutes": 0}, ("minutes", "window.minutes")),
        ({"minutes": "99999999999"}, ("minutes", "window.minutes")),
        ({"minutes": "soon"}, ("minutes", "invalid")),
        ({"name": ""}, ("name", "required")),
        ({"environment": "999"}, ("environment", "invalid_choice")),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_what_was_typed_stays(
    admin_user: User, login: Login, values: dict[str, Any], error: tuple[str, str]
) -> None:
    answer = login(admin_user).post(ADD, TYPED | values)
    assert answer.status_code == 200
    assert form_errors(answer) == {error}
    page = Page(answer.content.decode())
    assert answer.context["form"].errors[error[0]][0] in page.text
    assert "Nobody works then" in page.text
    assert not Window.objects.exists()


def test_all_mistakes_are_shown_at_once(admin_user: User, login: Login) -> None:
    wrong = {"cron": "every night", "time_zone": "Vienna", "minutes": "0", "name": ""}
    errors = form_errors(login(admin_user).post(ADD, TYPED | wrong))
    assert errors == {
        ("cron", "window.cron"),
        ("time_zone", "window.time_zone"),
        ("minutes", "window.minutes"),
        ("name", "required"),
    }


def read(client: Client, **typed: str) -> str:
    return text(client, f"{reverse('admin:runs_window_reading')}?{urlencode(typed)}")


def test_what_is_typed_is_read_back_with_the_next_openings(admin_user: User, viewer: User, login: Login) -> None:
    client = login(viewer)
    page = read(client, cron="0 22 * * 1-5", time_zone="Europe/Vienna", minutes="120")
    assert "At 22:00, Monday to Friday, for 2 h (Europe/Vienna)." in page
    assert page.count("<time ") == 5
    # Not typed yet is no mistake.
    assert "data-key" not in read(client, cron="", time_zone="", minutes="")
    assert 'data-key="problem"' not in read(client, cron="0 22 * * *", time_zone="UTC", minutes="")
    wrong = read(client, cron="<b>x", time_zone="nowhere", minutes="1")
    assert wrong.count('data-key="problem"') == 2
    assert "<b>" not in wrong
    assert 'list="time-zones"' in text(login(admin_user), ADD)


def test_a_name_is_given_once(admin_user: User, login: Login) -> None:
    window()
    assert form_errors(login(admin_user).post(ADD, TYPED)) == {("name", "unique")}


def test_others_read_what_is_about_something_they_see(
    viewer: User, deployment: Deployment, prod: Environment, login: Login
) -> None:
    shown, hidden = window(name="Crm night", tag="crm"), window(name="Prod night", environment=prod)
    client = login(viewer)
    page = text(client, LIST)
    assert "Crm night" in page
    assert "Prod night" not in page
    assert client.get(page_of(hidden)).status_code == 404
    page = text(client, page_of(shown))
    assert 'id="next-starts"' in page
    assert 'name="cron"' not in page
    assert client.post(page_of(shown), TYPED).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(reverse("admin:runs_window_remove", args=[shown.pk])).status_code == 403
    assert Window.objects.count() == 2


def test_a_stranger_sees_none(stranger: User, deployment: Deployment, login: Login) -> None:
    row = window()
    assert login(stranger).get(LIST).status_code == 403
    assert login(stranger).get(page_of(row)).status_code in (403, 404)


def test_the_list_says_what_holds_now(admin_user: User, login: Login) -> None:
    window(name="always", cron="* * * * *", minutes=5)
    window(name="never", cron="* * * * *", minutes=5, effect="deny")
    window(name="off", is_active=False)
    page = text(login(admin_user), LIST)
    labels = [calendar.now_of(row, timezone.now())[0].state_label for row in Window.objects.all()]
    assert len(set(labels)) == 3, "open, blocked and off look different"
    assert [label for label in labels if label not in page] == []


def test_a_page_names_the_next_five_openings_on_both_clocks(admin_user: User, login: Login) -> None:
    row = window()
    found = calendar.openings(row, datetime(2026, 10, 23, 12, tzinfo=UTC))
    assert [opening.there for opening in found] == [
        "Fri 23 Oct 2026, 22:00 CEST",
        "Sat 24 Oct 2026, 22:00 CEST",
        "Sun 25 Oct 2026, 22:00 CET",
        "Mon 26 Oct 2026, 22:00 CET",
        "Tue 27 Oct 2026, 22:00 CET",
    ]
    assert found[0].here == "Fri 23 Oct 2026, 20:00 UTC"
    assert found[0].ends == "Sat 24 Oct 2026, 00:00 CEST"
    page = text(login(admin_user), page_of(row))
    assert page.count("data-own-clock=") == 5


def test_the_picture_has_a_title_and_a_table_that_says_the_same(dev: Environment) -> None:
    since = datetime(2026, 10, 23, 12, tzinfo=UTC)
    freeze = Freeze(environment=dev, until=since + timedelta(days=3))
    picture = calendar.picture_of(window(environment=dev), [freeze], since)
    (title,) = re.findall("<title>([^<]*Night[^<]*)</title>", picture.svg)
    assert title
    assert picture.svg.count('data-tone="green"') == 14
    assert picture.svg.count('data-tone="amber"') == 1
    assert len(picture.rows) == 15
    assert (picture.rows[0].begins, picture.rows[0].ends) == (
        "Fri 23 Oct 2026, 22:00 CEST",
        "Sat 24 Oct 2026, 00:00 CEST",
    )
    for row in picture.rows:
        assert f"{row.begins} to {row.ends}" in picture.svg


def test_the_days_of_the_picture_begin_at_midnight_also_where_clocks_change() -> None:
    zone = ZoneInfo("Europe/Vienna")
    days = calendar.midnights(datetime(2026, 10, 23, 12, tzinfo=UTC), zone)
    assert len(days) == 14
    assert {day.astimezone(zone).hour for day in days} == {0}


def test_bands_stay_inside_and_are_only_text() -> None:
    evil = "</title><script>alert(1)</script>"
    band = charts.Band(0.9999, 1.0, "green", evil)
    svg = charts.lanes(evil, [charts.Lane(evil, (band,))], [(0.5, evil)])
    assert "<script>" not in svg
    assert Page(svg).complaints == []


# The calendar of an environment


def test_the_calendar_says_which_rules_are_about_which_deployments(
    viewer: User, deployment: Deployment, prod: Environment, login: Login
) -> None:
    window(name="Crm night", tag="crm", cron="0 0 1 1 *", minutes=1)
    window(name="Secret night", full_name="secret/secret")
    Policy.objects.create(name="Two eyes", environment=deployment.environment)
    page = text(login(viewer), reverse("admin:flows_environment_calendar", args=[deployment.environment_id]))
    for words in ("<div>monthly</div>", "Crm night", "Two eyes", 'data-tone="amber"'):
        assert words in page
    assert "Secret night" not in page
    assert login(viewer).get(reverse("admin:flows_environment_calendar", args=[prod.pk])).status_code == 404
