-- Who may call the proxy: keys by their hashes, what each may spend, and what it has spent.

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

CREATE TABLE revocations (
    key      TEXT PRIMARY KEY REFERENCES keys (id),
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);

CREATE TABLE key_use (
    key      TEXT NOT NULL REFERENCES keys (id),
    day      TEXT NOT NULL, -- UTC
    calls    INTEGER NOT NULL,
    tokens   INTEGER NOT NULL, -- as the upstream's answers told
    checksum TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (key, day)
);
