"""Token shards of documents and pairs: the right ids, the right flags, the same bytes every time."""

import dataclasses
import json

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import ParallelConfig
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.corpus.document import Pair
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.encode import Direction, directions, encode_pairs
from swallow_exp.tokens.shard import open_shard
from swallow_exp.vocabulary.tokenizer import load_continuation, load_tokenizer, tokenizer_digest

FILES = ("tokens.bin", "offsets.npy", "meta.json")


def stored(tokens: Artefact) -> list[list[int]]:
    shard = open_shard(tokens)
    return [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)]


@pytest.mark.parametrize("vocabulary", ["base", "expanded"])
@pytest.mark.parametrize("corpus", ["english", "japanese"])
def test_documents_are_stored_whole(vocabulary: str, corpus: str, request, world) -> None:
    vocabulary, corpus = request.getfixturevalue(vocabulary), request.getfixturevalue(corpus)
    tokens = build_tokens(corpus, vocabulary, out=world)
    processor = load_tokenizer(vocabulary)
    texts = [document.text for document in read_documents(corpus, "train")]
    expected = [[1, *processor.encode(text), 2] for text in texts]
    documents = stored(tokens)
    assert documents != expected  # shuffled
    assert sorted(documents) == sorted(expected)
    assert sorted(processor.decode(ids[1:-1]) for ids in documents) == sorted(texts)
    shard = open_shard(tokens)
    assert shard.loss is None
    assert shard.text_bytes == sum(len(text.encode()) for text in texts) == corpus.counts["train"]["bytes"]
    assert tokens.counts["tokens"] == tokens.counts["trained_tokens"] == sum(map(len, expected)) == shard.num_tokens
    assert tokens.counts["documents"] == len(texts)
    assert tokens.counts["dtype"] == "uint16"
    assert shard.tokenizer_digest == tokenizer_digest(vocabulary)


def test_building_twice_gives_the_same_bytes(japanese, expanded, world, tmp_path) -> None:
    first, second = build_tokens(japanese, expanded, out=world), build_tokens(japanese, expanded, out=tmp_path)
    assert first.digest == second.digest and first.id == second.id
    assert [(first.folder / name).read_bytes() for name in FILES] == [(second.folder / name).read_bytes() for name in FILES]
    assert sorted(path.name for path in second.folder.iterdir()) == sorted([*FILES, "manifest.json"])


def test_the_seed_moves_documents_and_is_recorded(japanese, expanded, world) -> None:
    first, other = build_tokens(japanese, expanded, out=world), build_tokens(japanese, expanded, out=world, seed=1)
    assert first.digest != other.digest
    assert stored(first) != stored(other)
    assert sorted(stored(first)) == sorted(stored(other))
    assert json.loads((other.folder / "meta.json").read_text())["shuffle_seed"] == 1


def test_next_token_prediction_stores_both_directions(pairs, expanded, ntp, world) -> None:
    tokens = build_tokens(pairs, expanded, out=world, parallel=ntp)
    processor = load_tokenizer(expanded)
    expected = []
    for pair in read_pairs(pairs, "train"):
        expected += [[1, *processor.encode(f"{pair.ja} {pair.en}"), 2], [1, *processor.encode(f"{pair.en} {pair.ja}"), 2]]
    assert sorted(stored(tokens)) == sorted(expected)
    assert open_shard(tokens).loss is None
    assert tokens.counts["trained_tokens"] == sum(map(len, expected))
    assert tokens.counts["inexact_borders"] == 0
    assert tokens.counts["documents"] == 2 * pairs.counts["train"]["documents"]


