"""The list of bypasses: who sees which, what could not be read, and where the numbers lead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import automations, sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import Rejected
from runs import mirror
from runs.actors import Actor
from runs.governance import bypasses, grants
from runs.models import Bypass
from tests.cast import person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal import query_counts
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = "admin:runs_bypass_changelist"


@pytest.fixture
def found(prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment) -> None:
    """A schedule of `monthly/monthly`, one of `covert/covert`, and an automation that starts anything."""
    schedules = (records.cron("0 6 * * *"),)
    prod_fake.change_deployment(prod_deployment.prefect_id, schedules=schedules)
    prod_fake.add_deployment(flow_name="covert", name="covert", schedules=schedules)
    prod_fake.add_automation("anything", ("run-deployment", None))
    read(prod)


@pytest.fixture
def narrow(prod: Environment) -> User:
    user = person("narrow")
    grants.grant(by=Actor.system(), person=user, verbs=["see"], environment=prod, full_name="monthly/monthly")
    return user


def read(environment: Environment) -> None:
    sync.sync(environment)
    automations.sync(environment)
    bypasses.report(environment)


def names(client: Client, query: str = "") -> set[str]:
    return {row.name for row in client.get(f"{reverse(LIST)}{query}").context["cl"].result_list}


@pytest.mark.usefixtures("found")
def test_one_sees_the_ways_of_deployments_that_one_sees(
    requester: User, narrow: User, viewer: User, stranger: User, login: Login
) -> None:
    assert names(login(requester)) == {"monthly/monthly", "covert/covert", "anything"}
    assert names(login(narrow)) == {"monthly/monthly"}
    assert "covert" not in login(narrow).get(reverse(LIST)).content.decode()
    # Sees dev only.
    assert names(login(viewer)) == set()
    assert login(stranger).get(reverse(LIST)).status_code == 403
    hidden = Bypass.objects.get(name="covert/covert")
    assert login(narrow).get(reverse("admin:runs_bypass_change", args=[hidden.pk])).status_code == 404


@pytest.mark.usefixtures("found")
def test_what_is_gone_is_behind_a_filter(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment, requester: User, login: Login
) -> None:
    prod_fake.change_deployment(prod_deployment.prefect_id, schedules=())
    read(prod)
    client = login(requester)
    assert names(client) == {"covert/covert", "anything"}
    assert names(client, "?open=gone") == {"monthly/monthly"}
    assert names(client, "?open=all&kind=schedule") == {"monthly/monthly", "covert/covert"}


@pytest.mark.usefixtures("found")
def test_automations_that_could_not_be_read_are_no_empty_list(
    prod: Environment, prod_fake: FakePrefect, requester: User, login: Login, program: Programs, command: Commands
) -> None:
    client = login(requester)
    assert 'data-code="automations_unread"' not in client.get(reverse(LIST)).content.decode()
    prod_fake.refuses_automations = Rejected("<b>Not for this key.</b>", status=403)
    read(prod)
    page = client.get(reverse(LIST)).content.decode()
    assert 'data-code="automations_unread"' in page
    assert "<b>Not for" not in page
    (row, *_) = program(requester).get("/bypasses?environment=prod&state=open").body["items"]
    assert "Not for this key" in row["automations_failure"]
    ended = command(requester, "bypasses", "-e", "prod")
    assert (ended.code, "some may be missing" in ended.err, "anything" in ended.out) == (4, True, True)


@pytest.mark.usefixtures("found")
def test_runs_that_were_started_directly_are_counted_as_their_list_has_them(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment, requester: User, login: Login
) -> None:
    record = prod_fake.add_run(prod_deployment.prefect_id, state_type="RUNNING")
    mirror.refresh(prod, [record.id])
    client = login(requester)
    (one,) = client.get(reverse(LIST)).context["cl"].watched
    assert one.outside.number == 1
    assert client.get(one.outside.url).context["cl"].result_count == 1


@pytest.mark.usefixtures("found")
def test_the_overview_counts_them_for_administrators_and_auditors(
    prod: Environment, auditor: User, admin_user: User, requester: User, login: Login
) -> None:
    for user in (auditor, admin_user):
        (row,) = login(user).get(reverse("admin:index")).context["oversight"]
        assert row.counts[-1].number == 3
    assert names(login(admin_user), row.counts[-1].url.partition(reverse(LIST))[2]) == {
        "monthly/monthly",
        "covert/covert",
        "anything",
    }
    assert login(requester).get(reverse("admin:index")).context["oversight"] == []


@pytest.mark.usefixtures("found")
def test_a_program_lists_them(requester: User, narrow: User, program: Programs, command: Commands) -> None:
    rows = program(requester).get("/bypasses?kind=schedule").body["items"]
    assert {(each["deployment"], each["kind"]) for each in rows} == {
        ("monthly/monthly", "schedule"),
        ("covert/covert", "schedule"),
    }
    assert [each["name"] for each in program(narrow).get("/bypasses").body["items"]] == ["monthly/monthly"]
    assert "cron 0 6" in command(narrow, "bypasses").out


@pytest.mark.usefixtures("found")
def test_the_list_takes_as_many_queries_for_many_rows(
    prod: Environment, prod_fake: FakePrefect, requester: User, login: Login
) -> None:
    client = login(requester)
    few = query_counts.count(client, reverse(LIST))
    for number in range(20):
        prod_fake.add_automation(f"automation-{number}", ("run-deployment", None))
    read(prod)
    assert query_counts.count(client, reverse(LIST)) == few <= 20
