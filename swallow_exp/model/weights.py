"""Start weights of a run: the base model with a row for every piece of the vocabulary, as a Hugging Face folder.

(1) base      base_model.path (folder or hub name), or a random initialisation    -> V base rows
(2) rows      one for each added piece, embedding and head each (vocabulary.init)  -> V + N rows
(3) folder    config, weights, tokenizer files, generation config
(4) digest    sha256 over the weights

Reads   a Hugging Face folder, a vocabulary artefact     Writes  artefacts/weights/<base_model>-<vocabulary>-<hash7>/
Source  paper 3.3 and E.1 (initialisation of added subwords)
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.files import digest_of, fingerprint_file, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.config import Config, check_init
from swallow_exp.model.expand import expand_files
from swallow_exp.model.folder import (
    CONFIG_NAME,
    EMBEDDING,
    HEAD,
    TABLES,
    WEIGHTS_INDEX_NAME,
    count_parameters,
    read_index,
    read_model_config,
    save_weights,
    stored_tensors,
    weight_files,
    weights_digest,
    write_generation_config,
)
from swallow_exp.model.rows import AddedPieces, RowFacts, added_rows, row_facts
from swallow_exp.model.segments import base_subwords
from swallow_exp.model.source import check_source, check_tensors, locate_model
from swallow_exp.vocabulary.tokenizer import HUGGING_FACE_FOLDER, model_path

if TYPE_CHECKING:
    import torch

DEFAULT_DEVIATION = 0.02  # of a config.json without initializer_range: the library's own default


@dataclass(frozen=True)
class RowCounts:
    """Rows of the base, and what became of each table; no table when nothing was added."""

    base_rows: int
    tables: dict[str, RowFacts]

    def plain(self) -> dict[str, Any]:
        """For the manifest."""
        return {"base_rows": self.base_rows, "tables": {name: asdict(facts) for name, facts in self.tables.items()}}


def build_weights(config: Config, vocabulary: Artefact, *, base_tokenizer: Path | None, out: Path) -> Artefact:
    """Build (or find) the start weights. Manifest counts: parameters, vocab_size, base_rows, tables (norms), weights_sha256.

    Raises RequestError for an unknown initialisation, a missing folder, a model that is no Llama, a shape that
    contradicts the config, or a tokenizer that does not fit the model.
    """
    model, init = config.base_model, config.vocabulary.init
    check_init(init)
    request: dict[str, Any] = {"method": config.vocabulary.method, "init": init}
    if config.vocabulary.method == "expand" and init == "normal":
        request["seed"] = config.seed
    # the tokenizer itself, not the text it was trained on: mixtures that share a tokenizer share start weights
    made_from = {"tokenizer": str(vocabulary.counts["tokenizer_digest"])}
    source: Path | None = None
    if model.path is None:
        shape = {key: value for key, value in asdict(model).items() if key not in ("name", "path", "revision", "tokenizer")}
        request |= {"shape": shape, "seed": config.seed}
    else:
        source = locate_model(model, network=config.paths.network)
        check_source(model, source, sequence_length=config.optim.sequence_length)
        stored_tensors(source)  # a download that was cut off is named here, before anything is computed
        made_from["base_model"] = digest_of({file.name: fingerprint_file(file) for file in (source / CONFIG_NAME, *weight_files(source))})
    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "weights", f"{model.name}-{config.vocabulary.name}", digest)

    def build(partial: Path) -> Mapping[str, Any]:
        require_sound(vocabulary)
        if source is None:
            rows = _write_random(config, vocabulary, base_tokenizer, partial)
        else:
            rows = _write_pretrained(config, vocabulary, base_tokenizer, source, partial)
        write_generation_config(partial)
        for file in sorted((vocabulary.folder / HUGGING_FACE_FOLDER).iterdir()):
            shutil.copyfile(file, partial / file.name)
        shutil.copyfile(model_path(vocabulary), partial / model_path(vocabulary).name)
        counts = {"parameters": count_parameters(partial), "vocab_size": int(vocabulary.counts["size"])}
        return {**counts, **rows.plain(), "weights_sha256": weights_digest(partial)}

    return build_artefact(folder, build, kind="weights", digest=digest, request=request, made_from=made_from)


def _write_random(config: Config, vocabulary: Artefact, base_tokenizer: Path | None, folder: Path) -> RowCounts:
    """Random start: the base rows depend on the seed alone, so cells with and without added pieces share them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model, expands = config.base_model, config.vocabulary.method == "expand"
    rows = int(vocabulary.counts["base_size" if expands else "size"])
    shape = LlamaConfig(
        vocab_size=rows,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        num_key_value_heads=model.num_kv_heads,
        max_position_embeddings=model.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        rms_norm_eps=model.rms_norm_eps,
        tie_word_embeddings=model.tie_word_embeddings,
        initializer_range=model.initializer_range,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tensors = dict(LlamaForCausalLM(shape).state_dict())
    if model.tie_word_embeddings:
        del tensors[HEAD]
    segments = base_subwords(config.vocabulary, vocabulary, base_tokenizer, rows=rows, where="the random model")
    added = AddedPieces(segments, config.vocabulary.init, config.seed, model.initializer_range)
    counts = RowCounts(rows, {})
    for name in TABLES if segments else ():
        if name in tensors:
            rows_ND = added_rows(tensors[name], added, name=name)
            counts.tables[name] = row_facts(tensors[name], rows_ND)
            tensors[name] = torch.cat([tensors[name], rows_ND])
    shape.vocab_size = rows + len(segments)
    shape.save_pretrained(str(folder))
    save_weights(tensors, folder)
    return counts


def _write_pretrained(config: Config, vocabulary: Artefact, base_tokenizer: Path | None, source: Path, folder: Path) -> RowCounts:
    """Pretrained start, file by file; only the two tables are ever read into memory, one after the other."""
    stored = stored_tensors(source)
    plain = read_model_config(source)
    tied = bool(plain.get("tie_word_embeddings", False))
    check_tensors(stored, source)
    rows = stored[EMBEDDING].shape[0]
    segments = base_subwords(config.vocabulary, vocabulary, base_tokenizer, rows=rows, where=str(source))
    added = AddedPieces(segments, config.vocabulary.init, config.seed, float(plain.get("initializer_range", DEFAULT_DEVIATION)))
    counts = RowCounts(rows, {})

    def make_rows(name: str, table_VD: torch.Tensor) -> torch.Tensor:
        rows_ND = added_rows(table_VD, added, name=EMBEDDING if tied else name)  # tied tables that are stored twice stay equal
        counts.tables[name] = row_facts(table_VD, rows_ND)
        return rows_ND

    expand_files(source, folder, tables=TABLES, num_rows=len(segments), make_rows=make_rows)
    index = read_index(source)
    if index is not None:
        write_json_atomic(folder / WEIGHTS_INDEX_NAME, index)  # the same tensors in the same files, two of them longer
        total = sum(tensor.end - tensor.start for tensor in stored_tensors(folder).values())
        write_json_atomic(folder / WEIGHTS_INDEX_NAME, {**index, "metadata": {"total_size": total}})
    write_json_atomic(folder / CONFIG_NAME, {**plain, "vocab_size": int(vocabulary.counts["size"])})
    return counts
