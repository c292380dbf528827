"""A prior as one text, demonstrations included, where a surface has no turns. Pure."""

from collections.abc import Sequence

from ..prompts import template
from ..records import JSON, Demonstration, Prior
from .chat import prior_text
from .surface import PLAIN, Manner, shown_demonstrations, turns_text
from .triggers import always_on


def render_demonstrations(demonstrations: Sequence[Demonstration]) -> str:
    """Demonstrations as the model reads them in a text; empty when there are none."""
    if not demonstrations:
        return ""
    return template("examples").render(examples="\n\n".join(turns_text(entry) for entry in demonstrations))


def whole_text(prior: Prior, asked: Sequence[JSON], manner: Manner = PLAIN) -> str:
    """All that a prior says to a request that asks so, in one text, but for what waits for a moment."""
    shown = shown_demonstrations(prior, asked, manner) if prior.demonstrations else ()
    return "\n\n".join(filter(None, (prior_text(always_on(prior)), render_demonstrations(shown))))
