"""Chat templates of models: how it is known that one has refused a conversation. Pure."""

import re

_WORDS = re.compile(
    r"chat[ _]?template|jinja|raise_exception|system (?:role|message)s? (?:is |are )?(?:not|must|should|only)"
    r"|conversation roles must|roles must alternate|only user and assistant roles",
    re.IGNORECASE,
)


def is_template_error(words: str) -> bool:
    """Whether a server's refusal is that of the model's chat template: the same request can never succeed."""
    return _WORDS.search(words) is not None
