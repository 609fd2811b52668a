"""The admin, one file a subject."""

from portal.admin import audit, environments

__all__ = ["audit", "environments"]
