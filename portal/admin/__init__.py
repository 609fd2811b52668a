"""The admin, one file a subject."""

from portal.admin import audit, environments, requests, runs

__all__ = ["audit", "environments", "requests", "runs"]
