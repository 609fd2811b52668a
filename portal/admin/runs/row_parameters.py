"""The parameters of a run or request in lists: those that are not at their defaults, for readers who may view them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from flows import canonical
from flows.models import Deployment
from flows.parameters.description import describe
from flows.plain_text import prose
from portal.lists.reader_cells import ReaderCell
from portal.ui.text import json_text
from runs.access.decisions import Permissions
from runs.models import Run, RunRequest
from runs.requests import visibility

LONGEST, LONGEST_TITLE = 80, 1000
HIDDEN = format_html(
    '<span class="portal-faint" title="{}">{}</span>', "Requires permission to view parameters.", "hidden"
)
# Key of a deployment -> the defaults of its parameters; for the rows of one page.
type Defaults = dict[int, Mapping[str, Any]]


def cell_of(row: Run | RunRequest, defaults: Defaults) -> ReaderCell:
    """Return the cell of a run or request; select its deployment, its change request and its spec with it."""
    if isinstance(row, Run):
        return ReaderCell(shown(row.parameters, row.deployment, defaults), HIDDEN, partial(may_view, row))
    # Without secret values, which are encrypted.
    values = {**row.spec.parameters, **row.mapped_values}
    return ReaderCell(shown(values, row.deployment, defaults), HIDDEN, partial(may_view, row))


def may_view(row: Run | RunRequest, permissions: Permissions) -> bool:
    return visibility.can_view_parameters(permissions, row)


def shown(values: Mapping[str, Any], deployment: Deployment | None, defaults: Defaults) -> SafeString:
    usual = defaults_of(deployment, defaults) if deployment else {}
    given = [
        f"{name}: {json_text(value)}"
        for name, value in values.items()
        if not (name in usual and canonical.same(usual[name], value))
    ]
    if not given:
        return format_html('<span class="portal-faint">{}</span>', "defaults" if usual else "-")
    line = prose(" · ".join(given))
    short, title = Truncator(line).chars(LONGEST), Truncator(line).chars(LONGEST_TITLE)
    return format_html('<span class="portal-code portal-small portal-one-line" title="{}">{}</span>', title, short)


def defaults_of(deployment: Deployment, known: Defaults) -> Mapping[str, Any]:
    if deployment.pk not in known:
        described = describe(deployment.parameter_schema, deployment.parameter_defaults)
        known[deployment.pk] = {each.name: each.default for each in described if each.has_default}
    return known[deployment.pk]
