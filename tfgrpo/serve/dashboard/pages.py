"""The pages of the dashboard, each a function from a request to a page; all of them run in threads, off the event loop.

What a page is asked for stands in its query: a namespace may have any name, and a path could not hold it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ...errors import InputError, StoreError, TfgrpoError
from ...records import Rollout
from ...store import Store
from ...store.browse import GroupRow
from .looks import namespace_lines, namespace_look
from .rendering import ASSETS, IN_A_PAGE, asset, render
from .run_looks import RunLook, uncounted_look
from .site import site_of

_PATIENCE, _RUN_PATIENCE = 0.1, 0.15
"""Seconds that a page waits for what is counted; it asks for the rest once it stands. Of a run that is most of it."""
GROUPS, ROLLOUTS = 10, 12
"""On a page of rollouts: groups, and rollouts of each."""
_OF_ONE_GROUP = 60
_BEGINNING = 400
"""Characters of an answer in a list."""
_TURNS = 20


def page(request: Request, template: str, told: Mapping[str, object], status: int = 200) -> Response:
    """A whole page, for whoever asks."""
    shared = {"visitor": request.state.visitor, "trouble": None, "site": site_of(request)}
    return HTMLResponse(render(template, {**shared, **told}), status)


def trouble(request: Request, error: TfgrpoError) -> Response:
    """What went wrong, in a page of its own."""
    status = 503 if isinstance(error, StoreError) else 400
    if str(error).startswith(("there is no ", "no ")):
        status = 404
    return page(request, "trouble", {"said": str(error), "title": HTTPStatus(status).phrase}, status)


def overview(request: Request) -> Response:
    """All namespaces, what is running, and what ran last; of an empty store what to do next."""
    site = site_of(request)
    if isinstance(site.path, Path) and not site.path.exists():
        return page(request, "empty", {"store": site.path, "missing": True})
    with _store(request) as store:
        number = _whole(request, "page", 1)
        (lines, more), runs = namespace_lines(store, number), store.latest_runs()
    if not lines and number == 1:
        return page(request, "empty", {"store": site.path, "missing": False})
    calls = {line.name: site.traffic.known(line.name) for line in lines}
    going = [run for run in runs if run.status == "running"]
    told = {
        "lines": lines, "runs": runs, "going": going, "traffic": calls, "own": site.namespace,
        "number": number, "more": more,
    }  # fmt: skip
    return page(request, "overview", told)


def namespace(request: Request, said: str | None = None, status: int = 200) -> Response:
    """One namespace; `said` is what a button could not do."""
    name = _wanted(request, "name")
    with _store(request) as store:
        look = namespace_look(store, name)
        if not (look.live or look.priors or look.runs or look.history) and name not in _names(store):
            raise InputError(f"no namespace {name!r} in this store")
    counted = site_of(request).traffic.of(name, _PATIENCE)
    return page(request, "namespace", {"look": look, "traffic": counted, "trouble": said}, status)


def traffic(request: Request) -> Response:
    """The part of that page that is counted, as it stands by now."""
    name = _wanted(request, "name")
    counted = site_of(request).traffic.of(name, _PATIENCE)
    return page(request, "traffic", {"name": name, "traffic": counted})


def prior(request: Request) -> Response:
    """One prior, as it is or was served in a namespace."""
    name = request.query_params.get("namespace", "")
    with _store(request) as store:
        shown = store.prior(_wanted(request, "id"))
        effects = {one.experience.id: one for one in store.experiences(name)} if name else {}
        events = [event for event in store.lineage(name) if event.prior == shown.id] if name else []
        live = store.live(name) if name else None
    served = live is not None and live.prior.id == shown.id
    told = {"prior": shown, "name": name, "effects": effects, "events": events[::-1], "served": served}
    return page(request, "prior", told)


def run(request: Request) -> Response:
    """One run, as it goes or as it ended."""
    return page(request, "run", {"look": _run_look(request)})


def live_run(request: Request) -> Response:
    """The part of that page that moves while the run goes on."""
    return page(request, "run_live", {"look": _run_look(request)})


def _run_look(request: Request) -> RunLook:
    """As it was counted within a minute; or without that, where it takes long: on a slow disk, of many rollouts."""
    given = _wanted(request, "id")
    if look := site_of(request).runs.of(given, _RUN_PATIENCE):
        return look
    with _store(request) as store:
        return uncounted_look(store, given)


def rollouts(request: Request) -> Response:
    """Rollouts of a run beside the answers of their tasks, some groups a page; or those of one group."""
    number, step, group = _whole(request, "page", 1), _whole(request, "step", 0), _whole(request, "group", 0)
    with _store(request) as store:
        if group:
            run_id, one = store.group_row(group)
            groups: tuple[GroupRow, ...] = (one,)
            most, offset = _OF_ONE_GROUP, (number - 1) * _OF_ONE_GROUP
            more = one.rollouts > offset + most
        else:
            run_id, most, offset = store.run(_wanted(request, "run")).id, ROLLOUTS, 0
            found = store.group_page(
                run_id, step=step - 1 if step else None, limit=GROUPS + 1, offset=(number - 1) * GROUPS
            )
            groups, more = found[:GROUPS], len(found) > GROUPS
        rows = store.rollout_rows([one.id for one in groups], shown=_BEGINNING, limit=most, offset=offset)
        tasks = {task.id: task for task in store.tasks(dict.fromkeys(one.task for one in groups))}
        steps = [step + 1 for step in store.steps_of(run_id)]
    told = {
        "run_id": run_id, "groups": groups, "tasks": tasks, "steps": steps, "step": step, "number": number,
        "more": more, "group": group, "beginning": _BEGINNING,
        "rows": {one.id: [row for row in rows if row.group == one.id] for one in groups},
    }  # fmt: skip
    return page(request, "rollouts", told)


def rollout(request: Request) -> Response:
    """One rollout with all that was said; with `whole` its text alone, as it is."""
    group, sample = _whole(request, "group", 0), _whole(request, "sample", 0)
    with _store(request) as store:
        run_id, _ = store.group_row(group)
        shown = store.one_rollout(group, sample)
        named = {variant.id: variant.source for variant, _ in store.variants(run_id)} if shown.variant else {}
    if request.query_params.get("whole"):
        return PlainTextResponse(_surviving(shown.text))
    told = {
        "one": shown, "run_id": run_id, "group": group, "source": named.get(shown.variant, ""),
        "turns": _turns(shown), "most": IN_A_PAGE,
    }  # fmt: skip
    return page(request, "rollout", told)


def file(request: Request) -> Response:
    """A file that pages need; its address changes with its content."""
    name = request.path_params["name"]
    if name not in ASSETS:
        return PlainTextResponse("there is no such file", 404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(asset(name), media_type=ASSETS[name][1], headers=headers)


def _turns(shown: Rollout) -> list[tuple[str, str]]:
    """Who said what, of the first turns, and which tools were called; of each text the beginning."""
    found = []
    for message in shown.messages[:_TURNS]:
        content, calls = message.get("content"), message.get("tool_calls")
        said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        called = f"\n{json.dumps(calls, ensure_ascii=False)}" if calls else ""
        found.append((str(message.get("role", "")), f"{said[:IN_A_PAGE]}{called[:IN_A_PAGE]}"))
    return found


def _surviving(text: str) -> str:
    """Half a surrogate pair cannot be sent."""
    return text.encode("utf-8", "replace").decode()


def _store(request: Request) -> Store:
    return Store(site_of(request).path, create=False)


def _names(store: Store) -> set[str]:
    return {one.name for one in store.namespaces()}


def _wanted(request: Request, name: str) -> str:
    if found := request.query_params.get(name):
        return found
    raise InputError(f"this page wants ?{name}=")


def _whole(request: Request, name: str, otherwise: int) -> int:
    """A whole number from the query; what is none counts as not given."""
    with suppress(ValueError):
        return min(2**31, max(0, int(request.query_params.get(name, otherwise)))) or otherwise
    return otherwise
