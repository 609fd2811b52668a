"""The auth backends: accounts with their profiles, and `has_perm` from grants."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from django.db.models import Q

from flows.models import Deployment
from runs import notifications
from runs.access.decisions import Permissions
from runs.models import Verb

# Django permission -> verb. Everything else is left to AccountBackend, such as `view_auditentry` of a group.
PERMISSIONS = {
    "flows.view_deployment": Verb.SEE,
    "flows.trigger_deployment": Verb.TRIGGER,
    "flows.cancel_deployment": Verb.CANCEL,
    "flows.approve_deployment": Verb.APPROVE,
    "flows.pause_deployment": Verb.PAUSE,
    "flows.manage_deployment": Verb.MANAGE,
    "runs.view_run": Verb.SEE,
    "runs.view_runrequest": Verb.SEE,
}


class AccountBackend(ModelBackend):
    """Django's backend, which reads with the account of a signed-in user what each page needs.

    That is the profile with its time zone, and `unread`, the number of messages that the bell shows. Permissions of the
    person and of their groups are read in one query, which each page makes.
    """

    def get_user(self, user_id: Any) -> User | None:
        rows = User.objects.select_related("profile").annotate(unread=notifications.unread_count())
        person = next(iter(rows.filter(pk=user_id)), None)
        return person if person and self.user_can_authenticate(person) else None

    def get_all_permissions(self, user_obj: Any, obj: models.Model | None = None) -> set[str]:
        if user_obj.is_superuser or not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):
            own = Q(pk__in=User.user_permissions.through.objects.filter(user=user_obj).values("permission"))
            of_groups = Q(pk__in=Group.permissions.through.objects.filter(group__user=user_obj).values("permission"))
            held = Permission.objects.filter(own | of_groups).order_by()
            names = held.values_list("content_type__app_label", "codename")
            user_obj._perm_cache = {f"{label}.{codename}" for label, codename in names}
        return set(user_obj._perm_cache)


class GrantBackend(BaseBackend):
    """Answers `has_perm` for deployments and runs from grants."""

    def has_perm(self, user_obj: Any, perm: str, obj: models.Model | None = None) -> bool:
        verb = PERMISSIONS.get(perm)
        if verb is None or not user_obj.is_active:
            return False
        permissions = Permissions.of_person(user_obj)
        if isinstance(obj, Deployment):
            return permissions.decide(verb, obj).allowed
        # Without an object: whether the user has the verb anywhere, which opens the list but no row of it.
        return obj is None and permissions.can_any(verb)
