"""Names of users and groups: which can be confused with each other, and which cannot be read."""

from __future__ import annotations

import re
import unicodedata

# Letters that look like a Latin one: Unicode's confusables, cut down to the alphabets in which a whole name can imitate
# one. By name, because the letters look the same in a source file.
SMALL = {
    "CYRILLIC SMALL LETTER": "A a, VE b, GHE r, IE e, KA k, EM m, EN h, O o, ER p, ES c, TE t, U y, HA x, DZE s, JE j, "
    "BYELORUSSIAN-UKRAINIAN I i, KOMI DE d, QA q, WE w, SHHA h, PALOCHKA l, SOFT SIGN b, STRAIGHT U y",
    "GREEK SMALL LETTER": "ALPHA a, BETA b, GAMMA y, EPSILON e, ETA n, IOTA i, KAPPA k, MU u, NU v, OMICRON o, RHO p, "
    "TAU t, UPSILON u, CHI x, OMEGA w",
    "ARMENIAN SMALL LETTER": "OH o, VO n, SEH u, CO g, HO h",
    "LATIN SMALL LETTER": "ALPHA a, SCRIPT G g, DOTLESS I i, DOTLESS J j",
    "DIGIT": "ZERO o, ONE l",
}
# Capital letters that look like another letter than their small form does.
CAPITALS = {
    "LATIN CAPITAL LETTER": "I l",
    "CYRILLIC CAPITAL LETTER": "BYELORUSSIAN-UKRAINIAN I l",
    "GREEK CAPITAL LETTER": "ETA h, IOTA l, MU m, NU n, UPSILON y, ZETA z",
}
DOT_ABOVE = "\N{COMBINING DOT ABOVE}"
# Categories of characters without a shape: control, format, private use, unassigned, surrogates, separators.
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs"})
# Characters of other categories that are not displayed: fillers, joiners, variation selectors, the empty braille cell.
IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
WORD = re.compile(r"[^\W\d_]+")
# Scripts that are written together in one word.
TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HANGUL": "CJK", "BOPOMOFO": "CJK", "IDEOGRAPHIC": "CJK"}


def by_character(table: dict[str, str]) -> dict[int, str]:
    pairs = ((script, pair.rpartition(" ")) for script, letters in table.items() for pair in letters.split(", "))
    return {ord(unicodedata.lookup(f"{script} {name}")): latin for script, (name, _, latin) in pairs}


SMALL_SHAPES, CAPITAL_SHAPES = by_character(SMALL), by_character(CAPITALS)


def keys(name: str) -> frozenset[str]:
    """Return how the name can be read; two names that share a key can be taken for each other.

    Compatibility forms (full width, ligatures), case and look-alike letters of other alphabets make no difference.
    """
    plain = unicodedata.normalize("NFKC", name)
    # A capital is read both as what it looks like and as what its small form looks like.
    return frozenset(shape(text) for text in (plain, plain.translate(CAPITAL_SHAPES)))


def shape(text: str) -> str:
    # The dot is what case folding leaves of the Turkish capital I.
    folded = unicodedata.normalize("NFKC", text.casefold()).replace(DOT_ABOVE, "").translate(SMALL_SHAPES)
    return "".join("-" if unicodedata.category(char) == "Pd" else char for char in folded)


def is_clear(name: str) -> bool:
    """Return whether the name can be read: every character visible, single spaces inside, one script in each word."""
    if name != " ".join(name.split()) or IGNORABLE.search(name):
        return False
    if any(char != " " and unicodedata.category(char) in UNSEEN for char in name):
        return False
    return all(len(scripts(word)) <= 1 for word in WORD.findall(unicodedata.normalize("NFKC", name)))


def scripts(word: str) -> set[str]:
    """Return the scripts of the letters of a word."""
    # The first word of a letter's Unicode name is its script, except for those that follow letters of any script.
    names = (unicodedata.name(char, "UNNAMED").partition(" ")[0] for char in word)
    return {TOGETHER.get(name, name) for name in names if name != "MODIFIER"}
