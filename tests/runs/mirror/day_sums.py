"""The sums by day, counted from the hours without SQL."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import Any

from runs.models import DeploymentDayCount, EnvironmentDayCount, RunCount


def assert_that_days_are_sums_of_hours() -> None:
    deployments: Counter[tuple[Any, ...]] = Counter()
    environments: Counter[tuple[Any, ...]] = Counter()
    for row in RunCount.objects.all():
        day = row.hour.astimezone(UTC).date()
        key = (row.environment_id, row.deployment_id, row.access_deployment_id, row.flow_name, day, row.state_type)
        for kind, value in (("number", row.number), ("ms", row.total_ms)):
            deployments[*key, kind] += value
            environments[row.environment_id, day, row.state_type, row.duration_bucket, kind] += value
    columns = ("environment", "deployment", "access_deployment", "flow_name", "day", "state_type")
    assert stored(DeploymentDayCount, *columns) == deployments
    assert stored(EnvironmentDayCount, "environment", "day", "state_type", "duration_bucket") == environments


def stored(model: type[DeploymentDayCount] | type[EnvironmentDayCount], *columns: str) -> Counter[tuple[Any, ...]]:
    rows = list(model._default_manager.values_list(*columns, "number", "total_ms"))
    assert all(number > 0 for *_, number, _ in rows)
    return Counter(
        {(*key, kind): value for *key, number, ms in rows for kind, value in (("number", number), ("ms", ms))}
    )
