"""Events that programs post: a name and a small JSON object, which event rules react to."""

from __future__ import annotations

import json
from typing import Any

from flows.models import Environment
from runs import audit, events
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.automation import LARGEST_EVENT, happenings
from runs.automation.event_rules import EVENT_NAME
from runs.automation.value_mapping import is_storable
from runs.errors import Refused
from runs.models import Run, RunEvent, Verb


def post(environment: Environment, name: str, body: dict[str, Any], *, by: Actor, run: Run | None = None) -> None:
    """Record an event in an environment, for the rules of those who see all of it. The trail has it without the body.

    `run` is the run that posts it: rules whose requests led to that run do not react. Raises `Forbidden`, or `Refused`
    with a code `event.…`.
    """
    with audit.act("event.post", environment, by=by, environment=environment.slug) as act:
        Permissions.of(by).require(Verb.POST_EVENT, Target.whole(environment))
        if not EVENT_NAME.fullmatch(name):
            raise Refused(
                "event.name",
                "The name of an event has up to 100 lower-case letters, digits, dots, dashes and underscores.",
            )
        size = len(json.dumps(body))
        if size > LARGEST_EVENT or not is_storable(body):
            raise Refused(
                "event.body",
                f"The body of an event is a JSON object of up to {LARGEST_EVENT:,} bytes, without NUL characters.",
                limit=LARGEST_EVENT,
            )
        cause = happenings.request_behind(run) if run else None
        data = {"name": name, "body": body, "by": by.name, **({"request": cause} if cause else {})}
        # Its environment only: a run or a request would open the body to those who can see that.
        events.record(RunEvent.Kind.EVENT_POSTED, environment=environment, data=data)
        act.after = {"event": name, "bytes": size, **({"request": cause} if cause else {})}
