"""Reads global concurrency limits, those of tags among them, creates, changes and deletes them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flows.prefect_api import parsing
from flows.prefect_api.pagination import Paginator
from flows.prefect_api.records import JSON, GlobalLimitRecord
from flows.prefect_api.transport import Transport

# Column -> Prefect's name of it. What may be sent: a PATCH could also free slots that are in use.
COLUMNS = {"concurrency_limit": "limit", "is_active": "active"}
# The same of a new one.
NEW = {**COLUMNS, "slot_decay_per_second": "slot_decay_per_second"}
# Prefect keeps the limit of a deployment among them; it is changed with the deployment.
OF_DEPLOYMENT = "deployment:"


def read_all(pages: Paginator) -> list[GlobalLimitRecord]:
    """Return every limit but those of deployments. Names are unique, so that the list can be paged by offset."""
    found = pages.by_offset("/v2/concurrency_limits/filter", {}, act="list the concurrency limits")
    records = [pages.record(parsing.global_limit, raw) for page in found for raw in page]
    return [record for record in records if not record.name.startswith(OF_DEPLOYMENT)]


def create(transport: Transport, name: str, columns: Mapping[str, JSON]) -> None:
    """Create a limit; a name that exists already is refused."""
    body: JSON = {"name": name, **{NEW[column]: value for column, value in columns.items()}}
    transport.write("/v2/concurrency_limits/", body, act=f"create concurrency limit {name}")


def delete(transport: Transport, limit_id: UUID) -> None:
    """Delete a limit; deployments that share it have none then."""
    path = f"/v2/concurrency_limits/{limit_id}"
    transport.write(path, None, act=f"delete concurrency limit {limit_id}", method="DELETE")


def change(transport: Transport, limit_id: UUID, changes: Mapping[str, JSON]) -> None:
    if others := changes.keys() - COLUMNS.keys():
        raise ValueError(f"These columns are never sent: {', '.join(sorted(others))}.")
    body: JSON = {COLUMNS[name]: value for name, value in changes.items()}
    path = f"/v2/concurrency_limits/{limit_id}"
    transport.write(path, body, act=f"change concurrency limit {limit_id}", method="PATCH")
