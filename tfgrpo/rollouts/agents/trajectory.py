"""An agent's calls in one rollout taken together: one trajectory, one token trace. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...records import JSON, Message, Prior, TokenTrace, message_text
from ...surfaces.chat import with_prior
from ...surfaces.sureness import RememberedAnswers
from ...surfaces.surface import PLAIN, Manner
from .session import Call


def trajectory(calls: Sequence[Call], prior: Prior, answer: str | None, manner: Manner = PLAIN) -> tuple[Message, ...]:
    """Every message of a rollout once, in order: what the agent sent, what the model replied, tool calls and results.

    A request that begins with a conversation so far goes on with it; any other begins another, after it. Each shows
    what its last request was given of the prior. An answer that the model did not say in these words stands at the end.
    """
    threads: list[list[Message]] = []
    vectors: dict[int, str] = {}
    for call in calls:
        known = [thread for thread in threads if _begins_with(call.messages, thread)]
        if known:
            thread = max(known, key=len)
        else:
            threads.append(thread := [])
        thread += [*call.messages[len(thread) :], call.reply.message]
        vectors[id(thread)] = call.vector
    answers = RememberedAnswers()
    for call in calls:
        if call.sureness:
            answers.add(call.messages, call.reply.message, call.sureness)
    shown: list[Message] = []
    for thread in threads:
        *asked, reply = thread
        given = manner._replace(sureness=answers.before(asked), vector=vectors[id(thread)])
        shown += [*with_prior({"messages": asked}, prior, given)["messages"], reply]
    if answer is not None and not (shown and message_text(shown[-1]).strip() == answer.strip()):
        shown.append({"role": "assistant", "content": answer})
    return tuple(shown)


def _begins_with(messages: Sequence[Message], thread: Sequence[Message]) -> bool:
    """Compared by what was said: libraries write a reply back with other empty fields than it came with."""
    count = len(thread)
    return len(messages) >= count and list(map(_said, messages[:count])) == list(map(_said, thread))


def _said(message: Message) -> tuple[JSON, ...]:
    calls = message.get("tool_calls") or ()
    functions = [call.get("function") if isinstance(call, Mapping) else call for call in calls]
    named = [(one.get("name"), one.get("arguments")) if isinstance(one, Mapping) else one for one in functions]
    return message.get("role"), message_text(message), named


def joined(traces: Sequence[TokenTrace | None]) -> TokenTrace | None:
    """The tokens of all calls as one trace: the gradient of a trajectory's log-probability is a sum over its tokens."""
    known = [trace for trace in traces if trace is not None]
    if not known:
        return None
    width = max(trace.ids.shape[1] for trace in known)
    ids = [np.pad(one.ids, ((0, 0), (0, width - one.ids.shape[1])), constant_values=-1) for one in known]
    logprobs = [
        np.pad(one.logprobs, ((0, 0), (0, width - one.logprobs.shape[1])), constant_values=-np.inf) for one in known
    ]
    pieces = {token: piece for one in known for token, piece in one.pieces.items()}
    return TokenTrace(np.concatenate(ids), np.concatenate(logprobs), pieces)
