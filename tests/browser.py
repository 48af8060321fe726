"""A headless Chromium, driven by its DevTools protocol: opens a page and says what it did, asked and complained of."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """An open page. events: what the browser told, by the protocol's method and its params."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.session, self.socket, self.number = session, socket, 0
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        number = self.number
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer = json.loads((await self.socket.receive(timeout=60)).data)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not await self.evaluate(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            await asyncio.sleep(0.05)

    async def open(self, file: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file and wait until its charts are drawn."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **screen)
        await self.call("Page.navigate", url=file.resolve().as_uri())
        await self.until("document.documentElement?.dataset.drawn === 'true'")

    async def picture(self, file: Path, whole: bool = True, clip: dict[str, float] | None = None) -> None:
        more = {"clip": {**clip, "scale": 1}} if clip else {}
        found = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, **more)
        file.write_bytes(base64.b64decode(found["data"]))

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [params for method, params in self.events if method in methods]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, violations of the policy and uncaught exceptions."""
        logged = [one["entry"]["text"] for one in self.told("Log.entryAdded")]
        printed = [json.dumps(one["args"]) for one in self.told("Runtime.consoleAPICalled")]
        thrown = [json.dumps(one["exceptionDetails"]) for one in self.told("Runtime.exceptionThrown")]
        return logged + printed + thrown

    def requests(self) -> list[str]:
        return [one["request"]["url"] for one in self.told("Network.requestWillBeSent")]


def browse(folder: Path, visit: Any) -> Any:
    """Start a browser whose files lie in a folder, await `visit` of a new page, and end it."""

    async def run() -> Any:
        command = [CHROMIUM, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        command += ["--no-first-run", "--disable-gpu", "--hide-scrollbars", "about:blank"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        log = (folder / "log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            port = folder / "DevToolsActivePort"
            end = time.monotonic() + 60
            while not (port.exists() and port.read_text().count("\n")):
                assert time.monotonic() < end, (folder / "log").read_text()
                await asyncio.sleep(0.05)
            address = f"http://127.0.0.1:{port.read_text().split()[0]}"
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{address}/json/list") as answer:
                    tabs = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    return await visit(Page(session, socket))
        finally:
            process.terminate()
            process.wait()
            log.close()

    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run())
