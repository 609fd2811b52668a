-- The same deployments and runs in the tables of a Prefect server, version 3.9.1.

-- step: flows and deployments
INSERT INTO flow (id, name) SELECT DISTINCT flow_id, flow_name FROM draft_deployment;
INSERT INTO work_pool (id, name, type, base_job_template)
SELECT md5('pool-' || i)::uuid, 'pool-' || i, 'process', '{}' FROM generate_series(0, 4) AS i;
INSERT INTO work_queue (id, name, work_pool_id, priority)
SELECT md5('queue-' || i)::uuid, 'default', md5('pool-' || i)::uuid, 1 FROM generate_series(0, 4) AS i;
INSERT INTO deployment (id, name, flow_id, tags, parameters, parameter_openapi_schema, entrypoint, path, status,
    work_queue_name, work_queue_id, enforce_parameter_schema)
SELECT prefect_id, name, flow_id, to_jsonb(tags), '{}', '{}', 'flows/etl.py:flow', '/srv/flows', 'READY',
    'default', md5(replace(pool, 'pool-', 'queue-'))::uuid, true
FROM draft_deployment;

-- step: flow runs
INSERT INTO flow_run (id, created, updated, name, state_type, state_name, state_id, state_timestamp, run_count,
    expected_start_time, next_scheduled_start_time, start_time, end_time, total_run_time, parameters, idempotency_key,
    tags, auto_scheduled, flow_id, deployment_id, work_queue_name, work_queue_id, infrastructure_pid, empirical_policy)
SELECT prefect_id, created, coalesce(ended, created), name, state::state_type, state_name, state_id,
    coalesce(ended, started, created), (started IS NOT NULL)::int, expected,
    CASE WHEN state = 'SCHEDULED' THEN expected END, started, ended, seconds * interval '1 second', parameters,
    'seed-' || id, to_jsonb(tags), state = 'SCHEDULED', flow_id,
    (SELECT each.prefect_id FROM draft_deployment AS each WHERE each.id = draft_run.deployment), 'default',
    md5(replace(pool, 'pool-', 'queue-'))::uuid, '', '{}'
FROM draft_run;

-- step: states of flow runs
INSERT INTO flow_run_state (id, type, timestamp, name, message, flow_run_id)
SELECT state_id, state::state_type, coalesce(ended, started, created), state_name, message, prefect_id FROM draft_run;
