-- The rows of the portal's tables, made of the drafts. Columns that are not named get their defaults, which
-- benchmarks/seed_steps.py lends to the database meanwhile. Signatures, and the digests of requests, are made by the
-- portal's code only: those of requests are made up here, so that none of the seeded requests could be launched.

-- step: deployments
INSERT INTO flows_deployment (id, environment_id, prefect_id, flow_id, flow_name, name, full_name, description, tags,
    parameter_schema, parameter_defaults, schema_fingerprint, work_pool_name, work_queue_name, status, entrypoint,
    version, created_upstream_at, updated_upstream_at, synced_at, is_paused)
SELECT id, (SELECT pk FROM environment WHERE number = draft_deployment.environment), prefect_id, flow_id, flow_name,
    name, flow_name || '/' || name, 'Loads what changed since the last run.', tags,
    '{"type": "object", "required": ["region"], "properties": {
        "region": {"type": "string", "enum": ["EU", "US", "APAC"], "title": "Region", "position": 0},
        "day": {"type": "string", "format": "date", "title": "Day", "position": 1},
        "rows": {"type": "integer", "title": "Rows", "default": 1000, "position": 2},
        "customer": {"type": "string", "title": "Customer", "default": "", "position": 3}}}',
    '{"rows": 1000}', md5('schema'), pool, 'default', 'READY', 'flows/etl.py:flow', '1', now - interval '200 days',
    now - interval '20 days', now, id % 50 = 0
FROM draft_deployment, size;

-- step: runs
INSERT INTO runs_run (id, environment_id, deployment_id, access_deployment_id, parent_id, prefect_id, name, flow_name,
    deployment_name, deployment_version, parameters, tags, state_id, state_type, state_name, state_message, state_at,
    run_count, expected_start_at, started_at, ended_at, run_seconds, work_pool_name, work_queue_name,
    is_auto_scheduled, created_by_portal, created_upstream_at, synced_at, detailed_at)
SELECT id, (SELECT pk FROM environment WHERE number = draft_run.environment), deployment,
    CASE WHEN deployment IS NOT NULL OR parent IS NULL THEN deployment
        ELSE (SELECT other.deployment FROM draft_run AS other WHERE other.id = draft_run.parent
              AND other.environment = draft_run.environment) END,
    CASE WHEN deployment IS NULL AND EXISTS (SELECT FROM draft_run AS other WHERE other.id = draft_run.parent
              AND other.environment = draft_run.environment AND other.deployment IS NOT NULL) THEN parent END,
    prefect_id, name, flow_name, CASE WHEN deployment IS NULL THEN '' ELSE full_name END, '1', parameters, tags,
    state_id, state, state_name, message, coalesce(ended, started, created), (started IS NOT NULL)::int, expected,
    started, ended, seconds, pool, 'default', state = 'SCHEDULED', deployment IS NOT NULL AND id % 10 = 3, created, now,
    CASE WHEN id > runs * 0.8 THEN now END
FROM draft_run, size
ORDER BY id;

-- step: states, task runs and artifacts of the newest fifth
CREATE TEMP TABLE detailed AS
SELECT id, environment, started, coalesce(ended, now) AS ended, state, state_name, message, seconds, now,
    CASE WHEN id = (SELECT max(id) FROM draft_run WHERE state = 'FAILED' AND deployment IS NOT NULL)
        THEN runs / 50 ELSE floor(1 + 24 * -ln(1 - random())) END::int AS lines
FROM draft_run, size WHERE id > runs * 0.8 AND started IS NOT NULL;
INSERT INTO runs_statechange (run_id, prefect_id, type, name, at)
SELECT id, gen_random_uuid(), type, initcap(type), started - lead * interval '1 second'
FROM detailed, (VALUES ('SCHEDULED', 3), ('PENDING', 1), ('RUNNING', 0)) AS each (type, lead);
INSERT INTO runs_statechange (run_id, prefect_id, type, name, message, at)
SELECT id, gen_random_uuid(), state, state_name, message, ended FROM detailed
WHERE state IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED');
INSERT INTO runs_taskrun (run_id, prefect_id, name, state_type, state_name, started_at, ended_at, run_count, run_seconds)
SELECT id, gen_random_uuid(), (ARRAY['read', 'transform', 'check', 'write'])[task % 4 + 1] || '-' || task / 4,
    CASE WHEN task = 3 THEN state ELSE 'COMPLETED' END, CASE WHEN task = 3 THEN state_name ELSE 'Completed' END,
    started + task * (ended - started) / 5, started + (task + 1) * (ended - started) / 5, 1, seconds / 5
