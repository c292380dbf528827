-- A prior may hold offsets: what is added to the log-probability of each option of a question that the decisions API is
-- asked.

CREATE TABLE prior_questions (
    prior        TEXT NOT NULL REFERENCES priors (id),
    question     TEXT NOT NULL, -- hash of kind and instructions
    kind         TEXT NOT NULL, -- predicate, choice, score
    instructions TEXT NOT NULL, -- as the caller asks it: other words are another question
    checksum     TEXT NOT NULL DEFAULT '00000000',
    PRIMARY KEY (prior, question)
);

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
