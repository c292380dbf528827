"""A label that is decided again comes out as biases would have made it come out, and nothing else is touched."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.tables import each
from tfgrpo.records import JSON, Backend, Prior, TokenBias
from tfgrpo.surfaces.http import Rewrite, answers_decided
from tfgrpo.surfaces.label_set import LabelSet, label_set
from tfgrpo.surfaces.labels import Alternatives, ListedToken, Redecision, Sampling, chances
from tfgrpo.surfaces.redecided import (
    REDECIDED_HEADER,
    asking_for_logprobs,
    enums_of,
    listed_tokens,
    outcome_of,
    redeciding,
    without_lists,
)
from tfgrpo.surfaces.redecided_stream import RedecidedStream

P = {b"b": 0.5, b"tech": 0.2, b"sales": 0.2, b"The": 0.1}
BIASES = {b"tech": 2.0, b"b": -1.0, b"sales": 0.5}


def labels_of(*labels: str, quoted: bool = False) -> LabelSet:
    found = label_set(labels, quoted=quoted)
    assert found
    return found


def listed(p: Mapping[bytes, float], first: bytes, biases: Mapping[bytes, float]) -> list[ListedToken]:
    ordered = [first, *(piece for piece in p if piece != first)]
    return [ListedToken(piece, math.log(p[piece]), biases.get(piece, 0.0)) for piece in ordered]


def softmax(p: Mapping[bytes, float], biases: Mapping[bytes, float], heat: float) -> dict[bytes, float]:
    weights = {piece: share ** (1 / heat) * math.exp(biases.get(piece, 0.0) / heat) for piece, share in p.items()}
    return {piece: weight / sum(weights.values()) for piece, weight in weights.items()}


@pytest.mark.parametrize("heat", [0.5, 1.0, 1.7])
def test_answers_are_distributed_exactly_as_under_biases(heat: float) -> None:
    """Summed over what may be sampled; what begins no label has less under these biases, as it has by logit_bias."""
    labels, sampled, came = labels_of("billing", "technical", "sales"), softmax(P, {}, heat), dict.fromkeys(P, 0.0)
    for first, share in sampled.items():
        found = listed(P, first, BIASES)
        moves, undecided = chances(found, [labels.seen(one.piece)[0] for one in found], Sampling(BIASES, heat))
        assert undecided is None
        for one, chance in zip(found, moves, strict=True):
            came[one.piece] += share * chance
    wanted = softmax(P, BIASES, heat)
    assert all(abs(came[piece] - wanted[piece]) < 1e-12 for piece in P)


END = b"<|im_end|>"


def decide(
    labels: LabelSet, tokens: Sequence[tuple[bytes, Mapping[bytes, float]]], biases: Mapping[bytes, float], u: float
) -> tuple[str, Redecision]:
    """What is said in place of an answer of these tokens, each with what was likely there."""
    deciding, said = Redecision(labels, Sampling(biases), lambda: u), b""
    for piece, p in tokens:
        first, *others = listed(p or {piece: 1.0}, piece, biases)
        told = deciding.see(first, Alternatives.of(others))
        said += (b"" if piece == END else piece) if told is None else told
    return (said + deciding.end()).decode(), deciding


def test_labels_that_begin_alike_are_decided_at_the_first_token_that_differs() -> None:
    """p(post) = .7, p(pool) = .3 after "po"; every answer of both, at a thousand places of the draw."""
    after, biases = {b"st": 0.7, b"ol": 0.3}, {b"ol": 1.5}
    came, size = {"post": 0.0, "pool": 0.0}, 1_000
    for piece, share in after.items():
        for place in range(size):
            text, _ = decide(
                labels_of("post", "pool"), [(b"po", {}), (piece, after), (b".", {})], biases, (place + 0.5) / size
            )
            came[text.removesuffix(".")] += share / size
    wanted = softmax(after, biases, 1.0)
    assert came["pool"] == pytest.approx(wanted[b"ol"], abs=2 / size)


@each("seed", range(8))
def test_what_is_decided_without_labels_that_are_not_listed_is_no_farther_from_the_biased_policy(seed: int) -> None:
    """But for what p gives to those; in total variation, over all that may be sampled, with 5 of 14 tokens listed."""
    drawn = Random(seed)
    pieces = [b"b", b"tech", b"sales", *(b"x%d" % place for place in range(11))]
    weights = [drawn.random() ** 6 for _ in pieces]
    p = {piece: weight / sum(weights) for piece, weight in zip(pieces, weights, strict=True)}
    biases = {piece: drawn.uniform(0, 5) for piece in pieces[:3]}
    labels, likeliest = labels_of("billing", "technical", "sales"), sorted(pieces, key=lambda piece: -p[piece])[:5]
    came = dict.fromkeys(pieces, 0.0)
    for first in pieces:
        found = listed({piece: p[piece] for piece in {*likeliest, first}}, first, biases)
        missing = [bias for piece, bias in biases.items() if piece not in {*likeliest, first}]
        places = [labels.seen(one.piece)[0] for one in found]
        for one, chance in zip(found, chances(found, places, Sampling(biases), missing)[0], strict=True):
            came[one.piece] += p[first] * chance
    wanted = softmax(p, biases, 1.0)
    before, after = (sum(abs(each[piece] - wanted[piece]) for piece in pieces) / 2 for each in (p, came))
    assert after <= before + sum(p[piece] for piece in biases if piece not in likeliest) + 1e-9


def test_what_labels_that_begin_alike_would_gain_stays_with_what_was_sampled_and_the_others_are_decided() -> None:
    """Summed over what may be sampled: one that begins alone comes as under biases, the others as the model has it."""
    labels, biases = labels_of("billing", "sales", "tech support", "technical"), {b"tech": 1.0, b"sales": 1.5}
    came = dict.fromkeys(P, 0.0)
    for first, share in P.items():
        found = listed(P, first, biases)
        moves, why = chances(found, [labels.seen(one.piece)[0] for one in found], Sampling(biases))
        assert why == (None if first == b"tech" else "alike")
        for one, chance in zip(found, moves, strict=True):
            came[one.piece] += share * chance
    wanted = softmax(P, biases, 1.0)
    assert [came[piece] for piece in (b"sales", b"tech")] == pytest.approx([wanted[b"sales"], P[b"tech"]])
    assert sum(abs(came[piece] - wanted[piece]) for piece in P) / 2 == pytest.approx(wanted[b"tech"] - P[b"tech"])


def test_an_answer_that_is_none_becomes_a_listed_label_though_another_is_not_listed() -> None:
    few, biases = {b"The": 0.5, b"sales": 0.1, b"A": 0.01}, {b"sales": 4.0, b"tech": 4.0}
    text, found = decide(labels_of("technical", "sales"), [(b"The", few)], biases, 0.999)
    assert (text, found.is_changed, found.undecided) == ("sales", True, "unlisted")
    cold = Redecision(labels_of("technical", "sales"), Sampling({b"sales": 2.5, b"tech": 9.0}, 0.0), lambda: 0.0)
    assert cold.see(*_split(listed(few, b"The", {b"sales": 2.5}))) == b"sales"
    assert cold.undecided == "unlisted"


CASES: Sequence[tuple[str, Sequence[tuple[bytes, Mapping[bytes, float]]], str]] = (
    ("a label, and what stands around it", [(b' "', {}), (b"b", P), (b"illing", {}), (b'".', {})], ' "technical".'),
    ("a label and more words", [(b"b", P), (b"illing", {}), (b" since", {}), (b" x", {})], "technical since x"),
    ("no label: replaced as a whole", [(b"The", P), (b" answer", {}), (b" is", {})], "technical"),
    ("a longer word that begins as a label does", [(b"b", P), (b"illiards", {}), (b" x", {})], "technical"),
    ("a label within a text", [(b"I", {}), (b" say", {}), (b" ", {}), (b"b", P), (b"illing", {})], "I say billing"),
)


@each(("what", "tokens", "wanted"), CASES)
def test_the_label_is_another_and_the_rest_is_left_alone(
    what: str, tokens: Sequence[tuple[bytes, Mapping[bytes, float]]], wanted: str
) -> None:
    text, _ = decide(labels_of("billing", "technical", "sales"), tokens, {b"tech": 9.0}, 0.999)
    assert text == wanted


ANY_SCRIPT: Sequence[tuple[str, str, Mapping[str, float], str]] = (
    ("да нет", "ДА=.6|Нет=.4 。", {"Нет": 9.0}, "Нет。"),
    ("긍정 부정", "긍정=.6|부정=.4 입니다 .", {"부정": 9.0}, "부정"),
    ("긍정 부정", "긍정=.6|부정=.4 、 x", {"부정": 9.0}, "부정、x"),
    ("👍 👎", "👍=.6|👎=.4 !", {"👎": 9.0}, "👎!"),
    ("no none", "no _=.6|ne=.4", {"ne": 9.0}, "none"),
    ("no none", "no ne=.6|_=.4 _", {"ne": -9.0}, "no"),
    ("no none", "no ,but=.6|ne=.4 .", {"ne": 9.0}, "none,but."),
    ("no none", "no ne=.6|,but=.4 .", {"ne": -9.0}, "no."),
    ("C C++", "C ++.=.6|,=.4", {",": 9.0}, "C."),
    ("yes Yes no", "yes=.6|no=.4", {"no": 9.0}, "no"),
    ("C C++ C#", "C+=.6|C#=.4 +11", {"C#": 9.0}, "C#11"),
    ("да нет", "да😊=.6|нет=.4 !", {"нет": 9.0}, "нет😊!"),
    ("yes yes-sir no", "yes=.6|no=.4 -sir ens", {"no": 9.0}, "no-sirens"),
)
"""Labels; tokens, each with what was likely there, `_` ending an answer; biases; what is said."""


@each(("labels", "tokens", "biases", "wanted"), ANY_SCRIPT)
def test_labels_may_be_of_any_script_and_begin_one_another(
    labels: str, tokens: str, biases: Mapping[str, float], wanted: str
) -> None:
    def piece(text: str) -> bytes:
        return END if text == "_" else text.encode()

    came = []
    for token in tokens.split():
        likely = {piece(name): float(share or 1) for name, _, share in (one.partition("=") for one in token.split("|"))}
        came.append((next(iter(likely)), likely))
    text, _ = decide(labels_of(*labels.split()), came, {piece(name): bias for name, bias in biases.items()}, 0.999)
    assert text == wanted


@each(
    ("tokens", "wanted"),
    [
        ("4=.6|3=.4 . 5", "3"),
        ("4=.6|3=.4 .5 /5", "3"),
        ("4.=.6|3=.4 5", "3"),
        ("4.=.6|3=.4 So", "3.So"),
        ("4=.6|3=.4 ,000", "3"),
        ("4=.6|3=.4 0", "3"),
        ("4=.6|3=.4 /5", "3"),
        ("4=.6|3=.4 .", "3."),
        ("4=.6|3=.4 . _", "3."),
        ("4=.6|3=.4 . So", "3.So"),
        ("4=.6|3=.4 ½", "3"),
        ("-=.6|3=.4 4", "3"),
    ],
)
def test_a_label_that_is_a_number_is_no_part_of_another(tokens: str, wanted: str) -> None:
    """Alone it is another label; 4.5, 4,000, 40, 4/5 and -4 are none, and replaced as a whole."""
    came = []
    for token in tokens.split():
        likely = {name.encode(): float(share or 1) for name, _, share in (o.partition("=") for o in token.split("|"))}
        came.append((END, {}) if token == "_" else (next(iter(likely)), likely))
    labels = labels_of("1", "3", "4")
    assert decide(labels, came, {b"3": 9.0}, 0.999)[0] == wanted
    plain = "".join("" if piece == END else piece.decode() for piece, _ in came)
    assert decide(labels, came, {b"3": 9.0}, 0.0)[0] == plain
    assert labels.seen(plain.encode())[0] == (2 if plain in ("4.", "4.So") else -3)


def test_what_cannot_be_decided_is_left_and_said_why() -> None:
    labels, tokens = labels_of("billing", "tech support", "technical"), [(b"b", P), (b"illing", {})]
    text, found = decide(labels, tokens, {b"tech": 9.0}, 0.999)  # which of the two was never asked
    assert (text, found.undecided) == ("billing", "alike")
    few = {b"b": 0.5, b"sales": 0.2}
    text, found = decide(labels_of("billing", "technical", "sales"), [(b"b", few)], {b"tech": 4.0}, 0.999)
    assert (text, found.undecided) == ("b", "unlisted")
    text, found = decide(labels_of("billing", "technical"), [(b"b", few)], {b"other": 4.0}, 0.999)
    assert (text, found.undecided) == ("b", None)  # no label has that token
    text, found = decide(labels_of("billing", "technical"), [(b"b", {b"b": 0.9, b"x": 0.06})], {b"b": -4.0}, 0.999)
    assert (text, found.undecided) == ("b", "unlisted")  # it has no bias of its own, and would gain all the same
    text, found = decide(labels_of("billing", "sales"), [(b"b", {b"b": 0.5, b'"': 0.5})], {b"b": -4.0}, 0.999)
    assert (text, found.undecided) == ("b", "alike")  # quotes would have come, and then one or the other
    cold = Redecision(labels_of("billing", "sales"), Sampling({b"sales": 2.0}, temperature=0.0), lambda: 0.0)
    assert cold.see(*_split(listed(few, b"b", {b"sales": 2.0}))) == b"sales"


def _split(found: Sequence[ListedToken]) -> tuple[ListedToken, Alternatives]:
    return found[0], Alternatives.of(found[1:])


# Responses

PRIOR = Prior(biases=(TokenBias(0, b"tech", 60.0, 3.0, 9),))
"""Labels are drawn: by a bias of 9 one call in 1,600 would say what the model said."""
LABELS = ("billing", "technical", "sales")
HEARD = Backend("other", "rejected", token_ids=True, logprobs=True)


def entry(piece: bytes, p: Mapping[bytes, float] | None = None) -> dict[str, JSON]:
    shares = p or {piece: 1.0}
    told = {
        one: {"token": one.decode(errors="replace"), "bytes": list(one), "logprob": math.log(share)}
        for one, share in shares.items()
    }
    return {**told[piece], "top_logprobs": list(told.values())}


ENTRIES = [entry(b"b", P), entry(b"illing"), entry(b".")]


def chat(entries: Sequence[JSON] | None, text: str = "billing.") -> JSON:
    listed = {"logprobs": {"content": entries}} if entries is not None else {}
    return {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, **listed}]}


def to(body: Mapping[str, JSON], surface: Any = "chat", prior: Prior = PRIOR) -> Any:
    found = redeciding({"messages": [], "seed": 1, **body}, prior, LABELS, HEARD, surface)
    assert found
    return found


def test_a_chat_answer_is_another_with_the_original_beside_it_and_no_log_probabilities_that_nobody_asked_for() -> None:
    found = to({}).decided(chat(ENTRIES))
    choice = found.payload["choices"][0]
    assert choice["message"]["content"] == "technical."
    assert (choice["logprobs"], choice["tfgrpo_frozen"]) == (None, {"content": "billing."})
    assert found.marks == {REDECIDED_HEADER: "changed"}
    more = [*ENTRIES[:2], entry(b", because"), entry(b" it bills")]
    found = to({}).decided(chat(more, "billing, because it bills"))
    assert found.payload["choices"][0]["message"]["content"] == "technical, because it bills"
    assert found.marks == {REDECIDED_HEADER: "changed-before-text"}
    kept = to({"logprobs": True}).decided(chat(ENTRIES)).payload["choices"][0]
    assert kept["logprobs"] == {"content": ENTRIES}  # the caller's own


@each(
    ("payload", "told"),
    [
        (chat(None), "no-log-probabilities"),
        (chat([]), "no-log-probabilities"),
        (chat([{"token": "b"}, 7]), "no-log-probabilities"),
        (chat(ENTRIES, "billing, thinking left out."), "not-spelt"),
        (chat([entry(b"sales")], "sales"), "kept"),
        (chat(ENTRIES, ""), None),
        ({"choices": [None, {"message": 3}]}, None),
        ({"error": "x"}, None),
        ({"choices": 3}, None),
        ({"choices": {"index": 0}}, None),
        ("no JSON object", None),
    ],
)
def test_what_cannot_be_decided_again_passes_with_the_reason(payload: JSON, told: str | None) -> None:
    found = to({}).decided(payload)
    assert (found.moved, found.marks.get(REDECIDED_HEADER)) == (0, told)
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if isinstance(choices, list) and isinstance(choices[0], dict):
        assert found.payload["choices"][0]["message"] == payload["choices"][0]["message"]


SCHEMA = {"type": "object", "properties": {"why": {"type": "string"}, "queue": {"type": "string", "enum": [*LABELS]}}}
AS_JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}


@pytest.mark.parametrize(
    "cut", [[b'{"why": "b billing", "queue": "', b"b"], [b'{"why": "b billing", "queue": ', b'"b']]
)
def test_in_json_only_a_field_whose_values_are_listed_is_decided_again(cut: list[bytes]) -> None:
    lead, piece = cut
    p = {piece[: -len(b"b")] + one: share for one, share in P.items()}
    prior = Prior(biases=(TokenBias(1, piece[: -len(b"b")] + b"tech", 60.0, 3.0, 9),))
    entries = [entry(lead), entry(piece, p), entry(b"illing"), entry(b'"}')]
    text = '{"why": "b billing", "queue": "billing"}'
    found = to(AS_JSON, prior=prior).decided(chat(entries, text))
    said = found.payload["choices"][0]["message"]["content"]
    assert said == '{"why": "b billing", "queue": "technical"}'
    assert set(enums_of(SCHEMA)) == {b"queue"}
    twice = {"properties": {"a": {"enum": ["x", "y"]}, "b": {"properties": {"a": {"type": "string"}}}}}
    assert enums_of(twice) == {}  # one name, two meanings


class All:
    is_looking = True


@pytest.mark.parametrize(
    ("odd", "read"),
    [
        ({"token": "x", "bytes": None, "logprob": -2.0}, [b"x"]),
        ({"token": "x", "bytes": [120], "logprob": 0}, [b"x"]),
        ({"token": "x", "bytes": [120], "logprob": 1e-4}, [b"x"]),
        ({"token": "x", "bytes": [300], "logprob": -2.0}, [b"x"]),
        ({"token": "x", "bytes": 10**12, "logprob": -2.0}, [b"x"]),
        ({"token": "x", "bytes": [120], "logprob": 2.0}, []),
        ({"token": "x", "bytes": [120], "logprob": math.nan}, []),
        ({"token": "x", "bytes": [120], "logprob": True}, []),
        ({"token": "x", "bytes": [120]}, []),
        (7, []),
    ],
)
def test_of_alternatives_one_by_one_what_can_be_read_is(odd: JSON, read: list[bytes]) -> None:
    """All of them are read at once where none is odd, with the same result."""
    plain = entry(b"b", P)
    (_, others), (_, more) = (
        next(iter(listed_tokens([{**plain, "top_logprobs": given}], BIASES, All())))
        for given in (plain["top_logprobs"], [*plain["top_logprobs"], odd])
    )
    wanted = [ListedToken(piece, math.log(share), BIASES.get(piece, 0.0)) for piece, share in P.items()]
    assert [*map(ListedToken, *others)] == wanted
    assert [*map(ListedToken, *more)][: len(P)] == wanted
    assert [*more.pieces[len(P) :]] == read


class Forgetful(dict[bytes, int]):
    """As a map that another thread begins anew at any time."""

    def update(self, *given: object, **more: object) -> None:
        self.clear()


def test_what_tokens_lead_to_is_told_though_another_thread_forgets_it() -> None:
    labels = label_set(LABELS)
    assert labels is not None
    told = labels.each_leads(b"", [*P])
    labels._known[b""] = Forgetful()
    assert labels.each_leads(b"", [*P]) == told == [labels.leads(b"", piece) for piece in P]


@each("heat", [0.0, 0.3, 1.0])
@each("seed", range(6))
def test_what_leads_to_no_label_and_has_no_bias_may_be_counted_together(seed: int, heat: float) -> None:
    drawn = Random(seed)
    pieces = [b"b", b"tech", b"sales", b"x0", *(b"x%d" % place for place in range(1, 30))]
    logprobs = [math.log(drawn.random() / 40) for _ in pieces]
    biases = {piece: drawn.uniform(-2, 4) for piece in pieces[:4]}
    listed = [ListedToken(piece, logprobs[at], biases.get(piece, 0.0)) for at, piece in enumerate(pieces)]
    labels, first = labels_of("billing", "technical", "sales", "other"), seed % 4
    listed[0], listed[first] = listed[first], listed[0]
    places, missing = [labels.seen(one.piece)[0] for one in listed], [0.0]
    whole, why = chances(listed, places, Sampling(biases, heat), missing)
    few, also = chances(listed[:4], places[:4], Sampling(biases, heat), missing, [one.logprob for one in listed[4:]])
    assert few == pytest.approx(whole[:4])
    assert (also, sum(whole[4:])) == (why, 0.0)


@each("heat", [0.5, 1.0, 2.0])
@each("ruled_out", [-9_999.0, -3.4e38, -math.inf])
@each("is_plain", [False, True])
def test_tokens_that_a_grammar_has_ruled_out_say_nothing_of_those_that_are_not_listed(
    is_plain: bool, ruled_out: float, heat: float
) -> None:
    listed, sampling = [ListedToken(b"b", -0.5), ListedToken(b"tech", -1.0, 2.0)], Sampling({b"tech": 2.0}, heat)
    wanted, _ = chances(listed, [0, 1], sampling)
    odd = [ruled_out]
    more = [] if is_plain else [ListedToken(b"x", ruled_out)]
    found, _ = chances([*listed, *more], [0, 1, -3][: 2 + len(more)], sampling, (), odd if is_plain else ())
    assert found[:2] == pytest.approx(wanted)
    assert found[0] < 0.9


NASTY = ("}]", '"}]', "\\", "}]}", '\\"}]', '"top_logprobs":[{', "e\u0301}]", "x")


@each("separators", [(",", ":"), (", ", ": "), (",", " : ")])
@each("tokens", [("x", "y"), NASTY, ("x", "}]"), ('"top_logprobs":[{', '}],"a":"'), ("}]", "}]")])
@each("told", [False, True])
def test_a_response_is_the_same_whether_its_alternatives_are_cut_out_or_read(
    told: bool, tokens: Sequence[str], separators: tuple[str, str]
) -> None:
    """Whatever tokens look like; log-probabilities that the caller asked for come to the byte."""
    p = {**P, **{token.encode(): 0.01 for token in tokens}}
    payload = chat([entry(b"b", p), *(entry(one.encode(), {one.encode(): 1.0}) for one in ("illing", *tokens))])
    payload["choices"][0]["message"]["content"] = "billing" + "".join(tokens)
    payload |= {"extra": [{"top_logprobs": []}, {"top_logprobs": None}], "top_logprobs": [{"a": [{}]}]}
    content = json.dumps(payload, separators=separators).encode()
    doing = to({"logprobs": told})
    rewritten = Rewrite(b"", "p", deciding=doing)
    found = answers_decided(rewritten, 200, content)
    assert found
    assert json.loads(found[0]) == doing.decided(payload).payload
    assert found[1].marks == doing.decided(payload).marks
    cut = without_lists(content)
    assert cut.filled(cut.content) == content


def test_a_list_that_is_not_cut_as_it_is_leaves_the_answer_to_be_read_whole() -> None:
    listed = {**ENTRIES[0], "top_logprobs": [*ENTRIES[0]["top_logprobs"], 7], "a": [{}]}
    content = json.dumps(chat([listed, *ENTRIES[1:]]), separators=(",", ":")).encode()
    found = answers_decided(Rewrite(b"", "p", deciding=to({})), 200, content)
    assert found
    assert json.loads(found[0])["choices"][0]["message"]["content"] == "technical."
    broken = content.replace(b'"logprob":', b'"logprob"', 1)
    assert answers_decided(Rewrite(b"", "p", deciding=to({})), 200, broken) is None


@each("ends", [", 7]", " ]", ", null]"])
def test_no_token_is_lost_behind_a_list_that_ends_in_another_way(ends: str) -> None:
    chunk = of_tokens("illing, so", b"illing", b", so")
    content = events([piece_of(ENTRIES[0]), chunk])
    first = json.dumps(entry(b"illing"))
    content = content.replace(first.encode(), (first.removesuffix("]}") + ends + "}").encode())
    assert texts_told(b"".join(streamed(to({}), content, 500))) == "technical, so"


def test_no_request_is_touched_whose_answer_is_no_label() -> None:
    plain: Mapping[str, JSON] = {"messages": []}
    assert redeciding(plain, PRIOR, (), HEARD, "chat") is None
    assert redeciding({**plain, "tools": [{}]}, PRIOR, LABELS, HEARD, "chat") is None
    assert redeciding({**plain, "functions": [{}]}, PRIOR, LABELS, HEARD, "chat") is None
    assert redeciding({**plain, "reasoning_effort": "low"}, PRIOR, LABELS, HEARD, "chat") is None
    assert redeciding({"input": "x", "reasoning": {"effort": "high"}}, PRIOR, LABELS, HEARD, "responses") is None
    assert redeciding({"input": "x", "reasoning": {"effort": "none"}}, PRIOR, LABELS, HEARD, "responses")
    assert redeciding({**plain, "response_format": {"type": "json_object"}}, PRIOR, LABELS, HEARD, "chat") is None
    assert asking_for_logprobs({"logprobs": True, "top_logprobs": 3}, "chat") == {"logprobs": True, "top_logprobs": 3}
    more = asking_for_logprobs({"include": ["x"]}, "responses", 100)
    assert (more["include"], more["top_logprobs"]) == (["x", "message.output_text.logprobs"], 100)
    assert asking_for_logprobs({"top_logprobs": 3}, "responses", 100)["top_logprobs"] == 3
    own = asking_for_logprobs({"include": ["message.output_text.logprobs"]}, "responses", 100)
    assert own["top_logprobs"] == 20, "the caller sees them all"


@pytest.mark.parametrize(("known", "asked"), [(0, 20), (5, 5), (50, 50), (100, 100), (1_000, 100)])
def test_as_many_alternatives_are_asked_for_as_come_and_are_of_use(known: int, asked: int) -> None:
    found = redeciding({"messages": []}, PRIOR, LABELS, replace(HEARD, alternatives=known), "chat")
    assert found
    assert asking_for_logprobs({"model": "m"}, "chat", found.listed)["top_logprobs"] == asked


def test_a_seed_decides_and_other_seeds_differ() -> None:
    mild = Prior(biases=(TokenBias(1, b"tech", 1.0, 3.0, 9),))
    said = {
        seed: [
            to({"seed": seed}, prior=mild).decided(chat(ENTRIES)).payload["choices"][0]["message"]["content"]
            for _ in range(2)
        ]
        for seed in range(20)
    }
    assert all(one == other for one, other in said.values())
    assert {one for one, _ in said.values()} == {"billing.", "technical."}
    greedy = [to({"seed": seed, "top_p": 0}, prior=mild).decided(chat(ENTRIES)).payload for seed in range(9)]
    assert {one["choices"][0]["message"]["content"] for one in greedy} == {"technical."}


def test_several_answers_are_the_same_in_a_stream_as_at_once() -> None:
    """Whichever of them comes first; each has a draw of its own."""
    mild = Prior(biases=(TokenBias(1, b"tech", 1.0, 3.0, 9),))
    both = {"choices": [{**chat(ENTRIES)["choices"][0], "index": place} for place in (0, 1)]}
    chunks = [{"choices": [{**piece_of(one)["choices"][0], "index": place}]} for one in ENTRIES for place in (1, 0)]
    seen = set()
    for seed in range(20):
        whole = to({"seed": seed}, prior=mild).decided(both).payload["choices"]
        told = b"".join(streamed(to({"seed": seed}, prior=mild), events(chunks), 99))
        came = ["", ""]
        for line in told.split(b"\n\n"):
            for choice in json.loads(line[5:])["choices"] if line.startswith(b"data: {") else ():
                came[choice["index"]] += choice["delta"]["content"]
        assert came == [choice["message"]["content"] for choice in whole]
        seen.add(tuple(came))
    assert {("technical.", "billing."), ("billing.", "technical.")} <= seen


# Streams


def events(chunks: Sequence[JSON]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def streamed(to_do: Any, content: bytes, size: int) -> Iterator[bytes]:
    stream = RedecidedStream(to_do, json.loads, lambda value: json.dumps(value).encode())
    for at in range(0, len(content), size):
        yield stream.feed(content[at : at + size])
    yield stream.end()


def piece_of(one: Mapping[str, JSON], **more: JSON) -> JSON:
    delta = {"content": one["token"]}
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "logprobs": {"content": [one]}, **more}]}


def test_a_change_that_was_not_among_all_labels_says_so() -> None:
    prior = Prior(biases=(TokenBias(0, b"sales", 60.0, 3.0, 9), TokenBias(1, b"tech", 60.0, 3.0, 9)))
    few = entry(b"b", {b"b": 0.5, b"sales": 0.2})
    for tail, told in ((), "changed; unlisted"), ((entry(b" for you"),), "changed-before-text; unlisted"):
        found = to({}, prior=prior).decided(chat([few, entry(b"illing"), *tail], "billing" + " for you" * bool(tail)))
        assert found.marks == {REDECIDED_HEADER: told}
        stream = RedecidedStream(to({}, prior=prior), json.loads, lambda body: json.dumps(body).encode())
        for one in (few, entry(b"illing"), *tail):
            stream.feed(b"data: " + json.dumps(piece_of(one)).encode() + b"\n\n")
        assert stream.outcome == told
    assert outcome_of(["kept", "changed; unlisted", "changed-before-text"]) == "changed-before-text; unlisted"
    assert [outcome_of(tags) for tags in ([], ["kept"], ["unlisted", "kept", "alike"])] == ["", "kept", "alike"]


@pytest.mark.parametrize("size", [1, 17, 100_000])
def test_a_stream_holds_back_the_label_alone(size: int) -> None:
    opening = {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    ended = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    rest = [piece_of(entry(word)) for word in (b" since", b" it")]
    content = events([opening, *map(piece_of, ENTRIES[:2]), *rest, ended])
    told = b"".join(streamed(to({}), content, size))
    chunks = [json.loads(line[5:]) for line in told.split(b"\n\n") if line.startswith(b"data: {")]
    said = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert said == ["", "technical", "", " since", " it", None]
    assert told.endswith(b"data: [DONE]\n\n")
    assert b"top_logprobs" not in told


def test_a_stream_of_responses_says_the_same_label_in_every_event() -> None:
    place = {"output_index": 0, "content_index": 0, "item_id": "m"}
    part = {"type": "output_text", "text": "billing.", "logprobs": ENTRIES}
    item = {"type": "message", "content": [part]}
    deltas = [
        {"type": "response.output_text.delta", **place, "delta": one["token"], "logprobs": [one]} for one in ENTRIES
    ]
    done = [
        {"type": "response.output_text.done", **place, "text": "billing.", "logprobs": ENTRIES},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"output": [item]}},
    ]
    told = b"".join(streamed(to({"input": "x"}, "responses"), events([*deltas, *done]), 50))
    found = [json.loads(line[5:]) for line in told.split(b"\n\n") if line.startswith(b"data: {")]
    assert [one["delta"] for one in found if "delta" in one] == ["technical", "", "."]  # each has its number
    assert found[-4]["text"] == found[-3]["part"]["text"] == "technical."
    assert found[-2]["item"]["content"][0]["text"] == "technical."
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "technical."
    assert found[-1]["response"]["output"][0]["content"][0]["tfgrpo_frozen"] == {"text": "billing."}
    whole = to({"input": "x"}, "responses").decided({"output": [item]})
    assert whole.payload["output"][0]["content"][0]["text"] == "technical."


@each("size", [1, 10_000])
@each(
    ("tokens", "wanted"),
    [
        ((b"no", b"ne"), ["", "none"]),
        ((b"no", b"\0"), ["no", ""]),
        ((b"no", b"\0", b"ne"), ["", "", "none"]),
        ((b"no",), ["no"]),
        ((b' "', b"no"), [' "', "no"]),
        ((b"yes", b" ok"), ["none", " ok"]),
        ((b"no", b" way"), ["", "no way"]),
    ],
)
def test_events_of_responses_keep_their_numbers_names_and_order(
    size: int, tokens: Sequence[bytes], wanted: Sequence[str]
) -> None:
    """Whatever comes between them; a token of 0 is one that ends the answer, with no text."""
    kinds, place = "response.output_text.delta", {"output_index": 0, "content_index": 0, "item_id": "m"}
    sent: list[JSON] = [{"type": "response.created"}]
    for token in tokens:
        listed = entry(END if token == b"\0" else token, {token: 0.6, b"none": 0.4} if token == b"yes" else None)
        text = "" if token == b"\0" else token.decode()
        sent += [{"type": kinds, **place, "delta": text, "logprobs": [listed]}, {"type": "keepalive"}]
    sent += [{"type": "response.output_text.done", **place, "text": "x"}, {"type": "response.done"}]
    content = b"".join(
        b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps({**one, "sequence_number": at}).encode())
        for at, one in enumerate(sent)
    )
    doing = replace(to({}, "responses"), labels=label_set(("no", "none", "yes")), sampling=Sampling({b"none": 60.0}))
    told = b"".join(streamed(doing, content, size)).strip().split(b"\n\n")
    found = [json.loads(one.partition(b"data:")[2]) for one in told]
    assert [one["sequence_number"] for one in found] == [*range(len(sent))]
    assert [one.partition(b"\n")[0].decode() for one in told] == [f"event: {one['type']}" for one in sent]
    assert [one["delta"] for one in found if "delta" in one] == wanted


@each("separators", [(",", ":"), (", ", ": ")])
@each("told", [False, True])
def test_a_stream_is_the_same_whatever_its_tokens_look_like(told: bool, separators: tuple[str, str]) -> None:
    p = {**P, **{token.encode(): 0.01 for token in NASTY}}
    entries = [entry(b"b", p), *(entry(one.encode(), {**p, one.encode(): 0.5}) for one in ("illing", " }]", *NASTY))]
    chunks = [{**piece_of(one), "extra": [{"top_logprobs": [{"a": one}]}]} for one in entries]
    lines = [b"data: " + json.dumps(chunk, separators=separators).encode() + b"\r\n\r\n" for chunk in chunks]
    text = "".join(one["token"] for one in entries)
    found = b"".join(streamed(to({"logprobs": told}), b"".join(lines), 777)).replace(b"\r", b"").split(b"\n\n")
    came = [json.loads(one.partition(b"data:")[2]) for one in found if one.strip()]
    whole = to({"logprobs": told}).decided(chat(entries, text)).payload["choices"][0]["message"]["content"]
    assert "".join(one["choices"][0]["delta"]["content"] for one in came) == whole == "technical" + text[7:]
    assert [one["extra"] for one in came] == [chunk["extra"] for chunk in chunks]
    assert [one["choices"][0]["logprobs"] for one in came] == [
        chunk["choices"][0]["logprobs"] if told else None for chunk in chunks
    ]


@each("odd", ['"token": "\\x', '"logprob": -1%s, "token": "' % ("0" * 400), '"a": %s1, "token": "' % ("[" * 90_000)])
@each("ends", [True, False])
@each(("surface", "text"), [("chat", "content"), ("responses", "delta")])
def test_a_stream_whose_alternatives_nobody_can_read_tells_the_text_in_its_order(
    surface: str, text: str, ends: bool, odd: str
) -> None:
    kind, place = "response.output_text.delta", {"output_index": 0, "content_index": 0}
    said = {"bil": entry(b"bil"), "ling": entry(b"ling", P | {b"ling": 0.1}), "": entry(END, P | {END: 0.1})}
    sent: list[JSON] = [{"type": kind, **place, "delta": one, "logprobs": [token]} for one, token in said.items()]
    if surface == "chat":
        sent = [{"choices": [{"delta": {text: one}, "logprobs": {"content": [said[one]]}}]} for one in said]
    content = events(sent[: 2 + ends]).replace(b'"token": "tech', odd.encode())
    doing = replace(to({"logprobs": True}, surface), labels=label_set(("billing", "bilge", "technical")))
    told = b"".join(streamed(doing, content, 1_000))
    assert b"".join(re.findall(rb'"%s": "(\w*)"' % text.encode(), told)) == b"billing"


def test_tokens_are_told_once_though_their_text_is_held_back_until_the_stream_breaks_off() -> None:
    doing = replace(to({"logprobs": True}), labels=label_set(("no", "none")))
    told = b"".join(streamed(doing, events([of_tokens("no", b"no")]), 50))
    assert (texts_told(told), told.count(b"top_logprobs")) == ("no", 1)


def test_what_is_too_long_to_be_an_event_does_not_overtake_what_waits() -> None:
    stream = RedecidedStream(to({}, "responses"), json.loads, lambda value: json.dumps(value).encode())
    delta = {"type": "response.output_text.delta", "delta": "b", "logprobs": [ENTRIES[0]], "sequence_number": 1}
    endless = b"data: " + b"x" * 2**22
    told = stream.feed(b"data: " + json.dumps(delta).encode() + b"\n\n") + stream.feed(endless) + stream.end()
    assert told.endswith(endless)
    assert json.loads(told.removesuffix(endless)[5:])["delta"] == "technical"


def texts_told(content: bytes) -> str:
    chunks = [json.loads(line[5:]) for line in content.split(b"\n\n") if line.startswith(b"data: {")]
    texts: list[str] = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    return "".join(texts)


def of_tokens(text: str, *tokens: bytes) -> JSON:
    """A chunk of a stream: its text, and the tokens that are listed beside it."""
    listed = {"content": [entry(token) for token in tokens]}
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "logprobs": listed}]}


def _ended_by(other: bytes) -> JSON:
    """The last chunk of an answer, at whose end another token would have been likelier under biases of 60."""
    likely = {END: 0.6, other: 0.4, b"tech": 1e-9}
    return {"index": 0, "delta": {}, "logprobs": {"content": [entry(END, likely)]}, "finish_reason": "stop"}


FIRST, SECOND = "긍".encode(), "정".encode()


@each(
    ("told", "chunks"),
    [
        ("긍정", [of_tokens("긍", FIRST, SECOND[:2]), of_tokens("정", SECOND[2:])]),
        ("긍정", [of_tokens("긍", FIRST), of_tokens("", SECOND[:2]), of_tokens("정", SECOND[2:])]),
        ("긍", [of_tokens("긍", FIRST)]),
        ("긍", [of_tokens("", FIRST[:1]), of_tokens("긍", FIRST[1:])]),
        ("긍지", [of_tokens("긍", FIRST), {"choices": [_ended_by("지".encode())]}]),
    ],
)
def test_no_half_of_a_character_and_no_label_held_back_is_lost_in_a_stream(told: str, chunks: list[JSON]) -> None:
    """A server tells characters whole, whatever its tokens are; and it may end without a reason."""
    biased = Sampling({"지".encode(): 60.0})
    doing = replace(to({}), labels=label_set(("긍정", "긍지", "긍")), sampling=biased)
    assert texts_told(b"".join(streamed(doing, events(chunks), 50))) == told
    broken = events(chunks).removesuffix(b"data: [DONE]\n\n")
    assert texts_told(b"".join(streamed(doing, broken, 50))) == told


def test_a_character_cut_by_tokens_is_whole_behind_a_changed_label() -> None:
    chunks = [piece_of(ENTRIES[0]), of_tokens("illing", b"illing\xe2\x80"), of_tokens("—so", b"\x94so")]
    assert texts_told(b"".join(streamed(to({}), events(chunks), 50))) == "technical—so"


def test_tokens_of_reasoning_that_are_listed_before_an_answer_decide_nothing() -> None:
    listed = {"content": [entry(b"The", P), entry(b" user")]}
    thought = {"id": "c", "choices": [{"index": 0, "delta": {"reasoning": "The user"}, "logprobs": listed}]}
    stream = RedecidedStream(to({}), json.loads, lambda value: json.dumps(value).encode())
    told = stream.feed(events([thought, *map(piece_of, ENTRIES)])) + stream.end()
    assert (texts_told(told), stream.outcome) == ("billing.", "no-log-probabilities")


def test_every_field_of_an_answer_in_json_is_decided_again() -> None:
    both = {"properties": {"a": {"enum": ["x", "y"]}, "b": {"enum": ["u", "v"]}}}
    asked = {"temperature": 0, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": both}}}
    prior = Prior(biases=(TokenBias(1, b"y", 9.0, 3.0, 9), TokenBias(2, b"v", 9.0, 3.0, 9)))
    pieces = [b'{"', b"a", b'":"', b"x", b'","', b"b", b'":"', b"u", b'"}']
    others = {b"x": {b"x": 0.9, b"y": 0.1}, b"u": {b"u": 0.9, b"v": 0.1}}
    entries = [entry(one, others.get(one)) for one in pieces]
    found = to(asked, prior=prior).decided(chat(entries, b"".join(pieces).decode()))
    assert found.payload["choices"][0]["message"]["content"] == '{"a":"y","b":"v"}'
    pieces[4:7] = [b"".join(pieces[4:7])]  # one token ends a field that was replaced, and begins the next
    found = to(asked, prior=prior).decided(
        chat([entry(one, others.get(one)) for one in pieces], b"".join(pieces).decode())
    )
    assert found.payload["choices"][0]["message"]["content"] == '{"a":"y","b":"v"}'


@each("heat", [1e-320, 1e-5, 1e-3, 0.002, 0.01])
def test_a_temperature_of_next_to_nothing_decides_as_0_does(heat: float) -> None:
    """e^(b/T) is too large for a float there."""
    for biases, told in ((BIASES, "technical."), ({b"billing": 4.0}, "billing.")):
        doing = replace(to({"temperature": heat}), sampling=Sampling(biases, heat))
        found = doing.decided(chat([entry(b"b", {b"b": 0.6, b"tech": 0.4}), *ENTRIES[1:]]))
        assert found.payload["choices"][0]["message"]["content"] == told
