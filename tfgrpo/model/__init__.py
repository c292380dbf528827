"""One call of a frozen model: the upstream, what it may cost, how its answers are read, the tokenizer; and `local`, the
embedded model."""
