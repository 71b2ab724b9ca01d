"""Start weights: base rows untouched, added rows the mean of their subwords', and requests that cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import base_vocabulary, expanded_vocabulary, tiny_config

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import VOCABULARY_INITS
from swallow_exp.model import folder as rooms
from swallow_exp.model.folder import EMBEDDING, HEAD, weights_digest
from swallow_exp.model.rows import AddedPieces, added_rows
from swallow_exp.model.weights import build_weights
from swallow_exp.vocabulary.tokenizer import load_continuation, load_tokenizer

PIECES = ["thecat", "日本", "matte", "qq"]


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def expand(init: str = "subword_mean", **changes: Any) -> Any:
    return tiny_config(**{"vocabulary": {"method": "expand", "name": "ve", "init": init}, **changes})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Path) -> Artefact:
    return base_vocabulary(tmp_path_factory.mktemp("base"), small_tokenizer)


@pytest.fixture(scope="module")
def expanded(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Path) -> Artefact:
    return expanded_vocabulary(tmp_path_factory.mktemp("expanded") / "ve-0000000", small_tokenizer, PIECES)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, base: Artefact) -> Path:
    """A Llama saved by the library itself in bfloat16, its weights in several files."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("pretrained")
    config = LlamaConfig(
        vocab_size=int(base.counts["size"]),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="20KB")
    return folder


def pretrained_config(folder: Path, **changes: Any) -> Any:
    shape = {"path": str(folder), "hidden_size": 0, "intermediate_size": 0, "num_layers": 0, "num_heads": 0, "num_kv_heads": 0}
    return tiny_config(**{"base_model": shape, **changes})


def test_added_rows_are_the_mean_of_their_subwords(tmp_path: Path, base: Artefact, expanded: Artefact, small_tokenizer: Path) -> None:
    before = tensors_of(build_weights(tiny_config(), base, base_tokenizer=small_tokenizer, out=tmp_path).folder)
    artefact = build_weights(expand(), expanded, base_tokenizer=small_tokenizer, out=tmp_path)
    after = tensors_of(artefact.folder)
    processor = load_continuation(small_tokenizer)
    rows = int(base.counts["size"])
    for name in (EMBEDDING, HEAD):
        assert torch.equal(after[name][:rows], before[name])  # both cells start from the same base rows
        for row, piece in enumerate(PIECES):
            ids = processor.encode(piece)
            assert torch.allclose(after[name][rows + row], before[name][ids].mean(0), atol=1e-7), piece
    assert not torch.equal(after[EMBEDDING], after[HEAD])
    for name in before.keys() - {EMBEDDING, HEAD}:
        assert torch.equal(after[name], before[name])
    assert artefact.counts["vocab_size"] == rows + len(PIECES)
    assert artefact.counts["weights_sha256"] == weights_digest(artefact.folder)


def test_the_folder_is_a_hugging_face_model(tmp_path: Path, base: Artefact, small_tokenizer: Path) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    from swallow_exp.vocabulary.tokenizer import load_tokenizer

    artefact = build_weights(tiny_config(), base, base_tokenizer=small_tokenizer, out=tmp_path)
    model = LlamaForCausalLM.from_pretrained(artefact.folder)
    assert sum(p.numel() for p in model.parameters()) == artefact.counts["parameters"]
    assert model.generation_config.eos_token_id == 2
    text = "the cat sat"
    assert AutoTokenizer.from_pretrained(artefact.folder).encode(text, add_special_tokens=False) == load_tokenizer(artefact.folder).encode(
        text
    )


def test_random_weights_depend_on_the_seed_alone(tmp_path: Path, base: Artefact, small_tokenizer: Path) -> None:
    torch.manual_seed(11)
    first = build_weights(tiny_config(), base, base_tokenizer=small_tokenizer, out=tmp_path / "a")
    torch.manual_seed(12)
    state = torch.get_rng_state()
    again = build_weights(tiny_config(), base, base_tokenizer=small_tokenizer, out=tmp_path / "b")
    assert torch.equal(torch.get_rng_state(), state)
    other_config = tiny_config()
    other_config.seed = 1
    other = build_weights(other_config, base, base_tokenizer=small_tokenizer, out=tmp_path / "a")
    assert first.counts["weights_sha256"] == again.counts["weights_sha256"] != other.counts["weights_sha256"]
    assert first.id == again.id != other.id


