"""Why a service refuses: a code for programs and tests, a sentence for people.

Refused
├── runs.access.decisions.Forbidden     the person has no permission; carries the decision
├── runs.desk.queries.NotVisible        no such row, or it is not visible: the two are not told apart
└── runs.desk.run_actions.StillRunning  the time given for waiting is over
"""

from __future__ import annotations

from typing import Any

# code -> what it means; `make docs` writes docs/errors.md from this table. A code stays for ever: it is in the audit
# trail, in scripts and in tests. Sentences can change.
CODES: dict[str, str] = {
    "access.administrators_only": "Only administrators can change the configuration.",
    "access.denied": "A grant denies the action, or the page refused it.",
    "access.granted": "The action is allowed by a grant.",
    "access.inactive": "The account is disabled.",
    "access.no_grant": "No grant allows the action there.",
    "access.superuser": "The action is allowed to administrators.",
    "access.values": "A grant allows the action, but not with these parameter values.",
    "actor.required": "A command was given no user to act as.",
    "administrator.own": "Administrators cannot remove their own administrator rights.",
    "approval.approver_left_group": "An approver is no longer in the group that the stage requires.",
    "approval.approver_lost_permission": "An approver no longer has permission to approve.",
    "approval.complete": "The request already has all its approvals.",
    "approval.group": "The current stage needs an approval from a group that the person is not in.",
    "approval.insufficient": "The approvals no longer meet the requirements.",
    "approval.on_behalf": "Approvals and rejections cannot be given on someone else's behalf.",
    "approval.own": "Requesters, and those they act for, cannot approve or reject their own request.",
    "approval.requirements_changed": "What a run needs has changed since the request.",
    "approval.stale": "The request is not the one whose digest was displayed.",
    "approval.too_old": "Too much time has passed since the approval.",
    "approval.twice": "The person has already approved the request.",
    "argument.parameter": "A command's parameter is not NAME=VALUE.",
    "audit.empty": "The partition of the audit trail holds nothing.",
    "audit.order": "Partitions of the audit trail are retired oldest first.",
    "audit.tampered": "The audit trail does not verify.",
    "cancellation.pending": "The cancellation was already requested and is not confirmed yet.",
    "comment.length": "The comment is empty or too long.",
    "confirmation.mismatch": "The typed name is not the name asked for.",
    "definition.changed": "The deployment was redeployed after the approval.",
    "demo.incomplete": "A run of the demo did not complete.",
    "deployment.ambiguous": "The name matches several deployments.",
    "deployment.gone": "The deployment no longer exists in Prefect.",
    "deployment.not_deployed": "The alias points to a deployment that does not exist.",
    "deployment.unchanged": "The deployment is already paused, or already active.",
    "deployment.unknown": "No such deployment, or it is not visible.",
    "environment.in_use": "The environment has runs or requests and cannot be deleted.",
    "environment.inactive": "The environment is disabled in the portal.",
    "environment.unknown": "No such environment, or it is not visible.",
    "file.not_json": "The file is not JSON.",
    "file.not_object": "The file does not hold one JSON object.",
    "file.unreadable": "The file cannot be read.",
    "file.unwritable": "The file cannot be written.",
    "force.reason_required": "Marking a run as cancelled by force needs a description.",
    "force.too_early": "The ordinary cancellation has not had enough time yet.",
    "form.stale": "The parameters changed while the form was open.",
    "freeze.already": "The environment is already frozen.",
    "freeze.none": "The environment is not frozen.",
    "freeze.past": "The end of the freeze is in the past.",
    "freeze.reason_required": "A freeze needs a reason.",
    "grant.beyond_own": "People can grant only what they have themselves, for no longer.",
    "grant.condition": "The condition on parameters is not a usable JSON Schema.",
    "grant.condition_unbound": "The condition cannot apply to a verb without parameters.",
    "grant.dates": "The grant ends before it starts.",
    "grant.denied": "People cannot grant what they are denied.",
    "grant.deny": "Only administrators can deny access.",
    "grant.not_own": "People can revoke only grants that they created.",
    "grant.own": "People cannot grant permissions to themselves.",
    "grant.revoked": "The grant has already been revoked.",
    "grant.subject": "A grant applies to exactly one person or one group.",
    "grant.unknown": "No such grant, or it is not visible.",
    "grant.verbs": "The grant has no verb, or an unknown one.",
    "group.unknown": "No such group.",
    "key.unreadable": "A value cannot be decrypted with the configured keys.",
    "name.taken": "Another row has this name.",
    "notifications.not_own": "People can change only their own notification settings.",
    "notifications.topic": "No such notification topic.",
    "override.expired": "The emergency override ended before the launch.",
    "override.minutes": "The length of the emergency override is out of range.",
    "override.none": "The request has no emergency override.",
    "override.not_waiting": "The request is not waiting for approval.",
    "override.reason_required": "An emergency override needs a description of the emergency.",
    "parameters.default_invalid": "The deployment cannot run with its default parameters.",
    "policy.stage_approvals": "The number of approvals of a stage is out of range.",
    "policy.stage_duplicate": "Two stages are for the same approvers.",
    "policy.stage_group": "The group of a stage does not exist.",
    "policy.stages_too_many": "The policy has too many stages.",
    "policy.ticket_link_placeholder": "The ticket URL lacks {ticket}.",
    "policy.ticket_link_scheme": "The ticket URL is not http or https.",
    "policy.ticket_pattern": "The ticket pattern is not a supported regular expression.",
    "prefect.rejected": "Prefect rejected the launch.",
    "reason.required": "A reason is required.",
    "reason.too_long": "The reason is too long.",
    "rejection.reason_required": "A rejection needs a reason.",
    "request.changed": "The stored request does not match its digest.",
    "request.expired": "The request expired before it was approved.",
    "request.not_expired": "The request has not expired yet.",
    "request.unknown": "No such request, or it is not visible.",
    "rerun.other_deployment": "A request can be re-run only for its own deployment.",
    "review.own": "The override must be reviewed by someone who had no part in it.",
    "review.text_required": "A review needs a description of what it found.",
    "review.twice": "The override has already been reviewed.",
    "review.verdict_required": "A review must say whether the override was justified.",
    "run.ambiguous": "The reference matches several runs.",
    "run.differs": "Prefect returned a run of another deployment or with other parameters.",
    "run.finished": "The run has already finished.",
    "run.gone": "The run no longer exists in Prefect.",
    "run.not_started": "No run was started for the request.",
    "run.unknown": "No such run, or it is not visible.",
    "schema.changed": "The deployment's parameters changed after the request.",
    "start.no_offset": "The start time has no UTC offset.",
    "start.too_far": "The start time is too far ahead.",
    "state.illegal": "The request cannot move from its state to the new one.",
    "state.unknown": "No such state.",
    "submission.reused": "The form was already submitted with other values.",
    "tags.too_many": "The run has too many tags.",
    "text.too_long": "The text is too long.",
    "text.unstorable": "The text has a character that cannot be stored.",
    "ticket.pattern": "The ticket does not match the policy's pattern.",
    "ticket.required": "A ticket is required.",
    "ticket.too_long": "The ticket is too long.",
    "time.format": "The date and time cannot be read.",
    "user.unknown": "No such user, or the account is disabled.",
    "verb.unknown": "No such verb.",
    "wait.timeout": "The request did not finish within the given time.",
    "window.closed": "A change window or a freeze does not allow the start.",
    "window.cron": "The cron expression does not have five fields.",
    "window.cron_never": "The cron expression never matches a date.",
    "window.minutes": "The length of the window is out of range.",
    "window.not_waiting": "The request is not waiting for a change window.",
    "window.reason_required": "Starting outside a change window needs a reason.",
    "window.time_zone": "No such time zone.",
}


class Refused(Exception):
    """The action is not possible now.

    `code` is a key of `CODES`, `message` a sentence for the person, `data` the values in it, as JSON has them.
    """

    def __init__(self, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
