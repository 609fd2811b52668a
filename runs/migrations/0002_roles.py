"""The roles as groups, with grants for every environment that is not protected; the Auditor reads the audit trail."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SEE = ["see", "see inputs", "see logs"]
TRIGGER = ["trigger", "trigger later", "rerun"]
# role -> verbs on every environment that is not protected
ROLES = {
    "Viewer": SEE,
    "Operator": [*SEE, *TRIGGER, "cancel", "put back", "backfill"],
    "Approver": [*SEE, "approve"],
    "Release manager": [
        *(*SEE, *TRIGGER, "cancel", "approve", "schedule", "pause", "manage"),
        *("backfill", "put back", "force cancel", "override freeze"),
    ],
    "Auditor": SEE,
}


def create_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Group = apps.get_model("auth", "Group")
    Grant = apps.get_model("runs", "Grant")
    for name, verbs in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        Grant.objects.create(group=group, effect="allow", verbs=verbs, reason="role", granted_by_name="installation")
    # Django creates permissions after all migrations; this one is needed now and will be found then.
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="runs", model="auditentry"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        codename="view_auditentry", content_type=content_type, defaults={"name": "Can view audit entry"}
    )
    Group.objects.get(name="Auditor").permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(create_roles, migrations.RunPython.noop)]
