BEGIN TRANSACTION;
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
INSERT INTO "calls" VALUES('run_46920f4b86338076','rollout',0,'task_4103157344fda46c',0,0,'hash',X'785EAB56CA4C51B25230AC05000D740295',1,20,1,'2026-11-23T07:50:02.363Z');
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
INSERT INTO "decisions" VALUES(1,'math','exp_4dd559cf810c6920','kept','it helps','rule','run_46920f4b86338076',1,'2026-11-23T07:50:02.365Z');
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
INSERT INTO "effects" VALUES(1,'math','exp_4dd559cf810c6920','run_46920f4b86338076',1,0.25,0.1,8,'2026-11-23T07:50:02.365Z');
CREATE TABLE experiences (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL, -- strategy, demonstration
    text TEXT NOT NULL,
    at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO "experiences" VALUES('exp_4dd559cf810c6920','strategy','When adding, count.','2026-11-23T07:50:02.364Z');
CREATE TABLE groups (
    id    INTEGER PRIMARY KEY,
    run   TEXT NOT NULL REFERENCES runs (id),
    step  INTEGER NOT NULL,
    task  TEXT NOT NULL REFERENCES tasks (id),
    prior TEXT NOT NULL, -- the prior in force; those between the steps of a run are not in `priors`
    at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (run, step, task, prior)
);
INSERT INTO "groups" VALUES(1,'run_46920f4b86338076',0,'task_4103157344fda46c','prior_0eea04c983d4bc52','2026-11-23T07:50:02.364Z');
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
INSERT INTO "lineage" VALUES(1,'math','prior_0eea04c983d4bc52','ungated','{"model":"m","system":"Be brief.","request":{"max_tokens":5},"temperature":0.7,"top_p":1.0}','run_46920f4b86338076','rule','','2026-11-23T07:50:02.367Z');
CREATE TABLE migrations (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    tfgrpo TEXT NOT NULL, -- version of the program that applied it, hence able to read the store
    at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO "migrations" VALUES(1,'initial','0.1.0','2026-11-23T07:50:02.325Z');
CREATE TABLE namespaces (
    name  TEXT PRIMARY KEY,
    model TEXT, -- the model it was first used with; NULL until then
    at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO "namespaces" VALUES('math','m','2026-11-23T07:50:02.361Z');
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
INSERT INTO "origins" VALUES(1,'math','exp_4dd559cf810c6920','run_46920f4b86338076',1,'["task_4103157344fda46c"]',NULL,'2026-11-23T07:50:02.364Z');
CREATE TABLE prior_experiences (
    prior      TEXT NOT NULL REFERENCES priors (id),
    position   INTEGER NOT NULL,
    experience TEXT NOT NULL REFERENCES experiences (id),
    PRIMARY KEY (prior, position)
);
INSERT INTO "prior_experiences" VALUES('prior_0eea04c983d4bc52',0,'exp_4dd559cf810c6920');
CREATE TABLE priors (
    id        TEXT PRIMARY KEY,
    tokenizer TEXT, -- fingerprint of the tokenizer that the token biases belong to
    template  TEXT NOT NULL, -- version of the template that renders the experiences
    parent    TEXT, -- may be a prior of another store
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO "priors" VALUES('prior_0eea04c983d4bc52','tokenizer','template_1',NULL,'2026-11-23T07:50:02.366Z');
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
INSERT INTO "rollouts" VALUES(1,0,'["exp_4dd559cf810c6920"]',X'785E8BAE562ACACF4955B2524A2C2ECE2C2E49CC2B51D2514ACECF2B4905B2AC944C946A6301E7430C1C','4',1.0,NULL,'',0,0,0);
CREATE TABLE run_tasks (
    run      TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    task     TEXT NOT NULL REFERENCES tasks (id),
    PRIMARY KEY (run, position)
);
INSERT INTO "run_tasks" VALUES('run_46920f4b86338076',0,'task_4103157344fda46c');
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
INSERT INTO "runs" VALUES('run_46920f4b86338076','run_46920f4b86338076',0,'learn','math','{"model":"m","system":"Be brief.","request":{"max_tokens":5},"temperature":0.7,"top_p":1.0}','{"seed":0}','exact',NULL,'running',0,0,0,'{}','2026-11-23T07:50:02.362Z',NULL);
CREATE TABLE tasks (
    id       TEXT PRIMARY KEY,
    input    TEXT NOT NULL, -- JSON: a text or a list of chat messages
    answer   TEXT NOT NULL, -- JSON
    metadata TEXT NOT NULL, -- JSON object
    count    INTEGER NOT NULL, -- how often the last file that held it repeated it
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO "tasks" VALUES('task_4103157344fda46c','"What is 2 + 2?"','"4"','{"level":1}',1,'2026-11-23T07:50:02.354Z');
CREATE TABLE token_biases (
    prior    TEXT NOT NULL REFERENCES priors (id),
    token    INTEGER NOT NULL,
    piece    BLOB NOT NULL, -- the token's bytes
    bias     REAL NOT NULL, -- added to its logit, in nats at temperature 1
    z        REAL NOT NULL,
    evidence INTEGER NOT NULL, -- tasks whose mixed groups moved it
    PRIMARY KEY (prior, token)
);
INSERT INTO "token_biases" VALUES('prior_0eea04c983d4bc52',7,X'34',0.5,3.0,4);
CREATE INDEX origins_of_experience ON origins (experience);
CREATE INDEX decisions_of_experience ON decisions (namespace, experience);
CREATE UNIQUE INDEX decisions_of_run ON decisions (namespace, experience, run, step, verdict) WHERE run <> '';
CREATE INDEX lineage_of_prior ON lineage (namespace, prior);
CREATE UNIQUE INDEX lineage_of_run ON lineage (namespace, prior, state, run) WHERE run <> '' AND state <> 'superseded';
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
COMMIT;
