"""An engine that is believed only once it agrees with the one we trust, on NUM_ITEMS questions of each kind and each model.

(1) choose    of the first questions of a kind (likelihoods, answers), NUM_ITEMS that lie evenly among them
(2) ask       both engines the same ids
(3) compare   likelihoods within a tolerance a token, the greedy flag, answers id by id
(4) refuse    with the differences listed, or go on with the engine alone

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.evaluate.engine.encoding import TextEncoder
from swallow_exp.evaluate.engine.windows import Budget, Window

NUM_ITEMS = 50
MAX_SHOWN = 5
# assumed: what two orders of addition may differ by for a token; several times what was seen between batch shapes in float32
EXACT_TOLERANCE, HALF_TOLERANCE = 1e-4, 2e-2
# assumed: in half precision two pieces are now and then equally likely, and an answer parts there
HALF_ANSWERS = 0.1


class ParityEngine:
    """`engine`, once it has been compared with what `trusted` loads."""

    def __init__(self, engine: Any, trusted: Callable[[], Any], encoder: TextEncoder, *, name: str, dtype: str) -> None:
        """`trusted` is called once for each kind of question, and what it loaded is freed after the comparison."""
        self.engine, self._trusted, self._encoder, self._name = engine, trusted, encoder, name
        self._exact = dtype == "float32"
        self._checked: set[str] = set()
        self.progress: Callable[[float], None] = lambda share: None  # vLLM answers a question as a whole

    def score(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """As the engine. Raises RunFailed where it does not agree."""
        if windows and "score" not in self._checked:
            self._check_scores([windows[place] for place in _evenly(len(windows))])
        found: list[tuple[float, bool]] = self.engine.score(windows)
        self.progress(1.0)
        return found

    def generate(self, contexts: Sequence[Sequence[int]], *, until: tuple[str, ...], budget: Budget) -> list[list[int]]:
        """As the engine. Raises RunFailed where it does not agree."""
        if contexts and "generate" not in self._checked:
            self._check_answers([contexts[place] for place in _evenly(len(contexts))], until, budget)
        found: list[list[int]] = self.engine.generate(contexts, until=until, budget=budget)
        self.progress(1.0)
        return found

    def _check_scores(self, windows: Sequence[Window]) -> None:
        tolerance = EXACT_TOLERANCE if self._exact else HALF_TOLERANCE
        differences = []
        pairs = zip(windows, self.engine.score(windows), self._trusted().score(windows), strict=True)
        for place, (window, (total, greedy), (expected, was_greedy)) in enumerate(pairs):
            # a greedy flag may turn where the choice is as good as even; in float32 that is no excuse
            if not abs(total - expected) <= tolerance * window.num_targets or (self._exact and greedy != was_greedy):
                flags = "" if greedy == was_greedy else f", greedy {greedy} against {was_greedy}"
                text = self._encoder.decode(window.ids[-window.num_targets :])
                differences.append(f"#{place} {text!r}: log-likelihood {total:.5f} against {expected:.5f}{flags}")
        self._judge("log-likelihoods", differences, len(windows), allowed=0.0)
        self._checked.add("score")

    def _check_answers(self, contexts: Sequence[Sequence[int]], until: tuple[str, ...], budget: Budget) -> None:
        asked = {"until": until, "budget": budget}
        answers = zip(self.engine.generate(contexts, **asked), self._trusted().generate(contexts, **asked), strict=True)
        differences = [
            f"#{place} {self._encoder.decode(ids)!r} against {self._encoder.decode(expected)!r}"
            for place, (ids, expected) in enumerate(answers)
            if list(ids) != list(expected)
        ]
        self._judge("answers", differences, len(contexts), allowed=0.0 if self._exact else HALF_ANSWERS)
        self._checked.add("generate")

    def _judge(self, kind: str, differences: Sequence[str], count: int, *, allowed: float) -> None:
        if len(differences) <= allowed * count:
            return
        shown = "; ".join(differences[:MAX_SHOWN]) + (f"; and {len(differences) - MAX_SHOWN} more" if len(differences) > MAX_SHOWN else "")
        raise RunFailed(
            f"{self._name} is not believed: {len(differences)} of {count} {kind} differ from the Hugging Face backend's: {shown};"
            " evaluate with suite.backend=hf"
        )


def _evenly(count: int) -> list[int]:
    """At most NUM_ITEMS places, from the first to the last."""
    wanted = min(count, NUM_ITEMS)
    return sorted({place * (count - 1) // max(1, wanted - 1) for place in range(wanted)})
