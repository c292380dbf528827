BEGIN TRANSACTION;
CREATE TABLE bodies (
    call     INTEGER PRIMARY KEY, -- number of the call
    request  BLOB NOT NULL, -- zlib of JSON, as the caller wrote it; what looks like a secret is left out
    response BLOB NOT NULL, -- zlib of JSON or of a stream of events
    checksum TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "bodies" VALUES(1,X'785EAB56CACD4F49CD51B25250CA55AA050022B20459',X'785EABAE0500017500F9','cbf03c4d');
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
    at                TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, stage, step, task, sample, retry)
);
INSERT INTO "calls" VALUES('run_46920f4b86338076','rollout',0,'task_4103157344fda46c',0,0,'hash',X'785EAB56CA4C51B25230AC05000D740295',1,20,1,'2026-11-28T07:26:41.983Z','f040b1ea');
CREATE TABLE canaries (
    id        INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    prior     TEXT NOT NULL REFERENCES priors (id),
    share     REAL NOT NULL, -- of calls; the latest of a prior counts while its state is canary
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "canaries" VALUES(1,'math','prior_b90305b72a4de3fd',0.1,'2026-11-28T07:26:42.112Z','2f537a18');
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
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "decisions" VALUES(1,'math','exp_4dd559cf810c6920','kept','it helps','rule','run_46920f4b86338076',1,'2026-11-28T07:26:42.008Z','f80bfc21');
CREATE TABLE demonstrations (
    id       TEXT PRIMARY KEY,
    input    TEXT NOT NULL, -- JSON: a text or a list of chat messages
    answer   TEXT NOT NULL, -- as the assistant gives it
    task     TEXT NOT NULL, -- the task that it is taken from; may be one of another store, empty where none is known
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "demonstrations" VALUES('demo_8ac25a17e4401827','"What is 1 + 1?"','2','task_1','2026-11-28T07:26:42.028Z','a3571607');
INSERT INTO "demonstrations" VALUES('demo_c2a6ba64adbd5c9b','[{"role":"user","content":"3 + 3?"}]','6','','2026-11-28T07:26:42.028Z','d5064dd5');
CREATE TABLE effects (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    experience TEXT NOT NULL REFERENCES experiences (id),
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    mean       REAL NOT NULL, -- change of the mean reward
    sd         REAL NOT NULL,
    evidence   INTEGER NOT NULL, -- scored rollouts
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), checksum TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (namespace, experience, run, step)
);
INSERT INTO "effects" VALUES(1,'math','exp_4dd559cf810c6920','run_46920f4b86338076',1,0.25,0.1,8,'2026-11-28T07:26:42.004Z','504ed28c');
CREATE TABLE experiences (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL, -- strategy, demonstration
    text TEXT NOT NULL,
    at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "experiences" VALUES('exp_4dd559cf810c6920','strategy','When adding, count.','2026-11-28T07:26:42.000Z','3a6b7f37');
CREATE TABLE "feedback" (
    id        INTEGER PRIMARY KEY,
    inference TEXT NOT NULL, -- which may not have been kept; of several rows for one, the latest counts
    namespace TEXT NOT NULL,
    prior     TEXT, -- NULL: none, or not known
    variant   TEXT NOT NULL,
    reward    REAL, -- from 0 to 1; NULL: only the label is known
    label     TEXT, -- JSON: the right answer; NULL: none was given
    comment   TEXT NOT NULL,
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "feedback" VALUES(1,'inf_1','math','prior_0eea04c983d4bc52','ungated',0.5,NULL,'half right','2026-11-28T07:26:42.107Z','975bccd4');
CREATE TABLE "groups" (
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id),
    step     INTEGER NOT NULL,
    task     TEXT NOT NULL REFERENCES tasks (id),
    prior    TEXT NOT NULL, -- the prior in force, as in `priors`; an empty one may be missing there
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (run, step, task, prior)
);
INSERT INTO "groups" VALUES(1,'run_46920f4b86338076',0,'task_4103157344fda46c','prior_0eea04c983d4bc52','2026-11-28T07:26:41.993Z','33d2165f');
CREATE TABLE held_out (
    run      TEXT NOT NULL REFERENCES runs (id),
    role     TEXT NOT NULL, -- validation, test
    task_set TEXT NOT NULL, -- `id` of `task_sets`
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, role)
);
INSERT INTO "held_out" VALUES('run_46920f4b86338076','validation','set_64784ddc91294745','2026-11-28T07:26:42.053Z','e6c31319');
CREATE TABLE history (
    id        INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    actor     TEXT NOT NULL, -- autopilot, person, learn
    action    TEXT NOT NULL,
    prior     TEXT, -- NULL: it concerns none
    said      TEXT NOT NULL, -- one line, for people
    figures   TEXT NOT NULL, -- JSON object: on what grounds
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "history" VALUES(1,'math','person','canary','prior_b90305b72a4de3fd','a tenth of calls','{"share":0.1}','2026-11-28T07:26:42.120Z','026333bf');
CREATE TABLE "inferences" (
    number    INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    prior     TEXT, -- NULL: it had none
    variant   TEXT NOT NULL, -- the state that the prior was in: live, ungated, canary; none
    surface   TEXT NOT NULL, -- the API: chat, responses, messages, completions, decisions
    model     TEXT NOT NULL,
    status    INTEGER NOT NULL, -- of the answer, by HTTP
    seconds   REAL NOT NULL, -- until it was there, or had begun to come
    added     REAL, -- of these, what tfgrpo added; NULL: not known
    draw      TEXT, -- JSON object: what chance decided for the call, with the probability of that; NULL: nothing
    shadow_of TEXT, -- the call whose further rollout this is; NULL: a caller's own
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "inferences" VALUES(1,'inf_1','math','prior_0eea04c983d4bc52','ungated','chat','m',200,0.5,NULL,NULL,NULL,'2026-11-28T07:26:42.107Z','2e838b91');
CREATE TABLE key_use (
    key      TEXT NOT NULL REFERENCES keys (id),
    day      TEXT NOT NULL, -- UTC
    calls    INTEGER NOT NULL,
    tokens   INTEGER NOT NULL, -- as the upstream's answers told
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (key, day)
);
INSERT INTO "key_use" VALUES('1','2026-11-28',2,30,'6c37fd6f');
CREATE TABLE keys (
    id         TEXT PRIMARY KEY, -- the public part of the key
    digest     TEXT NOT NULL, -- SHA-256 of the whole key, which is kept nowhere
    name       TEXT NOT NULL, -- whose it is, for people
    namespace  TEXT, -- that its calls get the prior of; NULL: the proxy's own, or the one that a call names
    admin      INTEGER NOT NULL DEFAULT 0, -- 1: it may also read figures and any prior
    max_calls  INTEGER, -- NULL: no limit
    max_tokens INTEGER, -- NULL: no limit
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum   TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "keys" VALUES('1','digest','anna','math',0,5,NULL,'2026-11-28T07:26:42.090Z','ed2af08e');
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
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "lineage" VALUES(1,'math','prior_0eea04c983d4bc52','ungated','{"model":"m","system":"Be brief.","request":{"max_tokens":5},"temperature":0.7,"top_p":1.0}','run_46920f4b86338076','rule','','2026-11-28T07:26:42.022Z','4704cb95');
CREATE TABLE migrations (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    tfgrpo TEXT NOT NULL, -- version of the program that applied it, hence able to read the store
    at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "migrations" VALUES(1,'initial','0.1.0','2026-11-28T07:26:41.895Z','f25f5b25');
INSERT INTO "migrations" VALUES(2,'checksums','0.1.0','2026-11-28T07:26:41.895Z','ea2338d2');
INSERT INTO "migrations" VALUES(3,'own_effects','0.1.0','2026-11-28T07:26:41.895Z','161024a1');
INSERT INTO "migrations" VALUES(4,'validations','0.1.0','2026-11-28T07:26:41.895Z','5a1131b1');
INSERT INTO "migrations" VALUES(5,'long_texts','0.1.0','2026-11-28T07:26:41.895Z','40659e9b');
INSERT INTO "migrations" VALUES(6,'probes','0.1.0','2026-11-28T07:26:41.895Z','4cde8274');
INSERT INTO "migrations" VALUES(7,'demonstrations','0.1.0','2026-11-28T07:26:41.895Z','fea3f0ec');
INSERT INTO "migrations" VALUES(8,'keys','0.1.0','2026-11-28T07:26:41.895Z','6688297a');
INSERT INTO "migrations" VALUES(9,'inferences','0.1.0','2026-11-28T07:26:41.895Z','843fe331');
INSERT INTO "migrations" VALUES(10,'questions','0.1.0','2026-11-28T07:26:41.895Z','3963bd36');
INSERT INTO "migrations" VALUES(11,'trial_terms','0.1.0','2026-11-28T07:26:41.895Z','7d5afce2');
INSERT INTO "migrations" VALUES(12,'traffic','0.1.0','2026-11-28T07:26:41.895Z','a37b0477');
INSERT INTO "migrations" VALUES(13,'looked_through','0.1.0','2026-11-28T07:26:41.895Z','c6509edf');
INSERT INTO "migrations" VALUES(14,'vectors','0.1.0','2026-11-28T07:26:41.895Z','6420f0a5');
CREATE TABLE namespaces (
    name  TEXT PRIMARY KEY,
    model TEXT, -- the model it was first used with; NULL until then
    at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "namespaces" VALUES('math','m','2026-11-28T07:26:41.977Z','82792602');
CREATE TABLE openings (
    run      TEXT NOT NULL REFERENCES runs (id), -- the evaluation that measured on its tasks
    task_set TEXT NOT NULL, -- `id` of `task_sets`
    tasks    INTEGER NOT NULL, -- how many of them were measured
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, task_set)
);
INSERT INTO "openings" VALUES('run_46920f4b86338076','set_64784ddc91294745',1,'2026-11-28T07:26:42.080Z','8d27d4e3');
CREATE TABLE option_offsets (
    prior    TEXT NOT NULL REFERENCES priors (id),
    question TEXT NOT NULL,
    option   TEXT NOT NULL, -- JSON: the value of a choice, the label of a level, true or false of a predicate
    offset   REAL NOT NULL, -- nats
    z        REAL NOT NULL, -- the offset over its standard deviation
    evidence INTEGER NOT NULL, -- tasks that it was learned from
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (prior, question, option)
);
INSERT INTO "option_offsets" VALUES('prior_95e378192477f35a','question_db48cb9f0e16bcb0','"True"',0.0,0.0,30,'fad40f79');
INSERT INTO "option_offsets" VALUES('prior_95e378192477f35a','question_db48cb9f0e16bcb0','true',-0.5,-2.0,30,'85e0f98a');
INSERT INTO "option_offsets" VALUES('prior_95e378192477f35a','question_db48cb9f0e16bcb0','"spam"',0.5,2.0,30,'bd9e55cc');
CREATE TABLE origins (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    experience TEXT NOT NULL REFERENCES experiences (id),
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    tasks      TEXT NOT NULL, -- JSON list of the ids of its source tasks
    parent     TEXT, -- the experience that it replaces
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), checksum TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (namespace, experience, run, step)
);
INSERT INTO "origins" VALUES(1,'math','exp_4dd559cf810c6920','run_46920f4b86338076',1,'["task_4103157344fda46c"]',NULL,'2026-11-28T07:26:42.001Z','2456d7c6');
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
, details TEXT NOT NULL DEFAULT '{}');
INSERT INTO "outcomes" VALUES(1,'rejected','not promoted',1,1.0,0.0,NULL,NULL,1,0,'2026-11-28T07:26:42.076Z','61f1620f','{"failed":[0,0],"labels":{}}');
CREATE TABLE passes (
    validation INTEGER NOT NULL REFERENCES validations (id),
    number     INTEGER NOT NULL, -- from 1
    bet        REAL NOT NULL, -- fixed before the pass
    rewards    TEXT NOT NULL, -- JSON object: task id to [candidate's reward, live prior's]; null where there is none
    log_e      REAL NOT NULL, -- natural logarithm of the e-value after the pass
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum   TEXT NOT NULL DEFAULT '00000000', details TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (validation, number)
);
INSERT INTO "passes" VALUES(1,1,0.2,'{"task_4103157344fda46c":[1.0,null]}',0.0,'2026-11-28T07:26:42.065Z','d17f323d','{}');
CREATE TABLE prior_demonstrations (
    prior         TEXT NOT NULL REFERENCES priors (id),
    position      INTEGER NOT NULL,
    demonstration TEXT NOT NULL REFERENCES demonstrations (id),
    checksum      TEXT NOT NULL DEFAULT '00000000', vector TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (prior, position)
);
INSERT INTO "prior_demonstrations" VALUES('prior_b90305b72a4de3fd',0,'demo_8ac25a17e4401827','7b0e9e7d','');
INSERT INTO "prior_demonstrations" VALUES('prior_b90305b72a4de3fd',1,'demo_c2a6ba64adbd5c9b','f7473544','');
CREATE TABLE prior_experiences (
    prior      TEXT NOT NULL REFERENCES priors (id),
    position   INTEGER NOT NULL,
    experience TEXT NOT NULL REFERENCES experiences (id), checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (prior, position)
);
INSERT INTO "prior_experiences" VALUES('prior_0eea04c983d4bc52',0,'exp_4dd559cf810c6920','c8eeacca');
CREATE TABLE prior_questions (
    prior        TEXT NOT NULL REFERENCES priors (id),
    question     TEXT NOT NULL, -- hash of kind and instructions
    kind         TEXT NOT NULL, -- predicate, choice, score
    instructions TEXT NOT NULL, -- as the caller asks it: other words are another question
    checksum     TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (prior, question)
);
INSERT INTO "prior_questions" VALUES('prior_95e378192477f35a','question_9d8c0e217550ec6e','score','How much?','436faa38');
INSERT INTO "prior_questions" VALUES('prior_95e378192477f35a','question_db48cb9f0e16bcb0','choice','Which?','5242396e');
CREATE TABLE priors (
    id        TEXT PRIMARY KEY,
    tokenizer TEXT, -- fingerprint of the tokenizer that the token biases belong to
    template  TEXT NOT NULL, -- version of the template that renders the experiences
    parent    TEXT, -- may be a prior of another store
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
, checksum TEXT NOT NULL DEFAULT '00000000', instruction TEXT, nearest INTEGER NOT NULL DEFAULT 0, embedding TEXT NOT NULL DEFAULT '');
INSERT INTO "priors" VALUES('prior_0eea04c983d4bc52','tokenizer','template_1',NULL,'2026-11-28T07:26:42.016Z','c8c70b3f',NULL,0,'');
INSERT INTO "priors" VALUES('prior_b90305b72a4de3fd',NULL,'',NULL,'2026-11-28T07:26:42.035Z','fe24fd72','Count.',1,'');
INSERT INTO "priors" VALUES('prior_95e378192477f35a',NULL,'',NULL,'2026-11-28T07:26:42.039Z','62e91a4a',NULL,0,'');
CREATE TABLE probes (
    id       INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL, -- base URL, without key and query
    model    TEXT NOT NULL,
    found    TEXT NOT NULL, -- JSON object: logit_bias (honoured, rejected, inert, unknown), logprobs, tokenizer, ...
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "probes" VALUES(1,'http://127.0.0.1:8080/v1','m','{"kind":"other","logit_bias":"rejected","token_ids":false,"logprobs":false,"includes_bias":false,"includes_temperature":false,"tokenizer":"tokenizer_1","lacking":"","fractional":null,"id_names":false,"system_role":"unknown","shutdown_date":"","alternatives":0,"context":0}','2026-11-28T07:26:42.084Z','c670e175');
CREATE TABLE revocations (
    key      TEXT PRIMARY KEY REFERENCES keys (id),
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);
INSERT INTO "revocations" VALUES('1','2026-11-28T07:26:42.097Z','82a256f6');
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
    completion_tokens INTEGER NOT NULL, checksum TEXT NOT NULL DEFAULT '00000000', whole BLOB, variant TEXT NOT NULL DEFAULT '', feedback TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (group_id, sample)
);
INSERT INTO "rollouts" VALUES(1,0,'["exp_4dd559cf810c6920"]',X'785E8BAE562ACACF4955B2524A2C2ECE2C2E49CC2B51D2514ACECF2B4905B2AC944C946A6301E7430C1C','4',1.0,NULL,'',0,0,0,'9fd09807',NULL,'','');
CREATE TABLE run_tasks (
    run      TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    task     TEXT NOT NULL REFERENCES tasks (id), checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, position)
);
INSERT INTO "run_tasks" VALUES('run_46920f4b86338076',0,'task_4103157344fda46c','8b075661');
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
    ended             TEXT, checksum TEXT NOT NULL DEFAULT '00000000',
    UNIQUE (identity, attempt)
);
INSERT INTO "runs" VALUES('run_46920f4b86338076','run_46920f4b86338076',0,'learn','math','{"model":"m","system":"Be brief.","request":{"max_tokens":5},"temperature":0.7,"top_p":1.0}','{"seed":0}','exact',NULL,'running',0,0,0,'{}','2026-11-28T07:26:41.977Z',NULL,'65ce16f3');
CREATE TABLE task_sets (
    id       TEXT NOT NULL, -- hash of the ids of its tasks
    task     TEXT NOT NULL REFERENCES tasks (id),
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (id, task)
);
INSERT INTO "task_sets" VALUES('set_64784ddc91294745','task_4103157344fda46c','2026-11-28T07:26:42.052Z','9b3c993d');
CREATE TABLE tasks (
    id       TEXT PRIMARY KEY,
    input    TEXT NOT NULL, -- JSON: a text or a list of chat messages
    answer   TEXT NOT NULL, -- JSON
    metadata TEXT NOT NULL, -- JSON object
    count    INTEGER NOT NULL, -- how often the last file that held it repeated it
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
, checksum TEXT NOT NULL DEFAULT '00000000');
INSERT INTO "tasks" VALUES('task_4103157344fda46c','"What is 2 + 2?"','"4"','{"level":1}',1,'2026-11-28T07:26:41.958Z','25a202c5');
CREATE TABLE token_biases (
    prior    TEXT NOT NULL REFERENCES priors (id),
    token    INTEGER NOT NULL,
    piece    BLOB NOT NULL, -- the token's bytes
    bias     REAL NOT NULL, -- added to its logit, in nats at temperature 1
    z        REAL NOT NULL,
    evidence INTEGER NOT NULL, checksum TEXT NOT NULL DEFAULT '00000000', -- tasks whose mixed groups moved it
    PRIMARY KEY (prior, token)
);
INSERT INTO "token_biases" VALUES('prior_0eea04c983d4bc52',7,X'34',0.5,3.0,4,'6ec0b390');
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
    checksum    TEXT NOT NULL DEFAULT '00000000', claim TEXT NOT NULL DEFAULT 'these-tasks', statistic TEXT NOT NULL DEFAULT 'rewards',
    UNIQUE (namespace, task_set, attempt),
    UNIQUE (run, candidate)
);
INSERT INTO "validations" VALUES(1,'math','set_64784ddc91294745',1,'run_46920f4b86338076','prior_0eea04c983d4bc52',NULL,0.05,0.025,1,32,0,'2026-11-28T07:26:42.061Z','2ed6c167','these-tasks','rewards');
CREATE TABLE variants (
    run            TEXT NOT NULL REFERENCES runs (id),
    id             TEXT NOT NULL, -- hash of instruction, demonstrations and nearest
    source         TEXT NOT NULL, -- a name for people: frozen, 16 examples, draw 2, 8 nearest, written 1, live
    instruction    TEXT,
    nearest        INTEGER NOT NULL, -- 0: all demonstrations are shown; k: the k nearest to each request
    demonstrations TEXT NOT NULL, -- JSON list of demonstration ids, in order
    tokens         INTEGER NOT NULL, -- what it adds to a request
    at             TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum       TEXT NOT NULL DEFAULT '00000000', embedding TEXT NOT NULL DEFAULT '', vectors TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (run, id)
);
INSERT INTO "variants" VALUES('run_46920f4b86338076','variant_ac0c5849c13a9488','frozen',NULL,0,'[]',0,'2026-11-28T07:26:42.029Z','19101756','','[]');
INSERT INTO "variants" VALUES('run_46920f4b86338076','variant_751a7b62f0d75da2','1 nearest','Count.',1,'["demo_8ac25a17e4401827","demo_c2a6ba64adbd5c9b"]',31,'2026-11-28T07:26:42.029Z','d229e926','','[]');
CREATE INDEX calls_spent ON calls (run, stage, calls, prompt_tokens, completion_tokens);
CREATE INDEX canaries_of ON canaries (namespace);
CREATE INDEX decisions_of_experience ON decisions (namespace, experience);
CREATE UNIQUE INDEX decisions_of_run ON decisions (namespace, experience, run, step, verdict) WHERE run <> '';
CREATE INDEX feedback_of ON feedback (inference);
CREATE INDEX feedback_since ON feedback (namespace, id);
CREATE INDEX history_of ON history (namespace, id);
CREATE INDEX inferences_of ON inferences (namespace, at, variant, status, added, shadow_of);
CREATE INDEX inferences_shadows ON inferences (shadow_of) WHERE shadow_of IS NOT NULL;
CREATE INDEX lineage_of_prior ON lineage (namespace, prior);
CREATE UNIQUE INDEX lineage_of_run ON lineage (namespace, prior, state, run) WHERE run <> '' AND state <> 'superseded';
CREATE INDEX origins_of_experience ON origins (experience);
CREATE INDEX probes_of ON probes (upstream, model);
CREATE INDEX rollouts_seen ON rollouts (group_id, variant, reward);
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
CREATE VIEW group_list AS
SELECT groups.id AS group_id, groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior,
       count(*) AS rollouts, count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean,
       min(rollouts.reward) AS worst, max(rollouts.reward) AS best, sum(rollouts.error IS NOT NULL) AS errors
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
GROUP BY groups.id;
CREATE VIEW opening_list AS
SELECT runs.namespace, openings.task_set, openings.run, runs.parent AS prior, openings.tasks, openings.at
FROM openings
JOIN runs ON runs.id = openings.run;
CREATE VIEW pass_list AS
SELECT validations.namespace, validations.run, validations.candidate, passes.number, passes.bet, passes.log_e,
       count(pair.key) AS tasks, avg(pair.value ->> 0) AS candidate_mean, avg(pair.value ->> 1) AS live_mean, passes.at
