"""What starts runs in a protected environment past the portal: found, reported once, and never taken for empty."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from flows.catalog import automations, sync
from flows.models import Automation, Deployment, Environment, Health
from flows.prefect_api.records import Rejected
from runs import changes, consumers, requests, tasks
from runs.governance import bypasses
from runs.models import AuditEntry, Bypass, Notification, RunEvent
from tests.cast import by
from tests.fakes import records
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db
GIT = "prefect.deployments.steps.git_clone"


def step(branch: str) -> dict[str, Any]:
    return {GIT: {"repository": "https://git.example/x", "branch": branch}}


def read(environment: Environment) -> int:
    """As the task does after each sync."""
    sync.sync(environment)
    automations.sync(environment)
    return bypasses.report(environment)


def there(environment: Environment) -> set[tuple[str, str, str]]:
    rows = Bypass.objects.filter(environment=environment, gone_at=None)
    return set(rows.values_list("kind", "name", "detail"))


def reported() -> int:
    return RunEvent.objects.filter(kind=RunEvent.Kind.BYPASS_FOUND).count()


def test_schedules_and_automations_of_a_protected_environment_are_found(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment
) -> None:
    active, off = records.cron("0 6 * * *"), records.cron("0 7 * * *", is_active=False)
    pk = prod_deployment.prefect_id
    prod_fake.change_deployment(pk, schedules=(active, off))
    prod_fake.add_deployment("held", schedules=(records.cron("0 8 * * *"),), is_paused=True)
    prod_fake.add_automation("on failure", ("run-deployment", pk), ("run-deployment", None))
    prod_fake.add_automation("morning", ("resume-deployment", pk))
    prod_fake.add_automation("off", ("run-deployment", pk), is_enabled=False)
    prod_fake.add_automation("of one that is gone", ("run-deployment", uuid4()))
    prod_fake.add_automation("mails only")
    assert read(prod) == 4
    assert there(prod) == {
        ("schedule", "monthly/monthly", "cron 0 6 * * * (UTC)"),
        ("automation", "on failure", "runs monthly"),
        ("automation", "on failure", "runs any deployment that its event names"),
        ("automation", "morning", "resumes the schedules of monthly"),
    }


def test_only_what_is_new_is_reported_also_where_as_many_have_gone(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment, admin_user: User, auditor: User
) -> None:
    pk = prod_deployment.prefect_id
    first = prod_fake.add_automation("first", ("run-deployment", pk))
    assert [read(prod), read(prod)] == [1, 0]
    prod_fake.remove_automation(first)
    prod_fake.add_automation("second", ("run-deployment", pk))
    assert read(prod) == 1
    assert {each[1] for each in there(prod)} == {"second"}
    prod_fake.add_automation("first", ("run-deployment", pk), pk=first)
    assert read(prod) == 1
    assert reported() == 3
    entry = AuditEntry.objects.filter(verb="bypass.found").order_by("-sequence")[0]
    assert (entry.subject_name, entry.environment, entry.after["new"], entry.before) == ("prod", "prod", 1, {"ways": 1})
    consumers.deliver()
    notices = Notification.objects.filter(subject__contains="bypasses")
    assert {each.person.username for each in notices} == {"administrator", "auditor"}
    assert "first (runs monthly)" in notices.order_by("-pk")[0].text


def test_an_environment_that_is_not_protected_has_none(
    dev: Environment, fake: FakePrefect, deployment: Deployment
) -> None:
    fake.add_automation("any", ("run-deployment", None))
    assert read(dev) == 0
    assert not Bypass.objects.exists()
    # Protected from now on.
    Environment.objects.update(is_protected=True)
    assert bypasses.report(Environment.objects.get()) == 1


def test_a_list_that_is_refused_leaves_the_rows_and_says_so(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment
) -> None:
    prod_fake.add_automation("first", ("run-deployment", None))
    read(prod)
    prod_fake.refuses_automations = Rejected("The automations are not for this key.", status=403)
    read(prod)
    assert there(prod)
    assert Health.objects.get(server=prod.server).automations_failure == "The automations are not for this key."
    # What is behind it in the task goes on.
    prod_fake.add_run(prod_deployment.prefect_id, state_type="RUNNING")
    tasks.sync(prod.server_id)
    assert prod.runs.exists()
    prod_fake.refuses_automations = None
    read(prod)
    assert Health.objects.get(server=prod.server).automations_failure == ""


def test_a_server_that_is_down_changes_nothing(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment
) -> None:
    prod_fake.add_automation("first", ("run-deployment", None))
    tasks.sync(prod.server_id)
    prod_fake.go_down()
    tasks.sync(prod.server_id)
    assert len(there(prod)) == Automation.objects.count() == 1


def test_code_that_changed_since_the_last_approval_is_found_until_it_is_approved(
    prod: Environment, prod_fake: FakePrefect, prod_deployment: Deployment, requester: User, approver: User
) -> None:
    def approve_one() -> None:
        sync.sync(prod)
        deployment = Deployment.objects.select_related("environment").get(environment=prod)
        made = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
        changes.approve(made.change, by=by(approver))

    pk = prod_deployment.prefect_id
    prod_fake.change_deployment(pk, pull_steps=(step("main"),))
    # Never approved: there is nothing that it differs from.
    assert read(prod) == 0
    approve_one()
    prod_fake.change_deployment(pk, version="2", tags=("other",))
    assert read(prod) == 0
    prod_fake.change_deployment(pk, pull_steps=(step("fix"),))
    assert read(prod) == 1
    ((kind, name, detail),) = there(prod)
    assert (kind, name) == ("code", "monthly/monthly")
    assert detail.startswith("pull steps, since change request")
    prod_fake.change_deployment(pk, pull_steps=(step("hack"),))
    assert read(prod) == 1
    approve_one()
    assert read(prod) == 0
    assert there(prod) == set()
