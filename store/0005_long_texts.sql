-- The answer of an attempt is compressed where it is long; `text` then shows its beginning.

ALTER TABLE rollouts ADD COLUMN whole BLOB;
