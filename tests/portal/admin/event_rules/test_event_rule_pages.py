"""The pages of event rules: the form with its dry run, who sees what, and the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Health
from portal.admin.event_rules.forms import read_condition, written_condition
from runs import tasks
from runs.automation import event_rules
from runs.models import EventRule, RuleFiring, Run, RunRequest
from tests.cast import by
from tests.made_rules import new_rule, react
from tests.portal.page_elements import form_errors
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

LIST, NEW = reverse("admin:runs_eventrule_changelist"), reverse("admin:runs_eventrule_new")
LOG = reverse("admin:runs_rulefiring_changelist")
Login = Callable[[User], Client]
MakeRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def begun(deployment: Deployment) -> None:
    Health.objects.update(runs_synced_at=timezone.now())
    tasks.deliver_events()


@pytest.fixture
def rule(requester: User, deployment: Deployment) -> EventRule:
    return new_rule(requester, deployment)


def page_of(rule: EventRule, name: str = "change") -> str:
    return reverse(f"admin:runs_eventrule_{name}", args=[rule.pk])


def typed(deployment: Deployment, **values: Any) -> dict[str, Any]:
    plain = {
        "name": "load after close",
        "trigger": "run",
        "states": ["FAILED"],
        "full_name": deployment.full_name,
        "conditions": "/run/flow = monthly\n\n/run/seconds >= 0",
        "deployment": deployment.pk,
        "mapping": '{"month": {"pointer": "/run/parameters/month"}}',
        "debounce_seconds": "0",
        "per_hour": "5",
        "newest_rule": "0",
    }
    return plain | values


def test_a_rule_is_tried_out_created_and_changed(
    requester: User, deployment: Deployment, login: Login, a_run: MakeRun
) -> None:
    a_run("FAILED", parameters={"month": "2026-08"})
    a_run("FAILED", parameters={"month": "2026-08", "rows": 9_999})
    a_run("FAILED", parameters={})
    client = login(requester)
    assert client.get(NEW).status_code == 200
    tried = client.post(NEW, typed(deployment, dry_run="1"))
    assert tried.context["counts"] == {"request": 2, "skip": 0, "refuse": 1}
    assert "month=2026-08" in tried.content.decode()
    assert not EventRule.objects.exists()
    answer = client.post(NEW, typed(deployment))
    rule = EventRule.objects.get()
    assert answer.headers["Location"] == page_of(rule)
    assert [each["is"] for each in rule.conditions] == ["eq", "ge"]
    # Sent twice, it is one rule.
    assert ("name", "event_rule.repeated") in form_errors(client.post(NEW, typed(deployment)))
    # The form gives back what was typed, and saves it.
    form = client.get(page_of(rule, "edit")).context["form"]
    assert form["conditions"].initial == "/run/flow = monthly\n/run/seconds >= 0"
    end = f"{timezone.localdate() + timedelta(days=9)}T10:00"
    client.post(page_of(rule, "edit"), typed(deployment, per_hour="7", valid_until=end))
    rule.refresh_from_db()
    assert (rule.per_hour, rule.full_name) == (7, deployment.full_name)
    assert timezone.localtime(rule.valid_until).date() == timezone.localdate() + timedelta(days=9)
    assert not RunRequest.objects.exists()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"conditions": "run/seconds 7"}, "event_rule.condition"),
        ({"conditions": "run/seconds > 7"}, "event_rule.condition"),
        ({"states": []}, "event_rule.states"),
        ({"mapping": "{"}, "file.not_json"),
        ({"mapping": '{"token": {"pointer": "/x"}}'}, "event_rule.mapping"),
        ({"trigger": "event", "event_name": "A B"}, "event_rule.event_name"),
        ({"per_hour": "0"}, "min_value"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"dry_run": "1"}])
def test_what_is_refused_is_said_at_its_field(
    values: dict[str, Any], code: str, more: dict[str, str], requester: User, deployment: Deployment, login: Login
) -> None:
    answer = login(requester).post(NEW, typed(deployment, **values, **more))
    assert code in [each for _, each in form_errors(answer)]
    assert not EventRule.objects.exists()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("/a = 7", 7),
        ('/a = "7"', "7"),
        ("/a != true", True),
        ("/a = null", None),
        ("/a > 2026-10-01", "2026-10-01"),
        ("/a = two words", "two words"),
        ('/a = ""', ""),
    ],
)
def test_a_condition_is_read_as_it_is_written(line: str, value: Any) -> None:
    stored = read_condition(line)
    assert stored["value"] == value
    assert type(stored["value"]) is type(value)
    assert written_condition(stored) == line


def test_who_sees_a_rule_and_its_log(
    rule: EventRule, requester: User, approver: User, admin_user: User, auditor: User, login: Login, a_run: MakeRun
) -> None:
    a_run("FAILED")
    react()
    for reader in (requester, admin_user, auditor):
        client = login(reader)
        assert rule.name in client.get(LIST).content.decode()
        assert f"Request {RunRequest.objects.get().pk}" in client.get(page_of(rule)).content.decode()
        assert len(client.get(LOG).context["cl"].result_list) == 1
    other = login(approver)
    assert rule.name not in other.get(LIST).content.decode()
    assert other.get(page_of(rule)).status_code == 404
    assert len(other.get(LOG).context["cl"].result_list) == 0
    # Values of events are for the owner, who may see them.
    assert login(admin_user).get(page_of(rule, "dry_run")).status_code == 403
    assert other.get(page_of(rule, "dry_run")).status_code == 404


def test_the_log_is_filtered(rule: EventRule, requester: User, login: Login, a_run: MakeRun) -> None:
    other = new_rule(requester, rule.deployment, name="never", conditions=[{"pointer": "/x", "is": "eq", "value": 1}])
    a_run("FAILED")
    react()
    client = login(requester)
    for query, found in (
        ("outcome=requested", [rule.pk]),
        ("outcome=skipped", [other.pk]),
        (f"rule={other.pk}", [other.pk]),
        ("rule=x&outcome=x", [other.pk, rule.pk]),
    ):
        assert [each.rule_id for each in client.get(f"{LOG}?{query}").context["cl"].result_list] == found


def test_what_each_event_would_have_done(requester: User, deployment: Deployment, login: Login, a_run: MakeRun) -> None:
    rule = new_rule(requester, deployment, debounce_seconds=3600, per_hour=1)
    for _ in range(2):
        a_run("FAILED", parameters={"month": "2026-08"})
    found = login(requester).get(page_of(rule, "dry_run"))
    assert found.context["counts"] == {"request": 1, "skip": 1, "refuse": 0}
    event_rules.change(rule, by=by(requester), name="x", states=["FAILED"], per_hour=1, mapping=rule.mapping)
    found = login(requester).get(page_of(rule, "dry_run"))
    assert [item.code for item in found.context["dry_run"].items] == ["event_rule.rate", ""]
    assert not RuleFiring.objects.exists()


def test_more_rows_are_no_more_queries(requester: User, deployment: Deployment, login: Login, a_run: MakeRun) -> None:
    client = login(requester)

    def add(number: int) -> EventRule:
        for place in range(number):
            made = new_rule(requester, deployment, name=f"rule {place}")
            a_run("FAILED")
            react()
        return made

    rule = add(2)
    addresses = [LIST, LOG, page_of(rule), page_of(rule, "dry_run")]
    few = [count(client, each) for each in addresses]
    add(6)
    assert [count(client, each) for each in addresses] == few
    assert max(few) <= 20
