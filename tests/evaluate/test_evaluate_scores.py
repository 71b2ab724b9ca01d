"""Scores against computations of others: rouge_score, sacrebleu, the definition of thefuzz's similarity.

Each over 300 random pairs and at least 30 written by hand.
"""

from __future__ import annotations

import random
import re
import sys
import types
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from swallow_exp.evaluate.data import MissingPackage
from swallow_exp.evaluate.metrics.rouge import ROUGE2_FAIR, ROUGE2_PAPER, japanese_words
from swallow_exp.evaluate.metrics.strings import CHAR_F1_PAPER, char_f1
from swallow_exp.evaluate.metrics.translation import (
    BLEU_EN_JA_FAIR,
    BLEU_EN_JA_PAPER,
    BLEU_JA_EN_FAIR,
    BLEU_JA_EN_PAPER,
    nagisa_words,
    require_nagisa,
)
from swallow_exp.evaluate.task import Item, Metric, Output
from swallow_exp.record.aggregate import score_of_items

JAPANESE = [
    ("青い橋が開通した。", "青い橋が月曜日に開通した。"),
    ("青い橋が月曜日に開通した。", "青い橋が月曜日に開通した。"),
    ("", "灯台守は七十歳である。"),
    ("灯台", "灯台守は七十歳である。"),
    ("七十歳の灯台守", "灯台守は七十歳である。"),
    ("灯台守は七十歳である。灯台守は七十歳である。", "灯台守は七十歳である。"),
    ("２０２３年に完成", "2023年に完成した"),
    ("2023年に完成した", "２０２３年に完成した"),
    ("（予定は２年）", "(予定は2年)"),
    ("ﾊﾟﾝ屋が夜の便を始めた", "パン屋が夜の便を始めた"),
    ("パン屋　が 夜の便を", "パン屋が夜の便を"),
    ("茶屋では団子を売っている。", "団子を茶屋では売っている。"),
    ("!!!", "！！！"),
    ("Tea house 2号店", "tea house 2号店"),
    ("みかんみかんみかん", "みかん"),
    ("みかん", "みかんみかんみかん"),
    ("あ", "あ"),
    ("あ", "い"),
    ("雪", "雪が積もった"),
    ("橋 を 渡る", "橋を渡る"),
    ("船頭の話では、川の機嫌が大切だ。", "「川の機嫌を見るのが仕事だった」と船頭は話した。"),
    ("高校生が時計台を直した。", "高校生が古い時計台を直した。"),
    ("時計台、直る", "高校生が古い時計台を直した。"),
    ("Q&A", "Q&amp;A"),
    ("100％", "100%"),
    ("…", "..."),
    ("〜から", "～から"),
    ("ーーー", "---"),
    ("𠮷野家の牛丼", "吉野家の牛丼"),
    ("子どもたちが最初に渡った", "最初に渡ったのは子どもたちだ。"),
    ("\t橋\t", "橋"),
]
ENGLISH = [
    ("The blue bridge opened.", "The blue bridge opened on Monday."),
    ("The blue bridge opened on Monday.", "The blue bridge opened on Monday."),
    ("", "Its keeper is seventy years old."),
    ("keeper", "Its keeper is seventy years old."),
    ("the keeper is 70", "Its keeper is seventy years old."),
    ("It cost $200.50, he said.", "It cost $200.50, she said."),
    ("It cost 1,000 yen", "It cost 1,000 yen."),
    ("Q&A at noon", "Q&amp;A at noon"),
    ('"Yes," he said', "'Yes,' he said"),
    ("don't", "do n't"),
    ("a b c d", "a b c d"),
    ("d c b a", "a b c d"),
    ("the the the the", "the"),
    ("the", "the the the the"),
    ("It's well-known.", "It is well known."),
    ("U.S. trade talks", "US trade talks"),
    ("３ ships", "3 ships"),
    ("ships…", "ships..."),
    ("  two   spaces ", "two spaces"),
    ("Tea!", "Tea?"),
    ("caf\u00e9 bar", "cafe bar"),
    ("Most are gone by noon.", "Most of them are gone by noon."),
    ("By noon most are gone.", "Most of them are gone by noon."),
    ("CAPITAL LETTERS", "capital letters"),
    ("10-3 or 10 - 3", "10 - 3 or 10-3"),
    ("(in brackets)", "[in brackets]"),
    ("one\ttab", "one tab"),
    ("Children crossed it first, then the mayor.", "The mayor crossed it, and then children."),
    ("<skipped>", "skipped"),
    ("Three years it took.", "It took three years to build."),
    ("x", "y"),
]


