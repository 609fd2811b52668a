"""The admin, one file a subject."""

from portal.admin import aliases, artifacts, audit, deployments, environments, grants, people, requests, runs

__all__ = ["aliases", "artifacts", "audit", "deployments", "environments", "grants", "people", "requests", "runs"]
