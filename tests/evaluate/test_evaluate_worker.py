"""A stop signal ends the evaluator with 75 and one line, whatever is under way."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.evaluate import run, worker


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of the test session come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def plainly(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def inside_a_library_that_converts_errors(*_: Any, **__: Any) -> None:
    class Odd:
        @property
        def __signature__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def __call__(self) -> None:
            """Nothing."""

    inspect.getfullargspec(Odd())


def swallowed(*_: Any, **__: Any) -> run.Summary:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        return run.Summary(failures=["one"])
    raise AssertionError


@pytest.mark.parametrize("moment", [plainly, inside_a_library_that_converts_errors, swallowed])
def test_stop_signal(
    moment: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "evaluate_runs", moment)
    assert worker.main(["--out", str(tmp_path), "some-run"]) == 75
    said = capsys.readouterr().err
    assert said == "evaluate: stopped; finished tasks are kept, the same command continues\n"


def test_a_defect_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any, **__: Any) -> None:
        raise TypeError("ours")

    monkeypatch.setattr(run, "evaluate_runs", defect)
    with pytest.raises(TypeError, match="ours"):
        worker.main(["--out", str(tmp_path), "some-run"])
