-- A prior may hold a way to prompt: an instruction, and demonstrations, worked examples that are shown as turns of their
-- own. A run that compares ways to prompt writes them down as `variants`, and with each rollout the one it was made under.

CREATE TABLE demonstrations (
    id       TEXT PRIMARY KEY,
    input    TEXT NOT NULL, -- JSON: a text or a list of chat messages
    answer   TEXT NOT NULL, -- as the assistant gives it
    task     TEXT NOT NULL, -- the task that it is taken from; may be one of another store, empty where none is known
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);

CREATE TABLE prior_demonstrations (
    prior         TEXT NOT NULL REFERENCES priors (id),
    position      INTEGER NOT NULL,
    demonstration TEXT NOT NULL REFERENCES demonstrations (id),
    checksum      TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (prior, position)
);

CREATE TABLE variants (
    run            TEXT NOT NULL REFERENCES runs (id),
    id             TEXT NOT NULL, -- hash of instruction, demonstrations and nearest
    source         TEXT NOT NULL, -- a name for people: frozen, 16 examples, draw 2, 8 nearest, written 1, live
    instruction    TEXT,
    nearest        INTEGER NOT NULL, -- 0: all demonstrations are shown; k: the k nearest to each request
    demonstrations TEXT NOT NULL, -- JSON list of demonstration ids, in order
    tokens         INTEGER NOT NULL, -- what it adds to a request
    at             TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum       TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (run, id)
);

ALTER TABLE priors ADD COLUMN instruction TEXT;
ALTER TABLE priors ADD COLUMN nearest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN variant TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN feedback TEXT NOT NULL DEFAULT '';

DROP VIEW rollout_list;
CREATE VIEW rollout_list AS
SELECT groups.run, groups.step, groups.task, tasks.input, tasks.answer, groups.prior, groups.id AS group_id,
       rollouts.sample, rollouts.reward, avg(rollouts.reward) OVER (PARTITION BY groups.id) AS group_mean,
       rollouts.text, rollouts.feedback, rollouts.error, rollouts.finish_reason, rollouts.included,
       rollouts.variant, variants.source AS variant_source, rollouts.prompt_tokens, rollouts.completion_tokens
FROM groups
JOIN tasks ON tasks.id = groups.task
JOIN rollouts ON rollouts.group_id = groups.id
LEFT JOIN variants ON variants.run = groups.run AND variants.id = rollouts.variant;

CREATE VIEW variant_list AS
SELECT variants.run, variants.id, variants.source, variants.tokens, variants.nearest,
       json_array_length(variants.demonstrations) AS demonstrations, count(rollouts.sample) AS rollouts,
       count(rollouts.reward) AS scored, avg(rollouts.reward) AS mean, sum(rollouts.error IS NOT NULL) AS errors
FROM variants
LEFT JOIN groups ON groups.run = variants.run
LEFT JOIN rollouts ON rollouts.group_id = groups.id AND rollouts.variant = variants.id
GROUP BY variants.run, variants.id;
