"""vLLM's side of the interface on an object that answers like vLLM, and the gate that lets it answer: what agrees, what does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.miniature import items
from swallow_exp.evaluate.engine.parity import MAX_SHOWN, NUM_ITEMS, ParityEngine
from swallow_exp.evaluate.engine.vllm_engine import VllmEngine
from swallow_exp.evaluate.engine.windows import Budget, Window


@dataclass
class FakeVllm:
    """Prompts of ids one by one through a model, answered in the shape of vLLM's outputs."""

    model: Any
    shift: float = 0.0  # of every log-probability
    wrong_every: int = 0  # every so many answers begin with another token
    asked: list[int] = field(default_factory=list)

    def generate(self, prompts: list[dict[str, list[int]]], *, sampling_params: Any, use_tqdm: bool) -> list[Any]:
        self.asked.append(len(prompts))
        return [self._answer(number, prompt["prompt_token_ids"], sampling_params) for number, prompt in enumerate(prompts)]

    def _answer(self, number: int, ids: list[int], parameters: Any) -> Any:
        import torch

        places: list[Any] = []
        if getattr(parameters, "prompt_logprobs", None) is not None:
            table = self._logits(ids).log_softmax(-1)
            best = table.argmax(-1).tolist()
            places = [None]
            for place, token in enumerate(ids[1:]):
                seen = {best[place], token}
                places.append({t: SimpleNamespace(logprob=float(table[place, t]) + self.shift) for t in seen})
            return SimpleNamespace(prompt_logprobs=places, outputs=[])
        answer: list[int] = []
        while len(answer) < parameters.max_tokens:
            logits = self._logits([*ids, *answer])[-1].clone()
            if len(answer) < getattr(parameters, "min_tokens", 0):
                logits[torch.tensor([2, *parameters.stop_token_ids])] = float("-inf")
            answer.append(int(logits.argmax()))
            if self.wrong_every and number % self.wrong_every == 0 and len(answer) == 1:
                answer[0] = (answer[0] + 7) % 600 + 60
            if answer[-1] == 2 or answer[-1] in parameters.stop_token_ids:
                break
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=answer)])

    def _logits(self, ids: list[int]) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([ids])).logits[0].double()


@pytest.fixture
def trusted(load: Callable[..., Any]) -> Any:
    return load().engine


def _windows(engine: Any, count: int) -> list[Window]:
    encoder = engine.encoder
    asked = [(item["prompt"], choice) for item in items("choice") for choice in item["choices"]][:count]
    return [Window((*encoder.context(p), *encoder.continuation(c)), len(encoder.continuation(c))) for p, c in asked]


def _contexts(engine: Any, count: int) -> list[list[int]]:
    return [engine.encoder.context(item["prompt"]) for item in items("question")[:count]]


def _vllm(trusted: Any, **changes: Any) -> VllmEngine:
    return VllmEngine(FakeVllm(trusted.model, **changes), trusted.encoder, SimpleNamespace)


BUDGETS = [
    Budget(6),
    Budget(20, max_new_bytes=8),
    Budget(20, max_new_characters=5),
    Budget(6, empty_allowed=True),
]


def test_vllm_is_asked_for_what_our_engine_answers(trusted: Any, load: Callable[..., Any], make_export: Any, tmp_path: Path) -> None:
    for found, expected in zip(_vllm(trusted).score(_windows(trusted, 20)), trusted.score(_windows(trusted, 20)), strict=True):
        assert found[0] == pytest.approx(expected[0], abs=1e-4) and found[1] == expected[1]

    def often_ending(model: Any) -> None:
        import torch

        with torch.no_grad():  # </s> is now and then the best piece, also at the start
            model.lm_head.weight[2] *= 3

    ending = load(make_export(tmp_path / "ending", seed=3, train=often_ending)).engine
    answers = []
    for engine in (trusted, ending):
        contexts = _contexts(engine, 8)
        stop = engine.encoder._piece_texts[engine.generate(contexts, until=(), budget=Budget(6))[0][-1]]
        for budget in BUDGETS:
            for until in ((), (stop,) if stop.strip() else ("。",)):
                expected_ids = engine.generate(contexts, until=until, budget=budget)
                assert _vllm(engine).generate(contexts, until=until, budget=budget) == expected_ids
                answers.append([len(ids) for ids in expected_ids])
    assert any(0 in lengths for lengths in answers[-2:]), "some answers are empty where they may be"
    assert _vllm(trusted).score([]) == [] == _vllm(trusted).generate([], until=(), budget=Budget(1))


