"""What one verb said before, said by the verbs it became."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# verb -> what it meant when there were fewer. Prohibitions of a verb cover its parts anyway.
PARTS = {
    "see": ["see", "see inputs", "see logs"],
    "trigger": ["trigger", "trigger later", "rerun"],
    "manage": ["pause", "manage"],
}
# role -> the new verbs of it
MORE = {
    "Operator": ["backfill"],
    "Release manager": ["backfill", "force cancel", "override freeze"],
}


def split(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Grant = apps.get_model("flows", "Grant")
    for grant in Grant.objects.filter(effect="allow").select_related("group"):
        verbs = [part for verb in grant.verbs for part in PARTS.get(verb, [verb])]
        if grant.reason == "role" and grant.granted_by_name == "installation" and grant.group:
            verbs += MORE.get(grant.group.name, [])
        grant.verbs = list(dict.fromkeys(verbs))
        grant.save(update_fields=["verbs"])


class Migration(migrations.Migration):
    dependencies = [("flows", "0003_governance")]
    operations = [migrations.RunPython(split, migrations.RunPython.noop)]
