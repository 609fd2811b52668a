"""What can run: environments, deployments and the rows that belong to them."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import validate_slug
from django.db import migrations, models

from flows.models.server import validate_address


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Server",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "api_url",
                    models.CharField(
                        help_text="Ends in /api for a self-hosted server, for example http://prefect:4200/api.",
                        max_length=500,
                        validators=[validate_address],
                        verbose_name="API URL",
                    ),
                ),
                (
                    "ui_url",
                    models.CharField(
                        blank=True,
                        help_text="URL of the Prefect UI. Blank = the API URL without /api.",
                        max_length=500,
                        validators=[validate_address],
                        verbose_name="UI URL",
                    ),
                ),
                (
                    "credential_kind",
                    models.CharField(
                        choices=[("none", "none"), ("basic", "user:password"), ("key", "Cloud API key")],
                        default="none",
                        max_length=10,
                        verbose_name="credential type",
                    ),
                ),
                ("sealed_credential", models.BinaryField(blank=True, default=b"")),
            ],
        ),
        migrations.CreateModel(
            name="Environment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.CharField(
                        error_messages={"invalid": "Use letters, digits, hyphens and underscores only."},
                        max_length=40,
                        unique=True,
                        validators=[validate_slug],
                        verbose_name="name",
                    ),
                ),
                (
                    "display_name",
                    models.CharField(
                        blank=True, help_text="Shown on pages; any text. Blank = the name.", max_length=80
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                ("server", models.ForeignKey("flows.server", models.PROTECT, related_name="environments")),
                (
                    "scope_kind",
                    models.CharField(
                        choices=[
                            ("server", "the whole server"),
                            ("pools", "work pools"),
                            ("tags", "tags"),
                            ("names", "name patterns"),
                        ],
                        default="server",
                        help_text="Deployments of the server that belong to this environment: all of them, or those with one of these "
                        "work pools, tags or name patterns.",
                        max_length=10,
                        verbose_name="scope",
                    ),
                ),
                (
                    "scope_values",
                    ArrayField(
                        base_field=models.CharField(max_length=300),
                        blank=True,
                        default=list,
                        help_text="Names of work pools, tags, or patterns of full names such as crm-*/*.",
                        verbose_name="scope values",
                    ),
                ),
                (
                    "is_protected",
                    models.BooleanField(
                        default=False,
                        help_text="Only grants that name this environment apply; grants for all environments do not.",
                        verbose_name="protected",
                    ),
                ),
                (
                    "needs_approval",
                    models.BooleanField(
                        default=False,
                        help_text="Runs need approval by someone other than the requester.",
                        verbose_name="require approval",
                    ),
                ),
                (
                    "needs_reason",
                    models.BooleanField(
                        default=False,
                        help_text="A reason is required to run a deployment or cancel a run.",
                        verbose_name="require a reason",
                    ),
                ),
                (
                    "approval_minutes",
                    models.PositiveIntegerField(
                        default=480,
                        help_text="Minutes after which a request without approval expires.",
                        verbose_name="approval timeout",
                    ),
                ),
                (
                    "independence_hours",
                    models.PositiveSmallIntegerField(
                        default=24,
                        help_text="Hours. An approval does not count if its approver or requester was created or changed by the other within this time before the request. 0 = off.",
                        verbose_name="independence window",
                    ),
                ),
                (
                    "pending_minutes",
                    models.PositiveIntegerField(
                        default=5,
                        help_text="Minutes after which a Pending run without a process counts as stalled. 0 = never.",
                        verbose_name="pending limit",
                    ),
                ),
                (
                    "late_minutes",
                    models.PositiveIntegerField(
                        default=15,
                        help_text="Minutes after its start time from which a run that no worker has picked up counts as "
                        "stalled. 0 = never.",
                        verbose_name="late limit",
                    ),
                ),
                (
                    "silent_minutes",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Minutes without a heartbeat, log line or task change after which a Running run counts "
                        "as stalled. 0 = never.",
                        verbose_name="silence limit",
                    ),
                ),
                (
                    "cancelling_minutes",
                    models.PositiveIntegerField(
                        default=10,
                        help_text="Minutes after which a cancellation that has not taken effect counts as stalled. "
                        "0 = never.",
                        verbose_name="cancelling limit",
                    ),
                ),
                (
                    "puts_back",
                    models.BooleanField(
                        default=True,
                        help_text="Puts a stalled Pending run back to Scheduled once if its worker is offline and started "
                        "no process. Never in a protected environment.",
                        verbose_name="put back automatically",
                    ),
                ),
                (
                    "keep_runs_days",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Days after its end at which a run is deleted here, with its states, tasks, log and "
                        "artifacts. Its request and the counts keep its result. 0 = keep forever.",
                        verbose_name="keep runs",
                    ),
                ),
                (
                    "keep_events_days",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Days after which events that were handled and notifications that were sent are "
                        "deleted. 0 = keep forever.",
                        verbose_name="keep events and notifications",
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0, verbose_name="sort order")),
                ("loosened", models.JSONField(blank=True, default=dict, editable=False)),
                (
                    "is_active",
                    models.BooleanField(
                        default=True, help_text="Synced with Prefect; runs can be requested.", verbose_name="enabled"
                    ),
                ),
            ],
            options={
                "ordering": ["position", "slug"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_active", True), ("scope_kind", "server")),
                        fields=("server",),
                        name="one_active_environment_per_server",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Health",
            fields=[
                ("server", models.OneToOneField("flows.server", models.CASCADE, primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("unknown", "not checked yet"),
                            ("up", "up"),
                            ("down", "unreachable"),
                            ("refused", "authentication failed"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("message", models.TextField(blank=True)),
                ("version", models.CharField(blank=True, max_length=40)),
                ("checked_at", models.DateTimeField(null=True)),
                ("changed_at", models.DateTimeField(help_text="When the state last changed.", null=True)),
                (
                    "synced_for",
                    ArrayField(
                        base_field=models.BigIntegerField(),
                        default=list,
                        help_text="Keys of the environments that the server was synced into; the times of syncs are for these alone.",
                    ),
                ),
                ("synced_at", models.DateTimeField(help_text="When all deployments were last synced.", null=True)),
                (
                    "listed_at",
                    models.DateTimeField(
                        help_text="When the whole list of deployments was last read; in between, those that changed "
                        "are.",
                        null=True,
                    ),
                ),
                (
                    "synced_from",
                    models.CharField(
                        blank=True,
                        help_text="Digest of the address, the credential and the scopes of that sync.",
                        max_length=64,
                    ),
                ),
                ("sync_message", models.TextField(blank=True)),
                ("runs_failure", models.TextField(blank=True)),
                ("deployments_failure", models.TextField(blank=True)),
                ("automations_failure", models.TextField(blank=True)),
                (
                    "automations_synced_at",
                    models.DateTimeField(help_text="When the automations were last read.", null=True),
                ),
                ("limits_failure", models.TextField(blank=True)),
                (
                    "limits_synced_at",
                    models.DateTimeField(help_text="When the concurrency limits were last read.", null=True),
                ),
                ("runs_synced_at", models.DateTimeField(help_text="When all runs were last synced.", null=True)),
                (
                    "history_begun_at",
                    models.DateTimeField(help_text="When the first reading of all runs began.", null=True),
                ),
                (
                    "history_position",
                    models.DateTimeField(
                        help_text="What ended later than this was read: it goes from the newest run to the oldest.",
                        null=True,
                    ),
                ),
                ("history_runs", models.PositiveIntegerField(default=0, help_text="How many runs it has read.")),
                (
                    "history_recent_at",
                    models.DateTimeField(
                        help_text="When active runs, and those that ended since it began, were last read.", null=True
                    ),
                ),
                (
                    "followed_at",
                    models.DateTimeField(help_text="Last heartbeat of the event follower.", null=True),
                ),
            ],
            options={"verbose_name_plural": "health"},
        ),
        migrations.CreateModel(
            name="Deployment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("flow_id", models.UUIDField()),
                ("flow_name", models.CharField(max_length=300)),
                ("name", models.CharField(max_length=300)),
                (
                    "full_name",
                    models.CharField(help_text="flow name/deployment name, as Prefect writes it", max_length=601),
                ),
                ("description", models.TextField(blank=True)),
                ("tags", ArrayField(base_field=models.CharField(max_length=300), blank=True, default=list)),
                ("parameter_schema", models.JSONField(default=dict)),
                ("parameter_defaults", models.JSONField(default=dict)),
                ("schema_fingerprint", models.CharField(max_length=64)),
                ("enforces_schema", models.BooleanField(default=True)),
                (
                    "schedules",
                    models.JSONField(default=list, help_text="id, slug, description, is_active, rule, parameters."),
                ),
                ("is_paused", models.BooleanField(default=False, verbose_name="paused")),
                ("work_pool_name", models.CharField(blank=True, max_length=300, verbose_name="work pool")),
                ("work_queue_name", models.CharField(blank=True, max_length=300, verbose_name="work queue")),
                ("status", models.CharField(blank=True, max_length=20)),
                ("concurrency_limit", models.IntegerField(null=True)),
                (
                    "collision_strategy",
                    models.CharField(
                        blank=True,
                        help_text="What becomes of runs beyond the limit: ENQUEUE or CANCEL_NEW.",
                        max_length=20,
                    ),
                ),
                (
                    "shared_limit",
                    models.CharField(
                        blank=True,
                        help_text="Name of the global concurrency limit that it shares with others.",
                        max_length=300,
                    ),
                ),
                ("version", models.CharField(blank=True, max_length=300)),
                ("entrypoint", models.CharField(blank=True, max_length=1000)),
                (
                    "job_variables",
                    models.JSONField(default=dict, help_text="Without what may be secret: flows.job_variables."),
                ),
                (
                    "definition",
                    models.JSONField(default=dict, help_text="What it would run, as flows.definition describes it."),
                ),
                ("definition_fingerprint", models.CharField(blank=True, max_length=64)),
                (
                    "answer_digest",
                    models.CharField(
                        blank=True,
                        help_text="Digest of Prefect's last answer, to find what changed.",
                        max_length=64,
                    ),
                ),
                ("created_upstream_at", models.DateTimeField(null=True)),
                ("updated_upstream_at", models.DateTimeField(null=True)),
                ("synced_at", models.DateTimeField(help_text="When the catalog last synced it.")),
                (
                    "deleted_upstream_at",
                    models.DateTimeField(
                        help_text="When a sync first found it missing in Prefect.",
                        null=True,
                        verbose_name="deleted in Prefect",
                    ),
                ),
                ("environment", models.ForeignKey("flows.environment", models.PROTECT, related_name="deployments")),
                (
                    "left_scope_at",
                    models.DateTimeField(
                        help_text="When a sync first found it outside of the scope of its environment. Until an administrator confirms "
                        "where it belongs, nothing of it can be run, and the other columns are those from before.",
                        null=True,
                        verbose_name="left the scope",
                    ),
                ),
            ],
            options={
                "ordering": ["full_name"],
                "permissions": [
                    ("trigger_deployment", "Can request runs"),
                    ("cancel_deployment", "Can cancel runs"),
                    ("approve_deployment", "Can approve runs"),
                    ("pause_deployment", "Can pause and resume"),
                    ("manage_deployment", "Can grant permissions they hold, freeze and unfreeze"),
                ],
                "indexes": [
                    models.Index(fields=["environment", "full_name"], name="flows_deplo_environ_bf3cc8_idx"),
                    GinIndex(fields=["tags"], name="deployment_tags"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "prefect_id"), name="unique_deployment_per_environment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Flow",
            fields=[],
            options={
                "verbose_name": "flow",
                "ordering": ["flow_name"],
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("flows.deployment",),
        ),
        migrations.CreateModel(
            name="Alias",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        error_messages={"invalid": "Use letters, digits, hyphens and underscores only."},
                        max_length=100,
                        validators=[validate_slug],
                    ),
                ),
                (
                    "full_name",
                    models.CharField(help_text="flow name/deployment name", max_length=601, verbose_name="deployment"),
                ),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="aliases")),
            ],
            options={
                "verbose_name_plural": "aliases",
                "ordering": ["environment", "name"],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="unique_alias_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkPool",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("name", models.CharField(max_length=300)),
                ("description", models.TextField(blank=True)),
                ("type", models.CharField(max_length=100)),
                ("is_paused", models.BooleanField(default=False, verbose_name="paused")),
                ("status", models.CharField(max_length=20)),
                ("concurrency_limit", models.IntegerField(null=True)),
                (
                    "workers",
                    models.JSONField(
                        default=list, help_text="name, last_heartbeat and created_at (ISO 8601), is_online"
                    ),
                ),
                (
                    "variables",
                    models.JSONField(
                        default=dict,
                        help_text="JSON Schema of its job variables, without defaults: they may be secret.",
                    ),
                ),
                ("synced_at", models.DateTimeField()),
                (
                    "deleted_upstream_at",
                    models.DateTimeField(
                        help_text="When a sync first found it missing in Prefect.",
                        null=True,
                        verbose_name="deleted in Prefect",
                    ),
                ),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="work_pools")),
            ],
            options={
                "verbose_name": "work pool",
                "ordering": ["name"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="unique_work_pool_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="GlobalLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField(help_text="Empty until Prefect has it.", null=True)),
                ("name", models.CharField(max_length=300)),
                ("concurrency_limit", models.IntegerField(help_text="Slots that can be used at a time.")),
                (
                    "active_slots",
                    models.IntegerField(default=0, help_text="Slots in use when it was last read."),
                ),
                (
                    "is_active",
                    models.BooleanField(default=True, help_text="Inactive, it limits nothing.", verbose_name="active"),
                ),
                (
                    "slot_decay_per_second",
                    models.FloatField(default=0, help_text="Slots that become free by themselves; 0 for none."),
                ),
                ("synced_at", models.DateTimeField()),
                (
                    "deleted_upstream_at",
                    models.DateTimeField(
                        help_text="When a sync first found it missing in Prefect.",
                        null=True,
                        verbose_name="deleted in Prefect",
                    ),
                ),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="global_limits")),
            ],
            options={
                "verbose_name": "concurrency limit",
                "ordering": ["name"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="unique_global_limit_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkQueue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("name", models.CharField(max_length=300)),
                ("description", models.TextField(blank=True)),
                ("priority", models.IntegerField(default=1, help_text="1 is taken first.")),
                ("concurrency_limit", models.IntegerField(null=True)),
                ("is_paused", models.BooleanField(default=False, verbose_name="paused")),
                ("status", models.CharField(blank=True, max_length=20)),
                (
                    "last_polled_at",
                    models.DateTimeField(help_text="When a worker last asked for its runs.", null=True),
                ),
                ("synced_at", models.DateTimeField()),
                (
                    "deleted_upstream_at",
                    models.DateTimeField(
                        help_text="When a sync first found it missing in Prefect.",
                        null=True,
                        verbose_name="deleted in Prefect",
                    ),
                ),
                ("pool", models.ForeignKey("flows.workpool", models.CASCADE, related_name="queues")),
            ],
            options={
                "verbose_name": "work queue",
                "ordering": ["priority", "name"],
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("pool", "name"), name="unique_work_queue_per_pool")],
            },
        ),
        migrations.CreateModel(
            name="Automation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                ("name", models.CharField(max_length=300)),
                ("is_enabled", models.BooleanField(default=True)),
                (
                    "starts",
                    models.JSONField(
                        default=list,
                        help_text="action, and Prefect's id of the deployment, empty for one that the event names",
                    ),
                ),
                ("synced_at", models.DateTimeField()),
                ("environment", models.ForeignKey("flows.environment", models.CASCADE, related_name="automations")),
            ],
            options={
                "ordering": ["name"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "prefect_id"), name="unique_automation_per_environment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UnassignedDeployment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefect_id", models.UUIDField()),
                (
                    "full_name",
                    models.CharField(
                        help_text="flow name/deployment name, as Prefect writes it", max_length=601, verbose_name="name"
                    ),
                ),
                ("work_pool_name", models.CharField(blank=True, max_length=300, verbose_name="work pool")),
                ("tags", ArrayField(base_field=models.CharField(max_length=300), blank=True, default=list)),
                (
                    "covered_by",
                    ArrayField(
                        base_field=models.BigIntegerField(),
                        default=list,
                        help_text="Keys of the environments whose scopes it is in now.",
                    ),
                ),
                (
                    "earlier",
                    ArrayField(
                        base_field=models.BigIntegerField(),
                        default=list,
                        help_text="Keys of other environments that it was in, or whose scopes it was in.",
                    ),
                ),
                (
                    "found_at",
                    models.DateTimeField(help_text="When a sync first found that it has to be assigned."),
                ),
                ("synced_at", models.DateTimeField()),
                (
                    "confirmed",
                    models.ForeignKey(
                        "flows.environment",
                        models.SET_NULL,
                        help_text="Where an administrator confirmed that it belongs: the next sync assigns it.",
                        null=True,
                        related_name="+",
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        "flows.environment",
                        models.PROTECT,
                        help_text="Where it stays until an administrator confirms that it moved; null if it was in none.",
                        null=True,
                        related_name="unassigned_deployments",
                    ),
                ),
                (
                    "server",
                    models.ForeignKey("flows.server", models.CASCADE, related_name="unassigned_deployments"),
                ),
            ],
            options={
                "verbose_name": "unassigned deployment",
                "ordering": ["full_name", "pk"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("server", "prefect_id"), name="unique_unassigned_per_server")
                ],
            },
        ),
    ]
