"""A headless Chromium, spoken to by its DevTools protocol over a pipe: real pointer events, and what its
console complained about."""

import base64
import json
import os
import shutil
import subprocess
import sys

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)

# the browser reads its orders from descriptor 3 and answers on 4
LAUNCH = """
import fcntl, os, sys
orders, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(orders, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page at a time; `complaints` has errors of scripts, of the console and of the page's security
    policy."""

    def __init__(self, executable, profile, size=(1280, 900)):
        to_browser, self.sending = os.pipe()
        self.receiving, from_browser = os.pipe()
        start = [sys.executable, "-c", LAUNCH, str(to_browser), str(from_browser), executable, *FLAGS]
        start += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        silent = subprocess.DEVNULL
        self.process = subprocess.Popen(
            start, pass_fds=(to_browser, from_browser), stdout=silent, stderr=silent
        )
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.unread, self.complaints, self.requests, self.loaded, self.session = (
            0,
            b"",
            [],
            [],
            False,
            None,
        )
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def _next_message(self):
        while b"\0" not in self.unread:
            piece = os.read(self.receiving, 1 << 20)
            if not piece:
                raise RuntimeError(f"the browser ended with status {self.process.wait()}")
            self.unread += piece
        message, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(message)
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(
                told["exceptionDetails"]["exception"].get("description", told["exceptionDetails"]["text"])
            )
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.complaints.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        return message

    def ask(self, method, **arguments):
        self.number += 1
        order = {"id": self.number, "method": method, "params": arguments} | (
            {"sessionId": self.session} if self.session else {}
        )
        os.write(self.sending, json.dumps(order).encode() + b"\0")
        while (message := self._next_message()).get("id") != self.number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def open(self, file):
        self.loaded = False
        self.ask("Page.navigate", url=file.resolve().as_uri())
        while not self.loaded:
            self._next_message()
        self.settle()

    def settle(self):
        """Waits until what was asked for is on the screen."""
        two_frames = (
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        )
        self.ask("Runtime.evaluate", expression=two_frames, awaitPromise=True)

    def evaluate(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def mouse(self, kind, x, y):
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)
        self.settle()

    def click(self, x, y):
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name)
        self.settle()

    def screenshot(self, whole=False):
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def close(self):
        """Ends the browser that this object started."""
        os.close(self.sending)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.receiving)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser for the pages; skips where none is installed."""
    executable = next((path for path in map(shutil.which, NAMES) if path), None)
    if executable is None:
        pytest.skip(f"no browser is installed; one of {', '.join(NAMES)} would work")
    opened = Browser(executable, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
