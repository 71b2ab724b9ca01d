"""Checks of a mixture's groups that need no token counts: every part is of one kind, and shares sum to what holds them.

    groups:
      japanese: {share: 0.9, sources: {wiki: {full: true}, crawl: {fill: true}}}     the crawl gets what Wikipedia leaves of 90%
      english: {share: 0.1, sources: {web: {share: 0.05}, papers: {share: 0.05}}}    shares are of the whole mixture

What needs token counts (parts that are larger than their group) is refused by mixture/quotas.py.

Reads/Writes  nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from swallow_exp.artefact.errors import RequestError, require
from swallow_exp.config.schema import GroupConfig, MixtureConfig, PartConfig

KINDS = "one of share: 0.05, tokens: 1_000_000, full: true, fill: true"
TOLERANCE = 1e-9  # of sums of shares, as for weights


def check_groups(mixture: MixtureConfig) -> None:
    """Raises RequestError for groups that no token counts could make a mixture of."""
    name = f"mixture={mixture.name}"
    for key, group in mixture.groups.items():
        _check_part(f"{name}: group {key}", group, kinds=KINDS.replace(", full: true", ""))
        _check_members(f"{name}: group {key}", group, mixture)
    _refuse_repeated(name, mixture)
    _check_sum(name, mixture.groups)


def kinds_of(part: PartConfig | GroupConfig) -> list[str]:
    """Which of share, tokens, full, fill are given."""
    given = {"share": part.share is not None, "tokens": part.tokens is not None, "full": getattr(part, "full", False), "fill": part.fill}
    return [kind for kind, is_given in given.items() if is_given]


def _check_part(where: str, part: PartConfig | GroupConfig, *, kinds: str) -> None:
    given, share, tokens = kinds_of(part), part.share, part.tokens
    require(len(given) == 1, f"{where} has {' and '.join(given) or 'no size'}", expected=f"exactly {kinds}", remedy="keep one")
    share_ok, tokens_ok = share is None or 0 < share <= 1, tokens is None or tokens > 0
    require(share_ok, f"{where}: share={share}", expected="above 0 and at most 1", remedy="correct the share")
    require(tokens_ok, f"{where}: tokens={tokens}", expected="a number above 0", remedy="correct it, or drop the source")


def _check_members(where: str, group: GroupConfig, mixture: MixtureConfig) -> None:
    require(bool(group.sources), f"{where} has no sources", expected="at least one", remedy="add sources: to the group")
    for source, part in group.sources.items():
        _check_part(f"{where}: {source}", part, kinds=KINDS)
        require(
            source in mixture.sources,
            f"{where} names '{source}'",
            expected=f"one of the mixture's sources ({', '.join(mixture.sources) or 'none'})",
            remedy="add the source to the mixture's defaults list, or drop it",
        )
        require(
            mixture.sources[source].kind == "documents",
            f"{where} names the pairs '{source}'",
            expected="document sources in groups",
            remedy="name pairs in parallel_source and choose parallel=...",
        )
        require(
            part.epochs == 1 or (part.epochs > 1 and part.full),
            f"{where}: {source}: epochs={part.epochs}",
            expected="1 or more, beside full: true",
            remedy="correct epochs or add full: true",
        )
    _check_member_sum(where, group)


def _check_member_sum(where: str, group: GroupConfig) -> None:
    fillers = _fillers(where, group.sources)
    shares = [part.share for part in group.sources.values() if part.share is not None]
    total = math.fsum(shares)
    if fillers:
        if group.share is not None and total >= group.share - TOLERANCE:
            raise RequestError(
                f"{where}: its shares sum to {total:.6g} of {group.share:.6g}, nothing is left for {fillers[0]}",
                expected="shares below the group's",
                remedy="lower them, or raise the group's share",
            )
        return
    if len(shares) < len(group.sources) or group.share is None:
        raise RequestError(
            f"{where} has no source that fills it",
            expected="a source with fill: true beside full, tokens, or a group without a share",
            remedy="give the group's largest source fill: true",
        )
    if abs(total - group.share) > TOLERANCE:
        raise RequestError(
            f"{where}: the shares of its sources sum to {total:.6g}",
            expected=f"the group's share, {group.share:.6g} (shares are of the whole mixture)",
            remedy="correct them, or give one source fill: true",
        )


def _fillers(where: str, parts: Mapping[str, PartConfig] | Mapping[str, GroupConfig]) -> list[str]:
    fillers = [key for key, part in parts.items() if part.fill]
    if len(fillers) > 1:
        raise RequestError(
            f"{where}: {' and '.join(fillers)} both have fill: true", expected="at most one that fills", remedy="give the others a size"
        )
    return fillers


def _refuse_repeated(name: str, mixture: MixtureConfig) -> None:
    groups_of: dict[str, list[str]] = {}
    for key, group in mixture.groups.items():
        for source in group.sources:
            groups_of.setdefault(source, []).append(key)
    for source, keys in groups_of.items():
        if len(keys) > 1:
            raise RequestError(f"{name}: {source} is in the groups {' and '.join(keys)}", expected="one group a source", remedy="drop one")


def _check_sum(name: str, groups: Mapping[str, GroupConfig]) -> None:
    fillers = _fillers(name, groups)
    total = math.fsum(_shares(groups))
    if fillers and total >= 1 - TOLERANCE:
        raise RequestError(
            f"{name}: the groups' shares sum to {total:.6g}, nothing is left for {fillers[0]}", expected="less than 1", remedy="lower them"
        )
    if not fillers and (abs(total - 1) > TOLERANCE or len(_shares(groups)) < len(groups)):
        raise RequestError(
            f"{name}: the groups' shares sum to {total:.6g}",
            expected="a sum of exactly 1, or a group with fill: true",
            remedy="correct the shares in the mixture file",
        )


def _shares(groups: Mapping[str, GroupConfig]) -> Sequence[float]:
    return [group.share for group in groups.values() if group.share is not None]
