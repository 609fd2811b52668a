"""The subflow runs of a run: those that need attention first, a few of them, with a link to the list of all."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Window
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.admin.runs.headline import took
from portal.admin.runs.task_table import urgency
from runs.access.decisions import Permissions
from runs.models import Run, Verb

MOST = 8


@dataclass(frozen=True, slots=True)
class Subflow:
    run: Run
    took: SafeString | str


@dataclass(frozen=True, slots=True)
class Subflows:
    """Some of the `total` subflow runs that the reader sees, and the address of the list of all."""

    rows: list[Subflow]
    total: int
    url: str

    @property
    def has_more(self) -> bool:
        return self.total > len(self.rows)


def subflows_of(run: Run, permissions: Permissions) -> Subflows:
    visible = run.children.filter(permissions.q(Verb.SEE, deployment="access_deployment__"))
    # Counted with the rows: one query. Only this run's children are read, by the index on their parent.
    found = list(
        visible.select_related("environment")
        .annotate(total=Window(Count("pk")))
        .order_by(urgency(), "-sort_at", "-pk")[:MOST]
    )
    url = f"{reverse('admin:runs_run_changelist')}?parent={run.pk}"
    return Subflows([Subflow(each, took(each)) for each in found], found[0].total if found else 0, url)
