-- The deployments and runs of a seeded database, before they become rows of the portal's tables or of Prefect's. The
-- same sizes give the same rows. `size` and `word` are temporary tables that benchmarks/seed_steps.py fills.

-- step: draft of the deployments
SELECT setseed(0.5);
CREATE TEMP TABLE draft_deployment AS
SELECT
    i AS id,
    md5('deployment' || i)::uuid AS prefect_id,
    md5('flow' || i / 3)::uuid AS flow_id,
    subject || '-' || verb || CASE WHEN i / 3 < 400 THEN '' ELSE '-' || i / 1200 + 1 END AS flow_name,
    (ARRAY['daily', 'hourly', 'on-demand'])[i % 3 + 1] AS name,
    -- 1 dev, 2 staging, 3 prod: one of ten, one of ten, the rest.
    CASE i % 10 WHEN 0 THEN 1 WHEN 1 THEN 2 ELSE 3 END AS environment,
    ARRAY[
        (ARRAY['finance', 'sales', 'risk', 'marketing', 'logistics', 'people', 'web', 'support'])[i % 8 + 1],
        'team-' || i % 25
    ] AS tags,
    'pool-' || i % 5 AS pool
FROM generate_series(1, (SELECT deployments FROM size)) AS i
CROSS JOIN LATERAL (
    SELECT
        (ARRAY['orders', 'customers', 'invoices', 'ledger', 'stock', 'prices', 'leads', 'visits', 'claims', 'payroll',
               'contracts', 'shipments', 'returns', 'forecasts', 'budgets', 'tickets', 'sensors', 'rates', 'vendors',
               'campaigns'])[i / 3 % 20 + 1] AS subject,
        (ARRAY['load', 'sync', 'export', 'check', 'train', 'score', 'merge', 'clean', 'archive', 'report', 'import',
               'publish', 'reconcile', 'enrich', 'rank', 'split', 'join', 'verify', 'notify', 'refresh'])
              [i / 60 % 20 + 1] AS verb
) AS names;
ALTER TABLE draft_deployment ADD PRIMARY KEY (id);

-- step: draft of the runs
-- Few deployments have most of the runs; the newest two of a thousand are not over; one of a hundred has no deployment.
CREATE TEMP TABLE draft_run AS
WITH rolled AS (
    SELECT
        i, runs, now,
        floor(deployments * random() ^ 2.5)::int + 1 AS deployment,
        now - interval '180 days' * (1 - i::float / runs) - interval '20 minutes' * random() AS created,
        random() AS state_dice, random() AS time_dice, random() AS own_dice,
        floor(random() * (SELECT count(*) FROM word))::int AS word
    FROM size, generate_series(1, runs) AS i
), stated AS (
    SELECT
        *,
        CASE
            WHEN i > runs - greatest(runs / 500, 10) THEN CASE
                WHEN state_dice < 0.70 THEN 'SCHEDULED' WHEN state_dice < 0.93 THEN 'RUNNING'
                WHEN state_dice < 0.98 THEN 'PENDING' WHEN state_dice < 0.99 THEN 'PAUSED' ELSE 'CANCELLING' END
            WHEN state_dice < 0.93 THEN 'COMPLETED' WHEN state_dice < 0.975 THEN 'FAILED'
            WHEN state_dice < 0.98 THEN 'CRASHED' ELSE 'CANCELLED'
        END AS state,
        -- A minute in the middle, hours for some.
        round((exp(4.1 + 1.2 * (time_dice + own_dice - 1) * 3))::numeric, 3)::float AS seconds
    FROM rolled
)
SELECT
    i AS id,
    md5('run' || i)::uuid AS prefect_id,
    md5('state' || i)::uuid AS state_id,
    word.text AS name,
    draft_deployment.id AS governing,
    CASE WHEN own_dice >= 0.06 THEN draft_deployment.id END AS deployment,
    -- A subflow of the run before, if that has a deployment.
    CASE WHEN own_dice BETWEEN 0.01 AND 0.06 AND i > 1 THEN i - 1 END AS parent,
    draft_deployment.environment, draft_deployment.flow_id, draft_deployment.flow_name, draft_deployment.pool,
    draft_deployment.flow_name || '/' || draft_deployment.name AS full_name,
    draft_deployment.tags || CASE WHEN i % 7 = 0 THEN ARRAY['manual'] ELSE '{}'::text[] END AS tags,
    state, initcap(state) AS state_name,
    CASE state
        WHEN 'FAILED' THEN 'Flow run encountered an exception: ' || (ARRAY[
            'ValueError: column price is empty', 'TimeoutError: no answer from the warehouse after 30 s',
            'KeyError: ''region''', 'MissingResult: State data is missing.'])[i % 4 + 1]
        WHEN 'CRASHED' THEN 'Flow run process exited with non-zero status code 137.'
        WHEN 'SCHEDULED' THEN 'Flow run scheduled' ELSE '' END AS message,
    created,
    CASE WHEN state = 'SCHEDULED' THEN now + interval '24 hours' * time_dice ELSE created END AS expected,
    CASE WHEN state NOT IN ('SCHEDULED', 'PENDING') THEN created + interval '3 seconds' END AS started,
    CASE WHEN state IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')
        THEN least(created + interval '3 seconds' + seconds * interval '1 second', now) END AS ended,
    CASE WHEN state IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED') THEN seconds ELSE 0 END AS seconds,
    jsonb_build_object(
        'region', (ARRAY['EU', 'US', 'APAC'])[i % 3 + 1],
        'day', to_char(created, 'YYYY-MM-DD'),
        'rows', (i % 50 + 1) * 1000,
        'customer', 'c' || 100000 + i % 20000
    ) AS parameters
FROM stated
JOIN draft_deployment ON draft_deployment.id = stated.deployment
JOIN word ON word.id = stated.word;
CREATE INDEX ON draft_run (id);
ANALYZE draft_run;
