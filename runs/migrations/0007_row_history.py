"""Tables and triggers that keep the versions of rows."""

import re

import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import pghistory.utils
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class Triggers(Operation):
    """Many triggers as one step: as steps of their own, each has all models rendered anew, which takes seconds."""

    def __init__(self, steps: list[pgtrigger.migrations.AddTrigger]) -> None:
        self.steps = steps

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.clear_delayed_apps_cache()
        state.__dict__.pop("apps", None)
        for step in self.steps:
            step.state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for step in self.steps:
            step.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for step in reversed(self.steps):
            step.database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Create {len(self.steps)} triggers"


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("flows", "0004_verbs_apart"),
        ("runs", "0006_artifacts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EnvironmentEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                (
                    "slug",
                    models.CharField(
                        max_length=40,
                        validators=[
                            django.core.validators.RegexValidator(
                                re.compile("^[-a-zA-Z0-9_]+\\Z"),
                                "Enter a valid “slug” consisting of letters, numbers, underscores or hyphens.",
                                "invalid",
                            )
                        ],
                        verbose_name="name",
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "api_url",
                    models.CharField(
                        help_text="Ends in /api for a server of your own, for example http://prefect:4200/api.",
                        max_length=500,
                        validators=[django.core.validators.URLValidator(schemes=["http", "https"])],
                        verbose_name="API address",
                    ),
                ),
                (
                    "ui_url",
                    models.CharField(
                        blank=True,
                        help_text="Where people open Prefect's own pages. Left empty: the API address without /api.",
                        max_length=500,
                        validators=[django.core.validators.URLValidator(schemes=["http", "https"])],
                        verbose_name="UI address",
                    ),
                ),
                (
                    "credential_kind",
                    models.CharField(
                        choices=[("none", "none"), ("basic", "user:password"), ("key", "Cloud API key")],
                        default="none",
                        max_length=10,
                    ),
                ),
                (
                    "is_protected",
                    models.BooleanField(
                        default=False,
                        help_text="Only grants that name this environment count here; grants for every environment do not.",
                        verbose_name="protected",
                    ),
                ),
                (
                    "needs_approval",
                    models.BooleanField(default=False, help_text="A run waits until somebody else approves it."),
                ),
                ("needs_reason", models.BooleanField(default=False, help_text="A run and a cancel must say why.")),
                (
                    "approval_minutes",
                    models.PositiveIntegerField(default=480, help_text="An approval not given in this time expires."),
                ),
                (
                    "colour",
                    models.CharField(
                        choices=[
                            ("green", "green"),
                            ("blue", "blue"),
                            ("amber", "amber"),
                            ("red", "red"),
                            ("grey", "grey"),
                        ],
                        default="grey",
                        max_length=10,
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "is_active",
                    models.BooleanField(default=True, help_text="Off: no longer synced, nothing can be asked for."),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="GroupEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                ("name", models.CharField(max_length=150, verbose_name="name")),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="PersonEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="TrackedWindow",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("runs.window",),
        ),
        migrations.CreateModel(
            name="TrackedPolicy",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("runs.policy",),
        ),
        migrations.CreateModel(
            name="TrackedPersonPermission",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user_user_permissions",),
        ),
        migrations.CreateModel(
            name="TrackedPerson",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user",),
            managers=[
                ("objects", django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name="TrackedMembership",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user_groups",),
        ),
        migrations.CreateModel(
            name="TrackedGroupPermission",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.group_permissions",),
        ),
        migrations.CreateModel(
            name="TrackedGroup",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.group",),
            managers=[
                ("objects", django.contrib.auth.models.GroupManager()),
            ],
        ),
        migrations.CreateModel(
            name="TrackedGrant",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("flows.grant",),
        ),
        migrations.CreateModel(
            name="TrackedFreeze",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("runs.freeze",),
        ),
        migrations.CreateModel(
            name="TrackedEnvironment",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("flows.environment",),
        ),
        migrations.CreateModel(
            name="TrackedAlias",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": [],
                "indexes": [],
                "constraints": [],
            },
            bases=("flows.alias",),
        ),
        migrations.CreateModel(
            name="AliasEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                (
                    "name",
                    models.CharField(
                        max_length=100,
                        validators=[
                            django.core.validators.RegexValidator(
                                re.compile("^[-a-zA-Z0-9_]+\\Z"),
                                "Enter a valid “slug” consisting of letters, numbers, underscores or hyphens.",
                                "invalid",
                            )
                        ],
                    ),
                ),
                (
                    "full_name",
                    models.CharField(help_text="flow name/deployment name", max_length=601, verbose_name="deployment"),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="flows.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="FreezeEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                ("reason", models.CharField(max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("begun_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("begun_by_name", models.CharField(max_length=200)),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lifted_by_name", models.CharField(blank=True, max_length=200)),
                (
                    "begun_by",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="flows.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="GrantEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
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
                (
                    "verbs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("see", "see"),
                                ("see inputs", "see inputs"),
                                ("see logs", "see logs"),
                                ("trigger", "trigger"),
                                ("trigger later", "trigger later"),
                                ("backfill", "backfill"),
                                ("rerun", "rerun"),
                                ("cancel", "cancel"),
                                ("force cancel", "force cancel"),
                                ("approve", "approve"),
                                ("schedule", "schedule"),
                                ("pause", "pause"),
                                ("override freeze", "override freeze"),
                                ("break glass", "break glass"),
                                ("manage", "manage"),
                            ],
                            max_length=20,
                        )
                    ),
                ),
                (
                    "predicate",
                    models.JSONField(
                        blank=True,
                        help_text="A JSON Schema: the grant counts only for parameters that satisfy it.",
                        null=True,
                    ),
                ),
                ("valid_from", models.DateTimeField(blank=True, null=True)),
                ("valid_until", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("granted_by_name", models.CharField(editable=False, max_length=200)),
                (
                    "granted_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_by_name", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="flows.environment",
                    ),
                ),
                (
                    "granted_by",
                    models.ForeignKey(
                        db_constraint=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="GroupPermissionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                (
                    "group",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "permission",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.permission",
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="MembershipEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                (
                    "group",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="PersonPermissionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                (
                    "permission",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.permission",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="PolicyEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "stages",
                    models.JSONField(
                        blank=True, default=list, help_text="In this order: needed, group.", verbose_name="approvals"
                    ),
                ),
                (
                    "approval_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="An approval not given in this time expires. Left empty: as the environment says.",
                        null=True,
                    ),
                ),
                (
                    "needs_reason",
                    models.BooleanField(default=False, help_text="Runs, cancels, pauses and grants must say why."),
                ),
                ("needs_ticket", models.BooleanField(default=False, help_text="They must name a ticket too.")),
                (
                    "ticket_pattern",
                    models.CharField(
                        blank=True, help_text="What a ticket looks like, such as ^OPS-[0-9]+$.", max_length=200
                    ),
                ),
                (
                    "ticket_link",
                    models.CharField(
                        blank=True,
                        help_text="Where it is read, such as https://tickets.example/{ticket}.",
                        max_length=500,
                    ),
                ),
                (
                    "needs_confirmation",
                    models.BooleanField(
                        default=False,
                        help_text="Whoever asks for a run looks at its parameters again and types the deployment's name.",
                    ),
                ),
                (
                    "outside_window",
                    models.CharField(
                        choices=[("wait", "wait until it may start"), ("refuse", "be refused")],
                        default="wait",
                        max_length=10,
                        verbose_name="outside change windows runs",
                    ),
                ),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "low"), ("medium", "medium"), ("high", "high")],
                        default="low",
                        help_text="Shown to whoever approves.",
                        max_length=10,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="flows.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="WindowEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                ("tag", models.CharField(blank=True, max_length=300)),
                ("flow_name", models.CharField(blank=True, max_length=300, verbose_name="flow")),
                (
                    "full_name",
                    models.CharField(
                        blank=True, help_text="flow name/deployment name", max_length=601, verbose_name="deployment"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "effect",
                    models.CharField(
                        choices=[("allow", "runs may start only then"), ("deny", "no run may start then")],
                        default="allow",
                        max_length=5,
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        help_text="A cron expression: minute hour day month weekday.",
                        max_length=100,
                        verbose_name="begins",
                    ),
                ),
                ("minutes", models.PositiveIntegerField(verbose_name="lasts (minutes)")),
                ("time_zone", models.CharField(default="UTC", help_text="Such as Europe/Vienna.", max_length=60)),
                ("is_active", models.BooleanField(default=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="flows.environment",
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="runs.trackedwindow",
                    ),
                ),
            ],
            options={
                "ordering": ["pgh_id"],
                "abstract": False,
                "default_permissions": [],
            },
        ),
        migrations.AddField(
            model_name="policyevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedpolicy",
            ),
        ),
        migrations.AddField(
            model_name="personpermissionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedpersonpermission",
            ),
        ),
        migrations.AddField(
            model_name="personevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedperson",
            ),
        ),
        migrations.AddField(
            model_name="membershipevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedmembership",
            ),
        ),
        migrations.AddField(
            model_name="grouppermissionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedgrouppermission",
            ),
        ),
        migrations.AddField(
            model_name="groupevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedgroup",
            ),
        ),
        migrations.AddField(
            model_name="grantevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedgrant",
            ),
        ),
        migrations.AddField(
            model_name="freezeevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedfreeze",
            ),
        ),
        migrations.AddField(
            model_name="environmentevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedenvironment",
            ),
        ),
        migrations.AddField(
            model_name="aliasevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="runs.trackedalias",
            ),
        ),
        Triggers(
            [
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedwindow",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_windowevent" ("cron", "effect", "environment_id", "flow_name", "full_name", "id", "is_active", "minutes", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "tag", "time_zone") VALUES (NEW."cron", NEW."effect", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."id", NEW."is_active", NEW."minutes", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."reason", NEW."tag", NEW."time_zone"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_74244",
                            table="runs_window",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedwindow",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_windowevent" ("cron", "effect", "environment_id", "flow_name", "full_name", "id", "is_active", "minutes", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "tag", "time_zone") VALUES (NEW."cron", NEW."effect", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."id", NEW."is_active", NEW."minutes", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."reason", NEW."tag", NEW."time_zone"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_b6ba5",
                            table="runs_window",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedwindow",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_windowevent" ("cron", "effect", "environment_id", "flow_name", "full_name", "id", "is_active", "minutes", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "tag", "time_zone") VALUES (OLD."cron", OLD."effect", OLD."environment_id", OLD."flow_name", OLD."full_name", OLD."id", OLD."is_active", OLD."minutes", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."reason", OLD."tag", OLD."time_zone"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_3a6db",
                            table="runs_window",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpolicy",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_policyevent" ("approval_minutes", "environment_id", "flow_name", "full_name", "id", "name", "needs_confirmation", "needs_reason", "needs_ticket", "outside_window", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk", "stages", "tag", "ticket_link", "ticket_pattern") VALUES (NEW."approval_minutes", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."id", NEW."name", NEW."needs_confirmation", NEW."needs_reason", NEW."needs_ticket", NEW."outside_window", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."risk", NEW."stages", NEW."tag", NEW."ticket_link", NEW."ticket_pattern"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_f9974",
                            table="runs_policy",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpolicy",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_policyevent" ("approval_minutes", "environment_id", "flow_name", "full_name", "id", "name", "needs_confirmation", "needs_reason", "needs_ticket", "outside_window", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk", "stages", "tag", "ticket_link", "ticket_pattern") VALUES (NEW."approval_minutes", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."id", NEW."name", NEW."needs_confirmation", NEW."needs_reason", NEW."needs_ticket", NEW."outside_window", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."risk", NEW."stages", NEW."tag", NEW."ticket_link", NEW."ticket_pattern"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_8504d",
                            table="runs_policy",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpolicy",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_policyevent" ("approval_minutes", "environment_id", "flow_name", "full_name", "id", "name", "needs_confirmation", "needs_reason", "needs_ticket", "outside_window", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk", "stages", "tag", "ticket_link", "ticket_pattern") VALUES (OLD."approval_minutes", OLD."environment_id", OLD."flow_name", OLD."full_name", OLD."id", OLD."name", OLD."needs_confirmation", OLD."needs_reason", OLD."needs_ticket", OLD."outside_window", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."risk", OLD."stages", OLD."tag", OLD."ticket_link", OLD."ticket_pattern"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_f4220",
                            table="runs_policy",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpersonpermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_personpermissionevent" ("id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."user_id"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_9ba93",
                            table="auth_user_user_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpersonpermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_personpermissionevent" ("id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."user_id"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_ecb8e",
                            table="auth_user_user_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedpersonpermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_personpermissionevent" ("id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (OLD."id", OLD."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."user_id"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_18566",
                            table="auth_user_user_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedperson",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_personevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."username"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_b0460",
                            table="auth_user",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedperson",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition='WHEN (OLD."date_joined" IS DISTINCT FROM (NEW."date_joined") OR OLD."email" IS DISTINCT FROM (NEW."email") OR OLD."first_name" IS DISTINCT FROM (NEW."first_name") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."is_staff" IS DISTINCT FROM (NEW."is_staff") OR OLD."is_superuser" IS DISTINCT FROM (NEW."is_superuser") OR OLD."last_name" IS DISTINCT FROM (NEW."last_name") OR OLD."username" IS DISTINCT FROM (NEW."username"))',
                            func='INSERT INTO "runs_personevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."username"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_e619a",
                            table="auth_user",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedperson",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_personevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (OLD."date_joined", OLD."email", OLD."first_name", OLD."id", OLD."is_active", OLD."is_staff", OLD."is_superuser", OLD."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."username"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_ec183",
                            table="auth_user",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedperson",
                    trigger=pgtrigger.compiler.Trigger(
                        name="password_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition='WHEN (OLD."password" IS DISTINCT FROM (NEW."password"))',
                            func='INSERT INTO "runs_personevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'password\', NEW."id", NEW."username"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_password_update_d76a9",
                            table="auth_user",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedmembership",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_membershipevent" ("group_id", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (NEW."group_id", NEW."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."user_id"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_27e88",
                            table="auth_user_groups",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedmembership",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_membershipevent" ("group_id", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (NEW."group_id", NEW."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."user_id"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_0b4c9",
                            table="auth_user_groups",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedmembership",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_membershipevent" ("group_id", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "user_id") VALUES (OLD."group_id", OLD."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."user_id"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_e3f3c",
                            table="auth_user_groups",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrouppermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_grouppermissionevent" ("group_id", "id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."group_id", NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_8ec67",
                            table="auth_group_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrouppermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_grouppermissionevent" ("group_id", "id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."group_id", NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_05893",
                            table="auth_group_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrouppermission",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_grouppermissionevent" ("group_id", "id", "permission_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."group_id", OLD."id", OLD."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_3b903",
                            table="auth_group_permissions",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgroup",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_groupevent" ("id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_35ea8",
                            table="auth_group",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgroup",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_groupevent" ("id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_7f171",
                            table="auth_group",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgroup",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_groupevent" ("id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."id", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_de402",
                            table="auth_group",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrant",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_grantevent" ("effect", "environment_id", "flow_name", "full_name", "granted_at", "granted_by_id", "granted_by_name", "group_id", "id", "person_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "predicate", "reason", "revoked_at", "revoked_by_name", "tag", "ticket", "valid_from", "valid_until", "verbs") VALUES (NEW."effect", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."granted_at", NEW."granted_by_id", NEW."granted_by_name", NEW."group_id", NEW."id", NEW."person_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."predicate", NEW."reason", NEW."revoked_at", NEW."revoked_by_name", NEW."tag", NEW."ticket", NEW."valid_from", NEW."valid_until", NEW."verbs"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_aaf8a",
                            table="flows_grant",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrant",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_grantevent" ("effect", "environment_id", "flow_name", "full_name", "granted_at", "granted_by_id", "granted_by_name", "group_id", "id", "person_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "predicate", "reason", "revoked_at", "revoked_by_name", "tag", "ticket", "valid_from", "valid_until", "verbs") VALUES (NEW."effect", NEW."environment_id", NEW."flow_name", NEW."full_name", NEW."granted_at", NEW."granted_by_id", NEW."granted_by_name", NEW."group_id", NEW."id", NEW."person_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."predicate", NEW."reason", NEW."revoked_at", NEW."revoked_by_name", NEW."tag", NEW."ticket", NEW."valid_from", NEW."valid_until", NEW."verbs"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_54ade",
                            table="flows_grant",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedgrant",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_grantevent" ("effect", "environment_id", "flow_name", "full_name", "granted_at", "granted_by_id", "granted_by_name", "group_id", "id", "person_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "predicate", "reason", "revoked_at", "revoked_by_name", "tag", "ticket", "valid_from", "valid_until", "verbs") VALUES (OLD."effect", OLD."environment_id", OLD."flow_name", OLD."full_name", OLD."granted_at", OLD."granted_by_id", OLD."granted_by_name", OLD."group_id", OLD."id", OLD."person_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."predicate", OLD."reason", OLD."revoked_at", OLD."revoked_by_name", OLD."tag", OLD."ticket", OLD."valid_from", OLD."valid_until", OLD."verbs"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_ae48b",
                            table="flows_grant",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedfreeze",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_freezeevent" ("begun_at", "begun_by_id", "begun_by_name", "environment_id", "id", "lifted_at", "lifted_by_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "ticket", "until") VALUES (NEW."begun_at", NEW."begun_by_id", NEW."begun_by_name", NEW."environment_id", NEW."id", NEW."lifted_at", NEW."lifted_by_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."reason", NEW."ticket", NEW."until"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_b007c",
                            table="runs_freeze",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedfreeze",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_freezeevent" ("begun_at", "begun_by_id", "begun_by_name", "environment_id", "id", "lifted_at", "lifted_by_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "ticket", "until") VALUES (NEW."begun_at", NEW."begun_by_id", NEW."begun_by_name", NEW."environment_id", NEW."id", NEW."lifted_at", NEW."lifted_by_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."reason", NEW."ticket", NEW."until"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_b55b1",
                            table="runs_freeze",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedfreeze",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_freezeevent" ("begun_at", "begun_by_id", "begun_by_name", "environment_id", "id", "lifted_at", "lifted_by_name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "ticket", "until") VALUES (OLD."begun_at", OLD."begun_by_id", OLD."begun_by_name", OLD."environment_id", OLD."id", OLD."lifted_at", OLD."lifted_by_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."reason", OLD."ticket", OLD."until"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_d0497",
                            table="runs_freeze",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedenvironment",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_environmentevent" ("api_url", "approval_minutes", "colour", "credential_kind", "description", "id", "is_active", "is_protected", "needs_approval", "needs_reason", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "slug", "ui_url") VALUES (NEW."api_url", NEW."approval_minutes", NEW."colour", NEW."credential_kind", NEW."description", NEW."id", NEW."is_active", NEW."is_protected", NEW."needs_approval", NEW."needs_reason", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id", NEW."position", NEW."slug", NEW."ui_url"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_057e5",
                            table="flows_environment",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedenvironment",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition='WHEN (OLD."api_url" IS DISTINCT FROM (NEW."api_url") OR OLD."approval_minutes" IS DISTINCT FROM (NEW."approval_minutes") OR OLD."colour" IS DISTINCT FROM (NEW."colour") OR OLD."credential_kind" IS DISTINCT FROM (NEW."credential_kind") OR OLD."description" IS DISTINCT FROM (NEW."description") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."is_protected" IS DISTINCT FROM (NEW."is_protected") OR OLD."needs_approval" IS DISTINCT FROM (NEW."needs_approval") OR OLD."needs_reason" IS DISTINCT FROM (NEW."needs_reason") OR OLD."position" IS DISTINCT FROM (NEW."position") OR OLD."slug" IS DISTINCT FROM (NEW."slug") OR OLD."ui_url" IS DISTINCT FROM (NEW."ui_url"))',
                            func='INSERT INTO "runs_environmentevent" ("api_url", "approval_minutes", "colour", "credential_kind", "description", "id", "is_active", "is_protected", "needs_approval", "needs_reason", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "slug", "ui_url") VALUES (NEW."api_url", NEW."approval_minutes", NEW."colour", NEW."credential_kind", NEW."description", NEW."id", NEW."is_active", NEW."is_protected", NEW."needs_approval", NEW."needs_reason", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id", NEW."position", NEW."slug", NEW."ui_url"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_baa89",
                            table="flows_environment",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedenvironment",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_environmentevent" ("api_url", "approval_minutes", "colour", "credential_kind", "description", "id", "is_active", "is_protected", "needs_approval", "needs_reason", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "slug", "ui_url") VALUES (OLD."api_url", OLD."approval_minutes", OLD."colour", OLD."credential_kind", OLD."description", OLD."id", OLD."is_active", OLD."is_protected", OLD."needs_approval", OLD."needs_reason", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id", OLD."position", OLD."slug", OLD."ui_url"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_7a57d",
                            table="flows_environment",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedenvironment",
                    trigger=pgtrigger.compiler.Trigger(
                        name="sealed_credential_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition='WHEN (OLD."sealed_credential" IS DISTINCT FROM (NEW."sealed_credential"))',
                            func='INSERT INTO "runs_environmentevent" ("api_url", "approval_minutes", "colour", "credential_kind", "description", "id", "is_active", "is_protected", "needs_approval", "needs_reason", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "slug", "ui_url") VALUES (NEW."api_url", NEW."approval_minutes", NEW."colour", NEW."credential_kind", NEW."description", NEW."id", NEW."is_active", NEW."is_protected", NEW."needs_approval", NEW."needs_reason", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'sealed_credential\', NEW."id", NEW."position", NEW."slug", NEW."ui_url"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_sealed_credential_update_5af45",
                            table="flows_environment",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedalias",
                    trigger=pgtrigger.compiler.Trigger(
                        name="insert_insert",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_aliasevent" ("environment_id", "full_name", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."environment_id", NEW."full_name", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'insert\', NEW."id"); RETURN NULL;',
                            operation="INSERT",
                            pgid="pgtrigger_insert_insert_d5f3f",
                            table="flows_alias",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedalias",
                    trigger=pgtrigger.compiler.Trigger(
                        name="update_update",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                            func='INSERT INTO "runs_aliasevent" ("environment_id", "full_name", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."environment_id", NEW."full_name", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'update\', NEW."id"); RETURN NULL;',
                            operation="UPDATE",
                            pgid="pgtrigger_update_update_ec13a",
                            table="flows_alias",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="trackedalias",
                    trigger=pgtrigger.compiler.Trigger(
                        name="delete_delete",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func='INSERT INTO "runs_aliasevent" ("environment_id", "full_name", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."environment_id", OLD."full_name", OLD."id", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, clock_timestamp(), \'delete\', OLD."id"); RETURN NULL;',
                            operation="DELETE",
                            pgid="pgtrigger_delete_delete_a0a0e",
                            table="flows_alias",
                            when="AFTER",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="windowevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_afe66",
                            table="runs_windowevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="policyevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_0d76c",
                            table="runs_policyevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="personpermissionevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_f0532",
                            table="runs_personpermissionevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="personevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_96193",
                            table="runs_personevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="membershipevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_42036",
                            table="runs_membershipevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="grouppermissionevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_6037b",
                            table="runs_grouppermissionevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="groupevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_53a5c",
                            table="runs_groupevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="grantevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_6eda9",
                            table="runs_grantevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="freezeevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_548f0",
                            table="runs_freezeevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="environmentevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_f26cb",
                            table="runs_environmentevent",
                            when="BEFORE",
                        ),
                    ),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name="aliasevent",
                    trigger=pgtrigger.compiler.Trigger(
                        name="append_only",
                        sql=pgtrigger.compiler.UpsertTriggerSql(
                            func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                            operation="UPDATE OR DELETE",
                            pgid="pgtrigger_append_only_8d739",
                            table="runs_aliasevent",
                            when="BEFORE",
                        ),
                    ),
                ),
            ]
        ),
    ]
