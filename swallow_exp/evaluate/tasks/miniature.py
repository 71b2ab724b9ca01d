"""The tasks of the miniature world: held-out items of six families, asked zero-shot in the form of the training documents.

mini_choice        question of a lasting fact, likelihood of four answers     -> accuracy
mini_question      the same kind of question, answered freely                 -> exact match of the first sentence
mini_reading       passage and question                                       -> exact match of the first sentence
mini_arithmetic    a small sum in words                                       -> exact match of the first sentence
mini_en_ja, ...    source sentence, then what a parallel document goes on with -> corpus BLEU
mini_*_instructed  the same after the instruction of the suite                 -> corpus BLEU

Japanese answers follow their question without a space, translations after one, as in the training documents.
Reads nothing: items are a pure function of the miniature world's seed.
"""

from __future__ import annotations

from functools import lru_cache

from swallow_exp.corpus.miniature import items as miniature_items
from swallow_exp.evaluate.metrics.likelihood import ACCURACY
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH
from swallow_exp.evaluate.metrics.translation import BLEU_ENGLISH, BLEU_JAPANESE
from swallow_exp.evaluate.task import CHOICE, GENERATE, Item, Task

VERSION = "1"
INSTRUCTION_JA_EN = "次の日本語を英語に翻訳してください。"
INSTRUCTION_EN_JA = "Please translate the following English text into Japanese."
# Half as much again as the longest answer of the family, so that a good answer is never cut and a bad one costs little.
ANSWER_BYTES = 48
TRANSLATION_BYTES = 80
ANSWER_ENDS = ("\n", "。")  # every answer is one sentence


@lru_cache(maxsize=16)
def _family(family: str) -> tuple[Item, ...]:
    return tuple(
        Item(str(row["id"]), str(row["cluster"]), str(row["prompt"]), str(row["answer"]), tuple(row.get("choices") or ()))
        for row in miniature_items(family)
    )


def miniature_choice(limit: int | None = None) -> Task:
    """Accuracy of the most likely of four answers."""
    return Task("mini_choice", VERSION, "choice", CHOICE, lambda: _family("choice")[:limit], (ACCURACY,), separator="")


def miniature_answer(family: str, limit: int | None = None) -> Task:
    """Exact match of a generated answer; family: question | reading | arithmetic."""
    return Task(
        f"mini_{family}",
        VERSION,
        family,
        GENERATE,
        lambda: _family(family)[:limit],
        (EXACT_MATCH,),
        separator="",
        until=ANSWER_ENDS,
        max_new_bytes=ANSWER_BYTES,
    )


def miniature_translation(direction: str, limit: int | None = None, *, instruction: str | None = None) -> Task:
    """Corpus BLEU; direction: en_ja | ja_en. With `instruction` the prompt is instruction, space, source."""
    metric = {"en_ja": BLEU_JAPANESE, "ja_en": BLEU_ENGLISH}[direction]
    return Task(
        f"mini_{direction}" if instruction is None else f"mini_{direction}_instructed",
        VERSION,
        "translation",
        GENERATE,
        lambda: _family(f"translation_{direction}")[:limit],
        (metric,),
        description="" if instruction is None else f"{instruction} ",
        max_new_bytes=TRANSLATION_BYTES,
    )