def test_pretrained_weights_keep_every_number(
    tmp_path: Path, pretrained: Path, base: Artefact, expanded: Artefact, small_tokenizer: Path
) -> None:
    from transformers import LlamaForCausalLM

    before = tensors_of(pretrained)
    plain = build_weights(pretrained_config(pretrained), base, base_tokenizer=small_tokenizer, out=tmp_path)
    assert plain.counts["weights_sha256"] == weights_digest(pretrained)
    config = pretrained_config(pretrained, vocabulary={"method": "expand", "name": "ve"})
    grown = build_weights(config, expanded, base_tokenizer=small_tokenizer, out=tmp_path)
    after = tensors_of(grown.folder)
    rows = int(base.counts["size"])
    for name, tensor in before.items():
        assert torch.equal(after[name][:rows] if name in (EMBEDDING, HEAD) else after[name], tensor)
        assert after[name].dtype == torch.bfloat16
    ids = load_continuation(small_tokenizer).encode(PIECES[0])
    assert torch.equal(after[HEAD][rows], before[HEAD][ids].float().mean(0).bfloat16())  # mean in float32, then stored as the base is
    assert len(list(grown.folder.glob("*.safetensors"))) > 1
    model, info = LlamaForCausalLM.from_pretrained(grown.folder, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.vocab_size == rows + len(PIECES)


def test_tied_tables_stay_one(tmp_path: Path, expanded: Artefact, small_tokenizer: Path) -> None:
    config = expand(base_model={"tie_word_embeddings": True})
    artefact = build_weights(config, expanded, base_tokenizer=small_tokenizer, out=tmp_path)
    tensors = tensors_of(artefact.folder)
    assert HEAD not in tensors and len(tensors[EMBEDDING]) == artefact.counts["vocab_size"]


def test_weights_are_shared_by_vocabularies_of_other_text(tmp_path: Path, base: Artefact, small_tokenizer: Path) -> None:
    first = build_weights(tiny_config(), base, base_tokenizer=small_tokenizer, out=tmp_path)
    of_other_corpora = Artefact(base.folder, {**base.manifest, "digest": "f" * 64})
    assert build_weights(tiny_config(), of_other_corpora, base_tokenizer=small_tokenizer, out=tmp_path).folder == first.folder


@pytest.mark.parametrize("init", VOCABULARY_INITS)
@pytest.mark.parametrize("tied", [False, True])
def test_every_initialisation_keeps_the_base_and_its_two_tables_apart(
    tmp_path: Path, base: Artefact, expanded: Artefact, small_tokenizer: Path, init: str, tied: bool
) -> None:
    shape = {"tie_word_embeddings": tied}
    before = tensors_of(build_weights(tiny_config(base_model=shape), base, base_tokenizer=small_tokenizer, out=tmp_path).folder)
    artefact = build_weights(expand(base_model=shape, init=init), expanded, base_tokenizer=small_tokenizer, out=tmp_path)
    after = tensors_of(artefact.folder)
    rows = int(base.counts["size"])
    for name, tensor in before.items():
        assert torch.equal(after[name][:rows] if name in (EMBEDDING, HEAD) else after[name], tensor)
    if tied:
        assert HEAD not in after and artefact.counts["tables"].keys() == {EMBEDDING}
    else:
        assert not torch.equal(after[EMBEDDING][rows:], after[HEAD][rows:])
        own = added_rows(before[HEAD], AddedPieces(segments_of(init, small_tokenizer), init, 0, 0.02), name=HEAD)
        assert torch.equal(after[HEAD][rows:], own)  # the head's rows come from the head alone
    facts = artefact.counts["tables"][EMBEDDING]
    assert facts["base_norm"] == pytest.approx(float(before[EMBEDDING].norm(dim=1).median()))
    assert facts["added_norm"] == pytest.approx(float(after[EMBEDDING][rows:].norm(dim=1).median()))
    assert artefact.counts["base_rows"] == rows


def segments_of(init: str, tokenizer: Path) -> list[list[int]]:
    processor = load_tokenizer(tokenizer) if init == "subword_mean_with_prefix" else load_continuation(tokenizer)
    segments: list[list[int]] = processor.encode(PIECES)
    return segments


def test_initialisations_are_different_artefacts(tmp_path: Path, expanded: Artefact, small_tokenizer: Path, pretrained: Path) -> None:
    def build(init: str, seed: int = 0) -> Artefact:
        config = pretrained_config(pretrained, vocabulary={"method": "expand", "name": "ve", "init": init})
        config.seed = seed
        return build_weights(config, expanded, base_tokenizer=small_tokenizer, out=tmp_path)

    built = {init: build(init) for init in VOCABULARY_INITS}
    assert len({artefact.digest for artefact in built.values()}) == len(VOCABULARY_INITS)
    assert len({artefact.counts["weights_sha256"] for artefact in built.values()}) == len(VOCABULARY_INITS)
    # runs of other seeds share what no seed decides
    assert build("subword_mean", seed=1).folder == built["subword_mean"].folder
    assert build("normal", seed=1).counts["weights_sha256"] != built["normal"].counts["weights_sha256"]
    segments = segments_of("subword_mean_with_prefix", small_tokenizer)
    assert all(len(with_prefix) >= 1 for with_prefix in segments)
    assert segments != segments_of("subword_mean", small_tokenizer)


def test_pieces_of_the_same_characters_start_alike(tmp_path: Path, small_tokenizer: Path) -> None:
    pieces = ["ない", "いな", "また", "たまたま", "ない物"]
    vocabulary = expanded_vocabulary(tmp_path / "ja-0000000", small_tokenizer, pieces)
    artefact = build_weights(expand(), vocabulary, base_tokenizer=small_tokenizer, out=tmp_path)
    for name, table in tensors_of(artefact.folder).items():
        if name in (EMBEDDING, HEAD):
            nai, ina, mata, tamatama, other = table[-len(pieces) :]
            assert torch.equal(nai, ina) and torch.equal(mata, tamatama) and not torch.equal(nai, mata) and not torch.equal(nai, other)
            assert artefact.counts["tables"][name]["sharing"] == 4


def test_a_tied_model_that_stores_its_table_twice_keeps_the_two_equal(
    tmp_path: Path, pretrained: Path, expanded: Artefact, small_tokenizer: Path
) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "tied"
    folder.mkdir()
    tensors = tensors_of(pretrained)
    save_file({**tensors, HEAD: tensors[EMBEDDING].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    plain = json.loads((pretrained / rooms.CONFIG_NAME).read_text())
    (folder / rooms.CONFIG_NAME).write_text(json.dumps({**plain, "tie_word_embeddings": True}))
    config = pretrained_config(folder, vocabulary={"method": "expand", "name": "ve", "init": "normal"})
    after = tensors_of(build_weights(config, expanded, base_tokenizer=small_tokenizer, out=tmp_path).folder)
    assert torch.equal(after[HEAD], after[EMBEDDING])


def test_quantised_tables_are_refused(tmp_path: Path, pretrained: Path, expanded: Artefact, small_tokenizer: Path) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "quantised"
    folder.mkdir()
    save_file({name: tensor.to(torch.int8) for name, tensor in tensors_of(pretrained).items()}, folder / "model.safetensors")
    shutil.copyfile(pretrained / rooms.CONFIG_NAME, folder / rooms.CONFIG_NAME)
    config = pretrained_config(folder, vocabulary={"method": "expand", "name": "ve"})
    with pytest.raises(RequestError, match="holds I8 numbers"):
        build_weights(config, expanded, base_tokenizer=small_tokenizer, out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("artefacts/weights/*/*"))


def refused(config: Any, vocabulary: Artefact, tokenizer: Path | None, out: Path, match: str) -> None:
    with pytest.raises(RequestError, match=match):
        build_weights(config, vocabulary, base_tokenizer=tokenizer, out=out)
    assert not [path for path in out.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_requests_that_cannot_be_are_refused(
    tmp_path: Path, pretrained: Path, base: Artefact, expanded: Artefact, small_tokenizer: Path
) -> None:
    refused(
        tiny_config(vocabulary={"init": "random"}),
        base,
        small_tokenizer,
        tmp_path,
        "vocabulary.init=random; expected one of subword_mean, ",
    )
    refused(expand(), expanded, None, tmp_path, "there is none")
    # a vocabulary that is larger than the model's embedding, without any expansion
    config = pretrained_config(pretrained)
    refused(config, expanded, small_tokenizer, tmp_path, "tokenizer/vocabulary mismatch: .* has 320 embedding rows, the tokenizer 324")
    # a base tokenizer of another size than the model's
    wrong_base = Artefact(expanded.folder, {**expanded.manifest, "counts": {**expanded.counts, "base_size": 319}})
    config = pretrained_config(pretrained, vocabulary={"method": "expand", "name": "ve"})
    refused(config, wrong_base, small_tokenizer, tmp_path, "tokenizer/vocabulary mismatch: .* the base tokenizer 319")
    refused(pretrained_config(tmp_path / "nothing"), base, small_tokenizer, tmp_path, "does not exist")
    (tmp_path / "empty").mkdir()
    refused(pretrained_config(tmp_path / "empty"), base, small_tokenizer, tmp_path, "no readable config.json")
    config = pretrained_config(pretrained)
    config.base_model.num_layers = 3
    refused(config, base, small_tokenizer, tmp_path, r"base_model.num_layers=3, but .*config.json says 2")


def test_other_models_are_refused(tmp_path: Path, pretrained: Path, base: Artefact, small_tokenizer: Path) -> None:
    folder = tmp_path / "gpt2"
    shutil.copytree(pretrained, folder)
    plain = json.loads((folder / rooms.CONFIG_NAME).read_text())
    (folder / rooms.CONFIG_NAME).write_text(json.dumps({**plain, "model_type": "gpt2"}))
    with pytest.raises(RequestError, match="holds a 'gpt2' model"):
        build_weights(pretrained_config(folder), base, base_tokenizer=small_tokenizer, out=tmp_path / "out")
    (folder / rooms.CONFIG_NAME).write_text(json.dumps(plain))
    next(folder.glob("*.safetensors")).unlink()
    with pytest.raises(RequestError, match="weights in safetensors files"):
        build_weights(pretrained_config(folder), base, base_tokenizer=small_tokenizer, out=tmp_path / "out")
