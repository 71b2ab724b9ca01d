"""What shared prefixes save: seconds of our language model and of lm-eval's own HFLM, same model, same requests, taking turns.

Usage: python benchmarks/evaluate.py [--items 100] [--repeats 3] [--threads 1] [--device cpu] [--layers 8] [--width 320] [--dtype float32]

A random Llama (about 10 million parameters by default), a SentencePiece tokenizer trained here, and requests with four fixed shots, as the
tasks ask them: four choices of one question (likelihoods), and answers of at most --answer tokens to passages and questions (greedy).
Neither side puts <s> in front. Prints, for each kind: seconds of both (median), their ratio in each turn, the largest difference of a
log-likelihood, and how many texts differ.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

VOCABULARY, MAX_LENGTH, SHOTS = 2_000, 2_048, 4


def make_tokenizer(folder: Path) -> None:
    import sentencepiece

    from swallow_exp.corpus.miniature import documents, pairs
    from swallow_exp.vocabulary.model_file import parse_model
    from swallow_exp.vocabulary.twin import write_twin

    text = folder / "text.txt"
    lines = [d.text for language in ("en", "ja") for d in documents(language, 3_000)] + [f"{pair.en} {pair.ja}" for pair in pairs(500)]
    text.write_text("\n".join(lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=VOCABULARY, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, num_threads=1, minloglevel=2,
    )  # fmt: skip
    write_twin(parse_model((folder / "tokenizer.model").read_bytes(), name="benchmark"), folder, texts=lines[:50])


def make_model(folder: Path, options: argparse.Namespace) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = max(8, options.width // 128)
    shape = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=options.width, intermediate_size=options.width * 27 // 10 // 8 * 8,
        num_hidden_layers=options.layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=MAX_LENGTH, bos_token_id=1, eos_token_id=2, dtype=options.dtype,
        initializer_range=0.08,  # wider than usual: answers differ between prompts
    )  # fmt: skip
    with torch.device(options.device):
        model = LlamaForCausalLM(shape)
    model.to(getattr(torch, options.dtype)).save_pretrained(folder)


def choice_requests(num_items: int) -> list[tuple[str, str]]:
    from swallow_exp.corpus.miniature import items

    family = items("choice")
    shots = "\n\n".join(f"質問：{i['prompt']}\n選択肢：{','.join(i['choices'])}\n回答： {i['answer']}" for i in family[-SHOTS:])
    return [
        (f"{shots}\n\n質問：{item['prompt']}\n選択肢：{','.join(item['choices'])}\n回答：", f" {choice}")
        for item in family[:num_items]
        for choice in item["choices"]
    ]


def answer_requests(num_items: int, answer: int) -> list[tuple[str, dict[str, Any]]]:
    from swallow_exp.corpus.miniature import items

    family = items("reading")
    shots = "\n\n".join(f"文章と質問：{i['prompt']}\n回答： {i['answer']}" for i in family[-SHOTS:])
    settings = {"until": ["\n"], "max_gen_toks": answer, "do_sample": False, "empty_allowed": True}
    theirs = ("until", "max_gen_toks", "do_sample")
    return [
        (f"{shots}\n\n文章と質問：{i['prompt']}\n回答：", {n: settings[n] for n in (*theirs, "empty_allowed")}) for i in family[:num_items]
    ]


def requests_of(kind: str, arguments: list[tuple[Any, ...]], *, without: str = "") -> list[Any]:
    from lm_eval.api.instance import Instance

    def given(argument: Any) -> Any:
        return {k: v for k, v in argument.items() if k != without} if isinstance(argument, dict) else argument

    return [Instance(kind, {}, tuple(given(a) for a in args), 0, metadata=("benchmark", i, 1)) for i, args in enumerate(arguments)]


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def compare(kind: str, ours: Any, theirs: Any, arguments: list[tuple[Any, ...]], options: argparse.Namespace) -> dict[str, Any]:
    """Take turns; the first turn of each side only warms up."""
    mine, stock = requests_of(kind, arguments), requests_of(kind, arguments, without="empty_allowed")
    seconds: list[tuple[float, float]] = []
    for _ in range(options.repeats + 1):
        one, found = timed(lambda: getattr(ours, kind)(mine), options.device)
        other, expected = timed(lambda: getattr(theirs, kind)(stock, disable_tqdm=True), options.device)
        seconds.append((one, other))
    facts: dict[str, Any] = {
        "requests": len(arguments),
        "prompt_tokens": round(statistics.mean(len(ours.encoder.encode(args[0])) for args in arguments), 1),
        "ours_s": round(statistics.median(one for one, _ in seconds[1:]), 3),
        "hflm_s": round(statistics.median(other for _, other in seconds[1:]), 3),
        "ratios": [round(other / one, 2) for one, other in seconds[1:]],
    }
    if kind == "loglikelihood":
        facts["largest_difference"] = max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True))
        facts["greedy_flags_differ"] = sum(a[1] != b[1] for a, b in zip(found, expected, strict=True))
    else:
        facts["texts_differ"] = sum(a.strip() != b.strip() for a, b in zip(found, expected, strict=True))
        facts["distinct_texts"] = len(set(found))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of our language model and of lm-eval's HFLM.")
    for name, default in (
        ("items", 100),
        ("repeats", 3),
        ("threads", 1),
        ("layers", 8),
        ("width", 320),
        ("batch-size", 16),
        ("answer", 32),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    from swallow_exp.evaluate.harness import load_checkpoint, settings_of

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tokenizer(folder)
        make_model(folder, options)
        ours = load_checkpoint(folder, settings_of(folder, batch_size=options.batch_size, device=options.device))
        ours.begin(bos=False)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        theirs = HFLM(pretrained=ours.model, tokenizer=tokenizer, batch_size=options.batch_size, add_bos_token=False, max_length=MAX_LENGTH)
        print(json.dumps({"parameters_M": round(sum(p.numel() for p in ours.model.parameters()) / 1e6, 1), **vars(options)}))
        for kind, arguments in (
            ("loglikelihood", choice_requests(options.items)),
            ("generate_until", answer_requests(options.items, options.answer)),
        ):
            print(json.dumps({kind: compare(kind, ours, theirs, list(arguments), options)}), flush=True)


if __name__ == "__main__":
    main()
