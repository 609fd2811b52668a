"""Breaks the product on purpose, one way at a time, and requires a test to fail: `python -m tests.sabotage [NAME ...]`.

Each sabotage is made in a copy of the tree, or in a copy of the migrated database, and only its own tests are run. It
starts its own Postgres, or uses databases of its own on the server that DATABASE_URL names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import psycopg
from psycopg import sql

from portal.demo import postgres
from portal.demo.postgres import Embedded, Server
from portal.demo.processes import ROOT, Reaper
from portal.demo.supervisor import Part, Supervisor

PATIENCE = 300
# All tests together, once.
LONG_PATIENCE = 3600
# Both are run at once by default: most of a run is one process that starts.
JOBS = 2
# Caches of the copy, and what is never needed for a test.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", "docs", "build")
# A test that failed. One that could not begin, because nothing could be imported or set up, proves nothing, and neither
# does one in which the spoiled line names something that does not exist.
FAILED = re.compile(r"^(SUB)?FAILED(?!.* - NameError)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sabotage:
    """In `file`, which has `old` exactly once, it becomes `new`; or `statement` is run in the database."""

    name: str
    tests: tuple[str, ...]
    file: str = ""
    old: str = ""
    new: str = ""
    statement: str = ""


def without_triggers(table: str) -> str:
    """SQL that drops every trigger of a table, whatever they are called."""
    return f"""
        DO $$ DECLARE found record; BEGIN
          FOR found IN SELECT tgname FROM pg_trigger
            WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal AND tgparentid = 0
          LOOP EXECUTE format('DROP TRIGGER %I ON {table}', found.tgname); END LOOP;
        END $$
    """


SABOTAGES = (
    # Single sign-on
    Sabotage(
        "an address that nobody verified opens an account",
        ("tests/portal/auth/test_single_sign_on.py::test_an_address_that_nobody_verified_opens_nothing",),
        "portal/auth/sign_on_provider.py",
        "    if not is_verified or not isinstance(email, str):",
        "    if not isinstance(email, str):",
    ),
    Sabotage(
        "a token of another sign-on is accepted",
        ("tests/portal/auth/test_single_sign_on.py::test_a_token_that_is_not_right_signs_nobody_in",),
        "portal/auth/sign_on_provider.py",
        'client.parse_id_token(token, known["nonce"],',
        "client.parse_id_token(token, None,",
    ),
    Sabotage(
        "a token for another client is accepted",
        ("tests/portal/auth/test_single_sign_on.py::test_a_token_that_is_not_right_signs_nobody_in",),
        "portal/auth/sign_on_provider.py",
        '            "aud": {"essential": True, "value": settings.SSO_CLIENT_ID},\n',
        "",
    ),
    Sabotage(
        "a token that nobody signed is accepted",
        ("tests/portal/auth/test_single_sign_on.py::test_a_token_that_a_secret_or_nothing_signed_signs_nobody_in",),
        "portal/auth/sign_on_provider.py",
        '    client.server_metadata["id_token_signing_alg_values_supported"] = list(ALGORITHMS)\n',
        "",
    ),
    Sabotage(
        "another provider can describe itself as ours",
        ("tests/portal/auth/test_single_sign_on.py::test_the_description_of_another_provider_is_refused",),
        "portal/auth/sign_on_provider.py",
        'if not isinstance(described, str) or described.rstrip("/") != settings.SSO_ISSUER:',
        "if not isinstance(described, str):",
    ),
    Sabotage(
        "the way of signing in that is required is not looked at",
        ("tests/portal/auth/test_single_sign_on.py::test_the_way_in_which_someone_signed_in_can_be_required",),
        "portal/auth/sign_on_provider.py",
        'if settings.SSO_ACR and claims.get("acr") not in settings.SSO_ACR:',
        "if False:",
    ),
    Sabotage(
        "what is told apart may be about someone else",
        ("tests/portal/auth/test_single_sign_on.py::test_an_address_may_be_told_apart_but_of_nobody_else",),
        "portal/auth/sign_on_provider.py",
        'if described.get("sub") == claims["sub"] else claims',
        "if described else claims",
    ),
    Sabotage(
        "everyone waits for a provider that is down",
        ("tests/portal/auth/test_single_sign_on.py::test_a_provider_that_is_down_is_asked_by_one_of_many",),
        "portal/auth/sign_on_provider.py",
        "        PAUSED[settings.SSO_ISSUER] = time.monotonic() + PAUSE\n",
        "",
    ),
    Sabotage(
        "any browser may come back from the provider",
        ("tests/portal/auth/test_single_sign_on.py::test_only_the_browser_that_left_may_come_back",),
        "portal/auth/single_sign_on.py",
        'if not known or not constant_time_compare(request.GET.get("state", ""), known["state"]):',
        "if not known:",
    ),
    Sabotage(
        "a proof of any age counts as one of just now",
        ("tests/portal/auth/test_single_sign_on.py::test_only_a_time_that_it_confirms_is_recent",),
        "portal/auth/single_sign_on.py",
        "    if known[AGAIN] and not is_fresh:",
        "    if False:",
    ),
    Sabotage(
        "a silent sign-on opens a link to a decision",
        ("tests/portal/auth/test_single_sign_on.py::test_only_a_time_that_it_confirms_is_recent",),
        "portal/auth/single_sign_on.py",
        "proven_at=identity.proven_at)",
        "proven_at=timezone.now())",
    ),
    Sabotage(
        "guesses from the provider are not slowed down",
        ("tests/portal/auth/test_single_sign_on.py::test_guessing_has_to_wait",),
        "portal/auth/single_sign_on.py",
        '        attempt = throttle.begin_sign_on(request.META.get("REMOTE_ADDR", ""))\n',
        '        attempt = throttle.Attempt("x")\n',
    ),
    Sabotage(
        "single sign-on opens a disabled account",
        ("tests/portal/auth/test_single_sign_on.py::test_a_closed_account_stays_closed",),
        "runs/governance/sign_on.py",
        "    if not (person.is_active and person.is_staff):",
        "    if False:",
    ),
    Sabotage(
        "one of several accounts with an address is opened",
        ("tests/portal/auth/test_single_sign_on.py::test_of_two_accounts_with_the_address_none_is_opened",),
        "runs/governance/sign_on.py",
        "    if len(found) > 1:",
        "    if False:",
    ),
    Sabotage(
        "an address alone opens an account that has a password",
        ("tests/portal/auth/test_single_sign_on.py::test_a_password_is_needed_to_connect_an_account_that_has_one",),
        "runs/governance/sign_on.py",
        "if person.has_usable_password() and (signed_in is None or signed_in.pk != person.pk):",
        "if False:",
    ),
    Sabotage(
        "an unattended browser connects an identity",
        ("tests/portal/auth/test_single_sign_on.py::test_a_password_is_needed_to_connect_an_account_that_has_one",),
        "portal/auth/single_sign_on.py",
        "request.user if isinstance(request.user, User) and browser_sessions.is_proven(request) else None",
        "request.user if isinstance(request.user, User) else None",
    ),
    Sabotage(
        "letters that look alike are the same",
        ("tests/portal/auth/test_single_sign_on.py::test_a_letter_that_only_looks_alike_is_another_address",),
        "runs/governance/sign_on.py",
        "    found = [row for row in rows if folded(row.email) == folded(identity.email)]",
        "    found = list(rows)",
    ),
    Sabotage(
        "a second identity opens a connected account",
        ("tests/portal/auth/test_single_sign_on.py::test_a_second_identity_with_the_address_opens_nothing",),
        "runs/governance/sign_on.py",
        "        if SignOnIdentity.objects.filter(person=person).exists():",
        "        if False:",
    ),
    # Links to decisions, and what services answer
    Sabotage(
        "a link to a decision does not ask for the password",
        ("tests/portal/auth/test_sign_in_again.py::test_what_asks_for_no_decision_is_linked_directly",),
        "runs/notifications/links.py",
        "if path and notice.topic in ASK_TO_DECIDE and notice.target_kind in DECIDED:",
        "if False:",
    ),
    Sabotage(
        "a session of any age opens a link to a decision",
        ("tests/portal/auth/test_sign_in_again.py::test_an_open_session_is_asked_for_the_password_first",),
        "portal/auth/sign_in_again.py",
        'if request.method == "GET" and browser_sessions.is_proven(request):',
        'if request.method == "GET" and request.user.is_active:',
    ),
    Sabotage(
        "an answer that quotes the key of a service is stored",
        ("tests/runs/notifications/test_channels.py::test_an_answer_that_quotes_a_key_is_not_stored",),
        "runs/notifications/sending.py",
        'if parts.scheme not in ("http", "https"):',
        "if False:",
    ),
    # Environment drift
    Sabotage(
        "a pair is shown to who sees one of its deployments",
        ("tests/portal/admin/drift/test_drift_pages.py::test_one_sees_pairs_of_which_one_sees_both",),
        "runs/drift/drift_listings.py",
        'return permissions.q(Verb.SEE, deployment="left__", base="left_") & permissions.q(',
        'return permissions.q(Verb.SEE, deployment="left__", base="left_") | permissions.q(',
    ),
    Sabotage(
        "what is secret in the other environment is compared",
        ("tests/runs/drift/test_comparison.py::test_what_is_secret_on_one_side_is_compared_on_neither",),
        "runs/drift/facts.py",
        "deployment.parameter_defaults, secrets)",
        "deployment.parameter_defaults)",
    ),
    Sabotage(
        "sample values of a schema are shown beside one in which they are hidden",
        (
            "tests/portal/admin/drift/test_drift_pages.py"
            "::test_parameters_are_hidden_from_whom_they_are_hidden_elsewhere",
        ),
        "runs/drift/matrix.py",
        "if not has_samples:",
        "if not is_shown:",
    ),
    # Forms of administrators
    Sabotage(
        "a stored credential is tested at any address",
        (
            "tests/portal/admin/environments/test_connection_test.py"
            "::test_a_stored_credential_is_not_sent_to_another_address",
        ),
        "runs/governance/connection_tests.py",
        "if not server_identity.is_same_address(server.api_url, api_url):",
        "if False:",
    ),
    Sabotage(
        "a test uses the credential that is stored when it runs, whatever its address is then",
        (
            "tests/portal/admin/environments/test_connection_test.py"
            "::test_nor_when_the_address_changes_before_the_task_runs",
        ),
        "runs/governance/connection_tests.py",
        "if not server_identity.is_same_address(stored.api_url, test.api_url):",
        "if False:",
    ),
    Sabotage(
        "the access matrix leaves out denials of a part",
        ("tests/runs/access/test_matrix.py::test_all_and_none_hold_for_every_deployment",),
        "runs/access/access_matrix.py",
        "reach = Reach.ALL if is_allowed and not hard else Reach.SOME",
        "reach = Reach.ALL if is_allowed else Reach.SOME",
    ),
    # Bypasses
    Sabotage(
        "bypasses are compared by their number",
        ("tests/runs/governance/test_bypasses.py::test_only_what_is_new_is_reported_also_where_as_many_have_gone",),
        "runs/governance/bypasses.py",
        "new = [way for key, way in found.items() if key not in open_ways]",
        "new = list(found.values())[len(open_ways) :]",
    ),
    Sabotage(
        "bypasses are shown to who sees anything in the environment",
        ("tests/portal/admin/bypasses/test_bypass_list.py::test_one_sees_the_ways_of_deployments_that_one_sees",),
        "runs/bypass_listings.py",
        "return of_deployment | (Q(deployment=None) & permissions.whole_environments(Verb.SEE))",
        "return of_deployment | Q(deployment=None, environment__in=permissions.environments())",
    ),
    # Work pools and limits
    Sabotage(
        "every pool of an environment is shown to who sees one deployment in it",
        (
            "tests/portal/admin/work_pools/test_work_pool_pages.py::test_who_sees_a_deployment_sees_its_pool_and_no_other",
        ),
        "runs/work_pools.py",
        "(Q(Exists(deployments.order_by())) | whole)",
        "Q(environment__in=permissions.environments())",
    ),
    Sabotage(
        "a higher limit in a protected environment takes effect at once",
        ("tests/runs/governance/test_limits.py::test_more_than_before_waits_for_an_administrator_and_less_does_not",),
        "runs/governance/limits.py",
        "[each.slug for each in environments_of(target) if is_guarded(each)]",
        "[each.slug for each in environments_of(target)[:0] if is_guarded(each)]",
    ),
    Sabotage(
        "a limit that someone else has changed meanwhile is overwritten",
        ("tests/runs/governance/test_limits.py::test_a_limit_that_someone_else_has_changed_meanwhile_is_left_alone",),
        "runs/dispatch/capacity.py",
        "if not action.sent_at and (moved := differing(target, action.before)):",
        "if not action and (moved := differing(target, action.before)):",
    ),
    # Notifications
    Sabotage(
        "a notification rule reaches people who cannot see the run",
        ("tests/runs/notifications/test_notification_rules.py::test_a_rule_of_a_group_is_for_those_of_it_who_may_see",),
        "runs/notifications/run_ends.py",
        "if listener.sees(end.target if listener.channel else Target.of_run(end.run))",
        "if listener",
    ),
    Sabotage(
        "a channel receives messages about a protected environment that its rule does not name",
        (
            "tests/runs/notifications/test_notification_rules.py"
            "::test_a_channel_hears_of_a_protected_environment_only_by_its_name",
        ),
        "runs/notifications/audience.py",
        "is_named = rule.environment_id is not None or not target.environment.is_protected",
        "is_named = True",
    ),
    Sabotage(
        "a digest holds no email",
        ("tests/runs/notifications/test_email_choices.py::test_a_digest_holds_email_and_sends_it_as_one",),
        "runs/notifications/services.py",
        "None if channel else email_at(draft, now)",
        "None",
    ),
    Sabotage(
        "anyone decides what a group receives",
        (
            "tests/runs/notifications/test_notification_rules.py"
            "::test_each_decides_for_themselves_and_administrators_for_groups",
        ),
        "runs/notifications/notification_rules.py",
        "        return by.is_administrator\n",
        "        return True\n",
    ),
    Sabotage(
        "overrides can be hidden from auditors",
        ("tests/runs/notifications/test_notification_rules.py::test_a_default_can_be_turned_off_but_for_oversight",),
        "runs/notifications/request_notices.py",
        "    notify_overseers(\n        Topic.BREAK_GLASS,\n        [change.environment],",
        "    notify(\n        Topic.BREAK_GLASS,\n        change.environment,",
    ),
    # Service levels
    Sabotage(
        "old readings breach service levels",
        ("tests/runs/levels/test_evaluation.py::test_old_readings_breach_and_clear_nothing",),
        "runs/levels/evaluation.py",
        " AND health.runs_synced_at >= %(fresh)s",
        "",
    ),
    Sabotage(
        "anyone can create a service level",
        ("tests/runs/levels/test_evaluation.py::test_it_needs_the_permission_to_manage_what_it_is_about",),
        "runs/levels/level_changes.py",
        "        Permissions.of(by).require(Verb.MANAGE, target)",
        "        Permissions.of(by).decide(Verb.MANAGE, target)",
    ),
    # Failures
    Sabotage(
        "anyone who sees a failure can mute and resolve it",
        ("tests/runs/failures/test_triage.py::test_without_the_permission_to_cancel_each_act_is_refused",),
        "runs/failures/triage.py",
        "        Permissions.of(by).require(ACTS, target_of(locked))",
        "        Permissions.of(by).decide(ACTS, target_of(locked))",
    ),
    Sabotage(
        "the search of failures tells of messages that the reader may not view",
        (
            "tests/runs/failures/test_triage.py"
            "::test_the_list_has_the_groups_of_visible_deployments_and_searches_only_readable_messages",
        ),
        "runs/failures/failure_listings.py",
        "            needs=Verb.SEE_LOGS,\n",
        "",
    ),
    Sabotage(
        "a failure that was read late counts as the return of a resolved one",
        ("tests/runs/failures/test_grouping.py::test_what_failed_before_it_was_resolved_is_no_regression",),
        "runs/failures/grouping.py",
        "group.state == group.State.RESOLVED and newest.row.failed_at > group.state_at",
        "group.state == group.State.RESOLVED",
    ),
    Sabotage(
        "a notification of a failure quotes the log to everyone",
        ("tests/runs/failures/test_failure_notices.py::test_who_cannot_view_logs_is_told_without_the_message",),
        "runs/notifications/run_notices.py",
        '        reason = group.title if listener.can(Verb.SEE_LOGS, target) else ""',
        "        reason = group.title",
    ),
    # Channels
    Sabotage(
        "a channel reaches private networks",
        (
            "tests/runs/notifications/test_channels.py::test_a_private_network_is_not_reached_without_permission",
            "tests/runs/notifications/test_pinned_http.py::test_a_private_address_is_refused_in_whatever_spelling",
        ),
        "runs/notifications/pinned_http.py",
        "if allows_private or is_public(",
        "if addresses or is_public(",
    ),
    Sabotage(
        "an answer that quotes the address of a channel is stored",
        ("tests/runs/notifications/test_channels.py::test_an_address_is_nowhere_but_in_its_sealed_column",),
        "runs/notifications/sending.py",
        "if any(len(part) >= SHORTEST_SECRET and part in line for part in hidden):",
        "if False:",
    ),
    Sabotage(
        "a proxy of the environment is used",
        ("tests/runs/notifications/test_pinned_http.py::test_a_proxy_of_the_environment_changes_nothing",),
        "runs/notifications/pinned_http.py",
        "self.inner = httpx.HTTPTransport(trust_env=False)",
        "self.inner = httpx.HTTPTransport(proxy=urllib.request.getproxies_environment().get('http'))",
    ),
    Sabotage(
        "any token lists channels and what was sent to them",
        ("tests/portal/api/test_channel_routes.py::test_others_see_no_channel_and_only_their_own_emails",),
        "runs/notifications/delivery_listings.py",
        "return own | Q(channel__isnull=False) if reads_trail(by) else own",
        "return own | Q(channel__isnull=False)",
    ),
    Sabotage(
        "a repeated digest has another message in it",
        ("tests/runs/notifications/test_email_choices.py::test_a_digest_that_is_repeated_is_the_same_email",),
        "runs/notifications/deliveries.py",
        "    if first.email is None:\n",
        "    if first.email is None or first.attempts:\n",
    ),
    Sabotage(
        "an escalation counts from the request",
        ("tests/runs/notifications/test_notification_rules.py::test_each_stage_is_escalated_from_when_it_waits",),
        "runs/changes/stages.py",
        "return current.position, max(before, default=change.requested_at)",
        "return current.position, change.requested_at",
    ),
    Sabotage(
        "a token with a narrow scope reads notifications",
        ("tests/portal/api/test_notification_routes.py::test_a_token_with_a_narrow_scope_reads_none",),
        "runs/notifications/personal_messages.py",
        "    if by.scope is None:\n        return own\n",
        "    return own\n",
    ),
    # Chains
    Sabotage(
        "a step of a chain starts without waiting at its gate",
        ("tests/runs/automation/test_chains.py::test_a_gate_of_an_approved_chain_is_for_its_approvers",),
        "runs/changes/gates.py",
        '        return AT_GATE if chain_run.version.step(run_request.spec.position)["gate"] else ""',
        '        return ""',
    ),
    Sabotage(
        "a value beyond what was approved starts by itself",
        (
            "tests/runs/automation/test_chains.py::test_in_a_protected_environment_a_value_beyond_what_was_approved_waits_for_a_person",
        ),
        "runs/changes/release.py",
        '    beyond = "" if unfit else beyond_approved(run_request.spec, run_request.mapped_values)',
        '    beyond = ""',
    ),
    Sabotage(
        "requesters decide at the gates of their own chain",
        ("tests/runs/automation/test_chains.py::test_a_gate_of_an_approved_chain_is_for_its_approvers",),
        "runs/changes/gate_decisions.py",
        "    require_decidable(change, by, approves=allows)",
        "    permissions.decide(Verb.APPROVE, deployment, values)",
    ),
    Sabotage(
        "the version of a chain is not approved with it",
        ("tests/runs/automation/test_chains.py::test_the_version_and_the_inputs_are_part_of_what_is_approved",),
        "runs/requests/frozen_values.py",
        "    if chain_run:\n",
        "    if False:\n",
    ),
    Sabotage(
        "an agent runs steps with values that nobody can compare with its scopes",
        ("tests/portal/mcp/test_automation_tools.py::test_values_that_come_later_need_a_scope_without_a_condition",),
        "runs/automation/chain_specs.py",
        "    require_checkable(definition, by_key, by)\n",
        "",
    ),
    Sabotage(
        "the steps of a chain do not count in the budget of an agent",
        ("tests/portal/mcp/test_automation_tools.py::test_each_step_counts_in_the_budget_until_the_chain_stops",),
        "runs/governance/agents.py",
        "    return Usage(asked + cancelled, open_runs + coming)",
        "    return Usage(asked + cancelled, open_runs)",
    ),
    Sabotage(
        "a step of a chain has the resource profile that the requester names, whatever the chain says",
        (
            "tests/runs/automation/test_chain_profiles.py::test_another_profile_is_another_version_and_the_requester_chooses_only_where_it_says",
        ),
        "runs/automation/chain_specs.py",
        "for step in definition.steps if step.chooses_profile]",
        "for step in definition.steps]",
    ),
    Sabotage(
        "a chain runs otherwise than its plan was displayed",
        ("tests/runs/automation/test_chain_plan.py::test_it_has_each_run_and_what_is_submitted_is_what_was_displayed",),
        "runs/automation/chains.py",
        '        if displayed_plan not in ("", found.digest):',
        "        if False:",
    ),
    Sabotage(
        "a plan of a chain shows constants to people who cannot view parameters",
        ("tests/runs/automation/test_chain_plan.py::test_it_says_of_each_run_why_it_would_be_refused",),
        "runs/automation/chain_plan.py",
        "if sees or name in own])",
        "if each])",
    ),
    Sabotage(
        "a step that is a backfill counts as one run in the budget of an agent",
        ("tests/portal/mcp/test_automation_tools.py::test_each_item_of_a_step_that_is_a_backfill_counts",),
        "runs/governance/agents.py",
        'then=F("max_runs") / MOST_ATTEMPTS)',
        "then=Value(1))",
    ),
    Sabotage(
        "a backfill is requested with another resource profile than it was planned with",
        ("tests/portal/api/test_profile_routes.py::test_an_agent_names_one_that_is_for_agents",),
        "runs/requests/backfill_plan.py",
        '                "profile": self.profile,\n',
        "",
    ),
    Sabotage(
        "a backfill within a chain starts all its runs at a time",
        (
            "tests/runs/automation/test_chain_items.py::test_each_value_runs_once_so_many_at_a_time_and_then_the_next_step",
        ),
        "runs/automation/chain_items.py",
        "        room = max(self.over.at_once - at_work, 0)\n",
        "        room = len(self.values)\n",
    ),
    Sabotage(
        "a backfill within a chain needs no permission for each of its values",
        ("tests/runs/automation/test_chain_items.py::test_values_come_from_an_input_and_each_must_be_allowed",),
        "runs/automation/chain_items.py",
        "        by.require(verb, deployment, found)\n",
        "        pass\n",
    ),
    Sabotage(
        "steps of a paused chain start",
        ("tests/runs/automation/test_chains.py::test_a_paused_chain_is_not_retried_and_ends_where_nothing_is_left",),
        "runs/automation/chain_steps.py",
        "        acts = [] if change.progress == Progress.PAUSED else start_next(progress)\n",
        "        acts = start_next(progress)\n",
    ),
    Sabotage(
        "a chain is visible by one of its deployments",
        ("tests/runs/automation/test_chains.py::test_a_chain_is_visible_to_those_who_see_all_its_deployments",),
        "runs/automation/chains.py",
        "    return Exists(newest) & ~Exists(hidden)",
        "    return Q(Exists(newest))",
    ),
    # Backfills
    Sabotage(
        "a backfill asks for its verb without the values",
        ("tests/runs/requests/test_backfill.py::test_the_rules_on_values_hold_for_each_item",),
        "runs/requests/submit.py",
        "                permissions.require(Verb.BACKFILL, each.row.deployment, each.values)",
        "                permissions.require(Verb.BACKFILL, each.row.deployment)",
    ),
    Sabotage(
        "the plan of a backfill does not ask for the permission",
        ("tests/runs/requests/test_backfill.py::test_without_the_verb_there_is_no_plan",),
        "runs/requests/backfill_plan.py",
        "        permissions.require(verb, deployment)",
        "        permissions.decide(verb, deployment)",
    ),
    Sabotage(
        "the plan of a backfill tells of runs whose parameters the reader may not view",
        ("tests/runs/requests/test_backfill.py::test_who_cannot_view_parameters_learns_of_no_run",),
        "runs/requests/backfill_plan.py",
        "    sees = permissions.decide(Verb.SEE_INPUTS, deployment).allowed",
        "    sees = True",
    ),
    Sabotage(
        "a backfill that is submitted need not be the plan that was displayed",
        ("tests/runs/requests/test_backfill.py::test_what_is_submitted_is_the_plan_that_was_displayed",),
        "runs/requests/backfill.py",
        "    if displayed and displayed != plan.digest:",
        "    if displayed and displayed == plan.digest + displayed:",
    ),
    Sabotage(
        "a launch of a backfill does not ask for its verb again",
        (
            "tests/runs/dispatch/test_launch_together.py"
            "::test_the_right_to_backfill_is_asked_again_with_the_values_of_each",
        ),
        "runs/dispatch/launch.py",
        "            permissions.require(Verb.BACKFILL, deployment, values)",
        "            permissions.decide(Verb.BACKFILL, deployment, values)",
    ),
    Sabotage(
        "a run that was created with others is not read back",
        ("tests/runs/dispatch/test_launch_together.py::test_an_id_that_was_never_stored_is_no_run",),
        "runs/dispatch/launch_together.py",
        "        return False\n    return not differs(run_request, record, values)",
        "        return True\n    return not differs(run_request, record, values)",
    ),
    Sabotage(
        "a run that was created with others is not compared",
        (
            "tests/runs/dispatch/test_launch_together.py"
            "::test_a_run_with_other_values_for_one_of_the_keys_is_not_taken_for_ours",
        ),
        "runs/dispatch/launch_together.py",
        "    return not differs(run_request, record, values)",
        "    return True",
    ),
    Sabotage(
        "what was read once for launches is kept for later ones",
        ("tests/runs/test_shared_reads.py::test_it_is_read_once_within_and_each_time_outside",),
        "runs/shared_reads.py",
        "        _found.reset(token)",
        "        pass",
    ),
    Sabotage(
        "a paused backfill sends what was released",
        ("tests/runs/changes/test_pacing.py::test_what_was_released_and_not_sent_waits_while_it_is_paused",),
        "runs/dispatch/launch.py",
        "    if run_request.change.is_held_back:",
        "    if False:",
    ),
    Sabotage(
        "a backfill does not stop at a failure",
        ("tests/runs/changes/test_pacing.py::test_it_stops_at_a_failure_and_says_where",),
        "runs/changes/release.py",
        "    if change.is_held_back or stop_at_failure(change):",
        "    if change.is_held_back:",
    ),
    Sabotage(
        "anyone can pause a backfill, resume it and cancel the rest",
        ("tests/runs/changes/test_pacing.py::test_only_its_requester_or_who_may_cancel_can_steer_it",),
        "runs/changes/pacing.py",
        "        require_may_withdraw(change, by)",
        "        pass",
    ),
    Sabotage(
        "the page of a backfill shows its values to everyone",
        ("tests/portal/admin/backfill/test_backfill_pages.py::test_who_may_not_view_parameters_or_logs_sees_neither",),
        "portal/admin/changes/backfill_context.py",
        "    sees = may_decide or sees_values(change, deployment, by, permissions)",
        "    sees = True",
    ),
    Sabotage(
        "the page of a backfill shows messages to everyone",
        ("tests/portal/admin/backfill/test_backfill_pages.py::test_who_may_not_view_parameters_or_logs_sees_neither",),
        "portal/admin/changes/backfill_context.py",
        "    sees_messages = permissions.decide(Verb.SEE_LOGS, deployment).allowed",
        "    sees_messages = True",
    ),
    Sabotage(
        "the draft of a backfill is good for anyone",
        ("tests/portal/admin/backfill/test_backfill_pages.py::test_a_draft_of_someone_else_is_worth_nothing",),
        "portal/admin/backfill/backfill_draft.py",
        "    if bound != (user.pk, deployment.pk, deployment.schema_fingerprint) or",
        "    if bound[1:] != (deployment.pk, deployment.schema_fingerprint) or",
    ),
    # The database
    Sabotage(
        "the audit trail has no triggers",
        ("tests/runs/audit/test_audit.py::test_the_table_refuses_every_change",),
        statement=without_triggers("runs_auditentry"),
    ),
    Sabotage(
        "the checkpoints of the audit trail have no triggers",
        ("tests/runs/audit/test_retention.py::test_every_part_refuses_every_change",),
        statement=without_triggers("runs_auditcheckpoint"),
    ),
    Sabotage(
        "approvals have no triggers",
        (
            "tests/governance/test_database_refuses.py::test_nobody_s_own_approval_is_written",
            "tests/governance/test_database_refuses.py::test_an_approval_stays_as_it_was_given",
        ),
        statement=without_triggers("runs_approval"),
    ),
    Sabotage(
        "requests have no triggers",
        ("tests/governance/test_database_refuses.py::test_no_update_moves_a_request_on_without_its_approvals",),
        statement=without_triggers("runs_runrequest"),
    ),
    Sabotage(
        "change requests have no triggers",
        ("tests/governance/test_database_refuses.py::test_nor_its_change_request",),
        statement=without_triggers("runs_changerequest"),
    ),
    Sabotage(
        "specs have no triggers",
        ("tests/governance/test_database_refuses.py::test_nothing_that_was_asked_for_is_edited",),
        statement=without_triggers("runs_runspec"),
    ),
    Sabotage(
        "bypasses have no triggers",
        ("tests/governance/test_database_refuses.py::test_broken_glass_stays_as_it_was_broken",),
        statement=without_triggers("runs_breakglass"),
    ),
    Sabotage(
        "versions of rows have no triggers",
        ("tests/governance/test_database_refuses.py::test_no_known_way_switches_the_triggers_off",),
        statement=without_triggers("runs_rowversion"),
    ),
    Sabotage(
        "a change of a person leaves no version",
        ("tests/portal/admin/audit/test_audit_panel.py::test_of_a_password_only_that_it_changed_is_kept",),
        statement=without_triggers("auth_user"),
    ),
    Sabotage(
        "a trigger does not fire in a session that acts as a replica",
        (
            "tests/governance/test_database_refuses.py::test_no_known_way_switches_the_triggers_off",
            "tests/governance/test_database_refuses.py::test_every_trigger_fires_in_every_session",
        ),
        statement="ALTER TABLE runs_changerequest ENABLE TRIGGER approved_by_enough",
    ),
    Sabotage(
        "an audit entry names another transaction",
        ("tests/runs/test_row_versions.py::test_an_entry_that_names_another_transaction_is_refused",),
        statement="DROP TRIGGER own_transaction ON runs_auditentry",
    ),
    Sabotage(
        "an entry may have any time and place",
        ("tests/runs/audit/test_secure_audit.py::test_the_role_adds_no_entry_of_another_time_place_or_transaction",),
        statement="DROP TRIGGER next_entry ON runs_auditentry",
    ),
    Sabotage(
        "a version holds a credential",
        (
            "tests/runs/test_row_versions.py::test_every_column_is_recorded_or_named_as_not_to_be",
            "tests/portal/admin/audit/test_audit_panel.py::test_of_a_credential_only_that_it_changed_is_kept",
        ),
        statement="CREATE OR REPLACE TRIGGER record_version AFTER INSERT OR UPDATE OR DELETE ON flows_server "
        "FOR EACH ROW EXECUTE FUNCTION record_version('id api_url sealed_credential', '')",
    ),
    Sabotage(
        "a temporary table stands in for approvals",
        ("tests/governance/test_database_refuses.py::test_a_temporary_table_does_not_stand_in_for_approvals",),
        # Both: one that is called by the other has its search_path.
        statement="ALTER FUNCTION require_approvals() RESET search_path; "
        "ALTER FUNCTION has_approvals(bigint, text, int) RESET search_path",
    ),
    # Events
    Sabotage(
        "consumers remember ids, which are taken before the commit",
        ("tests/runs/test_events.py::test_an_event_that_commits_after_a_later_one_is_not_lost",),
        "runs/events.py",
        "    WITH first AS (SELECT id FROM runs_runevent WHERE position IS NULL ORDER BY id LIMIT %(limit)s),",
        "    WITH first AS (SELECT id FROM runs_runevent WHERE position IS NULL AND id > %(head)s ORDER BY id "
        "LIMIT %(limit)s),",
    ),
    Sabotage(
        "positions do not follow the ids",
        ("tests/runs/test_events.py::test_positions_follow_ids_and_go_on_after_events_are_deleted",),
        "runs/events.py",
        "row_number() OVER (ORDER BY id)",
        "row_number() OVER (ORDER BY id DESC)",
    ),
    Sabotage(
        "two relays assign the same positions",
        ("tests/runs/test_events.py::test_two_relays_at_once_assign_each_position_once",),
        "runs/events.py",
        "    cursor = EventCursor.objects.select_for_update().get(name=RELAY)",
        "    cursor = EventCursor.objects.get(name=RELAY)",
    ),
    Sabotage(
        "a consumer's rows are committed before its cursor",
        ("tests/runs/test_events.py::test_a_consumer_that_is_killed_repeats_all_of_its_batch_or_nothing",),
        "runs/events.py",
        "@transaction.atomic\ndef consume(",
        "def consume(",
    ),
    Sabotage(
        "what a first reading finds notifies people",
        ("tests/runs/test_events.py::test_what_a_first_reading_finds_is_history_and_notifies_nobody",),
        "runs/events.py",
        "position__lte=last, is_history=False)",
        "position__lte=last)",
    ),
    Sabotage(
        "an event that fails holds up all others",
        ("tests/runs/test_events.py::test_an_event_that_fails_is_set_aside_after_three_tries_and_the_others_go_on",),
        "runs/events.py",
        "    failure.is_set_aside = failure.tries >= MOST_TRIES",
        "    failure.is_set_aside = failure.tries > 100 * MOST_TRIES",
    ),
    Sabotage(
        "a run whose state changes stays counted under the old one",
        ("tests/runs/mirror/test_run_counts.py::test_a_run_that_is_retried_and_fails_is_counted_once",),
        "runs/mirror/run_counts.py",
        "    gone = [before for before, after in changes if before and before != after]",
        "    gone = [before for before, after in changes if before and after and before != after]",
    ),
    # Many runs at once
    Sabotage(
        "events of many runs are taken for all there were",
        ("tests/runs/mirror/test_follower.py::test_after_many_events_at_once_a_sweep_finds_what_was_lost",),
        "runs/mirror/follower.py",
        "            if len(hints) >= CROWD:\n",
        "            if len(hints) >= 1000 * CROWD:\n",
    ),
    Sabotage(
        "a reading with the same state is taken for no news",
        ("tests/runs/mirror/test_bursts.py::test_a_new_name_without_a_new_state_is_written",),
        "runs/mirror/run_rows.py",
        'COMPARED = [f.attname for f in UPDATED if f.name != "synced_at"]',
        'COMPARED = ["state_id"]',
    ),
    Sabotage(
        "details that a sweep did not reach stay unread",
        ("tests/runs/mirror/test_bursts.py::test_details_that_a_sweep_did_not_reach_are_read_by_the_next",),
        "runs/mirror/sync.py",
        "batched(without_details(environment), DETAILS_AT_ONCE)",
        "batched((), DETAILS_AT_ONCE)",
    ),
    Sabotage(
        "a first reading that was interrupted begins again",
        ("tests/runs/mirror/test_first_reading.py::test_what_is_killed_goes_on_where_it_was",),
        "runs/mirror/first_reading.py",
        "flow_runs_ended_since(since, until=start)",
        "flow_runs_ended_since(since, until=now)",
    ),
    Sabotage(
        "two processes read the history at once",
        ("tests/runs/mirror/test_first_reading.py::test_what_another_process_reads_is_left_to_it",),
        "runs/mirror/first_reading.py",
        "        is_only = cursor.fetchone() == (True,)\n",
        "        is_only = cursor.fetchone() is not None\n",
    ),
    # Retention
    Sabotage(
        "what retention has deleted is read again",
        ("tests/runs/mirror/test_retention.py::test_what_was_deleted_does_not_return_and_nothing_is_reported",),
        "runs/mirror/upsert.py",
        "    horizon = horizon_of(environment)\n",
        "    horizon = None\n",
    ),
    Sabotage(
        "the horizon moves back with the setting",
        ("tests/runs/mirror/test_retention.py::test_the_horizon_stays_when_more_is_kept_again",),
        "runs/mirror/run_retention.py",
        "    row.horizon = max(row.horizon or to, to)",
        "    row.horizon = to",
    ),
    Sabotage(
        "events are deleted before they are handled",
        ("tests/runs/mirror/test_retention.py::test_events_go_once_every_consumer_has_handled_them",),
        "runs/events.py",
        "        position__lte=min(positions, default=0),\n",
        "",
    ),
    # Loosening rules
    Sabotage(
        "the rules of a protected environment are loosened without its name",
        ("tests/governance/test_loosening.py::test_it_needs_a_reason_and_the_name",),
        "runs/governance/loosening_gate.py",
        "    if not is_confirmed(found, confirm):",
        "    if not found:",
    ),
    Sabotage(
        "nobody is told of loosened rules",
        ("tests/governance/test_loosening.py::test_the_entry_names_each_switch_and_everyone_in_charge_is_told",),
        "runs/governance/loosening_gate.py",
        "    if act.by.holder is None:\n        return\n    names = environments_of(found)\n    lines",
        "    if act.by:\n        return\n    names = environments_of(found)\n    lines",
    ),
    Sabotage(
        "without its protection an environment is like any other",
        ("tests/governance/test_loosening.py::test_without_its_protection_it_counts_as_protected_until_that_is_back",),
        "runs/governance/loosening.py",
        '    return environment.is_protected or "is_protected" in environment.loosened',
        "    return environment.is_protected",
    ),
    Sabotage(
        "a group is joined without a question",
        ("tests/governance/test_loosening.py::test_accounts_are_saved_behind_the_gate",),
        "runs/governance/accounts.py",
        "        found = loosened_by(stored, person, groups)\n",
        "        found: list[Loosening] = []\n",
    ),
    Sabotage(
        "a grant opens production without a question",
        ("tests/governance/test_loosening.py::test_grants_are_given_and_denials_ended_behind_the_gate",),
        "runs/governance/grants.py",
        "        found = loosened(None, row)\n",
        "        found = loosened(row, None)\n",
    ),
    Sabotage(
        "a policy is deleted without a question",
        ("tests/governance/test_loosening.py::test_a_rule_for_all_environments_needs_the_names_of_all_protected_ones",),
        "runs/governance/policies.py",
        "    found = loosened(stored, None)\n",
        "    found = loosened(rule, rule)\n",
    ),
    # The second signature
    Sabotage(
        "one administrator is enough to loosen the rules",
        ("tests/governance/test_second_signature.py::test_nothing_happens_until_a_second_administrator_approves",),
        "runs/governance/rule_changes.py",
        "    return None if settings.SINGLE_ADMINISTRATOR else submit(found, act, proposal)",
        "    return None",
    ),
    Sabotage(
        "what was approved is applied to a row that moved since",
        ("tests/governance/test_second_signature.py::test_it_is_refused_if_the_row_moved_since",),
        "runs/governance/rule_changes.py",
        "    if is_more or not canonical.same(approved, wanted):",
        "    if is_more:",
    ),
    Sabotage(
        "a change of rules opens more than was approved",
        ("tests/governance/test_second_signature.py::test_nor_if_it_would_open_more_than_was_approved",),
        "runs/governance/rule_changes.py",
        "    if is_more or not canonical.same(approved, wanted):",
        "    if not canonical.same(approved, wanted):",
    ),
    Sabotage(
        "who gains by a change of rules signs it",
        ("tests/governance/test_second_signature.py::test_the_beneficiary_does_not_sign_and_may_reject",),
        "runs/governance/rule_changes.py",
        "    if approves and gains(by.user, change.rule_change.beneficiary):",
        "    if False:",
    ),
    Sabotage(
        "anyone signs a change of rules",
        ("tests/governance/test_second_signature.py::test_only_administrators_sign",),
        "runs/governance/rule_changes.py",
        '    if not by.is_administrator:\n        raise Refused(\n            "rules.administrators_only"',
        '    if False:\n        raise Refused(\n            "rules.administrators_only"',
    ),
    Sabotage(
        "a change of rules written in the database is applied",
        ("tests/governance/test_second_signature.py::test_a_change_request_written_in_the_database_is_not_applied",),
        "runs/changes/approvals.py",
        "            require_submitted(change)\n",
        "",
    ),
    Sabotage(
        "the secrets of a change of rules are kept for ever",
        ("tests/governance/test_second_signature.py::test_whatever_ends_it_deletes_its_secrets",),
        "runs/governance/signed_changes.py",
        '    RuleChange.objects.filter(change=change).update(sealed_columns=b"")',
        "    RuleChange.objects.filter(change=change)",
    ),
    # Accounts
    Sabotage(
        "a name may look like another one",
        ("tests/runs/governance/test_account_names.py::test_a_new_person_with_such_a_name_is_refused",),
        "runs/governance/accounts.py",
        "        if not own.isdisjoint(account_names.keys(other)):",
        "        if name == other:",
    ),
    Sabotage(
        "a name may have invisible characters",
        ("tests/runs/governance/test_account_names.py::test_a_new_person_with_such_a_name_is_refused",),
        "runs/governance/accounts.py",
        "    if not account_names.is_clear(name):",
        "    if not name:",
    ),
    # Approving
    Sabotage(
        "the maker of the requester approves",
        (
            "tests/governance/test_independence.py::test_the_maker_of_the_requester_does_not_approve",
            "tests/governance/test_independence.py::test_nor_under_the_name_of_someone_whose_password_they_set",
        ),
        "runs/changes/approvals.py",
        "        involved.require_independent(by.user)\n",
        "",
    ),
    Sabotage(
        "a password that someone else chose approves",
        ("tests/governance/test_independence.py::test_a_password_that_someone_else_chose_approves_nothing",),
        "runs/changes/approvals.py",
        "        require_own_password(by.user)\n",
        "",
    ),
    Sabotage(
        "only direct changes of the approver count",
        (
            "tests/governance/test_independence.py::test_the_rule",
            "tests/governance/test_independence.py::test_nor_under_the_name_of_someone_whose_password_they_set",
        ),
        "runs/governance/independence.py",
        "        controlling = chains_to([change for change in changes if change.gives_control], first)",
        "        controlling = chains_to([], first)",
    ),
    Sabotage(
        "an override is reviewed by who made its user",
        ("tests/governance/test_independence.py::test_an_override_is_not_reviewed_by_someone_who_made_its_user",),
        "runs/changes/overrides.py",
        "        involved.require_independent(by.user)\n",
        "",
    ),
    Sabotage(
        "a request is approved by its requester",
        ("tests/runs/changes/test_approve.py::test_the_asker_never_approves",),
        "runs/changes/approvals.py",
        "    if by.user.pk == change.requested_by_id or (",
        "    if (",
    ),
    Sabotage(
        "an approval counts without an entry in the trail",
        ("tests/governance/test_database_refuses.py::test_nor_does_one_without_an_entry",),
        "runs/changes/evidence.py",
        "        if (verb, row.by_name) not in recorded and not",
        "        if row is None and not",
    ),
    Sabotage(
        "an approval counts without a signature",
        ("tests/governance/test_database_refuses.py::test_an_approval_that_the_portal_did_not_sign_launches_nothing",),
        "runs/changes/evidence.py",
        "        if not signatures.is_signed(row):",
        "        if row is None:",
    ),
    Sabotage(
        "an entry counts at launch without a signature",
        ("tests/governance/test_database_refuses.py::test_nor_does_one_whose_entry_is_not_signed",),
        "runs/changes/evidence.py",
        "audit.digest(entry) == entry.digest and signatures.is_signed(entry)]",
        "audit.digest(entry) == entry.digest]",
    ),
    Sabotage(
        "a request that is launching is not checked for evidence",
        ("tests/governance/test_database_refuses.py::test_an_approval_that_the_portal_did_not_sign_launches_nothing",),
        "runs/dispatch/launch.py",
        "    changes.require_evidence(run_request)\n",
        "    if came_from == State.APPROVED:\n        changes.require_evidence(run_request)\n",
    ),
    Sabotage(
        "a copied request is launched",
        ("tests/governance/test_database_refuses.py::test_a_request_copied_in_the_database_launches_nothing",),
        "runs/changes/evidence.py",
        " or not all(signatures.is_signed(row) for row in rows):",
        ":",
    ),
    Sabotage(
        "a request that was never submitted is launched",
        ("tests/governance/test_database_refuses.py::test_nor_does_a_signed_one_that_was_never_submitted",),
        "runs/changes/evidence.py",
        "    if act not in recorded and not",
        "    if not act and not",
    ),
    Sabotage(
        "a forged approval is what was last approved",
        (
            "tests/portal/admin/requests/test_definition_panel.py::test_what_was_approved_past_the_portal_is_not_what_was_last_approved",
        ),
        "runs/changes/queries.py",
        "    return next((each for each in newest if is_signed(each)), None)",
        "    return next(iter(newest), None)",
    ),
    Sabotage(
        "a replaced audit key goes on signing",
        ("tests/runs/audit/test_audit.py::test_an_old_key_signs_nothing_that_counts_once_it_was_replaced",),
        "runs/audit/verify.py",
        "        if use.is_replaced(signature, at):",
        "        if not signature:",
    ),
    Sabotage(
        "an unsigned entry explains a change past the portal",
        ("tests/runs/governance/test_outside_changes.py::test_an_entry_that_the_portal_did_not_sign_hides_nothing",),
        "runs/governance/outside_changes.py",
        "        if audit.digest(entry) == entry.digest and signatures.is_signed(entry):",
        "        if audit.digest(entry) == entry.digest:",
    ),
    Sabotage(
        "protection that was taken away past the portal raises no alarm",
        ("tests/runs/governance/test_outside_changes.py::test_a_change_past_the_portal_is_reported_once",),
        "runs/governance/outside_changes.py",
        ' or before.get("is_protected")',
        "",
    ),
    Sabotage(
        "accounts changed past the portal raise no alarm",
        ("tests/runs/governance/test_outside_changes.py::test_a_superuser_made_on_the_command_line_is_reported",),
        "runs/governance/outside_changes.py",
        "    # Rules of all environments, and accounts, which can be given access to any.\n    return protected",
        "    return frozenset()",
    ),
    Sabotage(
        "a trigger that is off on a part of the trail is not noticed",
        (
            "tests/portal/ops/test_database_checks.py::test_a_trigger_that_is_missing_or_can_be_switched_off_is_a_warning_everywhere",
        ),
        "runs/audit/protection.py",
        "AND tgenabled <> 'A'",
        "AND tgenabled = 'R'",
    ),
    Sabotage(
        "the portal's role may delete approvals",
        ("tests/runs/audit/test_secure_audit.py::test_the_role_cannot_change_the_trail",),
        "runs/audit/protection.py",
        "        Approval._meta.db_table: ADDS,",
        '        Approval._meta.db_table: Privileges(("SELECT", "INSERT", "DELETE")),',
    ),
    Sabotage(
        "the portal's role may edit who requested",
        ("tests/runs/audit/test_secure_audit.py::test_the_role_cannot_change_the_trail",),
        "runs/audit/protection.py",
        "columns(ChangeRequest, change_request.CHANGED)",
        'columns(ChangeRequest, [*change_request.CHANGED, "requested_by"])',
    ),
    Sabotage(
        "the portal's role may become the owner of the tables",
        ("tests/runs/audit/test_secure_audit.py::test_so_is_one_that_may_become_the_owner",),
        "runs/audit/protection.py",
        "WHERE pg_has_role(coalesce(nullif(%(role)s, ''), current_user), oid, 'MEMBER')",
        "WHERE rolname = coalesce(nullif(%(role)s, ''), current_user)",
    ),
    Sabotage(
        "a window override counts without an entry",
        (
            "tests/governance/test_database_refuses.py::test_a_change_window_overridden_past_the_portal_launches_nothing",
        ),
        "runs/changes/evidence.py",
        '        if ("request.override", name) not in recorded:',
        "        if not name:",
    ),
    Sabotage(
        "a request that was written past the portal is not noticed",
        (
            "tests/runs/audit/test_reconcile.py::test_a_request_written_past_the_portal_is_named",
            "tests/governance/test_database_refuses.py::test_a_request_copied_in_the_database_launches_nothing",
        ),
        "runs/audit/signatures.py",
        "columns(row, CHANGE)",
        "columns(row, CHANGE[2:3])",
    ),
    Sabotage(
        "an approval that was removed is not noticed",
        ("tests/runs/audit/test_reconcile.py::test_an_approval_that_was_removed_is_named",),
        "runs/audit/reconcile.py",
        "    WHERE facts.number IS NULL OR entries.number > facts.number\n    OR (",
        "    WHERE (",
    ),
    Sabotage(
        "a signature of any key is good",
        (
            "tests/runs/audit/test_audit.py::test_a_signature_that_does_not_fit_is_found",
            "tests/governance/test_database_refuses.py::test_a_signature_is_over_what_an_approval_says",
        ),
        "runs/audit/signatures.py",
        "    return key is not None and hmac.compare_digest(mac(key, text).encode(), given.encode())",
        "    return True",
    ),
    Sabotage(
        "a checkpoint counts without a signature",
        ("tests/runs/audit/test_retention.py::test_a_forged_checkpoint_with_a_forged_retirement_is_found",),
        "runs/audit/verify.py",
        '    return "" if signatures.is_signed(checkpoint, keys) else',
        '    return "" if checkpoint else',
    ),
    Sabotage(
        "an approval is given on behalf of another person",
        (
            "tests/governance/test_stages.py::test_whom_the_asker_acts_for_never_approves_and_nobody_approves_for_somebody_else",
        ),
        "runs/changes/approvals.py",
        "    if by.on_behalf_of:",
        "    if by.on_behalf_of is None:",
    ),
    Sabotage(
        "one approval is enough where several are needed",
        ("tests/governance/test_stages.py::test_two_of_three_of_a_group_then_anybody",),
        "runs/changes/stages.py",
        "        return len(self.given) >= self.needed",
        "        return len(self.given) >= 1",
    ),
    Sabotage(
        "the group of a stage is not checked",
        ("tests/governance/test_stages.py::test_two_of_three_of_a_group_then_anybody",),
        "runs/changes/stages.py",
        "    if step.group and not user",
        "    if not step.group and not user",
    ),
    Sabotage(
        "the displayed digest is not compared on approve",
        ("tests/governance/test_stages.py::test_an_approval_is_of_what_was_looked_at",),
        "runs/changes/approvals.py",
        " not in (None, change.digest)",
        " in ()",
    ),
    Sabotage(
        "an expired request is approved",
        ("tests/runs/changes/test_approve.py::test_an_expired_request_cannot_be_approved",),
        "runs/changes/approvals.py",
        '<= timezone.now():\n        raise Refused("request.expired"',
        '<= timezone.now() - timedelta(days=3650):\n        raise Refused("request.expired"',
    ),
    Sabotage(
        "a change of state does not compare the state it comes from",
        ("tests/runs/changes/test_approve.py::test_no_other_move_is_made",),
        "runs/changes/states.py",
        "filter(pk=row.pk, state__in=legal)",
        "filter(pk=row.pk)",
    ),
    # Launching
    Sabotage(
        "the digest is not compared at launch",
        (
            "tests/governance/test_database_refuses.py::test_secret_values_swapped_for_others_are_refused_at_launch",
            "tests/governance/test_stages.py::test_what_changes_after_the_approval_voids_it",
        ),
        "runs/changes/evidence.py",
        " and spec_digest(spec) == spec.digest",
        "",
    ),
    Sabotage(
        "the schema fingerprint is not compared at launch",
        ("tests/runs/dispatch/test_launch.py::test_a_schema_that_changed_after_the_request_closes_it",),
        "runs/dispatch/launch.py",
        " != run_request.spec.schema_fingerprint:",
        " != deployment.schema_fingerprint:",
    ),
    Sabotage(
        "another definition than the approved one is launched",
        (
            "tests/governance/test_stages.py::test_what_changes_after_the_approval_voids_it",
            "tests/governance/test_approved_definition.py::test_code_swapped_after_the_request_is_not_launched",
        ),
        "runs/definitions/launch_check.py",
        " != spec.definition_fingerprint:",
        " != definition.fingerprint(found):",
    ),
    Sabotage(
        "the definition is not read again at launch",
        ("tests/governance/test_approved_definition.py::test_code_swapped_after_the_request_is_not_launched",),
        "runs/dispatch/launch.py",
        "        if came_from == State.APPROVED or not run_request.sent_at:",
        "        if came_from == State.LAUNCHING and not run_request.sent_at:",
    ),
    Sabotage(
        "an attempt that died before it was sent is not checked again",
        (
            "tests/governance/test_approved_definition.py::test_a_launch_that_died_before_it_sent_anything_is_checked_again",
        ),
        "runs/dispatch/launch.py",
        "        if came_from == State.APPROVED or not run_request.sent_at:",
        "        if came_from == State.APPROVED:",
    ),
    Sabotage(
        "the definition is not compared again when the run starts",
        (
            "tests/governance/test_definition_at_start.py::test_code_swapped_between_launch_and_start_raises_the_alarm",
            "tests/governance/test_definition_at_start.py::test_a_policy_cancels_the_run",
        ),
        "runs/changes/settle.py",
        "for run_request in started if run_request.change.needs_approval]",
        "for run_request in started if not run_request.change.needs_approval]",
    ),
    Sabotage(
        "a policy that cancels changed runs does not",
        ("tests/governance/test_definition_at_start.py::test_a_policy_cancels_the_run",),
        "runs/governance/requirements.py",
        "cancel_moved=any(",
        "cancel_moved=bool(found) and not any(",
    ),
    Sabotage(
        "code that is not pinned is accepted against the policy",
        (
            "tests/governance/test_unpinned_code.py::test_a_policy_refuses_it_at_the_request",
            "tests/governance/test_unpinned_code.py::test_and_again_at_the_launch_approved_or_not",
        ),
        "runs/governance/requirements.py",
        "if self.refuse_moving and moving:",
        "if self.refuse_moving and not found:",
    ),
    Sabotage(
        "the approver sees no difference from the last approval",
        (
            "tests/portal/admin/requests/test_definition_panel.py::test_it_is_compared_with_the_one_last_approved_there_not_with_the_request",
        ),
        "portal/admin/requests/definition_diff.py",
        "    last = queries.last_approved(run_request)",
        "    last = run_request",
    ),
    Sabotage(
        "what an emergency override launched counts as approved",
        ("tests/portal/admin/requests/test_definition_panel.py::test_what_was_refused_or_overridden_is_no_approval",),
        "runs/changes/queries.py",
        'Exists(BreakGlass.objects.filter(change=OuterRef("change")))',
        'Exists(BreakGlass.objects.filter(change=OuterRef("change"), by=None))',
    ),
    Sabotage(
        "a request is sent to another address than it was made for",
        ("tests/governance/test_approved_definition.py::test_a_request_is_sent_only_to_the_address_it_was_made_for",),
        "runs/dispatch/launch.py",
        "is_same_address(environment.server.api_url, run_request.spec.api_url)",
        "is_same_address(environment.server.api_url, environment.server.api_url)",
    ),
    Sabotage(
        "the requester's grants are not checked again at launch",
        ("tests/runs/dispatch/test_launch.py::test_a_grant_revoked_before_the_launch_bites",),
        "runs/dispatch/launch.py",
        "    if requester := run_request.change.requested_by:",
        "    if (requester := run_request.change.requested_by) is None:",
    ),
    Sabotage(
        "the approvers' grants are not checked again at launch",
        ("tests/governance/test_stages.py::test_what_changes_after_the_approval_voids_it",),
        "runs/changes/validity.py",
        "        if not Permissions.of_person(each.by).decide(Verb.APPROVE,",
        "        if each.by is None and not Permissions.of_person(each.by).decide(Verb.APPROVE,",
    ),
    Sabotage(
        "the change window is not checked at launch",
        ("tests/governance/test_overrides.py::test_outside_its_window_a_run_waits_and_says_until_when",),
        "runs/dispatch/launch.py",
        "    if standing:\n        return None\n",
        "    if target:\n        return None\n",
    ),
    Sabotage(
        "a freeze holds nothing back",
        ("tests/governance/test_overrides.py::test_a_freeze_holds_back_a_planned_run_until_it_is_lifted",),
        "runs/governance/windows.py",
        "if freeze.until is None or moment < freeze.until:",
        "if freeze.until is not None and moment < freeze.until:",
    ),
    Sabotage(
        "an approval is good for ever",
        ("tests/runs/dispatch/test_launch.py::test_an_approval_that_is_too_old_is_none",),
        "runs/changes/validity.py",
        '<= timezone.now():\n        raise Refused("approval.too_old"',
        '<= timezone.now().replace(year=2000):\n        raise Refused("approval.too_old"',
    ),
    Sabotage(
        "the idempotency key does not name the deployment",
        ("tests/runs/dispatch/test_launch.py::test_the_same_form_for_another_deployment_of_the_flow_has_another_key",),
        "runs/models/request.py",
        "self.change.submission_key, spec.deployment_prefect_id,",
        "self.change.submission_key,",
    ),
    Sabotage(
        "a run of another deployment is accepted for the key",
        ("tests/runs/dispatch/test_launch.py::test_a_run_of_another_deployment_for_our_key_is_not_taken_for_ours",),
        "runs/dispatch/launch.py",
        "    if record.deployment_id != run_request.spec.deployment_prefect_id:",
        "    if record.deployment_id is None:",
    ),
    # Permissions
    Sabotage(
        "the filter of one permission is used for all",
        ("tests/runs/access/test_decisions.py::test_the_queryset_and_the_decision_never_disagree",),
        "runs/access/decisions.py",
        "            self.filters[verb, deployment, base] = found",
        "            self.filters |= {(each, deployment, base): found for each in Verb}",
    ),
    Sabotage(
        "the grants near a deployment are used for its scope",
        ("tests/runs/access/test_scope.py::test_scope_is_the_intersection_for_decisions_and_querysets",),
        "runs/access/decisions.py",
        "        key = (id(grants), target.full_name)",
        "        key = (0, target.full_name)",
    ),
    Sabotage(
        "a stored row is saved as a new one",
        ("tests/flows/test_stored_row.py::test_a_row_has_what_was_read",),
        "flows/models/stored_row.py",
        "        state.db, state.adding = db, False\n",
        "        state.db = db\n",
    ),
    Sabotage(
        "a grant need not name a protected environment",
        ("tests/runs/access/test_decisions.py::test_a_protected_environment_must_be_named",),
        "runs/access/decisions.py",
        " and not (is_unnamed and target.environment.is_protected)",
        "",
    ),
    Sabotage(
        "a scope limits nothing",
        ("tests/runs/access/test_scope.py::test_the_scope_limits_the_person",),
        "runs/access/decisions.py",
        "        if decision and self.scope is not None:\n",
        "        if decision and self.scope == ():\n",
    ),
    Sabotage(
        "a scope does not restrict lists",
        ("tests/runs/access/test_scope.py::test_scope_is_the_intersection_for_decisions_and_querysets",),
        "runs/access/decisions.py",
        "            found &= visible_rows.condition(",
        "            visible_rows.condition(",
    ),
    Sabotage(
        "a deny does not win",
        ("tests/runs/access/test_decisions.py::test_deny_wins",),
        "runs/access/decisions.py",
        "    if denying:\n",
        "    if denying and not grants:\n",
    ),
    Sabotage(
        "a revoked grant counts",
        ("tests/runs/access/test_decisions.py::test_a_revoked_grant_counts_no_more",),
        "runs/access/decisions.py",
        'IN_FORCE = """revoked_at IS NULL\n',
        'IN_FORCE = """true\n',
    ),
    Sabotage(
        "a grant counts after its end",
        ("tests/runs/access/test_decisions.py::test_a_grant_counts_between_its_dates_only",),
        "runs/access/decisions.py",
        "\n    AND (valid_until IS NULL OR valid_until > %(now)s)",
        "",
    ),
    Sabotage(
        "the API lists what its token does not see",
        ("tests/portal/api/test_lists.py::test_a_scope_limits_every_list",),
        "runs/listing.py",
        "        found = found.filter(self.visible(by, permissions))\n",
        "",
    ),
    Sabotage(
        "a cursor works for another list",
        ("tests/portal/api/test_lists.py::test_a_cursor_is_of_one_list_with_its_filters",),
        "portal/api/paging.py",
        "    if (name, digest) != (listing.name, canonical.digest(chosen)[:16]):\n",
        "    if not name:\n",
    ),
    Sabotage(
        "the log of a run needs no permission of its own",
        ("tests/portal/api/test_lists.py::test_parameters_and_logs_need_their_own_permission",),
        "portal/api/run_routes.py",
        "    Permissions.of(by).require(Verb.SEE_LOGS, Target.of_run(found))\n",
        "",
    ),
    Sabotage(
        "an idempotency key is for any request",
        ("tests/portal/api/test_acts.py::test_another_body_with_the_key_is_refused",),
        "portal/api/idempotency.py",
        "    made.update(request.body)\n",
        "",
    ),
    Sabotage(
        "a submission is made again after a kill",
        ("tests/portal/api/test_acts.py::test_a_process_that_was_killed_before_its_answer_submitted_once",),
        "portal/api/request_routes.py",
        "        submission_key=key or uuid.uuid4(),\n",
        "        submission_key=uuid.uuid4(),\n",
    ),
    Sabotage(
        "a request is repeated that its reader does not see",
        ("tests/portal/api/test_reruns.py::test_a_request_that_is_not_visible_is_not_there",),
        "portal/api/request_routes.py",
        '    return one(listings.REQUESTS.rows(by), "run request", pk=pk)\n',
        '    return one(RunRequest.objects.all(), "run request", pk=pk)\n',
    ),
    Sabotage(
        "a rerun is made again with the same key after a kill",
        ("tests/portal/api/test_reruns.py::test_a_rerun_is_one_for_its_key_also_after_a_kill",),
        "runs/requests/submit.py",
        "        submission_key=submission_key,\n    )\n",
        "    )\n",
    ),
    Sabotage(
        "the change windows of a deployment name what their reader does not see",
        ("tests/portal/api/test_standing.py::test_no_rule_about_what_is_not_visible_is_named",),
        "runs/governance/opening_hours.py",
        "    rows = visible(rows, Permissions.of(by))\n",
        "",
    ),
    Sabotage(
        "an installation gets the accounts and tokens of the demo",
        ("tests/portal/test_demo_tokens.py::test_an_installation_gets_no_accounts_of_the_demo",),
        "portal/management/commands/demo_cast.py",
        "        if settings.PRODUCTION:\n",
        "        if not settings:\n",
    ),
    Sabotage(
        "the tokens of the demo are readable for everyone",
        ("tests/portal/test_demo_tokens.py::test_each_who_can_sign_in_has_a_token_that_only_its_owner_reads",),
        "portal/demo/account_tokens.py",
        "os.O_EXCL, 0o600)",
        "os.O_EXCL, 0o644)",
    ),
    Sabotage(
        "who cannot sign in keeps a token of the demo",
        ("tests/portal/test_demo_tokens.py::test_who_cannot_sign_in_has_none",),
        "portal/demo/account_tokens.py",
        "username=name, is_active=True, is_staff=True)",
        "username=name)",
    ),
    Sabotage(
        "the token of the demo is sent to another portal",
        ("tests/portal/test_demo_tokens.py::test_a_target_uses_the_portal_that_the_environment_names",),
        "portal/demo/demo_client.py",
        "    if ADDRESS in os.environ or TOKEN in os.environ:\n",
        "    if ADDRESS in os.environ and TOKEN in os.environ:\n",
    ),
    Sabotage(
        "any command acts as any user",
        ("tests/runs/management/test_commands.py::test_only_what_stops_runs_or_lets_them_start_acts_as_a_user",),
        "runs/management/cli/command.py",
        '        parser.add_argument("--json", action="store_true", help="print JSON")\n',
        '        parser.add_argument("--json", action="store_true", help="print JSON")\n'
        '        parser.add_argument("--as", dest="person", default="")\n',
    ),
    Sabotage(
        "a command finds runs that its user does not see",
        ("tests/runs/test_names.py::test_what_may_not_be_seen_is_not_there",),
        "runs/names.py",
        '        Permissions.of(by).q(Verb.SEE, deployment="access_deployment__")\n',
        "        pk__gt=0\n",
    ),
    Sabotage(
        "an approval by the API is for whatever the request is now",
        ("tests/portal/api/test_acts.py::test_it_is_approved_as_it_was_read",),
        "portal/api/request_routes.py",
        ", displayed_digest=payload.digest)",
        ")",
    ),
    Sabotage(
        "an edit is of any version",
        ("tests/portal/api/test_acts.py::test_what_is_edited_is_what_was_read",),
        "portal/api/catalog_routes.py",
        "    require_match(request, found)\n",
        "",
    ),
    Sabotage(
        "a token may send any number of requests",
        ("tests/portal/api/test_tokens_of_requests.py::test_requests_are_counted_and_limited",),
        "portal/api/authentication.py",
        "    if requests > limit:\n",
        "    if requests < 0:\n",
    ),
    Sabotage(
        "the overview names hooks that were disabled",
        ("tests/runs/automation/test_renewals.py::test_one_whose_owner_is_disabled_is_named_at_once",),
        "runs/automation/renewals.py",
        "    return Q(is_enabled=True) & by_need(need, is_disabled",
        "    return by_need(need, is_disabled",
    ),
    Sabotage(
        "a rule whose token allows nothing is said to run",
        ("tests/runs/automation/test_renewals.py::test_a_rule_needs_its_token_and_what_that_allows",),
        "runs/automation/owner_checks.py",
        "replace(permissions[rule.owner_id], scope=scope)",
        "permissions[rule.owner_id]",
    ),
    Sabotage(
        "a hook whose deployment was deleted is said to run",
        (
            "tests/runs/automation/test_renewals.py::test_one_whose_deployment_was_deleted_is_named_until_it_is_deployed_again",
        ),
        "runs/automation/owner_checks.py",
        "        return refusal.message\n",
        "        pass\n",
    ),
    Sabotage(
        "a chain is run after its end",
        (
            "tests/runs/automation/test_chain_ends.py::test_after_its_end_it_is_not_run_until_it_is_saved_and_a_run_under_way_goes_on",
        ),
        "runs/automation/chain_checks.py",
        "    if chain.valid_until <= timezone.now():\n",
        "    if not chain.valid_until:\n",
    ),
    Sabotage(
        "the rule of a schedule is not part of what is approved",
        ("tests/runs/automation/test_schedules.py::test_its_rule_is_part_of_what_is_approved",),
        "runs/requests/submit.py",
        """("on_failure", on_failure), ("schedule", schedule))""",
        """("on_failure", on_failure), ("schedule", schedule and {**schedule, "rule": ""}))""",
    ),
    Sabotage(
        "a due time written into the database starts a run",
        ("tests/runs/automation/test_schedules.py::test_a_due_time_written_past_the_portal_starts_nothing",),
        "runs/automation/schedule_checks.py",
        "    if not is_as_requested(schedule):\n",
        "    if False:\n",
    ),
    Sabotage(
        "runs of a schedule that are approved one by one are approved with it",
        (
            "tests/runs/automation/test_each_run.py::test_the_run_waits_ahead_of_its_time_for_an_approval_of_its_own",
            "tests/runs/automation/test_each_run.py::test_without_any_stage_each_run_still_needs_an_approval",
        ),
        "runs/requests/submit.py",
        "    is_each = kind == ChangeRequest.Kind.SCHEDULE and requirements.approve_each_run\n",
        "    is_each = False\n",
    ),
    Sabotage(
        "a run of a schedule needs an approval of its own only where any run does",
        ("tests/runs/automation/test_each_run.py::test_without_any_stage_each_run_still_needs_an_approval",),
        "runs/requests/submit.py",
        "        elif occurrence_of:\n            requirements = with_approval(requirements)\n",
        "",
    ),
    Sabotage(
        "a schedule of the portal that was changed in Prefect is no bypass",
        ("tests/runs/automation/test_native_schedules.py::test_it_is_no_bypass_until_it_is_changed",),
        "runs/native_schedules.py",
        "        if not differences(schedule):\n",
        "        if True:\n",
    ),
    Sabotage(
        "the portal saves a schedule beside one that deletes it with the next deployment",
        (
            "tests/runs/automation/test_native_schedules.py"
            "::test_beside_a_schedule_from_code_without_a_slug_it_is_refused",
        ),
        "runs/automation/native_checks.py",
        "    if not all(slugs):\n",
        "    if False:\n",
    ),
    Sabotage(
        "a schedule that is paused while it is saved stays active in Prefect",
        (
            "tests/runs/automation/test_native_schedules.py"
            "::test_one_that_is_moved_while_it_is_saved_is_saved_as_it_is_then",
        ),
        "runs/dispatch/save_schedule.py",
        "        if left and native_schedules.wanted_state(schedule) != sent:\n",
        "        if False:\n",
    ),
    Sabotage(
        "a run with other parameters passes as one of an approved schedule",
        (
            "tests/runs/automation/test_native_schedules.py"
            "::test_a_run_with_other_parameters_than_were_approved_is_recorded",
        ),
        "runs/mirror/schedule_runs.py",
        "        if key in by_slug and has_parameters(by_id[pk], by_slug[key], deployments)\n",
        "        if key in by_slug\n",
    ),
    Sabotage(
        "a schedule becomes active in Prefect during a freeze",
        ("tests/runs/automation/test_native_schedules.py::test_during_a_freeze_none_becomes_active",),
        "runs/dispatch/save_schedule.py",
        "    if native_schedules.is_to_be_active(schedule) and freeze_of(schedule.environment):\n",
        "    if False:\n",
    ),
    Sabotage(
        "one schedule from code is paused although it is another one by now",
        (
            "tests/runs/governance/test_schedule_pausing.py"
            "::test_one_that_was_changed_or_replaced_in_prefect_is_left_alone",
        ),
        "runs/dispatch/switch_schedule.py",
        '!= action.before["fingerprint"]:\n        actions.settle(action, to=State.FAILED, message=MOVED)\n',
        "is None:\n        actions.settle(action, to=State.FAILED, message=MOVED)\n",
    ),
    Sabotage(
        "a freeze resumes what was paused in Prefect a moment before it",
        (
            "tests/runs/governance/test_frozen_schedules.py"
            "::test_one_that_was_paused_in_prefect_a_moment_before_stays_paused",
        ),
        "runs/dispatch/capacity.py",
        "    if is_of_freeze and isinstance(target, Deployment) and target.is_paused:\n",
        "    if False:\n",
    ),
    Sabotage(
        "a freeze leaves a deployment alone that comes into its scope",
        ("tests/governance/test_scopes.py::test_a_freeze_holds_what_is_in_its_scope_by_now_until_it_is_confirmed",),
        "runs/governance/pausing.py",
        " | Q(Exists(coming), left_scope_at__isnull=False)\n",
        "\n",
    ),
    Sabotage(
        "one administrator deletes a concurrency limit of a protected environment",
        (
            "tests/runs/governance/test_limit_lifecycle.py"
            "::test_deleting_one_in_a_protected_environment_is_signed_and_creating_is_not",
        ),
        "runs/governance/limit_lifecycle.py",
        "            if is_guarded(each)\n        ]\n",
        "            if False\n        ]\n",
    ),
    Sabotage(
        "the next due time of a schedule does not move on",
        ("tests/runs/automation/test_schedule_clock.py::test_it_requests_each_start_shortly_before_its_time_and_once",),
        "runs/automation/schedule_states.py",
        "    if next_due:\n",
        "    if next_due is None:\n",
    ),
    Sabotage(
        "a message to a hook needs no signature",
        (
            "tests/portal/hooks/test_inbound_hooks.py::test_what_is_not_signed_with_its_secret_is_refused_counted_and_audited",
        ),
        "runs/automation/hook_messages.py",
        "            fits |= hmac.compare_digest(expected, given.encode())\n",
        '            fits |= len(expected) > 0 and given != ""\n',
    ),
    Sabotage(
        "a message to a hook may be of any age",
        ("tests/portal/hooks/test_inbound_hooks.py::test_a_message_that_is_too_old_or_from_the_future_is_refused",),
        "runs/automation/hook_messages.py",
        "    if message.sent_at and abs(message.sent_at - now) > TOLERANCE:\n",
        "    if message.sent_at is None and now is None:\n",
    ),
    Sabotage(
        "a hook can be changed in the database",
        ("tests/portal/hooks/test_inbound_hooks.py::test_a_hook_that_was_changed_in_the_database_accepts_nothing",),
        "runs/automation/hook_digest.py",
        "    if not is_intact(hook, texts):\n",
        "    if is_intact is None:\n",
    ),
    Sabotage(
        "a hook is signed again after it was changed in the database",
        (
            "tests/runs/automation/test_hooks.py::test_what_was_changed_in_the_database_is_not_made_valid_by_another_change",
        ),
        "runs/automation/hooks.py",
        "    if not also_altered:\n",
        "    if also_altered is None:\n",
    ),
    Sabotage(
        "a hook accepts messages for a new owner",
        ("tests/portal/hooks/test_inbound_hooks.py::test_another_owner_has_to_replace_its_secrets",),
        "runs/automation/hook_deliveries.py",
        "    if hook.owner_id != account.owner_id:\n",
        "    if hook.owner_id is None:\n",
    ),
    Sabotage(
        "a disabled hook accepts messages",
        ("tests/portal/hooks/test_inbound_hooks.py::test_it_ends_with_its_account_and_its_owner",),
        "runs/automation/hook_deliveries.py",
        "    if not hook.is_enabled or not account.user.is_active or not account.owner.is_active:\n",
        "    if not hook.is_enabled:\n",
    ),
    Sabotage(
        "a body that GitHub signed for a hook can be sent again",
        (
            "tests/portal/hooks/test_inbound_hooks.py::test_the_same_body_with_another_id_is_a_replay_because_github_signs_no_id",
        ),
        "runs/automation/hook_deliveries.py",
        "        replay_key=None if message.covers_id else digest,\n",
        "        replay_key=None,\n",
    ),
    Sabotage(
        "another body of a message to a hook is answered like the first",
        ("tests/portal/hooks/test_inbound_hooks.py::test_another_body_with_the_same_id_is_a_replay",),
        "runs/automation/hook_deliveries.py",
        "HookDelivery.objects.filter(hook=hook, message_id=message.id, body_digest=digest).first()",
        "HookDelivery.objects.filter(hook=hook, message_id=message.id).first()",
    ),
    Sabotage(
        "everyone decides what hooks do",
        ("tests/runs/automation/test_hooks.py::test_only_the_owner_creates_and_changes_it",),
        "runs/automation/hooks.py",
        "    if not by.is_same_person_as(account.owner_id):\n",
        "    if by.holder is None:\n",
    ),
    Sabotage(
        "a program manages hooks",
        ("tests/runs/automation/test_hooks.py::test_no_program_manages_hooks",),
        "runs/automation/hooks.py",
        "    if by.token_id:\n",
        "    if by.token_id is None:\n",
    ),
    Sabotage(
        "a hook acts with all grants of its account",
        ("tests/runs/automation/test_hooks.py::test_its_actor_can_run_its_deployment_and_nothing_else",),
        "runs/automation/hook_deliveries.py",
        "        scope=(run,),\n",
        "        scope=(run, Grant(verbs=list(Verb), effect=Grant.Effect.ALLOW)),\n",
    ),
    Sabotage(
        "whoever changed a hook lately approves its requests",
        ("tests/runs/automation/test_hooks.py::test_whoever_changed_it_lately_is_not_independent_of_its_requests",),
        "runs/governance/independence.py",
        '    "hook": ["hook.create", "hook.change", "hook.enable", "hook.add_secret", "hook.replace_secrets"],\n',
        '    "hook": [],\n',
    ),
    Sabotage(
        "an event rule reacts to what its own request led to",
        ("tests/runs/automation/test_rule_firing.py::test_two_rules_that_trigger_each_other_end",),
        "runs/automation/rule_judgement.py",
        "    if rule.pk in ancestors:\n",
        "    if rule.pk is None:\n",
    ),
    Sabotage(
        "an event rule reads what its owner cannot see",
        ("tests/runs/automation/test_rule_firing.py::test_a_rule_sees_only_what_its_owner_sees",),
        "runs/automation/happenings.py",
        "    if run is None or not permissions.decide(Verb.SEE, Target.of_run(run)):\n",
        "    if run is None:\n",
    ),
    Sabotage(
        "an event rule that was changed in the database fires",
        ("tests/runs/automation/test_rule_firing.py::test_it_is_asked_again_when_its_request_is_made",),
        "runs/automation/rule_digest.py",
        "    if not is_intact(rule):\n",
        "    if rule.pk is None:\n",
    ),
    Sabotage(
        "a rule of a program sees more than its token",
        ("tests/runs/automation/test_rule_firing.py::test_a_rule_of_a_program_sees_and_does_what_its_token_allows",),
        "runs/automation/rule_judgement.py",
        "            if rule.token is None:\n",
        "            if True:\n",
    ),
    Sabotage(
        "a rule outlives the token with which it was saved",
        ("tests/runs/automation/test_rule_firing.py::test_a_rule_does_nothing_once_its_token_has_ended",),
        "runs/automation/rule_firing.py",
        "    event_rules.require_token_valid(rule)\n",
        "",
    ),
    Sabotage(
        "everyone decides what event rules do",
        ("tests/runs/automation/test_rules.py::test_a_rule_is_its_owners",),
        "runs/automation/event_rules.py",
        "    if by.agent or not by.is_same_person_as(rule.owner_id):\n",
        "    if by.agent:\n",
    ),
    Sabotage(
        "an event rule makes more requests than its limit",
        ("tests/runs/automation/test_rule_firing.py::test_no_more_requests_than_its_limit",),
        "runs/automation/rule_firing.py",
        "    if counted.count() >= rule.per_hour:\n",
        "    if counted.count() < 0:\n",
    ),
    Sabotage(
        "a message to a hook is read to its end",
        ("tests/portal/hooks/test_served_hooks.py::test_a_body_without_an_end_is_not_read",),
        "portal/hooks/body_limit.py",
        "        if max(announced, received) > LARGEST_BODY:\n",
        "        if announced > LARGEST_BODY:\n",
    ),
    Sabotage(
        "a revoked token is accepted",
        ("tests/runs/governance/test_tokens.py::test_a_replaced_token_is_valid_for_the_overlap",),
        "runs/governance/tokens.py",
        "    if not token.digest or (token.revoked_at and token.revoked_at <= now):\n",
        "    if not token.digest:\n",
    ),
    Sabotage(
        "an expired token is accepted",
        ("tests/runs/governance/test_tokens.py::test_an_expired_token_is_not_accepted",),
        "runs/governance/tokens.py",
        "    if token.expires_at <= now:\n",
        "    if token.expires_at is None:\n",
    ),
    Sabotage(
        "a token is accepted from anywhere",
        ("tests/runs/governance/test_tokens.py::test_it_is_accepted_from_its_networks_only",),
        "runs/governance/tokens.py",
        "    return any(place in ipaddress.ip_network(each) for each in networks)\n",
        "    return place is not None\n",
    ),
    Sabotage(
        "the scopes of a token can be changed in the database",
        ("tests/runs/governance/test_tokens.py::test_a_scope_that_is_changed_in_the_database_opens_nothing",),
        "runs/governance/token_secrets.py",
        """        "scopes": scopes_text(scopes),\n""",
        "",
    ),
    # Agents
    Sabotage(
        "an agent's run in prod waits for no one where no rule asks",
        ("tests/portal/mcp/test_tools.py::test_another_person_approves_also_where_no_rule_asks_for_it",),
        "runs/requests/submit.py",
        "        elif by.agent:\n",
        "        elif False:\n",
    ),
    Sabotage(
        "the owner's retry of an agent's run in prod waits for no one",
        ("tests/portal/mcp/test_tools.py::test_an_owner_s_retry_of_it_needs_another_person_too",),
        "runs/requests/submit.py",
        "        if kind == ChangeRequest.Kind.RETRY:\n",
        "        if False:\n",
    ),
    Sabotage(
        "a retry whose first start was approved waits for no one",
        ("tests/runs/requests/test_retry.py::test_an_approval_is_for_one_start",),
        "runs/requests/submit.py",
        "so is this one, whatever rules say now.\n            requirements = with_approval(requirements)\n",
        "so is this one, whatever rules say now.\n            pass\n",
    ),
    Sabotage(
        "tokens of a service account outlive its owner in the database",
        (
            "tests/runs/governance/test_service_accounts.py"
            "::test_its_tokens_end_with_an_owner_who_is_replaced_in_the_database",
        ),
        "runs/governance/token_secrets.py",
        """        "owner": owner_id(token.user),\n""",
        "",
    ),
    Sabotage(
        "an agent's run is launched without another person",
        ("tests/portal/mcp/test_tools.py::test_it_is_asked_again_at_launch",),
        "runs/changes/validity.py",
        "    if not any(person != change.requested_by_id for person in people):\n",
        "    if False:\n",
    ),
    Sabotage(
        "owners override the approvals of what their agents ask for",
        ("tests/portal/mcp/test_tools.py::test_an_owner_who_may_approve_and_override_can_do_neither",),
        "runs/changes/overrides.py",
        "        if change.agent_id is not None and by.is_same_person_as(change.requested_by_id):\n",
        "        if False:\n",
    ),
    Sabotage(
        "an agent cancels the runs of others in prod",
        ("tests/portal/mcp/test_tools.py::test_in_a_protected_environment_it_cancels_only_its_own",),
        "runs/requests/cancel.py",
        "    if by.agent is None or not run.environment.is_protected:\n",
        "    if True:\n",
    ),
    Sabotage(
        "calls of an agent at once share the last of its budget",
        ("tests/portal/mcp/test_door.py::test_two_calls_at_once_do_not_both_get_the_last_of_the_budget",),
        "runs/governance/agents.py",
        'Agent.objects.select_for_update(of=["self"], no_key=True).select_related',
        "Agent.objects.select_related",
    ),
    Sabotage(
        "a stopped agent goes on",
        ("tests/portal/mcp/test_tools.py::test_a_stopped_agent_is_told_by_whom_and_why",),
        "runs/governance/agents.py",
        "    if now.stopped_at:\n",
        "    if False:\n",
    ),
    Sabotage(
        "the stop of all agents stops none",
        ("tests/portal/mcp/test_tools.py::test_all_are_stopped_at_once",),
        "runs/governance/agents.py",
        "    everyone = stop_of_all()\n",
        "    everyone = None\n",
    ),
    Sabotage(
        "what a stopped agent asked for is launched",
        ("tests/portal/mcp/test_tools.py::test_what_was_approved_and_not_sent_does_not_start_after_a_stop",),
        "runs/dispatch/launch.py",
        "        agents.require_running(agent)\n",
        "        pass\n",
    ),
    Sabotage(
        "the API accepts the token of an agent",
        ("tests/portal/mcp/test_door.py::test_each_kind_of_token_has_its_own_door",),
        "runs/governance/tokens.py",
        "    if (token.agent_id is not None) != for_agents:\n",
        "    if for_agents and token.agent_id is None:\n",
    ),
    Sabotage(
        "a token of an agent becomes another one in the database",
        ("tests/portal/mcp/test_door.py::test_a_token_that_was_given_to_another_agent_in_the_database_opens_nothing",),
        "runs/governance/token_secrets.py",
        '        "agent": token.agent_id,\n',
        "",
    ),
    Sabotage(
        "a token of an agent can approve",
        ("tests/portal/admin/agents/test_agent_pages.py::test_a_token_of_an_agent_has_no_more_than_an_agent_can_have",),
        "runs/governance/token_limits.py",
        "for verb in scope.verbs} - set(AGENT_VERBS)):\n",
        "for verb in scope.verbs} - set(VERBS)):\n",
    ),
    Sabotage(
        "an agent reads the secrets in a log",
        ("tests/portal/mcp/test_tools.py::test_a_hostile_log_is_marked_masked_and_capped",),
        "portal/mcp/untrusted.py",
        "        visible = pattern.sub(replacement, visible)\n",
        "        pass\n",
    ),
    Sabotage(
        "an agent reads the invisible characters of a log",
        ("tests/portal/mcp/test_tools.py::test_a_hostile_log_is_marked_masked_and_capped",),
        "portal/mcp/untrusted.py",
        'if each in "\\n\\t" or not is_invisible(each))',
        "if each)",
    ),
    Sabotage(
        "the tools of agents are served under any host name",
        ("tests/portal/mcp/test_door.py::test_other_hosts_sites_and_methods_are_refused",),
        "portal/mcp/door.py",
        "    except DisallowedHost:\n        return problem(",
        "    except DisallowedHost:\n        host = request.headers['Host']\n    if not host:\n        return problem(",
    ),
    Sabotage(
        "a refused call of an agent leaves no entry",
        ("tests/portal/mcp/test_tools.py::test_every_refusal_is_one_entry",),
        "portal/mcp/calls.py",
        "        if not refusal.is_recorded:\n",
        "        if False:\n",
    ),
    Sabotage(
        "a job token that is for others too is accepted",
        ("tests/portal/auth/test_job_tokens.py::test_what_is_refused",),
        "portal/auth/job_tokens.py",
        "    if len(values) != 1 or not isinstance(values[0], str):\n",
        "    if not values or not isinstance(values[0], str):\n",
    ),
    Sabotage(
        "the signature of a job token is not verified",
        ("tests/portal/auth/test_job_tokens.py::test_it_must_be_signed_by_the_issuer",),
        "portal/auth/job_tokens.py",
        'options={"require": list(REQUIRED)},',
        'options={"require": list(REQUIRED), "verify_signature": False},',
    ),
    Sabotage(
        "an issuer leads to keys elsewhere",
        ("tests/portal/auth/test_job_tokens.py::test_keys_elsewhere_are_not_even_asked_for",),
        "portal/auth/issuer_keys.py",
        " or not is_same_place(issuer, address):\n",
        ":\n",
    ),
    Sabotage(
        "a stranger makes the portal ask the issuer each time",
        ("tests/portal/auth/test_job_tokens.py::test_a_new_key_is_read_but_only_once_a_minute",),
        "portal/auth/issuer_keys.py",
        " and now >= keys.asked_at + PAUSE:\n",
        ":\n",
    ),
    Sabotage(
        "a trusted job can be changed in the database",
        ("tests/runs/governance/test_job_trusts.py::test_a_trust_that_is_changed_in_the_database_opens_nothing",),
        "runs/governance/job_trusts.py",
        "    for trust in filter(is_unchanged, rows):\n",
        "    for trust in rows:\n",
    ),
    Sabotage(
        "the jobs of the previous owner go on",
        ("tests/runs/governance/test_job_trusts.py::test_another_owner_has_to_trust_the_job_anew",),
        "runs/governance/tokens.py",
        " and account is not None and account.owner_id == trust.created_by_id\n",
        " and account is not None\n",
    ),
    Sabotage(
        "a * in a claim reaches across its part",
        ("tests/runs/governance/test_job_claims.py::test_what_fits",),
        "runs/governance/job_claims.py",
        "    wanted, given = SEPARATORS.split(pattern), SEPARATORS.split(text)\n",
        "    wanted, given = [pattern], [text]\n",
    ),
    Sabotage(
        "a token makes tokens",
        ("tests/runs/governance/test_tokens.py::test_a_token_makes_no_tokens",),
        "runs/governance/tokens.py",
        "    if by.token_id:\n",
        "    if by.token_id is None:\n",
    ),
    Sabotage(
        "the owner of a service account approves what it requested",
        ("tests/runs/governance/test_service_accounts.py::test_it_requests_on_behalf_of_its_owner_who_cannot_approve",),
        "runs/requests/submit.py",
        "    on_behalf_of = by.owner or on_behalf_of\n",
        "",
    ),
    Sabotage(
        "a later owner of a service account approves what it requested",
        ("tests/runs/governance/test_service_accounts.py::test_a_later_owner_does_not_approve_either",),
        "runs/changes/approvals.py",
        " or owns(by.user, change.requested_by_id)",
        "",
    ),
    Sabotage(
        "a service account acts for someone else than its owner",
        ("tests/runs/governance/test_service_accounts.py::test_it_acts_for_its_owner_only",),
        "runs/requests/submit.py",
        "        if acts_for_another:\n",
        "        if acts_for_another and not by.owner:\n",
    ),
    Sabotage(
        "who controls the owner of a service account controls nothing by it",
        ("tests/runs/governance/test_service_accounts.py::test_control_of_the_owner_is_control_of_the_account",),
        "runs/governance/powers.py",
        " | Q(person__service_account__owner=person.pk, effect=Grant.Effect.ALLOW)",
        "",
    ),
    Sabotage(
        "the owner of a service account signs its grants",
        ("tests/runs/governance/test_service_accounts.py::test_the_owner_does_not_sign_its_grants",),
        "runs/governance/rule_changes.py",
        "(str(person.pk) == key or owns(person, int(key)))",
        "str(person.pk) == key",
    ),
    Sabotage(
        "a deny does not hide a row",
        ("tests/runs/access/test_decisions.py::test_the_queryset_and_the_decision_never_disagree",),
        "runs/access/visible_rows.py",
        "        allow &= ~covered(denying, deployment=deployment, base=base, keys=keys)\n",
        "        pass\n",
    ),
    Sabotage(
        "values of parameters are found by those who may not view them",
        ("tests/portal/api/test_run_filters.py::test_a_value_is_not_found_out_by_those_who_may_not_view_parameters",),
        "runs/listings.py",
        "            needs=Verb.SEE_INPUTS,\n",
        "",
    ),
    Sabotage(
        "the list of runs shows every run",
        ("tests/portal/admin/runs/test_run_list.py::test_what_nobody_granted_is_neither_listed_nor_counted_nor_found",),
        "portal/admin/runs/admin.py",
        "return super().get_queryset(request).select_related(*RELATED)",
        "return Run.objects.select_related(*RELATED)",
    ),
    Sabotage(
        "the page of a run lists every subflow run",
        ("tests/portal/admin/runs/test_graph.py::test_a_subflow_that_the_reader_may_not_see_is_not_there",),
        "portal/admin/runs/subflows.py",
        'run.children.filter(permissions.q(Verb.SEE, deployment="access_deployment__"))',
        "run.children.all()",
    ),
    Sabotage(
        "the graph of a run unfolds every subflow",
        ("tests/portal/admin/runs/test_graph.py::test_a_subflow_that_the_reader_may_not_see_is_not_there",),
        "portal/admin/runs/task_table.py",
        'run.children.filter(permissions.q(Verb.SEE, deployment="access_deployment__"))',
        "run.children.all()",
    ),
    Sabotage(
        "the filter by parent names every run",
        ("tests/portal/admin/runs/test_graph.py::test_the_filter_by_parent_names_no_run_that_is_hidden",),
        "portal/admin/runs/filters.py",
        "Run.objects.filter(visible, pk=pk).first()",
        "Run.objects.filter(pk=pk).first()",
    ),
    Sabotage(
        "the top of a failed run quotes what its task worked on",
        ("tests/portal/admin/runs/test_headline.py::test_without_the_log_neither_messages_nor_lines_are_shown",),
        "runs/run_history.py",
        'found["message"] if has_message else ""',
        'found["message"]',
    ),
    Sabotage(
        "the top of a failed run quotes its log",
        ("tests/portal/admin/runs/test_headline.py::test_without_the_log_neither_messages_nor_lines_are_shown",),
        "runs/run_history.py",
        "    if has_failed and has_log:\n",
        "    if has_failed:\n",
    ),
    Sabotage(
        "the overview lists every run",
        ("tests/portal/admin/test_overview.py::test_nothing_of_a_hidden_environment_is_shown_or_counted",),
        "portal/admin/overview/page.py",
        "runs = Run.objects.filter(visible)",
        "runs = Run.objects.all()",
    ),
    Sabotage(
        "the overview counts every run that ended",
        ("tests/portal/admin/test_overview.py::test_nothing_of_a_hidden_environment_is_shown_or_counted",),
        "portal/admin/overview/page.py",
        "Readable(visible, permissions.whole_environments(Verb.SEE))",
        "Readable(Q(), permissions.whole_environments(Verb.SEE))",
    ),
    Sabotage(
        "an environment counts as a whole although a grant denies some rows",
        ("tests/runs/access/test_decisions.py::test_the_queryset_and_the_decision_never_disagree",),
        "runs/access/visible_rows.py",
        '        found &= ~Q(*place_of(grant, ""))',
        "        pass",
    ),
    Sabotage(
        "a run that is retried stays counted in its day",
        ("tests/runs/mirror/test_run_counts.py::test_the_counts_kept_are_those_of_the_runs",),
        "runs/mirror/run_counts.py",
        "SELECT %(environment)s, deployment_id, access_deployment_id, flow_name, (hour AT TIME ZONE 'UTC')::date,\n"
        "            state_type, sum(number), sum(total_ms)",
        "SELECT %(environment)s, deployment_id, access_deployment_id, flow_name, (hour AT TIME ZONE 'UTC')::date,\n"
        "            state_type, greatest(sum(number), 0), sum(total_ms)",
    ),
    Sabotage(
        "a day of another time zone lacks the hours before midnight in UTC",
        ("tests/runs/test_run_trends.py::test_days_have_the_runs_of_their_hours_in_every_time_zone",),
        "runs/trend_sums.py",
        'slots += [by_slot(here, F("local")), by_slot(in_utc, F("day"), MINUS_ONE)]',
        'slots += [by_slot(in_utc, F("day"), MINUS_ONE)]',
    ),
    Sabotage(
        "what fails most is not ranked where others run more",
        ("tests/runs/test_run_trends.py::test_of_many_deployments_the_first_ones_are_returned",),
        "runs/trend_sums.py",
        'MEASURES = ("ended", "failed", "mean_ms")',
        'MEASURES = ("ended", "mean_ms")',
    ),
    Sabotage(
        "the page of a request reads its approvals again and again",
        ("tests/portal/admin/requests/test_request_page.py::test_the_cost_is_agreed",),
        "portal/admin/requests/page.py",
        '    prefetch_related_objects([run_request.change], "approvals")\n',
        "",
    ),
    Sabotage(
        "a backfill that stopped at a failure is displayed as running",
        ("tests/runs/changes/test_pacing.py::test_one_word_says_how_far_it_is",),
        "runs/phases.py",
        '            When(held_back, then=F("progress")),\n',
        "",
    ),
    Sabotage(
        "nobody is notified that a backfill stopped",
        ("tests/runs/changes/test_pacing.py::test_requester_and_approvers_are_notified_once_that_it_stopped",),
        "runs/changes/release.py",
        '    events.record(RunEvent.Kind.REQUEST_STOPPED, change=change, data={"message": change.message})\n',
        "",
    ),
    Sabotage(
        "the overview tells why a run failed to who may not read its log",
        ("tests/portal/admin/overview/test_numbers.py::test_a_reader_without_logs_cannot_tell_causes_apart",),
        "portal/admin/overview/attention.py",
        "failure_causes.explain_failure(visibility.muted(run, permissions))",
        "failure_causes.explain_failure(run)",
    ),
    Sabotage(
        "a request that needs a closer look is approved in its row",
        (
            "tests/portal/admin/overview/test_pending_approvals.py::test_what_needs_a_closer_look_is_approved_on_the_page",
        ),
        "portal/admin/overview/pending_approvals.py",
        "and not (note or flags)",
        "and not note",
    ),
    Sabotage(
        "a definition approved past the portal is one that was approved",
        (
            "tests/portal/admin/overview/test_pending_approvals.py::test_what_needs_a_closer_look_is_approved_on_the_page",
        ),
        "portal/admin/overview/pending_approvals.py",
        "last is None or not queries.is_signed(last)",
        "last is None",
    ),
    Sabotage(
        "suggestions name every deployment",
        ("tests/governance/test_side_doors.py::test_no_suggestion_names_what_may_not_be_seen",),
        "portal/admin/deployments/admin.py",
        "return with_namesakes(super().get_queryset(request).select_related(",
        "return with_namesakes(Deployment.objects.select_related(",
    ),
    Sabotage(
        "rows of the runs list are sent to everyone",
        ("tests/portal/live/test_rows.py::test_nothing_is_sent_of_a_row_that_the_reader_does_not_see",),
        "portal/live/stream.py",
        "        if permissions.decide(Verb.SEE, row.target)\n",
        "",
    ),
    Sabotage(
        "a request that gets a run is not updated with it",
        ("tests/portal/live/test_rows.py::test_a_request_is_sent_when_it_or_its_run_changes",),
        "portal/live/row_feed.py",
        "            self.showing = {run: rows for run, rows in self.showing.items() if rows}\n",
        "",
    ),
    Sabotage(
        "a row for all readers has the button of one",
        (
            "tests/portal/live/test_rows.py"
            "::test_a_deployment_is_sent_with_its_last_run_and_without_what_depends_on_the_reader",
        ),
        "portal/admin/deployments/list.py",
        "    deployment.may_run = None\n",
        "    deployment.may_run = True\n",
    ),
    Sabotage(
        "permissions of open pages outlive a change of grants",
        ("tests/portal/live/test_rows.py::test_permissions_are_read_once_and_again_after_a_change",),
        "portal/live/broadcast.py",
        "            self.rights.forget()\n        if changes.is_anything:\n",
        "            pass\n        if changes.is_anything:\n",
    ),
    Sabotage(
        "the database does not say that a grant changed",
        ("tests/portal/live/test_rows.py::test_the_database_announces_what_decides_about_rights",),
        statement="DROP TRIGGER announce_rights ON runs_grant",
    ),
    Sabotage(
        "rows are sent for filters that depend on the reader",
        ("tests/portal/live/test_rows.py::test_rows_are_sent_for_known_filters_only",),
        "portal/lists/live_filters.py",
        "    if left:\n        raise Personal\n",
        "",
    ),
    Sabotage(
        "a parameter is searched where it may not be viewed",
        ("tests/portal/lists/test_filter_row.py::test_a_parameter_that_one_may_not_view_finds_nothing",),
        "runs/listing.py",
        "permissions.q(chosen.needs, deployment=self.deployment) if chosen.needs else Q()",
        "Q()",
    ),
    Sabotage(
        "a pin shows a deployment that is hidden from its owner",
        (
            "tests/runs/test_pins.py::test_a_hidden_deployment_shows_through_no_pin",
            "tests/portal/admin/deployments/test_pinned.py::test_a_pin_shows_nothing_once_it_is_hidden",
        ),
        "runs/pins.py",
        "    return permissions.q(Verb.SEE) & Q(is_pinned_by(by.user), deleted_upstream_at=None)",
        "    return Q(is_pinned_by(by.user), deleted_upstream_at=None)",
    ),
    Sabotage(
        "the palette names visited runs that are hidden now",
        ("tests/portal/admin/test_sidebar.py::test_the_palette_names_what_was_visited_as_far_as_it_is_visible_now",),
        "portal/ui/palette.py",
        "Run.objects.filter(visible, pk__in=pks)",
        "Run.objects.filter(pk__in=pks)",
    ),
    Sabotage(
        "a flow names environments in which its reader sees none of its deployments",
        ("tests/portal/admin/flows/test_flows.py::test_a_flow_stands_once_with_its_environments",),
        "runs/flow_listings.py",
        "permissions.deployments().filter(flow_name__in=list(found)",
        "Flow.objects.filter(flow_name__in=list(found)",
    ),
    Sabotage(
        "views that are not shared are offered to others",
        (
            "tests/portal/lists/test_saved_views.py::test_only_shared_views_are_offered_to_others",
            "tests/portal/lists/test_saved_views.py::test_a_personal_view_of_someone_else_does_not_exist",
        ),
        "portal/lists/saved_views.py",
        "Q(is_shared=True, owner__is_active=True)",
        "Q(owner__is_active=True)",
    ),
    Sabotage(
        "anyone deletes a shared view",
        ("tests/portal/lists/test_saved_views.py::test_a_view_belongs_to_its_owner",),
        "portal/lists/saved_views.py",
        "view.is_shared and is_administrator(by.user)",
        "view.is_shared",
    ),
    Sabotage(
        "a download goes on after its reader lost the permission",
        ("tests/portal/lists/test_csv_export.py::test_a_download_ends_when_its_reader_loses_the_permission",),
        "portal/lists/csv_export.py",
        "    permissions_of(request, afresh=True)\n",
        "",
    ),
    Sabotage(
        "the live stream announces every run to a list",
        ("tests/portal/live/test_live.py::test_a_list_hears_only_of_what_may_be_seen_and_no_ids",),
        "portal/live/stream.py",
        "rows.filter(visible[LISTS[name]], pk__in=pks).exists()",
        "rows.filter(pk__in=pks).exists()",
    ),
    Sabotage(
        "the live stream follows every run",
        ("tests/portal/live/test_live.py::test_what_may_not_be_seen_is_not_found",),
        "portal/live/stream.py",
        ".filter(visible[subject], pk__in=pks).count()",
        ".filter(pk__in=pks).count()",
    ),
    Sabotage(
        "parameter values are shown to all who see the run",
        ("tests/portal/admin/runs/test_inputs_and_logs.py::test_inputs_and_logs_are_shown_apart",),
        "runs/requests/visibility.py",
        "Verb.SEE_INPUTS, Target.of_run(subject)",
        "Verb.SEE, Target.of_run(subject)",
    ),
    Sabotage(
        "a second environment may be the same server",
        ("tests/governance/test_same_server.py::test_another_name_of_the_server_offers_no_deployment",),
        "flows/catalog/sync.py",
        "        require_own_server(environments, [record.id for record in records])\n",
        "",
    ),
    Sabotage(
        "two environments on a server are active at once",
        ("tests/governance/test_servers.py::test_the_database_refuses_a_second_active_environment_on_a_server",),
        statement="DROP INDEX one_active_environment_per_server",
    ),
    Sabotage(
        "a server is shared without what it means for the others",
        (
            "tests/governance/test_servers.py::"
            "test_a_changed_server_is_confirmed_with_the_name_of_each_protected_environment_on_it",
        ),
        "runs/governance/configuration.py",
        "    others = loosened(row, environment.server) if row else []",
        "    others: list[Loosening] = []",
    ),
    Sabotage(
        "an environment moves the server of others along",
        ("tests/governance/test_servers.py::test_an_environment_that_moves_leaves_the_others_where_they_are",),
        "runs/governance/configuration.py",
        "    return None if is_shared else own",
        "    return own",
    ),
    Sabotage(
        "what was read into one environment counts for the next on its server",
        (
            "tests/governance/test_servers.py::"
            "test_another_environment_takes_a_server_over_and_is_read_from_the_beginning",
        ),
        "flows/catalog/health.py",
        "    return environment.pk in found.synced_for and found.synced_from",
        "    return found.synced_from",
    ),
    Sabotage(
        "a tag that is changed in Prefect chooses the rules",
        (
            "tests/governance/test_scopes.py::"
            "test_a_deployment_that_leaves_a_protected_scope_stays_there_and_cannot_be_run",
        ),
        "flows/scopes.py",
        "        return Placement(target, True) if is_confirmed or target == home else Placement(home, False)",
        "        return Placement(target, True) if target is not None else Placement(home, False)",
    ),
    Sabotage(
        "the tags of a deployment are not read again at launch",
        ("tests/governance/test_scopes.py::test_a_deployment_that_comes_into_a_protected_scope_is_run_by_nobody",),
        "runs/governance/in_scope.py",
        "    if environment.is_scoped and not placement.is_here(",
        "    if not environment.is_scoped and not placement.is_here(",
    ),
    Sabotage(
        "a schedule in Prefect becomes active under other rules",
        ("tests/governance/test_scopes.py::test_a_schedule_in_prefect_does_not_start_in_another_scope",),
        "runs/dispatch/save_schedule.py",
        "        require_here(deployment, record)\n",
        "        pass\n",
    ),
    Sabotage(
        "one administrator takes a deployment out of a protected environment",
        ("tests/governance/test_scopes.py::test_out_of_a_protected_environment_a_second_administrator_signs",),
        "runs/governance/deployment_moves.py",
        "        if is_guarded(each)\n    ]",
        "        if each.pk == target.pk\n    ]",
    ),
    Sabotage(
        "a follower stays with an environment that was disabled",
        ("tests/runs/mirror/test_follower.py::test_a_follower_reads_into_the_environment_that_is_active",),
        "runs/mirror/follower.py",
        "    return tuple(keys_of(environments)), reading_of(environments)",
        "    return (), reading_of(environments)",
    ),
    Sabotage(
        "a follower that has stopped is displayed as running",
        ("tests/portal/ui/test_freshness.py::test_the_dot_says_what_is_wrong_in_shape_and_words",),
        "portal/ui/freshness.py",
        "status.followed_at is not None and now - status.followed_at <= FOLLOWER_LATE",
        "status.followed_at is not None",
    ),
    Sabotage(
        "the header names environments that its reader does not see",
        ("tests/portal/ui/test_freshness.py::test_the_dot_of_a_page_is_of_the_environments_that_its_reader_sees",),
        "portal/ui/freshness.py",
        "places = permissions_of(request).environments().filter(is_active=True).select_related",
        "places = Environment.objects.filter(is_active=True).select_related",
    ),
    Sabotage(
        "a changed address past the portal raises no alarm",
        ("tests/runs/governance/test_outside_changes.py::test_a_change_past_the_portal_is_reported_once",),
        "runs/governance/outside_changes.py",
        "        return protected & frozenset(environments_on(version)",
        "        return frozenset() & frozenset(environments_on(version)",
    ),
    Sabotage(
        "runs are read before it is known whose server it is",
        ("tests/governance/test_same_server.py::test_no_run_is_seen_before_the_server_is_known",),
        "runs/mirror/follower.py",
        "    return mirror.sync_states(environment) if health.is_synced(environment) else None",
        "    return mirror.sync_states(environment)",
    ),
    Sabotage(
        "a blind re-run shows its requester the values",
        ("tests/governance/test_blind_reruns.py::test_a_blind_rerun_stays_blind_for_its_requester",),
        "runs/requests/visibility.py",
        "        and not run_request.spec.is_blind\n",
        "",
    ),
    Sabotage(
        "a draft of a re-run works at any address",
        ("tests/governance/test_blind_reruns.py::test_a_draft_of_a_rerun_is_no_draft_at_another_address",),
        "portal/admin/run_form/draft.py",
        'if plain["rerun_of"] != (rerun_of and rerun_of.pk):',
        "if False:",
    ),
    Sabotage(
        "the mirror forgets what was secret",
        ("tests/governance/test_once_secret.py::test_runs_masked_before_the_redeploy_stay_masked",),
        "runs/mirror/upsert.py",
        "        also |= schemas.masked_paths(known.parameters)\n",
        "        pass\n",
    ),
    Sabotage(
        "a secret is repeated in clear text",
        ("tests/governance/test_once_secret.py::test_a_request_with_a_secret_that_is_none_any_more_is_not_repeated",),
        "runs/requests/spec.py",
        "        require_secrets_hidden(spec.rerun_of, public)\n",
        "        pass\n",
    ),
    # Parameters
    Sabotage(
        "an unknown parameter is accepted",
        ("tests/flows/parameters/test_validation.py::test_all_errors_come_at_once_in_the_order_of_the_signature",),
        "flows/parameters/validation.py",
        '    if "additionalProperties" not in node:',
        '    if "additionalProperties" in node:',
    ),
    Sabotage(
        "__prefect_kind is accepted",
        ("tests/flows/parameters/test_validation.py::test_nothing_that_prefect_would_fill_in",),
        "flows/parameters/prefect_markers.py",
        "    if KIND in place.value:",
        "    if KIND not in place.value:",
    ),
    Sabotage(
        "a search in a list that was left unfinished requests the run",
        ("tests/portal/admin/run_form/test_choices.py::test_what_is_searched_and_no_choice_is_not_requested",),
        "flows/parameters/finder.py",
        "self.is_used = bool(self.term) or",
        "self.is_used =",
    ),
    Sabotage(
        "secret values are written into the audit trail",
        ("tests/runs/requests/test_submit.py::test_a_secret_is_stored_encrypted_and_shown_nowhere",),
        "runs/requests/submit.py",
        '{"parameters": frozen[0].masked,',
        '{"parameters": frozen[0].values,',
    ),
    # The audit trail
    Sabotage(
        "the digest of an entry does not cover its reason",
        ("tests/runs/audit/test_audit.py::test_an_edited_column_is_found",),
        "runs/audit/chain.py",
        'if f.attname not in ("digest", "signature")]',
        'if f.attname not in ("digest", "signature", "reason")]',
    ),
    Sabotage(
        "verification does not compare the link to the entry before",
        ("tests/runs/audit/test_audit.py::test_an_edit_with_a_fitting_digest_and_the_key_breaks_the_next_link",),
        "runs/audit/verify.py",
        "        if link != previous:",
        "        if not link:",
    ),
    Sabotage(
        "verification does not notice a missing entry",
        ("tests/runs/audit/test_audit.py::test_a_deleted_first_entry_is_found",),
        "runs/audit/verify.py",
        "        if number != sequence + 1:",
        "        if number < sequence + 1:",
    ),
    Sabotage(
        "a refused act leaves no entry",
        ("tests/runs/audit/test_audit.py::test_a_refusal_stays_though_its_transaction_is_rolled_back",),
        "runs/audit/record.py",
        "        record(this, AuditEntry.Outcome.REFUSED, str(refusal), refusal)\n",
        "",
    ),
    Sabotage(
        "a page that is forbidden leaves no entry",
        ("tests/portal/admin/access/test_grants_page.py::test_only_administrators_try",),
        "portal/error_pages.py",
        'request.method not in ("GET", "HEAD", "OPTIONS")',
        'request.method not in ("GET", "HEAD", "OPTIONS", "POST")',
    ),
    Sabotage(
        "a deployment that returns stays deleted",
        ("tests/flows/catalog/test_keep_up.py::test_what_returns_as_it_was_is_written",),
        "flows/catalog/sync.py",
        "environment=environment, deleted_upstream_at=None, left_scope_at=None, synced_at__lte=at",
        "environment=environment, synced_at__lte=at",
    ),
    Sabotage(
        "another template of a work pool is no change",
        ("tests/flows/catalog/test_keep_up.py::test_a_changed_pool_is_a_change_of_its_deployments",),
        "flows/catalog/sync.py",
        "digest([each, pools.get(each.work_pool_name)])",
        "digest([each])",
    ),
    Sabotage(
        "the body of an answer waits until its head is acknowledged",
        ("tests/portal/test_asgi.py::test_no_answer_waits_until_its_head_is_acknowledged",),
        "portal/ops/http_protocol.py",
        "socket.TCP_NODELAY, 1)",
        "socket.TCP_NODELAY, 0)",
    ),
    # Background tasks
    Sabotage(
        "a task that waits can be taken by a process that does not see what it was queued for",
        ("tests/runs/test_queue.py::test_what_an_open_transaction_relies_on_is_not_taken_before_its_end",),
        "runs/queue.py",
        "LIMIT 1 FOR SHARE SKIP LOCKED",
        "LIMIT 1",
    ),
    Sabotage(
        "a task that waits is queued again",
        ("tests/runs/test_queue.py::test_a_task_that_waits_is_not_queued_again",),
        "runs/queue.py",
        " WHERE NOT EXISTS (SELECT FROM waiting)",
        "",
    ),
    Sabotage(
        "a launch waits behind refreshes",
        ("tests/runs/test_queue.py::test_launches_are_taken_before_what_was_queued_earlier",),
        "runs/queue.py",
        "ELSE priority END, id",
        "ELSE 0 END, id",
    ),
    Sabotage(
        "a task that takes long is started a second time",
        ("tests/runs/test_queue.py::test_a_task_that_takes_long_is_not_started_a_second_time",),
        "runs/queue.py",
        "AND id %% 2147483648 NOT IN (",
        "AND 0 NOT IN (",
    ),
    Sabotage(
        "a task runs beside itself",
        ("tests/runs/test_queue.py::test_a_task_that_is_running_is_queued_once_more_and_not_run_beside_itself",),
        "runs/queue.py",
        "same.args = found.args AND same.id <> found.id",
        "same.args = found.args AND same.id = found.id",
    ),
    Sabotage(
        "what two transactions queued is run twice",
        ("tests/runs/test_queue.py::test_queueing_never_waits_for_another_transaction",),
        "runs/queue.py",
        "DELETE FROM runs_queuedtask WHERE id IN (SELECT id FROM twins)",
        "DELETE FROM runs_queuedtask WHERE id IN (SELECT id FROM twins WHERE false)",
    ),
    Sabotage(
        "whatever is written into the queue is run",
        ("tests/runs/test_queue.py::test_a_task_that_fails_or_is_unknown_ends_and_the_next_is_run",),
        "runs/cluster.py",
        'if task["func"] in queue.TASKS:',
        'if task["func"]:',
    ),
    # Signing in
    Sabotage(
        "passwords can be guessed without a wait",
        (
            "tests/portal/auth/test_throttle.py::test_after_five_failures_not_even_the_right_password_counts_for_a_while",
        ),
        "portal/auth/throttle.py",
        "    if limit and failures >= limit.allowed:",
        "    if limit and failures < 0:",
    ),
    Sabotage(
        "attempts at the same time are not counted",
        ("tests/portal/auth/test_throttle.py::test_attempts_at_the_same_time_are_all_counted",),
        "portal/auth/throttle.py",
        "    WHERE known.blocked_until IS NULL OR known.blocked_until <= %(now)s\n",
        "",
    ),
    Sabotage(
        "a made-up cookie has a count of its own",
        ("tests/portal/auth/test_throttle.py::test_a_cookie_that_somebody_made_up_is_none",),
        "portal/auth/throttle.py",
        'request.get_signed_cookie(COOKIE, default="", salt=COOKIE, max_age=COOKIE_AGE)',
        'request.COOKIES.get(COOKIE, "")',
    ),
    Sabotage(
        "whoever has an account lifts the block of an address",
        ("tests/portal/auth/test_throttle.py::test_who_has_an_account_cannot_lift_the_block_of_an_address",),
        "portal/auth/throttle.py",
        "filter(key=self.address, failures__lt=ADDRESS.allowed)",
        "filter(key=self.address)",
    ),
    Sabotage(
        "each throttled attempt is an audit entry",
        (
            "tests/portal/auth/test_throttle.py::test_a_burst_leaves_its_first_failures_and_one_entry_that_says_throttled",
        ),
        "portal/auth/sign_in.py",
        'if refusal.data["is_first"]:',
        "if refusal:",
    ),
    Sabotage(
        "a link for a new password is used twice at the same time",
        ("tests/portal/auth/test_reset_race.py::test_of_two_uses_at_the_same_time_the_second_is_refused",),
        "runs/governance/accounts.py",
        'for name in ("password", "last_login", "email")}',
        "for name in ()}",
    ),
    Sabotage(
        "a mailbox is flooded from many addresses",
        (
            "tests/portal/auth/test_password_reset.py"
            "::test_a_mailbox_is_not_flooded_from_wherever_and_however_it_is_spelled",
        ),
        "portal/auth/throttle.py",
        'key_of("mailbox", mailbox)',
        'key_of("mailbox", mailbox, address)',
    ),
    Sabotage(
        "a link still opens an account that was disabled",
        ("tests/portal/auth/test_password_reset.py::test_no_link_for_an_account_that_cannot_use_it",),
        "portal/auth/password_reset.py",
        "is_open = person and person.is_active and person.is_staff and person.has_usable_password()",
        "is_open = person",
    ),
    Sabotage(
        "the answer tells which email addresses have an account",
        ("tests/portal/auth/test_password_reset.py::test_an_unknown_address_is_answered_like_a_known_one",),
        "portal/auth/password_reset.py",
        "        if not people and not self.attempt.is_recorded:",
        "        if not people:\n            raise Refused('reset_link.unknown', '')\n        if not people:",
    ),
    Sabotage(
        "nobody is told of an administrator made by command",
        ("tests/runs/management/test_new_administrator.py::test_others_are_told_where_nothing_is_protected",),
        "runs/governance/accounts.py",
        '        loosening_gate.notify_of_operator(f"{name} was made an administrator with a command", found, act)\n',
        "",
    ),
    Sabotage(
        "an old password opens an account that was made an administrator",
        ("tests/runs/management/test_new_administrator.py::test_an_existing_account_is_promoted_and_enabled",),
        "runs/governance/accounts.py",
        "        person.set_password(get_random_string(64))\n",
        "",
    ),
    # What Prefect says
    Sabotage(
        "the mirror accepts an older state",
        ("tests/runs/mirror/test_mirror.py::test_an_older_reading_never_overwrites_a_newer_one",),
        "runs/mirror/upsert.py",
        "    return record.state.timestamp < known.state_at",
        "    return record.state.timestamp is None",
    ),
    Sabotage(
        "a changed definition leaves no entry",
        (
            "tests/runs/definitions/test_deployment_changes.py::test_a_change_without_a_new_version_is_recorded_once",
            "tests/runs/definitions/test_deployment_changes.py::test_the_template_of_the_work_pool_is_part_of_the_definition",
        ),
        "runs/tasks.py",
        "environment, on_change=definitions.record_changes, on_move=",
        "environment, on_move=",
    ),
    Sabotage(
        "a job variable is stored in clear text",
        ("tests/runs/definitions/test_deployment_changes.py::test_a_secret_of_a_deployment_is_in_no_row",),
        "flows/definition.py",
        "    return hashed(value, key)\n\n\ndef mask_step",
        "    return value\n\n\ndef mask_step",
    ),
    Sabotage(
        "a cancel is confirmed by Prefect's answer, not by the state read",
        ("tests/runs/requests/test_cancel.py::test_a_running_run_shows_cancelling_until_prefect_confirms",),
        "runs/dispatch/cancel_run.py",
        "    actions.move(action, to=State.SENT, next",
        "    actions.move(action, to=State.DONE, next",
    ),
    Sabotage(
        "a request whose run was deleted in Prefect stays open",
        ("tests/runs/mirror/test_deleted_runs.py::test_its_request_is_lost_recorded_and_told_to_the_requester",),
        "runs/mirror/upsert.py",
        "        changes.settle_deleted(environment, prefect_ids)",
        "        changes.settle_deleted(environment, set())",
    ),
    Sabotage(
        "a stalled run is recovered without asking Prefect again",
        ("tests/runs/requests/test_recover.py::test_a_run_that_moves_between_look_and_act_is_left_alone",),
        "runs/dispatch/recover_run.py",
        '    if str(run.state_id) != before["state_id"] or stall != before["stalled"] or run.deleted_upstream_at:',
        "    if action.run_id is None:",
    ),
    Sabotage(
        "stalled runs are put back automatically in protected environments",
        ("tests/runs/requests/test_recover.py::test_never_where_the_environment_forbids_it",),
        "runs/requests/recover.py",
        "    if environment.is_protected or not environment.puts_back or not environment.is_active:",
        "    if not environment.puts_back or not environment.is_active:",
    ),
    Sabotage(
        "a run is put back automatically again and again",
        ("tests/runs/requests/test_recover.py::test_a_run_whose_worker_is_gone_is_put_back_once",),
        "runs/requests/recover.py",
        "        if run.actions.filter(kind__in=RECOVERIES, is_automatic=True).exists():",
        "        if run.actions.filter(kind__in=RECOVERIES, is_automatic=True, state__in=OPEN).exists():",
    ),
    Sabotage(
        "a retry needs no permission for the values",
        ("tests/runs/requests/test_retry.py::test_it_is_decided_for_the_values_of_the_run",),
        "runs/requests/retry.py",
        "    permissions.require(verb_for(permissions, run, run_request), deployment, values)",
        "    permissions.require(verb_for(permissions, run, run_request), deployment)",
    ),
    Sabotage(
        "an approval is good for a second start",
        ("tests/runs/requests/test_retry.py::test_an_approval_is_for_one_start",),
        "runs/requests/retry.py",
        "    return run_request.change.needs_approval or bool(requirements.stages)",
        "    return bool(requirements.stages)",
    ),
    Sabotage(
        "a retry is started where runs need an approval",
        (
            "tests/runs/requests/test_retry.py::test_where_a_run_needs_an_approval_a_retry_does_too",
            "tests/portal/admin/runs/test_retry_page.py::test_a_refusal_is_told_with_its_code",
        ),
        "runs/requests/retry.py",
        "    return run_request.change.needs_approval or bool(requirements.stages)",
        "    return run_request.change.needs_approval",
    ),
    Sabotage(
        "retries are granted without an end",
        ("tests/runs/requests/test_retry.py::test_a_request_can_be_approved_with_retries",),
        "runs/requests/retry.py",
        "    return run_request.spec.retries - others.count()",
        "    return run_request.spec.retries",
    ),
    Sabotage(
        "an approved retry runs whatever is deployed",
        ("tests/runs/requests/test_retry.py::test_an_approved_retry_is_for_the_deployment_as_it_was_then",),
        "runs/dispatch/recover_run.py",
        "    definitions.require_unchanged_since(change, spec, run_request.environment)\n",
        "",
    ),
    Sabotage(
        "a retry that was approved in the database is sent",
        ("tests/runs/requests/test_retry.py::test_a_retry_approved_in_the_database_is_not_sent",),
        "runs/changes/validity.py",
        "        require_retry_evidence(action.change)\n",
        "        pass\n",
    ),
    Sabotage(
        "the approver of a retry may lose the permission",
        ("tests/runs/requests/test_retry.py::test_an_approver_who_lost_the_permission_does_not_count",),
        "runs/changes/validity.py",
        "    require_approvals_hold(change, deployment, values)\n",
        "",
    ),
    Sabotage(
        "a retry is sent without asking again",
        (
            "tests/runs/requests/test_retry.py::test_a_freeze_holds_it_back",
            "tests/runs/requests/test_retry.py::test_a_permission_that_was_revoked_meanwhile_does_not_count",
        ),
        "runs/dispatch/recover_run.py",
        "    Kind.RETRY: require_retry_allowed,\n",
        "",
    ),
    Sabotage(
        "an overridden window counts for a retry",
        ("tests/runs/requests/test_retry.py::test_an_overridden_window_counts_for_the_first_start_only",),
        "runs/requests/retry.py",
        "    if not standing:",
        "    if not standing and not run_request.overridden_at:",
    ),
    Sabotage(
        "an action that is settled moves again",
        (
            "tests/runs/test_actions.py::test_what_is_settled_stays_as_it_is",
            "tests/runs/test_actions.py::test_a_result_is_recorded_once",
        ),
        "runs/actions.py",
        "    if not Action.objects.filter(pk=action.pk, state__in=LEGAL_FROM[to]).update(**values):",
        "    if not Action.objects.filter(pk=action.pk).update(**values):",
    ),
    Sabotage(
        "an action is sent although it was settled meanwhile",
        ("tests/runs/test_actions.py::test_what_is_settled_between_the_lease_and_the_call_is_not_sent",),
        "runs/actions.py",
        "    return bool(Action.objects.filter(pk=action.pk, state__in=OPEN).update(sent_at=action.sent_at))",
        "    return bool(Action.objects.filter(pk=action.pk).update(sent_at=action.sent_at))",
    ),
    Sabotage(
        "the lease on an action keeps nobody out",
        ("tests/runs/requests/test_cancel.py::test_it_is_not_asked_about_before_its_time",),
        "runs/dispatch/leases.py",
        "Q(next_attempt_at=None) | Q(next_attempt_at__lte=now), pk=action.pk, state__in=OPEN)",
        "pk=action.pk, state__in=OPEN)",
    ),
    Sabotage(
        "a run can have two open cancellations",
        ("tests/runs/test_actions.py::test_the_database_has_one_open_action_of_each_family_for_a_run",),
        statement="DROP INDEX unique_open_cancellation_per_run",
    ),
    Sabotage(
        "an action needs no target",
        ("tests/runs/test_actions.py::test_the_database_wants_the_target_of_its_kind",),
        statement="ALTER TABLE runs_action DROP CONSTRAINT action_has_its_target",
    ),
    Sabotage(
        "an online worker does not keep a run from being put back automatically",
        ("tests/runs/requests/test_recover.py::test_where_it_is_not_certain_a_person_decides",),
        "runs/dispatch/put_back.py",
        "not any(each.is_online or each.last_heartbeat is None for each in suspects)",
        "not any(each.last_heartbeat is None for each in suspects)",
    ),
    Sabotage(
        "a stalled run is put back during a freeze",
        ("tests/runs/requests/test_recover.py::test_a_freeze_holds_it_back",),
        "runs/requests/recover.py",
        "    if not standing and not overridden:",
        "    if False:",
    ),
    Sabotage(
        "silence counts without a closer look",
        ("tests/runs/test_stalls.py::test_what_is_not_stalled",),
        "runs/stalls.py",
        "    return since if run.detailed_at and run.detailed_at >= since + limit else None",
        "    return since if since + limit else None",
    ),
    Sabotage(
        "a run that never gave a sign of life counts as silent",
        ("tests/runs/test_stalls.py::test_what_is_not_stalled",),
        "runs/stalls.py",
        "run.active_at <= started + BEGINNING:",
        "run.active_at < started - BEGINNING:",
    ),
    # What a run needs before it is requested
    Sabotage(
        "a value that is not on offer is requested",
        ("tests/runs/requests/test_offered_values.py::test_a_value_that_is_not_on_offer_is_refused_at_once",),
        file="runs/requests/submit.py",
        old="            require_offered((each.row.deployment, each.values) for each in frozen)\n",
        new="            pass\n",
    ),
    Sabotage(
        "a global limit of a protected environment is deactivated without a second signature",
        (
            "tests/runs/governance/test_global_limits.py::test_a_higher_or_removed_one_in_a_protected_environment_is_signed",
        ),
        file="runs/governance/limits.py",
        old='        if changed.get("is_active") is False:\n',
        new="        if not changed:\n",
    ),
    Sabotage(
        "a resource profile is not asked for again at the launch",
        ("tests/runs/requests/test_resource_profiles.py::test_what_holds_no_more_is_refused_at_the_launch",),
        file="runs/dispatch/launch.py",
        old="    requests.require_profile(run_request)\n",
        new="",
    ),
    Sabotage(
        "everyone can choose any resource profile",
        ("tests/runs/requests/test_resource_profiles.py::test_only_those_allowed_that_fit_the_pool_are_offered",),
        file="runs/requests/profile_rules.py",
        old="    return not profile.groups or not groups.isdisjoint(profile.groups)",
        new="    return True",
    ),
    Sabotage(
        "a resource profile of a protected environment needs no second signature",
        (
            "tests/runs/requests/test_resource_profiles.py::test_in_a_protected_environment_a_second_administrator_signs",
        ),
        file="runs/governance/resource_profiles.py",
        old="    if not is_guarded(profile.environment):",
        new="    if profile:",
    ),
    Sabotage(
        "the digest of a spec leaves out the resource profile",
        ("tests/runs/requests/test_resource_profiles.py::test_what_it_sets_is_frozen_approved_and_sent",),
        file="runs/requests/frozen_values.py",
        old='    "profile",\n',
        new="",
    ),
    Sabotage(
        "a value that left the offers is launched",
        ("tests/runs/requests/test_offered_values.py::test_a_value_that_left_the_offers_is_refused_at_the_launch",),
        file="runs/dispatch/launch.py",
        old="        requests.require_still_offered(deployment, values)\n",
        new="        pass\n",
    ),
    Sabotage(
        "any typed name confirms a run",
        ("tests/portal/ui/test_text.py::test_a_name_is_confirmed_as_it_is_read_or_in_full",),
        "flows/wording.py",
        "    return typed.strip() in (full_name, deployment_name(full_name))\n",
        "    return bool(typed.strip())\n",
    ),
    Sabotage(
        "a run that deletes starts without its name typed",
        ("tests/runs/requests/test_destructive.py::test_the_service_refuses_without_the_name",),
        file="runs/requests/submit.py",
        old="            require_name_typed(each.row.deployment, each.values, confirmation)\n",
        new="            pass\n",
    ),
    # Change requests with several runs
    Sabotage(
        "a mapped value is not compared with what was approved",
        (
            "tests/runs/changes/test_change_requests.py"
            "::test_a_mapped_value_outside_what_was_approved_stays_held[values1-held]",
        ),
        file="runs/changes/release.py",
        old='    beyond = "" if unfit else beyond_approved(run_request.spec, run_request.mapped_values)\n',
        new='    beyond = ""\n',
    ),
    Sabotage(
        "an occurrence that the portal did not add is released",
        ("tests/runs/changes/test_change_requests.py::test_an_occurrence_written_past_the_portal_stays_held",),
        file="runs/changes/release.py",
        old="    if not signatures.is_signed(run_request):\n",
        new="    if not run_request.pk:\n",
    ),
    Sabotage(
        "an approver approves runs that their grant does not cover",
        ("tests/runs/changes/test_change_requests.py::test_what_was_approved_together_is_approved_whole",),
        file="runs/changes/approvals.py",
        old="    for spec in specs_of(change):\n        permissions.require(verb",
        new="    for spec in specs_of(change)[:1]:\n        permissions.require(verb",
    ),
    Sabotage(
        "a spec added past the portal is approved with the others",
        ("tests/runs/changes/test_change_requests.py::test_every_part_of_a_request_is_signed",),
        file="runs/requests/frozen_values.py",
        old="        and contents_digest(specs, first, chain_run_of(change)) == change.contents\n",
        new="",
    ),
    Sabotage(
        "an emergency override is for any number of runs",
        ("tests/runs/changes/test_change_requests.py::test_an_emergency_is_for_a_few_fixed_runs_only",),
        file="runs/changes/overrides.py",
        old=" or change.run_requests.count() > MOST_RUNS",
        new="",
    ),
    # Presets, links and comparisons
    Sabotage(
        "presets that are not shared are seen by others",
        ("tests/runs/requests/test_presets.py::test_others_see_a_shared_one_if_they_may_view_parameters",),
        file="runs/requests/preset_listings.py",
        old="others = Q(is_shared=True) & permissions.q(Verb.SEE_INPUTS)",
        new="others = permissions.q(Verb.SEE_INPUTS)",
    ),
    Sabotage(
        "shared presets need no permission to view parameters",
        ("tests/runs/requests/test_presets.py::test_others_see_a_shared_one_if_they_may_view_parameters",),
        file="runs/requests/preset_listings.py",
        old="others = Q(is_shared=True) & permissions.q(Verb.SEE_INPUTS)",
        new="others = Q(is_shared=True)",
    ),
    Sabotage(
        "presets keep secrets",
        ("tests/runs/requests/test_presets.py::test_a_secret_is_stored_nowhere",),
        file="runs/requests/presets.py",
        old="    return public\n\n\ndef require_start",
        new="    return dict(values)\n\n\ndef require_start",
    ),
    Sabotage(
        "whoever sees a deployment saves presets of it",
        ("tests/runs/requests/test_presets.py::test_it_needs_the_permission_to_run_the_deployment",),
        file="runs/requests/presets.py",
        old="        require_start(Permissions.of(by), Target.of(deployment))\n",
        new="",
    ),
    Sabotage(
        "presets are changed by others than their owner",
        (
            "tests/runs/requests/test_presets.py"
            "::test_only_the_owner_changes_it_and_an_administrator_deletes_what_is_shared",
        ),
        file="runs/requests/presets.py",
        old="    if not by.is_same_person_as(preset.owner_id):",
        new="    if False:",
    ),
    Sabotage(
        "a token changes presets beyond its scope",
        ("tests/runs/requests/test_presets.py::test_a_scope_without_the_run_of_the_deployment_changes_nothing",),
        file="runs/requests/presets.py",
        old="        if is_shared or values is not None or by.scope is not None:",
        new="        if is_shared or values is not None:",
    ),
    Sabotage(
        "a preset brings a value that has become secret",
        ("tests/runs/requests/test_presets.py::test_a_value_that_has_become_secret_is_not_used",),
        file="runs/requests/presets.py",
        old="    return {**public, **unknown}, [",
        new="    return {**known, **unknown}, [",
    ),
    Sabotage(
        "a re-run whose values are hidden can be kept as a preset",
        ("tests/portal/admin/run_form/test_loaded_preset.py::test_a_blind_rerun_takes_no_preset_and_keeps_none",),
        file="portal/admin/run_form/context.py",
        old="        if self.is_blind:\n            return None",
        new="        if False:\n            return None",
    ),
    Sabotage(
        "links hold secrets",
        (
            "tests/portal/admin/run_form/test_shared_link.py"
            "::test_the_link_holds_what_differs_and_fills_the_form_of_another",
        ),
        file="flows/parameters/references.py",
        old="    public, secrets = split(schema, values)",
        new="    public, secrets = dict(values), {}",
    ),
    Sabotage(
        "a link can be made by who may not run the deployment",
        ("tests/portal/admin/run_form/test_shared_link.py::test_who_may_not_run_the_deployment_makes_none",),
        file="portal/admin/run_form/keep_values.py",
        old="    if not decision:\n        raise PermissionDenied(decision.sentence)",
        new="    if False:\n        raise PermissionDenied(decision.sentence)",
    ),
    Sabotage(
        "a comparison shows parameters to all who see the runs",
        ("tests/portal/admin/runs/test_comparison.py::test_what_one_may_not_view_is_hidden",),
        file="portal/admin/runs/comparison.py",
        old="    sees_inputs = all(visibility.can_view_parameters(permissions, run) for run in (left, right))",
        new="    sees_inputs = True",
    ),
    Sabotage(
        "a comparison shows artifacts to all who see the runs",
        ("tests/portal/admin/runs/test_comparison.py::test_what_one_may_not_view_is_hidden",),
        file="portal/admin/runs/comparison.py",
        old="    sees_logs = all(visibility.can_view_logs(permissions, run) for run in (left, right))",
        new="    sees_logs = True",
    ),
    Sabotage(
        "secrets are compared",
        ("tests/portal/admin/runs/test_comparison.py::test_parameters_differ_in_words_and_secrets_are_never_compared",),
        file="portal/admin/runs/comparison.py",
        old="    if MASK in one + other:",
        new="    if False:",
    ),
    Sabotage(
        "results of a list action show runs that became invisible",
        ("tests/portal/admin/runs/test_selected_runs.py::test_results_are_of_one_session_and_of_what_one_still_sees",),
        file="portal/admin/runs/bulk_results.py",
        old="    visible = runs.in_bulk([each.run for each in results])",
        new="    visible = Run.objects.in_bulk([each.run for each in results])",
    ),
    Sabotage(
        "results of decisions show requests that became invisible",
        (
            "tests/portal/admin/requests/test_request_list.py"
            "::test_the_results_survive_a_reload_and_decide_nothing_again",
        ),
        file="portal/admin/requests/bulk.py",
        old="    rows = visible.in_bulk([each.request for each in results])",
        new="    rows = RunRequest.objects.in_bulk([each.request for each in results])",
    ),
    Sabotage(
        "rows of runs are sent with parameters to all who see the runs",
        ("tests/portal/live/test_rows.py::test_parameters_are_sent_to_those_who_may_view_them",),
        file="portal/lists/reader_cells.py",
        old="        return self.shown if self.may_view(permissions) else self.otherwise",
        new="        return self.shown",
    ),
    Sabotage(
        "the run report shows parameters to all who see the runs",
        ("tests/portal/admin/run_report/test_run_report.py::test_parameters_are_hidden_without_permission_for_them",),
        file="portal/admin/run_report/rows.py",
        old="        parameters=run.parameters if visibility.can_view_parameters(permissions, run) else None,",
        new="        parameters=run.parameters,",
    ),
    Sabotage(
        "selected runs that delete data are requested again without a typed name",
        ("tests/portal/admin/runs/test_selected_runs.py::test_one_that_deletes_data_is_run_again_from_its_own_page",),
        file="portal/admin/runs/selected_reruns.py",
        old="        if requests.is_destructive(deployment, requests.values_of(run_request)):",
        new="        if False:",
    ),
    Sabotage(
        "Prefect's time-out counts as a confirmed cancellation",
        ("tests/runs/requests/test_cancel.py::test_prefect_s_own_time_out_is_no_confirmation_and_the_trail_says_so",),
        file="runs/actions.py",
        old="        if timed_out(run, action):",
        new="        if False:",
    ),
    # The profile
    Sabotage(
        "the own address changes without the password",
        ("tests/portal/admin/profile/test_profile_page.py::test_an_unattended_browser_does_not_change_the_address",),
        "portal/admin/profile/forms.py",
        "if not self.person.check_password(password):",
        "if False:",
    ),
    Sabotage(
        "the own address of an approver waits for nobody",
        (
            "tests/portal/admin/profile/test_profile_page.py::test_the_address_of_who_opens_a_protected_environment_waits_for_an_administrator",
        ),
        "runs/governance/accounts.py",
        "found, proposal = loosened_by(stored, changed, groups), proposal_of(stored, changed, groups)",
        "found, proposal = [], proposal_of(stored, changed, groups)",
    ),
    Sabotage(
        "signing out elsewhere ends the sessions of others",
        ("tests/portal/admin/profile/test_profile_page.py::test_all_other_browsers_are_signed_out",),
        "portal/auth/browser_sessions.py",
        "BrowserSession.objects.filter(user=person).exclude(",
        "BrowserSession.objects.exclude(",
    ),
)


