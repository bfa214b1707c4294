"""A dashboard server and a headless Chromium for tests and screenshots."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def has_chromium() -> bool:
    """Whether Debian's Chromium is installed."""
    return shutil.which(CHROMIUM) is not None


@contextmanager
def served(lake: str, seconds: float = 60.0) -> Iterator[str]:
    """Run the dashboard on a free port of 127.0.0.1 and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "dashboard/app.py",
        "--server.port",
        str(port),
        "--",
        "--lake",
        lake,
    ]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(address, server, seconds)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_until_healthy(address: str, server: subprocess.Popen, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"the dashboard ended with code {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"the dashboard did not answer in {seconds:.0f} s")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that draws WebGL in software."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def settle(page: Page, seconds: float = 120.0) -> None:
    """Wait until the script has run, nothing is greyed out and no picture is still loading."""
    page.get_by_test_id("stHeading").first.wait_for(timeout=seconds * 1000)
    page.wait_for_function(_SETTLED, timeout=seconds * 1000, polling=100)


_SETTLED = """() => {
  const running = document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'running';
  const stale = document.querySelector('[data-stale="true"]');
  const skeleton = document.querySelector('[data-testid="stSkeleton"]');
  const loading = [...document.images].some((image) => !image.complete);
  return !running && !stale && !skeleton && !loading;
}"""
