"""Rows of a list as HTML, the same for all who see them: what differs between readers is left to their pages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.templatetags.unfold_list import results

from flows.models import Environment
from portal.ui import times


class RowsOnly:
    """What the theme's table asks a change list for, without a request."""

    formset = None
    is_popup = False
    to_field = None
    preserved_filters = ""

    def __init__(self, model_admin: ModelAdmin[Any], rows: Iterable[Model]) -> None:
        self.model_admin = model_admin
        self.result_list = list(rows)
        self.opts = self.lookup_opts = model_admin.opts
        # A page without check boxes leaves them out: whether there are any actions depends on its reader.
        self.list_display = ["action_checkbox", *model_admin.list_display]
        self.list_display_links = model_admin.list_display_links or model_admin.list_display[:1]

    def url_for_result(self, result: Model) -> str:
        name = f"{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(f"{self.model_admin.admin_site.name}:{name}", args=[result.pk])


def rendered(model_admin: ModelAdmin[Any], rows: Iterable[Model]) -> dict[int, str]:
    """Return the key of each row, and its HTML."""
    return {
        result.instance.pk: render_to_string("portal/lists/_result.html", {"result": result})
        for result in results(RowsOnly(model_admin, rows))
    }


def narrow_line(environment: Environment, what: str, at: datetime | None) -> SafeString:
    """Return what the first cell of a row repeats of the others, which are hidden on a narrow screen."""
    context = {"environment": environment, "what": what, "age": times.relative_time(at)}
    return render_to_string("portal/lists/_narrow.html", context)
