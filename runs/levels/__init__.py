"""Service levels: who sets them, where they do not hold, and who sees that."""

from runs.levels.evaluation import evaluate
from runs.levels.level_changes import MOST_DAYS, UNITS, can_manage, create, remove
from runs.levels.level_listings import BREACHES, LEVELS, breached_levels, covering, open_breaches

__all__ = [
    "BREACHES",
    "LEVELS",
    "MOST_DAYS",
    "UNITS",
    "breached_levels",
    "can_manage",
    "covering",
    "create",
    "evaluate",
    "open_breaches",
    "remove",
]
