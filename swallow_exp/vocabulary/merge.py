"""Expand the base tokenizer with trained pieces, as Swallow did.

(1) strip    the word mark from every trained piece (running text has no spaces between Japanese words)
(2) filter   to the asked scripts, so that the merges of other languages stay as they were
(3) choose   new surfaces only, each at its best rank
(4) cut      the worst-ranked that no other piece is made of, until the whole vocabulary is a multiple of `multiple_of`
(5) append   in score order, scores as they are; the base's pieces, scores, types and ids are untouched

Source  paper 3.3 (11,176 subwords added to 32,000), E.1 (word marks removed, multiple of 8, scores as they are)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary.model_file import NORMAL, WORD_MARK, ModelProto, copy_model, set_nfkc, without_dummy_prefix


def script_pattern(scripts: Sequence[str], extra_characters: str) -> Any:
    """Compiled pattern of the surfaces an added piece may have. No scripts: any surface. Raises RequestError on an unknown script name."""
    import regex

    if not scripts:
        return regex.compile(r".+", regex.DOTALL)
    for script in scripts:
        try:
            regex.compile(rf"\p{{Script={script}}}")
        except regex.error as error:
            raise RequestError(
                f"vocabulary.scripts names '{script}'",
                expected="Unicode script names (Hiragana, Katakana, Han, Cyrillic, ...)",
                remedy="correct vocabulary.scripts",
            ) from error
    allowed = "".join(rf"\p{{Script={script}}}" for script in scripts) + "".join(regex.escape(c) for c in extra_characters)
    return regex.compile(f"[{allowed}]+")


def choose_pieces(
    trained: ModelProto, have: Iterable[str], *, scripts: Sequence[str], extra_characters: str
) -> tuple[dict[str, float], dict[str, int]]:
    """Candidates (surface -> score, best rank first) and the funnel: how many pieces were left out for which reason."""
    known = set(have)
    pattern = script_pattern(scripts, extra_characters)
    funnel = dict.fromkeys(("trained", "control_or_byte", "empty_after_strip", "other_script", "in_base", "duplicate_after_strip"), 0)
    funnel["trained"] = len(trained.pieces)
    chosen: dict[str, float] = {}
    for piece in sorted(trained.pieces, key=lambda piece: -piece.score):  # stable: best rank first, so the first of duplicates wins
        surface = piece.piece.replace(WORD_MARK, "")
        if piece.type != NORMAL:
            funnel["control_or_byte"] += 1
        elif not surface:
            funnel["empty_after_strip"] += 1
        elif not pattern.fullmatch(surface):
            funnel["other_script"] += 1
        elif surface in known:
            funnel["in_base"] += 1
        elif surface in chosen:
            funnel["duplicate_after_strip"] += 1
        else:
            chosen[surface] = piece.score
    return chosen, funnel


def _is_needed(surface: str, pieces: set[str], chosen: Iterable[str]) -> bool:
    """Some other chosen piece could not be merged together any more without `surface`."""
    left = pieces - {surface}
    for other in chosen:
        if surface == other or surface not in other:
            continue
        if len(surface) == 1 or not any(other[:cut] in left and other[cut:] in left for cut in range(1, len(other))):
            return True
    return False


def cut_pieces(chosen: Mapping[str, float], count: int, *, have: Iterable[str]) -> dict[str, float]:
    """Drop `count` of the chosen pieces from the worst rank up, but none that another piece is made of."""
    kept = dict(chosen)
    pieces = {*have, *kept}
    for _ in range(count):
        victim = next(surface for surface in reversed(kept) if not _is_needed(surface, pieces, kept))
        del kept[victim]
        pieces.remove(victim)
    return kept


def count_unreachable(expanded: ModelProto, base_size: int) -> int:
    """Added pieces that are not the encoding of their own surface: another merge comes first. A fact to report, no failure."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(expanded).SerializeToString())
    surfaces = [piece.piece for piece in expanded.pieces[base_size:]]
    return sum(ids != [base_size + row] for row, ids in enumerate(processor.encode(surfaces)))


def expand_base(
    base: ModelProto, trained: ModelProto, *, scripts: Sequence[str], extra_characters: str, multiple_of: int, normalization: str
) -> tuple[ModelProto, dict[str, int]]:
    """The base with the trained pieces it lacks appended, and the funnel. Raises RequestError when nothing is left to add."""
    have = [piece.piece for piece in base.pieces]
    chosen, funnel = choose_pieces(trained, have, scripts=scripts, extra_characters=extra_characters)
    funnel["cut_to_multiple"] = min((len(base.pieces) + len(chosen)) % multiple_of, len(chosen))
    kept = cut_pieces(chosen, funnel["cut_to_multiple"], have=have)
    funnel["added"] = len(kept)
    if not kept:
        counts = ", ".join(f"{name} {count:,}" for name, count in funnel.items())
        raise RequestError(
            f"no trained piece is left to add to the base tokenizer ({counts})",
            expected=f"pieces of the scripts {', '.join(scripts) or 'any'} that the base lacks",
            remedy="correct vocabulary.scripts or vocabulary.language, raise vocabulary.vocab_size, or give more text",
        )
    expanded = copy_model(base)
    for surface, score in kept.items():
        piece = expanded.pieces.add()
        piece.piece, piece.score, piece.type = surface, score, NORMAL
    expanded.trainer_spec.vocab_size = len(expanded.pieces)
    if normalization == "nfkc":
        set_nfkc(expanded)
    funnel["unreachable"] = count_unreachable(expanded, len(base.pieces))
    return expanded, funnel
