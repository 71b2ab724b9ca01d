"""The chain of `tokenizers` normalisers does what SentencePiece's compiled NFKC table does."""

import itertools
import random
import unicodedata

import pytest
import sentencepiece
from tokenizers import normalizers

from swallow_exp.vocabulary.model_file import nfkc_charsmap
from swallow_exp.vocabulary.nfkc import beyond_twin, nfkc_steps, read_charsmap


@pytest.fixture(scope="module")
def table():
    return read_charsmap(nfkc_charsmap())


@pytest.fixture(scope="module")
def reference():
    processor = sentencepiece.SentencePieceNormalizer(
        rule_name="nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    return lambda text: processor.normalize(text).replace("▁", " ")


@pytest.fixture(scope="module")
def chain():
    return normalizers.Sequence(nfkc_steps(nfkc_charsmap())).normalize_str


def test_the_table_is_read_as_sentencepiece_reads_it(table, reference) -> None:
    assert len(table) > 200_000
    assert all(reference(key) == value for key, value in itertools.islice(table.items(), 0, None, 37))
    known = [key for key in table if all(unicodedata.category(c) != "Cn" for c in key)]
    assert all(unicodedata.normalize("NFKC", key) == table[key] for key in known[::37])


def test_every_key_but_a_few_gives_its_replacement(table, chain) -> None:
    beyond = beyond_twin()
    left_out = [key for key in table if beyond(key)]
    assert len(left_out) < 60
    keys = [key for key in table if len(key) < 3] + [key for key in table if len(key) > 2][::41]
    assert [key for key in keys if not beyond(key) and chain(key) != table[key]] == []


def test_marks_in_any_order(table, reference, chain) -> None:
    choose = random.Random(0)
    beyond = beyond_twin()
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]
    keys = [key for key in table if len(key) > 1]
    letters = sorted({key[0] for key in keys})
    pools = (marks, letters, keys, [key[-1] for key in keys], list("aeｶﾞ㋿ﬁ▁ \n"))
    texts = ["".join(choose.choice(choose.choice(pools)) for _ in range(choose.randint(1, 6))) for _ in range(20_000)]
    assert sum(map(beyond, texts)) < 100
    assert [text for text in texts if not beyond(text) and chain(text) != reference(text)] == []
    assert sum(reference(text) != unicodedata.normalize("NFKC", text).replace("▁", " ") for text in texts) > 1_000  # the fence is needed
