"""Delete old rows of `RuleFiring`: the log of what event rules did."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, Window
from django.db.models.functions import RowNumber

from runs.models import RuleFiring
from runs.models.request import UNFINISHED

Outcome = RuleFiring.Outcome
# Rows of one rule that stay although they led to nothing, and rows that are deleted at once.
KEPT_SKIPS = 1_000
FORGOTTEN_AT_ONCE = 500


def forget(before: datetime | None) -> bool:
    """Delete the first old rows, and of each rule those of skipped events but the newest; return whether some were.

    Not before the run of a request has ended: what it leads to needs them, so that a loop is seen. Without a time only
    what is too many.
    """
    placed = Window(RowNumber(), partition_by="rule", order_by="-pk")
    skipped = RuleFiring.objects.filter(outcome=Outcome.SKIPPED).annotate(place=placed)
    chosen = list(skipped.filter(place__gt=KEPT_SKIPS).values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    if before:
        is_open = Q(outcome=Outcome.WAITING) | Q(run_request__isnull=False, run_request__state__in=UNFINISHED)
        old = RuleFiring.objects.filter(matched_at__lt=before).exclude(is_open).order_by("pk")
        chosen += old.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]
    return bool(chosen and RuleFiring.objects.filter(pk__in=chosen).delete()[0])
