"""Approvals, rejections, comments and emergency overrides of requests.

Triggers refuse the approval of one's own request and every later change: `runs/migrations/triggers.sql`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models.stored_row import StoredRow
from runs.models.change_request import ChangeRequest

# The columns of an override that its review fills in. The portal's database role may update these and no others.
REVIEWED = ["reviewed_by", "reviewed_by_name", "reviewed_at", "was_right", "review"]


class Approval(StoredRow):
    """One approval or rejection of a waiting change request; a person who changes their mind adds another.

    `runs.changes` is the only code that writes it.
    """

    change = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="approvals")
    approved = models.BooleanField()
    stage = models.PositiveSmallIntegerField(default=0, help_text="Index of the approval stage, starting at 0.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="approvals")
    # A copy: the trail must read the same after the account is renamed.
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    # Of the request as it was approved. An approval of another digest does not count.
    digest = models.CharField(max_length=64)
    reason = models.CharField(max_length=1000, blank=True)
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{'approved' if self.approved else 'rejected'} by {self.by_name}"


class Comment(models.Model):
    """A comment on a change request. `runs.changes` is the only code that writes it."""

    change = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="comments")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    text = models.CharField(max_length=2000)

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.by_name}: {self.text}"


class BreakGlass(StoredRow):
    """An emergency override: a change request launched without its approvals, and its review by someone else.

    `runs.changes` is the only code that writes it.
    """

    change = models.OneToOneField(ChangeRequest, models.PROTECT, related_name="break_glass")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(help_text="When the request expires if it has not been launched.")
    reason = models.CharField(max_length=1000)
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")
    # Empty until the review; `reviewed_at` is set once, and a trigger refuses later changes.
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    reviewed_by_name = models.CharField(max_length=200, blank=True)
    reviewed_at = models.DateTimeField(null=True)
    was_right = models.BooleanField(null=True, help_text="Whether the reviewer found the override justified.")
    review = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["-at"]
        verbose_name = "emergency override"
        constraints = [
            # The requester is excluded by a trigger: a constraint cannot look at another table.
            models.CheckConstraint(
                condition=models.Q(reviewed_by=None) | ~models.Q(reviewed_by=models.F("by")),
                name="override_is_reviewed_by_someone_else",
            )
        ]

    def __str__(self) -> str:
        return f"Emergency override of {self.change} by {self.by_name}"

    @property
    def summary(self) -> str:
        """Return the message that the request shows; pages with more detail compare with it to leave it out."""
        return f"Emergency override by {self.by_name}."
