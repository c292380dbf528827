"""The proxy as a server: who may call it is settled, the port is taken, and one worker or several serve."""

from collections.abc import Callable
from dataclasses import replace

from ...errors import StoreError
from ...http1.dialing import UpstreamSite
from ...store import Store, StorePath
from .door import Door
from .listening import base_url, check_upstream
from .pulled_shelf import PulledFrom
from .serving import Serving
from .worker import run_worker


def serve(serving: Serving, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; calls in flight have some time to end, a second signal ends them.

    `ready` is called once, with the `base_url` for callers, when connections are accepted. Raises InputError for
    upstreams, a host or a port that cannot be used, and where the upstream's key would be lent to everybody.
    """
    at, upstreams, store = serving.listening, serving.upstreams, serving.store
    door = serving.door or Door.at(
        at.host,
        lends_a_key=any(target.key for target in upstreams),
        has_keys=_has_keys(store.store if isinstance(store, PulledFrom) else store),
        hosts=at.hosts,
        origins=at.origins,
    )
    serving = replace(serving, door=door)
    with at.bound() as bound:
        for target in upstreams:
            check_upstream(target, bound)
            UpstreamSite.of(target.base, target.forward_proxy())  # its name, and the proxy before it, are sound
        url = base_url(bound)
        if at.workers == 1:
            run_worker(serving, bound, lambda: ready(url) if ready else None)
            return
        from .workers import Workers  # one worker does without

        Workers(serving, bound).run(lambda: ready(url) if ready else None)


def _has_keys(path: StorePath) -> bool:
    try:
        with Store(path, create=False) as store:
            return bool(store.access_keys())
    except StoreError:
        return False
