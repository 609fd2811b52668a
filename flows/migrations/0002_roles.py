"""The roles as groups, with grants for every environment that is not protected."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# role -> verbs on every environment that is not protected
ROLES = {
    "Viewer": ["see"],
    "Operator": ["see", "trigger", "cancel"],
    "Approver": ["see", "approve"],
    "Release manager": ["see", "trigger", "cancel", "approve", "schedule", "manage"],
    "Auditor": ["see"],
}


def make(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Group = apps.get_model("auth", "Group")
    Grant = apps.get_model("flows", "Grant")
    for name, verbs in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        Grant.objects.create(group=group, effect="allow", verbs=verbs, reason="role", granted_by_name="installation")


class Migration(migrations.Migration):
    dependencies = [("flows", "0001_first"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
