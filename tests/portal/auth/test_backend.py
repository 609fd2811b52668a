"""The permissions of an account: its own and those of its groups."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> User:
    person = User.objects.create_user("vera", is_staff=True)
    group = Group.objects.create(name="auditors")
    group.permissions.add(permission("view_auditentry"))
    person.groups.add(group)
    person.user_permissions.add(permission("view_freeze"))
    return person


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_all_are_read_in_one_query(vera: User, django_assert_num_queries: Any) -> None:
    person = User.objects.get(pk=vera.pk)
    with django_assert_num_queries(1):
        assert person.has_perms(["runs.view_auditentry", "runs.view_freeze"])
        assert not person.has_perm("runs.view_policy")
        assert person.has_module_perms("runs")


def test_they_are_those_of_djangos_two_queries(vera: User) -> None:
    person = User.objects.get(pk=vera.pk)
    apart = person.get_user_permissions() | person.get_group_permissions()
    assert User.objects.get(pk=vera.pk).get_all_permissions() >= apart == {"runs.view_auditentry", "runs.view_freeze"}


def test_a_disabled_account_has_none(vera: User) -> None:
    User.objects.filter(pk=vera.pk).update(is_active=False)
    person = User.objects.get(pk=vera.pk)
    assert not person.get_all_permissions()
    assert not person.has_perm("runs.view_auditentry")
