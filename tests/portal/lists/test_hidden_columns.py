"""The columns that lists leave out on narrow screens, by the names in the style sheet; hints of empty lists."""

from __future__ import annotations

import re
from pathlib import Path

from django.contrib import admin

from portal.demo.processes import ROOT
from portal.lists.empty_hints import HINTS

STYLES = Path(ROOT) / "portal/static/portal/portal.css"
COLUMN = re.compile(r"\.model-(\w+) \.(?:column|field)-(\w+)")


def test_each_is_a_column_of_its_list() -> None:
    columns = {model._meta.model_name: set(found.list_display) for model, found in admin.site._registry.items()}
    named = set(COLUMN.findall(STYLES.read_text()))
    assert len(named) > 20
    assert sorted(f"{model}.{name}" for model, name in named if name not in columns.get(model, ())) == []


def test_each_hint_of_an_empty_list_is_about_a_list() -> None:
    assert HINTS.keys() <= {model._meta.label_lower for model in admin.site._registry}
