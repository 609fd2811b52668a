"""Record each change of a deployment's definition in the audit trail, once."""

from __future__ import annotations

from collections.abc import Sequence

from flows import definition
from flows.catalog.sync import DefinitionChange
from runs import audit
from runs.actors import Actor


def record_changes(changes: Sequence[DefinitionChange]) -> None:
    """Append an entry for each change, with the fields that differ. Called by the sync, in its transaction."""
    # Named after Prefect, not the portal: who deployed is not known reliably.
    by = Actor.system("Prefect")
    acts = []
    for change in changes:
        before, after = definition.difference(change.before, change.deployment.definition)
        acts.append(audit.Act("deployment.changed", change.deployment, by, before=before, after=after))
    audit.record_many(acts)
