"""The request of one rollout before the prior, with every sampling setting stated. Pure."""

from collections.abc import Mapping

from ..records import JSON, Backend, ChatBody, Frame, Task

_LLAMA_CPP_OFF: Mapping[str, JSON] = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
_VLLM_OFF: Mapping[str, JSON] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
SAMPLERS_OFF = {"llama.cpp": _LLAMA_CPP_OFF, "vllm": _VLLM_OFF}
"""Servers' hidden sampling defaults, switched off: else the policy sampled is not the one that is measured."""


def sampling(frame: Frame, backend: Backend, seed: int) -> dict[str, JSON]:
    """Every sampling setting, stated."""
    off = SAMPLERS_OFF.get(backend.kind, {})
    return {"temperature": frame.temperature, "top_p": frame.top_p, "seed": seed, **off}


def request_body(frame: Frame, backend: Backend, task: Task, seed: int) -> ChatBody:
    """The request for one attempt, before the prior."""
    system = [{"role": "system", "content": frame.system}] if frame.system else []
    messages = [*system, *task.messages]
    return {"model": frame.model, "messages": messages, **frame.request, **sampling(frame, backend, seed)}
