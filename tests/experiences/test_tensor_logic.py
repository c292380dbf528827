"""Rules over Boolean tensors against brute force over sets, and the proofs behind what follows."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgrpo.errors import InputError
from tfgrpo.experiences.tensor_logic import Atom, Deduced, Proof, Rule, Tensor, deduce

SIZE = 2
ARITY = {"f": 1, "g": 2, "p": 1, "q": 2, "r": 2, "s": 1}
"""Facts are known of f, g and q; rules lead to all but f and g, from themselves and what stands before them."""
SIZES: dict[str, int] = dict.fromkeys("xyz", SIZE)


def program(seed: int) -> tuple[dict[str, Tensor], list[Rule]]:
    rng = np.random.default_rng(seed)
    facts = {name: rng.random((SIZE,) * ARITY[name]) < (0.4 if name in "fgq" else 0) for name in ARITY}
    rules = []
    for _ in range(rng.integers(1, 7)):
        head = str(rng.choice(list("pqrs")))
        body = []
        for _ in range(rng.integers(1, 4)):
            name = str(rng.choice([name for name in ARITY if name <= head]))
            letters = "".join(rng.choice(list("xyz"), ARITY[name]))
            body.append(Atom(name, letters, bool(name < head and rng.random() < 0.3)))
        said = sorted({letter for atom in body for letter in atom.letters})
        if len(said) >= ARITY[head]:
            rules.append(Rule(Atom(head, "".join(rng.permutation(said)[: ARITY[head]])), tuple(body)))
    return facts, rules


def holds(atom: Atom, bound: dict[str, int], known: set[tuple[str, tuple[int, ...]]]) -> bool:
    return ((atom.relation, tuple(bound[letter] for letter in atom.letters)) in known) != atom.negated


def brute_force(facts: dict[str, Tensor], rules: list[Rule]) -> set[tuple[str, tuple[int, ...]]]:
    """By sets, every binding of every rule, relation after relation in the order of what may negate what."""
    known = {(name, tuple(map(int, place))) for name, tensor in facts.items() for place in np.argwhere(tensor)}
    bindings: list[dict[str, int]] = [
        dict(zip("xyz", places, strict=True)) for places in product(range(SIZE), repeat=3)
    ]
    for last in range(1, 5):
        while True:
            new = {
                (rule.head.relation, tuple(bound[letter] for letter in rule.head.letters))
                for rule in rules
                if rule.head.relation in "pqrs"[:last]
                for bound in bindings
                if all(holds(atom, bound, known) for atom in rule.body)
            }
            if new <= known:
                break
            known |= new
    return known


@given(st.integers(0, 2**32))
@settings(max_examples=1_000, deadline=None)
def test_a_thousand_random_programs_are_what_brute_force_makes_of_them(seed: int) -> None:
    facts, rules = program(seed)
    found, wanted = deduce(facts, rules, SIZES), brute_force(facts, rules)
    for name, tensor in found.tensors.items():
        places = {tuple(map(int, place)) for place in np.argwhere(tensor)}
        assert places == {at for of, at in wanted if of == name}, f"relation {name}"


def steps(proof: Proof) -> Iterator[Proof]:
    yield proof
    for before in proof.because:
        yield from steps(before)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_result_has_a_proof_that_ends_in_facts(seed: int) -> None:
    facts, rules = program(seed)
    found = deduce(facts, rules, SIZES)
    for name, tensor in found.tensors.items():
        for place in np.argwhere(tensor):
            for step in steps(found.proof(name, tuple(map(int, place)))):
                of = found.tensors if step.rule or step.atom.negated else facts
                assert of[step.atom.relation][step.places] != step.atom.negated


OLDER = Rule(Atom("older", "ab"), (Atom("parent", "ab"),))
OLDEST = Rule(Atom("older", "ac"), (Atom("older", "ab"), Atom("older", "bc")))


def family() -> Deduced:
    parent = np.zeros((4, 4), np.bool_)
    parent[0, 1] = parent[1, 2] = parent[2, 3] = True
    return deduce({"parent": parent}, [OLDER, OLDEST], dict.fromkeys("abc", 4))


def test_a_chain_is_followed_to_its_end_and_explained() -> None:
    found = family()
    assert found.tensors["older"].sum() == 6
    proof = found.proof("older", (0, 3))
    assert proof.rule == OLDEST
    facts = [step.places for step in steps(proof) if step.rule is None]
    assert facts == [(0, 1), (1, 2), (2, 3)]
    with pytest.raises(InputError, match="does not hold"):
        found.proof("older", (3, 0))


def test_rules_that_cannot_be_are_errors_that_name_what_is_wrong() -> None:
    p, q, f = Atom("p", "x"), Atom("q", "x"), Atom("f", "x")
    facts = {"f": np.ones(SIZE, np.bool_)}
    cyclic = [Rule(p, (f, Atom("q", "x", True))), Rule(q, (p,))]
    with pytest.raises(InputError, match="rules: p -> q -> p: it depends on its own negation"):
        deduce(facts, cyclic, SIZES)
    with pytest.raises(InputError, match="nothing is known of q"):
        deduce(facts, [Rule(p, (q,))], SIZES)
    for head in (Atom("p", "y"), Atom("p", "xx"), Atom("p", "x", True)):
        with pytest.raises(InputError, match="its head must be plain"):
            deduce(facts, [Rule(head, (f,))], SIZES)
