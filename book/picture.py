"""For maintainers: draw the picture of the server's page that notebook 7 and the guide show.

Serves the adapter and the index of a workspace, asks one question in a headless Chromium, opens the
first source, and writes `_static/page.png`. The answer on it is what the model wrote.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from elara import serve  # noqa: E402
from elara.workspace import Workspace  # noqa: E402
from tests.chromium import headless  # noqa: E402

QUESTION = "What are the symptoms of iron deficiency anemia?"


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=PROJECT / "_build" / "refresh")
    workspace = Workspace(str(parser.parse_args().workspace))
    adapter, index = workspace.folder("train") / "adapter", workspace.root / "retrieval"
    settings = serve.Settings(adapter=adapter, retrieval=index, max_new_tokens=120)
    with serve.running(serve.create_app(settings)) as url, headless() as browser:
        serve.wait_until_ready(url)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.goto(f"{url}/app/")
        page.get_by_role("textbox", name="Question").fill(QUESTION)
        page.get_by_role("button", name="Send").click()
        page.get_by_role("button", name="Copy answer").wait_for(timeout=120_000)
        page.get_by_role("button", name="source").last.click()
        page.locator("mark").first.wait_for()
        target = PROJECT / "book" / "_static" / "page.png"
        page.screenshot(path=target)
        print(f"wrote {target.relative_to(PROJECT)}, {target.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
