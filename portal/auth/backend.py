"""The auth backends: accounts with their profiles, and `has_perm` from grants."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import User
from django.db import models

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

    That is the profile with its time zone, and `unread`, the number of messages that the bell shows.
    """

    def get_user(self, user_id: Any) -> User | None:
        rows = User.objects.select_related("profile").annotate(unread=notifications.unread_count())
        person = rows.filter(pk=user_id).first()
        return person if person and self.user_can_authenticate(person) else None


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
