"""Two processes that call each other: one runs untrusted code, the other its tests, and values alone pass between them.

Loaded by path in both, so it imports nothing of the package. Numbers, texts and collections of them are copied; what is
none of these stays where it is, and the other side holds a `Distant` of it. Arguments that a call changes in place are
changed for its caller too. An object of the code's is never equal to a plain value, and is told none: else one that
says yes to everything would pass for any answer.
"""

import builtins
import json
import operator
import os
from collections.abc import Callable, Iterable
from typing import Any

_MOST_BYTES = 64 * 1024**2
_BOTH = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
)  # fmt: skip
_ORDER = ("lt", "le", "gt", "ge")
_ONE: dict[str, Callable[..., Any]] = {
    "len": len, "bool": bool, "str": str, "repr": repr, "int": int, "float": float, "complex": complex,
    "hash": hash, "abs": abs, "neg": operator.neg, "pos": operator.pos, "invert": operator.invert,
    "index": operator.index, "iter": iter, "next": next, "reversed": reversed,
}  # fmt: skip


class EndedError(BaseException):
    """The other process is gone, or says what no one would."""


class Distant:
    """An object of the other side's; `compared`: it came of an operator that was told a plain value."""

    def __init__(self, peer: "Peer", number: int, compared: bool = False) -> None:
        self.__dict__.update(_peer=peer, _number=number, _compared=compared)

    def __getattr__(self, name: str) -> Any:
        if name in self._peer.values.ASKS:
            raise AttributeError(f"an object of the code's own has no {name} here; it stands for no plain value")
        return self._peer.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._peer.ask("del", self, name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._peer.ask("call", self, list(given), named)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("put", self, key, value)

    def __delitem__(self, key: Any) -> None:
        self._peer.ask("drop", self, key)

    def __contains__(self, wanted: Any) -> bool:
        return any(wanted is one or wanted == one for one in iter(self._one("iter")))

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Distant):
            return NotImplemented
        return self._number == other._number or self._peer.ask("eq", self, other)

    def __instancecheck__(self, one: Any) -> bool:
        return isinstance(one, Distant) and bool(self._peer.ask("isinstance", one, self))

    def __hash__(self) -> int:
        return _whole(self._one("hash"))

    def __round__(self, *digits: int) -> Any:
        return self._one("round", *digits)

    def __format__(self, form: str) -> str:
        return str(self._one("format", form))

    def __enter__(self) -> Any:
        return self._peer.ask("enter", self)

    def __exit__(self, *_: object) -> Any:
        return self._peer.ask("exit", self)

    def _one(self, what: str, *more: Any) -> Any:
        if self._compared:
            raise TypeError(f"{what} of what an object of the code's own made of a plain value")
        return self._peer.ask(what, self, *more)

    def _two(self, what: str, left: Any, right: Any) -> Any:
        plain = not (isinstance(left, Distant) and isinstance(right, Distant))
        found = self._peer.ask(what, left, right)
        if plain:
            if not isinstance(found, Distant):
                raise TypeError("an object of the code's own stands for no plain value")
            found.__dict__["_compared"] = True
        return found


def _whole(given: Any) -> int:
    return given if isinstance(given, int) else 0


def _operators() -> None:
    for name in _ONE:
        if name != "hash":
            setattr(Distant, f"__{name}__", lambda self, name=name: self._one(name))
    for name in _BOTH:
        setattr(Distant, f"__{name}__", lambda self, other, name=name: self._two(name, self, other))
        setattr(Distant, f"__r{name}__", lambda self, other, name=name: self._two(name, other, self))
    for name in _ORDER:
        setattr(Distant, f"__{name}__", lambda self, other, name=name: self._ordered(name, other))


def _ordered(self: Distant, name: str, other: Any) -> Any:
    if self._compared or not isinstance(other, Distant):
        return NotImplemented
    return self._peer.ask(name, self, other)


_operators()
Distant._ordered = _ordered


