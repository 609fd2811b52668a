"""Changes of rules that wait for a second signature: what a change request for rules would change."""

from __future__ import annotations

from django.db import models

from runs.models.change_request import ChangeRequest

# The columns locked at request time, as those of the change request, whose digest covers them.
FROZEN = ["change", "act", "subject_id", "subject_name", "beneficiary", "before", "after", "loosened"]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = ["sealed_columns"]


class RuleChange(models.Model):
    """One row of configuration, before and after: the rules of a protected environment become looser by it.

    `runs.governance.rule_changes` is the only code that writes it, but for the rotation of encryption keys.
    """

    change = models.OneToOneField(ChangeRequest, models.PROTECT, related_name="rule_change")
    act = models.CharField(max_length=40, help_text="The verb that the audit trail records when it is applied.")
    subject_id = models.CharField(max_length=40, blank=True, help_text="Primary key of the row; blank for a new one.")
    subject_name = models.CharField(max_length=650)
    beneficiary = models.CharField(
        max_length=40, blank=True, help_text="person:KEY or group:KEY, who would gain by it and cannot approve it."
    )
    before = models.JSONField(default=dict, help_text="Columns of the row as they were; empty for a new one.")
    after = models.JSONField(default=dict, help_text="Columns as they would be; empty if the row would be deleted.")
    # Deleted as soon as the change is decided: nothing needs them any more.
    sealed_columns = models.BinaryField(default=b"", help_text="Secret columns, before and after, encrypted.")
    loosened = models.JSONField(default=list, help_text="What becomes looser: kind, environment and what, in words.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.subject_name

    @property
    def what(self) -> list[str]:
        """What becomes looser, in words, each once."""
        return list(dict.fromkeys(each["what"] for each in self.loosened))

    @property
    def environments(self) -> list[str]:
        return sorted({each["environment"] for each in self.loosened})
