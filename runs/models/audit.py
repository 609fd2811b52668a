"""The audit trail and its checkpoints."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from flows.models.stored_row import StoredRow
from runs.models.audit_verbs import VERBS

# outcome -> colour of its badge
COLOURS: dict[str, str] = {"done": "green", "refused": "amber", "failed": "red"}


# Verbs of what happens past the rules of a protected environment.
PAST_RULES = ["deployment.changed", "request.break_glass", "run.appeared"]


class AuditEntry(StoredRow):
    """One action, done, refused or failed, chained to the one before. `runs.audit` is the only code that writes it.

    No foreign keys: entries outlive their subjects. A trigger refuses every change; in production the
    portal's database role cannot change it either. The table is partitioned by sequence: `runs.audit.partitions`.
    """

    class Outcome(models.TextChoices):
        DONE = "done", "done"
        REFUSED = "refused", "refused"
        FAILED = "failed", "failed"

    # Without gaps, so that a deleted entry is noticed: not an identity column, which leaves gaps on rollback.
    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField("time", db_index=True)
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=100, blank=True)
    actor_name = models.CharField("actor", max_length=200)
    on_behalf_of = models.CharField(max_length=200, blank=True)
    channel = models.CharField(max_length=20)
    token_id = models.CharField(max_length=100, blank=True)
    address = models.CharField(max_length=100, blank=True)
    user_agent = models.CharField(max_length=400, blank=True)
    verb = models.CharField(max_length=60)
    subject_kind = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=100, blank=True)
    subject_name = models.CharField("subject", max_length=700, blank=True)
    environment = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    # What changed, without secrets; `after` also has the code of a refusal.
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    outcome = models.CharField(max_length=10, choices=Outcome)
    message = models.TextField(blank=True)
    # The chain: see runs/audit/chain.py.
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")
    transaction = models.BigIntegerField(help_text="pg_current_xact_id(); row versions of the same change have it too.")

    class Meta:
        ordering = ["-sequence"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        default_permissions = ["view"]
        indexes = [
            models.Index(fields=["subject_kind", "subject_id", "-sequence"], name="audit_subject"),
            models.Index(fields=["actor_name", "-sequence"], name="audit_actor"),
            models.Index(fields=["actor_id", "-sequence"], name="audit_actor_id"),
            models.Index(fields=["verb", "-sequence"], name="audit_verb"),
            models.Index(fields=["environment", "-sequence"], name="audit_environment"),
            # Partial: of a few entries each.
            models.Index(fields=["outcome", "-sequence"], condition=~models.Q(outcome="done"), name="audit_unusual"),
            models.Index(fields=["-sequence"], condition=models.Q(after__has_key="loosened"), name="audit_loosened"),
            # Of what the overview counts, with all that it counts by: the entries themselves are not read.
            models.Index(
                fields=["at"],
                include=["environment", "verb"],
                condition=models.Q(outcome="done", verb__in=PAST_RULES),
                name="audit_past_rules",
            ),
            models.Index(fields=["token_id", "-sequence"], condition=~models.Q(token_id=""), name="audit_token"),
            models.Index(fields=["transaction"], name="audit_transaction"),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.actor_name} {self.verb} {self.subject_name}"

    @property
    def verb_label(self) -> str:
        return VERBS.get(self.verb, self.verb)

    @property
    def is_unusual(self) -> bool:
        return self.outcome != self.Outcome.DONE

    @property
    def outcome_colour(self) -> str:
        return COLOURS.get(self.outcome, "grey")


class AuditCheckpoint(models.Model):
    """Replaces retired entries: the entry after `last` follows from `digest`.

    `runs.audit.retention` is the only code that writes it.
    """

    first = models.BigIntegerField()
    last = models.BigIntegerField(primary_key=True)
    digest = models.CharField(max_length=64)
    began_at = models.DateTimeField(help_text="When the first of these entries was written.")
    ended_at = models.DateTimeField(help_text="When the last of these entries was written.")
    retired_at = models.DateTimeField(db_default=Now())
    retired_by = models.CharField(max_length=200)
    kept_in = models.CharField(max_length=500, blank=True, help_text="File that the entries were exported to.")
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")

    class Meta:
        ordering = ["-last"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"#{self.first} to #{self.last}"