FROM detailed, generate_series(0, CASE WHEN lines > 150 THEN 250 ELSE 3 END) AS task;
INSERT INTO runs_artifact (environment_id, run_id, prefect_id, key, type, description, data, created_upstream_at)
SELECT (SELECT pk FROM environment WHERE number = detailed.environment), id, gen_random_uuid(),
    'report-' || id % 200, 'markdown', 'What was loaded', to_jsonb('# Loaded ' || id || ' rows'::text), ended
FROM detailed WHERE id % 4 = 0;

-- step: log lines
INSERT INTO runs_logline (run_id, prefect_id, at, level, message)
SELECT id, gen_random_uuid(), started + (ended - started) * line / lines,
    CASE WHEN line = lines AND state = 'FAILED' THEN 40 WHEN line % 40 = 0 THEN 30 ELSE 20 END,
    (ARRAY['Read 1000 rows from the warehouse', 'Wrote batch ', 'Finished in state Completed()', 'Checked column price, row '])
        [line % 4 + 1] || line
FROM detailed, generate_series(1, lines) AS line;

-- step: events of the newest fifth
INSERT INTO runs_runevent (kind, position, environment_id, deployment_id, run_id, data, occurred_at, observed_at)
SELECT 'run moved', row_number() OVER (ORDER BY ended_at, id), environment_id, deployment_id, id,
    jsonb_build_object('state', state_type), ended_at, ended_at
FROM runs_run, size WHERE ended_at IS NOT NULL AND id > runs * 0.8;
INSERT INTO runs_eventcursor (name, position)
SELECT name, (SELECT coalesce(max(position), 0) FROM runs_runevent) FROM consumer;

-- step: change requests, their specs and their run requests
CREATE TEMP TABLE draft_request AS
WITH launched AS (
    SELECT id AS run, deployment, environment, created, CASE state
        WHEN 'COMPLETED' THEN 'completed' WHEN 'FAILED' THEN 'failed' WHEN 'CRASHED' THEN 'failed'
        WHEN 'CANCELLED' THEN 'cancelled' ELSE 'launched' END AS state
    FROM draft_run WHERE deployment IS NOT NULL AND id % 10 = 3
), others AS (
    SELECT NULL::int AS run, draft_deployment.id AS deployment, environment, now - interval '180 days' * dice ^ 2
        AS created, CASE WHEN dice < 0.02 THEN 'held' ELSE
        (ARRAY['rejected', 'rejected', 'withdrawn', 'expired', 'refused'])[number % 5 + 1] END AS state
    FROM (
        SELECT number, now, random() AS dice, deployments FROM size,
            generate_series(1, requests - (SELECT count(*) FROM launched)) AS number
    ) AS rolled JOIN draft_deployment ON draft_deployment.id = number % deployments + 1
)
SELECT row_number() OVER (ORDER BY created) AS id, *, 'requester-' || deployment % 200 AS requester,
    state NOT IN ('held', 'rejected', 'withdrawn', 'expired') AS is_approved,
    encode(sha256(('request' || row_number() OVER (ORDER BY created))::bytea), 'hex') AS digest
FROM (SELECT * FROM launched UNION ALL SELECT * FROM others) AS both_kinds;
ANALYZE draft_request;
INSERT INTO runs_changerequest (id, kind, submission_key, environment_id, environment_name, requested_by_id,
    requested_by_name, channel, requested_at, changed_at, expires_at, reason, ticket, needs_approval, approvals_needed,
    contents, digest, state)
SELECT each.id, 'run', gen_random_uuid(), environment.pk, environment.slug, auth_user.id, requester,
    CASE WHEN each.id % 3 = 0 THEN 'api' ELSE 'admin' END, created, created,
    CASE WHEN each.state = 'held' THEN now + interval '8 hours' END, 'Month end', 'OPS-' || each.id % 5000,
    environment.number = 3, (environment.number = 3)::int, each.digest, each.digest, 'waiting'
FROM draft_request AS each JOIN environment ON environment.number = each.environment
JOIN auth_user ON auth_user.username = requester, size;
INSERT INTO runs_runspec (id, change_id, deployment_id, flow_name, deployment_name, deployment_prefect_id,
    deployment_version, schema_fingerprint, parameters, digest)
