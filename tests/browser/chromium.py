"""Chromium without a window, with the actions of a person."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.support.eventually import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.debian import Packages

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--lang=en-GB",
)
WIDTH: Final = 1280
HEIGHT: Final = 900


class Browser:
    """
    A browser for Airflow's pages.

    :param driver: The driver that controls it.
    :param url: The URL of Airflow.
    :param pictures: The folder for pictures; None for no pictures.
    """

    def __init__(self, driver: Any, url: str, pictures: Path | None) -> None:
        self._driver = driver
        self._url = url
        self._pictures = pictures

    def open(self, path: str) -> None:
        """Open one of Airflow's pages, or that of a whole URL, in a view of the default size."""
        self.resize(HEIGHT)
        self._driver.get(path if "://" in path else f"{self._url}{path}")

    @property
    def title(self) -> str:
        """The title of the page."""
        return str(self._driver.title)

    def resize(self, height: int) -> None:
        """Set the height of the view, in pixels."""
        # The window has a frame even without a screen.
        frame = self._driver.execute_script("return window.outerHeight - window.innerHeight")
        self._driver.set_window_size(WIDTH, height + frame)

    def see(self, xpath: str, *, within: float = 30.0) -> Any:
        """Wait for a visible element, and return the first one."""
        return until(lambda: next(iter(self.all(xpath)), None), f"{xpath} on the page", within=within)

    def all(self, xpath: str) -> list[Any]:
        """Return all elements that are visible at this moment."""
        try:
            return [found for found in self._driver.find_elements(By.XPATH, xpath) if found.is_displayed()]
        except StaleElementReferenceException:
            # The page was redrawn in between.
            return []

    def click(self, xpath: str) -> None:
        """Click on an element once it can be clicked."""
        until(lambda: self._clicked(xpath), f"{xpath} to click on", within=30)

    def _clicked(self, xpath: str) -> bool:
        try:
            self.see(xpath).click()
        except (ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException):
            # A part is still unfolding, or the page is being redrawn.
            return False
        return True

    def hover(self, element: Any) -> None:
        """Put the pointer over an element."""
        ActionChains(self._driver).move_to_element(element).perform()

    @contextmanager
    def inside(self, frame: Any) -> Iterator[None]:
        """Look into a frame of the page."""
        self._driver.switch_to.frame(frame)
        try:
            yield
        finally:
            self._driver.switch_to.default_content()

    @contextmanager
    def dark(self) -> Iterator[None]:
        """Prefer dark colours."""
        command = "Emulation.setEmulatedMedia"
        self._driver.execute_cdp_cmd(command, {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        try:
            yield
        finally:
            self._driver.execute_cdp_cmd(command, {"features": []})

    @property
    def text(self) -> str:
        """The visible text of the page; empty while another page takes its place."""
        try:
            return str(self._driver.find_element(By.TAG_NAME, "body").text)
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    def read(self, *words: str, within: float = 30.0) -> str:
        """Wait until the page shows all these words, and return its text."""
        return until(
            lambda: text if all(word in (text := self.text) for word in words) else "",
            f"{words} on the page",
            within=within,
        )

    @property
    def source(self) -> str:
        """The HTML of the page as it is drawn, with the values of its fields."""
        return str(self._driver.page_source)

    def forget_cookies(self) -> None:
        """Delete the cookies of the page's host, and so the session."""
        self._driver.delete_all_cookies()

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns or what its promise becomes."""
        return self._driver.execute_script(script, *arguments)

    def picture(self, name: str, element: Any = None) -> None:
        """Take a picture of an element, or of the visible part of the page."""
        if self._pictures is None:
            return
        self._pictures.mkdir(parents=True, exist_ok=True)
        taken = element.screenshot_as_png if element else self._driver.get_screenshot_as_png()
        self._pictures.joinpath(f"{name}.png").write_bytes(taken)


@contextmanager
def browser(packages: Packages, folder: Path, url: str, pictures: Path | None) -> Iterator[Browser]:
    """
    Start a browser with a new profile.

    :param packages: The packages to fetch it from, if it is not on this machine.
    :param folder: An empty folder for its profile.
    :param url: The URL of Airflow.
    :param pictures: The folder for pictures; None for no pictures.
    :return: The browser.
    :raises MissingError: When it is not on this machine and cannot be fetched.
    """
    driver = packages.find("chromedriver", "chromium-driver")
    program = packages.find("chromium", "chromium")
    options = webdriver.ChromeOptions()
    # Debian's own start script searches for the program in the machine's folders only.
    itself = program.path.parent.parent / "lib" / "chromium" / "chromium"
    options.binary_location = str(itself if itself.is_file() else program.path)
    for flag in (*_FLAGS, f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(flag)
    service = Service(str(driver.path), env={**os.environ, **program.env})
    running = webdriver.Chrome(options=options, service=service)
    running.set_page_load_timeout(60)
    try:
        yield Browser(running, url, pictures)
    finally:
        running.quit()
