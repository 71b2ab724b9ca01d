"""An exported checkpoint as the language model lm-eval asks: text in, likelihoods and greedy answers out.

(1) encode    text                     -> ids with exactly one begin token (encoding.py)
(2) window    context + target ids     -> pieces that fit the model's length; every target token is scored once (windows.py)
(3) ask       windows, contexts        -> an engine: torch (torch_engine.py), several of them (crew.py), or vLLM (vllm_engine.py)
(4) decode    ids                      -> text before the first stop string; shortened prompts, used-up budgets and sizes are noted

Not lm-eval's own HFLM: that one cuts tok(context + answer) at len(tok(context)), so that an answer may vanish where a token spans the
join; it scores <s> twice in rolling likelihoods, edits the tokenizer's pad token, and computes every prompt from its first token on.
Given the same ids both give the same numbers.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lm_eval.api.model import LM

from swallow_exp.evaluate.engine.encoding import TextEncoder
from swallow_exp.evaluate.engine.windows import Budget, UncutLength, Window, scoring_windows

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class Engine(Protocol):
    """What runs a model. `progress` is told what share of a question has been answered since it was told last."""

    progress: Callable[[float], None]

    def score(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """Log-likelihood of each window's targets (natural log) and whether all of them are the greedy choice."""

    def generate(self, contexts: Sequence[Sequence[int]], *, until: tuple[str, ...], budget: Budget) -> list[list[int]]:
        """Greedy ids after each context, without the end token."""


class CheckpointLM(LM):  # type: ignore[misc]
    """lm-eval's interface over an engine."""

    def __init__(self, engine: Engine, encoder: TextEncoder, *, max_length: int) -> None:
        """Ask `engine`, which has the tokenizer of `encoder`. `max_length` in tokens."""
        super().__init__()
        self.engine, self.encoder, self.max_length = engine, encoder, max_length
        self.bos = True  # whether <s> stands before a prompt
        self.truncated: set[str] = set()  # prompts that lost their start, since the last `begin`
        self.exhausted: set[str] = set()  # prompts whose answer ended at the budget, likewise
        self.written: dict[str, UncutLength] = {}  # prompt -> size of its answer before anything was cut off, likewise

    @property
    def model(self) -> Any:
        """The model itself, where the engine has one."""
        return self.engine.model  # type: ignore[attr-defined]

    def watch(self, progress: Callable[[float], None]) -> None:
        """From now on `progress` is told how far each question is; the shares of a question add up to 1 at most."""
        self.engine.progress = progress

    def begin(self, *, bos: bool = True) -> None:
        """Get ready for a task: `bos` as it wants it; shortened prompts and used-up budgets are counted anew."""
        self.bos = bos
        self.truncated.clear()
        self.exhausted.clear()
        self.written.clear()

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(context, continuation) -> (log-likelihood of the continuation, whether it is the greedy answer)."""
        pairs = [self.encoder.pair(*request.args, bos=self.bos) for request in requests]
        return self._score_pairs(pairs, [str(request.args[0]) for request in requests])

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """(text,) -> log-likelihood of the whole text after <s>, without the end token."""
        pairs = [([self.encoder.bos_id], self.encoder.encode(request.args[0])) for request in requests]
        return [total for total, _ in self._score_pairs(pairs, [""] * len(pairs))]

    def _score_pairs(self, pairs: Sequence[tuple[list[int], list[int]]], prompts: Sequence[str]) -> list[tuple[float, bool]]:
        windows: list[Window] = []
        owners: list[int] = []
        for owner, ((context, target), prompt) in enumerate(zip(pairs, prompts, strict=True)):
            bos_id = self.encoder.bos_id if self.bos else None
            pieces, truncated = scoring_windows(context, target, bos_id=bos_id, max_length=self.max_length)
            if truncated:
                self.truncated.add(prompt)
            windows.extend(pieces)
            owners.extend([owner] * len(pieces))
        totals, greedy = [0.0] * len(pairs), [True] * len(pairs)
        for owner, (total, is_greedy) in zip(owners, self.engine.score(windows), strict=True):
            totals[owner] += total
            greedy[owner] &= is_greedy
        return list(zip(totals, greedy, strict=True))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """(context, {"until", "max_gen_toks", "max_new_bytes", ...}) -> greedy text before the first stop string."""
        answers = [""] * len(requests)
        groups: dict[tuple[tuple[str, ...], Budget], list[int]] = {}
        for row, request in enumerate(requests):
            settings = request.args[1]
            budget = Budget(
                self.answer_tokens(settings["max_gen_toks"]),
                settings.get("max_new_bytes"),
                settings.get("max_new_characters"),
                bool(settings.get("empty_allowed")),
            )
            groups.setdefault((tuple(settings["until"]), budget), []).append(row)
        for (until, budget), rows in groups.items():
            contexts = [self._fitting_context(str(requests[row].args[0]), budget) for row in rows]
            for row, ids in zip(rows, self.engine.generate(contexts, until=until, budget=budget), strict=True):
                text = self.encoder.decode(ids)
                answers[row] = min((text.split(stop, maxsplit=1)[0] for stop in until), key=len, default=text)
                self.written[str(requests[row].args[0])] = UncutLength(len(ids), len(text))
                if len(ids) == budget.max_new_tokens and answers[row] == text:
                    self.exhausted.add(str(requests[row].args[0]))
        return answers

    def answer_tokens(self, wanted: int) -> int:
        """Tokens an answer may have: at least half of the model's length is left to the prompt."""
        return min(wanted, self.max_length // 2)

    def _fitting_context(self, prompt: str, budget: Budget) -> list[int]:
        context = self.encoder.context(prompt, bos=self.bos)
        room = self.max_length - budget.max_new_tokens
        if len(context) > room:
            self.truncated.add(prompt)
            prefix = [self.encoder.bos_id] if self.bos else []
            context = [*prefix, *context[len(context) - room + len(prefix) :]]
        return context
