"""Run specs: what would run, apart from when."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

from flows.models import Deployment
from flows.models.stored_row import StoredRow
from flows.wording import deployment_name
from runs.models.change_request import ChangeRequest
from runs.models.grant import Verb

# The version of the text that a digest covers: `runs.requests.frozen_values.spec_digest`.
FORMAT = 1
# The columns locked at request time, as those of the change request. The encrypted parameters are not among them,
# because key rotation rewrites them; the digest shows whether their content is still the same.
FROZEN = [
    "change",
    "position",
    "format",
    "deployment",
    "api_url",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "definition",
    "definition_fingerprint",
    "parameters",
    "mapped",
    "tags",
    "run_name",
    "max_runs",
    "valid_until",
    "retries",
    "profile",
    "verb",
    "rerun_of",
    "is_blind",
    "digest",
    "signature",
]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = ["sealed_parameters"]


class RunSpec(StoredRow):
    """What would run, frozen: a deployment with its definition, and the parameters. It holds no start time.

    `runs.requests` inserts it; nothing changes it but the rotation of encryption keys.
    """

    change = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="specs")
    position = models.PositiveIntegerField(default=0)
    format = models.PositiveSmallIntegerField(default=FORMAT)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="run_specs")
    # Names are copied, so that the request reads the same after a rename.
    api_url = models.CharField("API URL", max_length=500, blank=True, help_text="Without a trailing slash.")
    flow_name = models.CharField(max_length=300)
    deployment_name = models.CharField("deployment", max_length=601)
    deployment_prefect_id = models.UUIDField()
    deployment_version = models.CharField(max_length=300, blank=True)
    schema_fingerprint = models.CharField(max_length=64)
    definition = models.JSONField(default=dict, help_text="What would run: `Deployment.definition` at request time.")
    definition_fingerprint = models.CharField(max_length=64, blank=True)
    parameters = models.JSONField(default=dict, help_text="Resolved, without secret and mapped values.")
    sealed_parameters = models.BinaryField(default=b"", help_text="Secret values: JSON pointer -> value, encrypted.")
    mapped = models.JSONField(
        default=dict, help_text="Parameters that each occurrence brings: name -> JSON Schema that its value must meet."
    )
    tags = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    run_name = models.CharField(max_length=200, blank=True)
    max_runs = models.PositiveIntegerField(default=1, null=True, help_text="Null is no limit.")
    valid_until = models.DateTimeField(null=True, help_text="No occurrence is released later.")
    retries = models.PositiveSmallIntegerField(
        default=0, help_text="How many retries in place are approved together with the run."
    )
    profile = models.JSONField(
        default=dict,
        help_text="Resource profile: name, work_queue, job_variables as they were then. Empty: as deployed.",
    )
    verb = models.CharField(
        max_length=20, choices=Verb, default=Verb.TRIGGER, help_text="The permission that allowed the request."
    )
    rerun_of = models.ForeignKey("runs.RunRequest", models.PROTECT, null=True, related_name="reruns")
    is_blind = models.BooleanField(
        default=False,
        help_text="Re-run by a person without permission to view the values; its requester sees none.",
    )
    digest = models.CharField(max_length=64, help_text="SHA-256 over what would run.")
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")

    class Meta:
        ordering = ["change", "position"]
        indexes = [
            models.Index(fields=["deployment_name"], name="specs_by_deployment_name"),
            GinIndex(OpClass(Upper("run_name"), name="gin_trgm_ops"), name="specs_search_run_name"),
        ]
        constraints = [models.UniqueConstraint(fields=["change", "position"], name="unique_position_per_change")]

    @property
    def profile_name(self) -> str:
        """The resource profile; empty for a run that is started as its deployment says."""
        return str(self.profile.get("name", ""))

    @property
    def number(self) -> int:
        """Its place among the items of a backfill, counted from 1."""
        return self.position + 1

    def __str__(self) -> str:
        return f"{deployment_name(self.deployment_name)}, spec {self.position} of change request {self.change_id}"
