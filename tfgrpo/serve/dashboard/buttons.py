"""What a person can do: log in and out, serve a prior, promote a canary or roll it back, go back to the one before.

Each goes through what the command of the same name does, with the person's name; and only for a form of our own pages.
"""

import time
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...errors import InputError, TfgrpoError
from ...priors.serving import roll_back, use
from ...store import HistoryEntry, Store
from ..keys import find_key
from .pages import namespace, page
from .site import site_of
from .visits import COOKIE, HOME, SESSION_SECONDS, begun_session, is_own, safe_target

_MOST_BYTES = 65_536
"""Of a form."""
_MOST_FIELDS = 20
_LONGEST_WHY = 500


async def log_in(request: Request) -> Response:
    """Take an admin key for a session."""
    form = await _form(request)
    site = site_of(request)
    target = safe_target(form.get("next", HOME))
    key = find_key(form.get("key", "").strip(), site.keys())
    if not is_own(dict(request.headers), "", ""):
        return login_page(request, target, "this form was sent from elsewhere; log in here", 403)
    if key is None or key.revoked or not key.admin:
        why = "this is no key of this proxy" if key is None else "this key was revoked" if key.revoked else _NOT_ADMIN
        return login_page(request, target, why, 403)
    answer = RedirectResponse(target, 303)
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    value = begun_session(site.secret, key, time.time())
    answer.set_cookie(
        COOKIE, value, max_age=SESSION_SECONDS, path=HOME, secure=secure, httponly=True, samesite="strict"
    )
    return answer


_NOT_ADMIN = "this key may call, and not see this page: tfgrpo keys add NAME --admin makes one that may"


def login_page(request: Request, target: str, said: str | None = None, status: int = 401) -> Response:
    """The form that asks for a key."""
    return page(request, "login", {"target": target, "said": said}, status)


async def log_out(request: Request) -> Response:
    """End the session in this browser."""
    await _own_form(request)
    answer = RedirectResponse(HOME, 303)
    answer.delete_cookie(COOKIE, path=HOME, httponly=True, samesite="strict")
    return answer


async def act(request: Request) -> Response:
    """Do what a button says, then show the namespace again; what cannot be done is said on its page."""
    form = await _own_form(request)
    name, by = form.get("namespace", ""), request.state.visitor.name
    done = _DONE.get(request.path_params["action"])
    if done is None:
        raise HTTPException(404)

    def work() -> Response:
        try:
            with Store(site_of(request).path, create=False) as store:
                done(store, name, form, by)
        except TfgrpoError as error:
            request.scope["query_string"] = urlencode({"name": name}).encode()
            return namespace(Request(request.scope), str(error), 409)
        return RedirectResponse(f"{HOME}namespace?{urlencode({'name': name})}#history", 303)

    return await run_in_threadpool(work)


def _use(store: Store, name: str, form: dict[str, str], by: str) -> None:
    chosen = use(store, name, form.get("prior", ""), by=by, why=_why(form, "chosen on the dashboard"))
    said = f"{by} serves {chosen.prior.id} ({chosen.state})"
    _write(store, HistoryEntry(name, "person", "used", chosen.prior.id, said), form)


def _roll_back(store: Store, name: str, form: dict[str, str], by: str) -> None:
    live = store.live(name)
    if live and live.prior.id != form.get("prior"):
        raise InputError(f"{live.prior.id} is live by now, and not what was to be rolled back; look again")
    before, now = roll_back(store, name, by=by, why=_why(form, "rolled back on the dashboard"))
    rest = f"{now.prior.id} is {now.state} again" if now else "calls go out without a prior"
    said = f"{by} rolls back {before.prior.id}; {rest}"
    _write(store, HistoryEntry(name, "person", "rolled back", before.prior.id, said), form)


def _promote(store: Store, name: str, form: dict[str, str], by: str) -> None:
    _end_canary(store, name, form, by, "promote")


def _roll_back_canary(store: Store, name: str, form: dict[str, str], by: str) -> None:
    _end_canary(store, name, form, by, "roll back")


def _approve(store: Store, name: str, form: dict[str, str], by: str) -> None:
    from ...deployment.autopilot import approve

    approve(store, name, by=by, prior=form.get("prior"))


def _end_canary(store: Store, name: str, form: dict[str, str], by: str, kind: Literal["promote", "roll back"]) -> None:
    """As the autopilot would, by a person."""
    from ...deployment.autopilot import do_in_store
    from ...deployment.step import Action
    from ...priors.offered import person_named

    canary = store.canary(name)
    if canary is None or canary[0].prior.id != form.get("prior"):
        raise InputError(f"{form.get('prior') or 'nothing'} is no canary by now; look again")
    done = "promoted" if kind == "promote" else "rolled back"
    do_in_store(
        store, name, Action(kind, _why(form, f"{done} on the dashboard"), canary[0].prior.id), by=person_named(by)
    )


def _write(store: Store, entry: HistoryEntry, form: dict[str, str]) -> None:
    why = _why(form, "")
    store.add_history(replace(entry, said=f"{entry.said}: {why}") if why else entry)


def _why(form: dict[str, str], otherwise: str) -> str:
    return form.get("why", "").strip()[:_LONGEST_WHY] or otherwise


_DONE = {"use": _use, "rollback": _roll_back, "promote": _promote, "end-canary": _roll_back_canary, "approve": _approve}


async def _own_form(request: Request) -> dict[str, str]:
    form = await _form(request)
    if not is_own(dict(request.headers), form.get("token", ""), request.state.visitor.token):
        raise InputError("this form was not sent from a page of this dashboard, or is of an earlier session; go back")
    return form


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, as browsers send them."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise InputError("this form is too long")
    try:
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InputError(f"this form has more than {_MOST_FIELDS} fields, and is none of ours") from None
    return {name: values[-1] for name, values in given.items()}
