-- What people look through while it grows: the rewards of a run by step and way to prompt, and what its calls have cost,
-- are told from an index alone, however long its rollouts and answers are.

CREATE INDEX rollouts_seen ON rollouts (group_id, variant, reward);
CREATE INDEX calls_spent ON calls (run, stage, calls, prompt_tokens, completion_tokens);
