"""Who may see what a run is given and what it says: seeing that it is there is not enough for either."""

from __future__ import annotations

from flows import vault
from flows.access import Holding, Target
from flows.models import Deployment, Verb
from runs.lifecycle import target_of, values_of
from runs.models import Run, RunRequest
from runs.models.request import State

HIDDEN = "What it said is for those who may see its logs."


def may_see_inputs(mine: Holding, subject: Deployment | Target | Run | RunRequest) -> bool:
    """Whether somebody may see parameter values: by their grants, as their asker, or because they are to answer.

    For a request and its run the reader's own part counts; for a deployment only grants do.
    """
    if isinstance(subject, Run):
        wish: RunRequest | None = getattr(subject, "run_request", None)
        return is_asker(mine, wish) or mine.decide(Verb.SEE_INPUTS, target_of(subject)).allowed
    if isinstance(subject, RunRequest):
        return (
            is_asker(mine, subject)
            or mine.decide(Verb.SEE_INPUTS, subject.deployment).allowed
            or may_answer(mine, subject)
        )
    return mine.decide(Verb.SEE_INPUTS, subject).allowed


def may_see_logs(mine: Holding, run: Run) -> bool:
    """Whether somebody may read what a run wrote: its log, and the messages of its states, which quote it."""
    return mine.decide(Verb.SEE_LOGS, target_of(run)).allowed


def quiet(run: Run, mine: Holding) -> Run:
    """The row for a page, without what it said where the reader may not know that. Never save it."""
    if run.state_message and not may_see_logs(mine, run):
        run.state_message = HIDDEN
    return run


def is_asker(mine: Holding, wish: RunRequest | None) -> bool:
    return wish is not None and wish.asked_by_id is not None and wish.asked_by_id == mine.user.pk


def may_answer(mine: Holding, wish: RunRequest) -> bool:
    """Whoever is to sign something sees what it is, for as long as it waits for them."""
    if wish.state != State.WAITING or mine.user.pk in (wish.asked_by_id, wish.asked_for_id):
        return False
    if not mine.decide(Verb.APPROVE, wish.deployment):
        return False
    try:
        return mine.decide(Verb.APPROVE, wish.deployment, values_of(wish)).allowed
    except vault.Sealed:
        # Without the key nobody can approve it either.
        return False