@pytest.mark.parametrize("vocabulary", ["base", "expanded"])
def test_translation_instruction_trains_targets_and_their_end(vocabulary: str, request, pairs, instructed, world) -> None:
    vocabulary = request.getfixturevalue(vocabulary)
    tokens = build_tokens(pairs, vocabulary, out=world, parallel=instructed)
    shard, processor = open_shard(tokens), load_tokenizer(vocabulary)
    assert shard.loss is not None
    expected = {}
    for pair in read_pairs(pairs, "train"):
        for instruction, source, target in (
            (instructed.instruction_ja_en, pair.ja, pair.en),
            (instructed.instruction_en_ja, pair.en, pair.ja),
        ):
            expected[(1, *processor.encode(f"{instruction} {source} {target}"), 2)] = [*processor.encode(target), 2]
    assert len(expected) == shard.num_documents
    for number in range(shard.num_documents):
        ids, flags = shard.tokens[shard.span(number)], shard.loss[shard.span(number)]
        target = expected[tuple(ids.tolist())]
        assert ids[flags == 1].tolist() == target
        assert flags.tolist() == [0] * (len(ids) - len(target)) + [1] * len(target)
    assert tokens.counts["trained_tokens"] == int(shard.loss.sum()) == sum(map(len, expected.values()))


def test_table8_the_two_formats_train_two_to_one(pairs, expanded, ntp, instructed, world) -> None:
    both, targets = (build_tokens(pairs, expanded, out=world, parallel=parallel).counts for parallel in (ntp, instructed))
    assert both["trained_tokens"] == 2 * targets["trained_tokens"]
    assert targets["tokens"] > both["tokens"] > targets["trained_tokens"]


def test_directions_of_a_pair_do_not_stay_together(pairs, expanded, ntp, world) -> None:
    documents = stored(build_tokens(pairs, expanded, out=world, parallel=ntp))
    processor = load_tokenizer(expanded)
    place = {tuple(ids): number for number, ids in enumerate(documents)}
    gaps = []
    for pair in read_pairs(pairs, "train"):
        one, other = ((1, *processor.encode(text), 2) for text in (f"{pair.ja} {pair.en}", f"{pair.en} {pair.ja}"))
        gaps.append(abs(place[one] - place[other]))
    assert numpy.mean(gaps) > len(documents) / 5
    assert sum(gap == 1 for gap in gaps) <= 5


PAIR = Pair("1", "The fox finds it.", "狐が見つける。")


def test_a_newline_separator_belongs_to_the_prompt_and_adds_no_word_mark(expanded, instructed) -> None:
    parallel = dataclasses.replace(instructed, separator="\n")
    processor = load_tokenizer(expanded)
    to_english, to_japanese = encode_pairs([PAIR], processor.encode, load_continuation(expanded).encode, parallel=parallel)
    newline = processor.encode("\n")[-1]
    target = to_japanese.ids[to_japanese.flags == 1].tolist()
    assert to_japanese.ids[to_japanese.flags == 0][-1] == newline
    assert processor.decode(target[:-1]) == PAIR.ja
    assert target[0] != processor.piece_to_id("▁")
    assert to_english.exact_border and to_japanese.exact_border
    assert processor.decode(to_english.ids[1:-1].tolist()) == f"{parallel.instruction_ja_en}\n{PAIR.ja}\n{PAIR.en}"


@pytest.mark.parametrize(
    ("separator", "expected"),
    [
        (" ", Direction("狐が見つける。", " The fox finds it.")),
        ("\n", Direction("狐が見つける。\n", "The fox finds it.")),
        (" = ", Direction("狐が見つける。 =", " The fox finds it.")),
    ],
)
def test_the_last_space_goes_with_the_target(separator: str, expected: Direction) -> None:
    parallel = ParallelConfig(format="next_token_prediction", separator=separator)
    assert directions(PAIR, parallel)[0] == expected


def test_a_piece_across_the_border_is_split_there_and_counted(base) -> None:
    processor = load_tokenizer(base)
    parallel = ParallelConfig(format="next_token_prediction", separator="")
    _, joined = encode_pairs([Pair("1", "in the mark", "et")], processor.encode, load_continuation(base).encode, parallel=parallel)
    assert processor.encode("in the market")[-1] != processor.encode("in the mark")[-1]
    assert not joined.exact_border
    assert joined.ids.tolist() == [1, *processor.encode("in the mark"), *load_continuation(base).encode("et"), 2]


