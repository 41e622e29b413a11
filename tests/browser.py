"""A headless browser for tests of pages, over the protocol of chromedriver; needs no package."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

_PHONE = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2}}


class Browser:
    """Chromium as a phone of 390 points width, with its log and all it asks of the network."""

    def __init__(self):
        if not (shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome"))):
            pytest.skip("no chromium with chromedriver on this machine")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        quiet = subprocess.DEVNULL
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=quiet, stderr=quiet)
        self.session = None

    def __enter__(self):
        arguments = ["headless=new", "no-sandbox", "disable-gpu", "no-first-run"]
        options = {
            "args": [f"--{argument}" for argument in [*arguments, "disable-background-networking"]],
            "mobileEmulation": _PHONE,
        }
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        try:
            self._wait()
            self.session = self._ask("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.session is not None:
                self._ask(f"/session/{self.session}", None, method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, path):
        self._ask(f"/session/{self.session}/url", {"url": path.as_uri()})

    def run(self, script):
        """Give what a script returns."""
        return self._ask(f"/session/{self.session}/execute/sync", {"script": script, "args": []})

    def log(self, kind):
        return self._ask(f"/session/{self.session}/se/log", {"type": kind})

    def requests(self):
        """Give all addresses asked for but those inside the page itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["request"]["url"] for event in sent]
        return [url for url in urls if not url.startswith("data:")]

    def _wait(self):
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.base}/status", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("chromedriver did not start within 10 s")

    def _ask(self, path, body, *, method="POST"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
