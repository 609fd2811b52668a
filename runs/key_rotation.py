"""Encrypt every stored secret with the newest key, so that older keys can be removed."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.db import models

from flows import encryption
from runs import audit
from runs.actors import Actor
from runs.errors import Refused

# Prefix of encrypted columns. New ones are found by it, so a rotation cannot forget them.
SEALED = "sealed_"
TABLES = ("flows", "runs", "portal")


def columns() -> Iterator[tuple[type[models.Model], str]]:
    """Yield every model with an encrypted column, and the column."""
    for model in apps.get_models():
        if model._meta.app_label in TABLES and not model._meta.proxy:
            for field in model._meta.concrete_fields:
                if isinstance(field, models.BinaryField) and field.name.startswith(SEALED):
                    yield model, field.name


def rotate(*, by: Actor) -> dict[str, int]:
    """Encrypt all secrets with the current key; return how many of each kind were changed.

    Raises `Refused` for a secret that no key decrypts, and changes nothing then: someone would remove a key that is
    still needed.
    """
    with audit.act("portal.reseal", None, by=by, subject_kind="portal") as act:
        # One transaction: after an error every secret still has the key it had.
        done = {str(model._meta.verbose_name_plural): renew(model, name) for model, name in columns()}
        act.after = dict(sorted(done.items()))
        return act.after


def renew(model: type[models.Model], name: str) -> int:
    """Encrypt one column again; return how many rows changed."""
    rows = model._default_manager.exclude(**{name: b""}).order_by("pk").values_list("pk", name)
    number = 0
    for pk, token in rows.iterator(chunk_size=500):
        if encryption.is_current(token):
            continue  # a rotation can be repeated
        try:
            fresh = encryption.seal(encryption.unseal(token))
        except encryption.DecryptionError as error:
            raise Refused("key.unreadable", f"{model._meta.verbose_name} {pk}: {error} Nothing was changed.") from error
        # Compare and set: a secret stored meanwhile has the newest key already.
        number += model._default_manager.filter(pk=pk, **{name: token}).update(**{name: fresh})
    return number
