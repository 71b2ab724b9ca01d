"""The local dashboard: rows once and only once in its store, and a real browser that sees the curves."""

import functools
import importlib.util
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, find_chromium
from dashboard_study import EVALUATIONS, LEVELS, NAME, ROWS, STEP_TOKENS, evaluation_rows, run_id, train_row, write_study
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths, trackio_folder
from swallow_exp.record.events import append_events
from swallow_exp.track.local import open_dashboard
from swallow_exp.track.rows import read_metric_rows

needs_trackio = pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output root with a finished sweep of three runs."""
    root = tmp_path / "out"
    write_study(root)
    return root


FILL = """
import os, signal, sys
from pathlib import Path
from swallow_exp.track import local, trackio_sink
out, name, die_in_block, group = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[2]
trackio_sink.BLOCK_ROWS = 7
from swallow_exp.artefact.paths import trackio_folder
storage = trackio_sink.open_store(trackio_folder(out)).SQLiteStorage
write, blocks = storage.bulk_log, []
def write_or_die(*given, **named):
    blocks.append(1)
    if len(blocks) == die_in_block:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given, **named)
storage.bulk_log = write_or_die
local.fill(out, name, group, sys.argv[4:], {})
"""


def fill(out: Path, *, die_in_block: int = 0) -> int:
    """Publish the sweep to its store in a process (one process has one store); returns its exit code."""
    command = [sys.executable, "-c", FILL, str(out), NAME, str(die_in_block), *map(run_id, LEVELS)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


def stored(out: Path) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """run_id -> (step, metrics) of every row in the store, in the order it has them."""
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    with sqlite3.connect(trackio_folder(out) / f"{NAME}.db") as database:
        for run, step, metrics in database.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id"):
            rows.setdefault(run, []).append((step, json.loads(metrics)))
    database.close()
    return rows


def assert_store_has_the_outboxes(out: Path) -> None:
    outboxes = {run_id(level): read_metric_rows(RunPaths.of(out, run_id(level)).events) for level in LEVELS}
    assert stored(out) == {run: [(row.sequence, dict(row.values)) for row in rows] for run, rows in outboxes.items()}


@needs_trackio
def test_killed_repeated_continued_replaced_and_removed(out: Path) -> None:
    assert fill(out, die_in_block=9) == -signal.SIGKILL  # in the middle of the second run
    assert 0 < sum(len(rows) for rows in stored(out).values()) < 3 * (ROWS + 10)
    assert fill(out) == 0
    assert_store_has_the_outboxes(out)
    append_events(RunPaths.of(out, run_id("none")).events, [train_row(ROWS + 1, 0), *evaluation_rows(2, 0)])  # a late evaluation
    for level, number in (("ntp_mixed", 5), ("ntp_two_staged", 2)):  # replaced by other rows, and by fewer of the same
        RunPaths.of(out, run_id(level)).events.unlink()
        append_events(RunPaths.of(out, run_id(level)).events, [train_row(step, number) for step in range(1, 11)])
    assert fill(out) == 0
    assert_store_has_the_outboxes(out)
    for file in trackio_folder(out).iterdir():
        file.unlink()
    (trackio_folder(out) / f"{NAME}.db").write_bytes(b"no database" * 500)
    assert fill(out) == 1
    (trackio_folder(out) / f"{NAME}.db").unlink()
    assert fill(out) == 0  # only a view: made again from the outboxes
    assert_store_has_the_outboxes(out)


PROJECTS = """
import sys
from pathlib import Path
from swallow_exp.track import trackio_sink
trackio = trackio_sink.open_store(Path(sys.argv[1]))
for name in sys.argv[2:]:
    project = trackio_sink.project_of(trackio, name)
    trackio.SQLiteStorage.validate_project_name(project)
    assert trackio_sink.project_of(trackio, project) == project
    print(project)
