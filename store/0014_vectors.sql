-- Demonstrations may be chosen by the vectors of an embedding model: a prior, or a way to prompt, that does so names the
-- model, and keeps the vector of each of its demonstrations.

ALTER TABLE priors ADD COLUMN embedding TEXT NOT NULL DEFAULT ''; -- empty: by character trigrams, or none is chosen
ALTER TABLE prior_demonstrations ADD COLUMN vector TEXT NOT NULL DEFAULT ''; -- base64, a signed byte a number
ALTER TABLE variants ADD COLUMN embedding TEXT NOT NULL DEFAULT '';
ALTER TABLE variants ADD COLUMN vectors TEXT NOT NULL DEFAULT '[]'; -- JSON list of the demonstrations' vectors, in order
