"""Liveness and readiness endpoints of the web process, without authentication."""

from __future__ import annotations

from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

NO_DATABASE = "The database does not respond."
PENDING_MIGRATIONS = "Migrations are pending. Run “manage.py migrate”."


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Answer 200. It checks nothing else, because a restart of this process repairs nothing else."""
    return JsonResponse({"status": "live"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database responds and has every migration, else 503.

    Prefect is not checked: pages work without it, and an unreachable server must not take the portal down.
    """
    try:
        missing = known_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    except DatabaseError:
        # Without the error: it may name the host, and this page is public.
        return JsonResponse({"status": NO_DATABASE}, status=503)
    if missing:
        return JsonResponse({"status": PENDING_MIGRATIONS}, status=503)
    return JsonResponse({"status": "ready"})


# Cached: the loader imports every migration module, and they cannot change while the process runs.
@cache
def known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)
