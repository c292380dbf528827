-- The gate: who was tested against whom on which tasks, pass by pass, and how it ended; and who looked at test tasks.
-- Rows are appended only: an attempt is written down before its first pass, since it has spent its part of alpha then.

CREATE TABLE task_sets (
    id       TEXT NOT NULL, -- hash of the ids of its tasks
    task     TEXT NOT NULL REFERENCES tasks (id),
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (id, task)
);

CREATE TABLE held_out (
    run      TEXT NOT NULL REFERENCES runs (id),
    role     TEXT NOT NULL, -- validation, test
    task_set TEXT NOT NULL, -- `id` of `task_sets`
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, role)
);

CREATE TABLE validations (
    id          INTEGER PRIMARY KEY,
    namespace   TEXT NOT NULL REFERENCES namespaces (name),
    task_set    TEXT NOT NULL, -- `id` of `task_sets`
    attempt     INTEGER NOT NULL, -- in the life of (namespace, validation set), from 1
    run         TEXT NOT NULL REFERENCES runs (id),
    candidate   TEXT NOT NULL REFERENCES priors (id),
    live        TEXT REFERENCES priors (id), -- the prior that was live; NULL: none, so the frozen model stood for it
    alpha       REAL NOT NULL, -- chance of ever promoting what is no better, over all attempts
    level       REAL NOT NULL, -- what this attempt may spend of it: alpha / 2^attempt
    tasks       INTEGER NOT NULL, -- how many the set holds
    most_passes INTEGER NOT NULL,
    seed        INTEGER NOT NULL, -- of sampling and resampling
    at          TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum    TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (namespace, task_set, attempt),
    UNIQUE (run, candidate)
);

CREATE TABLE passes (
    validation INTEGER NOT NULL REFERENCES validations (id),
    number     INTEGER NOT NULL, -- from 1
    bet        REAL NOT NULL, -- fixed before the pass
    rewards    TEXT NOT NULL, -- JSON object: task id to [candidate's reward, live prior's]; null where there is none
    log_e      REAL NOT NULL, -- natural logarithm of the e-value after the pass
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum   TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (validation, number)
);

CREATE TABLE outcomes (
    validation        INTEGER PRIMARY KEY REFERENCES validations (id),
    verdict           TEXT NOT NULL, -- promoted, rejected
    reason            TEXT NOT NULL,
    passes            INTEGER NOT NULL,
    e_value           REAL NOT NULL,
    estimate          REAL NOT NULL, -- mean effect over these tasks, in reward units
    low               REAL, -- its 95% interval over tasks like these; NULL: no pair was scored
    high              REAL,
    lost              INTEGER NOT NULL, -- pairs in which an arm had no reward
    lost_by_candidate INTEGER NOT NULL, -- those in which only the candidate had none
    at                TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum          TEXT NOT NULL DEFAULT '00000000'
);

CREATE TABLE openings (
    run      TEXT NOT NULL REFERENCES runs (id), -- the evaluation that measured on its tasks
    task_set TEXT NOT NULL, -- `id` of `task_sets`
    tasks    INTEGER NOT NULL, -- how many of them were measured
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, task_set)
);

CREATE VIEW validation_list AS
SELECT validations.namespace, validations.run, validations.task_set, validations.attempt, validations.candidate,
       validations.live, validations.level, validations.tasks, validations.most_passes,
       (SELECT count(*) FROM passes WHERE passes.validation = validations.id) AS passes,
       (SELECT log_e FROM passes WHERE passes.validation = validations.id ORDER BY number DESC LIMIT 1) AS log_e,
       coalesce(outcomes.verdict, 'undecided') AS verdict, outcomes.e_value, outcomes.estimate, outcomes.low,
       outcomes.high, outcomes.reason, validations.at
FROM validations
LEFT JOIN outcomes ON outcomes.validation = validations.id;

CREATE VIEW pass_list AS
SELECT validations.namespace, validations.run, validations.candidate, passes.number, passes.bet, passes.log_e,
       count(pair.key) AS tasks, avg(pair.value ->> 0) AS candidate_mean, avg(pair.value ->> 1) AS live_mean, passes.at
FROM passes
JOIN validations ON validations.id = passes.validation
JOIN json_each(passes.rewards) AS pair
GROUP BY passes.validation, passes.number;

CREATE VIEW opening_list AS
SELECT runs.namespace, openings.task_set, openings.run, runs.parent AS prior, openings.tasks, openings.at
FROM openings
JOIN runs ON runs.id = openings.run;
