"""Articles cut at a full stop: to a number of tokens as the fork does it (paper), or to a number of characters (fair).

The fork's rule, for prompts of more than (model's length - tokens of the gold summary - 10) tokens: every article, the shot's too, gets
that number divided by the number of articles; it keeps the sentences before the first that goes over, or the tokens of a first sentence
that is too long by itself. Summaries and description are not counted, so a prompt may still be too long; the language model then drops
its start, which `truncated` in result.json counts.

Reads/Writes  nothing.
Source        Stability-AI/lm-evaluation-harness, commit 9b42d41, xlsum_ja.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from swallow_exp.evaluate.task import Fit, Item, Ruler, Task

ARTICLE = "ニュース記事:"
SUMMARY = "要約:"
STOP = "。"
MARGIN_TOKENS = 10
SLACK_TOKENS = 16  # how much shorter, at most, a text can get in tokens by one more sentence


def first_sentences(text: str, characters: int) -> str:
    """The sentences of `text` that fit `characters` together; of a first sentence that is longer, its beginning."""
    if len(text) <= characters:
        return text
    end = text.rfind(STOP, 0, characters)
    return text[: end + 1] if end >= 0 else text[:characters]


def _first_over(size: Callable[[int], int], count: int, limit: int) -> int:
    """The smallest n in 1..count with size(n) > limit, count + 1 if there is none, for a `size` that all but grows with n.

    Found by halving, then by looking back as long as sizes are so close below the limit that an earlier one may be above it.
    """
    low, high = 0, count + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) > limit else (middle, high)
    found, earlier = high, high - 1
    while earlier >= 1:
        measured = size(earlier)
        if measured > limit:
            found = earlier
        elif measured < limit - SLACK_TOKENS:
            break
        earlier -= 1
    return found


def cut_article(head: str, tokens: int, ruler: Ruler) -> str:
    """`head`, the label and article up to the line of the summary, cut to `tokens` as the fork does it."""
    sentences = head.split(STOP)
    first = _first_over(lambda n: ruler.count(STOP.join(sentences[:n])), len(sentences), tokens)
    if first > len(sentences):
        return head
    if first > 1:
        return STOP.join(sentences[: first - 1]) + STOP + "\n"
    return ruler.decode(ruler.encode(sentences[0])[:tokens]) + "\n"


def _fit_articles(task: Task, item: Item, ruler: Ruler) -> str:
    prompt = task.render(item)
    limit = ruler.max_length - (ruler.count(item.target) + MARGIN_TOKENS)
    if ruler.count(prompt) <= limit:
        return prompt
    articles = [*task.shots(item), item]
    share = max(limit // len(articles), 1)
    *shots, asked = [replace(one, prompt=cut_article(one.prompt.removesuffix(SUMMARY), share, ruler) + SUMMARY) for one in articles]
    return task.render(asked, shots=shots)


FIT_ARTICLES = Fit("articles_by_gold_length", "1", _fit_articles)
