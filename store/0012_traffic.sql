-- Calls in use by the hundred thousand a day: what each was is a short row, its request and answer stand in a table of
-- their own, where they were kept at all. What chance decided for a call is written down with its probability; feedback
-- may be a label in place of a reward; and whatever tfgrpo or a person did to what is served is a row of the history.

CREATE TABLE bodies (
    call     INTEGER PRIMARY KEY, -- number of the call
    request  BLOB NOT NULL, -- zlib of JSON, as the caller wrote it; what looks like a secret is left out
    response BLOB NOT NULL, -- zlib of JSON or of a stream of events
    checksum TEXT NOT NULL DEFAULT '00000000'
);

CREATE TABLE calls_in_use (
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

INSERT INTO calls_in_use (number, id, namespace, prior, variant, surface, model, status, seconds, at)
SELECT rowid, id, namespace, prior, variant, surface, model, status, seconds, at FROM inferences;
INSERT INTO bodies (call, request, response) SELECT rowid, request, response FROM inferences;
DROP TABLE inferences;
ALTER TABLE calls_in_use RENAME TO inferences;

CREATE INDEX inferences_of ON inferences (namespace, at, variant, status, added, shadow_of);
CREATE INDEX inferences_shadows ON inferences (shadow_of) WHERE shadow_of IS NOT NULL;

CREATE TABLE said_of_calls (
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

INSERT INTO said_of_calls (id, inference, namespace, prior, variant, reward, comment, at)
SELECT id, inference, namespace, prior, variant, reward, comment, at FROM feedback;
DROP TABLE feedback;
ALTER TABLE said_of_calls RENAME TO feedback;

CREATE INDEX feedback_of ON feedback (inference);
CREATE INDEX feedback_since ON feedback (namespace, id);

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

CREATE INDEX history_of ON history (namespace, id);
