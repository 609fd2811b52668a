-- What the database itself enforces, against bugs and against an administrator's shell: the partitions of the audit
-- trail, append-only tables, the rules for requests and approvals, and the versions of rows.
--
-- No SET switches a trigger off:
--   * no function reads a setting of the session;
--   * each function fixes its search_path, so that a temporary table cannot stand in for one of ours;
--   * each trigger is ENABLE ALWAYS, so that it fires under session_replication_role = replica too.
-- A later change is a migration of its own: tests/runs/test_row_versions.py holds the result against the models.

-- Every function below keeps this search_path (SET ... FROM CURRENT). pg_temp is named so that it comes last.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);


-- Functions of the triggers ------------------------------------------------------------------------------------------

-- refuse_change(message)
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;

-- require_other_person(column of the person, verb): refuses the requester, and the person they act for, who can only
-- reject: otherwise a requester could keep someone from objecting by naming them.
CREATE FUNCTION require_other_person() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    person bigint := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
    IF EXISTS (
        SELECT FROM runs_changerequest change
        WHERE change.id = NEW.change_id
        AND (
            person = change.requested_by_id
            OR person = change.on_behalf_of_id AND coalesce(to_jsonb(NEW) ->> 'approved', 'true') = 'true'
        )
    ) THEN
        RAISE EXCEPTION 'Requesters cannot % their own request.', TG_ARGV[1] USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- The same for a step of a chain that waits at its gate, where the chain needed an approval.
CREATE FUNCTION require_other_person_at_gate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (
        SELECT FROM runs_changerequest change
        WHERE change.id = NEW.change_id AND change.needs_approval
        AND (NEW.by_id = change.requested_by_id OR NEW.by_id = change.on_behalf_of_id AND NEW.is_allowed)
    ) THEN
        RAISE EXCEPTION 'Requesters cannot decide at a gate of their own request.' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM runs_runrequest WHERE id = NEW.run_request_id AND change_id = NEW.change_id) THEN
        RAISE EXCEPTION 'Request % is not a run of its change request.', NEW.run_request_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- Whether a change request has enough approvals by different people, or an emergency override that is in force. Rules,
-- schedules and chains are never overridden.
CREATE FUNCTION has_approvals(change bigint, wanted text, needed int) RETURNS boolean LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT EXISTS (
        SELECT FROM runs_breakglass bypass JOIN runs_changerequest request ON request.id = bypass.change_id
        WHERE bypass.change_id = change AND bypass.until > now() AND request.kind IN ('run', 'backfill')
    )
    OR (
        SELECT count(DISTINCT approval.by_id) FROM runs_approval approval
        WHERE approval.change_id = change AND approval.approved AND approval.digest = wanted
    ) >= needed
$$;

-- A change request is approved, or closed, only with its approvals. From whatever state it comes, so that a detour
-- through another state does not help.
CREATE FUNCTION require_approvals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    beyond CONSTANT text[] := ARRAY['approved', 'closed'];
BEGIN
    IF NEW.state = ANY (beyond)
    AND (TG_OP = 'INSERT' OR OLD.state <> ALL (beyond))
    AND NOT has_approvals(NEW.id, NEW.digest, greatest(NEW.approvals_needed, NEW.needs_approval::int)) THEN
        RAISE EXCEPTION 'Request % is not approved by enough people.', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- A run request leaves `held` only when its change request is approved and has its approvals, while its spec is valid
