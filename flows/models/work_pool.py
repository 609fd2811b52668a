"""Work pools with their workers, and work queues, as of the last sync."""

from __future__ import annotations

from django.db import models

from flows.models.environment import Environment
from flows.models.stored_row import StoredRow


class CurrentManager[Row: models.Model](models.Manager[Row]):
    """The rows that Prefect still has."""

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().filter(deleted_upstream_at=None)


class WorkPool(StoredRow):
    """A work pool and its workers. `flows.catalog.pool_catalog` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="work_pools")
    prefect_id = models.UUIDField()
    name = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    type = models.CharField(max_length=100)
    is_paused = models.BooleanField("paused", default=False)
    status = models.CharField(max_length=20)
    concurrency_limit = models.IntegerField(null=True)
    # JSON and not a table: workers are only displayed, and replaced as a whole by every sync.
    workers = models.JSONField(default=list, help_text="name, last_heartbeat and created_at (ISO 8601), is_online")
    variables = models.JSONField(
        default=dict, help_text="JSON Schema of its job variables, without defaults: they may be secret."
    )
    synced_at = models.DateTimeField()
    # Marked and not deleted: actions refer to it. A pool of the same name that is created later is the same row.
    deleted_upstream_at = models.DateTimeField(
        "deleted in Prefect", null=True, help_text="When a sync first found it missing in Prefect."
    )

    objects = models.Manager["WorkPool"]()
    current = CurrentManager["WorkPool"]()

    class Meta:
        ordering = ["name"]
        verbose_name = "work pool"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="unique_work_pool_per_environment")]

    def __str__(self) -> str:
        return self.name

    @property
    def workers_online(self) -> int:
        """The number of workers that Prefect reported as online."""
        return sum(bool(worker["is_online"]) for worker in self.workers)

    @property
    def needs_worker(self) -> bool:
        """Whether workers start its runs; Prefect Cloud submits those of push and managed pools itself."""
        return not self.type.endswith((":push", ":managed"))

    @property
    def prefect_url(self) -> str:
        return f"{self.environment.server.prefect_ui}/work-pools/work-pool/{self.name}"


class WorkQueue(models.Model):
    """A queue of a work pool. `flows.catalog.pool_catalog` is the only code that writes it."""

    pool = models.ForeignKey(WorkPool, models.CASCADE, related_name="queues")
    prefect_id = models.UUIDField()
    name = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    priority = models.IntegerField(default=1, help_text="1 is taken first.")
    concurrency_limit = models.IntegerField(null=True)
    is_paused = models.BooleanField("paused", default=False)
    status = models.CharField(max_length=20, blank=True)
    last_polled_at = models.DateTimeField(null=True, help_text="When a worker last asked for its runs.")
    synced_at = models.DateTimeField()
    deleted_upstream_at = models.DateTimeField(
        "deleted in Prefect", null=True, help_text="When a sync first found it missing in Prefect."
    )

    objects = models.Manager["WorkQueue"]()
    current = CurrentManager["WorkQueue"]()

    class Meta:
        ordering = ["priority", "name"]
        verbose_name = "work queue"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["pool", "name"], name="unique_work_queue_per_pool")]

    def __str__(self) -> str:
        return f"{self.pool}/{self.name}"

    @property
    def environment(self) -> Environment:
        return self.pool.environment
