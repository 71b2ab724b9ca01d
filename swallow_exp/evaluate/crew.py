"""One evaluation by several processes: the first one asks and writes, the others compute their share of every question.

(1) join     RANK, WORLD_SIZE, ... of the launcher or torchrun   -> Crew
(2) load     every process the same export, on its own device
(3) ask      the first one sends what is asked, each computes its part of the packs, the first one puts the parts together
(4) end      the first one dismisses the others; when one is lost, the rest end with a message

Packs do not depend on the number of processes, so neither does any bit of the results (on equal devices). Tasks, prompts and files are
the first process's business alone.

Reads   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT; exports. Writes  nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, RunFailed, SwallowError
from swallow_exp.evaluate.engine.windows import Budget, Window
from swallow_exp.evaluate.harness import Settings, load_checkpoint, load_engine

WAIT = timedelta(days=7)  # the first process may wait as long for another evaluator; a lost process shows at once


class ProcessLost(SwallowError):
    """Another process of this evaluation ended: nothing further can be asked."""


@dataclass(frozen=True)
class Load:
    """Load an export."""

    export: Path
    settings: Settings
    device: str | None
    threads: int


@dataclass(frozen=True)
class Ask:
    """Compute the share of a question: a method of the engine and its arguments."""

    method: str  # score_part | generate_part
    asked: Sequence[Any]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Crew:
    """This process among those of one evaluation."""

    rank: int
    size: int

    @classmethod
    def join(cls, environment: Mapping[str, str]) -> Crew:
        """Meet the other processes. On a processor they share its cores."""
        import torch

        size = int(environment["WORLD_SIZE"])

        if "OMP_NUM_THREADS" not in environment:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(environment.get("LOCAL_WORLD_SIZE", size))))
        torch.distributed.init_process_group("gloo", timeout=WAIT)  # what travels is small: ids there, numbers back
        return cls(int(environment["RANK"]), size)

    def load(self, export: Path, settings: Settings, *, device: str | None = None) -> Any:
        """As harness.load_checkpoint, in every process; what comes back asks all of them."""
        import torch

        order = Load(export, settings, device, torch.get_num_threads())

        def work() -> Any:
            return load_checkpoint(export, settings, device=_own_device(settings, device))

        model, *_ = self._together(order, work, answer=lambda _: None)
        model.engine = CrewEngine(self, model.engine)
        return model

    def ask(self, engine: Any, ask: Ask) -> list[dict[int, Any]]:
        """The parts of all processes."""
        return self._together(ask, lambda: _share_of(engine, ask, self))

    def dismiss(self) -> None:
        """Send the others home."""
        self._send(None)

    def follow(self) -> int:
        """Do what the first process asks until it dismisses this one; returns the exit code. Raises ProcessLost."""
        import torch

        engine: Any = None
        while (order := self._receive()) is not None:
            try:
                if isinstance(order, Load):
                    engine = None  # free the last one first
                    torch.set_num_threads(order.threads)
                    engine = load_engine(order.export, order.settings, device=_own_device(order.settings, order.device))
                    self._answer(("done", None))
                else:
                    self._answer(("done", _share_of(engine, order, self)))
            except Exception as error:
                if isinstance(error, ProcessLost):
                    raise
                self._answer(("failed", str(error) if isinstance(error, SwallowError) else f"{type(error).__name__}: {error}"))
        return EXIT_DONE

    def _together(self, order: Any, work: Callable[[], Any], *, answer: Callable[[Any], Any] = lambda found: found) -> list[Any]:
        """Send the order, do the first process's share; own answer and those of the others, by rank. All stay in step if one fails."""
        self._send(order)
        mine, failure = None, None
        try:
            mine = work()
        except Exception as error:
            failure = error
        answers = self._gather()
        if failure is not None:
            raise failure
        for rank, (state, found) in enumerate(answers):
            if rank and state == "failed":
                raise RunFailed(f"process {rank}: {found}")
        return [mine, *(answer(found) for _, found in answers[1:])]

    def _send(self, order: Any) -> None:
        import torch

        with _on_lost_peer():
            torch.distributed.broadcast_object_list([order], src=0)

    def _receive(self) -> Any:
        import torch

        order = [None]
        with _on_lost_peer():
            torch.distributed.broadcast_object_list(order, src=0)
        return order[0]

    def _answer(self, answer: tuple[str, Any]) -> None:
        import torch

        with _on_lost_peer():
            torch.distributed.gather_object(answer, None, dst=0)

    def _gather(self) -> list[tuple[str, Any]]:
        import torch

        answers: list[Any] = [None] * self.size
        with _on_lost_peer():
            torch.distributed.gather_object(("done", None), answers, dst=0)
        return answers


class CrewEngine:
    """An engine whose questions all processes answer together. Lives in the first process."""

    def __init__(self, crew: Crew, engine: Any) -> None:
        """`engine` is the first process's own."""
        self.crew, self.engine = crew, engine
        # that of the first process's share stands for all: the shares are about as heavy
        self.progress: Callable[[float], None] = engine.progress

    @property
    def model(self) -> Any:
        """The first process's model."""
        return self.engine.model

    def score(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """As TorchEngine."""
        return self._ask(len(windows), Ask("score_part", windows, {}))

    def generate(self, contexts: Sequence[Sequence[int]], *, until: tuple[str, ...], budget: Budget) -> list[list[int]]:
        """As TorchEngine."""
        return self._ask(len(contexts), Ask("generate_part", contexts, {"until": until, "budget": budget}))

    def _ask(self, count: int, ask: Ask) -> list[Any]:
        from swallow_exp.evaluate.engine.torch_engine import merge

        self.engine.progress = self.progress
        return merge(count, self.crew.ask(self.engine, ask))


def _share_of(engine: Any, ask: Ask, crew: Crew) -> dict[int, Any]:
    found: dict[int, Any] = getattr(engine, ask.method)(ask.asked, crew.rank, crew.size, **ask.options)
    return found


def _own_device(settings: Settings, device: str | None) -> str | None:
    """Each process of a machine has a card of its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if settings.device == "cuda" else device


@contextmanager
def _on_lost_peer() -> Iterator[None]:
    """A broken connection as ProcessLost."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost("another process of this evaluation is gone; finished tasks are kept, the same command continues") from error
