"""Counts and lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """Return the count with its noun; only for nouns with a regular plural."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str], most: int) -> str:
    """Return at most `most` of the names, and how many more there are: “a, b and 3 more”."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def how_to_deploy(environment: object) -> str:
    """Return the sentence for an environment without deployments, on pages and the command line."""
    return (
        f"{environment} has no deployments, or none that you have access to. Deploy the bundled flows with "
        f"“python -m flows.deploy” and your own with “prefect deploy”, with PREFECT_API_URL set to the API address of "
        f"{environment}. They appear within a minute, or at once after “manage.py sync {environment}”."
    )
