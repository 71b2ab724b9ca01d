"""A small tokenizer, tiny models and run folders to evaluate."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

VOCAB_SIZE = 700
MAX_LENGTH = 128


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SentencePiece BPE with byte fallback over the miniature world, and its Hugging Face twin."""
    import sentencepiece

    from swallow_exp.corpus.miniature import documents, pairs
    from swallow_exp.vocabulary.model_file import parse_model
    from swallow_exp.vocabulary.twin import write_twin

    folder = tmp_path_factory.mktemp("tokenizer")
    text = folder / "text.txt"
    lines = [d.text for language in ("en", "ja") for d in documents(language, 1_500)]
    lines += [f"{pair.en} {pair.ja}" for pair in pairs(300)]
    text.write_text("\n".join(lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=VOCAB_SIZE, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.998, num_threads=1, minloglevel=2,
    )  # fmt: skip
    write_twin(parse_model((folder / "tokenizer.model").read_bytes(), name="test"), folder, texts=lines[:50])
    return folder


@pytest.fixture(scope="session")
def make_export(tokenizer_folder: Path) -> Callable[..., Path]:
    """make_export(folder, seed=, train=): a tiny Llama as a Hugging Face folder; `train` changes it before it is saved."""

    def make(folder: Path, *, seed: int = 0, train: Callable[[Any], None] | None = None, max_length: int = MAX_LENGTH) -> Path:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        before = torch.get_rng_state()
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=VOCAB_SIZE, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=max_length, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        # larger than the usual initialisation: random answers differ between prompts
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(4)
        if train is not None:
            train(model)
        torch.set_rng_state(before)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
            (folder / name).write_bytes((tokenizer_folder / name).read_bytes())
        return folder

    return make


@pytest.fixture(scope="session")
def random_export(tmp_path_factory: pytest.TempPathFactory, make_export: Callable[..., Path]) -> Path:
    return make_export(tmp_path_factory.mktemp("random"))


@pytest.fixture
def load(random_export: Path) -> Callable[..., Any]:
    """load(export, batch_size=): CheckpointLM on the processor."""
    from swallow_exp.evaluate.harness import load_checkpoint, settings_of

    def load(export: Path = random_export, *, batch_size: int = 16) -> Any:
        return load_checkpoint(export, settings_of(export, batch_size=batch_size, device="cpu"))

    return load


def _fit(export_model: Any, sequences: Sequence[Sequence[int]], *, steps: int) -> None:
    import torch

    optimizer = torch.optim.AdamW(export_model.parameters(), lr=3e-3)
    longest = max(map(len, sequences))
    ids = torch.tensor([[*s, *[2] * (longest - len(s))] for s in sequences])
    labels = torch.tensor([[*s, *[-100] * (longest - len(s))] for s in sequences])
    export_model.train()
    for _ in range(steps):
        loss = export_model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(export_model.parameters(), 1.0)
        optimizer.step()


@pytest.fixture(scope="session")
def knowing_export(tmp_path_factory: pytest.TempPathFactory, make_export: Callable[..., Path], tokenizer_folder: Path) -> Path:
    """A model that learnt the first 16 questions and 16 English-Japanese pairs by heart, as `<s> document </s>`."""
    import sentencepiece

    from swallow_exp.corpus.miniature import items

    processor = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_folder / "tokenizer.model"))
    texts = [f"{i['prompt']}{i['answer']}" for i in items("question")[:16]]
    texts += [f"{i['prompt']} {i['answer']}" for i in items("translation_en_ja")[:16]]
    sequences = [[1, *processor.encode(text), 2] for text in texts]
    return make_export(tmp_path_factory.mktemp("knowing"), seed=1, train=lambda model: _fit(model, sequences, steps=150))


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An output root with small corpora of the three miniature sources."""
    from swallow_exp.config.schema import SourceConfig
    from swallow_exp.corpus.build_corpus import build_corpus

    out = tmp_path_factory.mktemp("corpora")
    common: dict[str, Any] = {"max_documents": 300, "heldout_fraction": 0.1}
    sources = [
        SourceConfig(name="miniature_english", language="en", files=["miniature:english"], **common),
        SourceConfig(name="miniature_japanese", language="ja", files=["miniature:japanese"], **common),
        SourceConfig(name="miniature_pairs", language="en-ja", kind="pairs", files=["miniature:pairs"], **common),
    ]
    return out, {source.name: build_corpus(source, out=out, data=out) for source in sources}


def _mark_weights(file: Path, label: str) -> str:
    """Change the lower half of the last float32 of a file; the digest of the folder's weights, or of a damaged file the label."""
    from swallow_exp.model.folder import weights_digest

    data = bytearray(file.read_bytes())
    data[-4:-2] = hashlib.sha256(label.encode()).digest()[:2]
    file.write_bytes(data)
    try:
        return weights_digest(file.parent)
    except RequestError:
        return label


@pytest.fixture
def make_run(tmp_path: Path, corpora: tuple[Path, dict[str, Any]]) -> Callable[..., str]:
    """make_run(name, exports={tokens: (folder, label)}, overrides=[...]) -> run_id under tmp_path, as training leaves it.

    Weights are copies that differ in their last number, by the label: equal labels of one folder are equal weights.
    """
    import shutil

    import yaml

    from swallow_exp.artefact.paths import RunPaths
    from swallow_exp.config.compose import compose_config
    from swallow_exp.record.identity import identity_of

    def make(name: str, exports: dict[int, tuple[Path, str]], overrides: Sequence[str] = ()) -> str:
        source, built = corpora
        if not (tmp_path / "artefacts").exists():
            shutil.copytree(source / "artefacts", tmp_path / "artefacts")
        plain = compose_config([f"paths.out={tmp_path}", "suite.limit=6", "suite.device=cpu", *overrides]).plain
        run = RunPaths.of(tmp_path, name)
        run.folder.mkdir(parents=True)
        run.config.write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8")
        run.identity.write_text(json.dumps(identity_of(plain)), encoding="utf-8")
        references = {n: {"folder": str(a.folder.relative_to(source)), "digest": a.digest} for n, a in built.items()}
        run.inputs.write_text(json.dumps({"corpora": references}), encoding="utf-8")
        records = []
        for tokens, (export, label) in exports.items():
            place, digest = f"checkpoints/tokens_{tokens}/export", label
            if export.is_dir():
                shutil.copytree(export, run.folder / place)
                digest = _mark_weights(run.folder / place / "model.safetensors", label)
            records.append(
                {"mark_tokens": tokens, "trained_tokens": tokens, "step": tokens // 1024, "export": place, "digest": digest,
                 "resumable": False, "seconds": 0.0}
            )  # fmt: skip
        run.checkpoint_index.write_text(json.dumps({"checkpoints": records}), encoding="utf-8")
        return name

    return make