-- and has runs left. It is of the environment and deployment of its spec.
CREATE FUNCTION require_release() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    beyond CONSTANT text[] := ARRAY['approved', 'launching', 'launched', 'completed', 'failed', 'cancelled', 'lost'];
    change runs_changerequest;
    spec runs_runspec;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.state <> ALL (beyond) OR OLD.state = ANY (beyond)) THEN
        RETURN NEW;
    END IF;
    SELECT * INTO change FROM runs_changerequest WHERE id = NEW.change_id;
    SELECT * INTO spec FROM runs_runspec WHERE id = NEW.spec_id;
    IF (spec.change_id, spec.deployment_id, change.environment_id)
    IS DISTINCT FROM (NEW.change_id, NEW.deployment_id, NEW.environment_id) THEN
        RAISE EXCEPTION 'Request % is not a run of its change request.', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> ALL (beyond) THEN
        RETURN NEW;
    END IF;
    IF change.state <> 'approved'
    OR NOT has_approvals(change.id, change.digest, greatest(change.approvals_needed, change.needs_approval::int)) THEN
        RAISE EXCEPTION 'Request % is not approved by enough people.', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF spec.valid_until <= now() OR spec.max_runs <= (
        SELECT count(*) FROM runs_runrequest other
        WHERE other.spec_id = spec.id AND other.id <> NEW.id
        AND other.state NOT IN ('held', 'rejected', 'withdrawn', 'expired')
    ) THEN
        RAISE EXCEPTION 'Request % has no runs left.', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- An entry must name the transaction that writes it: row versions are linked to entries by it.
CREATE FUNCTION require_own_transaction() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.transaction IS DISTINCT FROM pg_current_xact_id()::text::bigint THEN
        RAISE EXCEPTION 'An audit entry must name the transaction that writes it.' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- An entry continues the chain and carries the time of now. Without this a role that can only add entries could date one
-- back, or take the last sequence there is and stop the portal. It sees the rows that the same statement has inserted.
CREATE FUNCTION require_next_entry() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    last_sequence bigint;
    last_digest text;
BEGIN
    SELECT sequence, digest INTO last_sequence, last_digest FROM runs_auditentry ORDER BY sequence DESC LIMIT 1;
    IF NOT FOUND THEN
        -- All of it was retired: the chain continues from the checkpoint, or begins.
        SELECT last, digest INTO last_sequence, last_digest FROM runs_auditcheckpoint ORDER BY last DESC LIMIT 1;
    END IF;
    IF NEW.sequence <> coalesce(last_sequence, 0) + 1
    OR NEW.previous_digest <> coalesce(last_digest, repeat('0', 64)) THEN
        RAISE EXCEPTION 'An audit entry must follow the last one.' USING ERRCODE = 'check_violation';
    END IF;
    -- The portal reads this clock a moment before it inserts.
    IF NEW.at NOT BETWEEN clock_timestamp() - interval '10 seconds' AND clock_timestamp() THEN
        RAISE EXCEPTION 'An audit entry must carry the current time.' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- audit_begin(lock, before, after): locks the end of the trail, then returns for each act the transaction, the last
