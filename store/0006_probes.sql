-- What upstreams honour, as `probe` measured it: learning, clients and proxies go by the latest of each.

CREATE TABLE probes (
    id       INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL, -- base URL, without key and query
    model    TEXT NOT NULL,
    found    TEXT NOT NULL, -- JSON object: logit_bias (honoured, rejected, inert, unknown), logprobs, tokenizer, ...
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum TEXT NOT NULL DEFAULT '00000000'
);

CREATE INDEX probes_of ON probes (upstream, model);
