"""Which columns a list shows to somebody, and how many rows a page has; remembered for the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import label_for_field
from django.http import HttpRequest
from django.utils.text import capfirst

# `columns` are those to show; the empty one that the form sends tells "none of them" from "not said".
COLUMNS, ROWS = "columns", "rows"
PARAMETERS = (COLUMNS, ROWS)
ROWS_OFFERED = (25, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    label: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class Display:
    """The columns of a list, without the first one, which names the row and is always there."""

    columns: tuple[Column, ...]
    rows: int

    @classmethod
    def of(cls, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Display:
        """Read it from the address, else from the session, else as the list has it."""
        key = f"display:{model_admin.opts.label_lower}"
        stored = request.session.get(key, {}) if hasattr(request, "session") else {}
        names = [str(name) for name in model_admin.get_list_display(request)[1:]]
        hidden = set(stored.get("hidden", getattr(model_admin, "hidden_columns", ())))
        if COLUMNS in request.GET:
            hidden = set(names) - set(request.GET.getlist(COLUMNS))
        rows = read_rows(request.GET.get(ROWS), stored.get("rows", model_admin.list_per_page))
        chosen = {"hidden": sorted(hidden & set(names)), "rows": rows}
        if set(PARAMETERS) & set(request.GET) and chosen != stored:
            request.session[key] = chosen
        labels = [label_for_field(name, model_admin.model, model_admin) for name in names]
        columns = (
            Column(name, capfirst(str(label)), name not in hidden)
            for name, label in zip(names, labels, strict=True)
            if str(label).strip()
        )
        return cls(tuple(columns), rows)

    @property
    def hidden(self) -> list[str]:
        return [column.name for column in self.columns if not column.is_shown]

    @property
    def offered_rows(self) -> list[int]:
        return sorted({*ROWS_OFFERED, self.rows})


def read_rows(text: str | None, otherwise: int) -> int:
    return next((number for number in ROWS_OFFERED if str(number) == text), otherwise)
