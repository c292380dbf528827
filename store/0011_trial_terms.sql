-- What a promotion of the gate claims, what is bet on, and what a pass has to remember to go on: what was answered (an
-- upstream that repeats itself gives no fresh samples), what failed by itself, and what was bet on.

ALTER TABLE validations ADD COLUMN claim TEXT NOT NULL DEFAULT 'these-tasks'; -- or tasks-like-these
ALTER TABLE validations ADD COLUMN statistic TEXT NOT NULL DEFAULT 'rewards'; -- or likelihood
ALTER TABLE passes ADD COLUMN details TEXT NOT NULL DEFAULT '{}'; -- JSON object: answers and gains by task id, failed
ALTER TABLE outcomes ADD COLUMN details TEXT NOT NULL DEFAULT '{}'; -- JSON object: failed, labels

DROP VIEW validation_list;
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