class NotFound(Exception):
    """A sabotage does not fit the code any more."""


def spoiled(text: str, sabotage: Sabotage) -> str:
    """The text of its file with the sabotage in it."""
    if text.count(sabotage.old) != 1:
        raise NotFound(f"{sabotage.name}: its text is {text.count(sabotage.old)} times in {sabotage.file}, not once.")
    return text.replace(sabotage.old, sabotage.new)


@dataclass(frozen=True, slots=True)
class Verdict:
    sabotage: Sabotage
    caught_by: str
    seconds: float
    problem: str = ""


class Bench:
    """A copy of the tree, a server, and a migrated database that tests copy."""

    def __init__(self, server: Server, folder: Path, template: str) -> None:
        self.server, self.root, self.template = server, folder, template
        self._changes = 0
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)

    def environment(self, template: str) -> dict[str, str]:
        own = {"DATABASE_URL": self.server.address, "PORTAL_TEST_TEMPLATE": template, "PORTAL_MODE": "test"}
        return {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")} | own

    def run(self, *words: str, template: str = "", timeout: int = PATIENCE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment(template or self.template),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def pytest(self, *tests: str, template: str = "") -> subprocess.CompletedProcess[str]:
        return self.run("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests, template=template)

    @contextlib.contextmanager
    def spoiled_file(self, sabotage: Sabotage) -> Iterator[None]:
        path = self.root / sabotage.file
        sound = path.read_text()
        self._write(path, spoiled(sound, sabotage))
        try:
            yield
        finally:
            self._write(path, sound)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        # Python knows a changed file by its size and its time in seconds, and two changes may come within one.
        self._changes += 1
        os.utime(path, (time.time(), time.time() + self._changes))

    @contextlib.contextmanager
    def spoiled_database(self, sabotage: Sabotage) -> Iterator[str]:
        name = f"{self.template}_{time.monotonic_ns()}"
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as session:
            names = sql.Identifier(name), sql.Identifier(self.template)
            session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
            try:
                with psycopg.connect(self.server.url(name), autocommit=True) as inside:
                    inside.execute(sabotage.statement)
                yield name
            finally:
                session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))

    def commit(self, sabotage: Sabotage) -> Verdict:
        """Make one sabotage, and see whether a test fails."""
        begun = time.monotonic()
        try:
            if sabotage.statement:
                with self.spoiled_database(sabotage) as template:
                    done = self.pytest(*sabotage.tests, template=template)
            else:
                with self.spoiled_file(sabotage):
                    done = self.pytest(*sabotage.tests)
        except (NotFound, subprocess.TimeoutExpired) as error:
            return Verdict(sabotage, "", time.monotonic() - begun, str(error))
        seconds = time.monotonic() - begun
        failed = [line for line in done.stdout.splitlines() if FAILED.match(line)]
        if done.returncode == 1 and failed:
            return Verdict(sabotage, failed[0].split("::")[-1].split(" - ")[0], seconds)
        problem = "survived" if done.returncode == 0 else f"pytest ended with {done.returncode}, and no test failed"
        return Verdict(sabotage, "", seconds, f"{problem}\n{done.stdout[-2000:]}{done.stderr[-1000:]}")


def migrated(bench: Bench) -> None:
    bench.server.create(bench.template)
    address = bench.server.url(bench.template)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0", "--no-input"],
        cwd=bench.root,
        env=bench.environment("") | {"DATABASE_URL": address},
        check=True,
    )


