"""The prior less what an upstream cannot honour."""

from dataclasses import replace

from ..model.upstream import Upstream
from ..observer import Observer
from ..records import Backend, Prior


def usable(prior: Prior, backend: Backend, upstream: Upstream, observer: Observer) -> Prior:
    """The prior, less a token prior that means nothing to this upstream; says so."""
    if not prior.biases:
        return prior
    if backend.logit_bias == "unknown":
        why = f"; {backend.lacking}" if backend.lacking else ""
        observer.note(f"token prior left out: {upstream.name} could not be seen to honour logit_bias{why}")
    elif backend.logit_bias != "honoured":
        observer.note(f"token prior left out: {upstream.name} does not honour logit_bias ({backend.logit_bias})")
    elif prior.tokenizer != backend.tokenizer:
        observer.note(f"token prior left out: it belongs to another tokenizer than that of {upstream.name}")
    else:
        return prior
    return replace(prior, biases=(), tokenizer=None)
