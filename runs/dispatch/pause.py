"""Pause and resume deployments in Prefect."""

from __future__ import annotations

from flows.catalog import sync
from flows.prefect_api import connect
from runs import actions, definitions
from runs.models import Action
from runs.models.action import Kind, State


def pause_or_resume(action: Action) -> None:
    """Pause or resume a deployment's schedules, then read the deployment."""
    deployment = action.target_deployment
    if not actions.note_sending(action):
        return
    connect.client_for(deployment.environment.server).set_paused(deployment.prefect_id, action.kind == Kind.PAUSE)
    actions.move(action, to=State.SENT)
    # Prefect emits no event for pause and resume, so the next sync would be the first to notice.
    sync.refresh(deployment, on_change=definitions.record_changes)
    actions.settle(action, to=State.DONE)