def failing(bench: Bench, tests: Sequence[str]) -> list[str]:
    """The ids of those tests that fail without any sabotage."""
    done = bench.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, timeout=LONG_PATIENCE)
    if done.returncode not in (0, 1):
        sys.exit(f"The tests cannot be run:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]


def commit_all(server: Server, folder: Path, chosen: Sequence[Sabotage], jobs: int) -> list[Verdict]:
    template = f"sabotage_{time.time_ns()}"
    benches = [Bench(server, folder / f"tree-{number}", template) for number in range(jobs)]
    migrated(benches[0])
    try:
        broken = failing(benches[0], sorted({test for each in chosen for test in each.tests}))
        free: SimpleQueue[Bench] = SimpleQueue()
        for bench in benches:
            free.put(bench)

        def commit(sabotage: Sabotage) -> Verdict:
            bench = free.get()
            try:
                # A test that fails anyway finds nothing.
                if useless := [node for node in broken if node.startswith(sabotage.tests)]:
                    return Verdict(sabotage, "", 0, f"fails without the sabotage, too: {useless[0]}")
                verdict = bench.commit(sabotage)
            finally:
                free.put(bench)
            print(
                f"{sabotage.name:<66} {verdict.caught_by or 'NOT CAUGHT':<80.80} {verdict.seconds:>5.0f} s", flush=True
            )
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(commit, chosen))
    finally:
        with psycopg.connect(server.url("postgres"), autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(template)))


