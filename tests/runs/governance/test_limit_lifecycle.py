"""Global concurrency limits that are created and deleted: who may, what is signed, and what Prefect has afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import limit_catalog, sync
from flows.models import Deployment, Environment, GlobalLimit
from flows.prefect_api.records import Uncertain
from flows.scopes import Kind as Scope
from runs import changes, tasks
from runs.governance import limit_lifecycle, limits
from runs.models import Action, AuditEntry, ChangeRequest
from runs.models.action import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import has_button, message_codes
from tests.refusals import refused
from tests.runs.governance.test_limits import carry_out, manager_of

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST, NEW = reverse("admin:flows_globallimit_changelist"), reverse("admin:flows_globallimit_new")


@pytest.fixture
def manager(dev: Environment) -> User:
    return manager_of(dev)


def limit_of(environment: Environment, name: str = "licences") -> GlobalLimit:
    return GlobalLimit.current.select_related("environment__server").get(environment=environment, name=name)


def names(fake: FakePrefect) -> list[str]:
    return [each.name for each in fake.global_limits()]


def test_one_is_created_and_deleted_and_prefect_says_what_became_of_it(
    dev: Environment, manager: User, fake: FakePrefect
) -> None:
    columns = {"concurrency_limit": 4, "slot_decay_per_second": 0.5}
    made = limit_lifecycle.create(dev, " licences ", columns, by=by(manager), reason="four licences")
    assert not GlobalLimit.current.exists()
    assert carry_out(made).state == State.DONE
    limit = limit_of(dev)
    (record,) = fake.global_limits()
    assert (limit.prefect_id, limit.concurrency_limit, limit.slot_decay_per_second) == (record.id, 4, 0.5)
    with refused("limit.exists"):
        limit_lifecycle.create(dev, "licences", columns, by=by(manager))
    assert carry_out(limit_lifecycle.delete(limit, by=by(manager), reason="not used")).state == State.DONE
    assert (names(fake), GlobalLimit.current.count()) == ([], 0)
    with refused("target.gone"):
        limit_lifecycle.delete(limit, by=by(manager))
    created, deleted = (
        AuditEntry.objects.get(verb=f"global_limit.{verb}", outcome="done") for verb in ("create", "delete")
    )
    stored = {"concurrency_limit": 4, "is_active": True, "slot_decay_per_second": 0.5}
    assert (created.before, created.after, deleted.before, deleted.after) == ({}, stored, stored, {})
    assert {created.environment, deleted.environment} == {"dev"}
    # The same name again is the same row.
    assert carry_out(limit_lifecycle.create(dev, "licences", columns, by=by(manager))).state == State.DONE
    assert limit_of(dev).pk == limit.pk


def test_an_answer_that_was_lost_creates_and_deletes_once(dev: Environment, manager: User, fake: FakePrefect) -> None:
    def repeated(made: Action | ChangeRequest) -> Action:
        assert carry_out(made).state == State.DONE
        Action.objects.filter(pk=made.pk).update(state=State.SENT, settled_at=None, next_attempt_at=None)
        return carry_out(made)

    assert (
        repeated(limit_lifecycle.create(dev, "tag:crm", {"concurrency_limit": 0}, by=by(manager))).state == State.DONE
    )
    assert repeated(limit_lifecycle.delete(limit_of(dev, "tag:crm"), by=by(manager))).state == State.DONE
    calls = [call.method for call in fake.calls if call.method.endswith("e_global_limit")]
    assert calls == ["create_global_limit", "delete_global_limit"]


def test_what_prefect_got_meanwhile_is_left_alone(
    dev: Environment, manager: User, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = limit_lifecycle.create(dev, "licences", {"concurrency_limit": 4}, by=by(manager))
    with refused("limit.pending"):
        limit_lifecycle.create(dev, "licences", {"concurrency_limit": 9}, by=by(manager))
    fake.add_global_limit("licences", 1)
    assert carry_out(made).state == State.OVERTAKEN
    deletion = limit_lifecycle.delete(limit_of(dev), by=by(manager))
    fake.change_global_limit(limit_of(dev).prefect_id, concurrency_limit=2)
    assert carry_out(deletion).state == State.OVERTAKEN
    fake.ignores_changes = True
    assert carry_out(limit_lifecycle.delete(limit_of(dev), by=by(manager))).state == State.FAILED
    assert names(fake) == ["licences"]


@pytest.mark.parametrize(
    ("name", "columns", "code"),
    [
        ("", {}, "limit.name"),
        ("tag:", {}, "limit.name"),
        ("a/b", {}, "limit.name"),
        ("deployment:1", {}, "limit.name"),
        ("x" * 301, {}, "limit.name"),
        ("a", {"concurrency_limit": None}, "limit.number"),
        ("a", {"concurrency_limit": -1}, "limit.number"),
        ("a", {"slot_decay_per_second": float("inf")}, "limit.decay"),
        ("a", {"slot_decay_per_second": -1}, "limit.decay"),
        ("a", {"active_slots": 0}, "limit.unknown"),
    ],
)
def test_what_prefect_would_not_store_is_refused(
    dev: Environment, manager: User, name: str, columns: dict[str, Any], code: str
) -> None:
    with refused(code):
        limit_lifecycle.create(dev, name, {"concurrency_limit": 1, **columns}, by=by(manager))
    assert not GlobalLimit.objects.exists()


def test_only_who_manages_the_whole_server_creates_and_deletes(
    dev: Environment, viewer: User, fake: FakePrefect
) -> None:
    fake.add_global_limit("licences", 4)
    limit_catalog.sync(dev)
    with refused("access.no_grant"):
        limit_lifecycle.create(dev, "a", {"concurrency_limit": 1}, by=by(viewer))
    with refused("access.no_grant"):
        limit_lifecycle.delete(limit_of(dev), by=by(viewer))
    Environment.objects.update(scope_kind=Scope.TAGS, scope_values=["crm"])
    dev.refresh_from_db()
    with refused("limit.scoped"):
        limit_lifecycle.create(dev, "a", {"concurrency_limit": 1}, by=by(manager_of(dev)))


def test_deleting_one_in_a_protected_environment_is_signed_and_creating_is_not(
    prod: Environment, prod_fake: FakePrefect, admin_user: User, second_administrator: User
) -> None:
    manager = by(manager_of(prod))
    made = limit_lifecycle.create(prod, "licences", {"concurrency_limit": 4}, by=manager, reason="r")
    assert carry_out(made).state == State.DONE
    limit = limit_of(prod)
    with refused("loosening.confirm"):
        limit_lifecycle.delete(limit, by=manager, reason="r")
    change = limit_lifecycle.delete(limit, by=manager, reason="r", confirm="prod")
    assert isinstance(change, ChangeRequest)
    assert names(prod_fake) == ["licences"]
    changes.approve(change, by=by(admin_user))
    action = Action.objects.get(change=change)
    tasks.carry_out(action.pk)
    assert names(prod_fake) == []
    entry = AuditEntry.objects.get(verb="global_limit.delete", outcome="done", after__change_request=change.pk)
    assert [each["environment"] for each in entry.after["loosened"]] == ["prod"]
    # What was requested for a limit is not done to what it became.
    carry_out(limit_lifecycle.create(prod, "licences", {"concurrency_limit": 3}, by=manager, reason="r"))
    change = limit_lifecycle.delete(limit_of(prod), by=manager, reason="r", confirm="prod")
    assert isinstance(change, ChangeRequest)
    carry_out(limits.set_limits(limit_of(prod), {"concurrency_limit": 1}, by=manager, reason="r"))
    with refused("rules.moved"):
        changes.approve(change, by=by(admin_user))
    assert names(prod_fake) == ["licences"]


def test_deployments_that_share_it_are_left_without_a_limit(dev: Environment, manager: User, fake: FakePrefect) -> None:
    carry_out(limit_lifecycle.create(dev, "licences", {"concurrency_limit": 4}, by=by(manager)))
    fake.add_deployment(flow_name="etl", name="nightly", limit_name="licences", concurrency_limit=4)
    sync.sync(dev)
    carry_out(limit_lifecycle.delete(limit_of(dev), by=by(manager)))
    sync.sync(dev)
    assert Deployment.objects.get(full_name="etl/nightly").shared_limit == ""


def test_the_page_creates_and_deletes_them_and_says_what_waits(
    dev: Environment, manager: User, viewer: User, fake: FakePrefect, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login(manager)
    typed = {"environment": dev.pk, "kind": "tag:", "name": "crm", "concurrency_limit": "2", "reason": "r"}
    assert client.post(NEW, typed).status_code == 302
    action = Action.objects.get()
    assert f'data-key="requested-{action.pk}"' in client.get(LIST).content.decode()
    assert "limit.pending" in [
        error.code for error in client.post(NEW, typed).context["form"].non_field_errors().as_data()
    ]

    def lose(*_: Any) -> None:
        raise Uncertain("no answer", code="connection.timeout")

    monkeypatch.setattr(fake, "create_global_limit", lose)
    assert carry_out(action).state == State.WANTED
    monkeypatch.undo()
    Action.objects.update(next_attempt_at=None)
    assert carry_out(action).state == State.DONE
    assert "requested-" not in client.get(LIST).content.decode()
    page = reverse("admin:flows_globallimit_change", args=[limit_of(dev, "tag:crm").pk])
    assert not has_button(login(viewer).get(page).content.decode(), "delete")
    remove = reverse("admin:flows_globallimit_remove", args=[limit_of(dev, "tag:crm").pk])
    assert login(viewer).post(remove).status_code == 403
    client = login(manager)
    assert has_button(client.get(page).content.decode(), "delete")
    assert message_codes(client.post(remove, {"reason": "r"}, follow=True)) == ["success"]
    assert carry_out(Action.objects.latest("pk")).state == State.DONE
    assert client.get(page).status_code == 404


def test_programs_create_and_delete_them(
    dev: Environment, manager: User, viewer: User, fake: FakePrefect, program: Programs, command: Commands
) -> None:
    body = {"environment": "dev", "name": "licences", "concurrency_limit": 4, "reason": "r"}
    assert program(viewer).send("POST", "/concurrency-limits", body).status == 403
    assert program(manager).send("POST", "/concurrency-limits", {**body, "environment": "prod"}).status == 404
    answer = program(manager).send("POST", "/concurrency-limits", body)
    assert answer.status == 202
    number = answer.body["action"]["id"]
    # Before Prefect has the limit, and afterwards.
    assert program(manager).get(f"/actions/{number}").body["state"] == "wanted"
    carry_out(Action.objects.get(pk=number))
    assert program(viewer).get(f"/actions/{number}").body["state"] == "done"
    assert command(manager, "create-limit", "crm", "--tag", "-e", "dev", "--limit", "2", "--reason", "r").code == 0
    carry_out(Action.objects.latest("pk"))
    assert names(fake) == ["licences", "tag:crm"]
    assert command(manager, "delete-limit", str(limit_of(dev).pk), "--reason", "r").code == 0
    carry_out(Action.objects.latest("pk"))
    tag = limit_of(dev, "tag:crm")
    assert program(viewer).send("POST", f"/concurrency-limits/{tag.pk}/delete", {"reason": "r"}).status == 403
    assert program(manager).send("POST", f"/concurrency-limits/{tag.pk}/delete", {"reason": "r"}).status == 202
    carry_out(Action.objects.latest("pk"))
    assert names(fake) == []


def test_one_that_is_created_is_changed_like_any_other(dev: Environment, manager: User, fake: FakePrefect) -> None:
    carry_out(limit_lifecycle.create(dev, "licences", {"concurrency_limit": 4}, by=by(manager)))
    assert carry_out(limits.set_limits(limit_of(dev), {"concurrency_limit": 1}, by=by(manager))).state == State.DONE
    assert [each.concurrency_limit for each in fake.global_limits()] == [1]
