"""What people say of a request: answers, comments, and acts that went around the answers."""

from __future__ import annotations

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from runs.models.request import RunRequest

# Said by the database too, so that no bug and no administrator's shell gets around it.
NOT_THEIR_OWN = """
    IF EXISTS (
        SELECT 1 FROM runs_runrequest asked
        WHERE asked.id = NEW.run_request_id AND NEW.{column} IN (asked.asked_by_id, asked.asked_for_id)
    ) THEN
        RAISE EXCEPTION 'Nobody may {act} their own request.' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
"""

NO_TRUNCATE = pgtrigger.Trigger(
    name="no_truncate",
    operation=pgtrigger.Truncate,
    level=pgtrigger.Statement,
    when=pgtrigger.Before,
    func="RAISE EXCEPTION 'What people said of requests stays.';",
)


class Approval(models.Model):
    """One answer to a waiting request; a changed mind is a new answer.

    `runs.lifecycle` is the only code that writes it.
    """

    run_request = models.ForeignKey(RunRequest, models.PROTECT, related_name="approvals")
    approved = models.BooleanField()
    stage = models.PositiveSmallIntegerField(default=0, help_text="Which of the policy's stages it counts for, from 0.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="approvals")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    digest = models.CharField(max_length=64)
    reason = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["at", "pk"]
        triggers = [
            pgtrigger.Trigger(
                name="four_eyes",
                operation=pgtrigger.Insert,
                when=pgtrigger.Before,
                func=NOT_THEIR_OWN.format(column="by_id", act="approve"),
            ),
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"{'approved' if self.approved else 'rejected'} by {self.by_name}"


class Comment(models.Model):
    """What somebody has to say of a request. `runs.lifecycle` is the only code that writes it."""

    run_request = models.ForeignKey(RunRequest, models.PROTECT, related_name="comments")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    text = models.CharField(max_length=2000)

    class Meta:
        ordering = ["at", "pk"]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.by_name}: {self.text}"


class BreakGlass(models.Model):
    """A request that was let go without its approvals, and the review of that by somebody else.

    `runs.lifecycle` is the only code that writes it.
    """

    run_request = models.OneToOneField(RunRequest, models.PROTECT, related_name="break_glass")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(help_text="When the request is closed if it has not been sent.")
    reason = models.CharField(max_length=1000)
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    reviewed_by_name = models.CharField(max_length=200, blank=True)
    reviewed_at = models.DateTimeField(null=True)
    was_right = models.BooleanField(null=True, help_text="What the review found.")
    review = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "broken glass"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(reviewed_by=None) | ~models.Q(reviewed_by=models.F("by")),
                name="broken_glass_is_reviewed_by_somebody_else",
            )
        ]
        triggers = [
            pgtrigger.Trigger(
                name="four_eyes",
                operation=pgtrigger.Insert | pgtrigger.Update,
                when=pgtrigger.Before,
                func=NOT_THEIR_OWN.format(column="reviewed_by_id", act="review"),
            ),
            pgtrigger.ReadOnly(name="frozen", fields=["run_request", "by", "by_name", "at", "until", "reason"]),
            pgtrigger.Protect(
                name="reviewed_once", operation=pgtrigger.Update, condition=pgtrigger.Q(old__reviewed_at__isnull=False)
            ),
            pgtrigger.Protect(name="stays", operation=pgtrigger.Delete),
            NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"{self.by_name} broke the glass for {self.run_request}"