@contextlib.contextmanager
def a_server(folder: Path) -> Iterator[Server]:
    if address := os.environ.get("DATABASE_URL"):
        yield Server(address)
        return
    folder.chmod(0o711)  # Postgres may run as another user, who has to pass through here to its own folder
    reaper = Reaper(str(folder))
    embedded = Embedded(folder / "postgres", folder / "postgres.log", options=postgres.FAST_AND_LOOSE)
    server = embedded.prepare()
    supervisor = Supervisor([Part(embedded.program(server))], reaper, lambda line: None)
    supervisor.start()
    try:
        server.create(server.main_database)  # the test runs connect to it
        yield server
    finally:
        supervisor.stop()
        reaper.dismiss()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the names of those to make; all by default")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many to make at once")
    options = parser.parse_args()
    chosen = [each for each in SABOTAGES if not options.names or any(name in each.name for name in options.names)]
    if not chosen:
        parser.error("No sabotage has such a name.")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="portal-sabotage-") as name, a_server(Path(name)) as server:
        verdicts = commit_all(server, Path(name), chosen, options.jobs)
    missed = [verdict for verdict in verdicts if not verdict.caught_by]
    for verdict in missed:
        print(f"\nNOT CAUGHT: {verdict.sabotage.name}: {verdict.problem}")
    print(f"\n{len(verdicts) - len(missed)} of {len(verdicts)} sabotages caught in {time.monotonic() - begun:.0f} s.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
