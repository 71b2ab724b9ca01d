"""A user's own folder to begin with: levels for their text and model, and one commented question.

Reads   nothing
Writes  FOLDER/{source,mixture,base_model,sweeps}/*.yaml and the empty folders of FOLDER/text, all of it or nothing
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, user_disk
from swallow_exp.config.overrides import set_value

TEXT = "text"  # where the user's files lie, unless they say otherwise
QUESTION = "question"
CHOICES = ("base_model=my_model", "mixture=mine", "budget=miniature", "optim=miniature", "suite=heldout")

FILES = {
    "source/ja_docs.yaml": """\
# Documents in the language the model is to learn. Add a file like this one for every corpus.
name: ja_docs
language: ja # a word like "no" needs quotes in YAML
files: ["ja/*.jsonl"] # a document per line, {"text": "..."}; also .jsonl.gz, .jsonl.zst, .parquet, .txt; relative to paths.data
heldout_fraction: 0.02 # kept away from training, to measure bits per byte on
# max_documents: 100_000 # only the first ones
""",
    "source/en_docs.yaml": """\
# Documents in the language the model knows, so that it does not forget it.
name: en_docs
language: en
files: ["en/*.jsonl"]
heldout_fraction: 0.02
""",
    "source/my_pairs.yaml": """\
# Sentence pairs, used in full by parallel=ntp_mixed and the like.
name: my_pairs
language: en-ja
kind: pairs
files: ["pairs/*.tsv"] # English, tab, Japanese; or JParaCrawl's layouts; or JSON lines with en and ja
heldout_fraction: 0.05
""",
    "mixture/mine.yaml": """\
# How the text is mixed. Weights sum to 1, and pairs come on top.
# Without pairs, drop parallel_source and the line of my_pairs.
name: mine
weights: {ja_docs: 0.9, en_docs: 0.1}
parallel_source: my_pairs # what parallel=... levels use
defaults:
  - /source@sources.ja_docs: ja_docs
  - /source@sources.en_docs: en_docs
  - /source@sources.my_pairs: my_pairs
""",
    "base_model/my_model.yaml": """\
# The model that is trained further: for now a tiny Llama with random weights.
name: my_model
tokenizer: ${paths.data}/tokenizer.model # the SentencePiece tokenizer of your model
hidden_size: 128
intermediate_size: 344
num_layers: 2
num_heads: 4
num_kv_heads: 4
max_position_embeddings: 1024
# Your own weights: a Hugging Face folder of Llama shape. Give it another name, drop the lines above
# from tokenizer on, and name the folder:
# path: /models/Llama-2-7b-hf
""",
    f"sweeps/{QUESTION}.yaml": """\
# One question: its grid and its baseline. `swallow show GROUP=?` lists the levels of a group.
question: What do expansion and our pairs do to this model?
fixed: {base_model: my_model, mixture: mine, budget: miniature, optim: miniature, suite: heldout}
baseline: {vocabulary: base, parallel: none} # what the others are compared with
grids: # two factors, two levels each: four cells
  - {vocabulary: [base, ja_16k], parallel: [none, ntp_mixed]}
seeds: [0, 1, 2] # three runs per cell: one run per cell has no verdict
overrides:
  - OVERRIDE # where your files lie
""",
}


def write_starter(folder: Path, data: Path | None = None) -> Path:
    """Write the levels and the question into a new or empty folder -> where the text lies.

    That is `data`, or FOLDER/text.
    Raises RequestError for a folder that holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"swallow init {folder}", expected="a new folder, or an empty one", remedy="choose another name")
    text = (data or folder / TEXT).absolute()
    make_folder(folder.absolute().parent)
    unfinished = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.partial")
    with user_disk(folder):
        try:
            for name, content in FILES.items():
                path = unfinished / name
                path.parent.mkdir(parents=True, exist_ok=True)
                override = json.dumps(set_value("paths.data", text), ensure_ascii=False)
                path.write_text(content.replace("OVERRIDE", override), encoding="utf-8")
            if data is None:
                for kind in ("ja", "en", "pairs"):
                    (unfinished / TEXT / kind).mkdir(parents=True)
            unfinished.rename(folder.absolute())
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return text