FROM passes
JOIN validations ON validations.id = passes.validation
JOIN json_each(passes.rewards) AS pair
GROUP BY passes.validation, passes.number;
CREATE VIEW rollout_list AS
SELECT groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior, groups.id AS group_id,
       rollouts.sample, rollouts.reward, avg(rollouts.reward) OVER (PARTITION BY groups.id) AS group_mean,
       rollouts.text, rollouts.feedback, rollouts.error, rollouts.finish_reason, rollouts.included,
       rollouts.variant, variants.source AS variant_source, rollouts.prompt_tokens, rollouts.completion_tokens
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
LEFT JOIN variants ON variants.run = groups.run AND variants.id = rollouts.variant;
CREATE VIEW run_list AS
SELECT id, namespace, kind, json_extract(frame, '$.model') AS model, reward, attempt, status,
       (SELECT count(*) FROM run_tasks WHERE run_tasks.run = runs.id) AS tasks,
       calls, prompt_tokens, completion_tokens, result, started, ended
FROM runs;
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
CREATE VIEW variant_list AS
SELECT variants.run, variants.id, variants.source, variants.tokens, variants.nearest,
       json_array_length(variants.demonstrations) AS demonstrations, count(rollouts.sample) AS rollouts,
       count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean, sum(rollouts.error IS NOT NULL) AS errors
FROM variants
LEFT JOIN groups ON groups.run = variants.run
LEFT JOIN rollouts ON rollouts.group_id = groups.id AND rollouts.variant = variants.id
GROUP BY variants.run, variants.id;
COMMIT;