SELECT each.id, each.id, deployment, flow_name, flow_name || '/' || name, prefect_id, '1', md5('schema'),
    jsonb_build_object('region', 'EU', 'rows', each.id % 50 * 1000), each.digest
FROM draft_request AS each JOIN draft_deployment ON draft_deployment.id = deployment;
INSERT INTO runs_approval (change_id, approved, by_id, by_name, at, digest)
SELECT each.id, is_approved, auth_user.id, 'approver', created + interval '10 minutes', each.digest
FROM draft_request AS each, auth_user
WHERE username = 'approver' AND environment = 3 AND (is_approved OR state = 'rejected');
ANALYZE runs_approval, runs_changerequest, runs_runspec;
UPDATE runs_changerequest SET state = 'approved' WHERE id IN (SELECT id FROM draft_request WHERE is_approved);
INSERT INTO runs_runrequest (id, change_id, spec_id, environment_id, deployment_id, run_id, flow_run_id, requested_at,
    changed_at, state, attempts, launched_at, sent_at)
SELECT each.id, each.id, each.id, environment.pk, each.deployment, run, draft_run.prefect_id, each.created,
    each.created, each.state, is_approved::int, CASE WHEN run IS NOT NULL THEN each.created END,
    CASE WHEN run IS NOT NULL THEN each.created END
FROM draft_request AS each JOIN environment ON environment.number = each.environment
LEFT JOIN draft_run ON draft_run.id = run;
UPDATE runs_changerequest AS change SET state = CASE WHEN is_approved THEN 'closed' ELSE each.state END
FROM draft_request AS each WHERE each.id = change.id AND each.state NOT IN ('held', 'launched');

-- step: grants
-- One broad grant, 200 on single deployments for one person, and many of all kinds for the others.
INSERT INTO runs_grant (person_id, environment_id, effect, verbs, granted_by_name, granted_at)
SELECT auth_user.id, pk, 'allow', '{see,see inputs,see logs,trigger,trigger later,rerun,cancel,approve}', 'seed', now
FROM auth_user, environment, size WHERE username = 'broad' AND number = 3;
INSERT INTO runs_grant (person_id, environment_id, full_name, effect, verbs, granted_by_name, granted_at)
SELECT auth_user.id, environment_id, full_name, 'allow',
    '{see,see inputs,see logs,trigger,trigger later,rerun,cancel,approve}', 'seed', now
FROM auth_user, size, (
    -- Every second one, so that some have many runs and most have few.
    SELECT * FROM flows_deployment WHERE id % 2 = 1 AND id % 10 > 1 ORDER BY id LIMIT 200
) AS deployment WHERE username = 'narrow';
INSERT INTO runs_grant (person_id, environment_id, tag, flow_name, full_name, effect, verbs, granted_by_name,
    granted_at, revoked_at)
SELECT auth_user.id, environment_id, CASE WHEN number % 3 = 0 THEN tags[1] ELSE '' END,
    CASE WHEN number % 3 = 1 THEN deployment.flow_name ELSE '' END,
    CASE WHEN number % 3 = 2 THEN full_name ELSE '' END, CASE WHEN number % 40 = 0 THEN 'deny' ELSE 'allow' END,
    '{see,see logs,trigger}', 'seed', now - number * interval '1 minute', CASE WHEN number % 20 = 0 THEN now END
FROM size, generate_series(1, grants - 201) AS number
JOIN auth_user ON username = 'requester-' || number % 200
JOIN flows_deployment AS deployment ON deployment.id = number % 300 + 1;

-- step: notifications
INSERT INTO runs_notification (person_id, topic, subject, text, target_kind, target_id, created_at, read_at)
SELECT auth_user.id, 'answered', 'Your request ' || number || ' was approved', 'It was approved.', '', '',
    now - number * interval '10 seconds', CASE WHEN number > 100 THEN now - number * interval '9 seconds' END
FROM size, generate_series(1, requests / 5) AS number
JOIN auth_user ON username = CASE number % 4 WHEN 0 THEN 'broad' WHEN 1 THEN 'narrow' ELSE 'requester-' || number % 200 END;
INSERT INTO runs_delivery (notification_id, key, state, attempts, sent_at, answer, message)
SELECT id, gen_random_uuid(), 'sent', 1, created_at, '', '' FROM runs_notification;
