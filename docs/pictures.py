"""Takes the pictures of the console and a report, in Debian's Chromium.

Start `make serve`, fit `churn` as the README does, and run

    .venv/bin/python docs/pictures.py http://127.0.0.1:8080

It sends some requests first, so that the console has traffic to show. pngquant makes
the files small.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from playwright.sync_api import Locator, Page, sync_playwright

DOCS = Path(__file__).resolve().parent
TRAFFIC_SECONDS = 20


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 1280, "height": 1160})
        page.goto(f"{address}/#/digits")
        page.locator(".answer .note").wait_for()
        send_traffic(address)
        save(page, "console.png")
        page.goto(f"{address}/#/xor")
        page.locator(".surface .legend .swatch").first.wait_for()
        save(page.locator(".under"), "console-xor.png")
        page.goto(f"{address}/console/reports/churn/{newest(address, 'churn')}")
        page.wait_for_timeout(1000)
        save(page, "report.png")
        browser.close()


def send_traffic(address: str) -> None:
    end = time.monotonic() + TRAFFIC_SECONDS
    with np.load(DOCS.parent / "trainer" / "data" / "digits.npz") as data:
        images = data["X"].tolist()
    while time.monotonic() < end:
        url = f"{address}/v1/models/digits:predict"
        body = json.dumps({"instances": [random.choice(images)]}).encode()
        urllib.request.urlopen(urllib.request.Request(url, body)).read()


def newest(address: str, model: str) -> str:
    with urllib.request.urlopen(f"{address}/v1/models/{model}") as reply:
        versions = json.load(reply)["model_version_status"]
    return str(max(int(version["version"]) for version in versions))


def save(shown: Page | Locator, name: str) -> None:
    path = DOCS / name
    shown.screenshot(path=path)
    subprocess.run(["pngquant", "--force", "--output", path, "128", path], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