-- sequence and digest, the time, and before and after as jsonb spells them. One round trip, and correct in one: each query
-- of a volatile function sees what was committed when that query began, so the end is read after the lock was obtained.
CREATE FUNCTION audit_begin(lock bigint, befores jsonb, afters jsonb)
RETURNS TABLE (number bigint, sequence bigint, digest text, at timestamptz, before text, after text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    head record;
BEGIN
    PERFORM pg_advisory_xact_lock(lock);
    SELECT entry.sequence, entry.digest INTO head FROM runs_auditentry entry ORDER BY entry.sequence DESC LIMIT 1;
    IF NOT FOUND THEN
        -- All of it was retired: the chain continues from the checkpoint, or begins.
        SELECT part.last AS sequence, part.digest INTO head FROM runs_auditcheckpoint part ORDER BY part.last DESC LIMIT 1;
    END IF;
    RETURN QUERY
        SELECT pg_current_xact_id()::text::bigint, head.sequence, head.digest::text, clock_timestamp(), b::text, a::text
        FROM ROWS FROM (jsonb_array_elements(befores), jsonb_array_elements(afters)) WITH ORDINALITY AS acts (b, a, place)
        ORDER BY place;
END $$;

-- record_version(columns to record, secret columns): records the row after the change. For a secret column only the
-- fact that it changed is recorded, as a version labelled with its name. SECURITY DEFINER, because the portal's role
-- cannot write versions itself. In UTC, so that a value does not depend on the session's time zone.
CREATE FUNCTION record_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    recorded CONSTANT text[] := string_to_array(TG_ARGV[0], ' ');
    secret CONSTANT text[] := string_to_array(TG_ARGV[1], ' ');
    old_row jsonb;
    new_row jsonb;
    labels text[] := ARRAY[CASE TG_OP WHEN 'INSERT' THEN 'insert' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END];
BEGIN
    IF TG_OP = 'DELETE' THEN
        new_row := to_jsonb(OLD);
    ELSE
        new_row := to_jsonb(NEW);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        old_row := to_jsonb(OLD);
        IF NOT EXISTS (SELECT FROM unnest(recorded) AS c (name) WHERE old_row -> name IS DISTINCT FROM new_row -> name) THEN
            labels := '{}';
        END IF;
        labels := labels || ARRAY(
            SELECT name FROM unnest(secret) AS c (name) WHERE old_row -> name IS DISTINCT FROM new_row -> name
        );
    END IF;
    INSERT INTO runs_rowversion (table_name, row_pk, label, data, transaction, created_at)
    SELECT TG_TABLE_NAME, new_row ->> 'id', label, kept.data, pg_current_xact_id()::text::bigint, clock_timestamp()
    FROM unnest(labels) AS label, (
        SELECT jsonb_object_agg(name, new_row -> name) AS data FROM unnest(recorded) AS c (name)
    ) AS kept;
    RETURN NULL;
END $$;
-- Otherwise any role could attach it to its own table of the same name and forge versions.
REVOKE EXECUTE ON FUNCTION record_version() FROM PUBLIC;


-- The audit trail in partitions ---------------------------------------------------------------------------------------

-- Old partitions can be detached without touching the others. The last one is open-ended and receives new entries;
-- audit_cut() closes it and creates its successor. Django created an empty plain table: it is replaced by a partitioned
-- one with the same indexes.
DO $$
DECLARE
    definitions CONSTANT text[] := ARRAY(
        SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'runs_auditentry'::regclass AND NOT indisprimary
    );
    definition text;
BEGIN
    ALTER TABLE runs_auditentry RENAME TO runs_auditentry_plain;
    CREATE TABLE runs_auditentry (LIKE runs_auditentry_plain) PARTITION BY RANGE (sequence);
    DROP TABLE runs_auditentry_plain;
    ALTER TABLE runs_auditentry ADD PRIMARY KEY (sequence);
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
    CREATE TABLE runs_auditentry_from_1 PARTITION OF runs_auditentry FOR VALUES FROM (1) TO (MAXVALUE);
END $$;

-- The open-ended partition, and the first sequence that it can hold.
CREATE FUNCTION audit_open_part(OUT part regclass, OUT lower_bound bigint) LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT c.oid::regclass, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM .''([0-9]+)''.')::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'runs_auditentry'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%TO (MAXVALUE)'
$$;

CREATE FUNCTION audit_cut_here() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    part regclass;
    lower_bound bigint;
    last bigint;
    next_part text;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    LOCK TABLE runs_auditentry IN ACCESS EXCLUSIVE MODE;
    SELECT * INTO part, lower_bound FROM audit_open_part();
    EXECUTE format('SELECT max(sequence) FROM %s', part) INTO last;
    IF last IS NULL THEN
        RETURN '';
    END IF;
    next_part := format('runs_auditentry_from_%s', last + 1);
    EXECUTE format('ALTER TABLE runs_auditentry DETACH PARTITION %s', part);
    EXECUTE format(
        'ALTER TABLE runs_auditentry ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)', part, lower_bound, last + 1
    );
    EXECUTE format(
        'CREATE TABLE %I PARTITION OF runs_auditentry FOR VALUES FROM (%s) TO (MAXVALUE)', next_part, last + 1
    );
    PERFORM audit_protect(next_part::regclass);
    RETURN part::text;
END $$;

-- With its owner's rights, so it takes no arguments, and closes only a partition that is full or of an earlier month.
CREATE FUNCTION audit_cut(OUT part text) LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    found regclass;
    entries bigint;
    began timestamptz;
BEGIN
    part := '';
    SELECT p.part INTO found FROM audit_open_part() AS p;
    EXECUTE format('SELECT max(sequence) - min(sequence) + 1 FROM %s', found) INTO entries;
    EXECUTE format('SELECT at FROM %s ORDER BY sequence LIMIT 1', found) INTO began;
    IF entries >= 100000 OR date_trunc('month', began) < date_trunc('month', now()) THEN
        part := audit_cut_here();
    END IF;
END $$;

-- A partition inherits row triggers; statement triggers must be created on each.
CREATE FUNCTION audit_protect(part regclass) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %s EXECUTE FUNCTION refuse_change(%L)',
        part, 'The audit trail is append-only.'
    );
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER no_truncate', part);
END $$;
SELECT audit_protect('runs_auditentry_from_1');

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_auditentry FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_auditentry table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_auditentry
    EXECUTE FUNCTION refuse_change('The audit trail is append-only.');
