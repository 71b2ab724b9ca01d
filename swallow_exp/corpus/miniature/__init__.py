"""A made-up bilingual world, small enough that a newcomer's laptop learns it in minutes, and real enough that what it learns is measured.

    lexicon    words in both languages, and the characters that the base tokenizer knows
    draws      seeded draws; which content is reserved for items
    events     one-sentence events           -> translation pairs
    facts      lasting facts about people    -> statements, questions and answers
    passages   passages and sums             -> texts whose answer lies in the text
    texts      documents and pairs for training
    items      held-out items in six families

Everything is a pure function of one seed. No text comes from elsewhere.
"""

from swallow_exp.corpus.miniature.items import FAMILIES, items
from swallow_exp.corpus.miniature.lexicon import BASE_CHARACTERS
from swallow_exp.corpus.miniature.texts import documents, pairs

__all__ = ["BASE_CHARACTERS", "FAMILIES", "documents", "items", "pairs"]
