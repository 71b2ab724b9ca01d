"""swallow_exp: what does this choice do to a continually pre-trained language model?

    corpus -> vocabulary -> tokens -> mixture -> train -> checkpoint -> evaluate -> record -> analysis

    corpus       text of one origin          -> documents with ids, held-out ones split off
    vocabulary   documents                   -> a tokenizer: the base one, or the base expanded
    tokens       documents + tokenizer       -> token shards with a per-token loss flag
    mixture      weights + budget + shards   -> an integer plan and a deterministic stream of sequences
    train        plan + base model           -> checkpoints at token marks
    checkpoint   resumable state             -> a Hugging Face folder that anything can read
    evaluate     exported checkpoint         -> one result and every item, per task
    record       run folders                 -> rows: the only thing analysis may see
    analysis     records                     -> tables, figures, claims with intervals, one page

The noun of a stage is its conf group, its package, its command, its artefact folder and its record column.
Source: Swallow (COLM 2024), "Continual Pre-Training for Cross-Lingual LLM Adaptation".
"""

import os

# Read when huggingface_hub is first imported, here and in every process we start: no requests but those for models and datasets.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
