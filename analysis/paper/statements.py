"""What the paper's text says of its numbers, computed from its tables: what falls out, what does not, what nobody can compute.

Reads   analysis/paper/*.csv.  Writes  nothing.  Source  paper text, Tables 1-10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from analysis.paper.published import (
    Stated,
    layout_rows,
    pairs_rows,
    paper_averages,
    paper_scores,
    read_models,
    read_numbers,
    read_scores,
    read_tasks,
    tasks_of,
    throughput_rows,
)
from analysis.paper.rows import score_row
from analysis.paper.score_tables import other_average
from analysis.paper.statement import SIZES, Statement, has_ends, printed, relative_changes, spread, stated
from analysis.wording import listing, plain, signed

JAPANESE, ENGLISH = "Japanese", "English"


def paper_statements() -> list[Statement]:
    """Every statement of the text that its own numbers can be held against, in the order of the text."""
    return [
        *_introduction(),
        *_effects(),
        *_comparisons(),
        *_without_numbers(),
        *_training(),
    ]


def _introduction() -> list[Statement]:
    numbers, changes = read_numbers(), relative_changes(t.task for t in tasks_of("table4_japanese"))
    share, gain, top = numbers["token_share"].value, numbers["efficiency_gain"].value, max(changes, key=lambda pair: changes[pair])
    up = sum(change > 0 for change in changes.values())
    down = listing([f"{read_tasks()[task].column} {size}" for (task, size), change in changes.items() if change <= 0])
    types = {language: {t.category for t in read_tasks().values() if t.language == language} for language in (JAPANESE, ENGLISH)}
    counts = {
        "num_task_types": ("six types of tasks in both languages", len(types[JAPANESE] | types[ENGLISH])),
        "num_japanese_task_types": ("five types of Japanese tasks", len(types[JAPANESE])),
        "num_english_task_types": ("four types of English tasks", len(types[ENGLISH])),
    }
    tens = round(numbers["figure1_japanese_gain"].value)
    highest = f"highest change {signed(changes[top], 1)}% ({read_tasks()[top[0]].column}, {top[1]})"
    return [
        Statement(
            "almost_all",
            "1",
            "better in almost all Japanese tasks at all sizes",
            f"{up} of {len(changes)} up; not {down} (assumed: almost all are three quarters)",
            up >= 0.75 * len(changes),
        ),
        stated(
            "token_share",
            "a 56.2% token reduction makes generation up to 78% more efficient",
            f"{share}% fewer tokens would be {signed(100 / (1 - share / 100) - 100, 1)}%; tokens that fall to {share}% "
            f"(by {100 - share:.1f}%) are {signed(1e4 / share - 100, 1)}%: the {share}% must be what is left",
            printed(100 / (1 - share / 100) - 100, "78") == Decimal(str(int(gain))),
        ),
        stated(
            "figure1_japanese_gain",
            "Japanese tasks improve by up to about 70%",
            f"{highest}: about {round(changes[top], -1):.0f} in tens, and 75 in 4.1",
            round(changes[top], -1) == tens,
        ),
        *(stated(key, says, f"{found} in Tables 2 and 3", found == numbers[key].value) for key, (says, found) in counts.items()),
    ]


def _averages(language: str) -> list[float]:
    """Swallow minus Llama 2 at every size, from the printed averages."""
    averages = paper_averages()
    return [round(averages[f"swallow_{size}", language] - averages[f"llama2_{size}", language], 6) for size in SIZES]


def _effects() -> list[Statement]:
    """Section 4.1."""
    numbers, scores = read_numbers(), paper_scores()

    def change(key: str, says: str, tasks: Sequence[str], holds: Callable[[Stated, list[float]], bool], *, loss: bool = False) -> Statement:
        values = list(relative_changes(tasks).values())
        return stated(key, says, spread(values), holds(numbers[key], [-v for v in values] if loss else values))

    def within(number: Stated, values: list[float]) -> bool:
        return max(map(abs, values)) < number.value

    gains, losses = _averages(JAPANESE), [-loss for loss in _averages(ENGLISH)]
    reading = [scores[f"llama2_{size}", "jsquad"] for size in SIZES]
    pairs = {who: [(scores[f"{who}_{s}", "mgsm"], scores[f"{who}_{s}", "gsm8k"]) for s in SIZES] for who in ("llama2", "swallow")}
    apart = {who: [english - japanese for japanese, english in found] for who, found in pairs.items()}
    return [
        stated(
            "japanese_average_gain",
            "Japanese average about 7 points above Llama 2",
            spread(gains, "points"),
            all(printed(gain, "7") == Decimal(7) for gain in gains),
        ),
        stated(
            "english_average_loss",
            "English average 2–5 points below Llama 2",
            spread([-loss for loss in losses], "points"),
            has_ends(numbers["english_average_loss"], losses),
        ),
        Statement(
            "english_loss_by_size",
            "4.1",
            "the English loss is smaller the larger the model",
            ", ".join(f"{size} {signed(-loss, 1)}" for size, loss in zip(SIZES, losses, strict=True)),
            losses == sorted(losses, reverse=True),
        ),
        change("japanese_qa_gain", "JCQA, JEMHQA and NIILC improve by up to 75%", ("jcqa", "jemhopqa", "niilc"), has_ends),
        change("mgsm_gain", "MGSM improves by 36–63%", ("mgsm",), has_ends),
        change("english_qa_arithmetic_loss", "TrQA and GSM8K lose 6–23%", ("triviaqa", "gsm8k"), has_ends, loss=True),
        change("xlsum_change", "XL-Sum changes by less than 5%", ("xlsum",), within),
        change("en_ja_gain", "En-Ja improves by 15–41%", ("wmt20_en_ja",), has_ends),
        change("ja_en_loss", "Ja-En loses 4–13%", ("wmt20_ja_en",), has_ends, loss=True),
        change("jsquad_gain", "JSQuAD improves by less than 10%", ("jsquad",), lambda number, v: 0 < min(v) and max(v) < number.value),
        stated(
            "jsquad_llama2",
            "Llama 2 is above 0.8 on JSQuAD",
            ", ".join(f"{size} {score / 100:.3f}" for size, score in zip(SIZES, reading, strict=True)),
            all(score / 100 > numbers["jsquad_llama2"].value for score in reading),
        ),
        Statement(
            "reasoning_llama2", "4.1", "Llama 2: GSM8K above MGSM", f"by {spread(apart['llama2'], 'points')}", min(apart["llama2"]) > 0
        ),
        Statement(
            "reasoning_swallow",
            "4.1",
            "Swallow: GSM8K falls to the level of MGSM",
            f"GSM8K − MGSM {spread(apart['swallow'], 'points')} (assumed: level means within 2 points)",
            max(map(abs, apart["swallow"])) < 2,
        ),
    ]


def _comparisons() -> list[Statement]:
    """Section 4.2, the contributions, appendices H and H.1, and the Avg columns."""
    numbers, models, averages = read_numbers(), read_models(), paper_averages()
    table5 = [row.model for row in read_scores("table5")]
    swallow = {model.size: averages[model.key, JAPANESE] for model in table5 if model.base_model.startswith("llama2")}
    gains = {m.key: round(swallow[m.size] - averages[m.key, JAPANESE], 6) for m in table5 if m.from_scratch}
    each = [f"{models[key].label('table5')} {signed(gain, 1)}" for key, gain in gains.items()]
    japan = {key: averages[key, JAPANESE] for key, model in models.items() if model.japan}
    best = max(japan, key=lambda key: japan[key])
    scratch = {key: averages[key, JAPANESE] for key, model in models.items() if model.from_scratch}
    better = {key: averages[key, JAPANESE] for key in ("stablelm_gamma_7b", "nekomata_7b", "nekomata_14b")}
    bases = {key: averages[key, JAPANESE] for key in ("mistral_7b", "qwen_7b", "qwen_14b")}

    def against(found: dict[str, float], other: str) -> list[float]:
        return [round(value - averages[f"{other}_{models[key].size.lower()}", JAPANESE], 6) for key, value in found.items()]

    beaten = [
        f"{size}: {models[max(of, key=lambda key: of[key])].label('table10')} {max(of.values())}"
        for size in ("7B", "13B")
        if (of := {key: value for key, value in japan.items() if models[key].size == size})
    ]
    plamo = numbers["plamo_japanese_tokens"].value + numbers["plamo_english_tokens"].value
    return [
        stated(
            "from_scratch_gain",
            "Swallow is 8.4 to 17.4 points above models trained from scratch",
            f"{spread(list(gains.values()), 'points')} ({', '.join(each)})",
            has_ends(numbers["from_scratch_gain"], list(gains.values())),
        ),
        Statement(
            "above_scratch",
            "abstract",
            "Swallow is above every model trained from scratch in English or Japanese",
            f"by at least {plain(-max(against(scratch, 'swallow')), 1)} points at its size in Table 9 (with Mistral, Qwen and Llama 2)",
            max(against(scratch, "swallow")) < 0,
        ),
        stated(
            "evaluation_date",
            "Swallow is the best in Japanese of all models developed in Japan",
            f"{models[best].label('table10')} {japan[best]} in Table 9; but the best of {'; of '.join(beaten)}",
            best == "swallow_70b",
        ),
        Statement(
            "bases_above_llama2",
            "H",
            "Mistral v0.1, Qwen-7B and Qwen-14B are above Llama 2 in Japanese",
            f"by {spread(against(bases, 'llama2'), 'points')}",
            min(against(bases, "llama2")) > 0,
        ),
        Statement(
            "others_above_swallow",
            "H",
            "what was trained further from them is above Swallow",
            f"by {spread(against(better, 'swallow'), 'points')}",
            min(against(better, "swallow")) > 0,
        ),
        stated(
            "plamo_tokens",
            "PLaMo: 180B + 1.32T = 1.5T tokens",
            f"{plamo / 1e12:.2f}T",
            plamo == numbers["plamo_tokens"].value,
        ),
        *(_average_column(table) for table in ("table4_japanese", "table4_english", "table5", "table9")),
    ]


def _average_column(table: str) -> Statement:
    """The Avg column of a table against the scores of its rows."""
    tasks = [task.task for task in tasks_of(table)]
    rows = [score_row(r.model.label(table), r.model.size, r.records, printed_average=r.average) for r in read_scores(table)]
    odd = [f"{row.label}: {text}" for row in rows if (text := other_average(row, tasks))]
    number, _, part = table.removeprefix("table").partition("_")
    where = f"Table {number}" + (f" ({part.capitalize()})" if part else "")
    says = f"Avg of {where} is the mean of its row"
    return Statement(f"average_{table}", where, says, " ".join(odd) or f"in all {len(rows)} rows", not odd)


def _without_numbers() -> list[Statement]:
    """Statements that rest on figures whose values are not printed."""
    nothing = "no value of it is printed"
    return [
        Statement("figure3", "4.3", "the Japanese average rises at every 20B tokens, most in the first (Figure 3)", nothing, None),
        stated("vocabulary_qa_change", "vocabulary expansion: question answering within about ±10% (Figure 4)", nothing, None),
        stated("vocabulary_xlsum_loss", "vocabulary expansion: XL-Sum loses about 5–15% (Figures 4, 6)", nothing, None),
        stated("parallel_en_ja_gain", "parallel corpus: En-Ja improves by 9–24% (Figure 5)", nothing, None),
        stated("parallel_ja_en_gain", "parallel corpus: Ja-En improves by 14–51% (Figure 5)", nothing, None),
        stated("parallel_other_change", "parallel corpus: the other tasks within ±15% (Figure 5)", nothing, None),
        Statement("ratio", "B", "9:1 is slightly better than 5:5 after 20B tokens", "no score of either is printed", None),
        stated("nli_majority_share", "one class is over 95% of the predictions in three datasets (Figure 9)", nothing, None),
        stated("nli_fluctuation", "two datasets move by about 40 points during training (Figure 10)", nothing, None),
    ]


def _training() -> list[Statement]:
    """Sections 3.1 to 3.3, appendices D and E."""
    numbers, speeds, layouts = read_numbers(), throughput_rows(), layout_rows()
    value = {key: number.value for key, number in numbers.items() if number.low is not None and number.low == number.high}
    batch = value["global_batch_sequences"] * 4096
    shares = [value[name] for name in ("japanese_share", "refinedweb_share", "arxiv_share")]
    efficient = {row.label: 100 * (row.tflops_per_device or 0) / value["peak_tflops"] for row in speeds}
    told = {row.label: 100 * (row.execution_efficiency or 0) for row in speeds}
    devices = {
        row.label: (row.devices or 0, int(value["gpus_per_node"]) * (speed.nodes or 0)) for row, speed in zip(layouts, speeds, strict=True)
    }
    pairs = {(row.format, row.order): row.tokens or 0 for row in pairs_rows()}
    half = pairs["translation_instruction", "two_staged"] / pairs["next_token_prediction", "two_staged"]
    pieces = 32_000 + value["added_subwords"]
    return [
        stated(
            "global_batch_tokens",
            "1,024 sequences of 4,096 are the 4M tokens of Llama 2's batch",
            f"{batch / 1e6:.2f}M",
            printed(batch / 1e6, "4") == Decimal(4),
        ),
        stated("japanese_share", "90% Japanese, 5% and 5% English", f"{plain(sum(shares), 0)}% in all", sum(shares) == 100),
        stated(
            "vocabulary_size",
            "11,176 added subwords make 43,176",
            f"32,000 + 11,176 = {pieces:,.0f}",
            pieces == value["vocabulary_size"],
        ),
        stated(
            "added_multiple_of",
            "the added vocabulary is a multiple of 8",
            f"11,176 = 8 × {value['added_subwords'] / value['added_multiple_of']:,.0f}",
            value["added_subwords"] % value["added_multiple_of"] == 0,
        ),
        Statement(
            "execution_efficiency",
            "D.3",
            "execution efficiency is TFLOPS/GPU over 312",
            ", ".join(f"{label} {share:.1f}% for {told[label]:.1f}%" for label, share in efficient.items()) + " (TFLOPS are printed whole)",
            all(abs(share - told[label]) <= 0.05 + 50 / value["peak_tflops"] for label, share in efficient.items()),
        ),
        stated("best_efficiency", "70B is over 50%", f"{told['70B']:.1f}%", told["70B"] > value["best_efficiency"]),
        Statement(
            "devices",
            "D.2",
            "Table 6's GPUs (DP × TP × PP) are those of Table 7's nodes of 8",
            ", ".join(f"{label} {needed} against {there}" for label, (needed, there) in devices.items()),
            all(needed == there for needed, there in devices.values()),
        ),
        Statement("flops", "D.4", "5.0e21, 9.4e21 and 5.0e22 FLOPs", "the formula is not printed", None),
        Statement(
            "pairs_tokens", "E.2", "instructions train on the target alone: half the tokens (Table 8)", f"{half:.2f} of them", half == 0.5
        ),
    ]