def random_pairs(written: Sequence[tuple[str, str]], seed: int, join: str) -> list[tuple[str, str]]:
    """Pieces of the written texts lost, repeated and moved: 300 pairs."""
    rng, pairs = random.Random(seed), []
    texts = [text for pair in written for text in pair if text]
    for _ in range(300):
        reference = rng.choice(texts) + (join + rng.choice(texts) if rng.random() < 0.5 else "")
        units = reference.split(" ") if join else list(reference)
        kept = [unit for unit in units if rng.random() < rng.choice([0.5, 0.9, 1.0])]
        if rng.random() < 0.2:
            kept = kept * 2
        if rng.random() < 0.2:
            rng.shuffle(kept)
        pairs.append((join.join(kept), reference))
    return pairs


def scores(metric: Metric, pairs: Sequence[tuple[str, str]], encode: Callable[[str], Sequence[str]] | None = None) -> list[float]:
    found = [metric.statistics(Item("1", "1", "", gold), Output(text=text, encode=encode)) for text, gold in pairs]
    return [one[0] for one in found]


def bleu(metric: Metric, pairs: Sequence[tuple[str, str]]) -> float:
    found = [metric.statistics(Item("1", "1", "", gold), Output(text=text)) for text, gold in pairs]
    return score_of_items(np.array(found), "bleu")


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[str], list[str]]]:
    """Two vocabularies of the same kind: one that knows little more than characters, one with words."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("vocabularies")
    (folder / "text.txt").write_text(
        "\n".join([text for pair in JAPANESE + ENGLISH for text in pair if text.strip()] * 4), encoding="utf-8"
    )
    made = {}
    for name, size in (("fine", 480), ("coarse", 740)):
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text.txt"), model_prefix=str(folder / name), vocab_size=size, model_type="bpe", byte_fallback=True,
            normalization_rule_name="identity", character_coverage=1.0, num_threads=1, minloglevel=2,
        )  # fmt: skip
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.model"))
        made[name] = lambda text, processor=processor: list(processor.encode(text, out_type=str))
    return made


class _Tokenizer:
    def __init__(self, tokenize: Callable[[str], list[str]]) -> None:
        self.tokenize = tokenize


def _rouge_score(pairs: Sequence[tuple[str, str]], tokenize: Callable[[str], list[str]]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge2"], tokenizer=_Tokenizer(tokenize))
    return [scorer.score(gold, text)["rouge2"].fmeasure for text, gold in pairs]


@pytest.mark.parametrize("pairs", [JAPANESE, random_pairs(JAPANESE, 1, "")], ids=["written", "random"])
def test_rouge2_is_that_of_rouge_score(pairs: list[tuple[str, str]], vocabularies: dict[str, Callable[[str], list[str]]]) -> None:
    assert len(pairs) >= 30
    for encode in vocabularies.values():
        found = scores(ROUGE2_PAPER, pairs, encode)
        assert found == pytest.approx(_rouge_score(pairs, encode), abs=1e-12)
        assert 0.0 in found and 1.0 in found and any(0 < score < 1 for score in found)
    assert scores(ROUGE2_FAIR, pairs) == pytest.approx(_rouge_score(pairs, japanese_words), abs=1e-12)


def test_rouge2_of_the_paper_moves_with_the_vocabulary_and_the_fair_one_does_not(
    vocabularies: dict[str, Callable[[str], list[str]]],
) -> None:
    pairs = [pair for pair in random_pairs(JAPANESE, 2, "") if len(pair[1]) > 10]
    paper = {name: float(np.mean(scores(ROUGE2_PAPER, pairs, encode))) for name, encode in vocabularies.items()}
    fair = {name: scores(ROUGE2_FAIR, pairs, encode) for name, encode in vocabularies.items()}
    assert len(vocabularies["fine"](JAPANESE[1][0])) > len(vocabularies["coarse"](JAPANESE[1][0]))
    assert paper["fine"] > paper["coarse"] + 0.05
    assert fair["fine"] == fair["coarse"]


def test_fair_rouge2_does_not_see_width_or_spaces() -> None:
    assert scores(ROUGE2_FAIR, [("２０２３年に　完成した", "2023年に 完成した")]) == [1.0]
    assert japanese_words("茶屋では団子を売る。") == ["茶屋", "で", "は", "団子", "を", "売る", "。"]
    assert japanese_words(" \u3000") == []


@pytest.mark.parametrize("profile", ["paper", "fair"])
@pytest.mark.parametrize("pairs", [ENGLISH, random_pairs(ENGLISH, 3, " ")], ids=["written", "random"])
def test_bleu_to_english_is_sacrebleu(pairs: list[tuple[str, str]], profile: str) -> None:
    from sacrebleu import corpus_bleu

    metric = {"paper": BLEU_JA_EN_PAPER, "fair": BLEU_JA_EN_FAIR}[profile]
    read: Callable[[str], str] = str if profile == "paper" else lambda text: unicodedata.normalize("NFKC", text)
    expected = corpus_bleu([read(text) for text, _ in pairs], [[read(gold) for _, gold in pairs]])
    assert 5 < expected.score < 95
    assert bleu(metric, pairs) == pytest.approx(expected.score, rel=1e-12)


@pytest.mark.parametrize("pairs", [JAPANESE, random_pairs(JAPANESE, 4, "")], ids=["written", "random"])
def test_fair_bleu_to_japanese_is_sacrebleu_over_characters(pairs: list[tuple[str, str]]) -> None:
    from sacrebleu import corpus_bleu

    normal = [tuple(unicodedata.normalize("NFKC", text) for text in pair) for pair in pairs]
    expected = corpus_bleu([text for text, _ in normal], [[gold for _, gold in normal]], tokenize="char")
    assert 5 < expected.score < 99
    assert bleu(BLEU_EN_JA_FAIR, pairs) == pytest.approx(expected.score, rel=1e-12)


def _paper_bleu_to_japanese(pairs: Sequence[tuple[str, str]], words: Callable[[str], list[str]]) -> None:
    from sacrebleu import corpus_bleu

    joined = [tuple(" ".join(words(text)) for text in pair) for pair in pairs]
    expected = corpus_bleu([text for text, _ in joined], [[gold for _, gold in joined]]).score
    assert 5 < expected < 95
    assert bleu(BLEU_EN_JA_PAPER, pairs) == pytest.approx(expected, rel=1e-12)


@pytest.fixture
def _no_words_kept() -> Any:
    nagisa_words.cache_clear()
    yield
    nagisa_words.cache_clear()


@pytest.mark.usefixtures("_no_words_kept")
def test_paper_bleu_to_japanese_is_13a_over_the_words_of_the_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in = types.SimpleNamespace(tagging=lambda text: types.SimpleNamespace(words=japanese_words(text)))
    monkeypatch.setitem(sys.modules, "nagisa", standing_in)  # type: ignore[arg-type]
    require_nagisa("wmt20_en_ja")
    _paper_bleu_to_japanese(JAPANESE, japanese_words)
    _paper_bleu_to_japanese(random_pairs(JAPANESE, 5, ""), japanese_words)


@pytest.mark.usefixtures("_no_words_kept")
def test_paper_bleu_to_japanese_with_nagisa_itself() -> None:
    nagisa = pytest.importorskip("nagisa", reason="needs the extra paper_metrics")
    _paper_bleu_to_japanese(JAPANESE, lambda text: nagisa.tagging(text).words)
    _paper_bleu_to_japanese(random_pairs(JAPANESE, 6, ""), lambda text: nagisa.tagging(text).words)
    assert nagisa_words("Ｌｌａｍａは青い橋を渡った。") == "Llama は 青い 橋 を 渡っ た 。" and nagisa_words("") == ""


def test_a_missing_segmenter_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nagisa", None)  # import raises
    with pytest.raises(MissingPackage, match=r"wmt20_en_ja .*without the package nagisa; .*pip install 'swallow_exp\[paper_metrics\]'"):
        require_nagisa("wmt20_en_ja")


def _similarity(prediction: str, gold: str) -> float:
    """What token_sort_ratio is said to be, from its definition: words sorted, then the share that insertions and deletions leave alone."""

    def words(text: str) -> str:
        plain = "".join(character for character in text if not "\x80" <= character <= "\xff")
        return " ".join(sorted(re.sub(r"\W", " ", plain).lower().split()))

    left, right = words(prediction), words(gold)
    if left == right:
        return 1.0
    if not left or not right:
        return 0.0
    row = [0] * (len(right) + 1)
    for character in left:
        previous = row[:]
        for place, other in enumerate(right, start=1):
            row[place] = previous[place - 1] + 1 if character == other else max(previous[place], row[place - 1])
    return round(100 * 2 * row[-1] / (len(left) + len(right))) / 100


def test_character_f1_is_the_similarity_it_is_said_to_be() -> None:
    pairs = [*JAPANESE, *ENGLISH, *random_pairs(JAPANESE, 8, ""), *random_pairs(ENGLISH, 9, " ")]
    for prediction, gold in pairs:
        assert char_f1(prediction, gold) == pytest.approx(_similarity(prediction, gold), abs=1e-9), (prediction, gold)
    normal = [tuple(unicodedata.normalize("NFKC", text).split("\n")[0] for text in pair) for pair in pairs]
    assert scores(CHAR_F1_PAPER, pairs) == pytest.approx([_similarity(*pair) for pair in normal], abs=1e-9)
