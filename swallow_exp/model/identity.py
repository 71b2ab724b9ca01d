"""What makes two model folders answer alike: weights, config.json and tokenizer. And whether a folder is still what was written.

checkpoint_digest   over all three: what a result of an evaluation stands for. Two vocabularies of one size may start from the same bytes
                    of weights; they are two models all the same
side_files          sha256 of everything but the weights, as it was written
check_sides         the side files against what was written; check_weights the weights

Reads   a Hugging Face folder; large files once per version (artefact/remember.py)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.artefact.files import digest_of, sha256_file
from swallow_exp.artefact.remember import remembered_digests
from swallow_exp.model.folder import (
    CONFIG_NAME,
    GENERATION_NAME,
    TOKENIZER_NAMES,
    WEIGHTS_INDEX_NAME,
    read_model_config,
    weight_files,
    weights_digest,
)

SIDE_NAMES = (CONFIG_NAME, GENERATION_NAME, *TOKENIZER_NAMES)
TOKENIZER_NAME = TOKENIZER_NAMES[0]  # what evaluation reads; the others are for other programs
# of config.json: who wrote it and where; the dtype that a model is loaded with is one of the evaluation's settings
NO_NUMBERS = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")


def checkpoint_digest(folder: Path, weights: str) -> str:
    """Digest of weights, config.json and tokenizer; `weights` is the digest of the weights. Raises RequestError without a config."""
    config = {key: value for key, value in read_model_config(folder).items() if key not in NO_NUMBERS}
    path = folder / TOKENIZER_NAME
    return digest_of({"weights": weights, "config": config, "tokenizer": sha256_file(path) if path.is_file() else None})


def known_weights_digest(folder: Path) -> str:
    """`weights_digest`, computed once per version of the files. Raises RequestError when they are not whole."""
    names = [file.name for file in weight_files(folder)]
    index = [WEIGHTS_INDEX_NAME] if (folder / WEIGHTS_INDEX_NAME).is_file() else []
    return remembered_digests(folder, {"weights": [*names, *index]}, lambda _: weights_digest(folder))["weights"]


def side_files(folder: Path) -> dict[str, str]:
    """Name -> sha256 of the files beside the weights that are there."""
    return {name: sha256_file(folder / name) for name in SIDE_NAMES if (folder / name).is_file()}


def check_sides(folder: Path, sides: Mapping[str, str], *, remedy: str) -> None:
    """Raises RunFailed naming the first side file that is not what it was when it was written; `sides` as `side_files` gave it."""
    found = side_files(folder)
    for name, known in sides.items():
        if found.get(name) != known:
            what = f"its sha256 is {found[name][:12]}, {known[:12]} was written" if name in found else "it is missing"
            raise RunFailed(f"{folder / name} was damaged or changed since it was written: {what}; {remedy}")


def check_weights(folder: Path, weights: str, *, remedy: str) -> None:
    """Raises RunFailed when the weights of a folder are not those with the digest `weights`."""
    found = known_weights_digest(folder)
    if found != weights:
        raise RunFailed(
            f"the weights in {folder} were damaged or changed: their digest is {found[:12]}, {weights[:12]} was written; {remedy}"
        )
