"""The admin, one file a subject."""

from portal.admin import (
    aliases,
    artifacts,
    audit,
    deployments,
    environments,
    grants,
    messages,
    people,
    policies,
    requests,
    runs,
    windows,
)

__all__ = [
    "aliases",
    "artifacts",
    "audit",
    "deployments",
    "environments",
    "grants",
    "messages",
    "people",
    "policies",
    "requests",
    "runs",
    "windows",
]
