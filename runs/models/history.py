"""Every version of the rows that decide who may do what: kept by triggers, whoever changes them and however."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pghistory
import pgtrigger
from django.contrib.auth.models import Group, User
from django.db import models

from flows.models import Alias, Environment, Grant
from runs.models.policy import Freeze, Policy, Window

# name -> the model of its versions
EVENTS: dict[str, type[models.Model]] = {}


def track(
    name: str, model: type[models.Model], *, secret: Sequence[str] = (), ignored: Sequence[str] = ()
) -> type[models.Model]:
    """Keep the versions of a model. Of a secret column only that it changed is kept, under its own label.

    The triggers hang on a proxy, so that all of them, those of Django's own tables too, are in our migrations.
    """
    meta = type("Meta", (), {"proxy": True, "app_label": "runs", "default_permissions": []})
    proxy: Any = type(f"Tracked{name}", (model,), {"__module__": __name__, "Meta": meta})
    EVENTS[name.lower()] = pghistory.create_event_model(
        proxy,
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        *[
            pghistory.UpdateEvent(column, condition=pgtrigger.AnyChange(column), trigger_name=f"{column}_update")
            for column in secret
        ],
        exclude=[*secret, *ignored],
        obj_field=pghistory.ObjForeignKey(related_name="+"),
        context_field=pghistory.ContextJSONField(),
        context_id_field=None,  # type: ignore[arg-type]  # its documentation says that None leaves it out
        append_only=True,
        model_name=f"{name}Event",
        app_label="runs",
        meta={"default_permissions": [], "ordering": ["pgh_id"]},
        abstract=False,
    )
    return EVENTS[name.lower()]


track("Environment", Environment, secret=["sealed_credential"])
track("Alias", Alias)
track("Grant", Grant)
track("Policy", Policy)
track("Window", Window)
track("Freeze", Freeze)
track("Person", User, secret=["password"], ignored=["last_login"])
track("Group", Group)
track("Membership", User.groups.through)
track("PersonPermission", User.user_permissions.through)
track("GroupPermission", Group.permissions.through)
