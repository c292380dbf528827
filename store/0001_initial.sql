-- The store's first schema. README.md beside this file explains each table.
-- `at`, `started` and `ended` are UTC and for people only: no id and no order depends on them.

PRAGMA application_id = 1952868208; -- "tfgp" in ASCII: how a store tells itself from other SQLite files

CREATE TABLE migrations (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    tfgrpo TEXT NOT NULL, -- version of the program that applied it, hence able to read the store
    at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE namespaces (
    name  TEXT PRIMARY KEY,
    model TEXT, -- the model it was first used with; NULL until then
    at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- What happened: tasks, runs, calls, groups of rollouts.

CREATE TABLE tasks (
    id       TEXT PRIMARY KEY,
    input    TEXT NOT NULL, -- JSON: a text or a list of chat messages
    answer   TEXT NOT NULL, -- JSON
    metadata TEXT NOT NULL, -- JSON object
    count    INTEGER NOT NULL, -- how often the last file that held it repeated it
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE runs (
    id                TEXT PRIMARY KEY,
    identity          TEXT NOT NULL, -- id of attempt 0: shared by all attempts with the same settings
    attempt           INTEGER NOT NULL,
    kind              TEXT NOT NULL, -- learn, eval
    namespace         TEXT NOT NULL REFERENCES namespaces (name),
    frame             TEXT NOT NULL, -- JSON: model, system, request, temperature, top_p
    settings          TEXT NOT NULL, -- JSON object
    reward            TEXT NOT NULL,
    parent            TEXT, -- the prior that it started from or measures; may be one of another store
    status            TEXT NOT NULL, -- running, finished, interrupted, failed
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    result            TEXT NOT NULL, -- JSON object
    started           TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    ended             TEXT,
    UNIQUE (identity, attempt)
);

CREATE TABLE run_tasks (
    run      TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    task     TEXT NOT NULL REFERENCES tasks (id),
    PRIMARY KEY (run, position)
);

CREATE TABLE calls (
    run               TEXT NOT NULL REFERENCES runs (id),
    stage             TEXT NOT NULL,
    step              INTEGER NOT NULL,
    task              TEXT NOT NULL, -- empty for a call that belongs to no single task
    sample            INTEGER NOT NULL,
    retry             INTEGER NOT NULL,
    request           TEXT NOT NULL, -- hash of the request body
    response          BLOB NOT NULL, -- zlib of the response's JSON text
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    at                TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (run, stage, step, task, sample, retry)
);

CREATE TABLE groups (
    id    INTEGER PRIMARY KEY,
    run   TEXT NOT NULL REFERENCES runs (id),
    step  INTEGER NOT NULL,
    task  TEXT NOT NULL REFERENCES tasks (id),
    prior TEXT NOT NULL, -- the prior in force; those between the steps of a run are not in `priors`
    at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (run, step, task, prior)
);

CREATE TABLE rollouts (
    group_id          INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    sample            INTEGER NOT NULL,
    included          TEXT NOT NULL, -- JSON list of experience ids
    messages          BLOB NOT NULL, -- zlib of the JSON list of messages
    text              TEXT NOT NULL,
    reward            REAL, -- NULL when the call or the reward failed
    error             TEXT,
    finish_reason     TEXT NOT NULL,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (group_id, sample)
);

-- What was learned: experiences with their evidence, priors, and which of them is live. Rows are appended only.
-- `run` is empty for what a person did, and may name a run of another store for what was imported.

CREATE TABLE experiences (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL, -- strategy, demonstration
    text TEXT NOT NULL,
    at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE origins (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    experience TEXT NOT NULL REFERENCES experiences (id),
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    tasks      TEXT NOT NULL, -- JSON list of the ids of its source tasks
    parent     TEXT, -- the experience that it replaces
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (namespace, experience, run, step)
);
CREATE INDEX origins_of_experience ON origins (experience);

CREATE TABLE effects (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    experience TEXT NOT NULL REFERENCES experiences (id),
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    mean       REAL NOT NULL, -- change of the mean reward
    sd         REAL NOT NULL,
    evidence   INTEGER NOT NULL, -- scored rollouts
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (namespace, experience, run, step)
);

CREATE TABLE decisions (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    experience TEXT NOT NULL REFERENCES experiences (id),
    verdict    TEXT NOT NULL, -- awaiting review, refused, on trial, kept, retired
    why        TEXT NOT NULL,
    by         TEXT NOT NULL, -- rule, or a person's name
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX decisions_of_experience ON decisions (namespace, experience);
-- A resumed run repeats its decisions, which must not double them; a person may well decide the same twice.
CREATE UNIQUE INDEX decisions_of_run ON decisions (namespace, experience, run, step, verdict) WHERE run <> '';

CREATE TABLE priors (
    id        TEXT PRIMARY KEY,
    tokenizer TEXT, -- fingerprint of the tokenizer that the token biases belong to
    template  TEXT NOT NULL, -- version of the template that renders the experiences
    parent    TEXT, -- may be a prior of another store
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE prior_experiences (
    prior      TEXT NOT NULL REFERENCES priors (id),
    position   INTEGER NOT NULL,
    experience TEXT NOT NULL REFERENCES experiences (id),
    PRIMARY KEY (prior, position)
);

CREATE TABLE token_biases (
    prior    TEXT NOT NULL REFERENCES priors (id),
    token    INTEGER NOT NULL,
    piece    BLOB NOT NULL, -- the token's bytes
    bias     REAL NOT NULL, -- added to its logit, in nats at temperature 1
    z        REAL NOT NULL,
    evidence INTEGER NOT NULL, -- tasks whose mixed groups moved it
    PRIMARY KEY (prior, token)
);

CREATE TABLE lineage (
    id        INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    prior     TEXT NOT NULL REFERENCES priors (id),
    state     TEXT NOT NULL, -- candidate, canary, live, ungated, rejected, superseded, rolled back
    frame     TEXT NOT NULL, -- JSON, as in `runs`: what the prior is known to help under
    run       TEXT NOT NULL,
    by        TEXT NOT NULL,
    why       TEXT NOT NULL,
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX lineage_of_prior ON lineage (namespace, prior);
-- As with decisions; what a run supersedes follows from its one event that went live.
CREATE UNIQUE INDEX lineage_of_run ON lineage (namespace, prior, state, run) WHERE run <> '' AND state <> 'superseded';

-- Views for people: `datasette tfgrpo.db`, `sqlite-utils rows tfgrpo.db experience_list`.

CREATE VIEW run_list AS
SELECT id, namespace, kind, json_extract(frame, '$.model') AS model, reward, attempt, status,
       (SELECT count(*) FROM run_tasks WHERE run_tasks.run = runs.id) AS tasks,
       calls, prompt_tokens, completion_tokens, result, started, ended
FROM runs;

CREATE VIEW experience_list AS
SELECT seen.first AS number, origins.namespace, experiences.id, experiences.kind, experiences.text,
       decisions.verdict, decisions.why, decisions.by, decisions.run AS decision_run, decisions.step AS decision_step,
       effects.mean, effects.sd, effects.evidence, effects.run AS effect_run, effects.step AS effect_step,
       origins.run, origins.step, origins.tasks, origins.parent, origins.at
FROM (SELECT min(id) AS first, max(id) AS last FROM origins GROUP BY namespace, experience) AS seen
JOIN origins ON origins.id = seen.last
JOIN experiences ON experiences.id = origins.experience
LEFT JOIN decisions ON decisions.id = (
    SELECT max(id) FROM decisions AS latest
    WHERE latest.namespace = origins.namespace AND latest.experience = origins.experience)
LEFT JOIN effects ON effects.id = (
    SELECT max(id) FROM effects AS latest
    WHERE latest.namespace = origins.namespace AND latest.experience = origins.experience);

CREATE VIEW rollout_list AS
SELECT groups.run, groups.step, groups.task, groups.prior, rollouts.sample, rollouts.reward,
       avg(rollouts.reward) OVER (PARTITION BY groups.id) AS group_mean,
       rollouts.text, rollouts.error, rollouts.finish_reason, rollouts.included,
       rollouts.prompt_tokens, rollouts.completion_tokens
FROM groups
JOIN rollouts ON rollouts.group_id = groups.id;
