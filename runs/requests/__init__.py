"""Submit and re-run requests, request cancellations, and decide who can view parameters and logs."""

from runs.requests.backfill import AT_ONCE, submit_backfill
from runs.requests.backfill_plan import Item, Outcome, Plan, plan_backfill
from runs.requests.backfill_ranges import MOST_ITEMS
from runs.requests.cancel import PATIENCE, cancel, cancel_automatically, force_cancel
from runs.requests.destructive import is_destructive
from runs.requests.earlier_runs import Earlier
from runs.requests.frozen_values import is_intact, secret_paths, spec_digest, spec_values, values_of
from runs.requests.occurrence import add_occurrence
from runs.requests.offered_values import offer_errors, require_still_offered
from runs.requests.profile_rules import offered as offered_profiles
from runs.requests.profile_rules import require_still_valid as require_profile
from runs.requests.recover import mark_failed, put_back, put_back_automatically, require_automatic, require_window
from runs.requests.retry import (
    create_retry,
    needs_new_approval,
    request_of,
    require_retry_allowed,
    require_retryable,
    require_start_now,
    retries_left,
    retry,
    verb_for,
)
from runs.requests.rules import (
    has_passed,
    require_rerun_allowed,
    require_secrets_hidden,
    require_start_allowed,
    require_submittable,
)
from runs.requests.spec import MOST_RETRIES, Spec
from runs.requests.submission_preview import Preview
from runs.requests.submit import rerun, submit, submit_change

__all__ = [
    "AT_ONCE",
    "MOST_ITEMS",
    "MOST_RETRIES",
    "PATIENCE",
    "Earlier",
    "Item",
    "Outcome",
    "Plan",
    "Preview",
    "Spec",
    "add_occurrence",
    "cancel",
    "cancel_automatically",
    "create_retry",
    "force_cancel",
    "has_passed",
    "is_destructive",
    "is_intact",
    "mark_failed",
    "needs_new_approval",
    "offer_errors",
    "offered_profiles",
    "plan_backfill",
    "put_back",
    "put_back_automatically",
    "request_of",
    "require_automatic",
    "require_profile",
    "require_rerun_allowed",
    "require_retry_allowed",
    "require_retryable",
    "require_secrets_hidden",
    "require_start_allowed",
    "require_start_now",
    "require_still_offered",
    "require_submittable",
    "require_window",
    "rerun",
    "retries_left",
    "retry",
    "secret_paths",
    "spec_digest",
    "spec_values",
    "submit",
    "submit_backfill",
    "submit_change",
    "values_of",
    "verb_for",
]
