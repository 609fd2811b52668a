"""Rows that are read without `__init__` are as those that Django makes."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from django.db.models.fetch_modes import FETCH_PEERS

from flows.models.stored_row import StoredRow

MODELS = [model for model in apps.get_models() if issubclass(model, StoredRow)]


def pairs(model: type[Model], names: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of a row of these columns, as we make it and as Django does."""
    values = [object() for _ in names]
    ours = model.from_db("default", names, values, fetch_mode=FETCH_PEERS)
    theirs = Model.from_db.__func__(model, "default", names, values, fetch_mode=FETCH_PEERS)  # type: ignore[attr-defined]
    found = [vars(row) | {"_state": vars(row._state)} for row in (ours, theirs)]
    return found[0], found[1]


@pytest.mark.parametrize("model", MODELS, ids=lambda each: each.__name__)
def test_a_row_has_what_was_read(model: type[Model]) -> None:
    names = [field.attname for field in model._meta.concrete_fields]
    for read in (names, names[:1], names[::2]):
        ours, theirs = pairs(model, read)
        assert ours == theirs
        assert ours.keys() - {"_state"} == set(read)
