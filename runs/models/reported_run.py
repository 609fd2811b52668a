"""Runs as the run report lists them."""

from __future__ import annotations

from runs.models.run import Run


class ReportedRun(Run):
    """A run with who requested and who approved it. The table is that of `Run`; nothing is written by this name."""

    class Meta:
        proxy = True
        ordering = ["-sort_at", "-pk"]
        verbose_name = "reported run"
        default_permissions = ()
