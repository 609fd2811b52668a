"""The columns that lists leave out on narrow screens, by the names that the style sheet has of them."""

from __future__ import annotations

import re
from pathlib import Path

from django.contrib import admin

from portal.demo.processes import ROOT

STYLES = Path(ROOT) / "portal/static/portal/portal.css"
COLUMN = re.compile(r"\.model-(\w+) \.(?:column|field)-(\w+)")


def test_each_is_a_column_of_its_list() -> None:
    columns = {model._meta.model_name: set(found.list_display) for model, found in admin.site._registry.items()}
    named = set(COLUMN.findall(STYLES.read_text()))
    assert len(named) > 20
    assert sorted(f"{model}.{name}" for model, name in named if name not in columns.get(model, ())) == []
