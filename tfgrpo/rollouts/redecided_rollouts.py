"""The labels of rollouts decided again, as client and proxy do it, where an upstream refuses biases. Pure.

What is left of the log-probabilities are those of the label, under which it was decided: the tokens before and within
it, the last of them the one that was said. What follows was sampled without biases, and tells nothing of them.
"""

from dataclasses import replace
from random import Random

from ..hashing import derive_seed
from ..model.tokenizer import ends_answer
from ..records import Backend, Frame, Prior, Reply, TokenTrace
from ..surfaces.label_set import label_set
from ..surfaces.labels import Alternatives, ListedToken, Redecision, Sampling


def with_label_redecided(reply: Reply, prior: Prior, frame: Frame, backend: Backend, seed: int) -> Reply:
    """The answer that a prior's biases would have made of one, by the request's own seed."""
    labels, trace = label_set(frame.labels), reply.trace
    if labels is None or trace is None:
        return reply
    by_id = {entry.token: entry.bias for entry in prior.biases}
    by_piece = {entry.piece: entry.bias for entry in prior.biases}
    sampling = Sampling(by_piece, frame.temperature, frame.top_p, is_scaled=backend.includes_temperature)
    deciding, said, spelt, end = Redecision(labels, sampling, Random(derive_seed(seed, "label")).random), b"", b"", 0
    for row in range(len(trace.ids)):
        sampled, *others = _tokens(trace, row, by_id)
        looking, told = deciding.is_looking, deciding.see(sampled, Alternatives.of(others))
        if ends_answer(sampled.piece):
            end += looking and not deciding.is_looking
            said += told or b""
            break
        end += looking
        said, spelt = said + (sampled.piece if told is None else told), spelt + sampled.piece
    said += deciding.end()
    if spelt.decode(errors="replace").strip() != reply.text.strip():
        return reply
    known = _up_to(trace, end, deciding.chosen) if end else trace
    if not deciding.is_changed:
        return replace(reply, trace=known)
    text = said.decode(errors="replace").strip()
    ended = "stop" if deciding.is_dropping else reply.finish_reason
    return replace(reply, text=text, message={**reply.message, "content": text}, trace=known, finish_reason=ended)


def _tokens(trace: TokenTrace, row: int, biases: dict[int, float]) -> list[ListedToken]:
    pairs = zip(trace.ids[row].tolist(), trace.logprobs[row].tolist(), strict=True)
    return [ListedToken(trace.pieces[token], logprob, biases.get(token, 0.0)) for token, logprob in pairs if token >= 0]


def _up_to(trace: TokenTrace, end: int, chosen: ListedToken | None) -> TokenTrace:
    """The first positions, the last of which says what was chosen in place of what was sampled."""
    ids, logprobs = trace.ids[:end].copy(), trace.logprobs[:end].copy()
    if chosen is not None:
        pieces = [trace.pieces.get(token) for token in ids[-1].tolist()]
        at = pieces.index(chosen.piece)
        ids[-1, [0, at]], logprobs[-1, [0, at]] = ids[-1, [at, 0]], logprobs[-1, [at, 0]]
    return TokenTrace(ids, logprobs, trace.pieces)
