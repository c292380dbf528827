-- The views for people, in PostgreSQL's words; those of SQLite stand in the numbered files. They are made anew with each
-- upgrade, and a test holds their names and columns against SQLite's.

CREATE VIEW run_list AS
SELECT id, namespace, kind, CAST(frame AS json) ->> 'model' AS model, reward, attempt, status,
       (SELECT count(*) FROM run_tasks WHERE run_tasks.run = runs.id) AS tasks,
       calls, prompt_tokens, completion_tokens, result, started, ended
FROM runs;

CREATE VIEW experience_list AS
SELECT seen.first AS number, origins.namespace, experiences.id, experiences.kind, experiences.text,
       decisions.verdict, decisions.why, decisions.by, decisions.run AS decision_run, decisions.step AS decision_step,
       effects.mean, effects.sd, effects.evidence, effects.run AS effect_run, effects.step AS effect_step,
       CAST(NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run AND runs.namespace = effects.namespace)
            AND effects.id IS NOT NULL AS INTEGER) AS effect_imported,
       origins.run, origins.step, origins.tasks, origins.parent, origins.at
FROM (SELECT min(id) AS first, max(id) AS last FROM origins GROUP BY namespace, experience) AS seen
JOIN origins ON origins.id = seen.last
JOIN experiences ON experiences.id = origins.experience
LEFT JOIN decisions ON decisions.id = (
    SELECT max(id) FROM decisions AS latest
    WHERE latest.namespace = origins.namespace AND latest.experience = origins.experience)
LEFT JOIN effects ON effects.id = (
    SELECT id FROM effects AS latest
    WHERE latest.namespace = origins.namespace AND latest.experience = origins.experience
    ORDER BY EXISTS (SELECT 1 FROM runs WHERE runs.id = latest.run AND runs.namespace = latest.namespace) DESC, id DESC
    LIMIT 1);

CREATE VIEW rollout_list AS
SELECT groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior, groups.id AS group_id,
       rollouts.sample, rollouts.reward, avg(rollouts.reward) OVER (PARTITION BY groups.id) AS group_mean,
       rollouts.text, rollouts.feedback, rollouts.error, rollouts.finish_reason, rollouts.included,
       rollouts.variant, variants.source AS variant_source, rollouts.prompt_tokens, rollouts.completion_tokens
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
LEFT JOIN variants ON variants.run = groups.run AND variants.id = rollouts.variant;

CREATE VIEW group_list AS
SELECT groups.id AS group_id, groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior,
       count(*) AS rollouts, count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean,
       min(rollouts.reward) AS worst, max(rollouts.reward) AS best, count(rollouts.error) AS errors
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
GROUP BY groups.id, tasks.id;

CREATE VIEW variant_list AS
SELECT variants.run, variants.id, variants.source, variants.tokens, variants.nearest,
       json_array_length(CAST(variants.demonstrations AS json)) AS demonstrations, count(rollouts.sample) AS rollouts,
       count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean, count(rollouts.error) AS errors
FROM variants
LEFT JOIN groups ON groups.run = variants.run
LEFT JOIN rollouts ON rollouts.group_id = groups.id AND rollouts.variant = variants.id
GROUP BY variants.run, variants.id;

CREATE VIEW validation_list AS
SELECT validations.namespace, validations.run, validations.task_set, validations.attempt, validations.candidate,
       validations.live, validations.level, validations.claim, validations.statistic, validations.tasks,
       validations.most_passes,
       (SELECT count(*) FROM passes WHERE passes.validation = validations.id) AS passes,
       (SELECT log_e FROM passes WHERE passes.validation = validations.id ORDER BY number DESC LIMIT 1) AS log_e,
       coalesce(outcomes.verdict, 'undecided') AS verdict, outcomes.e_value, outcomes.estimate, outcomes.low,
       outcomes.high, outcomes.reason, validations.at
FROM validations
LEFT JOIN outcomes ON outcomes.validation = validations.id;

CREATE VIEW pass_list AS
SELECT validations.namespace, validations.run, validations.candidate, passes.number, passes.bet, passes.log_e,
       count(*) AS tasks, avg(CAST(pair.value ->> 0 AS DOUBLE PRECISION)) AS candidate_mean,
       avg(CAST(pair.value ->> 1 AS DOUBLE PRECISION)) AS live_mean, passes.at
FROM passes
JOIN validations ON validations.id = passes.validation
CROSS JOIN json_each(CAST(passes.rewards AS json)) AS pair
GROUP BY passes.validation, passes.number, validations.id;

CREATE VIEW opening_list AS
SELECT runs.namespace, openings.task_set, openings.run, runs.parent AS prior, openings.tasks, openings.at
FROM openings
JOIN runs ON runs.id = openings.run;
