"""One call of a frozen model: the upstream that answers it, what it costs, how answers and refusals are read, the
tokenizer; and `local`, the embedded model."""
