"""Token totals of real text: our shards hold exactly what SentencePiece gives, plus one <s> and one </s> a document."""

import json
import os
from pathlib import Path

import pytest

from swallow_exp.config import ParallelConfig, SourceConfig, VocabularyConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_pairs
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.check_shard import check_shard
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.tokenizer import load_tokenizer

DATA = os.environ.get("SWALLOW_TEST_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DATA is None, reason="SWALLOW_TEST_DATA is not set: real text and the Llama 2 tokenizer are needed"),
]
TOKENIZERS = {"base": "llama2_tokenizer.model", "expanded": "golden/expanded_swallow_style_43488.model"}
FILES = ["ja/aozora_pd.jsonl", "ja/ja_docs.jsonl", "ja/ja_wiki.jsonl", "en/en_docs.jsonl"]
PAIRS = "parallel/lo_help.jparacrawl.tsv"
INSTRUCTIONS = {
    "instruction_ja_en": "次の日本語を英語に翻訳してください。",
    "instruction_en_ja": "Please translate the following English text into Japanese.",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("totals")


def vocabulary_of(which: str, out: Path):
    config = VocabularyConfig(name=which, method="base")
    return build_vocabulary(config, base_tokenizer=Path(str(DATA)) / TOKENIZERS[which], corpora={}, out=out)


@pytest.mark.parametrize("which", TOKENIZERS)
@pytest.mark.parametrize("file", FILES)
def test_documents(file, which, out) -> None:
    source = SourceConfig(name="text", language=file[:2], files=[file], heldout_fraction=0.0)
    corpus = build_corpus(source, out=out, data=Path(str(DATA)))
    vocabulary = vocabulary_of(which, out)
    tokens = build_tokens(corpus, vocabulary, out=out, processes=2)
    processor = load_tokenizer(vocabulary)
    rows = [json.loads(line)["text"] for line in (Path(str(DATA)) / file).read_text(encoding="utf-8").split("\n") if line.strip()]
    texts = [text for text in rows if text.strip()]
    bare = sum(map(len, processor.encode(texts)))
    assert tokens.counts["documents"] == len(texts)
    assert tokens.counts["tokens"] == tokens.counts["trained_tokens"] == bare + 2 * len(texts)
    assert check_shard(tokens) == []
    print(f"{file:<34} {which:<9} {len(texts):>7,} documents {bare:>12,} tokens {tokens.counts['tokens']:>12,} with <s> and </s>")


@pytest.mark.parametrize("which", TOKENIZERS)
def test_table8_two_to_one(which, out) -> None:
    source = SourceConfig(name="pairs", kind="pairs", language="en-ja", files=[PAIRS], heldout_fraction=0.0)
    corpus = build_corpus(source, out=out, data=Path(str(DATA)))
    vocabulary, pairs = vocabulary_of(which, out), list(read_pairs(corpus, "train"))
    ntp = ParallelConfig(name="ntp", format="next_token_prediction", order="mixed")
    ti = ParallelConfig(name="ti", format="translation_instruction", order="mixed", **INSTRUCTIONS)
    both, targets = (build_tokens(corpus, vocabulary, out=out, parallel=parallel).counts for parallel in (ntp, ti))
    processor = load_tokenizer(vocabulary)
    sides = sum(len(ids) for pair in pairs for ids in processor.encode([pair.en, pair.ja]))
    assert targets["trained_tokens"] == sides + 2 * len(pairs)  # both targets and the </s> of each
    assert both["trained_tokens"] == both["tokens"] == 2 * targets["trained_tokens"]
    print(
        f"{PAIRS:<34} {which:<9} {len(pairs):>7,} pairs NTP {both['trained_tokens']:,} : TI {targets['trained_tokens']:,} of "
        f"{targets['tokens']:,} = {both['trained_tokens'] / targets['trained_tokens']:.3f}"
    )
