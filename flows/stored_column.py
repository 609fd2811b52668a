"""Columns that Postgres computes and stores."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.db import models


class StoredColumn(models.GeneratedField):
    """A generated column that is stored, so that it can be indexed.

    Django's checks of one ask the database for its version, so that every command would fail in them while the database
    is away, `check` too. Every supported version of Postgres has stored columns.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"db_persist": True})

    def check(self, **options: Any) -> list[CheckMessage]:
        found: list[CheckMessage] = super().check(**options | {"databases": []})
        return found
