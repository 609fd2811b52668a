"""What ended, ends soon or cannot run, on the overview: numbers that lead to the lists of exactly these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from portal.admin.overview.renewal_panel import MOST_NAMES, Renewal
from runs.automation import owner_checks
from runs.models import Chain, EventRule, Hook
from tests.cast import person
from tests.made_chains import new_chain
from tests.made_hooks import new_hook
from tests.made_rules import new_rule
from tests.made_schedules import let_schedule, schedule_of

pytestmark = pytest.mark.django_db
URL = reverse("admin:index")
EVIL = "<script>alert(1)</script>"
Login = Callable[[User], Client]


def lines(client: Client) -> dict[str, Renewal]:
    rows: Iterable[Renewal] = client.get(URL).context["renewals"]
    return {row.count.key: row for row in rows}


def keys_listed(client: Client, row: Renewal) -> set[int]:
    answer: Any = client.get(row.count.url)
    assert answer.context["cl"].result_count == row.count.number
    return {each.pk for each in answer.context["cl"].result_list}


@pytest.fixture
def made(requester: User, deployment: Deployment) -> tuple[Hook, list[EventRule]]:
    """A hook that ends soon, and rules of which all but one have ended."""
    hook = new_hook(requester, deployment, valid_until=timezone.now() + timedelta(days=2)).hook
    rules = [new_rule(requester, deployment, name=f"{EVIL}{number}") for number in range(MOST_NAMES + 2)]
    EventRule.objects.exclude(pk=rules[0].pk).update(valid_until=timezone.now() - timedelta(days=1))
    return hook, rules


def test_each_number_leads_to_its_rows(
    made: tuple[Hook, list[EventRule]], requester: User, admin_user: User, deployment: Deployment, login: Login
) -> None:
    hook, rules = made
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, valid_until=timezone.now() + timedelta(days=3))
    chain = new_chain(requester, deployment)
    Chain.objects.update(valid_until=timezone.now() - timedelta(days=1))
    ended = {each.pk for each in rules[1:]}
    for reader in (requester, admin_user):
        client = login(reader)
        found = lines(client)
        assert {key: keys_listed(client, row) for key, row in found.items()} == {
            "runs_eventrule ended": ended,
            "runs_schedule ending": {schedule.pk},
            "runs_hook ending": {hook.pk},
            "runs_chain ended": {chain.pk},
        }
        assert found["runs_eventrule ended"].names.endswith("and 1 more")
        assert EVIL not in client.get(URL).content.decode()


def test_readers_see_what_their_lists_have(
    made: tuple[Hook, list[EventRule]], viewer: User, deployment: Deployment, login: Login
) -> None:
    assert lines(login(viewer)) == {}
    User.objects.filter(username="requester").update(is_active=False)
    assert lines(login(viewer)) == {}
    auditor = person("auditor", "Auditor", "Viewer")
    assert {"runs_hook unable", "runs_eventrule unable"} <= set(lines(login(auditor)))


def test_what_runs_a_deleted_deployment_is_counted_and_its_page_says_why(
    requester: User, deployment: Deployment, login: Login
) -> None:
    made = [new_hook(requester, deployment).hook, new_rule(requester, deployment), new_chain(requester, deployment)]
    client = login(requester)
    pages = [reverse(f"admin:runs_{row._meta.model_name}_change", args=[row.pk]) for row in made]
    why = "is no longer deployed in"
    assert [why in client.get(page).content.decode() for page in pages] == [False] * 3
    Deployment.objects.filter(pk=deployment.pk).update(deleted_upstream_at=timezone.now())
    owner_checks.check()
    assert [why in client.get(page).content.decode() for page in pages] == [True] * 3
    found = lines(client)
    assert {key: keys_listed(client, row) for key, row in found.items()} == {
        f"runs_{row._meta.model_name} unable": {row.pk} for row in made
    }


def test_an_invented_need_filters_nothing(requester: User, deployment: Deployment, login: Login) -> None:
    rule = new_rule(requester, deployment)
    for value in ("", "x", "x%00", "x&needs=y"):
        answer: Any = login(requester).get(f"{reverse('admin:runs_eventrule_changelist')}?needs={value}")
        assert [each.pk for each in answer.context["cl"].result_list] == [rule.pk]
