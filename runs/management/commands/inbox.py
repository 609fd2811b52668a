"""Lists the requests that wait for an answer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from runs import desk
from runs.management.speaking import DONE, SpeakingCommand, doer
from runs.models import RunRequest


class Command(SpeakingCommand):
    help = "List the requests that wait for your answer, the most urgent first."

    def speak(self, asked: Namespace) -> int:
        rows = [described(wish) for wish in desk.inbox(by=doer(asked.person))]
        if not asked.json:
            rows = [{name: value for name, value in row.items() if name != "digest"} for row in rows]
        self.tell(rows, as_json=asked.json, nothing="Nothing waits for your answer.")
        return DONE


def described(wish: RunRequest) -> dict[str, Any]:
    return {
        "request": wish.pk,
        "environment": wish.environment_name,
        "deployment": wish.deployment_name,
        "asked_by": wish.asked_by_name,
        "reason": wish.reason,
        "ticket": wish.ticket,
        "risk": wish.policy.get("risk", ""),
        "expires": wish.expires_at,
        "digest": wish.digest,
    }
