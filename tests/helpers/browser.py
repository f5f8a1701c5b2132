"""A page as headless Chromium shows it: what it complains of, how wide it is, which pictures load, how it looks.

Spoken to through the pipe of --remote-debugging-pipe (the DevTools protocol), which needs no package.
"""
from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def find_browser():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page. complaints: errors, warnings and messages so far; requests: the addresses that it asked for."""

    def __init__(self, writer, reader):
        self._writer, self._reader, self._numbers = writer, reader, itertools.count(1)
        self._session, self._loaded = None, False
        self.complaints, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The result of a command; events that come meanwhile are noted."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        return self._until(lambda answer: answer.get("id") == number)["result"]

    def _until(self, wanted):
        while True:
            answer = json.loads(self._read())
            if answer.get("method") in COMPLAINTS:
                self.complaints.append(json.dumps(answer["params"])[:500])
            self._loaded |= answer.get("method") == "Page.loadEventFired"  # it may come before navigate's answer
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if "error" in answer:
                raise RuntimeError(answer["error"])
            if wanted(answer):
                return answer

    def _read(self):
        data = b""
        while not data.endswith(b"\0"):
            piece = self._reader.read(1)
            if not piece:
                raise RuntimeError("the browser has gone")
            data += piece
        return data[:-1]

    def open(self, path, width, height=900, dark=False, paper=False):
        """Load a file at so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self._loaded = False
        self.call("Page.navigate", url=f"file://{os.path.abspath(path)}")
        if not self._loaded:
            self._until(lambda answer: self._loaded)

    def value(self, expression):
        """What JavaScript makes of an expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path):
        """The whole page, as PNG."""
        self.call("Page.bringToFront")
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(data))


@contextlib.contextmanager
def browse(folder):
    """A Tab of a browser that keeps its things in `folder`, and ends with the block."""
    to_browser, writer = os.pipe()
    reader, from_browser = os.pipe()
    # The browser reads commands from descriptor 3 and writes answers to 4, whatever numbers the pipes have here.
    line = [find_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--no-first-run", "--disable-extensions", "--disable-background-networking",
            f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(["bash", "-c", shell, "-", *line], pass_fds=(to_browser, from_browser),
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               env={**os.environ, "HOME": str(folder)})
    os.close(to_browser)
    os.close(from_browser)
    try:
        with os.fdopen(writer, "wb") as into, os.fdopen(reader, "rb") as out:
            yield Tab(into, out)
    finally:
        process.terminate()
        process.wait()
