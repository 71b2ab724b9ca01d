"""A headless Chromium for tests, driven over the DevTools protocol through two pipes: standard library only, no port, no network.

with Browser() as browser:                      # skip the test where find_chromium() is None
    page = browser.open(path.as_uri(), width=390, touch=True)
    page.click("button"); page.press("Enter"); page.evaluate("document.title"); page.screenshot(path)
    assert page.errors == [] and page.requests == [path.as_uri()]
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_SECONDS = 120.0
# Chromium reads commands from descriptor 3 and writes answers to 4; this child puts the pipes there and becomes the browser.
_LAUNCHER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3, inheritable=True)
os.dup2(write, 4, inheritable=True)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " "), "Escape": (27, ""), "ArrowLeft": (37, ""), "ArrowUp": (38, ""),
         "ArrowRight": (39, ""), "ArrowDown": (40, ""), "Home": (36, ""), "End": (35, "")}  # fmt: skip
SHIFT = 8


def find_chromium() -> str | None:
    """The browser: CHROMIUM when it is set, otherwise the first known name on the PATH."""
    given = os.environ.get("CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser with a profile of its own, gone at the end of the `with`."""

    def __init__(self) -> None:
        program = find_chromium()
        assert program, "no Chromium: ask find_chromium() first"
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command_read, self._command = os.pipe()
        self._answer, answer_write = os.pipe()
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
                 f"--user-data-dir={self._profile.name}", "about:blank")  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, str(command_read), str(answer_write), program, *flags],
            pass_fds=(command_read, answer_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self._buffer = bytearray()
        self._messages: deque[dict[str, Any]] = deque()
        self._number = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._command)
        os.close(self._answer)
        self._profile.cleanup()

    def open(self, url: str, *, width: int = 1280, height: int = 900, touch: bool = False, dark: bool = False) -> Page:
        """A tab of that size that has loaded `url`, its errors and requests noted from the first byte on."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height, touch=touch)
        page.prefer(dark=dark)
        page.go(url)
        return page

    def call(self, method: str, parameters: Mapping[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """One command and its result; events that arrive meanwhile reach their pages."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": dict(parameters or {}), **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._command, data) :]
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.receive(end - time.monotonic())
            assert answer is not None, f"no answer to {method} in {PATIENCE_SECONDS:.0f} s"
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message within that time; events are handed to their page first."""
        end = time.monotonic() + seconds
        while not self._messages:
            ready, _, _ = select.select([self._answer], [], [], max(end - time.monotonic(), 0))
            if not ready:
                return None
            chunk = os.read(self._answer, 1 << 16)
            assert chunk, "the browser ended"
            self._buffer += chunk
            *whole, rest = bytes(self._buffer).split(b"\0")
            self._messages.extend(json.loads(text) for text in whole)
            self._buffer = bytearray(rest)
        message = self._messages.popleft()
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.note(message["method"], message["params"])
        return message


class Page:
    """One tab. errors: console errors and uncaught exceptions; requests: every address it asked for, in order."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = False
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One command of the protocol to this tab."""
        return self._browser.call(method, parameters, self._session)

    def note(self, method: str, parameters: Mapping[str, Any]) -> None:
        """Keep what an event says."""
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}".strip())

    def go(self, url: str) -> None:
        """Load an address and wait for its load event."""
        self._loaded = False
        assert "errorText" not in (answer := self.call("Page.navigate", {"url": url})), answer
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._loaded:
            assert self._browser.receive(end - time.monotonic()) is not None, f"{url} did not load"

    def resize(self, width: int, height: int = 900, *, touch: bool = False) -> None:
        """Give the viewport that many CSS pixels; touch: as a phone has it."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", size)
        self.call("Emulation.setTouchEmulationEnabled", {"enabled": touch})

    def prefer(self, *, dark: bool = False, reduced_motion: bool = False, medium: str = "") -> None:
        """What the reader's system asks for; medium `print` shows the page as it is printed."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def evaluate(self, code: str) -> Any:
        """The value of a JavaScript expression (of a promise: what it settles to). AssertionError when it throws."""
        answer = self.call("Runtime.evaluate", {"expression": code, "returnByValue": True, "awaitPromise": True, "userGesture": True})
        assert "exceptionDetails" not in answer, answer["exceptionDetails"].get("exception", {}).get("description")
        return answer["result"].get("value")

    def wait_for(self, code: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Until the expression is true; AssertionError when it never is."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({code})"):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)

    def centre_of(self, selector: str) -> tuple[float, float]:
        """Where an element is after it was scrolled into view; it must be there and be the one that is hit."""
        found = self.evaluate(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              if (!element) return "absent";
              element.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
              const box = element.getClientRects()[0];
              if (!box) return "not shown";
              const x = box.x + box.width / 2, y = box.y + box.height / 2, hit = document.elementFromPoint(x, y);
              return hit && (element.contains(hit) || hit.contains(element)) ? [x, y] : "covered";
            }})()"""
        )
        assert isinstance(found, list), f"{selector} is {found}"
        return float(found[0]), float(found[1])

    def hover(self, selector: str) -> None:
        """Move the mouse there."""
        x, y = self.centre_of(selector)
        self.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})

    def click(self, selector: str) -> None:
        """A real click of the left button in the middle of the element."""
        x, y = self.centre_of(selector)
        for kind, buttons in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)):
            event = {"type": kind, "x": x, "y": y, "button": "left" if kind != "mouseMoved" else "none", "buttons": buttons}
            self.call("Input.dispatchMouseEvent", {**event, "clickCount": int(kind != "mouseMoved")})

    def tap(self, selector: str) -> None:
        """A finger on the element (the tab must have been opened with touch)."""
        x, y = self.centre_of(selector)
        self.call("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        self.call("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def press(self, key: str, *, shift: bool = False) -> None:
        """One of Enter, Tab, Escape, space, the arrows, Home and End, or a letter."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key))
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": SHIFT if shift else 0}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", **event, **({"text": text} if text else {})})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def type(self, text: str) -> None:
        """Text at the cursor, in any script."""
        self.call("Input.insertText", {"text": text})

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """A png of the viewport, or of the whole page."""
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": full}
        if full:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", options)["data"]))
