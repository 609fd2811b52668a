"""Answers Django's permission questions from grants."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.db import models

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.models import Verb

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


class GrantBackend(BaseBackend):
    """Answers Django's permission questions about deployments and runs from grants."""

    def has_perm(self, user_obj: Any, perm: str, obj: models.Model | None = None) -> bool:
        verb = PERMISSIONS.get(perm)
        if verb is None or not user_obj.is_active:
            return False
        permissions = Permissions.of(user_obj)
        if isinstance(obj, Deployment):
            return permissions.decide(verb, obj).allowed
        return obj is None and permissions.can_any(verb)
