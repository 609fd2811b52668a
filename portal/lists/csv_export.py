"""Download what a list is filtered to as CSV, however many rows it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from runs import audit
from runs.audit.lines import FORMATS, Columns, written

ROWS_A_PAGE = 1000


def download(request: HttpRequest, changelist: RestrictedList, columns: Columns) -> StreamingHttpResponse:
    """Return the rows of the list as a download, newest first; it is recorded in the audit trail."""
    model = changelist.model._meta
    # Recorded before the first byte, because a client may hang up at any time.
    with audit.act("list.export", None, by=actor_of(request), subject_kind="list") as act:
        act.subject_name = str(model.verbose_name_plural)
        act.after = {"list": model.label_lower, "filters": changelist.own_query}
    name = f"{str(model.verbose_name_plural).replace(' ', '-')}-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
    return StreamingHttpResponse(
        pages(request, changelist, columns),
        content_type=FORMATS["csv"].content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def pages(request: HttpRequest, changelist: RestrictedList, columns: Columns) -> AsyncIterator[str]:
    yield FORMATS["csv"].head(list(columns))
    last: object = None
    # By key, not by cursor: a slow client must not hold a connection of the pool for minutes.
    while rows := await sync_to_async(page)(request, changelist, last):
        last = rows[-1].pk
        yield written(rows, columns, FORMATS["csv"])


def page(request: HttpRequest, changelist: RestrictedList, before: object) -> list[Model]:
    """Return the next rows, with the permissions that the reader has now: a download can take minutes."""
    request.user = User.objects.get(pk=actor_of(request).user.pk)
    permissions_of(request, afresh=True)
    changelist.root_queryset = changelist.model_admin.get_queryset(request)
    rows: QuerySet[Any] = changelist.get_queryset(request).order_by("-pk")
    found = list((rows.filter(pk__lt=before) if before is not None else rows)[:ROWS_A_PAGE])
    changelist.prepare_rows(request, found)
    return found
