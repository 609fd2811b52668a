"""What is requested and what happened."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, HashIndex, OpClass
from django.contrib.postgres.operations import TrigramExtension
from django.core.validators import MaxValueValidator
from django.db import migrations, models
from django.db.models.functions import Coalesce, Concat, Lower, Now, Upper

from flows.stored_column import StoredColumn

USER = settings.AUTH_USER_MODEL
VERBS = [
    ("see", "view"),
    ("see inputs", "view parameters"),
    ("see logs", "view logs"),
    ("trigger", "run"),
    ("trigger later", "schedule run"),
    ("backfill", "backfill"),
    ("rerun", "re-run"),
    ("cancel", "cancel"),
    ("force cancel", "force cancel"),
    ("put back", "put back"),
    ("approve", "approve"),
    ("schedule", "manage schedules"),
    ("pause", "pause"),
    ("post event", "post events"),
    ("override freeze", "override freeze"),
    ("break glass", "emergency override"),
    ("manage", "manage"),
]
TOPICS = [
    ("waiting", "A request needs my approval"),
    ("answered", "My request was approved or rejected"),
    ("own ended", "A run that I requested ended"),
    ("own failed", "A run that I requested failed or crashed"),
    ("failed", "A run failed or crashed"),
    ("recovered", "A deployment completed again after a failure"),
    ("cancelled", "A run was cancelled"),
    ("failure", "A failure is new, was resolved, or came back after that"),
    ("level", "A service level is breached, or holds again"),
    ("late", "A run is late"),
    ("overrun", "A run takes longer than a service level allows"),
    ("stalled", "A run stalled, or was deleted in Prefect"),
    ("stopped", "A backfill or chain stopped at a failure"),
    ("definition", "A deployment changed after approval"),
    ("break glass", "Emergency override used"),
    ("freeze", "Freeze started or ended"),
    ("server", "Prefect of an environment is unreachable, or back"),
    ("drift", "High drift of a model"),
    (
        "schedule",
        "A schedule was paused or missed starts; it, a hook, rule or chain ends soon or lacks permission",
    ),
    ("schedule drift", "A schedule was changed in Prefect, or is as approved again"),
    ("rules", "Rules of a protected environment loosened"),
    ("bypass", "Runs can start without the portal"),
    ("channel", "A channel was added, changed or disabled"),
]


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("flows", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        TrigramExtension(),  # trusted: the owner of the database may create it
        migrations.CreateModel(
            name="Agent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, unique=True)),
                ("purpose", models.CharField(max_length=500)),
                ("requests_per_day", models.PositiveIntegerField(default=20, verbose_name="requests a day")),
                ("requests_at_once", models.PositiveIntegerField(default=3, verbose_name="at once")),
                ("stopped_at", models.DateTimeField(editable=False, null=True)),
                ("stopped_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                ("stopped_why", models.CharField(blank=True, editable=False, max_length=500)),
                ("stopped_by_administrator", models.BooleanField(default=False, editable=False)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
                ("owner", models.ForeignKey(USER, models.PROTECT, related_name="agents")),
            ],
            options={"ordering": ["name"], "default_permissions": ["view"]},
        ),
        migrations.CreateModel(
            name="AgentStop",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("why", models.CharField(max_length=500)),
                ("stopped_at", models.DateTimeField(db_default=Now())),
                ("stopped_by_name", models.CharField(max_length=200)),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lifted_by_name", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "ordering": ["-stopped_at"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at", None)),
                        fields=("lifted_at",),
                        name="one_stop_of_all_agents",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AgentUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tool", models.CharField(max_length=60)),
                ("calls", models.PositiveBigIntegerField(default=1)),
                ("refused", models.PositiveBigIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
                ("agent", models.ForeignKey("runs.agent", models.CASCADE, related_name="uses")),
            ],
            options={
                "ordering": ["tool"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("agent", "tool"), name="unique_use_per_agent_and_tool")
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField(primary_key=True, serialize=False)),
                ("digest", models.CharField(max_length=64)),
                ("began_at", models.DateTimeField(help_text="When the first of these entries was written.")),
                ("ended_at", models.DateTimeField(help_text="When the last of these entries was written.")),
                ("retired_at", models.DateTimeField(db_default=Now())),
                ("retired_by", models.CharField(max_length=200)),
                (
                    "kept_in",
                    models.CharField(blank=True, help_text="File that the entries were exported to.", max_length=500),
                ),
                (
                    "signature",
                    models.CharField(blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.", max_length=80),
                ),
            ],
            options={"ordering": ["-last"], "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("sequence", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_index=True, verbose_name="time")),
                ("actor_kind", models.CharField(max_length=20)),
                ("actor_id", models.CharField(blank=True, max_length=100)),
                ("actor_name", models.CharField(max_length=200, verbose_name="actor")),
                ("on_behalf_of", models.CharField(blank=True, max_length=200)),
                ("channel", models.CharField(max_length=20)),
                ("token_id", models.CharField(blank=True, max_length=100)),
                ("address", models.CharField(blank=True, max_length=100)),
                ("user_agent", models.CharField(blank=True, max_length=400)),
                ("verb", models.CharField(max_length=60)),
                ("subject_kind", models.CharField(max_length=40)),
                ("subject_id", models.CharField(blank=True, max_length=100)),
                ("subject_name", models.CharField(blank=True, max_length=700, verbose_name="subject")),
                ("environment", models.CharField(blank=True, max_length=40)),
                ("reason", models.TextField(blank=True)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("done", "done"), ("refused", "refused"), ("failed", "failed")], max_length=10
                    ),
                ),
                ("message", models.TextField(blank=True)),
                ("previous_digest", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=64)),
                (
                    "signature",
                    models.CharField(blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.", max_length=80),
                ),
                (
                    "transaction",
                    models.BigIntegerField(
                        help_text="pg_current_xact_id(); row versions of the same change have it too."
                    ),
                ),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "ordering": ["-sequence"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["subject_kind", "subject_id", "-sequence"], name="audit_subject"),
                    models.Index(fields=["actor_name", "-sequence"], name="audit_actor"),
                    models.Index(fields=["actor_id", "-sequence"], name="audit_actor_id"),
                    models.Index(fields=["verb", "-sequence"], name="audit_verb"),
                    models.Index(fields=["environment", "-sequence"], name="audit_environment"),
                    models.Index(
                        fields=["outcome", "-sequence"],
                        condition=~models.Q(outcome="done"),
                        name="audit_unusual",
                    ),
                    models.Index(
                        fields=["-sequence"], condition=models.Q(after__has_key="loosened"), name="audit_loosened"
                    ),
                    models.Index(
                        fields=["at"],
                        include=["environment", "verb"],
                        condition=models.Q(
                            outcome="done", verb__in=["deployment.changed", "request.break_glass", "run.appeared"]
                        ),
                        name="audit_past_rules",
                    ),
                    models.Index(
                        fields=["token_id", "-sequence"], condition=~models.Q(token_id=""), name="audit_token"
                    ),
                    models.Index(fields=["transaction"], name="audit_transaction"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("file_format", models.CharField(max_length=10)),
                ("criteria", models.JSONField(help_text="Filters, in the format of runs.audit.queries.")),
                ("up_to", models.BigIntegerField(help_text="Newest entry when the export was requested.")),
                ("total", models.BigIntegerField()),
                ("rows", models.BigIntegerField(default=0, help_text="Number of entries in the file so far.")),
                (
                    "reached",
                    models.BigIntegerField(help_text="Last entry written; the newest is written first.", null=True),
                ),
                ("size", models.BigIntegerField(default=0, help_text="In bytes.")),
                (
                    "state",
                    models.CharField(
                        choices=[("wanted", "Preparing"), ("ready", "Ready")], default="wanted", max_length=10
                    ),
                ),
                ("requested_at", models.DateTimeField(db_default=Now())),
                ("forgotten_at", models.DateTimeField(help_text="When the file is deleted.")),
                ("requested_by", models.ForeignKey(USER, models.CASCADE, related_name="exports")),
            ],
            options={"ordering": ["-pk"], "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Freeze",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("begun_at", models.DateTimeField(db_default=Now())),
                ("begun_by_name", models.CharField(max_length=200)),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lifted_by_name", models.CharField(blank=True, max_length=200)),
                ("begun_by", models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="freezes")),
            ],
            options={
                "ordering": ["-begun_at"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at", None)),
                        fields=("environment",),
                        name="unique_open_freeze_per_environment",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                (
                    "effect",
                    models.CharField(choices=[("allow", "allow"), ("deny", "deny")], default="allow", max_length=5),
                ),
                ("verbs", ArrayField(base_field=models.CharField(choices=VERBS, max_length=20))),
                (
                    "predicate",
                    models.JSONField(
                        blank=True,
                        help_text="JSON Schema: the grant applies only to parameters that satisfy it.",
                        null=True,
                    ),
                ),
                ("valid_from", models.DateTimeField(blank=True, null=True)),
                ("valid_until", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("granted_by_name", models.CharField(editable=False, max_length=200)),
                ("granted_at", models.DateTimeField(db_default=Now(), editable=False)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="%(class)ss"
                    ),
                ),
                (
                    "granted_by",
                    models.ForeignKey(USER, models.PROTECT, editable=False, null=True, related_name="grants_given"),
                ),
                (
                    "group",
                    models.ForeignKey("auth.group", models.PROTECT, blank=True, null=True, related_name="grants"),
                ),
                ("person", models.ForeignKey(USER, models.PROTECT, blank=True, null=True, related_name="grants")),
            ],
            options={
                "default_permissions": ["view"],
                "ordering": ["-granted_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("group__isnull", True), ("person__isnull", False)),
                            models.Q(("group__isnull", False), ("person__isnull", True)),
                            _connector="OR",
                        ),
                        name="grant_has_one_subject",
                    )
                ],
                "indexes": [
                    models.Index(
                        fields=["-granted_at", "-id"], condition=models.Q(("revoked_at", None)), name="current_grants"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(choices=TOPICS, max_length=20)),
                (
                    "environment",
                    models.ForeignKey("flows.environment", models.CASCADE, null=True, related_name="+"),
                ),
                ("subject", models.CharField(max_length=300)),
                ("text", models.TextField()),
                ("target_kind", models.CharField(blank=True, max_length=20)),
                ("target_id", models.CharField(blank=True, max_length=20)),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("read_at", models.DateTimeField(null=True)),
                (
                    "number",
                    models.PositiveIntegerField(
                        default=1, help_text="How many messages of this subject it stands for."
                    ),
                ),
                ("person", models.ForeignKey(USER, models.CASCADE, null=True, related_name="notices")),
            ],
            options={
                "ordering": ["-created_at"],
                "indexes": [
                    models.Index(fields=["environment", "created_at"], name="notifications_by_age"),
                    models.Index(fields=["person", "-created_at", "-id"], name="notifications_of_person"),
                    models.Index(condition=models.Q(("read_at", None)), fields=["person"], name="unread_notifications"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("webhook", "Webhook"),
                            ("slack", "Slack"),
                            ("teams", "Microsoft Teams"),
                            ("service", "Other service"),
                        ],
                        max_length=10,
                    ),
                ),
                ("sealed_address", models.BinaryField()),
                ("sealed_secret", models.BinaryField(default=b"")),
                ("destination", models.CharField(editable=False, max_length=260)),
                ("allows_private", models.BooleanField(default=False, verbose_name="private networks")),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "disabled_why",
                    models.CharField(blank=True, editable=False, max_length=300, verbose_name="why disabled"),
                ),
                ("failures", models.PositiveIntegerField(default=0, editable=False)),
                ("next_attempt_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("created_by_name", models.CharField(editable=False, max_length=200)),
            ],
            options={"ordering": ["name"], "default_permissions": ["view"]},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("queued_at", models.DateTimeField(db_default=Now(), verbose_name="queued")),
                (
                    "state",
                    models.CharField(
                        choices=[("wanted", "Queued"), ("sent", "Sent"), ("failed", "Could not be sent")],
                        default="wanted",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                ("sent_at", models.DateTimeField(null=True, verbose_name="sent")),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("answer", models.TextField(blank=True)),
                ("message", models.TextField(blank=True)),
                ("email", models.UUIDField(editable=False, null=True)),
                ("channel", models.ForeignKey("runs.channel", models.PROTECT, null=True, related_name="deliveries")),
                ("notification", models.ForeignKey("runs.notification", models.CASCADE, related_name="deliveries")),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "wanted")), fields=["channel", "id"], name="open_deliveries"
                    ),
                    models.Index(condition=models.Q(("state", "failed")), fields=["-id"], name="failed_deliveries"),
                    models.Index(fields=["channel", "-id"], name="deliveries_of_channel"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("notification", "channel"), name="unique_delivery_per_address", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "stages",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Stages in order, each with needed and group.",
                        verbose_name="approvals",
                    ),
                ),
                (
                    "approval_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Requests not approved within this time expire. Blank = environment default.",
                        null=True,
                        verbose_name="approval timeout (minutes)",
                    ),
                ),
                (
                    "needs_reason",
                    models.BooleanField(
                        verbose_name="require a reason",
                        default=False,
                        help_text="For runs, cancellations, pauses and grants.",
                    ),
                ),
                (
                    "needs_ticket",
                    models.BooleanField(
                        verbose_name="require a ticket",
                        default=False,
                        help_text="For runs, cancellations, pauses and grants.",
                    ),
                ),
                (
                    "ticket_pattern",
                    models.CharField(
                        blank=True, help_text="Regular expression, for example ^OPS-[0-9]+$.", max_length=200
                    ),
                ),
                (
                    "ticket_link",
                    models.CharField(
                        blank=True,
                        help_text="For example https://tickets.example/{ticket}.",
                        max_length=500,
                        verbose_name="ticket URL",
                    ),
                ),
                (
                    "needs_confirmation",
                    models.BooleanField(
                        verbose_name="require typed confirmation",
                        default=False,
                        help_text="Requesters review the parameters and type the deployment's name.",
                    ),
                ),
                (
                    "refuse_moving",
                    models.BooleanField(
                        default=False,
                        help_text="Refuse deployments whose code is a branch, tag, path, storage or image tag.",
                        verbose_name="refuse code that is not pinned",
                    ),
                ),
                (
                    "cancel_moved",
                    models.BooleanField(
                        default=False,
                        help_text="Cancel an approved run if its deployment has changed by the time it starts.",
                        verbose_name="cancel changed runs",
                    ),
                ),
                (
                    "token_days",
                    models.PositiveIntegerField(
                        verbose_name="longest token (days)",
                        null=True,
                        blank=True,
                        help_text="Tokens that can act here must end within this time. Blank = one year.",
                    ),
                ),
                (
                    "schedule_days",
                    models.PositiveIntegerField(
                        verbose_name="longest schedule (days)",
                        null=True,
                        blank=True,
                        help_text="Schedules, hooks, event rules and chains here must end within this time. Blank = one year.",
                    ),
                ),
                (
                    "approve_each_run",
                    models.BooleanField(
                        default=False,
                        help_text="Each run of a schedule is a request of its own, which needs its own approval.",
                        verbose_name="approve each run of schedules",
                    ),
                ),
                (
                    "native_schedules",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Not in protected environments"),
                            ("allow", "Allowed"),
                            ("refuse", "Refused"),
                        ],
                        default="",
                        help_text=(
                            "Prefect starts their runs itself, also while the portal is down; nothing is checked at each "
                            "start."
                        ),
                        max_length=10,
                        verbose_name="schedules in Prefect",
                    ),
                ),
                (
                    "outside_window",
                    models.CharField(
                        choices=[("wait", "Hold the run until it may start"), ("refuse", "Refuse the request")],
                        default="wait",
                        max_length=10,
                        verbose_name="outside change windows",
                    ),
                ),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "low"), ("medium", "medium"), ("high", "high")],
                        default="low",
                        help_text="Shown to approvers.",
                        max_length=10,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="%(class)ss"
                    ),
                ),
            ],
            options={"verbose_name_plural": "policies", "ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="RowVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("table_name", models.CharField(max_length=63)),
                ("row_pk", models.CharField(max_length=100)),
                (
                    "label",
                    models.CharField(
                        help_text="insert, update, delete, found, or the name of a secret column that changed.",
                        max_length=63,
                    ),
                ),
                ("data", models.JSONField(help_text="Column -> value after the change; for a deleted row, before it.")),
                (
                    "transaction",
                    models.BigIntegerField(help_text="pg_current_xact_id(); the audit entry of the change has it too."),
                ),
                ("created_at", models.DateTimeField(help_text="When the row changed, not when its transaction began.")),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["table_name", "row_pk", "-id"], name="row_version"),
                    models.Index(fields=["created_at"], name="row_version_created"),
                    GinIndex(fields=["data"], name="row_version_data", opclasses=["jsonb_path_ops"]),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "parent_task_run_id",
                    models.UUIDField(help_text="The task run that stands for it in its parent.", null=True),
                ),
                ("prefect_id", models.UUIDField()),
                ("name", models.CharField(max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300)),
                ("deployment_name", models.CharField(blank=True, max_length=601, verbose_name="deployment")),
                ("deployment_version", models.CharField(blank=True, max_length=300)),
                ("parameters", models.JSONField(default=dict, help_text="Secrets masked.")),
                ("tags", ArrayField(base_field=models.CharField(max_length=300), default=list)),
                ("state_id", models.UUIDField(null=True)),
                (
                    "state_type",
                    models.CharField(
                        choices=[
                            ("SCHEDULED", "Scheduled"),
                            ("PENDING", "Pending"),
                            ("RUNNING", "Running"),
                            ("COMPLETED", "Completed"),
                            ("FAILED", "Failed"),
                            ("CRASHED", "Crashed"),
                            ("CANCELLING", "Cancelling"),
                            ("CANCELLED", "Cancelled"),
                            ("PAUSED", "Paused"),
                        ],
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                ("state_name", models.CharField(blank=True, max_length=100)),
                ("state_message", models.TextField(blank=True)),
                ("state_at", models.DateTimeField(null=True)),
                ("run_count", models.IntegerField(default=0)),
                ("expected_start_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("run_seconds", models.FloatField(default=0, verbose_name="duration")),
                ("work_pool_name", models.CharField(blank=True, max_length=300)),
                ("work_queue_name", models.CharField(blank=True, max_length=300)),
                ("infrastructure_pid", models.CharField(blank=True, max_length=300)),
                ("is_auto_scheduled", models.BooleanField(default=False)),
                (
                    "created_by_portal",
                    models.BooleanField(
                        default=False,
                        help_text="False: started outside the portal.",
                        verbose_name="requested in the portal",
                    ),
                ),
                ("created_upstream_at", models.DateTimeField(null=True)),
                (
                    "sort_at",
                    StoredColumn(
                        expression=Coalesce("created_upstream_at", "expected_start_at", "started_at", "synced_at"),
                        output_field=models.DateTimeField(verbose_name="created"),
                    ),
                ),
                (
                    "search_text",
                    StoredColumn(
                        expression=Lower(
                            Concat("name", models.Value(" "), "flow_name", models.Value(" "), "deployment_name"),
                            output_field=models.TextField(),
                        ),
                        output_field=models.TextField(),
                    ),
                ),
                ("synced_at", models.DateTimeField(help_text="When it was last read from Prefect.")),
                (
                    "detailed_at",
                    models.DateTimeField(help_text="When states, task runs and logs were last read.", null=True),
                ),
                (
                    "deleted_upstream_at",
                    models.DateTimeField(
                        help_text="When it was found to be missing in Prefect.",
                        null=True,
                        verbose_name="deleted in Prefect",
                    ),
                ),
                (
                    "active_at",
                    models.DateTimeField(
                        help_text="Its last sign of life, as Prefect has it.", null=True, verbose_name="last activity"
                    ),
                ),
                (
                    "stalled_kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("pending", "Pending without a process"),
                            ("late", "Late"),
                            ("silent", "Running without a sign of life"),
                            ("cancelling", "Cancelling too long"),
                        ],
                        max_length=10,
                        verbose_name="stalled",
                    ),
                ),
                ("stalled_since", models.DateTimeField(help_text="Since when nothing has happened.", null=True)),
                (
                    "access_deployment",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Whose grants decide about the run: its deployment, or that of the run it is part of.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="flows.deployment",
                    ),
                ),
                (
                    "parent",
                    models.ForeignKey(
                        help_text="The run that called it as a subflow.",
                        null=True,
                        on_delete=models.SET_NULL,
                        related_name="children",
                        to="runs.run",
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(
                        "flows.deployment", models.PROTECT, null=True, related_name="runs", db_index=False
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey("flows.environment", models.PROTECT, related_name="runs", db_index=False),
                ),
            ],
            options={
                "ordering": ["-sort_at", "-pk"],
                "indexes": [
                    models.Index(fields=["-sort_at", "-id"], name="runs_sorted"),
                    models.Index(fields=["environment", "-sort_at", "-id"], name="runs_sorted_by_environment"),
                    models.Index(fields=["deployment", "-sort_at", "-id"], name="runs_sorted_by_deployment"),
                    models.Index(fields=["access_deployment", "-sort_at", "-id"], name="runs_sorted_by_access"),
                    models.Index(fields=["deployment_name", "-sort_at", "-id"], name="runs_by_deployment_name"),
                    models.Index(fields=["flow_name", "-sort_at", "-id"], name="runs_by_flow_name"),
                    models.Index(fields=["-run_seconds", "-id"], name="runs_by_duration"),
                    models.Index(fields=["name"], name="runs_by_name"),
                    models.Index(
                        fields=["-sort_at", "-id"],
                        condition=models.Q(state_type__in=["CANCELLING", "PAUSED", "PENDING", "RUNNING", "SCHEDULED"]),
                        name="active_runs",
                    ),
                    models.Index(
                        fields=["-sort_at", "-id"],
                        condition=models.Q(state_type__in=["CRASHED", "FAILED"]),
                        name="failed_runs",
                    ),
                    GinIndex(fields=["search_text"], name="runs_search", opclasses=["gin_trgm_ops"]),
                    GinIndex(fields=["tags"], name="runs_by_tag"),
                    GinIndex(fields=["parameters"], name="runs_by_parameter", opclasses=["jsonb_path_ops"]),
                    models.Index(fields=["-ended_at"], name="runs_run_ended_a_5538b1_idx"),
                    models.Index(fields=["environment", "ended_at"], name="runs_by_end"),
                    models.Index(
                        fields=["-ended_at"],
                        condition=models.Q(state_type__in=["CRASHED", "FAILED"]),
                        name="latest_failures",
                    ),
                    models.Index(
                        fields=["expected_start_at"],
                        condition=models.Q(state_type="SCHEDULED"),
                        name="scheduled_runs",
                    ),
                    models.Index(
                        fields=["environment", "stalled_kind"],
                        condition=~models.Q(stalled_kind=""),
                        name="stalled_runs",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("prefect_id", "environment"), name="unique_run_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="LogLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("at", models.DateTimeField()),
                ("level", models.SmallIntegerField(help_text="As Python's logging: 20 info, 30 warning, 40 error.")),
                ("message", models.TextField()),
                ("task_run_id", models.UUIDField(null=True)),
                ("run", models.ForeignKey("runs.run", models.CASCADE, related_name="log_lines", db_index=False)),
            ],
            options={
                "ordering": ["at", "pk"],
                "indexes": [
                    models.Index(fields=["run", "at"], name="runs_loglin_run_id_4a4594_idx"),
                    models.Index(fields=["run", "id"], name="runs_loglin_run_id_1d4bc6_idx"),
                ],
                "constraints": [models.UniqueConstraint(fields=("run", "prefect_id"), name="unique_log_line_per_run")],
            },
        ),
        migrations.CreateModel(
            name="Action",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("cancel", "Cancel"),
                            ("force", "Force cancel"),
                            ("put back", "Put back"),
                            ("fail", "Mark as failed"),
                            ("retry", "Retry"),
                            ("pause", "Pause"),
                            ("resume", "Resume"),
                            ("limit", "Change limits"),
                            ("schedule", "Save schedule"),
                            ("pause one", "Pause schedule"),
                            ("resume one", "Resume schedule"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "prefect_schedule",
                    models.UUIDField(
                        help_text="Prefect's id of the one schedule of a deployment that is paused or resumed.",
                        null=True,
                    ),
                ),
                (
                    "before",
                    models.JSONField(default=dict, help_text="What the target was when the action was decided."),
                ),
                (
                    "wanted",
                    models.JSONField(default=dict, help_text="What a work pool, a queue or a limit is to be set to."),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("wanted", "Queued"),
                            ("sent", "Sent"),
                            ("done", "Done"),
                            ("overtaken", "Overtaken"),
                            ("failed", "Failed"),
                        ],
                        default="wanted",
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("requested_by_name", models.CharField(max_length=200)),
                (
                    "agent",
                    models.ForeignKey(
                        "runs.agent",
                        models.PROTECT,
                        null=True,
                        help_text="The AI agent that asked for it.",
                        related_name="actions",
                    ),
                ),
                ("requested_at", models.DateTimeField(db_default=Now())),
                (
                    "is_automatic",
                    models.BooleanField(default=False, help_text="Decided by the portal, without a person."),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                (
                    "sent_at",
                    models.DateTimeField(null=True, help_text="When it was last sent; the answer may have been lost."),
                ),
                ("settled_at", models.DateTimeField(null=True)),
                ("message", models.TextField(blank=True)),
                (
                    "deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="actions"),
                ),
                ("pool", models.ForeignKey("flows.workpool", models.PROTECT, null=True, related_name="actions")),
                ("queue", models.ForeignKey("flows.workqueue", models.PROTECT, null=True, related_name="actions")),
                (
                    "global_limit",
                    models.ForeignKey("flows.globallimit", models.PROTECT, null=True, related_name="actions"),
                ),
                (
                    "freeze",
                    models.ForeignKey(
                        "runs.freeze",
                        models.SET_NULL,
                        help_text="The freeze that paused the schedules, or that did until now.",
                        null=True,
                        related_name="actions",
                    ),
                ),
                ("requested_by", models.ForeignKey(USER, models.PROTECT, null=True, related_name="actions")),
                ("run", models.ForeignKey("runs.run", models.PROTECT, null=True, related_name="actions")),
            ],
            options={
                "ordering": ["-requested_at"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["wanted", "sent"])),
                        fields=["next_attempt_at"],
                        name="open_actions",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["cancel", "force"]), ("state__in", ["wanted", "sent"])),
                        fields=("run",),
                        name="unique_open_cancellation_per_run",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["put back", "fail"]), ("state__in", ["wanted", "sent"])),
                        fields=("run",),
                        name="unique_open_recovery_per_run",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["retry"]), ("state__in", ["wanted", "sent"])),
                        fields=("run",),
                        name="unique_open_retry_per_run",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["limit"]), ("state__in", ["wanted", "sent"])),
                        fields=("deployment",),
                        name="unique_open_limit_per_deployment",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["limit"]), ("state__in", ["wanted", "sent"])),
                        fields=("pool",),
                        name="unique_open_limit_per_pool",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["limit"]), ("state__in", ["wanted", "sent"])),
                        fields=("queue",),
                        name="unique_open_limit_per_queue",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["limit"]), ("state__in", ["wanted", "sent"])),
                        fields=("global_limit",),
                        name="unique_open_limit_per_global_limit",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("kind__in", ["pause one", "resume one"]), ("state__in", ["wanted", "sent"])
                        ),
                        fields=("deployment", "prefect_schedule"),
                        name="unique_open_pause_per_prefect_schedule",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_automatic", True), ("kind__in", ["put back", "fail"])),
                        fields=("run",),
                        name="unique_automatic_recovery_per_run",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Artifact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("key", models.CharField(blank=True, max_length=300)),
                ("type", models.CharField(blank=True, max_length=50)),
                ("description", models.TextField(blank=True)),
                ("data", models.JSONField(help_text="Text, rows or a number, depending on the type.", null=True)),
                ("created_upstream_at", models.DateTimeField(null=True)),
                ("updated_upstream_at", models.DateTimeField(null=True)),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="artifacts")),
                ("run", models.ForeignKey("runs.run", models.CASCADE, related_name="artifacts", db_index=False)),
            ],
            options={
                "ordering": [models.OrderBy(models.F("created_upstream_at"), nulls_last=True), "pk"],
                "indexes": [
                    models.Index(fields=["environment", "key", "-created_upstream_at"], name="artifact_by_key"),
                    models.Index(fields=["-created_upstream_at", "-id"], name="artifacts_sorted"),
                ],
                "constraints": [models.UniqueConstraint(fields=("run", "prefect_id"), name="unique_artifact_per_run")],
            },
        ),
        migrations.CreateModel(
            name="ChangeRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        max_length=10,
                        default="run",
                        choices=[
                            ("run", "Run"),
                            ("backfill", "Backfill"),
                            ("schedule", "Schedule"),
                            ("chain", "Chain"),
                            ("retry", "Retry"),
                            ("rules", "Change of rules"),
                        ],
                    ),
                ),
                (
                    "submission_key",
                    models.UUIDField(
                        unique=True,
                        default=uuid.uuid4,
                        help_text="Makes repeated submissions of one form a single request.",
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment",
                        models.PROTECT,
                        null=True,
                        help_text="Null for a change of rules that concerns several.",
                        related_name="change_requests",
                    ),
                ),
                ("environment_name", models.CharField(verbose_name="environment", max_length=500)),
                ("requested_by", models.ForeignKey(USER, models.PROTECT, null=True, related_name="change_requests")),
                ("requested_by_name", models.CharField(verbose_name="requested by", max_length=200)),
                (
                    "on_behalf_of",
                    models.ForeignKey(
                        USER,
                        models.PROTECT,
                        null=True,
                        help_text="The person the requester acts for, if any; they cannot approve the request either.",
                        related_name="+",
                    ),
                ),
                ("on_behalf_of_name", models.CharField(verbose_name="on behalf of", max_length=200, blank=True)),
                (
                    "agent",
                    models.ForeignKey(
                        "runs.agent",
                        models.PROTECT,
                        null=True,
                        help_text="The AI agent that asked for it.",
                        related_name="change_requests",
                    ),
                ),
                ("channel", models.CharField(max_length=20)),
                ("requested_at", models.DateTimeField(db_default=Now())),
                ("reason", models.CharField(max_length=1000, blank=True)),
                ("ticket", models.CharField(max_length=100, blank=True)),
                ("needs_approval", models.BooleanField(default=False)),
                (
                    "approvals_needed",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Number of different people who must approve."
                    ),
                ),
                (
                    "policy",
                    models.JSONField(
                        default=dict,
                        help_text="Requirements at request time: Requirements.frozen() in runs.governance.requirements.",
                    ),
                ),
                (
                    "pacing",
                    models.JSONField(
                        default=dict,
                        help_text=(
                            "at_once: the number of its runs that may be open at a time. on_failure: stop, or go_on. "
                            "schedule: when they are due."
                        ),
                    ),
                ),
                (
                    "contents",
                    models.CharField(
                        max_length=64,
                        help_text="SHA-256 over its specs and the start times of its run requests, or its change of rules.",
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        max_length=64, help_text="SHA-256 over the fields locked at request time; approvals quote it."
                    ),
                ),
                (
                    "signature",
                    models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py."),
                ),
                (
                    "state",
                    models.CharField(
                        max_length=10,
                        choices=[
                            ("waiting", "Waiting for approval"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                            ("expired", "Expired"),
                            ("closed", "Closed"),
                        ],
                    ),
                ),
                ("message", models.TextField(blank=True, help_text="One sentence that explains the state.")),
                ("changed_at", models.DateTimeField(db_default=Now())),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "progress",
                    models.CharField(
                        choices=[("running", "Running"), ("paused", "Paused"), ("stopped", "Stopped")],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "progress_at",
                    models.DateTimeField(null=True, help_text="When it was paused, stopped or resumed."),
                ),
                (
                    "progress_by_name",
                    models.CharField(max_length=200, blank=True, help_text="By whom; blank if it stopped."),
                ),
            ],
            options={
                "ordering": ["-requested_at"],
                "indexes": [
                    models.Index(
                        name="open_changes",
                        fields=["state"],
                        condition=models.Q(("state__in", ["waiting", "approved"])),
                    ),
                    models.Index(name="runs_change_request_59d517_idx", fields=["requested_by", "-requested_at"]),
                    models.Index(name="changes_by_requester", fields=["requested_by_name", "-requested_at"]),
                    models.Index(name="changes_sorted", fields=["-requested_at", "-id"]),
                    models.Index(name="changes_by_ticket", fields=["ticket"], condition=~models.Q(ticket="")),
                    models.Index(name="changes_with_a_page", fields=["-id"], condition=~models.Q(kind="run")),
                    GinIndex(OpClass(Upper("requested_by_name"), name="gin_trgm_ops"), name="changes_search_requester"),
                    GinIndex(OpClass(Upper("reason"), name="gin_trgm_ops"), name="changes_search_reason"),
                    models.Index(Upper("ticket"), name="changes_search_ticket"),
                    models.Index(
                        name="by_agent",
                        fields=["agent", "-requested_at"],
                        condition=models.Q(("agent__isnull", False)),
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("environment__isnull", False), ("kind", "rules"), _connector="OR"),
                        name="runs_are_of_one_environment",
                    ),
                    models.UniqueConstraint(
                        fields=("contents",),
                        condition=models.Q(("kind", "rules"), ("state", "waiting")),
                        name="unique_waiting_change_of_rules",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunSpec",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("change", models.ForeignKey("runs.changerequest", models.PROTECT, related_name="specs")),
                ("position", models.PositiveIntegerField(default=0)),
                ("format", models.PositiveSmallIntegerField(default=1)),
                ("deployment", models.ForeignKey("flows.deployment", models.PROTECT, related_name="run_specs")),
                (
                    "api_url",
                    models.CharField(
                        verbose_name="API URL", max_length=500, blank=True, help_text="Without a trailing slash."
                    ),
                ),
                ("flow_name", models.CharField(max_length=300)),
                ("deployment_name", models.CharField(verbose_name="deployment", max_length=601)),
                ("deployment_prefect_id", models.UUIDField()),
                ("deployment_version", models.CharField(max_length=300, blank=True)),
                ("schema_fingerprint", models.CharField(max_length=64)),
                (
                    "definition",
                    models.JSONField(
                        default=dict, help_text="What would run: `Deployment.definition` at request time."
                    ),
                ),
                ("definition_fingerprint", models.CharField(max_length=64, blank=True)),
                ("parameters", models.JSONField(default=dict, help_text="Resolved, without secret and mapped values.")),
                (
                    "sealed_parameters",
                    models.BinaryField(default=b"", help_text="Secret values: JSON pointer -> value, encrypted."),
                ),
                (
                    "mapped",
                    models.JSONField(
                        default=dict,
                        help_text="Parameters that each occurrence brings: name -> JSON Schema that its value must meet.",
                    ),
                ),
                ("tags", ArrayField(blank=True, default=list, base_field=models.CharField(max_length=300))),
                ("run_name", models.CharField(max_length=200, blank=True)),
                ("max_runs", models.PositiveIntegerField(null=True, default=1, help_text="Null is no limit.")),
                ("valid_until", models.DateTimeField(null=True, help_text="No occurrence is released later.")),
                (
                    "retries",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How many retries in place are approved together with the run."
                    ),
                ),
                (
                    "profile",
                    models.JSONField(
                        default=dict,
                        help_text="Resource profile: name, work_queue, job_variables as they were then. Empty: as deployed.",
                    ),
                ),
                (
                    "verb",
                    models.CharField(
                        max_length=20,
                        default="trigger",
                        choices=VERBS,
                        help_text="The permission that allowed the request.",
                    ),
                ),
                (
                    "is_blind",
                    models.BooleanField(
                        default=False,
                        help_text="Re-run by a person without permission to view the values; its requester sees none.",
                    ),
                ),
                ("digest", models.CharField(max_length=64, help_text="SHA-256 over what would run.")),
                (
                    "signature",
                    models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py."),
                ),
            ],
            options={
                "ordering": ["change", "position"],
                "indexes": [
                    models.Index(name="specs_by_deployment_name", fields=["deployment_name"]),
                    GinIndex(OpClass(Upper("run_name"), name="gin_trgm_ops"), name="specs_search_run_name"),
                ],
                "constraints": [
                    models.UniqueConstraint(name="unique_position_per_change", fields=("change", "position"))
                ],
            },
        ),
        migrations.CreateModel(
            name="RunRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("change", models.ForeignKey("runs.changerequest", models.PROTECT, related_name="run_requests")),
                (
                    "spec",
                    models.ForeignKey("runs.runspec", models.PROTECT, related_name="run_requests", db_index=False),
                ),
                (
                    "environment",
                    models.ForeignKey("flows.environment", models.PROTECT, related_name="run_requests", db_index=False),
                ),
                (
                    "deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, related_name="run_requests", db_index=False),
                ),
                ("run", models.OneToOneField("runs.run", models.PROTECT, null=True, related_name="run_request")),
                (
                    "flow_run_id",
                    models.UUIDField(
                        unique=True, null=True, help_text="Prefect's flow run ID; the run itself is synced later."
                    ),
                ),
                ("flow_run_name", models.CharField(max_length=300, blank=True)),
                (
                    "run_state",
                    models.CharField(max_length=100, blank=True, help_text="Its last state, as Prefect named it."),
                ),
                ("run_started_at", models.DateTimeField(null=True)),
                ("run_ended_at", models.DateTimeField(null=True)),
                (
                    "occurrence",
                    models.CharField(
                        max_length=100,
                        blank=True,
                        help_text="Which one of its spec, such as the due time; blank if it is the only one.",
                    ),
                ),
                ("scheduled_for", models.DateTimeField(blank=True, null=True)),
                (
                    "mapped_values",
                    models.JSONField(default=dict, help_text="The values of this occurrence for `RunSpec.mapped`."),
                ),
                (
                    "signature",
                    models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py."),
                ),
                ("requested_at", models.DateTimeField(db_default=Now())),
                (
                    "sort_at",
                    StoredColumn(
                        expression=models.F("requested_at"),
                        output_field=models.DateTimeField(verbose_name="requested"),
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        max_length=10,
                        choices=[
                            ("held", "Waiting for approval"),
                            ("approved", "Queued"),
                            ("launching", "Launching"),
                            ("launched", "Launched"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("lost", "Lost"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                            ("expired", "Expired"),
                            ("refused", "Refused at launch"),
                        ],
                    ),
                ),
                ("message", models.TextField(blank=True, help_text="One sentence that explains the state.")),
                ("changed_at", models.DateTimeField(db_default=Now())),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                ("launched_at", models.DateTimeField(null=True)),
                (
                    "sent_at",
                    models.DateTimeField(
                        null=True, help_text="When it was sent to Prefect, which may have its run since."
                    ),
                ),
                (
                    "check_definition_at",
                    models.DateTimeField(null=True, help_text="When to compare the definition again."),
                ),
                (
                    "moved_definition",
                    models.JSONField(
                        default=dict,
                        help_text="The definition that Prefect had when the run started, if it is not the approved one.",
                    ),
                ),
                (
                    "overridden_at",
                    models.DateTimeField(null=True, help_text="When a change window or freeze was overridden for it."),
                ),
                ("overridden_by_name", models.CharField(max_length=200, blank=True)),
                (
                    "failure_accepted_at",
                    models.DateTimeField(
                        null=True, help_text="When a person let its backfill go on although this did not complete."
                    ),
                ),
            ],
            options={
                "ordering": ["-sort_at", "-pk"],
                "indexes": [
                    models.Index(name="runs_runreq_state_0a8201_idx", fields=["state", "next_attempt_at"]),
                    models.Index(name="requests_sorted", fields=["-sort_at", "-id"]),
                    models.Index(name="requests_sorted_by_environment", fields=["environment", "-sort_at", "-id"]),
                    models.Index(name="requests_sorted_by_deployment", fields=["deployment", "-sort_at", "-id"]),
                    models.Index(
                        name="requests_by_launch",
                        fields=["deployment", "-launched_at"],
                        condition=models.Q(launched_at__isnull=False),
                    ),
                    models.Index(
                        name="open_requests",
                        fields=["-sort_at", "-id"],
                        condition=models.Q(state__in=["held", "approved", "launching", "launched"]),
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(name="unique_occurrence_per_spec", fields=("spec", "occurrence"))
                ],
            },
        ),
        migrations.AddField(
            model_name="runspec",
            name="rerun_of",
            field=models.ForeignKey("runs.runrequest", models.PROTECT, null=True, related_name="reruns"),
        ),
        migrations.CreateModel(
            name="Comment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by_name", models.CharField(max_length=200)),
                ("at", models.DateTimeField(db_default=Now())),
                ("text", models.CharField(max_length=2000)),
                ("by", models.ForeignKey(USER, models.PROTECT, related_name="+")),
                ("change", models.ForeignKey("runs.changerequest", models.PROTECT, related_name="comments")),
            ],
            options={"ordering": ["at", "pk"]},
        ),
        migrations.CreateModel(
            name="BreakGlass",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by_name", models.CharField(max_length=200)),
                ("at", models.DateTimeField(db_default=Now())),
                ("until", models.DateTimeField(help_text="When the request expires if it has not been launched.")),
                ("reason", models.CharField(max_length=1000)),
                (
                    "signature",
                    models.CharField(blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.", max_length=80),
                ),
                ("reviewed_by_name", models.CharField(blank=True, max_length=200)),
                ("reviewed_at", models.DateTimeField(null=True)),
                (
                    "was_right",
                    models.BooleanField(help_text="Whether the reviewer found the override justified.", null=True),
                ),
                ("review", models.CharField(blank=True, max_length=1000)),
                ("by", models.ForeignKey(USER, models.PROTECT, related_name="+")),
                ("reviewed_by", models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")),
                ("change", models.OneToOneField("runs.changerequest", models.PROTECT, related_name="break_glass")),
            ],
            options={
                "verbose_name": "emergency override",
                "ordering": ["-at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reviewed_by", None),
                            models.Q(("reviewed_by", models.F("by")), _negated=True),
                            _connector="OR",
                        ),
                        name="override_is_reviewed_by_someone_else",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("approved", models.BooleanField()),
                (
                    "stage",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Index of the approval stage, starting at 0."
                    ),
                ),
                ("by_name", models.CharField(max_length=200)),
                ("at", models.DateTimeField(db_default=Now())),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                (
                    "signature",
                    models.CharField(blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.", max_length=80),
                ),
                ("by", models.ForeignKey(USER, models.PROTECT, related_name="approvals")),
                ("change", models.ForeignKey("runs.changerequest", models.PROTECT, related_name="approvals")),
            ],
            options={"ordering": ["at", "pk"]},
        ),
        migrations.CreateModel(
            name="StateChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("type", models.CharField(max_length=20)),
                ("name", models.CharField(max_length=100)),
                ("message", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                ("run", models.ForeignKey("runs.run", models.CASCADE, related_name="state_changes", db_index=False)),
            ],
            options={
                "ordering": ["at"],
                "constraints": [
                    models.UniqueConstraint(fields=("run", "prefect_id"), name="unique_state_change_per_run")
                ],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(choices=TOPICS, max_length=20)),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="subscriptions"
                    ),
                ),
                (
                    "is_off",
                    models.BooleanField(
                        default=False, help_text="A topic of DEFAULTS is off; then without an environment."
                    ),
                ),
                ("person", models.ForeignKey(USER, models.CASCADE, related_name="subscriptions")),
            ],
            options={
                "ordering": ["person", "topic"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("person", "topic", "environment"),
                        name="unique_subscription_per_topic",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TaskRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("name", models.CharField(max_length=300)),
                ("state_type", models.CharField(max_length=20)),
                ("state_name", models.CharField(max_length=100)),
                ("message", models.TextField(blank=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("run_count", models.IntegerField(default=0)),
                ("run_seconds", models.FloatField(default=0)),
                ("is_cached", models.BooleanField(default=False)),
                (
                    "task_key",
                    models.CharField(blank=True, help_text="The same for all runs of one task.", max_length=300),
                ),
                (
                    "upstream",
                    ArrayField(
                        base_field=models.UUIDField(),
                        default=list,
                        help_text="The task runs it depends on, by Prefect's ids.",
                    ),
                ),
                (
                    "attempts",
                    models.JSONField(
                        default=dict, help_text="spans: start and end of each attempt, if it was retried."
                    ),
                ),
                ("run", models.ForeignKey("runs.run", models.CASCADE, related_name="task_runs", db_index=False)),
            ],
            options={
                "ordering": [models.OrderBy(models.F("started_at"), nulls_last=True), "name"],
                "constraints": [models.UniqueConstraint(fields=("run", "prefect_id"), name="unique_task_run_per_run")],
            },
        ),
        migrations.CreateModel(
            name="Window",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "effect",
                    models.CharField(
                        choices=[
                            ("allow", "Allow runs only during the window"),
                            ("deny", "Block runs during the window"),
                        ],
                        default="allow",
                        max_length=5,
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        help_text="Minute, hour, day of month, month, day of week.",
                        max_length=100,
                        verbose_name="starts (cron)",
                    ),
                ),
                ("minutes", models.PositiveIntegerField(verbose_name="duration (minutes)")),
                ("time_zone", models.CharField(default="UTC", help_text="For example Europe/Vienna.", max_length=60)),
                ("is_active", models.BooleanField(default=True, help_text="Ignored when off.", verbose_name="active")),
                ("reason", models.CharField(blank=True, help_text="Shown to users.", max_length=500)),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="%(class)ss"
                    ),
                ),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                ("export", models.ForeignKey("runs.export", models.CASCADE, related_name="parts")),
            ],
            options={
                "ordering": ["export", "number"],
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("export", "number"), name="unique_part_per_export")],
            },
        ),
        migrations.CreateModel(
            name="QueuedTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(help_text="Dotted name, one of runs.queue.TASKS.", max_length=100)),
                ("args", models.CharField(help_text="Canonical JSON: a list of numbers and texts.", max_length=200)),
                ("priority", models.PositiveSmallIntegerField(help_text="Lowest first.")),
                ("queued_at", models.DateTimeField(db_default=Now())),
                ("taken_at", models.DateTimeField(help_text="Empty while it waits.", null=True)),
            ],
            options={
                "ordering": ["priority", "pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["task", "args"], name="queued_by_name"),
                    models.Index(
                        condition=models.Q(taken_at=None), fields=["priority", "id"], name="queued_by_priority"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(help_text="One of `Kind`.", max_length=30)),
                (
                    "position",
                    models.BigIntegerField(help_text="Where it stands for consumers.", null=True, unique=True),
                ),
                ("environment_id", models.BigIntegerField(null=True)),
                ("deployment_id", models.BigIntegerField(null=True)),
                ("run_id", models.BigIntegerField(null=True)),
                ("change_id", models.BigIntegerField(null=True)),
                ("request_id", models.BigIntegerField(null=True)),
                ("data", models.JSONField(default=dict)),
                (
                    "occurred_at",
                    models.DateTimeField(db_default=Now(), help_text="When it happened, by the clock of its source."),
                ),
                ("observed_at", models.DateTimeField(db_default=Now(), help_text="When the portal recorded it.")),
                (
                    "is_history",
                    models.BooleanField(default=False, help_text="Found by a first reading: nothing reacts to it."),
                ),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(condition=models.Q(position=None), fields=["id"], name="events_without_position"),
                    models.Index(fields=["environment_id", "observed_at"], name="events_by_age"),
                    models.Index(
                        condition=models.Q(kind="drift changed"), fields=["environment_id", "-id"], name="drift_changes"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventCursor",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("position", models.BigIntegerField(default=0)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="FailedEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("consumer", models.CharField(max_length=40)),
                ("event_id", models.BigIntegerField()),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("tried_at", models.DateTimeField(db_default=Now())),
                ("error", models.CharField(max_length=200)),
                (
                    "is_set_aside",
                    models.BooleanField(default=False, help_text="Not tried again by itself; the consumer went on."),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("consumer", "event_id"), name="unique_failed_event_per_consumer")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "flow_name",
                    models.CharField(
                        blank=True, help_text="Of runs without a deployment that decides.", max_length=300
                    ),
                ),
                ("hour", models.DateTimeField(help_text="Its beginning, a full hour in the portal's time zone.")),
                ("state_type", models.CharField(max_length=20, verbose_name="state")),
                (
                    "duration_bucket",
                    models.SmallIntegerField(help_text="How long they ran: runs/duration_buckets.py."),
                ),
                ("number", models.IntegerField()),
                ("total_ms", models.BigIntegerField(help_text="The sum of their durations, in milliseconds.")),
                (
                    "access_deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="+", db_index=False),
                ),
                (
                    "deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="run_counts"),
                ),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="run_counts")),
            ],
            options={
                "ordering": ["-hour"],
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["hour", "environment", "access_deployment"],
                        include=["deployment", "state_type", "duration_bucket", "number", "total_ms"],
                        name="run_counts_by_hour",
                    ),
                    models.Index(
                        fields=["access_deployment", "hour"],
                        include=["environment", "deployment", "state_type", "duration_bucket", "number", "total_ms"],
                        name="run_counts_by_access",
                    ),
                    models.Index(fields=["deployment", "hour"], name="run_counts_by_deployment"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            *("environment", "deployment", "access_deployment", "flow_name", "hour", "state_type"),
                            "duration_bucket",
                        ),
                        name="unique_run_count",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DeploymentDayCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("flow_name", models.CharField(blank=True, max_length=300)),
                ("day", models.DateField(help_text="Of UTC.")),
                ("state_type", models.CharField(max_length=20, verbose_name="state")),
                ("number", models.IntegerField()),
                ("total_ms", models.BigIntegerField()),
                (
                    "access_deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="+"),
                ),
                ("deployment", models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="+")),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="+")),
            ],
            options={
                "ordering": ["-day"],
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["day", "environment", "access_deployment"],
                        include=["deployment", "state_type", "number", "total_ms"],
                        name="deployment_day_counts",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "deployment", "access_deployment", "flow_name", "day", "state_type"),
                        name="unique_deployment_day_count",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EnvironmentDayCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="Of UTC.")),
                ("state_type", models.CharField(max_length=20, verbose_name="state")),
                (
                    "duration_bucket",
                    models.SmallIntegerField(help_text="How long they ran: runs/duration_buckets.py."),
                ),
                ("number", models.IntegerField()),
                ("total_ms", models.BigIntegerField()),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="+")),
            ],
            options={
                "ordering": ["-day"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "day", "state_type", "duration_bucket"),
                        name="unique_environment_day_count",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Sweep",
            fields=[
                (
                    "environment",
                    models.OneToOneField("flows.environment", models.CASCADE, primary_key=True, serialize=False),
                ),
                (
                    "horizon",
                    models.DateTimeField(
                        help_text="Runs that ended before are not read from Prefect any more.", null=True
                    ),
                ),
                ("swept_at", models.DateTimeField(help_text="When the last sweep was complete.", null=True)),
                ("runs", models.BigIntegerField(default=0, help_text="Number of runs deleted so far.")),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="RuleChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "change",
                    models.OneToOneField("runs.changerequest", models.PROTECT, related_name="rule_change"),
                ),
                (
                    "act",
                    models.CharField(
                        help_text="The verb that the audit trail records when it is applied.", max_length=40
                    ),
                ),
                (
                    "subject_id",
                    models.CharField(
                        blank=True, help_text="Primary key of the row; blank for a new one.", max_length=40
                    ),
                ),
                ("subject_name", models.CharField(max_length=650)),
                (
                    "beneficiary",
                    models.CharField(
                        blank=True,
                        help_text="person:KEY or group:KEY, who would gain by it and cannot approve it.",
                        max_length=40,
                    ),
                ),
                (
                    "before",
                    models.JSONField(default=dict, help_text="Columns of the row as they were; empty for a new one."),
                ),
                (
                    "after",
                    models.JSONField(
                        default=dict, help_text="Columns as they would be; empty if the row would be deleted."
                    ),
                ),
                (
                    "sealed_columns",
                    models.BinaryField(default=b"", help_text="Secret columns, before and after, encrypted."),
                ),
                (
                    "loosened",
                    models.JSONField(
                        default=list, help_text="What becomes looser: kind, environment and what, in words."
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(
            "action",
            "change",
            models.ForeignKey(
                "runs.changerequest",
                models.PROTECT,
                help_text="The change request by whose approval it was decided, if it needed one.",
                null=True,
                related_name="actions",
            ),
        ),
        migrations.CreateModel(
            name="ServiceAccount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("purpose", models.CharField(max_length=500)),
                ("created_by_name", models.CharField(editable=False, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=Now(), editable=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=models.PROTECT,
                        related_name="service_accounts",
                        to=USER,
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=models.PROTECT,
                        related_name="service_account",
                        to=USER,
                    ),
                ),
            ],
            options={
                "ordering": ["user__username"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="JobRefusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("issuer", models.CharField(max_length=300)),
                ("code", models.CharField(max_length=100)),
                ("count", models.PositiveIntegerField(default=0)),
                ("recorded_at", models.DateTimeField(null=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("issuer", "code"), name="unique_job_refusal")],
            },
        ),
        migrations.CreateModel(
            name="JobTrust",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(editable=False, max_length=20, unique=True)),
                ("pepper", models.PositiveIntegerField(editable=False)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("name", models.CharField(max_length=100)),
                ("issuer", models.CharField(max_length=300)),
                ("audience", models.CharField(max_length=300)),
                ("claims", models.JSONField()),
                ("token_minutes", models.PositiveIntegerField(verbose_name="minutes that a token is valid")),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                (
                    "created_at",
                    models.DateTimeField(db_default=Now(), editable=False, verbose_name="created"),
                ),
                ("created_by_name", models.CharField(editable=False, max_length=200)),
                ("last_used_at", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("last_job", models.JSONField(default=dict, editable=False)),
                ("revoked_at", models.DateTimeField(editable=False, null=True, verbose_name="revoked")),
                ("revoked_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "created_by",
                    models.ForeignKey(
                        editable=False,
                        on_delete=models.PROTECT,
                        related_name="job_trusts_created",
                        to=USER,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=models.PROTECT,
                        related_name="job_trusts",
                        to=USER,
                        verbose_name="service account",
                    ),
                ),
            ],
            options={
                "verbose_name": "trusted job",
                "ordering": ["-created_at", "-pk"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="Token",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(editable=False, max_length=20, unique=True)),
                ("pepper", models.PositiveIntegerField(editable=False)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("name", models.CharField(max_length=100)),
                (
                    "networks",
                    ArrayField(
                        base_field=models.CharField(max_length=50),
                        blank=True,
                        default=list,
                        verbose_name="allowed networks",
                    ),
                ),
                ("reads_trail", models.BooleanField(default=False, verbose_name="reads the whole audit trail")),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                (
                    "created_at",
                    models.DateTimeField(db_default=Now(), editable=False, verbose_name="created"),
                ),
                ("last_used_at", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("last_used_address", models.CharField(blank=True, editable=False, max_length=64)),
                ("revoked_at", models.DateTimeField(editable=False, null=True, verbose_name="revoked")),
                ("revoked_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "agent",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="tokens",
                        to="runs.agent",
                    ),
                ),
                (
                    "replaces",
                    models.OneToOneField(
                        editable=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="replaced_by",
                        to="runs.token",
                    ),
                ),
                (
                    "job_trust",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="tokens",
                        to="runs.jobtrust",
                    ),
                ),
                ("job", models.JSONField(default=dict, editable=False)),
                (
                    "user",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="tokens", to=USER),
                ),
            ],
            options={
                "ordering": ["-created_at", "-pk"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="TokenScope",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                (
                    "verbs",
                    ArrayField(
                        base_field=models.CharField(
                            choices=VERBS,
                            max_length=20,
                        )
                    ),
                ),
                (
                    "predicate",
                    models.JSONField(blank=True, help_text="JSON Schema that the parameters must satisfy.", null=True),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="%(class)ss",
                        to="flows.environment",
                    ),
                ),
                (
                    "token",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="scopes", to="runs.token"),
                ),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Hook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(editable=False, max_length=20, unique=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(choices=[("standard", "Standard Webhooks"), ("github", "GitHub")], max_length=10),
                ),
                (
                    "mapping",
                    models.JSONField(
                        default=dict,
                        help_text="Parameter -> {pointer}, {pointer, default} or {value}; pointers are RFC 6901.",
                    ),
                ),
                (
                    "predicate",
                    models.JSONField(
                        blank=True,
                        help_text="JSON Schema that a payload must satisfy to request a run.",
                        null=True,
                        verbose_name="condition",
                    ),
                ),
                ("max_bytes", models.PositiveIntegerField(default=262144, verbose_name="largest body")),
                (
                    "valid_until",
                    models.DateTimeField(
                        help_text="Later messages are refused, until its owner renews it.", verbose_name="ends"
                    ),
                ),
                (
                    "reminded_at",
                    models.DateTimeField(
                        editable=False, help_text="When its owner was notified of its end.", null=True
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "obstacle",
                    models.TextField(
                        blank=True,
                        editable=False,
                        help_text="Why its account could not run the deployment when last checked.",
                    ),
                ),
                ("pepper", models.PositiveIntegerField(editable=False)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("created_by_name", models.CharField(editable=False, max_length=200)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=models.PROTECT,
                        related_name="hooks",
                        to="runs.serviceaccount",
                        verbose_name="service account",
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="hooks", to="flows.deployment"),
                ),
                ("owner", models.ForeignKey(on_delete=models.PROTECT, related_name="hooks", to=USER)),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="HookSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sealed_text", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("created_by_name", models.CharField(editable=False, max_length=200)),
                ("last_used_at", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("hook", models.ForeignKey(on_delete=models.PROTECT, related_name="secrets", to="runs.hook")),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="HookDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("message_id", models.CharField(max_length=255)),
                ("replay_key", models.CharField(editable=False, max_length=64, null=True)),
                ("received_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="received")),
                (
                    "outcome",
                    models.CharField(
                        choices=[("accepted", "accepted"), ("ignored", "ignored"), ("refused", "refused")],
                        max_length=10,
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        blank=True, help_text="Why it was ignored or refused, for programs.", max_length=60
                    ),
                ),
                ("message", models.TextField(blank=True, help_text="Why it was ignored or refused, for people.")),
                ("address", models.CharField(blank=True, max_length=64)),
                ("body_digest", models.CharField(help_text="SHA-256 of the body.", max_length=64)),
                ("size", models.PositiveIntegerField(help_text="Bytes of the body.")),
                ("attempts", models.PositiveIntegerField(default=1, help_text="How often the sender sent it.")),
                ("hook", models.ForeignKey(on_delete=models.PROTECT, related_name="deliveries", to="runs.hook")),
                (
                    "run_request",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="hook_deliveries", to="runs.runrequest"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "hook deliveries",
                "ordering": ["-received_at", "-pk"],
                "default_permissions": (),
                "indexes": [models.Index(fields=["hook", "-received_at"], name="hook_deliveries_by_time")],
                "constraints": [
                    models.UniqueConstraint(fields=("hook", "message_id"), name="unique_message_per_hook"),
                    models.UniqueConstraint(fields=("hook", "replay_key"), name="unique_body_per_hook"),
                ],
            },
        ),
        migrations.CreateModel(
            name="HookRefusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("code", models.CharField(max_length=60)),
                ("number", models.PositiveBigIntegerField(default=1)),
                ("last_at", models.DateTimeField()),
                ("last_address", models.CharField(blank=True, max_length=64)),
                ("recorded_at", models.DateTimeField(null=True)),
                ("recorded_number", models.PositiveBigIntegerField(default=0)),
                ("hook", models.ForeignKey(on_delete=models.PROTECT, related_name="refusals", to="runs.hook")),
            ],
            options={
                "ordering": ["-day", "code"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("hook", "day", "code"), name="unique_refusal_per_hook_and_day")
                ],
            },
        ),
        migrations.CreateModel(
            name="JobTrustScope",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                (
                    "verbs",
                    ArrayField(
                        base_field=models.CharField(
                            choices=VERBS,
                            max_length=20,
                        )
                    ),
                ),
                (
                    "predicate",
                    models.JSONField(blank=True, help_text="JSON Schema that the parameters must satisfy.", null=True),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="%(class)ss",
                        to="flows.environment",
                    ),
                ),
                (
                    "job_trust",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="scopes", to="runs.jobtrust"),
                ),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Pin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "full_name",
                    models.CharField(help_text="flow name/deployment name", max_length=601, verbose_name="deployment"),
                ),
                ("pinned_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="pinned")),
                ("environment", models.ForeignKey(on_delete=models.CASCADE, related_name="+", to="flows.environment")),
                ("owner", models.ForeignKey(on_delete=models.CASCADE, related_name="pins", to=USER)),
            ],
            options={
                "ordering": ["full_name", "pk"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "environment", "full_name"), name="unique_pin_per_owner_and_deployment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Preset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "full_name",
                    models.CharField(help_text="flow name/deployment name", max_length=601, verbose_name="deployment"),
                ),
                ("name", models.CharField(max_length=100)),
                ("is_shared", models.BooleanField(default=False, verbose_name="shared")),
                (
                    "parameters",
                    models.JSONField(
                        default=dict, help_text="Without secrets, and without what is left at its default."
                    ),
                ),
                (
                    "profile",
                    models.CharField(
                        blank=True, help_text="Its name; blank: none.", max_length=100, verbose_name="resource profile"
                    ),
                ),
                (
                    "schema_fingerprint",
                    models.CharField(help_text="Of the deployment when the values were saved.", max_length=64),
                ),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("changed_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="changed")),
                (
                    "environment",
                    models.ForeignKey(on_delete=models.CASCADE, related_name="presets", to="flows.environment"),
                ),
                ("owner", models.ForeignKey(on_delete=models.PROTECT, related_name="presets", to=USER)),
            ],
            options={
                "ordering": ["full_name", "name", "pk"],
                "default_permissions": ["view"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "full_name", "owner", "name"),
                        name="unique_preset_per_owner_and_deployment",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "rule_type",
                    models.CharField(
                        choices=[
                            ("cron", "Cron expression"),
                            ("interval", "Interval"),
                            ("rrule", "Recurrence rule"),
                        ],
                        max_length=10,
                        verbose_name="type",
                    ),
                ),
                ("rule", models.CharField(max_length=500)),
                ("time_zone", models.CharField(max_length=60)),
                ("anchor", models.DateTimeField(help_text="Where an interval starts to count.", null=True)),
                (
                    "catch_up",
                    models.CharField(
                        choices=[("none", "Skip them"), ("last", "Start the last one"), ("all", "Start all of them")],
                        default="none",
                        max_length=10,
                        verbose_name="missed starts",
                    ),
                ),
                ("valid_until", models.DateTimeField(verbose_name="ends")),
                (
                    "native",
                    models.JSONField(
                        default=dict,
                        help_text="If Prefect keeps it: its slug, rule and parameters there. Empty if the portal keeps it.",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now(), verbose_name="requested")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for approval"),
                            ("active", "Active"),
                            ("paused", "Paused"),
                            ("ended", "Ended"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        blank=True, help_text="Why it is paused or has ended, for programs.", max_length=40
                    ),
                ),
                ("message", models.TextField(blank=True, help_text="One sentence that explains the state.")),
                ("changed_at", models.DateTimeField(db_default=Now())),
                (
                    "changed_by_name",
                    models.CharField(blank=True, help_text="Blank if the portal did it.", max_length=200),
                ),
                ("activated_at", models.DateTimeField(null=True)),
                (
                    "next_due",
                    models.DateTimeField(help_text="The next start; null while it is not active.", null=True),
                ),
                ("last_due", models.DateTimeField(help_text="The last start that it requested.", null=True)),
                (
                    "missed",
                    models.PositiveIntegerField(
                        default=0, help_text="Starts that were skipped: the portal was down when they were due."
                    ),
                ),
                ("missed_at", models.DateTimeField(help_text="When the last of them was due.", null=True)),
                (
                    "reminded_at",
                    models.DateTimeField(help_text="When its owner was notified that it ends soon.", null=True),
                ),
                (
                    "drift",
                    models.JSONField(
                        default=list, help_text="In what Prefect's schedule differs from what was approved."
                    ),
                ),
                (
                    "drifted_at",
                    models.DateTimeField(help_text="Since when it is known to differ.", null=True),
                ),
                (
                    "change",
                    models.OneToOneField(on_delete=models.PROTECT, related_name="schedule", to="runs.changerequest"),
                ),
                (
                    "deployment",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="portal_schedules", to="flows.deployment"),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        db_index=False, on_delete=models.PROTECT, related_name="schedules", to="flows.environment"
                    ),
                ),
                (
                    "replaces",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="replacements", to="runs.schedule"
                    ),
                ),
                (
                    "spec",
                    models.OneToOneField(on_delete=models.PROTECT, related_name="schedule", to="runs.runspec"),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(condition=models.Q(("state", "active")), fields=["next_due"], name="schedules_due"),
                    models.Index(condition=models.Q(("state", "waiting")), fields=["change"], name="schedules_waiting"),
                    models.Index(fields=["environment", "name", "id"], name="schedules_by_environment"),
                    models.Index(
                        condition=models.Q(("native", {}), _negated=True),
                        fields=["environment", "id"],
                        name="native_schedules",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_due__isnull", False), ("state", "active")),
                            models.Q(models.Q(("state", "active"), _negated=True), ("next_due", None)),
                            _connector="OR",
                        ),
                        name="active_schedules_are_due",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="action",
            name="schedule",
            field=models.ForeignKey(
                help_text="The schedule that Prefect keeps.",
                null=True,
                on_delete=models.PROTECT,
                related_name="actions",
                to="runs.schedule",
            ),
        ),
        migrations.AddConstraint(
            model_name="action",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["cancel", "force", "put back", "fail", "retry"]),
                        ("run__isnull", False),
                        ("deployment__isnull", True),
                        ("global_limit__isnull", True),
                        ("pool__isnull", True),
                        ("queue__isnull", True),
                    ),
                    models.Q(
                        ("kind__in", ["pause", "resume", "limit"]),
                        ("run__isnull", True),
                        models.Q(
                            models.Q(
                                ("deployment__isnull", False),
                                ("global_limit__isnull", True),
                                ("pool__isnull", True),
                                ("queue__isnull", True),
                            ),
                            models.Q(
                                ("deployment__isnull", True),
                                ("global_limit__isnull", True),
                                ("pool__isnull", False),
                                ("queue__isnull", True),
                            ),
                            models.Q(
                                ("deployment__isnull", True),
                                ("global_limit__isnull", True),
                                ("pool__isnull", True),
                                ("queue__isnull", False),
                            ),
                            models.Q(
                                ("deployment__isnull", True),
                                ("global_limit__isnull", False),
                                ("pool__isnull", True),
                                ("queue__isnull", True),
                            ),
                            _connector="OR",
                        ),
                    ),
                    models.Q(
                        ("kind__in", ["schedule"]),
                        ("run__isnull", True),
                        ("schedule__isnull", False),
                        ("deployment__isnull", False),
                        ("global_limit__isnull", True),
                        ("pool__isnull", True),
                        ("queue__isnull", True),
                    ),
                    models.Q(
                        ("kind__in", ["pause one", "resume one"]),
                        ("prefect_schedule__isnull", False),
                        ("run__isnull", True),
                        ("deployment__isnull", False),
                        ("global_limit__isnull", True),
                        ("pool__isnull", True),
                        ("queue__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="action_has_its_target",
            ),
        ),
        migrations.AddConstraint(
            model_name="action",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["schedule"]), ("state__in", ["wanted", "sent"])),
                fields=("schedule",),
                name="unique_open_save_per_schedule",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="schedule",
            field=models.ForeignKey(
                db_index=False,
                help_text="The approved schedule by which Prefect started it, if Prefect keeps that for the portal.",
                null=True,
                on_delete=models.PROTECT,
                related_name="runs",
                to="runs.schedule",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("schedule__isnull", False)),
                fields=["schedule", "-sort_at", "-id"],
                name="runs_by_schedule",
            ),
        ),
        migrations.AddField(
            model_name="changerequest",
            name="occurrence_of",
            field=models.ForeignKey(
                db_index=False,
                help_text="The schedule of which this is one run, if each of its runs is approved.",
                null=True,
                on_delete=models.PROTECT,
                related_name="occurrences",
                to="runs.schedule",
            ),
        ),
        migrations.AddIndex(
            model_name="changerequest",
            index=models.Index(
                condition=models.Q(("occurrence_of__isnull", False)),
                fields=["occurrence_of", "-id"],
                name="changes_by_schedule",
            ),
        ),
        migrations.CreateModel(
            name="Chain",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("description", models.CharField(blank=True, max_length=500)),
                (
                    "number",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of its newest version.", verbose_name="version"
                    ),
                ),
                (
                    "is_enabled",
                    models.BooleanField(
                        default=True, help_text="Steps of a disabled chain do not start.", verbose_name="enabled"
                    ),
                ),
                (
                    "valid_until",
                    models.DateTimeField(help_text="Then it cannot be run, until it is renewed.", verbose_name="ends"),
                ),
                (
                    "reminded_at",
                    models.DateTimeField(
                        editable=False, help_text="When its owner was notified of its end.", null=True
                    ),
                ),
                (
                    "obstacle",
                    models.TextField(
                        blank=True,
                        editable=False,
                        help_text="Why its owner could not run every step when last checked.",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("created_by_name", models.CharField(editable=False, max_length=200, verbose_name="created by")),
                (
                    "environment",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="chains", to="flows.environment"),
                ),
                (
                    "owner",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="chains", to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": ["view"],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="unique_chain_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChainVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("definition", models.JSONField(help_text="Inputs and steps: runs/automation/chain_definition.py.")),
                ("digest", models.CharField(help_text="SHA-256 over the definition.", max_length=64)),
                ("saved_at", models.DateTimeField(db_default=Now(), verbose_name="saved")),
                ("saved_by_name", models.CharField(max_length=200, verbose_name="saved by")),
                ("chain", models.ForeignKey(on_delete=models.PROTECT, related_name="versions", to="runs.chain")),
            ],
            options={
                "ordering": ["-number"],
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("chain", "number"), name="unique_number_per_chain")],
            },
        ),
        migrations.CreateModel(
            name="ChainStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("key", models.CharField(max_length=40)),
                (
                    "deployment",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="chain_steps", to="flows.deployment"),
                ),
                ("version", models.ForeignKey(on_delete=models.PROTECT, related_name="steps", to="runs.chainversion")),
            ],
            options={
                "ordering": ["version", "position"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("version", "position"), name="unique_position_per_version")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChainRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "inputs",
                    models.JSONField(
                        default=dict, help_text="Without those of secret parameters: they are in the specs."
                    ),
                ),
                (
                    "change",
                    models.OneToOneField(on_delete=models.PROTECT, related_name="chain_run", to="runs.changerequest"),
                ),
                (
                    "version",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="chain_runs", to="runs.chainversion"),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="StepDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_allowed", models.BooleanField()),
                ("by_name", models.CharField(max_length=200)),
                ("at", models.DateTimeField(db_default=Now())),
                ("reason", models.CharField(blank=True, max_length=1000)),
                (
                    "signature",
                    models.CharField(blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.", max_length=80),
                ),
                ("by", models.ForeignKey(on_delete=models.PROTECT, related_name="+", to=USER)),
                (
                    "change",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="step_decisions", to="runs.changerequest"),
                ),
                (
                    "run_request",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="step_decisions", to="runs.runrequest"),
                ),
            ],
            options={
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="EventRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("key", models.CharField(editable=False, max_length=20, unique=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("run", "A run ended"),
                            ("artifact", "A run published an artifact"),
                            ("delivery", "A hook received a message"),
                            ("event", "A program posted an event"),
                        ],
                        max_length=10,
                        verbose_name="when",
                    ),
                ),
                (
                    "states",
                    ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("CANCELLED", "Cancelled"),
                                ("COMPLETED", "Completed"),
                                ("CRASHED", "Crashed"),
                                ("FAILED", "Failed"),
                            ],
                            max_length=20,
                        ),
                        blank=True,
                        default=list,
                        help_text="States in which a run must end; of a run only.",
                    ),
                ),
                ("artifact_key", models.CharField(blank=True, max_length=300)),
                ("event_name", models.CharField(blank=True, max_length=100)),
                (
                    "conditions",
                    models.JSONField(
                        default=list, help_text="Comparisons, all of which must hold: pointer, is, value."
                    ),
                ),
                (
                    "mapping",
                    models.JSONField(
                        default=dict,
                        help_text="Parameter -> {pointer}, {pointer, default} or {value}; pointers are RFC 6901.",
                    ),
                ),
                (
                    "debounce_seconds",
                    models.PositiveIntegerField(
                        default=0, validators=[MaxValueValidator(86400)], verbose_name="debounce"
                    ),
                ),
                ("per_hour", models.PositiveIntegerField(verbose_name="requests an hour")),
                (
                    "valid_until",
                    models.DateTimeField(
                        help_text="Later events are ignored, until its owner renews it.", verbose_name="ends"
                    ),
                ),
                (
                    "reminded_at",
                    models.DateTimeField(
                        editable=False, help_text="When its owner was notified of its end.", null=True
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "obstacle",
                    models.TextField(
                        blank=True,
                        editable=False,
                        help_text="Why its owner could not run the deployment when last checked.",
                    ),
                ),
                ("paused_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                ("paused_why", models.CharField(blank=True, editable=False, max_length=1000)),
                ("match_key", models.CharField(editable=False, max_length=650)),
                ("pepper", models.PositiveIntegerField(editable=False)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False, verbose_name="created")),
                ("deleted_at", models.DateTimeField(editable=False, null=True)),
                (
                    "deployment",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="event_rules", to="flows.deployment"),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="%(class)ss"
                    ),
                ),
                (
                    "hook",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="event_rules",
                        to="runs.hook",
                    ),
                ),
                ("owner", models.ForeignKey(on_delete=models.PROTECT, related_name="event_rules", to=USER)),
                (
                    "token",
                    models.ForeignKey(
                        editable=False,
                        help_text="With which a program saved it: it acts within its scopes, as long as it is valid.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="event_rules",
                        to="runs.token",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(
                        condition=models.Q(is_enabled=True), fields=["match_key"], name="enabled_rules_by_match_key"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RuleFiring",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.BigIntegerField()),
                ("run_id", models.BigIntegerField(null=True)),
                ("source", models.CharField(help_text="What happened, in words.", max_length=700)),
                ("occurred_at", models.DateTimeField()),
                ("matched_at", models.DateTimeField(db_default=Now())),
                ("due_at", models.DateTimeField(help_text="When it is acted on: after the debounce.", null=True)),
                (
                    "waiting_since",
                    models.DateTimeField(help_text="Of the first event that the debounce holds back.", null=True),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("requested", "Requested"),
                            ("skipped", "Skipped"),
                            ("refused", "Refused"),
                            ("failed", "Failed"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "code",
                    models.CharField(blank=True, help_text="Why there is no request, for programs.", max_length=60),
                ),
                ("message", models.TextField(blank=True, help_text="Why there is no request, for people.")),
                (
                    "events",
                    models.PositiveIntegerField(
                        default=1, help_text="How many events it stands for; the last one is named."
                    ),
                ),
                ("ancestors", ArrayField(base_field=models.BigIntegerField(), default=list)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=models.PROTECT, related_name="firings", to="runs.eventrule"
                    ),
                ),
                (
                    "run_request",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="rule_firings", to="runs.runrequest"
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["rule", "-id"], name="firings_by_rule"),
                    models.Index(condition=models.Q(outcome="waiting"), fields=["due_at"], name="waiting_firings"),
                    models.Index(
                        condition=models.Q(outcome__in=["requested", "refused"]),
                        fields=["rule", "decided_at"],
                        name="counted_firings",
                    ),
                    models.Index(fields=["matched_at"], name="firings_by_age"),
                ],
                "constraints": [models.UniqueConstraint(fields=("rule", "event_id"), name="unique_event_per_rule")],
            },
        ),
        migrations.CreateModel(
            name="FailureGroup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "flow_name",
                    models.CharField(blank=True, help_text="Decides where there is no deployment.", max_length=300),
                ),
                (
                    "what",
                    models.CharField(
                        help_text="The deployment, or the flow, that failed.",
                        max_length=601,
                        verbose_name="deployment",
                    ),
                ),
                ("fingerprint", models.CharField(max_length=64)),
                (
                    "task_name",
                    models.CharField(
                        blank=True, help_text="The task that failed first.", max_length=300, verbose_name="task"
                    ),
                ),
                ("exception", models.CharField(blank=True, max_length=200)),
                (
                    "pattern",
                    models.CharField(blank=True, help_text="The message without what varies.", max_length=500),
                ),
                ("message", models.TextField(blank=True, help_text="The message of the newest failure.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("known", "Known"),
                            ("muted", "Muted"),
                            ("resolved", "Resolved"),
                            ("regressed", "Regressed"),
                        ],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("state_at", models.DateTimeField(db_default=Now(), verbose_name="state since")),
                ("state_by_name", models.CharField(blank=True, max_length=200, verbose_name="state set by")),
                (
                    "reason",
                    models.CharField(blank=True, help_text="Why it is muted or resolved.", max_length=1000),
                ),
                ("muted_until", models.DateTimeField(null=True)),
                ("number", models.PositiveIntegerField(default=0, verbose_name="failures")),
                ("first_seen_at", models.DateTimeField(verbose_name="first seen")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                (
                    "access_deployment",
                    models.ForeignKey(
                        "flows.deployment",
                        models.PROTECT,
                        db_index=False,
                        help_text="Whose grants decide who sees it: that of the newest run in it.",
                        null=True,
                        related_name="failure_groups",
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.PROTECT, db_index=False, related_name="failure_groups"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        USER, models.SET_NULL, null=True, related_name="failure_groups", verbose_name="owner"
                    ),
                ),
            ],
            options={
                "verbose_name": "failure group",
                "ordering": ["-last_seen_at", "-pk"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["-last_seen_at", "-id"], name="failures_by_last_seen"),
                    models.Index(fields=["access_deployment", "-last_seen_at"], name="failures_by_deployment"),
                    HashIndex(fields=["pattern"], name="failures_by_pattern"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "fingerprint"), name="unique_failure_per_environment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FailureDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="In the portal's time zone.")),
                ("number", models.PositiveIntegerField()),
                (
                    "group",
                    models.ForeignKey("runs.failuregroup", models.CASCADE, db_index=False, related_name="days"),
                ),
            ],
            options={
                "ordering": ["day"],
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("group", "day"), name="unique_day_per_failure")],
            },
        ),
        migrations.CreateModel(
            name="FailureAct",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("appeared", "First failure"),
                            ("regressed", "Failed again after it was resolved"),
                            ("acknowledged", "Marked as known"),
                            ("muted", "Muted"),
                            ("resolved", "Resolved"),
                            ("owned", "Changed the owner"),
                            ("noted", "Note"),
                        ],
                        max_length=20,
                    ),
                ),
                ("by_name", models.CharField(blank=True, help_text="Blank: the portal.", max_length=200)),
                ("text", models.CharField(blank=True, max_length=1000)),
                ("at", models.DateTimeField(db_default=Now())),
                ("group", models.ForeignKey("runs.failuregroup", models.CASCADE, related_name="acts")),
            ],
            options={"ordering": ["-at", "-pk"], "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="FailedRun",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        "runs.run", models.CASCADE, primary_key=True, related_name="failure", serialize=False
                    ),
                ),
                ("state_id", models.UUIDField(null=True)),
                (
                    "message",
                    models.TextField(blank=True, help_text="That of the state, before the run can move on."),
                ),
                ("failed_at", models.DateTimeField(help_text="By the clock of Prefect.")),
                ("seen_at", models.DateTimeField(help_text="When the mirror read it.")),
                (
                    "group",
                    models.ForeignKey(
                        "runs.failuregroup", models.CASCADE, db_index=False, null=True, related_name="failed_runs"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["group", "-failed_at"], name="failed_runs_by_group"),
                    models.Index(condition=models.Q(("group", None)), fields=["seen_at"], name="failed_runs_to_group"),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("topics", ArrayField(base_field=models.CharField(choices=TOPICS, max_length=20))),
                ("match_key", models.CharField(editable=False, max_length=620)),
                (
                    "after_minutes",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Of requests that nobody has decided after so many minutes, once; 0 = of everything, "
                        "at once.",
                        verbose_name="after (minutes)",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now(), verbose_name="created")),
                ("created_by_name", models.CharField(max_length=200)),
                ("removed_at", models.DateTimeField(null=True, verbose_name="removed")),
                ("removed_by_name", models.CharField(blank=True, max_length=200)),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment", models.CASCADE, blank=True, null=True, related_name="%(class)ss"
                    ),
                ),
                (
                    "group",
                    models.ForeignKey("auth.group", models.CASCADE, null=True, related_name="notification_rules"),
                ),
                ("person", models.ForeignKey(USER, models.CASCADE, null=True, related_name="notification_rules")),
                (
                    "channel",
                    models.ForeignKey("runs.channel", models.PROTECT, null=True, related_name="notification_rules"),
                ),
            ],
            options={
                "verbose_name": "notification rule",
                "ordering": ["-created_at", "-pk"],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("removed_at", None)), fields=["match_key"], name="notification_rules_by_key"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("channel", None), ("group", None), ("person__isnull", False)),
                            models.Q(("channel", None), ("group__isnull", False), ("person", None)),
                            models.Q(("channel__isnull", False), ("group", None), ("person", None)),
                            _connector="OR",
                        ),
                        name="notification_rule_has_one_receiver",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Escalation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "stage",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Index of the approval stage, starting at 0."
                    ),
                ),
                ("at", models.DateTimeField(db_default=Now())),
                ("change", models.ForeignKey("runs.changerequest", models.CASCADE, related_name="escalations")),
                (
                    "rule",
                    models.ForeignKey(
                        "runs.notificationrule", models.CASCADE, related_name="escalations", db_index=False
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("rule", "change", "stage"), name="one_escalation_per_stage")
                ],
            },
        ),
        migrations.CreateModel(
            name="SignOnIdentity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("issuer", models.CharField(max_length=300)),
                ("subject", models.CharField(help_text="Claim sub.", max_length=255)),
                ("email", models.EmailField(help_text="The address by which the account was found.", max_length=254)),
                ("connected_at", models.DateTimeField(db_default=Now())),
                ("person", models.OneToOneField(USER, models.CASCADE, related_name="sign_on_identity")),
            ],
            options={
                "verbose_name": "single sign-on",
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("issuer", "subject"), name="unique_sign_on_subject")],
            },
        ),
        migrations.CreateModel(
            name="EmailSettings",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        USER, models.CASCADE, primary_key=True, related_name="email_settings", serialize=False
                    ),
                ),
                ("quiet_from", models.TimeField(help_text="In the zone of the person.", null=True)),
                ("quiet_until", models.TimeField(null=True)),
                (
                    "digest",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "At once"),
                            ("hourly", "Every hour, in one email"),
                            ("daily", "Every day, in one email"),
                        ],
                        max_length=10,
                    ),
                ),
                ("digest_hour", models.PositiveSmallIntegerField(default=8)),
                (
                    "merge_minutes",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Messages about the same subject and topic within this time are one. 0 = never.",
                    ),
                ),
                (
                    "urgent_at_once",
                    models.BooleanField(default=True, help_text="Approvals and overrides are sent at once."),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="ConnectionTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("requested_by", models.ForeignKey(USER, models.CASCADE, related_name="+")),
                ("requested_at", models.DateTimeField(db_default=Now())),
                ("api_url", models.CharField(max_length=500)),
                (
                    "credential_kind",
                    models.CharField(
                        choices=[("none", "none"), ("basic", "user:password"), ("key", "Cloud API key")], max_length=10
                    ),
                ),
                ("sealed_credential", models.BinaryField(blank=True, default=b"")),
                ("server", models.ForeignKey("flows.server", models.CASCADE, null=True, related_name="+")),
                ("finished_at", models.DateTimeField(null=True)),
                ("is_connected", models.BooleanField(default=False)),
                ("code", models.CharField(blank=True, help_text="What went wrong, for programs.", max_length=60)),
                ("message", models.TextField(blank=True, help_text="What went wrong, and what to do.")),
                ("version", models.CharField(blank=True, max_length=40)),
            ],
            options={
                "ordering": ["-pk"],
                "default_permissions": (),
                "indexes": [models.Index(fields=["requested_at"], name="connection_test_by_time")],
            },
        ),
        migrations.CreateModel(
            name="Outage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("message", models.TextField(blank=True)),
                ("began_at", models.DateTimeField(help_text="When a check first failed.")),
                ("ended_at", models.DateTimeField(help_text="When a check succeeded again.", null=True)),
                (
                    "environment",
                    models.ForeignKey("flows.environment", models.CASCADE, related_name="outages"),
                ),
            ],
            options={
                "ordering": ["-began_at", "-pk"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("environment",),
                        name="one_open_outage_per_environment",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Drift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("left_name", models.CharField(max_length=601, verbose_name="deployment")),
                ("right_name", models.CharField(max_length=601)),
                ("identity", models.CharField(max_length=64, unique=True)),
                (
                    "kinds",
                    ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("version", "Version"),
                                ("code", "Code"),
                                ("schema", "Parameter schema"),
                                ("defaults", "Default parameters"),
                                ("job variables", "Job variables"),
                                ("work pool", "Work pool"),
                                ("schedules", "Schedules in Prefect"),
                                ("portal schedules", "Schedules in the portal"),
                                ("limits", "Concurrency limit"),
                                ("tags", "Tags"),
                            ],
                            max_length=20,
                        ),
                        default=list,
                    ),
                ),
                ("since", models.JSONField(default=dict, help_text="kind -> at, side, is_exact: runs.drift.since.")),
                ("changed_at", models.DateTimeField(help_text="When the newest of its differences began.")),
                ("left_inputs", models.CharField(max_length=100)),
                ("right_inputs", models.CharField(max_length=100)),
                ("left", models.ForeignKey("flows.deployment", models.PROTECT, related_name="+")),
                ("right", models.ForeignKey("flows.deployment", models.PROTECT, related_name="+")),
                ("left_environment", models.ForeignKey("flows.environment", models.PROTECT, related_name="+")),
                ("right_environment", models.ForeignKey("flows.environment", models.PROTECT, related_name="+")),
            ],
            options={
                "verbose_name": "difference",
                "verbose_name_plural": "differences",
                "ordering": ["-changed_at", "-pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("kinds", []), _negated=True),
                        fields=["-changed_at", "-id"],
                        name="drift_newest",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Bypass",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("schedule", "Schedule in Prefect"),
                            ("automation", "Automation in Prefect"),
                            ("code", "Code changed since the last approval"),
                        ],
                        max_length=20,
                    ),
                ),
                ("identity", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=650)),
                ("detail", models.TextField(blank=True)),
                ("found_at", models.DateTimeField()),
                ("gone_at", models.DateTimeField(help_text="When it was no longer there.", null=True)),
                (
                    "deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, null=True, related_name="bypasses"),
                ),
                ("environment", models.ForeignKey("flows.environment", models.PROTECT, related_name="bypasses")),
            ],
            options={
                "verbose_name": "bypass",
                "verbose_name_plural": "bypasses",
                "ordering": ["-found_at", "-pk"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("gone_at", None)),
                        fields=("environment", "kind", "identity"),
                        name="unique_open_bypass",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ResourceProfile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("pool_name", models.CharField(blank=True, max_length=300, verbose_name="work pool")),
                ("pool_type", models.CharField(blank=True, max_length=100, verbose_name="type of work pool")),
                (
                    "work_queue",
                    models.CharField(blank=True, help_text="Blank: the queue of the deployment.", max_length=300),
                ),
                (
                    "job_variables",
                    models.JSONField(default=dict, help_text="They replace those of the deployment."),
                ),
                (
                    "groups",
                    ArrayField(
                        base_field=models.CharField(max_length=150),
                        blank=True,
                        default=list,
                        help_text="Empty: everyone.",
                    ),
                ),
                ("allows_agents", models.BooleanField(default=False, verbose_name="for AI agents")),
                ("created_at", models.DateTimeField(db_default=Now(), verbose_name="created")),
                ("created_by_name", models.CharField(max_length=200)),
                ("removed_at", models.DateTimeField(null=True, verbose_name="removed")),
                ("removed_by_name", models.CharField(blank=True, max_length=200)),
                (
                    "environment",
                    models.ForeignKey("flows.environment", models.PROTECT, related_name="resource_profiles"),
                ),
            ],
            options={
                "verbose_name": "resource profile",
                "ordering": ["name", "-pk"],
                "default_permissions": ["view"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "name"),
                        condition=models.Q(removed_at=None),
                        name="unique_profile_per_environment",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(pool_name="", pool_type__gt="") | models.Q(pool_name__gt="", pool_type=""),
                        name="profile_has_pool_or_type",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ServiceLevel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="Blank: all deployments.", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("tag", models.CharField(blank=True, help_text="Blank: with any tags.", max_length=300)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("late", "Starts late"),
                            ("long", "Runs too long"),
                            ("unusual", "Runs longer than usual"),
                            ("silent", "Did not complete"),
                            ("failing", "Fails too often"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "threshold",
                    models.FloatField(help_text="In the unit of its kind: minutes, times, hours or percent."),
                ),
                (
                    "days",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Of which runs the share is taken; 0 for other kinds."
                    ),
                ),
                ("runbook", models.URLField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(db_default=Now(), verbose_name="created")),
                ("created_by_name", models.CharField(max_length=200)),
                ("removed_at", models.DateTimeField(null=True, verbose_name="removed")),
                ("removed_by_name", models.CharField(blank=True, max_length=200)),
                ("environment", models.ForeignKey("flows.environment", models.PROTECT, related_name="service_levels")),
                ("owner", models.ForeignKey(USER, models.SET_NULL, null=True, related_name="service_levels")),
            ],
            options={
                "verbose_name": "service level",
                "ordering": ["-created_at", "-pk"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="Breach",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.FloatField(help_text="When it was opened, in the unit of the threshold.")),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("cleared_at", models.DateTimeField(null=True, verbose_name="cleared")),
                (
                    "deployment",
                    models.ForeignKey("flows.deployment", models.PROTECT, db_index=False, related_name="breaches"),
                ),
                ("level", models.ForeignKey("runs.servicelevel", models.PROTECT, related_name="breaches")),
            ],
            options={
                "verbose_name_plural": "breaches",
                "ordering": ["-opened_at", "-pk"],
                "default_permissions": (),
                "indexes": [models.Index(fields=["deployment", "-opened_at"], name="breaches_by_deployment")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("cleared_at", None)),
                        fields=("level", "deployment"),
                        name="unique_open_breach",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ReportedRun",
            fields=[],
            options={
                "verbose_name": "reported run",
                "ordering": ["-sort_at", "-pk"],
                "default_permissions": (),
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("runs.run",),
        ),
    ]
