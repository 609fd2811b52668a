"""The grant form says what it matches and what its rules mean, before and when it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.governance import grants
from runs.models import Grant
from tests.cast import person
from tests.portal.page_elements import attributes, form_errors

pytestmark = pytest.mark.django_db

ADD = reverse("admin:runs_grant_add")
MATCHES = reverse("admin:runs_grant_matches")
MATRIX = reverse("admin:runs_grant_matrix")
Login = Callable[[User], Client]


def typed(who: User | Group, **values: Any) -> dict[str, Any]:
    kind = "person" if isinstance(who, User) else "group"
    return {"who": f"{kind}:{who.pk}", "effect": "allow", "verbs": ["trigger"], **values}


def rule(number: int, parameter: str, operator: str, value: str) -> dict[str, str]:
    parts = {"parameter": parameter, "operator": operator, "value": value}
    return {f"rules-{number}-{part}": text for part, text in parts.items()}


ROWS = rule(1, "rows", "at_most", "50")


def test_one_field_is_for_users_and_groups(admin_user: User, viewer: User, dev: Environment, login: Login) -> None:
    client, group = login(admin_user), Group.objects.get(name="Operator")
    page = client.get(ADD).content.decode()
    assert f'<option value="person:{viewer.pk}">' in page
    assert f'<option value="group:{group.pk}">' in page
    assert client.post(ADD, typed(group)).status_code == 302
    assert Grant.objects.filter(group=group, verbs=["trigger"]).exists()
    for query, value in (({"person": viewer.pk}, f"person:{viewer.pk}"), ({"group": group.pk}, f"group:{group.pk}")):
        assert f'<option value="{value}" selected>' in client.get(ADD, query).content.decode()


def test_a_group_that_a_manager_sends_is_refused_by_the_service(dev: Environment, login: Login) -> None:
    manager = person("manager")
    grants.grant(by=Actor.system(), person=manager, verbs=["see", "trigger", "manage"])
    client, group = login(manager), Group.objects.get(name="Operator")
    assert f"group:{group.pk}" not in client.get(ADD).content.decode()
    assert form_errors(client.post(ADD, typed(group))) == {("__all__", "grant.group")}


def test_the_number_of_matches_is_shown_while_it_is_typed(
    admin_user: User, viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    client = login(admin_user)
    for values, count in (
        # As the decision has it: a protected environment has to be named, and a denial is for all.
        ({"effect": "allow"}, 1),
        ({"effect": "deny"}, 2),
        ({"effect": "allow", "environment": prod_deployment.environment_id}, 1),
        ({"effect": "allow", "flow_name": "long-hual"}, 0),
    ):
        page = client.get(MATCHES, values).content.decode()
        assert attributes(page, "data-matches") == [str(count)], values
        assert ('name="warned"' in page) is (count == 0)
    page = client.get(MATCHES, {"effect": "allow", **ROWS}).content.decode()
    assert "Only when rows is at most 50" in page
    # Secret parameters are not offered.
    assert '<option value="rows">integer</option>' in page
    assert '<option value="token">' not in page
    assert login(viewer).get(MATCHES).status_code == 403


def test_a_manager_counts_only_what_they_see(deployment: Deployment, prod_deployment: Deployment, login: Login) -> None:
    manager = person("manager")
    grants.grant(by=Actor.system(), person=manager, verbs=["see", "manage"], environment=deployment.environment)
    page = login(manager).get(MATCHES, {"environment": prod_deployment.environment_id}).content.decode()
    assert attributes(page, "data-matches") == ["1"]
    assert "prod" not in page


def test_no_match_is_a_warning_that_is_seen_before_saving(
    admin_user: User, viewer: User, deployment: Deployment, login: Login
) -> None:
    client = login(admin_user)
    misspelt = typed(viewer, flow_name="long-hual")
    answer = client.post(ADD, misspelt)
    assert form_errors(answer) == {("__all__", "grant.unmatched")}
    assert 'name="warned"' in answer.content.decode()
    assert not Grant.objects.filter(person=viewer).exists()
    assert client.post(ADD, misspelt | {"warned": "on"}).status_code == 302
    unknown = typed(viewer, **rule(1, "minuts", "at_most", "5"))
    assert form_errors(client.post(ADD, unknown)) == {("__all__", "grant.unmatched")}
    assert client.post(ADD, typed(viewer)).status_code == 302


def test_rules_become_the_condition_and_are_joined_with_a_schema(
    admin_user: User, viewer: User, deployment: Deployment, login: Login
) -> None:
    client = login(admin_user)
    assert client.post(ADD, typed(viewer, **ROWS, **rule(2, "month", "is", "2026"))).status_code == 302
    grant = Grant.objects.get(person=viewer)
    # The month is a text, by the deployment's schema.
    assert grant.predicate == {"properties": {"rows": {"maximum": 50}, "month": {"const": "2026"}}}
    schema = '{"properties": {"rows": {"type": "integer"}}}'
    assert client.post(ADD, typed(viewer, predicate=schema, **ROWS)).status_code == 302
    joined = Grant.objects.latest("pk").predicate
    assert joined is not None
    assert joined["allOf"] == [{"properties": {"rows": {"maximum": 50}}}, {"properties": {"rows": {"type": "integer"}}}]


def test_a_mistake_in_a_rule_is_shown_at_the_rule(
    admin_user: User, viewer: User, deployment: Deployment, login: Login
) -> None:
    client = login(admin_user)
    answer = client.post(ADD, typed(viewer, **ROWS, **rule(2, "rows", "is", "many")))
    assert form_errors(answer) == {("rules", "rule.type")}
    assert "id_rules-2-problem" in attributes(answer.content.decode(), "aria-describedby")
    # The widget of one form is not that of the next.
    assert "id_rules-2-problem" not in client.get(ADD).content.decode()
    answer = client.post(ADD, typed(viewer, predicate='{"properties": {"a": }}'))
    assert form_errors(answer) == {("predicate", "json")}
    (sentence,) = answer.context["form"].errors["predicate"]
    assert "line 1, column 22" in sentence


def test_the_matrix_shows_who_may_do_what_where(
    admin_user: User, auditor: User, viewer: User, dev: Environment, prod: Environment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], environment=dev, flow_name="monthly")
    grants.grant(by=Actor.system(), person=viewer, verbs=["see logs"], environment=dev, effect="deny")
    for reader in (admin_user, auditor):
        page = login(reader).get(MATRIX, {"q": "viewer"}).content.decode()
        assert attributes(page, "data-subject") == ["viewer"]
        assert attributes(page, "data-held") == ["all", "some", "denied"]
        assert (reverse("admin:auth_user_change", args=[viewer.pk]) in page) is (reader == admin_user)
    page = login(auditor).get(MATRIX, {"q": "viewer", "verb": "trigger"}).content.decode()
    assert attributes(page, "data-held") == ["some"]
    page = login(auditor).get(MATRIX, {"of": "groups", "page": "nonsense", "q": "\0"}).content.decode()
    assert "Operator" in attributes(page, "data-subject")
    assert login(viewer).get(MATRIX).status_code == 403
    assert MATRIX in login(auditor).get(reverse("admin:runs_grant_changelist")).content.decode()


def test_the_matrix_of_many_people_takes_as_many_queries(
    admin_user: User, dev: Environment, login: Login, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        person(f"person-{number:02}", "Operator")
    client = login(admin_user)
    client.get(MATRIX)
    with django_assert_max_num_queries(14):
        page = client.get(MATRIX).content.decode()
    assert len(attributes(page, "data-subject")) == 50
