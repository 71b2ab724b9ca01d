"""vLLM as an engine (suite.backend=vllm): the same ids in, the same numbers out, or its scores are not believed (parity.py).

score      whole windows as prompts          -> log-probabilities of their last tokens
generate   contexts, greedy                  -> ids, cut where our own decoding would have stopped

vLLM reads one token at the end of what it scores that it then answers: windows are two tokens shorter than the model could read.
It is given ids, never text, so neither its tokenizer nor its begin token can differ from ours.

Reads  a Hugging Face folder. Writes nothing. Needs a GPU and the package vllm (extra `vllm`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.evaluate.engine.encoding import TextEncoder
from swallow_exp.evaluate.engine.windows import Budget, Window

VLLM = "vllm"
GPU_SHARE = 0.6  # assumed: the rest is for the model that vLLM is compared with
SPARE_TOKENS = 2


def check_vllm() -> None:
    """Raises RequestError where vLLM is not installed."""
    if importlib.util.find_spec(VLLM) is None:
        raise RequestError(
            "suite.backend=vllm, and the package vllm is not installed",
            expected="vllm and a GPU it supports, or suite.backend=hf (the same scores)",
            remedy="run `pip install 'swallow_exp[vllm]'`",
        )


def load_vllm(export: Path, encoder: TextEncoder, *, dtype: str, max_length: int) -> VllmEngine:
    """The engine of an exported folder."""
    import vllm

    model = vllm.LLM(
        model=str(export), skip_tokenizer_init=True, dtype=dtype, max_model_len=max_length, gpu_memory_utilization=GPU_SHARE,
        enable_prefix_caching=True, seed=0, disable_log_stats=True, generation_config="vllm",
    )  # fmt: skip
    return VllmEngine(model, encoder, vllm.SamplingParams)


class VllmEngine:
    """A vLLM model with our questions."""

    def __init__(self, model: Any, encoder: TextEncoder, parameters: Callable[..., Any]) -> None:
        """`model` is a vllm.LLM, `parameters` makes its SamplingParams."""
        self._model, self._encoder, self._parameters = model, encoder, parameters

    def score(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """Log-likelihood of each window's targets (natural log) and whether all of them are the greedy choice."""
        if not windows:
            return []
        # one further choice beside the token itself says whether the token is the greedy one
        asked = self._parameters(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False)
        found = []
        for window, output in zip(windows, self._ask([window.ids for window in windows], asked), strict=True):
            total, greedy = 0.0, True
            targets, places = window.ids[-window.num_targets :], output.prompt_logprobs[-window.num_targets :]
            for token, place in zip(targets, places, strict=True):
                total += place[token].logprob
                greedy &= place[token].logprob >= max(choice.logprob for choice in place.values())
            found.append((total, greedy))
        return found

    def generate(self, contexts: Sequence[Sequence[int]], *, until: tuple[str, ...], budget: Budget) -> list[list[int]]:
        """Greedy ids after each context, without the end token."""
        if not contexts:
            return []
        ends = list(self._encoder.eos_ids)
        common = {"temperature": 0.0, "max_tokens": budget.max_new_tokens, "detokenize": False, "ignore_eos": False}
        stops = sorted({*ends, *self._encoder.ids_with(until)})
        found = [list(o.outputs[0].token_ids) for o in self._ask(contexts, self._parameters(stop_token_ids=stops, **common))]
        if not budget.empty_allowed:  # vLLM can forbid the end tokens at the start only together with every other stop
            empty = [row for row, ids in enumerate(found) if not ids or ids[0] in ends]
            again = self._parameters(stop_token_ids=ends, min_tokens=1, **common)
            answers = self._ask([contexts[row] for row in empty], again) if empty else []
            for row, output in zip(empty, answers, strict=True):
                found[row] = list(output.outputs[0].token_ids)
        return [cut_answer(ids, self._encoder, until=until, budget=budget) for ids in found]

    def _ask(self, prompts: Sequence[Sequence[int]], parameters: Any) -> list[Any]:
        given = [{"prompt_token_ids": list(ids)} for ids in prompts]
        answers: list[Any] = self._model.generate(given, sampling_params=parameters, use_tqdm=False)
        return answers


def cut_answer(ids: Sequence[int], encoder: TextEncoder, *, until: tuple[str, ...], budget: Budget) -> list[int]:
    """The start of a greedy answer that decoding.GreedyDecoder would have kept: what comes later does not change what came before."""
    in_characters = budget.max_new_characters is not None
    sizes = encoder.piece_characters if in_characters else encoder.piece_bytes
    limit = budget.max_new_bytes if budget.max_new_characters is None else budget.max_new_characters + 2
    stops = set(encoder.ids_with(until))
    kept: list[int] = []
    written = 0
    for token in ids[: budget.max_new_tokens]:
        if token in encoder.eos_ids:
            break
        kept.append(token)
        written += sizes[token]
        if token in stops or (limit is not None and written >= limit):
            break
    return kept
