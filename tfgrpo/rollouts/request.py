"""The request of one rollout before the prior, with every sampling setting stated. Pure."""

from collections.abc import Mapping
from json import dumps

from ..errors import InputError
from ..records import JSON, Backend, ChatBody, Frame, Task
from ..settings import RESERVED_FIELDS
from ..text import is_unicode

_LLAMA_CPP_OFF: Mapping[str, JSON] = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
_VLLM_OFF: Mapping[str, JSON] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
SAMPLERS_OFF = {"llama.cpp": _LLAMA_CPP_OFF, "vllm": _VLLM_OFF}
"""Servers' hidden sampling defaults, switched off: else the policy sampled is not the one that is measured."""


def request_frame(
    model: str,
    system: str | None = None,
    request: Mapping[str, JSON] | None = None,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    source: str = "request",
) -> Frame:
    """The frame of a model's requests; `temperature` and `top_p` win over what `request`, from `source`, says of them.

    Raises InputError, which names the source, for fields that no request could have.
    """
    if not (isinstance(system, str | None) and isinstance(request, Mapping | None)):
        raise InputError(f"{source}: the system prompt is text, and the other fields are a dict")
    fields = dict(request or {})
    try:
        text = dumps(fields, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: not JSON: {error}") from error
    if not is_unicode(text):
        raise InputError(f"{source}: it holds half a surrogate pair, which is no character")
    if refused := sorted(set(fields) & set(RESERVED_FIELDS)):
        raise InputError(f"{source}: {', '.join(refused)} cannot be set here")
    said = {"temperature": fields.pop("temperature", None), "top_p": fields.pop("top_p", None)}
    given = {"temperature": temperature, "top_p": top_p}
    numbers = {name: said[name] if value is None else value for name, value in given.items()}
    stated = {name: _number(source, name, value) for name, value in numbers.items() if value is not None}
    return Frame(model, system or None, fields, **stated)


def _number(source: str, name: str, value: JSON) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{source}: {name} is {value!r}; it must be a number")
    return float(value)


def sampling(frame: Frame, backend: Backend, seed: int) -> dict[str, JSON]:
    """Every sampling setting, stated."""
    off = SAMPLERS_OFF.get(backend.kind, {})
    return {"temperature": frame.temperature, "top_p": frame.top_p, "seed": seed, **off}


def telling(backend: Backend, alternatives: int) -> dict[str, JSON]:
    """What asks for log-probabilities, of so many alternatives a token, with ids where they come when asked for."""
    by_id = {"return_tokens_as_token_ids": True} if backend.id_names else {}
    return {"logprobs": True, "top_logprobs": alternatives, **by_id}


def request_body(frame: Frame, backend: Backend, task: Task, seed: int) -> ChatBody:
    """The request for one rollout, before the prior."""
    system = [{"role": "system", "content": frame.system}] if frame.system else []
    messages = [*system, *task.messages]
    return {"model": frame.model, "messages": messages, **frame.request, **sampling(frame, backend, seed)}
