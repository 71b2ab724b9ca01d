"""Models that no run of ours made: find one, check that it is whole, name its results.

(1) locate   a folder, or a hub name when the network is allowed          -> Hugging Face folder
(2) check    config, tokenizer, every weight file's header and length     -> one line on what is wrong, before anything is loaded
(3) digest   of weights, config and tokenizer (model/identity.py)         -> <out>/models/<name>-<digest7>/

Reads   a Hugging Face folder        Writes  <out>/models/<name>-<digest7>/model.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import MODELS, RunPaths, user_path
from swallow_exp.model.folder import (
    CONFIG_NAME,
    EMBEDDING,
    WEIGHTS_INDEX_NAME,
    fetch_model,
    read_index,
    read_model_config,
    stored_tensors,
    weight_files,
)
from swallow_exp.model.identity import TOKENIZER_NAME, checkpoint_digest, known_weights_digest

HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer.model")


@dataclass(frozen=True)
class ForeignModel:
    """A Hugging Face folder with a name, the digest of weights, config and tokenizer, and that of the weights alone."""

    name: str
    folder: Path
    digest: str
    weights: str

    def paths(self, out: Path) -> RunPaths:
        """Where its results lie: laid out as those of a run."""
        return RunPaths.of(out, f"{MODELS}/{self.name}-{self.digest[:7]}")


def is_model(given: str, *, network: bool) -> bool:
    """True when a word is a Hugging Face folder, or looks like one that is damaged, or is a hub name that may be fetched."""
    folder = user_path(given)
    return folder.is_dir() or given.startswith((".", "~", "/")) or (network and given.count("/") == 1)


def open_model(out: Path, given: str, *, network: bool = False) -> ForeignModel:
    """The checked model of a folder or hub name. Raises RequestError when it is not there or not whole."""
    folder = user_path(given)
    name = folder.resolve().name
    if not folder.is_dir():
        if not (network and re.fullmatch(r"[\w.-]+/[\w.-]+", given)):
            raise RequestError(
                f"{given} is not a folder",
                expected="a run_id, a Hugging Face folder, or a hub name with suite.network=true",
                remedy="correct the path",
            )
        folder, name = fetch_model(given, asked=given, patterns=HUB_FILES), given.replace("/", "__")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80].lstrip(".-") or "model"
    check_model(folder)
    weights = known_weights_digest(folder)
    model = ForeignModel(plain, folder, checkpoint_digest(folder, weights), weights)
    facts = {"name": given, "folder": str(folder.resolve()), "digest": model.digest}
    if read_json(model.paths(out).folder / "model.json") != facts:
        write_json_atomic(model.paths(out).folder / "model.json", facts)
    return model


@dataclass(frozen=True)
class ModelFolder:
    """What a whole Hugging Face folder is.

    config  of its config.json
    stamps  size and time of every file that was looked at
    """

    config: Mapping[str, Any]
    stamps: Mapping[Path, tuple[int, int] | None]


_looked_at: dict[Path, ModelFolder] = {}


def check_model(folder: Path) -> ModelFolder:
    """What a folder is; the answer is kept until one of its files changes. Loads nothing.

    Raises RequestError naming the first thing that is missing, cut short, or does not fit together.
    """
    known = _looked_at.get(folder)
    if known is None or known.stamps != _stamps(known.stamps):
        known = _looked_at[folder] = _look_at(folder)
    return known


def _look_at(folder: Path) -> ModelFolder:
    stamps = _stamps([folder / CONFIG_NAME, folder / WEIGHTS_INDEX_NAME, folder / TOKENIZER_NAME])
    config = read_model_config(folder)
    tensors = stored_tensors(folder)
    rows = {name: tensor.shape[0] if tensor.shape else 0 for name, tensor in tensors.items()}
    files = weight_files(folder)
    index = read_index(folder)
    absent = [name for name in index["weight_map"] if name not in rows] if index is not None else []
    if absent:
        raise _broken(folder, f"no file holds {repr(absent[0])[1:-1]:.80}, which {WEIGHTS_INDEX_NAME} names")
    last, embedded = _last_id(folder), rows.get(EMBEDDING, config.get("vocab_size"))
    if isinstance(embedded, int) and last >= embedded:
        raise RequestError(
            f"{folder}: the tokenizer has ids up to {last}, the embedding {embedded} rows",
            expected="the tokenizer this model was trained with",
            remedy=f"put that {TOKENIZER_NAME} into the folder",
        )
    for key in ("bos_token_id", "eos_token_id"):
        if config.get(key) is None:
            raise _broken(folder, f"no {key} in {CONFIG_NAME}")
    return ModelFolder(config, {**stamps, **_stamps(files)})


def _stamps(files: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
    facts = {file: file.stat() if file.is_file() else None for file in files}
    return {file: None if fact is None else (fact.st_size, fact.st_mtime_ns) for file, fact in facts.items()}


def _last_id(folder: Path) -> int:
    """The highest id the tokenizer gives."""
    path = folder / TOKENIZER_NAME
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        pieces = plain["model"]["vocab"]
        ids = list(pieces.values()) if isinstance(pieces, dict) else list(range(len(pieces)))
        return max([*ids, *(int(token["id"]) for token in plain.get("added_tokens", []))])
    except FileNotFoundError as error:
        raise _broken(folder, f"no {TOKENIZER_NAME}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _broken(folder, f"{TOKENIZER_NAME} is no tokenizer") from error


def _broken(folder: Path, what: str) -> RequestError:
    return RequestError(
        f"{folder} as a model: {what}",
        expected="a whole Hugging Face folder (config.json, tokenizer.json, safetensors)",
        remedy="export or download it again",
    )
