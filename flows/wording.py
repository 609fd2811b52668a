"""Numbers, counts and lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Larger floats have no exact whole number, and hundreds of digits.
LARGEST_WHOLE = 10**15


def plain_number(value: Any) -> Any:
    """Return a whole number without “.0”, as people write it; every other value as it is. For display only."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE:
        return int(value)
    return value


def plural(count: int, noun: str) -> str:
    """Return the count with its noun; only for nouns with a regular plural."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str], most: int) -> str:
    """Return at most `most` of the names, and how many more there are: “a, b and 3 more”."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def deployment_name(full_name: str) -> str:
    """Return “flow/deployment” as people read it: once where both are the same, so “export/export” is “export”."""
    flow, _, name = full_name.partition("/")
    return flow if flow == name else full_name


def is_name_of(full_name: str, typed: str) -> bool:
    """Whether somebody typed the name of a deployment, in full or as they read it."""
    return typed.strip() in (full_name, deployment_name(full_name))


def how_to_deploy(environment: object) -> str:
    """Return the sentence for an environment without deployments, on pages and the command line."""
    return (
        f"{environment} has no deployments, or none that you have access to. Deploy the bundled flows with "
        f"“python -m flows.deploy” and your own with “prefect deploy”, with PREFECT_API_URL set to the API address of "
        f"{environment}. They appear within a minute, or at once after “manage.py sync {environment}”."
    )
