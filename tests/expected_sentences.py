"""code -> the sentences that refusals with it come with; {} is filled in, {…} is a sentence made elsewhere."""

from __future__ import annotations

SENTENCES: dict[str, list[str]] = {
    "access.administrators_only": ["{} cannot change the configuration. Only administrators can."],
    "access.denied": ["{…}"],
    "access.granted": ["{} is granted “{}” on {}."],
    "access.inactive": ["The account {} is disabled."],
    "access.no_grant": [
        "Only administrators can view the access of other people.",
        "{} has no grant for “{}” on {}.{}",
    ],
    "access.scope": ["This access of {} is limited, and does not include “{}” on {}."],
    "access.superuser": ["{} is an administrator."],
    "access.values": ["{…}"],
    "actor.required": ["Name the user of the portal: --as USER, or PORTAL_USER in the environment."],
    "administrator.already": [
        "{} already is an administrator who can sign in. If the password is lost, request a link on the sign-in page, "
        "or name another account."
    ],
    "administrator.own": ["You cannot remove your own administrator rights. Another administrator can."],
    "agent.arguments": [
        "Give the id of a run, or the number of a request.",
        "The arguments are not valid: {}.",
    ],
    "agent.budget": [
        "An agent has at most {} requests a day and {} runs at once.",
    ],
    "agent.budget_at_once": [
        "The agent {} may have {} open runs at a time, and with this it would have {}. Each item of a backfill and "
        "each step of a chain is one. Request {} fewer, or wait until so many have ended.",
    ],
    "agent.budget_day": [
        "The agent {} may ask for {} runs and cancellations in 24 hours, and with this it would be {}. Request {} "
        "fewer, or request it later.",
    ],
    "agent.cancel_protected": [
        "{} is protected, and {} was not requested by {}. A person can cancel it.",
    ],
    "agent.name": [
        "Choose a name that no agent has: up to 60 lower-case letters, digits, dots, dashes and underscores.",
    ],
    "agent.needs_person": [
        "An agent asked for this run in {}, which is protected, so a person other than its owner must approve it. "
        "Submit a new request.",
        "Your agent asked for this, so someone else must override its approvals. In an emergency, request the "
        "run yourself.",
    ],
    "agent.not_own": [
        "The agent {} belongs to someone else.",
    ],
    "agent.not_stopped": [
        "The agent {} is not stopped.",
        "There is no stop of all agents.",
    ],
    "agent.owner": [
        "{} cannot own an agent: only people who can sign in can.",
    ],
    "agent.purpose_required": [
        "Say what the agent is for.",
    ],
    "agent.stop_held": [
        "The agent {} was stopped by the administrator {}. Only an administrator can start it.",
    ],
    "agent.stopped": [
        "All agents were stopped by {} {}: {}",
        "The agent {} was already stopped by {}.",
        "The agent {} was stopped by {} {}: {}",
    ],
    "agent.tool": [
        "There is no tool of this name. There are {}.",
    ],
    "agent.why_required": [
        "Give a reason. The agent is told it, and its page displays it.",
    ],
    "agents.stopped_already": [
        "All agents are stopped already.",
    ],
    "approval.approver_left_group": ["{} approved this and is no longer in the group {}. Submit a new request."],
    "approval.approver_lost_permission": ["{} approved this and no longer has permission to. Submit a new request."],
    "approval.complete": ["Request {} already has all its approvals."],
    "approval.group": [
        "Request {} needs {} more from the group {} now.",
        "The gates of request {} are for the groups that approve it: {}.",
    ],
    "approval.insufficient": ["The approvals are no longer valid. Submit a new request."],
    "approval.not_independent": [
        "{} is not independent of the people of this request: {}. Someone else must decide, or the request must be "
        "submitted again {} hours after that."
    ],
    "approval.on_behalf": ["You cannot approve or reject on someone else's behalf."],
    "approval.own": ["You cannot approve or reject your own request."],
    "approval.password_not_own": [
        "The password of {} was chosen by {}. Change it to one that only you know, then decide."
    ],
    "approval.requirements_changed": ["The requirements for running {} have changed since. Submit a new request."],
    "approval.stale": ["Request {} is not the one displayed. Reload the page and review it again."],
    "approval.too_old": ["The approval is too old. Submit a new request."],
    "approval.twice": ["You have already approved this. The next approval must come from someone else."],
    "approval.unrecorded": [
        "The audit trail has no entry for the {} by {}. Submit a new request, and find out who changed the database."
    ],
    "approval.unsigned": [
        "The {} by {} is not signed by the portal. Submit a new request, and find out who changed the database."
    ],
    "audit.empty": ["{} is empty."],
    "audit.order": ["{} is not the oldest partition. Retire partitions in order."],
    "audit.tampered": ["The audit trail does not verify and was not changed: {}"],
    "automation.valid_until": [
        "A hook, event rule or chain in {} ends within {} from now. It can be renewed before.",
    ],
    "backfill.at_once": ["The number of runs at a time is 1 to {}."],
    "backfill.empty": ["Enter a range or a list of values for {}."],
    "backfill.none": ["Request {} is not a backfill."],
    "backfill.nothing": ["Nothing is left to run: every item was skipped or refused. Change what is skipped."],
    "backfill.over": ["Request {} has nothing left to start: it is “{}”. Reload the page."],
    "backfill.parameter_unknown": ["{} has no parameter {}."],
    "backfill.parameters": ["A backfill varies one or {} parameters."],
    "backfill.paused": ["Request {} is already paused by {}."],
    "backfill.plan_changed": [
        "The plan has changed since it was displayed: it now has {} items to run. Review it again."
    ],
    "backfill.range": ["“{}” is not a usable range. {}"],
    "backfill.refused_items": [
        "{} of {} items are refused, the first of them item {}: {} Correct the values, or leave these items out."
    ],
    "backfill.running": ["Request {} is neither paused nor stopped."],
    "backfill.secret": ["{} is a secret: a backfill cannot vary it."],
    "backfill.too_many": ["A backfill has at most {} items, and this one would have {} or more. Split it."],
    "backfill.twice": ["Give {} as a range or as a fixed value, not both."],
    "cancellation.pending": [
        "A cancellation of {} was requested. Wait for it, or run it again.",
        "{} has already requested this. Prefect has not confirmed it yet.",
    ],
    "chain.agent": [
        "Agents do not define chains, and decide nothing about their runs. A person can.",
    ],
    "chain.agent_values": [
        "Step {} has values from artifacts, and the agent may run it with certain values only. A person can request "
        "the chain.",
    ],
    "chain.attempts": [
        "Step {} has started {} times. Submit a new request.",
    ],
    "chain.cycle": [
        "The steps wait for each other: {}.",
    ],
    "chain.definition": [
        "{}{}",
    ],
    "chain.deployment": [
        "Step {}: {} is not deployed in {}, or you cannot see it.",
    ],
    "chain.destructive": [
        "Step {}: {} deletes data, which is confirmed for each run. Run it by itself.",
    ],
    "chain.disabled": [
        "The chain of request {} was disabled, so none of its steps start. Enable it, then resume.",
        "{} is disabled. Enable it to run it.",
    ],
    "chain.ended": [
        "{} ended on {}. Save it with a later end to run it.",
    ],
    "chain.inputs": [
        "The chain has no input {}. Its inputs are: {}.",
    ],
    "chain.name": [
        "A chain needs a name of at most {} characters, without a slash.",
    ],
    "chain.none": [
        "Request {} is not a run of a chain.",
    ],
    "chain.nothing_failed": [
        "No step of request {} has failed that could start again.",
    ],
    "chain.over": [
        "Request {} is “{}”: nothing of it can start. Reload the page.",
    ],
    "chain.owner_inactive": [
        "The owner of {}, {}, is disabled. Another person can save it, and become its owner.",
    ],
    "chain.paused": [
        "Request {} is already {}: no step of it starts.",
    ],
    "chain.over_values": [
        "Step {} would have {} runs. At most {} with short values are possible: split it.",
        "The chain would have {} runs. At most {} are possible in one request: split it.",
    ],
    "chain.parameter_invalid": [
        "Step {}: {}",
    ],
    "chain.parameter_required": [
        "Step {}: {} needs a value for {}.",
    ],
    "chain.parameter_unknown": [
        "Step {}: {} has no parameter {}.",
    ],
    "chain.plan_changed": [
        "The plan has changed since it was displayed: it now has {} runs. Review it again.",
    ],
    "chain.profile_fixed": [
        "The resource profile of step {} cannot be chosen. It can be for: {}.",
    ],
    "chain.secret": [
        "Step {}: {} is secret: it can only be an input.",
    ],
    "chain.taken": [
        "There is a chain “{}” in {} already. Choose another name.",
    ],
    "chain.version_changed": [
        "{} has changed since it was displayed: it now has version {}. Review it again.",
    ],
    "change.environments": ["The runs are of several environments. Submit a request for each of them."],
    "channel.address": [
        "Enter an address of up to {} characters without spaces.",
        "The address is not a valid URL.",
        "The address must begin with https:// and contain a host name.",
        "The address must begin with https://. Only channels that may reach private networks can use http://.",
        "The address must not contain a user name, a password or a fragment.",
        "The address of a service begins with one of {}.",
        "The only parameter that the address of a service can have is region.",
    ],
    "channel.disabled": ["The channel {} is disabled. Enable it first."],
    "channel.kind": ["There is no such kind of channel."],
    "channel.name": ["Give the channel a name, such as “operations room”."],
    "channel.no_secret": ["Only messages to a webhook are signed."],
    "channel.taken": ["A channel named {} already exists."],
    "comment.length": ["A comment must have 1 to {} characters."],
    "confirmation.mismatch": ["Nothing was done. Type {} to confirm the emergency override."],
    "credential.missing": ["Enter the credential. None of this kind is stored."],
    "credential.reenter": ["{…}"],
    "cursor.invalid": ["The cursor is not of this list with these filters. Read the list from its first page."],
    "definition.changed": ["{} was changed in Prefect after the request: {}. Submit a new request."],
    "definition.moving": [
        "{} does not pin its code, which is required in {}: {}. Deploy it with a commit or an image digest."
    ],
    "delivery.queued": ["The message is queued already."],
    "demo.incomplete": ["{} did not complete. {}"],
    "deployment.ambiguous": ["{} matches several deployments in {}. {}"],
    "deployment.gone": [
        "{} is no longer deployed in {}.",
        "{} is no longer deployed in {}. Deploy it again or choose another deployment.",
    ],
    "deployment.left_scope": [
        "{} is no longer in the scope of {}. An administrator must confirm where it belongs.",
    ],
    "deployment.not_deployed": [
        "{} is an alias of {}, which is not deployed in {}. Deploy it there, then sync with “manage.py sync {}”."
    ],
    "deployment.unchanged": ["{} is already {}."],
    "deployment.unknown": [
        (
            "{} has no deployment {}. {} One that was deployed just now appears with the next sync, or with "
            "“manage.py sync {}”."
        ),
        "{…}",
    ],
    "destructive.unconfirmed": ["This run of {} deletes data. Type {} to confirm; on the command line, use --confirm."],
    "environment.address": [
        "The API URL is not valid. {}",
        "The API URL must not contain a user, a password, ? or #.",
    ],
    "environment.display_name": [
        "Another environment is called {}. Use another name.",
        "The display name has an invisible character, double spaces, or letters of two alphabets in a word.",
    ],
    "environment.in_use": ["{…}"],
    "environment.inactive": [
        "The environment is disabled. Enable it before you sync it.",
        "{} is disabled in the portal. No runs can be requested there.",
    ],
    "environment.moved": ["The API address of {} changed after the request. Submit a new request."],
    "environment.same_server": [
        "{} is on the same Prefect server. Disable it first, enter the URL of another server, or give both a scope of "
        "the server."
    ],
    "environment.unknown": ["Unknown environment {}. {}", "Unknown environment."],
    "event.body": ["The body of an event is a JSON object of up to {} bytes, without NUL characters."],
    "event.name": ["The name of an event has up to 100 lower-case letters, digits, dots, dashes and underscores."],
    "event_rule.altered": [
        "The rule was changed in the database, or its pepper was removed. Check what it does; its owner can "
        "save it again."
    ],
    "event_rule.artifact_key": ["Give the key of the artifact, such as drift-report."],
    "event_rule.condition": [
        "Begin the pointer of each condition with “/”, such as /run/state.",
        "Compare {} with a number or a text.",
        "Compare {} with one number, text, true, false or null.",
        "Give at most {} conditions, as a list.",
        'Write a condition as {"pointer": "/run/state", "is": "eq", "value": "FAILED"}, with one of {}.',
    ],
    "event_rule.debounce": ["Wait between 0 and {} seconds."],
    "event_rule.debounced": ["A later event came within {} s: {}."],
    "event_rule.deleted": ["The rule {} was deleted."],
    "event_rule.depth": ["The event comes from {} rules in a row; at most {} are followed."],
    "event_rule.environment": [
        "Choose an environment that you can view.",
        "Choose the environment to which the event is posted.",
    ],
    "event_rule.event_name": [
        "Give the name of the event, such as month.closed: lower-case letters, digits, dots, dashes and underscores."
    ],
    "event_rule.expired": ["The rule has ended."],
    "event_rule.gone": ["What happened was deleted since, or is not what the rule waits for any more."],
    "event_rule.hook": ["Choose a hook of a service account that you own."],
    "event_rule.loop": ["A request of this rule led to the event: it does not react to itself."],
    "event_rule.mapping": ["{…}", "“{}” is secret: a rule cannot give it a value."],
    "event_rule.name_required": ["Give the rule a name, such as “load after close”."],
    "event_rule.not_own": ["Only {} decides what this rule does: it acts in their name."],
    "event_rule.owner": ["{} cannot own a rule: only people who can sign in can."],
    "event_rule.owner_disabled": ["The account of {} is disabled, and so are its rules."],
    "event_rule.paused": ["The rule was paused before its request was made."],
    "event_rule.per_hour": ["Allow between 1 and {} requests an hour."],
    "event_rule.pointer": ["{…}"],
    "event_rule.rate": ["The rule made {} requests in an hour, which is its limit."],
    "event_rule.states": ["Choose the states in which a run must end: {}."],
    "event_rule.token_ended": [
        "The token {}, with which the rule was saved, is not valid any more. Save the rule again."
    ],
    "event_rule.trigger": ["“{}” is not something that a rule can wait for."],
    "event_rule.unmet": ["This condition does not hold: {}."],
    "events.too_many": ["Too many streams are open. Close one, or try again later."],
    "failure.owner": ["{} cannot see {}, and would not find this failure. Choose someone who can."],
    "failure.reason_required": ["Say what resolved the failure, such as the fix or the ticket."],
    "failure.state": ["The failure is already {}. Reload the page."],
    "failure.text_required": ["Enter the text of the note."],
    "failure.too_long": ["The text is too long: at most {} characters."],
    "failure.until": ["Mute it until a time in the next 12 months."],
    "failure.until_required": ["Choose until when the failure is muted."],
    "fields.invalid": ["There is no field {}. The fields are {}."],
    "file.unwritable": ["{} could not be written: {}."],
    "filters.invalid": [
        "Last-Event-ID is not the id of an event.",
        "There is no filter {}. There are {}.",
    ],
    "force.reason_required": ["Describe how you know that its process has stopped."],
    "force.too_early": ["Cancel {} first, then wait {} minutes for the cancellation to take effect."],
    "form.stale": [
        "The parameters of {} changed while the form was open. Check the values and submit again.",
        "The values of a quick run of {} changed while its page was open. Check them.",
    ],
    "freeze.already": ["{} is already frozen."],
    "freeze.none": ["{} is not frozen."],
    "freeze.past": ["The end of the freeze is in the past."],
    "freeze.reason_required": ["Give a reason for the freeze. It is shown to everyone whose run is held."],
    "gate.agent": ["Agents do not decide at gates. A person can."],
    "gate.closed": [
        "It may not start. {}",
    ],
    "gate.none": [
        "Request {} is not a step of a chain.",
        "Request {} waits for no decision at a gate. Reload the page.",
    ],
    "gate.reason_required": [
        "Give a reason for letting it start: it was not approved so.",
    ],
    "gate.unfit": [
        "Request {} cannot start with these values. {} Reject it.",
    ],
    "grant.beyond_own": ["{} does not have “{}” on all of {} for that long and cannot grant it."],
    "grant.condition": ["The condition on parameters is not valid. {}"],
    "grant.condition_unbound": [
        "A condition on parameters cannot apply to {}. Add a scope without it for them.",
        "A condition on parameters cannot apply to {}. Create a separate grant for it.",
    ],
    "grant.dates": ["A grant must start before it ends."],
    "grant.denied": ["{} is denied “{}” on {} and cannot grant it."],
    "grant.deny": ["Only administrators can deny access."],
    "grant.group": ["Only administrators can create grants for groups."],
    "grant.not_own": ["{} can revoke only grants they created."],
    "grant.own": ["You cannot grant permissions to yourself."],
    "grant.past": ["The end of the grant is in the past. Choose a later time."],
    "grant.revoked": ["This grant has already been revoked."],
    "grant.subject": ["A grant applies to exactly one person or one group."],
    "grant.verbs": ["Choose at least one verb."],
    "group.unknown": ["Unknown group {}. {}"],
    "hook.altered": [
        "The hook was changed in the database, or its pepper was removed. Check what it does, then replace "
        "its secrets.",
    ],
    "hook.condition": ["The condition is not valid. {}"],
    "hook.disabled": ["The hook, its service account or the owner of that is disabled."],
    "hook.ended": ["The hook has ended. Its owner can renew it."],
    "hook.header": [
        "The header X-GitHub-Delivery is missing or malformed.",
        "The header X-Hub-Signature-256 is missing or malformed.",
        "The header webhook-signature is missing or malformed.",
        "The headers webhook-id and webhook-timestamp are missing or malformed.",
    ],
    "hook.interactive": ["Programs cannot manage hooks. Sign in to the portal to do that."],
    "hook.kind": ["“{}” is not a kind of hook."],
    "hook.mapping": ["{…}"],
    "hook.name_required": ["Give the hook a name, such as “orders from the shop”."],
    "hook.not_own": ["Only the owner of {} decides what its hooks do, and sees their secrets."],
    "hook.owner_changed": ["{} has another owner since the secrets were made. The owner has to replace them."],
    "hook.payload": [
        "The body has a NUL character (U+0000), which cannot be stored.",
        "The body is nested more than {} levels deep.",
        "The body is not JSON. A sender that offers a content type must use application/json.",
        "The body is not a JSON object.",
    ],
    "hook.pointer": ["{…}"],
    "hook.rate": ["More than {} messages a minute came to this hook. Try again in {} s."],
    "hook.replay": ["A message with this id had another body, or one with this body had another id."],
    "hook.secret_unknown": ["The hook does not have this secret any more."],
    "hook.secrets": ["A hook has at most {} secrets. Remove one that is no longer used."],
    "hook.signature": ["No signature of the message was made with a valid secret of the hook."],
    "hook.size": ["The largest body is between {} and {} bytes."],
    "hook.throttled": ["Too many messages that hooks refuse came from this address. Try again in {}."],
    "hook.timestamp": ["The message was signed more than {} minutes ago, or the clock of its sender is wrong."],
    "hook.too_large": ["The body has more than {} bytes."],
    "hook.unknown": ["There is no hook at this address."],
    "idempotency.in_flight": ["A request with this key is being answered. Send it again in a moment."],
    "idempotency.key_invalid": ["The {} may have {} printable characters."],
    "idempotency.key_reused": ["Another request was sent with this key. Use a new key for a new request."],
    "job_token.ambiguous": [
        "{} trusted jobs fit this job token. Name the service account, or revoke all but one of them."
    ],
    "job_token.audience": [
        "No trusted job of this issuer has the audience of this job token.",
        "The job token is not for the portal alone. Request one with one audience.",
    ],
    "job_token.claims": [
        "No trusted job fits this job token. Its trust has ended.",
        "No trusted job fits this job token.{}",
    ],
    "job_token.expired": ["The job token has expired, or is not valid yet. Request another one."],
    "job_token.issuer": ["The issuer of this job token is not accepted here."],
    "job_token.malformed": ["This is not a job token. Send the JWT of GitHub or GitLab as it is."],
    "job_token.signature": ["The job token is not signed with a key of its issuer."],
    "job_token.unavailable": ["The keys of {} cannot be read at the moment. Try again in a minute."],
    "job_token.used_up": ["This job token was exchanged {} times already. Request another one."],
    "job_trust.audience": ["Give the audience that job tokens must name, such as the portal's address."],
    "job_trust.claims": [
        "Give 1 to {} claims, each once.",
        "Give each claim once: {} has a field above.",
        "Give “{}” a text of up to {} printable characters.",
        "“{}” is not a claim that can be a condition.",
        "“{}”: use one {} between two / or : at most.",
    ],
    "job_trust.issuer": ["Choose one of the issuers that the operator of the portal has allowed."],
    "job_trust.minutes": ["A token of a job is valid for 1 to {} minutes."],
    "job_trust.not_own": ["{} is not a service account that you own."],
    "job_trust.repository": ["Name the repository exactly, without {}: by one of the claims {}."],
    "job_trust.revoked": ["The trusted job {} was already revoked."],
    "job_trust.same": ["{} trusts the same jobs already. Revoke it first."],
    "job_trust.unlimited": ["{} is protected: give ref or environment exactly, or require ref_protected = true."],
    "key.unreadable": ["{} {}: {} Nothing was changed."],
    "level.days": ["The share is of the runs of 1 to {} days."],
    "level.deployment": ["There is no deployment {} in {}."],
    "level.kind": ["“{}” is not a kind of service level: {}."],
    "level.owner": ["{} cannot see {}. Choose someone who can."],
    "level.removed": ["{} has removed this service level already."],
    "level.runbook": [
        "The address of the runbook is longer than 500 characters.",
        "The runbook is an address that begins with https:// or http://.",
    ],
    "level.threshold": ["The threshold is above 0 and at most {} {}."],
    "limit.active": ["A concurrency limit is active or inactive."],
    "limit.decay": ["Slot decay is a number of slots a second, from 0."],
    "limit.exists": ["{} has a concurrency limit {} already. Change that one."],
    "limit.name": [
        "Give the limit a name of 1 to {} characters without {} that does not begin with “{}”.",
    ],
    "limit.number": ["The {} must be a whole number from {}.", "The {} must be a whole number."],
    "limit.pending": ["Another change of the limits of {} is pending. Try again when it has finished."],
    "limit.scoped": [
        "{} is a scope of its Prefect server, and a concurrency limit holds back the runs of all environments there. "
        "Create it in Prefect.",
    ],
    "limit.shared": ["The limit of {} is the global concurrency limit {}, which others share. Change that one."],
    "limit.strategy": ["Runs beyond the limit can be {}."],
    "limit.unknown": ["A {} has no {}."],
    "loosening.confirm": ["{} Type {} to confirm."],
    "loosening.reason_required": ["{} Give a reason."],
    "move.done": ["{} does not need to be assigned any more. Reload the page."],
    "move.unclear": [
        "{} is not in the scope of exactly one enabled environment. Change its tags, name or work pool in Prefect, or "
        "change a scope."
    ],
    "name.taken": ["A {} named {} already exists."],
    "notification_rule.deployment": ["There is no deployment {} that you see."],
    "notification_rule.minutes": [
        "Minutes are for “{}” alone: the rule is for requests that nobody decided by then.",
        "Wait for 0 to {} minutes.",
    ],
    "notification_rule.name": ["Give the rule a name, such as “nightly loads”."],
    "notification_rule.not_yours": [
        "Only administrators can manage the rules of groups and channels, and each person their own."
    ],
    "notification_rule.personal": ["{} is about one person, and so for people only."],
    "notification_rule.receivers": ["Choose a group or a channel, not both."],
    "notification_rule.removed": ["{} has removed this rule already."],
    "notification_rule.too_long": ["This name is longer than {} characters."],
    "notification_rule.too_many": ["{} has {} rules. Remove one first."],
    "notification_rule.topics": ["Choose topics among these: {}."],
    "notifications.digest": ["Choose at once, every hour, or every day at an hour from 0 to 23."],
    "notifications.merge": ["Merge messages within 0 to {} minutes."],
    "notifications.not_own": ["You can change only your own notification settings."],
    "notifications.quiet": ["Give both times of the quiet hours, or none."],
    "notifications.topic": ["Unknown notification topics: {}."],
    "occurrence.closed": ["Request {} takes no more runs: it is “{}”."],
    "override.expired": ["The emergency override ended at {} UTC. Submit a new request."],
    "override.minutes": ["An emergency override lasts {} to {} minutes."],
    "override.none": ["Request {} has no emergency override."],
    "override.not_waiting": ["Request {} is not waiting for approval, so there is nothing to override."],
    "override.reason_required": ["Describe the emergency."],
    "override.rules": ["A change of rules has no emergency: another administrator must approve it."],
    "override.too_many": [
        "An emergency override is for at most {} runs with fixed values. Submit those that are urgent by themselves."
    ],
    "parameters.default_invalid": ["It cannot run with its default parameters: {}"],
    "parameters.not_offered": ["{…}"],
    "person.invalid": ["The {} is not valid. {}"],
    "person.name_taken": ["The name {} looks like the {} {}. Choose a name that cannot be confused with it."],
    "person.name_unclear": [
        "The name {} cannot be used: it has invisible characters or extra spaces, or mixes alphabets in one word. Type "
        "it again in one alphabet."
    ],
    "policy.stage_approvals": ["A stage needs 1 to {} approvals."],
    "policy.stage_duplicate": ["Two stages are for {}. Combine them."],
    "policy.stage_group": ["Unknown group {}: no one could approve at that stage."],
    "policy.stages_too_many": ["A policy has at most {} stages."],
    "policy.ticket_link_placeholder": ["The ticket URL must contain {ticket}."],
    "policy.ticket_link_scheme": ["The ticket URL must start with https:// or http://."],
    "policy.ticket_pattern": [
        "The ticket pattern {} is not a supported regular expression: look-around and backreferences are not allowed."
    ],
    "precondition.failed": ["It was changed since you read it. Read it again, then decide."],
    "precondition.required": ["Read it first, and send its ETag as If-Match."],
    "prefect.rejected": ["{…}"],
    "pin.too_many": ["You have {} pinned deployments, which is the limit. Unpin one first."],
    "preset.ambiguous": [
        "{} share a preset {} of {}. Save one of them under a name of your own.",
    ],
    "preset.name_required": [
        "Enter a name for the preset.",
    ],
    "preset.not_own": [
        "{} is a preset of {}. Save a copy to change it.",
    ],
    "preset.taken": [
        "You already have a preset {} of this deployment. Choose another name.",
    ],
    "preset.too_large": [
        "The values are {} kB; a preset has at most {} kB.",
    ],
    "preset.too_many": [
        "You have {} presets of {} in {}, which is the limit. Delete one first.",
    ],
    "preset.unknown": [
        "The preset {} has been deleted.",
        "{} has no preset {}. {}",
    ],
    "profile.time_zone": ["This time zone is not known. Choose one from the list, such as Europe/Vienna."],
    "rate.exceeded": ["More than {} requests a minute came with this token. Try again in {} s."],
    "reason.required": [
        "A reason is required for every {} in {}.",
        "Give a reason: administrators and auditors will read it.",
    ],
    "reason.too_long": ["The reason is too long: {} characters, at most {}."],
    "recovery.not_automatic": ["Stalled runs are not put back automatically in {}."],
    "recovery.pending": ["{} has already requested “{}”."],
    "recovery.reason_required": ["Describe how you know that no process is working on the run."],
    "recovery.repeated": ["{} was put back automatically before. A person must decide now."],
    "recovery.worker_online": [
        "A worker that can have picked up {} is online again, so it is not put back automatically."
    ],
    "rejection.reason_required": ["Give a reason for the rejection. The requester will see it."],
    "request.changed": [
        "Request {} does not match what was requested. Submit a new request.",
        "The request was changed in the database after it was submitted. Submit a new request.",
    ],
    "request.expired": ["Request {} has expired. Submit a new request."],
    "request.not_expired": ["Request {} has not expired yet."],
    "request.unknown": ["Unknown request {}."],
    "request.unrecorded": [
        "The audit trail has no entry for the submission of request {}. Submit a new request, and find out who changed "
        "the database."
    ],
    "rerun.external": ["{} was started outside the portal. Run it again from its own page."],
    "rerun.other_deployment": ["Request {} was for {} and cannot be re-run elsewhere."],
    "rerun.secret_exposed": [
        "Request {} has secret values that its deployment no longer treats as secret: {}. "
        "Submit a new request and enter them again."
    ],
    "reset_link.throttled": ["A link was requested several times. Check your email, or try again in {}."],
    "reset_link.unknown": ["No account that signs in with a password has this email address."],
    "reset_link.used": ["The link was used already, or the account has been changed since."],
    "resource_profile.changed": [
        "The resource profile {} was replaced after the request. Submit a new request.",
    ],
    "resource_profile.empty": [
        "Set at least one job variable or a work queue.",
    ],
    "resource_profile.gone": [
        "There is no resource profile {} in {}. Choose another one, or none.",
    ],
    "resource_profile.group": [
        "There is no group {}. Choose another one.",
    ],
    "resource_profile.name": [
        "A resource profile has a name of 1 to {} characters, and a description of at most {}.",
    ],
    "resource_profile.not_allowed": [
        "{} cannot choose the resource profile {}. {}",
    ],
    "resource_profile.other_pool": [
        "The resource profile {} is for {}, and {} {}.",
    ],
    "resource_profile.placeholder": [
        "A job variable contains {{, which Prefect would replace when the run starts. Enter the value itself.",
    ],
    "resource_profile.pool": [
        "Choose a work pool, or a type of work pools.",
        "There is no {} in {}.",
    ],
    "resource_profile.queue": [
        "Choose the work pool too: a work queue belongs to one.",
        "Work pool {} has no work queue {}.",
    ],
    "resource_profile.removed": [
        "{} has removed this resource profile already.",
    ],
    "resource_profile.secret": [
        "Environment variables, and values that may be secret, cannot be part of a resource profile: everyone who sees "
        "the environment sees it. Set them in the work pool or in the deployment.",
    ],
    "resource_profile.variables": [
        "The job variables do not fit work pool {}. {}",
    ],
    "retry.destructive": ["This run of {} deletes data, so it is not retried in place. Request the run again."],
    "retry.external": ["{} was started outside the portal. Request a run of {} with its parameters."],
    "retry.needs_approval": ["A run of {} needs an approval, and so does each retry."],
    "retry.not_failed": ["{} has not failed: {}."],
    "retry.pending": [
        "A retry of {} is already under way.",
        "{} has already requested a retry of {}.",
        "{} has already requested a retry: change request {}.",
    ],
    "retry.too_many": ["A run has at most {} retries."],
    "review.own": ["This must be reviewed by someone who had no part in it."],
    "review.text_required": ["Describe what the review found."],
    "review.twice": ["This override has already been reviewed."],
    "review.verdict_required": ["Choose whether the emergency override was justified."],
    "row.unknown": ["There is no {} {}, or you cannot see it."],
    "rules.administrators_only": ["{} cannot decide on a change of rules. Only administrators can."],
    "rules.beneficiary": ["You would gain by this change, so someone else must approve it. You can reject it."],
    "rules.moved": [
        "{} was changed after this was requested, so it cannot be approved any more. Reject it, and request the change "
        "again."
    ],
    "rules.no_signer": [
        "This loosens the rules of {} and needs the approval of a second administrator, and there is no other one who "
        "could give it. Ask the operators of the portal to add an administrator (manage.py new_administrator)."
    ],
    "rules.not_own": ["Only the requester can withdraw a change of rules. Reject it instead."],
    "run.ambiguous": ["{} matches several runs. {}"],
    "run.differs": ["{…}"],
    "run.finished": ["{} has already finished: {}."],
    "run.gone": [
        "The run is no longer kept here, so it cannot be retried.",
        "{} no longer exists in Prefect, so there is nothing to cancel.",
        "{} no longer exists in Prefect.",
    ],
    "run.not_stalled": ["{} is not stalled in a way for which “{}” helps. Reload the page to see its state."],
    "run.unknown": ["Unknown run {}."],
    "schedule.catch_up": [
        "Missed starts: none, last or all, not “{}”.",
    ],
    "schedule.cron": [
        "“{}” has a step for the day beside a weekday. Give days as numbers, or one of them.",
        "“{}” is not a cron expression that ever matches a date.",
        "“{}” is not a cron expression: minute hour day month weekday, of numbers, names and * , - /.",
    ],
    "schedule.end": [
        "A schedule in {} ends within {} from now. It can be renewed before.",
    ],
    "schedule.ended": [
        "{} has already ended.",
    ],
    "schedule.interval": [
        "“{}” is not an interval: use 1m or more, up to 24h, or whole days, such as 15m, 6h or 7d.",
    ],
    "schedule.name": [
        "Give the schedule a name of 1 to {} characters, such as “nightly”.",
    ],
    "schedule.native_code": [
        "{} has a schedule without a slug from its code. Its next deployment would delete a schedule of the portal "
        "beside it. Give the schedules in the code slugs, or let the portal keep this one.",
    ],
    "schedule.native_options": [
        "A schedule in Prefect has no tags, run name or resource profile, and starts nothing that was missed. "
        "Leave them out.",
    ],
    "schedule.native_refused": [
        "Schedules in Prefect are not allowed for {}: nothing is checked at their starts. Let the portal keep the "
        "schedule.",
    ],
    "schedule.native_secret": [
        "Prefect would store a secret value as long as the schedule is there: {}. Leave it to the deployment, or "
        "let the portal keep the schedule.",
    ],
    "schedule.never": [
        "“{}” has no start after now.",
    ],
    "schedule.not_active": [
        "{} is “{}”, so there is nothing to pause.",
    ],
    "schedule.not_live": [
        "{} is “{}”: there is nothing to replace. Add a new one.",
    ],
    "schedule.not_native": [
        "{} is not a schedule that Prefect keeps for the portal.",
    ],
    "schedule.not_paused": [
        "{} is “{}”, not paused.",
    ],
    "schedule.obstructed": [
        "{} cannot be put back. {}",
        "{} cannot be resumed. {}",
    ],
    "schedule.other_deployment": [
        "{} is a schedule of {}.",
    ],
    "schedule.over": [
        "{} has no start left. Renew it with a later end.",
    ],
    "schedule.own": ["{} is a schedule of the portal. Pause or resume that one."],
    "schedule.pending": ["Another change of this schedule of {} is pending. Try again when it has finished."],
    "schedule.rrule": [
        "A recurrence rule has at most {} starts a day, and COUNT={}.",
        "A recurrence rule is DAILY, WEEKLY, MONTHLY or YEARLY. For more often use cron or an interval.",
        "A rule with FREQ={} cannot have {} here.",
        "DTSTART is a local time without a zone, such as DTSTART:20260101T060000.",
        "Give one recurrence rule, such as FREQ=MONTHLY;BYDAY=1MO;BYHOUR=6, with a DTSTART or without.",
        "Give one recurrence rule, without other dates.",
        "INTERVAL is a number from 1 to 9999.",
        "“{}” is not a recurrence rule: {}.",
    ],
    "schedule.rule": [
        "A rule has 1 to {} characters.",
    ],
    "schedule.rule_type": [
        "“{}” is not a type of rule: use cron, interval or rrule.",
    ],
    "schedule.secret_exposed": [
        "{} has secret values that its deployment no longer treats as secret: {}. Edit it and enter all values.",
    ],
    "schedule.time_zone": [
        "Unknown time zone {}. Use a name such as Europe/Vienna.",
    ],
    "schedule.unchanged": [
        "Prefect has {} as approved. There is nothing to put back.",
        "The schedule {} of {} is already {}.",
    ],
    "schedule.unknown": ["{} has no schedule {} in Prefect."],
    "schedule.withdraw": [
        "Request {} is for a schedule, which was approved as a whole. Pause or end the schedule.",
    ],
    "schema.changed": [
        "The parameters of {} changed after the request. Request the run again.",
        "The parameters of {} changed after the request. Submit a new request.",
    ],
    "scope.overlap": [
        "The scopes of {} and {} can overlap: {}. A deployment must belong to one of them.",
    ],
    "scope.values": ["{…}"],
    "search.too_long": ["The search text is too long: {} characters, at most {}."],
    "search.too_many_words": ["Search for at most {} words."],
    "service_account.on_behalf": ["{} is a service account: it acts for its owner only."],
    "service_account.own": ["You cannot grant permissions to {}: you are its owner."],
    "service_account.owner": ["{} cannot own a service account. Choose an active person who can sign in."],
    "service_account.person": [
        "{} is a service account: it has no password and no groups, and cannot sign in. Change it on its own page."
    ],
    "service_account.purpose_required": ["Say what the service account is for."],
    "session.unknown": ["This session has ended already, or it is the one that you are using."],
    "sign_in.throttled": ["Too many failed attempts. Try again in {}."],
    "sign_on.ambiguous": [
        "{} accounts have the email address {}, so single sign-on cannot tell which one to open. Sign in with a "
        "password, or ask a portal administrator to change the address of one."
    ],
    "sign_on.closed": ["The account {} is disabled, or may not sign in. A portal administrator can change that."],
    "sign_on.expired": ["The sign-on took too long, or it began in another browser or tab."],
    "sign_on.failed": ["{} did not confirm who you are. {}"],
    "sign_on.has_password": ["The account {} has a password. Sign in with it, then connect {} on your profile."],
    "sign_on.no_email": ["{} sent no verified email address, which the portal needs to find your account."],
    "sign_on.not_connected": ["{} is not connected to single sign-on."],
    "sign_on.not_fresh": ["{} does not confirm that you signed in there just now, which this page asks for."],
    "sign_on.other_identity": [
        "The account {} is connected to another identity of {}. If that identity no longer exists, a portal "
        "administrator can disconnect it on the page of the user."
    ],
    "sign_on.throttled": ["Too many sign-ons from this address have failed. Try again in {}."],
    "sign_on.unavailable": ["{} cannot be reached at the moment. Try again in a minute."],
    "sign_on.unknown": [
        "No account has the email address {}. A portal administrator can add one, or change the address of yours."
    ],
    "start.past": ["This start time has passed. Choose a later time, or start the run now."],
    "start.too_far": ["A run can be scheduled at most one year ahead."],
    "state.illegal": ["Request {} is “{}” and can no longer become “{}”. Reload the page to see what happened."],
    "submission.reused": [
        "This form was already submitted with other values. Open it again to request another backfill.",
        "This form was already submitted with other values. Open it again to request another run.",
    ],
    "tags.too_many": ["A run can have at most {} tags, not {}."],
    "target.gone": ["Prefect no longer has the {} {} in {}."],
    "target.unchanged": ["The {} {} is like that already."],
    "test.expired": ["The test did not start in time. Check that the background tasks run."],
    "text.nul": ["A text has a NUL character (U+0000), which cannot be stored. Remove it."],
    "text.too_long": ["The {} is too long: {} characters, at most {}."],
    "text.unstorable": ["The {} contains a character that cannot be stored. Type it instead of pasting it."],
    "ticket.pattern": ["“{}” is not a valid ticket: it must match {}."],
    "ticket.required": ["A ticket is required for every {} in {}."],
    "ticket.too_long": ["The ticket is too long: {} characters, at most {}."],
    "time.format": [
        "Give a time within ten years from now.",
        "This time is outside the years that can be stored.",
        "{…}",
    ],
    "time.no_offset": ["A time without a UTC offset is ambiguous. Add the offset."],
    "time.repeated": ["{…}"],
    "time.skipped": ["{…}"],
    "token.agent_scope": [
        "An agent cannot have {}. It can have {}.",
    ],
    "token.door": [
        "The token {} is of another kind. Tokens of agents work at /mcp only, all others with the API only.",
    ],
    "token.expired": ["The token {} has expired. Create another one."],
    "token.expiry": ["Choose an expiry in the future, at most {} days ahead."],
    "token.interactive": ["Tokens cannot manage tokens. Sign in to the portal to do that."],
    "token.invalid": [
        "Send a token of an agent: “Authorization: Bearer portal_…”.",
        "Send a token of the portal: “Authorization: Bearer portal_…”.",
        "The token is not valid. Check that it was copied as a whole.",
    ],
    "token.name_required": ["Give the token a name by which you will know it, such as “nightly CI”."],
    "token.network": ["The token {} cannot be used from {}."],
    "token.networks": ["Give at most {} networks.", "“{}” is not an address or a network such as 10.0.0.0/8."],
    "token.not_own": ["{} is not you, and not a service account that you own."],
    "token.of_job": ["The token of a CI job cannot be replaced: the next job is given another one."],
    "token.revoked": ["The token {} was already revoked.", "The token {} was revoked or replaced. Use another one."],
    "token.scope": [
        "Choose at least one verb for each scope. A token cannot have “emergency override”.",
        "Give the token 1 to {} scopes.",
    ],
    "token.throttled": ["Too many requests with invalid tokens came from this address. Try again in {}."],
    "token.trail": ["Only administrators and auditors can have a token that reads the whole audit trail."],
    "token.user_inactive": ["The account {}, or its owner's, is disabled."],
    "user.unknown": ["Unknown or inactive user {}."],
    "verb.unknown": ["Unknown verb {}. Verbs: {}."],
    "view.name": ["Enter a name of at most {} characters for the view."],
    "view.not_own": ["The view “{}” belongs to someone else."],
    "view.too_long": ["The filters are too long to be saved. Remove some of them."],
    "view.too_many": ["You have {} saved views of this list. Delete one first."],
    "wait.timeout": ["{…}"],
    "window.closed": [
        "{} Put the run back when runs may start again.",
        "{} Request a start within a permitted time.",
        "{} Retry the run when runs may start again.",
        "{} Submit a new request for a permitted time.",
    ],
    "window.cron": ["“{}” is not a cron expression: it needs five fields, minute hour day month weekday."],
    "window.cron_never": ["“{}” never matches a date{}."],
    "window.minutes": ["A window lasts from 1 minute to {} days."],
    "window.not_waiting": ["Request {} is not waiting for a change window."],
    "window.reason_required": ["Give a reason for starting outside the change window."],
    "window.time_zone": ["Unknown time zone {}. Use a name such as Europe/Vienna."],
}