"""


@needs_trackio
def test_every_sweeps_name_has_a_project_of_its_own(tmp_path: Path) -> None:
    names = [NAME, "a.b", "ab", "tokens_system", "registry-x", "registry-a.b_system", "7b-2.5"]
    command = [sys.executable, "-c", PROJECTS, str(tmp_path / "store"), *names]
    projects = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert projects[0] == NAME and projects[2] == "ab" and len(set(projects)) == len(names)


@pytest.mark.parametrize("name", ["absent", "../sweeps/pairs", ""])
def test_an_unknown_name_is_one_line(out: Path, name: str) -> None:
    with pytest.raises(RequestError, match=f"no sweep {name} under"):
        open_dashboard(out, name)


def test_nothing_written_and_a_wrong_port_are_one_line(tmp_path: Path) -> None:
    write_study(tmp_path, written=False)
    with pytest.raises(RequestError, match="nothing to show of pairs: none of its runs has written anything yet"):
        open_dashboard(tmp_path, NAME)
    with pytest.raises(RequestError, match=r"--port 70000; expected a port up to 65,535"):
        open_dashboard(tmp_path, NAME, port=70_000)
    assert not trackio_folder(tmp_path).exists()


def test_a_missing_extra_is_named(out: Path, swallow: Any, tmp_path: Path) -> None:
    (tmp_path / "trackio").mkdir()
    (tmp_path / "trackio" / "__init__.py").write_text("raise ImportError('not here')")
    done = swallow("dashboard", "open", NAME, "--no-open")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install 'swallow_exp[local]'" in done.stderr
    assert not trackio_folder(out).exists() and not RunPaths.of(out, run_id("none")).publication_lock("trackio").parent.exists()


@pytest.fixture
def dashboard(out: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`swallow dashboard open` as a person starts it, with a home folder that must stay empty: its address and process."""
    home = tmp_path / "persons-home"
    home.mkdir()
    command = [sys.executable, "-m", "swallow_exp", "dashboard", "open", NAME, "--no-open", "--out", str(out)]
    env = {**os.environ, "HOME": str(home), "TRACKIO_SPACE_ID": "somebody/space"}  # must not be sent anything
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        env.pop(name, None)
    # a test run in the background of a shell ignores Ctrl-C, and so would what it starts
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    assert process.stdout is not None and process.stderr is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()
    assert list(home.iterdir()) == []


# Columns of a plot's canvas that show the colour of each run in its legend: a curve spans many, a dot few, an empty plot none.
COLUMNS = """(() => {
  const plot = document.querySelector('.plot-container[data-metric="METRIC"]'), canvas = plot.querySelector("canvas");
  const {width, height} = canvas, pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data, counts = {};
  for (const item of plot.querySelectorAll(".legend-item")) {
    const colour = getComputedStyle(item.querySelector(".legend-dot")).backgroundColor.match(/\\d+/g).map(Number);
    const seen = new Set();
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 200 && colour.every((part, j) => Math.abs(pixels[i + j] - part) < 12)) seen.add((i / 4) % width);
    counts[item.textContent.trim()] = seen.size / width;
  }
  return counts;
})()"""


def curves(page: Page, metric: str) -> dict[str, float]:
    """Run -> share of the plot's width that its curve spans."""
    plot = f"""document.querySelector('.plot-container[data-metric="{metric}"]')"""
    page.wait_for(plot)
    page.evaluate(f"{plot}.scrollIntoView()")
    page.wait_for(f"{plot}.querySelector('canvas')")
    page.wait_for(f"Object.values({COLUMNS.replace('METRIC', metric)}).some(share => share > 0)")
    return dict(page.evaluate(COLUMNS.replace("METRIC", metric)))


@needs_trackio
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on the PATH (CHROMIUM names one)")
def test_a_browser_sees_the_curves_over_tokens_without_smoothing(out: Path, dashboard: tuple[str, Any], tmp_path: Path) -> None:
    address, process = dashboard
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/\?project={NAME}&x_axis=trained_tokens&smoothing=0", address), process.communicate()
    with Browser() as browser:
        page = browser.open(address, width=1400, height=1000)
        page.wait_for("window.trackio && window.trackio.getViewState().metrics.length > 0", 30)
        view = page.evaluate("window.trackio.getViewState()")
        assert (view["x_axis"], view["smoothing"], view["latest_x"]) == ("trained_tokens", 0, ROWS * STEP_TOKENS)
        assert view["metrics"][0] == "train/loss" and set(EVALUATIONS) <= set(view["metrics"])
        text = page.evaluate("document.body.innerText")
        assert all(word in text for word in ("loss", "bleu", "f1", *LEVELS))
        for metric in ("train/loss", *EVALUATIONS):
            spans = curves(page, metric)
            assert set(spans) == set(LEVELS)
            assert min(spans.values()) > 0.3, (metric, spans)
        late = [row for step in (24, 28) for row in evaluation_rows(step, 1)]
        append_events(RunPaths.of(out, run_id("ntp_mixed")).events, late)  # while it is open
        page.wait_for(f"window.trackio.getViewState().latest_x === {28 * STEP_TOKENS}", 60)
        page.evaluate("document.querySelector('.plot-container').scrollIntoView()")
        page.screenshot(tmp_path / "dashboard.png")
        assert page.errors == []
        hosts = {url.split("/")[2] for url in page.requests if not url.startswith(("data:", "blob:"))}
        assert hosts == {address.split("/")[2]}  # nothing from anywhere else
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0 and "Traceback" not in errors


@needs_trackio
def test_a_taken_port_is_one_line(out: Path, swallow: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = swallow("dashboard", "open", NAME, "--no-open", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "is in use" in done.stderr and "--port" in done.stderr