def _gate(trusted: Any, engine: VllmEngine, dtype: str = "float32") -> tuple[ParityEngine, list[str]]:
    loaded: list[str] = []
    return ParityEngine(engine, lambda: (loaded.append("trusted"), trusted)[1], trusted.encoder, name="vllm 0.0", dtype=dtype), loaded


def test_an_engine_that_agrees_is_compared_once_for_each_kind(trusted: Any) -> None:
    engine = _vllm(trusted)
    gate, loaded = _gate(trusted, engine)
    windows = _windows(trusted, NUM_ITEMS + 10)
    assert gate.score(windows) == engine.score(windows)
    assert engine._model.asked[:2] == [NUM_ITEMS, NUM_ITEMS + 10] and loaded == ["trusted"]
    gate.score(windows)
    assert loaded == ["trusted"]
    contexts = _contexts(trusted, 3)
    assert gate.generate(contexts, until=(), budget=Budget(3)) == trusted.generate(contexts, until=(), budget=Budget(3))
    gate.generate(contexts, until=(), budget=Budget(3))
    assert loaded == ["trusted"] * 2


def test_an_engine_that_does_not_agree_is_refused_with_the_differences(trusted: Any) -> None:
    gate, _ = _gate(trusted, _vllm(trusted, shift=0.01))
    with pytest.raises(RunFailed, match=rf"vllm 0.0 is not believed: {NUM_ITEMS} of {NUM_ITEMS} log-likelihoods differ") as caught:
        gate.score(_windows(trusted, 60))
    said = str(caught.value)
    assert (
        said.count(" against ") == MAX_SHOWN
        and "#0 " in said
        and f"and {NUM_ITEMS - MAX_SHOWN} more" in said
        and "suite.backend=hf" in said
    )
    with pytest.raises(RunFailed, match="not believed"):
        gate.score(_windows(trusted, 60))
    gate, _ = _gate(trusted, _vllm(trusted, wrong_every=4))
    with pytest.raises(RunFailed, match="2 of 8 answers differ"):
        gate.generate(_contexts(trusted, 8), until=(), budget=Budget(3, empty_allowed=True))


def test_half_precision_may_differ_by_little_and_in_few_answers(trusted: Any) -> None:
    gate, _ = _gate(trusted, _vllm(trusted, shift=0.01), dtype="bfloat16")
    assert len(gate.score(_windows(trusted, 10))) == 10
    gate, _ = _gate(trusted, _vllm(trusted, shift=0.03), dtype="bfloat16")
    with pytest.raises(RunFailed, match="10 of 10"):
        gate.score(_windows(trusted, 10))
    contexts = _contexts(trusted, 20)
    gate, _ = _gate(trusted, _vllm(trusted, wrong_every=20), dtype="bfloat16")
    assert len(gate.generate(contexts, until=(), budget=Budget(3, empty_allowed=True))) == 20
    gate, _ = _gate(trusted, _vllm(trusted, wrong_every=5), dtype="bfloat16")
    with pytest.raises(RunFailed, match="4 of 20"):
        gate.generate(contexts, until=(), budget=Budget(3, empty_allowed=True))
    gate, _ = _gate(trusted, _vllm(trusted, shift=float("nan")), dtype="bfloat16")
    with pytest.raises(RunFailed, match="10 of 10"):
        gate.score(_windows(trusted, 10))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed here")
def test_without_the_package_the_backend_is_refused_before_a_model_is_loaded(tmp_path: Path, random_export: Path) -> None:
    from swallow_exp.evaluate.models import open_model
    from swallow_exp.evaluate.run import evaluate_model

    suite = SuiteConfig(name="small", tasks=["mini_choice"], limit=2, device="cpu", backend="vllm")
    with pytest.raises(RequestError, match=r"vllm is not installed.*pip install 'swallow_exp\[vllm\]'"):
        evaluate_model(tmp_path, open_model(tmp_path, str(random_export)), suite=suite, load=lambda *a, **k: pytest.fail("loaded"))


def test_only_known_backends() -> None:
    from swallow_exp.config.fields import check_suite

    with pytest.raises(RequestError, match=r"suite\.backend"):
        check_suite(replace(SuiteConfig(), backend="llama"))
