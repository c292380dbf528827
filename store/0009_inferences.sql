-- What calls in use came to: the calls themselves, where they are kept, and what they were worth; and at what share of
-- calls a canary is tried.

CREATE TABLE inferences (
    id        TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    prior     TEXT, -- NULL: it had none
    variant   TEXT NOT NULL, -- the state that the prior was in: live, ungated, canary; none
    surface   TEXT NOT NULL, -- the API: chat, responses, messages, completions, decisions
    model     TEXT NOT NULL,
    status    INTEGER NOT NULL, -- of the answer, by HTTP
    seconds   REAL NOT NULL, -- until it was there, or had begun to come
    request   BLOB NOT NULL, -- zlib of JSON, as the caller wrote it; what looks like a secret is left out
    response  BLOB NOT NULL, -- zlib of JSON or of a stream of events
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);

CREATE INDEX inferences_of ON inferences (namespace, at);

CREATE TABLE feedback (
    id        INTEGER PRIMARY KEY,
    inference TEXT NOT NULL, -- which may not have been kept
    namespace TEXT NOT NULL,
    prior     TEXT, -- NULL: none, or not known
    variant   TEXT NOT NULL,
    reward    REAL NOT NULL, -- from 0 to 1
    comment   TEXT NOT NULL,
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);

CREATE INDEX feedback_of ON feedback (inference);

CREATE TABLE canaries (
    id        INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    prior     TEXT NOT NULL REFERENCES priors (id),
    share     REAL NOT NULL, -- of calls; the latest of a prior counts while its state is canary
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum  TEXT NOT NULL DEFAULT '00000000'
);

CREATE INDEX canaries_of ON canaries (namespace);
