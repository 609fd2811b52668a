"""The list of runs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.admin.runs.page import visible_parent
from portal.auth.request_user import permissions_of
from portal.lists.change_list import KeysetList


class RunList(KeysetList):
    """Adds to each row the run that it is part of, if the user can see that one."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        permissions = permissions_of(request)
        self.result_list: list[Any] = list(self.result_list)
        for run in self.result_list:
            run.part_of = visible_parent(run, permissions)
