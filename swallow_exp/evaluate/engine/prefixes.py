"""Which tokens many sequences have in common, and in what order to compute them so that each is computed once.

(1) forest   sequences, each with a private end    -> tree of shared runs of tokens; the private ends are its leaves
(2) packs    tree, limits of one forward pass      -> packs: a stem that is computed before and kept, and whole subtrees that go together
(3) layout   pack                                  -> ids, positions and who sees whom, as one row

A run becomes a stem when what hangs on it does not fit into one pass: the shots of a task, the paragraph of many questions. The four
choices of one question hang on the question inside one pack. The order is that of the sorted sequences, whatever order they came in.

Shapes: Q tokens of a pack.
Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MIN_STEM = 16  # shorter runs are computed again in every subtree: a pass of their own costs more

Ids = Sequence[int]


@dataclass(slots=True, eq=False)
class PrefixNode:
    """Tokens start..end of sequence `example` and of all below it. A leaf is the private end of one sequence."""

    example: int
    start: int
    end: int
    children: list[PrefixNode] = field(default_factory=list)
    tokens: int = 0  # of the whole subtree
    rows: int = 0  # sequences that end in it
    kept: int = 0  # positions whose logits are wanted


@dataclass(frozen=True)
class Limits:
    """What one forward pass may hold; a single sequence always fits."""

    tokens: int
    kept: int
    rows: int

    def allow(self, nodes: Sequence[PrefixNode]) -> bool:
        """True when the subtrees may go together."""
        return (
            sum(node.tokens for node in nodes) <= self.tokens
            and sum(node.kept for node in nodes) <= self.kept
            and sum(node.rows for node in nodes) <= self.rows
        )


@dataclass(frozen=True)
class Pack:
    """Subtrees that one forward pass computes behind a stem (nodes from the first token on)."""

    stem: tuple[PrefixNode, ...]
    trees: tuple[PrefixNode, ...]

    @property
    def stem_tokens(self) -> int:
        """Tokens before the pack."""
        return self.stem[-1].end if self.stem else 0

    @property
    def tokens(self) -> int:
        """Tokens in the pack."""
        return sum(tree.tokens for tree in self.trees)

    @property
    def rows(self) -> int:
        """Sequences that end in the pack."""
        return sum(tree.rows for tree in self.trees)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence, the stem included."""
        longest, todo = 0, list(self.trees)
        while todo:
            node = todo.pop()
            longest = max(longest, node.end)
            todo.extend(node.children)
        return longest


def build_forest(sequences: Sequence[Ids], private: Sequence[int], kept: Sequence[int]) -> PrefixNode:
    """Root (of no tokens) of the tree.

    The last `private[i] >= 1` tokens of a sequence are shared with nobody. `kept[i]` as PrefixNode.kept.
    """
    shared = [tuple(ids[: len(ids) - own]) for ids, own in zip(sequences, private, strict=True)]
    order = sorted(range(len(sequences)), key=lambda i: (shared[i], tuple(sequences[i]), i))
    root = PrefixNode(order[0] if order else 0, 0, 0)
    path, everyone = [root], [root]
    before: tuple[int, ...] = ()
    for index in order:
        ids = shared[index]
        common = _common(before, ids)
        below = None
        while path[-1].end > common:
            below = path.pop()
        if path[-1].end < common:
            assert below is not None
            middle = PrefixNode(below.example, below.start, common, [below])
            below.start = common
            path[-1].children[-1] = middle
            path.append(middle)
            everyone.append(middle)
        if len(ids) > path[-1].end:
            node = PrefixNode(index, path[-1].end, len(ids))
            path[-1].children.append(node)
            path.append(node)
            everyone.append(node)
        leaf = PrefixNode(index, len(ids), len(sequences[index]), tokens=private[index], rows=1, kept=kept[index])
        path[-1].children.append(leaf)
        before = ids
    _measure(everyone)
    return root


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Length of the common start; by halves, because slices compare faster than a loop."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _measure(nodes: Sequence[PrefixNode]) -> None:
    """Fill in the sums from the deepest node up, and make a run with a single leaf one leaf."""
    for node in sorted(nodes, key=lambda node: -node.end):
        if len(node.children) == 1 and not node.children[0].children and node.end:
            (leaf,) = node.children
            node.children, node.example, node.end = [], leaf.example, leaf.end
            node.rows, node.kept, node.tokens = leaf.rows, leaf.kept, node.end - node.start
            continue
        node.rows = sum(child.rows for child in node.children)
        node.kept = sum(child.kept for child in node.children)
        node.tokens = node.end - node.start + sum(child.tokens for child in node.children)


def plan_packs(root: PrefixNode, limits: Limits) -> list[Pack]:
    """Packs in the order of the sorted sequences. Takes the tree over: short runs move into what hangs on them."""
    packs: list[Pack] = []
    todo: list[Pack | tuple[PrefixNode, tuple[PrefixNode, ...]]] = [(root, ())]
    while todo:
        job = todo.pop()
        if isinstance(job, Pack):
            packs.append(job)
        else:
            todo.extend(reversed(list(_open(*job, limits))))
    return packs


def _open(node: PrefixNode, stem: tuple[PrefixNode, ...], limits: Limits) -> Iterator[Pack | tuple[PrefixNode, tuple[PrefixNode, ...]]]:
    """What hangs on a run that does not fit: packs, and further runs to open, in order."""
    if node.end - node.start >= MIN_STEM:
        stem = (*stem, node)
    else:
        for child in node.children:
            child.tokens += child.start - node.start
            child.start = node.start
    together: list[PrefixNode] = []
    for child in node.children:
        if limits.allow([*together, child]):
            together.append(child)
            continue
        if together:
            yield Pack(stem, tuple(together))
            together = []
        if limits.allow([child]):
            together = [child]
        elif child.children:
            yield child, stem
        else:
            yield Pack(stem, (child,))
    if together:
        yield Pack(stem, tuple(together))


@dataclass(frozen=True)
class PackedTree:
    """A pack as one row of tokens.

    ids, positions    of each token
    runs              (first place, end, place of the token before it or -1 for the stem), in an order in which parents come first
    paths             sequence -> runs from the stem on; its private end is the end of the last
    """

    ids: list[int]
    positions: list[int]
    runs: list[tuple[int, int, int]]
    paths: dict[int, tuple[int, ...]]

    @property
    def is_chain(self) -> bool:
        """True for a single sequence."""
        return len(self.runs) == 1

    def places(self, sequence: int) -> list[int]:
        """Places of the tokens of one sequence, behind the stem."""
        return [place for run in self.paths[sequence] for place in range(*self.runs[run][:2])]


def lay_out(pack: Pack, sequences: Sequence[Ids]) -> PackedTree:
    """One row for all the pack's subtrees."""
    layout = PackedTree([], [], [], {})
    todo: list[tuple[PrefixNode, tuple[int, ...]]] = [(tree, ()) for tree in reversed(pack.trees)]
    while todo:
        node, path = todo.pop()
        first, before = len(layout.ids), layout.runs[path[-1]][1] - 1 if path else -1
        layout.ids.extend(sequences[node.example][node.start : node.end])
        layout.positions.extend(range(node.start, node.end))
        path = (*path, len(layout.runs))
        layout.runs.append((first, len(layout.ids), before))
        if not node.children:
            layout.paths[node.example] = path
        todo.extend((child, path) for child in reversed(node.children))
    return layout
