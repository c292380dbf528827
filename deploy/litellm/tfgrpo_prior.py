"""The live prior in a LiteLLM proxy, for those who stay there: a hook before each call, and nothing else.

Put this file beside LiteLLM's config.yaml, install tfgrpo where LiteLLM runs, and name the hook:

    litellm_settings:
      callbacks: tfgrpo_prior.hook

The prior comes from TFGRPO_STORE: a store, an exported prior, or the URL of a `tfgrpo serve`; TFGRPO_NAMESPACE says
which. Requests go out as they came while there is none, and for calls whose metadata holds `tfgrpo: off`.
"""

import logging
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from tfgrpo.serve.source import prior_source
from tfgrpo.surfaces.http import STANDARD, rewrite

_logger = logging.getLogger("tfgrpo")
_PATHS = {"completion": "/chat/completions", "acompletion": "/chat/completions", "text_completion": "/completions"}
"""By what LiteLLM calls them; other calls have no place for a prior here."""


class TfgrpoPrior(CustomLogger):  # type: ignore[misc] # LiteLLM is installed where this runs, and not for our checks
    """Adds the live prior to a call. What fails here is said, and fails no call."""

    def __init__(self) -> None:
        super().__init__()
        self._source = prior_source()

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> Any:
        """LiteLLM's own signature: `data` is the request, and what is returned is sent in its place."""
        path, metadata = _PATHS.get(call_type), data.get("metadata") or {}
        if path is None or metadata.get("tfgrpo") == "off":
            return data
        try:
            fields = ("model", "messages", "prompt", "logit_bias", "tools")
            body = {name: data[name] for name in fields if data.get(name) is not None}
            found = rewrite(STANDARD.dumps(body), self._source.current(), path=path)
            self._source.say(found.notice)
            if found.content is None:
                return data
            return {**data, **STANDARD.loads(found.content), "metadata": {**metadata, "tfgrpo_prior": found.prior}}
        except Exception:  # LiteLLM would answer its caller with it
            _logger.exception("the prior could not be added")
            return data


hook = TfgrpoPrior()
