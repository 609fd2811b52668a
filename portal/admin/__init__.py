"""The admin, one file a subject."""

from portal.admin import aliases, audit, deployments, environments, grants, people, requests, runs

__all__ = ["aliases", "audit", "deployments", "environments", "grants", "people", "requests", "runs"]
