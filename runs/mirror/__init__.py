"""Carries the facts of flow runs to Postgres: the only code that writes `Run` and its rows."""

from runs.mirror.detailing import detail, growing, tail, talking
from runs.mirror.sweeping import glance, refresh, sweep

__all__ = ["detail", "glance", "growing", "refresh", "sweep", "tail", "talking"]
