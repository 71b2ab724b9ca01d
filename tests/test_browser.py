"""The browser of the tests sees what is wrong with a page, and acts as a reader does."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, find_chromium

PAGE = """<!doctype html><html lang="en"><title>問い</title>
<meta name="viewport" content="width=device-width"><body style="margin:0"><button id="b">one</button><input id="i">
<p id="low" style="margin-top:3000px">low</p><img src="absent.png" alt="">
<script>
  document.getElementById("b").addEventListener("click", event => event.target.textContent += event.detail ? " click" : " key");
  document.getElementById("low").addEventListener("touchstart", event => event.target.textContent = "tapped");
  console.log("fine"); console.error("told", 7); setTimeout(() => { throw new Error("thrown"); });
</script></body></html>"""


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on the PATH (CHROMIUM names one)")
def test_errors_requests_and_gestures_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGE, encoding="utf-8")
    with Browser() as browser:
        page = browser.open(path.as_uri(), width=390, touch=True, dark=True)
        page.wait_for("document.title === '問い'")
        page.click("#b")
        page.press("Enter")
        assert page.evaluate("document.getElementById('b').textContent") == "one click key"
        page.press("Tab")
        page.type("字")
        assert page.evaluate("document.activeElement.value") == "字"
        page.tap("#low")
        page.wait_for("document.getElementById('low').textContent === 'tapped'")
        assert page.evaluate("[innerWidth, matchMedia('(prefers-color-scheme:dark)').matches]") == [390, True]
        assert [url.rsplit("/", 1)[-1] for url in page.requests] == ["page.html", "absent.png"]
        told = "\n".join(page.errors)
        assert "told 7" in told and "Error: thrown" in told and "fine" not in told and "absent.png" in told
        page.screenshot(tmp_path / "full.png", full=True)
        with pytest.raises(AssertionError, match="#nothing is absent"):
            page.click("#nothing")
    assert (tmp_path / "full.png").read_bytes()[:4] == b"\x89PNG"
