"""The words of the miniature world: who, what, where, how, each with its English and its Japanese form.

Small on purpose. A model of about a million parameters has to learn all of it within minutes on one processor core, so every slot holds
a dozen words, and most Japanese words are a single character. The words are our own choice; nothing here is taken from a corpus.

BASE_CHARACTERS are the Japanese characters that the base tokenizer knows one by one: all kana, the punctuation, and close to half of the
world's kanji, the commonest among them. The other kanji fall to three bytes each, as most kanji do with Llama 2's vocabulary.
Source: paper 3.3 (why a vocabulary is expanded).
"""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """One meaning in both languages."""

    en: str
    ja: str


def _words(*columns: str) -> tuple[Word, ...]:
    """Parse 'en=ja' entries separated by blanks; an underscore stands for a blank inside an English word."""
    entries = (entry.split("=") for column in columns for entry in column.split())
    return tuple(Word(en.replace("_", " "), ja) for en, ja in entries)


# Slots of an event: the <agent> <verb>s the <adjective> <object> in the <place>.
AGENTS = _words("king=王 princess=姫 monk=僧 soldier=兵 mother=母 father=父 girl=娘 guest=客 cat=猫 dog=犬 fox=狐 bear=熊")
VERBS = _words("buys=買う sells=売る hides=隠す carries=運ぶ washes=洗う finds=拾う breaks=壊す steals=盗む")
ADJECTIVES = _words("red=赤い white=白い black=黒い blue=青い old=古い heavy=重い round=丸い long=長い")
OBJECTS = _words("stone=石 book=本 flower=花 sword=剣 key=鍵 plate=皿 umbrella=傘 box=箱 mirror=鏡 bell=鈴 bow=弓 lamp=ランプ")
PLACES = _words("forest=森 harbor=港 village=村 temple=寺 castle=城 river=川 market=市場 garden=庭 station=駅 island=島")

# People, and what is true of them for good.
PEOPLE = _words(
    "Ken=健 Aoi=葵 Sho=翔 Ren=蓮 Rin=凛 Saki=咲 Kaede=楓 Itsuki=樹 Hikaru=光 Makoto=誠 Kaoru=薫 Megumi=恵 Shiori=栞 Azusa=梓 Nozomi=望",
    "Nagisa=渚 Shinobu=忍 Isamu=勇 Madoka=円 Shizuka=静 Ayumu=歩 Toru=徹 Akane=茜 Misao=操 Tsuyoshi=剛 Noboru=昇 Manabu=学 Izumi=泉",
    "Yutaka=豊 Minoru=稔",
)
JOBS = _words("doctor=医者 painter=画家 teacher=教師 carpenter=大工 singer=歌手 farmer=農夫 sailor=船乗り baker=パン屋")
PETS = _words("bird=鳥 horse=馬 cow=牛 sheep=羊 rabbit=兎 turtle=亀 goose=雁 snake=蛇")
FOODS = _words("rice=米 fish=魚 meat=肉 bread=パン peaches=桃 pears=梨 eggs=卵 beans=豆")
COLORS = _words("red=赤 white=白 black=黒 blue=青 purple=紫 yellow=黄 gold=金 silver=銀")

# Things that one counts, in the plural that sums need.
GOODS = _words("stones=石 boxes=箱 bells=鈴 keys=鍵 peaches=桃 pears=梨 eggs=卵 beans=豆")

_SLOTS = (AGENTS, VERBS, ADJECTIVES, OBJECTS, PLACES, PEOPLE, JOBS, PETS, FOODS, COLORS, GOODS)
_KANJI_OF_FORMS = "住家仕事職働飼食服着色好物何個全部残取人所"

_HIRAGANA = "".join(chr(point) for point in range(0x3041, 0x3097))
_KATAKANA = "".join(chr(point) for point in range(0x30A1, 0x30FB))


def _is_kanji(character: str) -> bool:
    return "一" <= character <= "鿿"


def world_kanji() -> str:
    """Every kanji that a document can contain, sorted, once each."""
    text = "".join(word.ja for slot in _SLOTS for word in slot) + _KANJI_OF_FORMS
    return "".join(sorted({character for character in text if _is_kanji(character)}))


def _base_kanji() -> str:
    """The commonest kanji of the world: those of the sentence forms, of people and of places."""
    names = "".join(word.ja for word in PEOPLE + PLACES)
    return "".join(character for character in world_kanji() if character in _KANJI_OF_FORMS + names)


BASE_CHARACTERS = _HIRAGANA + _KATAKANA + "ー。、" + _base_kanji()
