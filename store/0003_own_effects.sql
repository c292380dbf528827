-- What runs of a namespace have measured comes before what was imported into it, whatever came last; attempts are shown
-- with their task. The comment on `groups.prior` was wrong, so that table is made anew (foreign keys are off meanwhile).

DROP VIEW rollout_list;
DROP VIEW experience_list;

CREATE TABLE new_groups (
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id),
    step     INTEGER NOT NULL,
    task     TEXT NOT NULL REFERENCES tasks (id),
    prior    TEXT NOT NULL, -- the prior in force, as in `priors`; an empty one may be missing there
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (run, step, task, prior)
);
INSERT INTO new_groups SELECT id, run, step, task, prior, at, checksum FROM groups;
DROP TABLE groups;
ALTER TABLE new_groups RENAME TO groups;

CREATE VIEW experience_list AS
SELECT seen.first AS number, origins.namespace, experiences.id, experiences.kind, experiences.text,
       decisions.verdict, decisions.why, decisions.by, decisions.run AS decision_run, decisions.step AS decision_step,
       effects.mean, effects.sd, effects.evidence, effects.run AS effect_run, effects.step AS effect_step,
       NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run AND runs.namespace = effects.namespace)
           AND effects.id IS NOT NULL AS effect_imported,
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
       rollouts.text, rollouts.error, rollouts.finish_reason, rollouts.included,
       rollouts.prompt_tokens, rollouts.completion_tokens
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id;

CREATE VIEW group_list AS
SELECT groups.id AS group_id, groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior,
       count(*) AS rollouts, count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean,
       min(rollouts.reward) AS worst, max(rollouts.reward) AS best, sum(rollouts.error IS NOT NULL) AS errors
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
GROUP BY groups.id;