CREATE TRIGGER own_transaction BEFORE INSERT ON runs_auditentry FOR EACH ROW
    EXECUTE FUNCTION require_own_transaction();
CREATE TRIGGER next_entry BEFORE INSERT ON runs_auditentry FOR EACH ROW
    EXECUTE FUNCTION require_next_entry();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_auditcheckpoint FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_auditcheckpoint table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_auditcheckpoint
    EXECUTE FUNCTION refuse_change('The audit trail is append-only.');


-- Requests, approvals, comments, overrides -----------------------------------------------------------------------------

-- One sequence for both, so that a change request for one run has the number of that run, and no other row has it.
ALTER TABLE runs_runrequest ALTER COLUMN id DROP IDENTITY;
ALTER TABLE runs_runrequest ALTER COLUMN id SET DEFAULT
    nextval(pg_get_serial_sequence('runs_changerequest', 'id')::regclass);

CREATE TRIGGER approved_by_enough BEFORE INSERT OR UPDATE ON runs_changerequest FOR EACH ROW
    EXECUTE FUNCTION require_approvals();
-- What has ended stays so. The states: ChangeRequest.OVER.
CREATE TRIGGER closed_stays_closed BEFORE UPDATE ON runs_changerequest FOR EACH ROW
    WHEN (OLD.state IN ('rejected', 'withdrawn', 'expired', 'closed') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_changerequest table');
-- What was requested is never edited. The columns: FROZEN of the model's module, here and below.
CREATE TRIGGER frozen BEFORE UPDATE ON runs_changerequest FOR EACH ROW
    WHEN (
        (OLD.kind, OLD.submission_key, OLD.environment_id, OLD.environment_name, OLD.requested_by_id,
         OLD.requested_by_name, OLD.on_behalf_of_id, OLD.on_behalf_of_name, OLD.agent_id, OLD.occurrence_of_id,
         OLD.channel, OLD.requested_at, OLD.reason, OLD.ticket, OLD.needs_approval, OLD.approvals_needed, OLD.policy,
         OLD.pacing, OLD.contents, OLD.digest, OLD.signature)
        IS DISTINCT FROM
        (NEW.kind, NEW.submission_key, NEW.environment_id, NEW.environment_name, NEW.requested_by_id,
         NEW.requested_by_name, NEW.on_behalf_of_id, NEW.on_behalf_of_name, NEW.agent_id, NEW.occurrence_of_id,
         NEW.channel, NEW.requested_at, NEW.reason, NEW.ticket, NEW.needs_approval, NEW.approvals_needed, NEW.policy,
         NEW.pacing, NEW.contents, NEW.digest, NEW.signature)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_changerequest table');
CREATE TRIGGER stays BEFORE DELETE ON runs_changerequest FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_changerequest table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_changerequest
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER frozen BEFORE UPDATE ON runs_runspec FOR EACH ROW
    WHEN (
        (OLD.change_id, OLD.position, OLD.format, OLD.deployment_id, OLD.api_url, OLD.flow_name, OLD.deployment_name,
         OLD.deployment_prefect_id, OLD.deployment_version, OLD.schema_fingerprint, OLD.definition,
         OLD.definition_fingerprint, OLD.parameters, OLD.mapped, OLD.tags, OLD.run_name, OLD.max_runs,
         OLD.valid_until, OLD.retries, OLD.profile, OLD.verb, OLD.rerun_of_id, OLD.is_blind, OLD.digest,
         OLD.signature)
        IS DISTINCT FROM
        (NEW.change_id, NEW.position, NEW.format, NEW.deployment_id, NEW.api_url, NEW.flow_name, NEW.deployment_name,
         NEW.deployment_prefect_id, NEW.deployment_version, NEW.schema_fingerprint, NEW.definition,
         NEW.definition_fingerprint, NEW.parameters, NEW.mapped, NEW.tags, NEW.run_name, NEW.max_runs,
         NEW.valid_until, NEW.retries, NEW.profile, NEW.verb, NEW.rerun_of_id, NEW.is_blind, NEW.digest,
         NEW.signature)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_runspec table');
CREATE TRIGGER stays BEFORE DELETE ON runs_runspec FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_runspec table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_runspec
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER frozen BEFORE UPDATE ON runs_rulechange FOR EACH ROW
    WHEN (
        (OLD.change_id, OLD.act, OLD.subject_id, OLD.subject_name, OLD.beneficiary, OLD.before, OLD.after, OLD.loosened)
        IS DISTINCT FROM
        (NEW.change_id, NEW.act, NEW.subject_id, NEW.subject_name, NEW.beneficiary, NEW.before, NEW.after, NEW.loosened)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_rulechange table');
CREATE TRIGGER stays BEFORE DELETE ON runs_rulechange FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_rulechange table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_rulechange
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

-- What was approved of a schedule: when its runs are due.
CREATE TRIGGER frozen BEFORE UPDATE ON runs_schedule FOR EACH ROW
    WHEN (
        (OLD.change_id, OLD.spec_id, OLD.environment_id, OLD.deployment_id, OLD.name, OLD.rule_type, OLD.rule,
         OLD.time_zone, OLD.anchor, OLD.catch_up, OLD.valid_until, OLD.replaces_id, OLD.native,
         OLD.created_at)
        IS DISTINCT FROM
        (NEW.change_id, NEW.spec_id, NEW.environment_id, NEW.deployment_id, NEW.name, NEW.rule_type, NEW.rule,
         NEW.time_zone, NEW.anchor, NEW.catch_up, NEW.valid_until, NEW.replaces_id, NEW.native,
         NEW.created_at)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_schedule table');
-- One that has ended stays so.
CREATE TRIGGER closed_stays_closed BEFORE UPDATE ON runs_schedule FOR EACH ROW
    WHEN (OLD.state = 'ended' AND NEW.state <> OLD.state)
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_schedule table');
CREATE TRIGGER stays BEFORE DELETE ON runs_schedule FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_schedule table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_schedule
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER released BEFORE INSERT OR UPDATE ON runs_runrequest FOR EACH ROW
    EXECUTE FUNCTION require_release();
-- A closed request stays closed. The states: runs.models.request.CLOSED.
CREATE TRIGGER closed_stays_closed BEFORE UPDATE ON runs_runrequest FOR EACH ROW
    WHEN (OLD.state IN ('rejected', 'withdrawn', 'expired', 'refused') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_runrequest table');
CREATE TRIGGER frozen BEFORE UPDATE ON runs_runrequest FOR EACH ROW
    WHEN (
        (OLD.change_id, OLD.spec_id, OLD.environment_id, OLD.deployment_id, OLD.occurrence, OLD.scheduled_for,
         OLD.mapped_values, OLD.requested_at, OLD.signature)
        IS DISTINCT FROM
        (NEW.change_id, NEW.spec_id, NEW.environment_id, NEW.deployment_id, NEW.occurrence, NEW.scheduled_for,
         NEW.mapped_values, NEW.requested_at, NEW.signature)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_runrequest table');
CREATE TRIGGER stays BEFORE DELETE ON runs_runrequest FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_runrequest table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_runrequest
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER four_eyes BEFORE INSERT ON runs_approval FOR EACH ROW
    EXECUTE FUNCTION require_other_person('by_id', 'approve');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_approval FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_approval table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_approval
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_comment FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_comment table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_comment
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

-- A step of a chain that waits at its gate is let go, or rejected, by a person; where the chain needed an approval, by
-- another one than the requester.
CREATE TRIGGER four_eyes BEFORE INSERT ON runs_stepdecision FOR EACH ROW
    EXECUTE FUNCTION require_other_person_at_gate();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_stepdecision FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_stepdecision table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_stepdecision
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

-- A run of a chain refers to the version that it was requested with, and that stays what it was.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_chainversion FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_chainversion table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_chainversion
    EXECUTE FUNCTION refuse_change('Versions of chains are append-only.');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_chainstep FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_chainstep table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_chainstep
    EXECUTE FUNCTION refuse_change('Versions of chains are append-only.');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_chainrun FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_chainrun table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_chainrun
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');

CREATE TRIGGER four_eyes BEFORE INSERT OR UPDATE ON runs_breakglass FOR EACH ROW
    EXECUTE FUNCTION require_other_person('reviewed_by_id', 'review');
CREATE TRIGGER frozen BEFORE UPDATE ON runs_breakglass FOR EACH ROW
    WHEN (
        (OLD.change_id, OLD.by_id, OLD.by_name, OLD.at, OLD.until, OLD.reason, OLD.signature)
        IS DISTINCT FROM (NEW.change_id, NEW.by_id, NEW.by_name, NEW.at, NEW.until, NEW.reason, NEW.signature)
    )
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_breakglass table');
CREATE TRIGGER reviewed_once BEFORE UPDATE ON runs_breakglass FOR EACH ROW WHEN (OLD.reviewed_at IS NOT NULL)
    EXECUTE FUNCTION refuse_change('Cannot update rows from runs_breakglass table');
CREATE TRIGGER stays BEFORE DELETE ON runs_breakglass FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot delete rows from runs_breakglass table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_breakglass
    EXECUTE FUNCTION refuse_change('Requests, approvals and comments are append-only.');


-- Versions of the rows that decide who may do what --------------------------------------------------------------------

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON runs_rowversion FOR EACH ROW
    EXECUTE FUNCTION refuse_change('Cannot update or delete rows from runs_rowversion table');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_rowversion
    EXECUTE FUNCTION refuse_change('Versions of rows are append-only.');

-- The allow-list: table, columns to record, secret columns of which only a change is recorded.
DO $$
DECLARE
    tracked record;
BEGIN
    FOR tracked IN SELECT * FROM (VALUES
        ('flows_server', 'id api_url ui_url credential_kind', 'sealed_credential'),
        ('flows_environment',
         'id slug display_name description server_id scope_kind scope_values is_protected needs_approval needs_reason '
         'approval_minutes independence_hours pending_minutes late_minutes silent_minutes cancelling_minutes puts_back keep_runs_days '
         'keep_events_days position loosened is_active',
         ''),
        ('flows_alias', 'id environment_id name full_name', ''),
        ('runs_grant',
         'id environment_id tag flow_name full_name person_id group_id effect verbs predicate valid_from valid_until '
         'reason ticket granted_by_id granted_by_name granted_at revoked_at revoked_by_name',
         ''),
        ('runs_policy',
         'id environment_id tag flow_name full_name name stages approval_minutes needs_reason needs_ticket '
         'ticket_pattern ticket_link needs_confirmation refuse_moving cancel_moved token_days '
         'schedule_days approve_each_run native_schedules outside_window risk',
         ''),
        ('runs_window',
         'id environment_id tag flow_name full_name name effect cron minutes time_zone is_active reason',
         ''),
        ('runs_resourceprofile',
         'id environment_id name description pool_name pool_type work_queue job_variables groups allows_agents '
         'created_at created_by_name removed_at removed_by_name',
         ''),
        ('runs_serviceaccount', 'id user_id owner_id purpose', ''),
        ('runs_hook',
         'id key name kind deployment_id account_id owner_id mapping predicate max_bytes valid_until is_enabled',
         ''),
        ('runs_eventrule',
         'id key name owner_id token_id trigger environment_id tag flow_name full_name states artifact_key hook_id event_name '
         'conditions deployment_id mapping debounce_seconds per_hour valid_until is_enabled paused_by_name paused_why '
         'deleted_at',
         ''),
        ('runs_channel',
         'id name kind destination allows_private is_enabled disabled_why',
         'sealed_address sealed_secret'),
        ('runs_agent',
         'id name owner_id purpose requests_per_day requests_at_once stopped_at stopped_by_name stopped_why '
         'stopped_by_administrator',
         ''),
        ('runs_signonidentity', 'id person_id issuer subject email connected_at', ''),
        ('runs_agentstop', 'id why stopped_at stopped_by_name lifted_at lifted_by_name', ''),
        ('runs_freeze',
         'id environment_id reason ticket until begun_at begun_by_id begun_by_name lifted_at lifted_by_name',
         ''),
        ('auth_user',
         'id username first_name last_name email is_active is_staff is_superuser date_joined',
         'password'),
        ('auth_group', 'id name', ''),
        ('auth_user_groups', 'id user_id group_id', ''),
        ('auth_user_user_permissions', 'id user_id permission_id', ''),
        ('auth_group_permissions', 'id group_id permission_id', '')
    ) AS t (name, columns, secrets) LOOP
        EXECUTE format(
            'CREATE TRIGGER record_version AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW '
            'EXECUTE FUNCTION record_version(%L, %L)',
            tracked.name, tracked.columns, tracked.secrets
        );
        -- Existing rows, so that their first change has a version to compare with.
        EXECUTE format(
            'INSERT INTO runs_rowversion (table_name, row_pk, label, data, transaction, created_at) '
            'SELECT %L, existing.id, ''found'', (SELECT jsonb_object_agg(name, to_jsonb(existing) -> name) '
            'FROM unnest(string_to_array(%L, '' '')) AS c (name)), pg_current_xact_id()::text::bigint, clock_timestamp() '
            'FROM %I AS existing ORDER BY existing.id',
            tracked.name, tracked.columns, tracked.name
        );
    END LOOP;
END $$;


-- What somebody may see --------------------------------------------------------------------------------------------------

-- Tells the web processes to forget the permissions that they keep for open pages: portal/live/rights.py.
CREATE FUNCTION announce_rights() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('portal_live', '{"rights": [0]}');
    RETURN NULL;
END $$;

CREATE TRIGGER announce_rights AFTER INSERT OR UPDATE OR DELETE ON runs_grant EXECUTE FUNCTION announce_rights();
CREATE TRIGGER announce_rights AFTER INSERT OR DELETE OR UPDATE OF is_active, is_staff, is_superuser, password ON auth_user
    EXECUTE FUNCTION announce_rights();
CREATE TRIGGER announce_rights AFTER INSERT OR UPDATE OR DELETE ON auth_user_groups EXECUTE FUNCTION announce_rights();
CREATE TRIGGER announce_rights AFTER UPDATE OF is_protected, is_active ON flows_environment
    EXECUTE FUNCTION announce_rights();


-- Every trigger above fires in every session --------------------------------------------------------------------------

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT t.tgrelid::regclass AS part, t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN (
            'refuse_change', 'require_other_person', 'require_other_person_at_gate', 'require_approvals', 'require_release',
            'require_own_transaction', 'require_next_entry', 'record_version', 'announce_rights'
        ) AND t.tgparentid = 0
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', found.part, found.tgname);
    END LOOP;
END $$;
