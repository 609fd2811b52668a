"""Reads global concurrency limits, those of tags among them, and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flows.prefect_api import parsing
from flows.prefect_api.pagination import Paginator
from flows.prefect_api.records import JSON, GlobalLimitRecord
from flows.prefect_api.transport import Transport

# Column -> Prefect's name of it. What may be changed: a PATCH could also free slots that are in use.
COLUMNS = {"concurrency_limit": "limit", "is_active": "active"}
# Prefect keeps the limit of a deployment among them; it is changed with the deployment.
OF_DEPLOYMENT = "deployment:"


def read_all(pages: Paginator) -> list[GlobalLimitRecord]:
    """Return every limit but those of deployments. Names are unique, so that the list can be paged by offset."""
    found = pages.by_offset("/v2/concurrency_limits/filter", {}, act="list the concurrency limits")
    records = [pages.record(parsing.global_limit, raw) for page in found for raw in page]
    return [record for record in records if not record.name.startswith(OF_DEPLOYMENT)]


def change(transport: Transport, limit_id: UUID, changes: Mapping[str, JSON]) -> None:
    if others := changes.keys() - COLUMNS.keys():
        raise ValueError(f"These columns are never sent: {', '.join(sorted(others))}.")
    body: JSON = {COLUMNS[name]: value for name, value in changes.items()}
    path = f"/v2/concurrency_limits/{limit_id}"
    transport.write(path, body, act=f"change concurrency limit {limit_id}", method="PATCH")
