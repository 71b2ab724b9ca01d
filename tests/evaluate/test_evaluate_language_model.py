"""Likelihoods and greedy answers against direct computations with torch and against lm-eval's own HFLM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from swallow_exp.corpus.miniature import items

TEXTS = ["The monk carries the red flower in the castle.", "僧が城で赤い花を運ぶ。", "花", "健の家はどこですか。駅です。" * 3]


def _requests(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=a, idx=0, metadata=("t", i, 1)) for i, a in enumerate(arguments)]


def _direct(model: Any, context: Sequence[int], target: Sequence[int]) -> float:
    """Sum of log-probabilities of `target` after `context`: one sequence, no batch, no padding."""
    import torch

    ids = torch.tensor([[*context, *target]])
    with torch.no_grad():
        log_probabilities = model(ids).logits[0].double().log_softmax(dim=-1)
    start = len(context) - 1
    return sum(float(log_probabilities[start + i, token]) for i, token in enumerate(target))


def test_loglikelihood_is_the_direct_computation(load: Callable[..., Any]) -> None:
    lm = load(batch_size=4)
    pairs = [(a, " " + b) for a in TEXTS for b in TEXTS if len(lm.encoder.encode(a + b)) < lm.max_length]
    assert len(pairs) > 6
    found = lm.loglikelihood(_requests("loglikelihood", pairs))
    for (context, target), (total, _) in zip(pairs, found, strict=True):
        expected = _direct(lm.model, lm.encoder.context(context), lm.encoder.continuation(target))
        assert total == pytest.approx(expected, abs=2e-4), (context, target)
    assert not lm.truncated


def test_rolling_scores_every_token_once_after_one_begin_token(load: Callable[..., Any]) -> None:
    lm = load()
    found = lm.loglikelihood_rolling(_requests("loglikelihood_rolling", [(text,) for text in TEXTS]))
    for text, total in zip(TEXTS, found, strict=True):
        assert total == pytest.approx(_direct(lm.model, [1], lm.encoder.encode(text)), abs=2e-4)


def test_greedy_flag(load: Callable[..., Any], knowing_export: Any) -> None:
    lm = load(knowing_export)
    item = items("question")[3]
    requests = _requests("loglikelihood", [(item["prompt"], item["answer"]), (item["prompt"], "花" + item["answer"])])
    (known, is_known), (wrong, is_wrong) = lm.loglikelihood(requests)
    assert is_known and not is_wrong
    assert known > -1 > wrong


def test_same_numbers_as_hflm_given_the_same_ids(load: Callable[..., Any]) -> None:
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    lm = load()
    tokenizer = AutoTokenizer.from_pretrained(lm.model.name_or_path)
    theirs = HFLM(pretrained=lm.model, tokenizer=tokenizer, batch_size=3, add_bos_token=False, max_length=lm.max_length)
    pairs = [lm.encoder.pair(a, " " + b) for a in TEXTS[:3] for b in TEXTS[:3]]
    ours = lm._score_pairs(pairs, [""] * len(pairs))
    for (total, greedy), (their_total, their_greedy) in zip(
        ours, theirs._loglikelihood_tokens([(("", ""), *pair) for pair in pairs], disable_tqdm=True), strict=True
    ):
        assert total == pytest.approx(their_total, abs=2e-4)
        assert greedy == their_greedy


def test_batching_does_not_change_results(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from swallow_exp.evaluate.engine import torch_engine as engine

    requests = _requests("loglikelihood", [(a, " " + b) for a in TEXTS[:3] for b in TEXTS[:3]])
    one = load(batch_size=1).loglikelihood(requests)
    many = load(batch_size=64).loglikelihood(requests)
    monkeypatch.setattr(engine, "MAX_LOGITS", 700 * 20)  # a row or two at a time
    few = load(batch_size=64).loglikelihood(requests)
    for single, batched, split in zip(one, many, few, strict=True):
        assert single[0] == pytest.approx(batched[0], abs=2e-4) == pytest.approx(split[0], abs=2e-4)


@pytest.mark.parametrize(("num_context", "num_target"), [(5, 5), (200, 5), (5, 200), (3, 64), (64, 65), (200, 200), (1, 500), (1, 128)])
def test_windows_score_each_target_token_once_and_fit(num_context: int, num_target: int) -> None:
    from swallow_exp.evaluate.engine.windows import scoring_windows

    bos, limit = 1, 64
    context = [bos, *range(1_000, 1_000 + num_context - 1)]
    target = list(range(5_000, 5_000 + num_target))
    windows, truncated = scoring_windows(context, target, bos_id=bos, max_length=limit)
    assert [token for window in windows for token in window.ids[-window.num_targets :]] == target
    for window in windows:
        assert len(window.ids) <= limit + 1
        assert window.ids[0] == bos and window.num_targets < len(window.ids)
        before = [token for token in (*context[1:], *target) if token < window.ids[-window.num_targets]]
        seen = window.ids[1 : -window.num_targets]
        assert list(seen) == before[len(before) - len(seen) :], "a window sees what came just before it"
        assert len(seen) >= min(len(before), limit // 2 - 1)
    if num_context + num_target <= limit + 1:
        assert len(windows) == 1
    assert truncated == (num_context > limit + 1 - min(num_target, limit // 2))


def test_shortened_prompts_are_counted_and_keep_the_begin_token(load: Callable[..., Any]) -> None:
    lm = load()
    long = "健の家はどこですか。" * 40
    lm.loglikelihood(_requests("loglikelihood", [(long, " 花"), ("花", " 花")]))
    assert lm.truncated == {long}
    lm.begin()
    settings = {"until": ["\n"], "max_gen_toks": 5}
    seen: list[Any] = []
    forward = lm.model.forward
    lm.model.forward = lambda *a, **k: (seen.append(a[0].clone()), forward(*a, **k))[1]
    lm.generate_until(_requests("generate_until", [(long, settings)]))
    assert lm.truncated == {long}
    assert seen[0].shape[1] == lm.max_length - 5
    assert seen[0][0, 0] == 1 and (seen[0][0, 1:] != 1).all()


def test_generation_prompt_has_exactly_one_begin_token(load: Callable[..., Any]) -> None:
    lm = load()
    seen: list[Any] = []
    forward = lm.model.forward
    lm.model.forward = lambda *a, **k: (seen.append((a[0].clone(), k["attention_mask"].clone())), forward(*a, **k))[1]
    prompts = ["The monk ", "僧が城で赤い花を運ぶ。"]
    lm.generate_until(_requests("generate_until", [(p, {"until": ["\n"], "max_gen_toks": 2}) for p in prompts]))
    ids, mask = seen[0]
    assert ids.shape[0] == 1 and ids.tolist()[0].count(1) == 1
    read = {tuple(ids[0][row].tolist()) for row in mask[0, 0]}  # what each place sees: the prompts and their starts
    wanted = {(1, *lm.encoder.encode(p.strip())) for p in prompts}
    assert wanted <= read and all(any(one == w[: len(one)] for w in wanted) for one in read)


def _greedy_one_by_one(lm: Any, context: list[int], steps: int) -> list[int]:
    """Greedy answer without batch, padding or cache."""
    import torch

    answer: list[int] = []
    for step in range(steps):
        with torch.no_grad():
            logits = lm.model(torch.tensor([[*context, *answer]])).logits[0, -1].clone()
        if step == 0:
            logits[2] = float("-inf")
        token = int(logits.argmax())
        if token == 2:
            break
        answer.append(token)
    return answer


def test_generation_is_plain_greedy_decoding(load: Callable[..., Any], knowing_export: Any) -> None:
    from swallow_exp.evaluate.engine.windows import Budget

    for export_lm in (load(), load(knowing_export)):
        contexts = [
            export_lm.encoder.context(text) for text in ("The monk", "僧が城で赤い花を運ぶ。", "健", items("question")[0]["prompt"])
        ]
        found = export_lm.engine.generate(contexts, until=(), budget=Budget(12))
        assert found == [_greedy_one_by_one(export_lm, context, 12) for context in contexts]


def test_first_token_is_never_the_end_token(load: Callable[..., Any], make_export: Any, tmp_path: Any) -> None:
    def end_at_once(model: Any) -> None:
        import torch

        with torch.no_grad():  # every position prefers </s>
            model.lm_head.weight.zero_()
            model.model.norm.weight.fill_(1.0)
            model.model.embed_tokens.weight.fill_(0.05)
            model.lm_head.weight[2].fill_(1.0)
            model.lm_head.weight[300].fill_(0.5)

    lm = load(make_export(tmp_path / "ending", train=end_at_once))
    (answer,) = lm.generate_until(_requests("generate_until", [("花", {"until": ["\n"], "max_gen_toks": 9})]))
    assert answer.strip() == lm.encoder.decode([300]).strip() != ""


def test_answers_stop_at_the_budget_in_bytes_and_at_the_stop(load: Callable[..., Any], knowing_export: Any) -> None:
    lm = load(knowing_export)
    item = items("translation_en_ja")[2]
    ask = {"until": ["\n"], "max_gen_toks": 60}
    whole, first, limited = lm.generate_until(
        _requests("generate_until", [(item["prompt"], s) for s in (ask, {**ask, "until": ["\n", "を"]}, {**ask, "max_new_bytes": 10})])
    )
    assert whole.strip() == item["answer"]
    assert first == whole.split("を")[0]
    assert 10 <= len((" " + limited.lstrip(" ")).encode()) < 10 + 30 and whole.startswith(limited)


def test_ids_beyond_the_tokenizer_are_never_generated(load: Callable[..., Any]) -> None:
    from swallow_exp.evaluate.engine.windows import Budget

    lm = load()
    contexts = [lm.encoder.context(text) for text in TEXTS[:3]]
    assert lm.engine.num_ids == 700
    assert any(token >= 400 for answer in lm.engine.generate(contexts, until=(), budget=Budget(8)) for token in answer)
    lm.engine.num_ids = 400  # as if the rows from 400 on were padding
    assert all(token < 400 for answer in lm.engine.generate(contexts, until=(), budget=Budget(8)) for token in answer)


def test_a_diverged_model_has_no_scores(load: Callable[..., Any]) -> None:
    from swallow_exp.artefact.errors import RunFailed

    lm = load()
    lm.model.lm_head.weight.data[5] = float("nan")
    with pytest.raises(RunFailed, match="diverged"):
        lm.loglikelihood(_requests("loglikelihood", [("花", " 駅")]))
    with pytest.raises(RunFailed, match="diverged"):
        lm.generate_until(_requests("generate_until", [("花", {"until": ["\n"], "max_gen_toks": 3})]))
