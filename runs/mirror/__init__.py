"""Carries the facts of flow runs to Postgres: the only code that writes `Run` and its rows."""

from runs.mirror.detailing import detail, growing, tail, talking
from runs.mirror.keeping import keep
from runs.mirror.sweeping import glance, refresh, sweep

__all__ = ["detail", "glance", "growing", "keep", "refresh", "sweep", "tail", "talking"]
