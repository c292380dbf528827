"""The dashboard in a browser: charts are drawn under its policy, buttons work by keyboard, and no hostile text runs.

It needs Chromium and its driver (Debian: `apt-get install chromium chromium-driver`), which CI installs.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import uvicorn

from tests.serve.test_dashboard import HOSTILE_PRIOR, RUN, busy_store
from tests.serve.test_door import given_key
from tfgrpo.serve.proxy import Door, Proxy, RelayTarget, Shelf
from tfgrpo.store import Store

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    with TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options, Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def served(path: Path, door: Door | None = None) -> Iterator[str]:
    """The dashboard over a store, in a thread."""
    proxy = Proxy(RelayTarget.parse("http://127.0.0.1:9/v1", None), Shelf(path, "support"), door=door)
    server = uvicorn.Server(uvicorn.Config(proxy, port=0, ws="none", log_level="critical", interface="asgi3"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/tfgrpo/"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def until(happens: Any) -> None:
    ends = monotonic() + PATIENCE
    while not happens():
        assert monotonic() < ends, "it did not happen"
        sleep(0.02)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s.db"
    path.write_bytes(busy_store())
    return path


def complaints(browser: Any) -> list[str]:
    """What the browser has to say: a policy that was broken, a script that failed."""
    return [entry["message"] for entry in browser.get_log("browser")]


def found(browser: Any, css: str) -> list[Any]:
    return list(browser.find_elements("css selector", css))


def test_charts_are_drawn_and_nothing_hostile_runs_or_looks_other_than_it_is(browser: Any, path: Path) -> None:
    with served(path) as home:
        for page, charts in ((f"{home}namespace?name=support", 2), (f"{home}run?id={RUN.id}", 2), (home, 0)):
            browser.get(page)
            until(lambda: len(found(browser, ".uplot canvas")) >= charts)  # noqa: B023 - it is called here
            assert found(browser, "img, iframe, bdi > *, pre > :not(bdi), script:not([src])") == []
            assert "alert(1)" in browser.page_source
            assert complaints(browser) == []  # an alert that was open would raise, too
        browser.get(f"{home}namespace?name=support")
        shown = browser.find_element("css selector", "#effects ~ .forest .text").text
        assert shown == "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_a_run_that_goes_on_is_followed_without_being_asked_for_again(browser: Any, path: Path) -> None:
    with served(path) as home:
        browser.get(f"{home}run?id={RUN.id}")
        until(lambda: found(browser, ".uplot canvas"))
        assert found(browser, ".state.is-running")
        with Store(path) as store:
            store.end(RUN.id, "finished", RUN.usage, {})
        until(lambda: found(browser, ".state.is-finished") and found(browser, ".uplot canvas"))
        assert found(browser, "#live[hx-get]") == []
        assert complaints(browser) == []


def test_a_person_logs_in_and_rolls_back_by_keyboard_on_a_phone(browser: Any, path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    key = given_key(path, admin=True)
    browser.set_window_size(500, 900)
    with served(path, Door.at("0.0.0.0", lends_a_key=False, has_keys=True)) as home:
        browser.get(f"{home}namespace?name=support")
        browser.switch_to.active_element.send_keys(key, Keys.ENTER)  # the field has the focus
        until(lambda: found(browser, ".confirm summary"))
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.execute_script("return document.cookie") == ""
        browser.find_element("css selector", ".confirm summary.danger").send_keys(Keys.ENTER)
        field = browser.find_element("css selector", ".confirm[open] input[name=why]")
        field.send_keys("it hurts", Keys.TAB, Keys.ENTER)
        until(lambda: "#history" in browser.current_url)
        assert "it hurts" in browser.find_element("css selector", ".history").text
        with Store(path) as store:
            live, told = store.live("support"), store.history_of("support")[-1]
        assert live and live.prior.id != HOSTILE_PRIOR.id
        assert (told.actor, told.prior) == ("person", HOSTILE_PRIOR.id)
        assert [line for line in complaints(browser) if "401" not in line] == []
        browser.find_element("css selector", ".leave button").click()
        until(lambda: found(browser, "#key"))
