"""Liveness and readiness of the web process, without signing in."""

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
    """It answers: a restart would not help against anything else."""
    return JsonResponse({"status": "live"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """The database answers and has every migration; Prefect is not asked, for pages do not need it."""
    try:
        missing = pending_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    except DatabaseError:
        return JsonResponse({"status": NO_DATABASE}, status=503)
    if missing:
        return JsonResponse({"status": PENDING_MIGRATIONS}, status=503)
    return JsonResponse({"status": "ready"})


@cache
def pending_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)
