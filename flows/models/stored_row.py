"""The base of models that lists, pages and the API read by the hundred."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

from django.db import models
from django.db.models.base import ModelState
from django.db.models.fetch_modes import FetchMode


class StoredRow(models.Model):
    """Makes a row that was read without calling `__init__`, which takes five to nine times as long.

    Unpickling a row does the same. The signals `pre_init` and `post_init`, which we do not use, are not sent: a model
    with an image field cannot have this base.
    """

    class Meta:
        abstract = True

    @classmethod
    def from_db(
        cls,
        db: str | None,
        field_names: Collection[str],
        values: Collection[Any],
        *,
        fetch_mode: FetchMode | None = None,
    ) -> Self:
        row, state = cls.__new__(cls), ModelState()
        state.db, state.adding = db, False
        if fetch_mode is not None:
            state.fetch_mode = fetch_mode
        # A column that was not read is missing, so that it is read when it is asked for.
        row.__dict__.update(zip(field_names, values, strict=True), _state=state)
        return row
