"""What a client has of tfgrpo: where its priors come from, what its upstreams refuse, and where feedback goes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..records import JSON, Backend, Prior, Snapshot
from ..surfaces.refused import PriorRefusals
from .places import PriorPlace
from .source import PriorSource, prior_source

if TYPE_CHECKING:
    from ..store import StorePath
    from .recording import Item, Recorder

_MOST = 100
"""Namespaces, and upstreams, that are kept apart."""


class Access:
    """The priors of one place, for a client and its copies: `client.tfgrpo`."""

    def __init__(self, source: PriorSource, *, strict: bool = False, record: bool = False) -> None:
        self.source = source
        """Of the namespace that calls have the prior of, unless they name another."""
        self.record = record
        self._strict = strict
        self._sources = {source.namespace: source}
        self._refusals: dict[bytes, tuple[PriorRefusals, Mapping[str, Backend]]] = {}
        self._recorder: dict[PriorPlace, Recorder] = {}  # one at most, which threads may make at once

    @property
    def namespace(self) -> str:
        """The namespace that calls have the prior of, unless they name another."""
        return self.source.namespace

    @property
    def snapshot(self) -> Snapshot | None:
        """What was live at the last look; reads nothing."""
        return self.source.snapshot

    @property
    def prior(self) -> Prior | None:
        """The prior that a call made now would get; None when there is none."""
        return self.source.prior

    def current(self) -> Snapshot | None:
        """What is live; the first time after a look at the store."""
        return self.source.current()

    def refresh(self) -> None:
        """Look at the store now."""
        for source in list(self._sources.values()):
            source.refresh()

    def of(self, namespace: str | None) -> PriorSource:
        """The source of a namespace; None: the client's own."""
        if namespace is None:
            return self.source
        if (known := self._sources.get(namespace)) is None:
            known = self.source.beside(namespace)
            if len(self._sources) < _MOST:
                known = self._sources.setdefault(namespace, known)
        return known

    def refusals(self, host: bytes, backends: Mapping[str, Backend]) -> PriorRefusals:
        """What an upstream, named by host and port, refuses with a prior in it; a probe of it counts anew."""
        known = self._refusals.get(host)
        if known is None or known[1] is not backends:
            if len(self._refusals) >= _MOST:
                self._refusals.clear()
            known = self._refusals[host] = PriorRefusals(strict=self._strict), backends
        return known[0]

    def feedback(self, response: object, reward: float | None = None, *, label: JSON = None, comment: str = "") -> None:
        """Say what a call was worth, from 0 to 1, or what would have been right: `response` is what the call returned,
        or its inference id.

        It is written in the background. Raises InputError for a response that no call of tfgrpo returned, for a reward
        that is none, and a label that is no answer.
        """
        from .recording import feedback_on

        self._written().add(feedback_on(response, reward, comment, self.namespace, label))

    def keep(self, item: "Item") -> None:
        """Have a call written down, in the background."""
        self._written().add(item)

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until what was recorded is written; False where that takes longer."""
        return all([recorder.flush(seconds) for recorder in self._recorder.values()])

    def close(self) -> None:
        """Write what was recorded and let go of the store; a later call opens it again."""
        self.flush()
        for source in list(self._sources.values()):
            source.close()
        while self._recorder:
            self._recorder.popitem()[1].close()

    def _written(self) -> "Recorder":
        from .recording import Recorder, check_recordable

        place = self.source.place
        if known := self._recorder.get(place):
            return known
        return self._recorder.setdefault(place, Recorder(check_recordable(place)))


def open_access(
    store: "str | StorePath | None" = None, namespace: str | None = None, *, strict: bool = False, record: bool = False
) -> Access:
    """The access that arguments or the environment name, as `prior_source` reads them.

    Raises InputError where calls are to be kept in what is no store.
    """
    access = Access(prior_source(store, namespace), strict=strict, record=record)
    if record:
        from .recording import check_recordable

        check_recordable(access.source.place)
    return access


def access_to(given: "PriorSource | Access") -> Access:
    """The access of a source, or the access itself."""
    return given if isinstance(given, Access) else Access(given)
