"""Ask the Prefect server of an environment now: for operators, who cannot wait for the background tasks."""

from __future__ import annotations

from flows.catalog import health as healths
from flows.catalog import sync as catalog_sync
from flows.catalog.sync import Sync
from flows.models import Environment, Health
from flows.prefect_api.records import PrefectError
from runs import definitions, mirror
from runs.governance import deployment_moves


def check(place: Environment) -> Health:
    """Return the health of its server, checked now."""
    return healths.check(place.server)


def sync(place: Environment) -> Sync:
    """Sync its deployments and runs now; raises `PrefectError`."""
    found = check(place)
    if found.state != Health.State.UP:
        raise PrefectError(found.message)
    result = catalog_sync.sync(place, on_change=definitions.record_changes, on_move=deployment_moves.record_moves)
    mirror.sync(place)
    return result