def test_what_is_not_in_the_bytes_is_not_in_the_digest(pairs, expanded, ntp, instructed, world) -> None:
    one = build_tokens(pairs, expanded, out=world, parallel=ntp)
    same = dataclasses.replace(ntp, name="other", order="two_staged", epochs=3, instruction_ja_en="unused")
    assert build_tokens(pairs, expanded, out=world, parallel=same).digest == one.digest
    reworded = dataclasses.replace(instructed, instruction_en_ja="Say it in Japanese.")
    assert (
        build_tokens(pairs, expanded, out=world, parallel=instructed).digest
        != build_tokens(pairs, expanded, out=world, parallel=reworded).digest
    )


def test_pairs_need_a_format_and_documents_none(pairs, english, base, ntp, tmp_path) -> None:
    with pytest.raises(RequestError, match="holds pairs and the parallel format is None"):
        build_tokens(pairs, base, out=tmp_path)
    with pytest.raises(RequestError, match="holds documents and the parallel format is next_token_prediction"):
        build_tokens(english, base, out=tmp_path, parallel=ntp)


def test_nothing_to_train_on_is_refused(english, base, tmp_path) -> None:
    counts = {**english.counts, "train": {"documents": 0, "characters": 0, "bytes": 0}}
    empty = Artefact(english.folder, {**english.manifest, "counts": counts})
    with pytest.raises(RequestError, match="no document to train on"):
        build_tokens(empty, base, out=tmp_path)


def test_a_failed_build_leaves_only_its_finished_parts(english, base, tmp_path, monkeypatch) -> None:
    import swallow_exp.tokens.build_shards as module

    def fail(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_shuffled", fail)
    with pytest.raises(KeyboardInterrupt):
        build_tokens(english, base, out=tmp_path)
    folders = [path.name for path in (tmp_path / "artefacts" / "tokens").iterdir() if path.is_dir()]
    assert len(folders) == 1 and folders[0].endswith(".work")
    monkeypatch.undo()
    monkeypatch.setattr(module, "encoded_blocks", fail)  # all parts are there: nothing is encoded again
    made = build_tokens(english, base, out=tmp_path)
    assert [path.name for path in made.folder.parent.iterdir() if path.is_dir()] == [made.id]


sentences = st.text(alphabet="the fox 狐がを、。市場\n", min_size=1, max_size=30).map(str.strip).filter(bool)


@given(rows=st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5), separator=st.sampled_from([" ", "\n", " = ", ""]))
@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masks_sum_to_the_target_tokens(rows, separator, expanded, instructed) -> None:
    parallel = dataclasses.replace(instructed, separator=separator)
    processor, continuation = load_tokenizer(expanded), load_continuation(expanded)
    pairs = [Pair(str(number), en, ja) for number, (en, ja) in enumerate(rows)]
    encoded = list(encode_pairs(pairs, processor.encode, continuation.encode, parallel=parallel))
    targets = [direction.target for pair in pairs for direction in directions(pair, parallel)]
    assert len(encoded) == len(targets) == 2 * len(pairs)
    for document, target in zip(encoded, targets, strict=True):
        expected = [*continuation.encode(target), 2]
        assert int(document.flags.sum()) == len(expected) and document.ids[document.flags == 1].tolist() == expected
        assert set(document.flags[: len(document.ids) - len(expected)].tolist()) == {0}


def test_a_shard_of_another_tokenizer_is_refused_when_it_is_opened(english, base, expanded, tmp_path) -> None:
    tokens = build_tokens(english, base, out=tmp_path)
    assert open_shard(tokens, tokenizer=tokenizer_digest(base)).num_documents == tokens.counts["documents"]
    with pytest.raises(RequestError, match=r"has ids of another tokenizer \(\w{12}\) than this vocabulary \(\w{12}\)"):
        open_shard(tokens, tokenizer=tokenizer_digest(expanded))
    meta = json.loads((tokens.folder / "meta.json").read_text())
    (tokens.folder / "meta.json").write_text(json.dumps({**meta, "tokenizer_digest": "0" * 64}))
    with pytest.raises(RequestError, match=r"has ids of another tokenizer \(0{12}\) than its own manifest"):
        open_shard(tokens)
