"""Which tasks the paper's figures are about: their short names, their language, and the one measure of each that is drawn.

Reads/Writes  nothing.  Source  paper Table 2 (Japanese), Table 3 (English), appendix F (inference); evaluate/tasks/miniature.py
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.load import Measure, Study

JAPANESE, ENGLISH, OTHER = "Japanese tasks", "English tasks", "Other tasks"

# Task of a record -> short name, in the order of the tables. Records carry no language of a task, so it is said here and nowhere else.
# As in Table 2, both directions of translation count as Japanese; every item of the miniature world is Japanese or a translation.
LANGUAGES: dict[str, dict[str, str]] = {
    JAPANESE: {
        "jcqa": "JCQA",
        "jemhopqa": "JEMHQA",
        "niilc": "NIILC",
        "jsquad": "JSQuAD",
        "xlsum": "XL-Sum",
        "mgsm": "MGSM",
        "wmt20_en_ja": "En-Ja",
        "wmt20_ja_en": "Ja-En",
        "mini_choice": "mini_choice",
        "mini_question": "mini_question",
        "mini_reading": "mini_reading",
        "mini_arithmetic": "mini_arithmetic",
        "mini_en_ja": "mini_en_ja",
        "mini_ja_en": "mini_ja_en",
        "mini_en_ja_instructed": "mini_en_ja_instructed",
        "mini_ja_en_instructed": "mini_ja_en_instructed",
    },
    ENGLISH: {
        "openbookqa": "OBQA",
        "triviaqa": "TrQA",
        "hellaswag": "HS",
        "squad2": "SQuAD2",
        "xwino": "XW",
        "gsm8k": "GSM8K",
    },
}
INFERENCE = {"jamp": "Jamp", "janli": "JaNLI", "jnli": "JNLI", "jsem": "JSeM", "jsick": "JSICK"}  # not scored: appendix F
INFERENCE_FORMS = ("_ja", "_choice")
QUESTION_ANSWERING = ("jcqa", "jemhopqa", "niilc")  # Figure 7
SUMMARIZATION = "xlsum"  # Figure 6; its published ROUGE-2 counts each model's own subwords, so a fair one is drawn beside it
JOINT_FIRST = ("niilc", "jemhopqa", "mini_question")  # Figure 2: answers in words, one score an item
PROFILES = ("paper", "both", "fair")  # the first that a task has is drawn
PROFILE_WORDS = {"paper": "as published", "fair": "fair", "both": ""}


def language_of(task: str) -> str:
    """Japanese, English or other (tasks of one's own)."""
    return next((language for language, names in LANGUAGES.items() if task in names), OTHER)


def is_inference(task: str) -> bool:
    """One of the five inference sets, in any form."""
    return any(task in (name, *(f"{name}{form}" for form in INFERENCE_FORMS)) for name in INFERENCE)


def short_name(task: str) -> str:
    """The paper's name of a task; its own name otherwise."""
    for stem, name in INFERENCE.items():
        for form in ("", *INFERENCE_FORMS):
            if task == f"{stem}{form}":
                return f"{name}{form.replace('_', ' ')}"
    return next((names[task] for names in LANGUAGES.values() if task in names), task)


def main_measure(study: Study, task: str, profiles: Sequence[str] = PROFILES) -> Measure | None:
    """The first metric of a task (as its result lists them) that is a score in points, in the first of `profiles` that has one."""
    for profile in profiles:
        for record in study.records:
            if record.task == task and record.profile == profile and record.aggregate != "ratio" and record.higher_is_better:
                return Measure.of(record)
    return None


def scored_measures(study: Study) -> list[Measure]:
    """One measure a task, in the order of the paper's tables; tasks of one's own last. Inference is left out, as in the paper."""
    order = [task for names in LANGUAGES.values() for task in names]
    asked = list(dict.fromkeys(record.task for record in study.records if not is_inference(record.task)))
    asked.sort(key=lambda task: order.index(task) if task in order else len(order))
    return [measure for task in asked if (measure := main_measure(study, task)) is not None]


def with_fair_summaries(study: Study, measures: Sequence[Measure]) -> list[Measure]:
    """The same, with the fair measure of summarization after its published one, where both were asked."""
    found: list[Measure] = []
    for measure in measures:
        found.append(measure)
        if measure.task == SUMMARIZATION and measure.profile == "paper" and (fair := main_measure(study, SUMMARIZATION, ("fair",))):
            found.append(fair)
    return found


def row_name(measure: Measure, measures: Sequence[Measure]) -> str:
    """Short name of a measure; its profile is added where a task has several."""
    name = short_name(measure.task)
    return f"{name} ({PROFILE_WORDS[measure.profile]})" if sum(m.task == measure.task for m in measures) > 1 else name


def profile_words(measures: Sequence[Measure]) -> str:
    """One sentence on how the drawn scores were computed."""
    profiles = {measure.profile for measure in measures}
    if profiles <= {"both"}:
        return ""
    return "Scores as the paper's tools compute them" + (" unless a row says fair." if "fair" in profiles else ".")