class Peer:
    """One end; `allows` says what the other side may do to an object of ours."""

    def __init__(
        self, reads: int, writes: int, values: Any, allows: Callable[[str, Any, tuple[Any, ...]], bool]
    ) -> None:
        """`values` is the module that packs values."""
        self._reads, self._writes, self.values, self._allows = reads, writes, values, allows
        self.asked = 0
        """How often the other side was asked for something."""
        self._given: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._kinds: dict[int, type[BaseException]] = {}
        """Kinds of errors of the other side's own, by the numbers of their classes."""
        self.answers: dict[str, Callable[..., Any]] = {}
        """What may be asked of this side beside what objects do."""

    def ask(self, what: str, *given: Any) -> Any:
        """What the other side answers; it may ask us meanwhile."""
        self._send([what, *(self._pack(one) for one in given)])
        self.asked += 1
        while True:
            told = self._receive()
            if told[0] == "gives":
                self._restore(given, told[2])
                return self._unpack(told[1])
            if told[0] == "raises":
                raise self._not_an_end(what, self._error(told))
            self.serve(told)

    def _not_an_end(self, what: str, error: BaseException) -> BaseException:
        """The error; what ends an iterator is another where none was asked, or it would end the loop of a test."""
        ends = what != "next" and isinstance(error, StopIteration)
        return RuntimeError("it raised StopIteration") if ends else error

    def serve(self, told: list[Any]) -> None:
        """Answer what the other side has asked."""
        try:
            what, given = str(told[0]), [self._unpack(one) for one in told[1:]]
            found = self._pack(self.answers[what](*given) if what in self.answers else self._done(what, given))
            packed = [self._pack(one) for one in given]
            answer = ["gives", found, packed if packed[1:] != told[2:] else None]
        except EndedError:
            raise
        except BaseException as error:
            answer = ["raises", *self._told(error)]
        self._send(answer)

    def serve_forever(self) -> None:
        """Until the other side is gone."""
        while True:
            self.serve(self._receive())

    def _done(self, what: str, given: list[Any]) -> Any:
        first, more = given[0], tuple(given[1:])
        if self.values.by_name(first) or not self._allows(what, first, more):
            raise TypeError(f"{what} is not for the code to do here")
        simple: dict[str, Callable[..., Any]] = {
            "get": getattr, "set": setattr, "del": delattr, "item": operator.getitem, "put": operator.setitem,
            "drop": operator.delitem, "eq": operator.eq, "isinstance": isinstance, "round": round, "format": format,
            "call": lambda run, one, named: run(*one, **named),
            "enter": lambda one: type(one).__enter__(one),
            "exit": lambda one: type(one).__exit__(one, None, None, None),
            **_ONE,
        }  # fmt: skip
        if what in simple:
            return simple[what](first, *more)
        name = f"{what}_" if what in ("and", "or") else what
        return getattr(operator, name)(first, *more)

    def _restore(self, given: Iterable[Any], states: Any) -> None:
        """Change arguments as the other side has changed its copies of them."""
        for one, state in zip(given, states or (), strict=False):
            if type(one) is list:
                for inner, told in zip(
                    one, state[1] if isinstance(state, list) and len(state) > 1 else (), strict=False
                ):
                    self._refill(inner, told)
            elif type(one) is dict and isinstance(state, list):
                named = {key: told for key, told in state[1] if isinstance(key, str)}
                for key, inner in one.items():
                    self._refill(inner, named.get(key))

    def _refill(self, one: Any, state: Any) -> None:
        if type(one) not in (list, dict, set, bytearray):
            return
        new = self._unpack(state)
        if type(new) is not type(one) or new == one:
            return
        if isinstance(one, (list, bytearray)):
            one[:] = new
        else:
            one.clear()
            one.update(new)

    def _pack(self, value: Any) -> Any:
        return self.values.told_as(value, self._held)

    def _held(self, value: Any) -> Any:
        return ["yours", value._number] if isinstance(value, Distant) else self._mine(value)

    def _mine(self, value: Any) -> Any:
        """Something that stays here; the same thing has the same number."""
        number = self._numbers.setdefault(id(value), len(self._numbers) + 1)
        self._given[number] = value
        kinds = _ancestry(value) if isinstance(value, type) and issubclass(value, BaseException) else []
        return ["mine", number, [self._kind(one) for one in kinds]]

    def _kind(self, kind: type) -> list[Any]:
        number = self._numbers.setdefault(id(kind), len(self._numbers) + 1)
        self._given[number] = kind
        return [number, kind.__name__, kind.__module__ == "builtins"]

    def _told(self, error: BaseException) -> list[Any]:
        kinds = [self._kind(kind) for kind in _ancestry(type(error))]
        try:
            said = str(error)
        except BaseException:
            kinds, said = [[0, "RuntimeError", True]], "an error that cannot be shown"
        try:
            state = {name: self._pack(value) for name, value in vars(error).items()}
        except BaseException:
            state = {}
        return [
            kinds,
            self._pack([one for one in error.args if type(one) in (bool, str, float, type(None), int)]),
            said[:2_000],
            state,
        ]

    def _error(self, told: list[Any]) -> BaseException:
        _, kinds, given, said, state = told
        kind = self._class_of(kinds)
        error = kind.__new__(kind)
        error.args = tuple(self._unpack(given)) or ((said,) if said else ())
        if kind.__module__ != "builtins":
            error.__dict__.update({name: self._unpack(value) for name, value in state.items()})
        return error

    def _class_of(self, kinds: list[Any]) -> type[BaseException]:
        """The error's class here: a builtin one by its name, one of the code's own as it was made here for it."""
        found: type[BaseException] = Exception
        for number, name, is_builtin in reversed(kinds):
            known = getattr(builtins, str(name), None) if is_builtin else None
            if known is None and not is_builtin:
                known = self._kinds.setdefault(number, type(str(name), (found,), {"__module__": "code"}))
            found = known if isinstance(known, type) and issubclass(known, BaseException) else found
        return found

    def _unpack(self, told: Any) -> Any:
        try:
            return self.values.understood(told, self._theirs)
        except EndedError:
            raise
        except Exception as error:
            raise EndedError from error

    def _theirs(self, name: str, more: list[Any]) -> Any:
        if name == "yours":
            return self._given[more[0]]
        return self._class_of(more[1]) if more[1] else Distant(self, int(more[0]))

    def _send(self, told: list[Any]) -> None:
        data = json.dumps(told).encode()
        left = memoryview(len(data).to_bytes(8, "big") + data)
        try:
            while left:
                left = left[os.write(self._writes, left) :]
        except OSError as error:
            raise EndedError from error

    def _receive(self) -> list[Any]:
        size = int.from_bytes(self._read(8), "big")
        if size > _MOST_BYTES:
            raise EndedError
        try:
            told = json.loads(self._read(size))
        except (ValueError, RecursionError) as error:
            raise EndedError from error
        if not isinstance(told, list) or not told:
            raise EndedError
        return told

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._reads, min(size - len(parts), 1 << 20))
            if not part:
                raise EndedError
            parts += part
        return bytes(parts)


def _ancestry(kind: type) -> list[type]:
    return [one for one in kind.__mro__ if issubclass(one, BaseException)]
