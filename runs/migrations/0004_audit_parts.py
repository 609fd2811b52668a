import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0003_governance"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField(primary_key=True, serialize=False)),
                ("digest", models.CharField(max_length=64)),
                ("began_at", models.DateTimeField(help_text="When the first of them was written.")),
                ("ended_at", models.DateTimeField(help_text="When the last of them was written.")),
                ("retired_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("retired_by", models.CharField(max_length=200)),
                ("kept_in", models.CharField(blank=True, help_text="The file they were written to.", max_length=500)),
            ],
            options={
                "ordering": ["-last"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("file_format", models.CharField(max_length=10)),
                ("criteria", models.JSONField(help_text="As runs.audit.finding reads them.")),
                ("up_to", models.BigIntegerField(help_text="The newest entry when it was asked for.")),
                ("total", models.BigIntegerField()),
                ("rows", models.BigIntegerField(default=0, help_text="How many are in the file.")),
                (
                    "reached",
                    models.BigIntegerField(help_text="The entry that was written last, from the newest on.", null=True),
                ),
                ("size", models.BigIntegerField(default=0, help_text="In bytes.")),
                (
                    "state",
                    models.CharField(
                        choices=[("wanted", "being made"), ("ready", "ready")], default="wanted", max_length=10
                    ),
                ),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("forgotten_at", models.DateTimeField(help_text="When the file is thrown away.")),
            ],
            options={
                "ordering": ["-pk"],
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
            ],
            options={
                "ordering": ["export", "number"],
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="auditentry",
            name="on_behalf_of",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="ticket",
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["actor_id", "-sequence"], name="audit_actor_id"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="auditcheckpoint",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="0652139fd8745b4d4898a3371f9eee09ffed2c2d",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_34015",
                    table="runs_auditcheckpoint",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="auditcheckpoint",
            trigger=pgtrigger.compiler.Trigger(
                name="no_truncate",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'The audit trail is append-only.';",
                    hash="ce557b8e40c3cffd762c92299e24ec2b7c8133d3",
                    level="STATEMENT",
                    operation="TRUNCATE",
                    pgid="pgtrigger_no_truncate_cb24a",
                    table="runs_auditcheckpoint",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddField(
            model_name="export",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="exports", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="exportpart",
            name="export",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="parts", to="runs.export"
            ),
        ),
        migrations.AddConstraint(
            model_name="exportpart",
            constraint=models.UniqueConstraint(fields=("export", "number"), name="one_part_a_number"),
        ),
    ]
