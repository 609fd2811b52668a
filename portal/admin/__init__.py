"""The admin, one file a subject."""

from portal.admin import audit, deployments, environments, requests, runs

__all__ = ["audit", "deployments", "environments", "requests", "runs"]
