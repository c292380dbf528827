"""The files of youtu-agent (TencentCloudADP): an agent's YAML with experiences in it, or their JSON. Pure.

Its experiences are lines of the form `[G0]. text` at the end of `agent.instructions`, or a JSON object of such names
and texts. Nothing in them was measured, so they are texts to be tried, not a prior.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..records import JSON, Frame, Prior
from ..text import is_unicode, shortened

if TYPE_CHECKING:
    from yaml import Node

YAML_CHARS = 200_000
"""Characters of YAML that are read at most; its parser is slow."""
MOST_READ = 300
"""Experiences that are taken from one file at most."""

_MARK = re.compile(r"^[ \t]*\[\w{1,12}\]\.\s+", re.MULTILINE)
_HEADER = "# @package _global_\n"
_LEAD = "Experiences from earlier attempts; read them before you start:"


@dataclass(frozen=True, slots=True)
class Texts:
    """Experiences without evidence, in the order of their file."""

    texts: tuple[str, ...]
    model: str | None = None
    """The model that they were learned on, where the file says so."""


def read_agent(source: str, text: str) -> Texts:
    """The experiences of an agent's YAML; raises InputError for anything else."""
    import yaml

    if len(text) > YAML_CHARS:
        raise InputError(f"{source}: {len(text):,} characters of YAML; at most {YAML_CHARS:,} are read")
    try:
        agent = yaml.compose(text, Loader=yaml.SafeLoader)  # nodes only: what is built from merge keys can be endless
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{source}: neither JSON nor YAML that can be read: {shortened(error)}") from error
    instructions = _scalar(agent, "agent", "instructions")
    if instructions is None:
        raise InputError(
            f"{source}: no agent configuration of youtu-agent, which has its experiences in agent.instructions; nor a"
            " prior of tfgrpo prior export"
        )
    _, *texts = _MARK.split(instructions)
    return _texts(source, texts, _scalar(agent, "model", "model_provider", "model"))


def read_experiences(source: str, value: JSON) -> Texts:
    """The experiences of a JSON object of names and texts, or of the list or object under `experiences` in it."""
    held = value.get("experiences", value) if isinstance(value, dict) else value
    texts = list(held.values()) if isinstance(held, dict) else held
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{source}: neither a prior of tfgrpo prior export nor experiences of youtu-agent, which are"
                         ' one JSON object of texts, such as {"G0": "..."}')  # fmt: skip
    return _texts(source, texts, None)


def agent_yaml(prior: Prior, frame: Frame) -> str:
    """An agent for youtu-agent with the prior's experiences in its instructions; it has no place for token biases."""
    import yaml

    lines = [f"[G{place}]. {' '.join(entry.text.split())}" for place, entry in enumerate(prior.experiences)]
    parts = [frame.system or "You are a helpful assistant.", prior.instruction, "\n".join([_LEAD, *lines])]
    instructions = "\n\n".join(filter(None, parts))
    agent = {
        "defaults": ["_self_"],
        "type": "simple",
        "model": {
            "model_provider": {"type": "chat.completions", "model": frame.model},
            "model_settings": {"temperature": frame.temperature, "top_p": frame.top_p},
        },
        "agent": {"name": prior.id, "instructions": instructions},
    }
    return _HEADER + yaml.safe_dump(agent, sort_keys=False, allow_unicode=True)


def _texts(source: str, texts: list[str], model: str | None) -> Texts:
    for place, text in enumerate(texts):
        if not is_unicode(text):
            raise InputError(f"{source}: experience {place} holds half a surrogate pair, which is no character")
    found = tuple(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    if not found:
        raise InputError(f"{source}: no experiences in it; youtu-agent writes each as [G0]. and its text")
    if len(found) > MOST_READ:
        raise InputError(f"{source}: {len(found):,} experiences; at most {MOST_READ:,} are read")
    return Texts(found, model)


def _scalar(node: "Node | None", *names: str) -> str | None:
    """The text at a path of mappings, or None."""
    from yaml import MappingNode, ScalarNode

    for name in names:
        pairs = node.value if isinstance(node, MappingNode) else ()
        node = next((value for key, value in pairs if key.value == name), None)
    return str(node.value) if isinstance(node, ScalarNode) else None
