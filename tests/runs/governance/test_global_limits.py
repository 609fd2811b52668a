"""Global concurrency limits: synced, seen, changed as actions, and signed where a protected environment shares them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import limit_catalog, sync
from flows.models import Environment, GlobalLimit, Health
from flows.prefect_api.records import Rejected
from runs import changes, tasks
from runs.governance import limits
from runs.models import Action, AuditEntry, ChangeRequest
from runs.models.action import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import attributes, has_button, message_codes
from tests.portal.query_counts import count
from tests.refusals import refused
from tests.runs.governance.test_limits import carry_out, manager_of, verbs

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:flows_globallimit_changelist")


def synced(environment: Environment, fake: FakePrefect) -> GlobalLimit:
    fake.add_global_limit("licences", 4, active_slots=3)
    fake.add_global_limit("tag:crm", 2, is_active=False)
    assert limit_catalog.sync(environment)
    return GlobalLimit.current.select_related("environment__server").get(environment=environment, name="licences")


@pytest.fixture
def limit(dev: Environment, fake: FakePrefect) -> GlobalLimit:
    return synced(dev, fake)


def page_of(limit: GlobalLimit) -> str:
    return reverse("admin:flows_globallimit_change", args=[limit.pk])


def test_they_are_synced_and_one_that_is_deleted_is_marked(
    limit: GlobalLimit, dev: Environment, fake: FakePrefect
) -> None:
    assert (limit.concurrency_limit, limit.active_slots, limit.is_active, limit.tag) == (4, 3, True, "")
    assert GlobalLimit.current.get(name="tag:crm").tag == "crm"
    fake.change_global_limit(limit.prefect_id, active_slots=4)
    fake.remove_global_limit(GlobalLimit.current.get(name="tag:crm").prefect_id)
    tasks.sync(dev.server_id)
    assert list(GlobalLimit.current.values_list("name", "active_slots")) == [("licences", 4)]


def test_a_list_that_is_refused_leaves_them_and_is_said(
    limit: GlobalLimit, dev: Environment, fake: FakePrefect, viewer: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise Rejected("no", code="request.rejected", status=422)

    monkeypatch.setattr(fake, "global_limits", refuse)
    assert not limit_catalog.sync(dev)
    assert GlobalLimit.current.count() == 2
    assert Health.objects.get().limits_failure == "no"
    assert 'data-key="unread"' in login(viewer).get(LIST).content.decode()


def test_it_is_changed_and_deactivated_as_actions(limit: GlobalLimit, dev: Environment, fake: FakePrefect) -> None:
    manager = by(manager_of(dev))
    made = limits.set_limits(limit, {"concurrency_limit": 8}, by=manager, reason="more licences")
    with refused("limit.pending"):
        limits.set_limits(limit, {"is_active": False}, by=manager)
    assert carry_out(made).state == State.DONE
    limit.refresh_from_db()
    assert carry_out(limits.set_limits(limit, {"is_active": False}, by=manager)).state == State.DONE
    (record,) = [each for each in fake.global_limits() if each.name == "licences"]
    assert (record.concurrency_limit, record.is_active, record.active_slots) == (8, False, 3)
    assert verbs()[-4:] == ["global_limit.limit", "limit.changed"] * 2
    entry = AuditEntry.objects.filter(verb="global_limit.limit").earliest("sequence")
    assert (entry.before, entry.after, entry.environment) == ({"concurrency_limit": 4}, {"concurrency_limit": 8}, "dev")


def test_one_that_someone_else_has_changed_or_that_is_gone_is_left_alone(
    limit: GlobalLimit, dev: Environment, fake: FakePrefect
) -> None:
    manager = by(manager_of(dev))
    made = limits.set_limits(limit, {"concurrency_limit": 8}, by=manager)
    fake.change_global_limit(limit.prefect_id, concurrency_limit=1)
    assert carry_out(made).state == State.OVERTAKEN
    limit.refresh_from_db()
    made = limits.set_limits(limit, {"concurrency_limit": 8}, by=manager)
    fake.remove_global_limit(limit.prefect_id)
    assert carry_out(made).state == State.FAILED
    limit.refresh_from_db()
    with refused("target.gone"):
        limits.set_limits(limit, {"concurrency_limit": 8}, by=manager)


def test_what_prefect_would_not_store_is_refused(limit: GlobalLimit, dev: Environment, viewer: User) -> None:
    manager = by(manager_of(dev))
    for values, code in (
        ({"concurrency_limit": None}, "limit.number"),
        ({"concurrency_limit": -1}, "limit.number"),
        ({"is_active": "yes"}, "limit.active"),
        ({"active_slots": 0}, "limit.unknown"),
        ({"is_active": True}, "target.unchanged"),
    ):
        with refused(code):
            limits.set_limits(limit, values, by=manager)
    with refused("access.no_grant"):
        limits.set_limits(limit, {"concurrency_limit": 1}, by=by(viewer))


def test_a_higher_or_removed_one_in_a_protected_environment_is_signed(
    prod: Environment, prod_fake: FakePrefect, admin_user: User, second_administrator: User
) -> None:
    limit = synced(prod, prod_fake)
    manager = by(manager_of(prod))
    consent = {"reason": "r", "confirm": "prod"}
    assert isinstance(limits.set_limits(limit, {"concurrency_limit": 1}, by=manager, reason="r"), Action)
    Action.objects.update(state=State.DONE)
    with refused("loosening.confirm"):
        limits.set_limits(limit, {"concurrency_limit": 9}, by=manager, reason="r")
    for values in ({"concurrency_limit": 9}, {"is_active": False}):
        change = limits.set_limits(limit, values, by=manager, **consent)
        assert isinstance(change, ChangeRequest)
        changes.approve(change, by=by(admin_user))
        assert Action.objects.get(change=change).wanted == values
        Action.objects.update(state=State.DONE)
    inactive = GlobalLimit.objects.get(name="tag:crm")
    assert isinstance(limits.set_limits(inactive, {"is_active": True}, by=manager, reason="r"), Action)


def test_the_pages_show_and_change_them(
    limit: GlobalLimit, dev: Environment, fake: FakePrefect, viewer: User, stranger: User, login: Login
) -> None:
    manager = manager_of(dev)
    reader, client = login(viewer), login(manager)
    few = count(reader, LIST)
    for number in range(9):
        fake.add_global_limit(f"limit-{number}", 1, active_slots=1)
    fake.add_deployment(flow_name="etl", name="nightly", limit_name="licences", concurrency_limit=4)
    sync.sync(dev)
    limit_catalog.sync(dev)
    assert count(reader, LIST) == few <= 20
    page = reader.get(page_of(limit))
    assert not has_button(page.content.decode(), "limits")
    assert [each.full_name for each in page.context["deployments"]] == ["etl/nightly"]
    change = reverse("admin:flows_globallimit_limits", args=[limit.pk])
    assert reader.post(change, {"concurrency_limit": "1"}).status_code == 403
    assert login(stranger).get(page_of(limit)).status_code == 404
    assert has_button(client.get(page_of(limit)).content.decode(), "limits")
    typed = {"concurrency_limit": "1", "is_active": "false"}
    assert message_codes(client.post(change, typed, follow=True)) == ["success"]
    assert Action.objects.get().wanted == {"concurrency_limit": 1, "is_active": False}
    assert message_codes(client.post(change, {"concurrency_limit": ""}, follow=True)) == ["limit.number"]
    assert attributes(client.get(page_of(limit)).content.decode(), "data-key").count("limits") == 1


def test_programs_list_and_change_them(
    limit: GlobalLimit, dev: Environment, viewer: User, program: Programs, command: Commands
) -> None:
    manager = manager_of(dev)
    found = program(viewer).get("/concurrency-limits?environment=dev&active=true").body["items"]
    assert [(each["name"], each["active_slots"], each["concurrency_limit"]) for each in found] == [("licences", 3, 4)]
    answer = program(manager).send("PATCH", f"/concurrency-limits/{limit.pk}", {"concurrency_limit": 2, "reason": "r"})
    assert (answer.status, answer.body["action"]["concurrency_limit"]) == (202, "licences")
    assert program(viewer).send("PATCH", f"/concurrency-limits/{limit.pk}", {"is_active": False}).status == 403
    Action.objects.update(state=State.DONE, settled_at=timezone.now())
    assert "licences" in command(viewer, "limits", "-e", "dev").out
    assert command(manager, "change-limit", str(limit.pk)).code == 1
    assert command(manager, "change-limit", str(limit.pk), "--deactivate", "--reason", "r").code == 0
    assert Action.objects.latest("pk").wanted == {"is_active": False}
