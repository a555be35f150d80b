"""Text → sentences of words → clauses. What pronouns stand for is found in ``references``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from dataclasses import replace
from itertools import dropwhile

from world2act_core.skills.grammar import lexicon
from world2act_core.skills.grammar.clauses import Clause, Item, NotUnderstood, Noun, Phrase
from world2act_core.skills.grammar.lexicon import match
from world2act_core.skills.types import StepKind

MAX_CHARACTERS = 1000
"""Ten times the longest instruction of LIBERO. It also bounds the time."""

_TOKEN = re.compile(r"\w+(?:[-'/]\w+|\.\d+)*|\S")
_QUOTES = frozenset("\"'`“”‘")
_JOINTS = frozenset({",", "and"})


def read_clauses(instruction: str) -> list[Clause]:
    """The clauses of an instruction, at least one, as they are written. Sorted by ``order`` they are as they are done.

    Raises:
        NotUnderstood: the text is no instruction, or says what a list of steps cannot express.
    """
    if len(instruction) > MAX_CHARACTERS:
        raise NotUnderstood(f"the instruction has {len(instruction)} characters, at most {MAX_CHARACTERS} are read")
    clauses = [clause for n, words in enumerate(_sentences(instruction)) for clause in _Parser(words, n).clauses()]
    if not clauses:
        raise NotUnderstood("the instruction is empty")
    return clauses


def _sentences(text: str) -> list[list[str]]:
    """Words and commas of each sentence, in lower case."""
    text = unicodedata.normalize("NFKC", text).lower().replace("_", " ").replace("’", "'").replace("&", " and ")
    sentences: list[list[str]] = [[]]
    for token in _TOKEN.findall("".join(letter if letter.isprintable() else " " for letter in text)):
        if token == "?" and not match(sentences[-1], 0, lexicon.REQUESTS):  # "could you open the drawer?"
            raise NotUnderstood("the instruction is a question")
        if token in ".;:!?":
            sentences.append([])
        elif token == "," or token[0].isalnum():
            sentences[-1] += [token] * (token not in lexicon.COURTESY)
        elif token not in _QUOTES:
            raise NotUnderstood(f"the instruction contains {token!r}, which is no part of a sentence")
    return [sentence for sentence in sentences if sentence]


class _Parser:
    """Reads one sentence by recursive descent; ``at`` is the next word."""

    def __init__(self, words: list[str], number: int) -> None:
        self.words, self.number, self.at = words, number, 0

    def clauses(self) -> list[Clause]:
        if tuple(self.words[-2:]) in lexicon.ENDERS:
            del self.words[-2:]
        self._refuse()
        clauses: list[Clause] = []
        while opener := match(self.words, self.at, lexicon.OPENERS) or self._word(self.at) in _JOINTS:
            self.at += opener
        while self.at < len(self.words):
            clause = self._clause(self._turn(first=not clauses))
            following = self._boundary(self.at)
            if following is None:
                raise NotUnderstood(f"{self._rest()!r} fits nowhere")
            self.at = following
            # "Close the freezer after placing the tray" recalls a step of an earlier sentence: it is not done again.
            if not (clause.order[1] < 0 < self.number and not clause.items[0].phrases):
                clauses.append(clause)
        return clauses

    def _refuse(self) -> None:
        """Raise NotUnderstood for what is no command, or more than steps in a row."""
        if self._word(0) in lexicon.QUESTIONS:
            raise NotUnderstood("the instruction is a question")
        opened = 0
        for i, word in enumerate(self.words):
            opened = max(opened, i + match(self.words, i, lexicon.OPENERS))
            if i >= opened and word in lexicon.REFUSED:
                raise NotUnderstood(f"{word!r} tells of {lexicon.REFUSED[word]}, which steps in a row cannot express")
            if i >= opened and word in ("before", "after") and self._word(i + 1) not in lexicon.GERUNDS:
                raise NotUnderstood(f"what comes {word} '{' '.join(self.words[i + 1 : i + 5])}' is not clear")

    def _word(self, i: int) -> str:
        return self.words[i] if i < len(self.words) else ""

    def _take(self, words: Container[str]) -> bool:
        """Go on behind the next word if it is one of these."""
        taken = self._word(self.at) in words
        self.at += taken
        return taken

    def _rest(self) -> str:
        return " ".join(self.words[self.at : self.at + 8])

    # Where clauses begin and end

    def _turn(self, first: bool) -> int:
        """Read "before closing" or "after closing" up to the verb, which becomes ``close``. See ``Clause.order``."""
        word = self._word(self.at)
        if word not in ("before", "after"):
            return 0
        self.at += 1
        self.words[self.at] = lexicon.GERUNDS[self.words[self.at]]
        return -1 if word == "after" else int(first)

    def _boundary(self, i: int) -> int | None:
        """Where the next clause begins if this one ends before word ``i``, else None."""
        at, certain = i, False
        while at < len(self.words):
            sequence = match(self.words, at, lexicon.SEQUENCE)
            skip = sequence or self.words[at] in _JOINTS or (at > i and match(self.words, at, lexicon.OPENERS))
            if not skip:
                break
            at, certain = at + skip, certain or sequence > 0
        if certain or at >= len(self.words) or self.words[at] in ("before", "after"):
            return at
        return at if at > i and self._verb(at) else None

    def _verb(self, i: int) -> tuple[int, int, StepKind] | None:
        """Beginning, end and kind of the verb that begins at word ``i``, maybe behind adverbs ("carefully")."""
        while lexicon.is_adverb(self._word(i)):
            i += 1 + (self._word(i + 1) == "and" and lexicon.is_adverb(self._word(i + 2)))
        if length := match(self.words, i, lexicon.VERBS):
            return i, i + length, lexicon.VERBS[tuple(self.words[i : i + length])]
        if lexicon.may_be_verb(self._word(i)) and self._word(i + 1) in lexicon.FOLLOW_A_VERB:
            return i, i + 1, StepKind.MANIPULATE
        return None

    # What a clause is made of

    def _clause(self, turn: int) -> Clause:
        start, verb = self.at, self._verb(self.at)
        if verb is None:
            raise NotUnderstood(f"{self._rest()!r} does not begin with a verb")
        begin, self.at, kind = verb
        name = tuple(self.words[begin : self.at])
        while (self._word(self.at),) not in lexicon.PREPOSITIONS and self._take(lexicon.PARTICLES - lexicon.ADJECTIVES):
            pass  # "push down the lever"
        said, items = " ".join(self.words[start : self.at]), self._items()
        for phrase in items[0].phrases:  # "turn the stove on"
            parted = (*name, *phrase.preposition)
            if not phrase.noun.words and lexicon.VERBS.get(parted, StepKind.MOVE) is not StepKind.MOVE:
                name, kind = parted, lexicon.VERBS[parted]
        return Clause(" ".join(name), said, kind, items, (self.number, turn)).settled()

    def _items(self) -> tuple[Item, ...]:
        both = self._word(self.at) == "both"
        counts, items = [self._count()], [self._item()]
        while self._word(self.at) in _JOINTS and self._boundary(self.at) is None:
            while self._take(_JOINTS):
                pass
            counts.append(self._count())
            items.append(self._item())
            if not items[-1].noun.words:
                raise NotUnderstood(f"{self._rest()!r} fits nowhere")
            _check_apart(items[-2], items[-1])
        if both and len(items) > 1:  # "both the soup and the sauce": "both" counts these
            counts[0] = 1
        complete = zip(counts, _completed(items), strict=True)
        return tuple(one for count, item in complete for one in _numbered(count, item))

    def _count(self) -> int:
        """How many things the noun stands for: 2 for "both (of) the mugs", "the two mugs"; the count is read."""
        if self._word(self.at) == "both" and not self._ends(self.at + 1):  # "put both in the basket": a pronoun
            self.at += 1
            self._take({"of"})
            return 1 if self._word(self.at) in lexicon.PLURAL_PRONOUNS - lexicon.DETERMINERS else 2
        number = self.at + (self._word(self.at) in lexicon.DETERMINERS)
        if not self._word(number).isdecimal() and self._word(number) not in lexicon.NUMBERS:
            return 1
        if self._ends(number + 1) or self._word(number) == "1":  # "press 5 on the keypad"
            return 1
        if self._word(number) not in lexicon.NUMBERS:
            raise NotUnderstood(f"{self._word(number)!r} things are more than can be counted")
        self.at = number + 1
        self._take({"of"})
        return lexicon.NUMBERS[self._word(number)]

    def _ends(self, i: int) -> bool:
        """Whether a noun ends before word ``i``: a new clause or a phrase begins there."""
        return self._boundary(i) is not None or self._preposition(i) > 0

    def _item(self) -> Item:
        return Item(self._noun(), self._phrases())

    def _noun(self) -> Noun:
        start = self.at
        while self._boundary(self.at) is None and self._belongs(self.words[start : self.at]):
            self.at += 1
        return Noun(tuple(self.words[start : self.at]))

    def _belongs(self, noun: list[str]) -> bool:
        """Whether the next word belongs to the noun of which these words were read."""
        word, last = self._word(self.at), noun[-1] if noun else ""
        if word in _JOINTS:
            return word == "and" and self._joins(noun, self._word(self.at + 1))
        if last in lexicon.DETERMINERS - lexicon.PRONOUNS:  # "the back compartment", "the inside of the bowl"
            return True
        if last in lexicon.PRONOUNS - lexicon.DETERMINERS:
            return False
        if match(self.words, self.at, lexicon.PREPOSITIONS) or self._purpose(self.at):
            return False
        at_end = self._ends(self.at + 1)
        if word in lexicon.ADJECTIVES and not at_end and (not noun or last in lexicon.ADJECTIVES):
            return True  # "the front right burner"
        particle = word in lexicon.PARTICLES or (lexicon.is_adverb(word) and at_end)
        return not particle and not self._preposition(self.at)

    def _joins(self, noun: list[str], following: str) -> bool:
        """Whether "and" goes on with the noun: "the yellow and" white mug; not "the left and" right mug: two things."""
        adjectives = {*noun} - lexicon.DETERMINERS
        if adjectives and adjectives <= lexicon.ADJECTIVES and following not in lexicon.DETERMINERS:
            return noun[-1] not in lexicon.POSITIONS
        return (*noun[-1:], following) in lexicon.FIXED_PAIRS

    def _phrases(self) -> tuple[Phrase, ...]:
        phrases: list[Phrase] = []
        while self._boundary(self.at) is None:
            start, word = self.at, self._word(self.at)
            joint = word in _JOINTS  # "on the table, next to the plate", "out of the sink and into the pot"
            length = self._preposition(start + joint)
            if self._purpose(start, told=any(phrase.is_full for phrase in phrases)):
                while self._boundary(self.at) is None:
                    self.at += 1
                phrases.append(Phrase((), Noun(tuple(self.words[start : self.at]))))
            elif length:
                self.at += joint + length
                preposition = tuple(word for word in self.words[start : self.at] if word != ",")
                phrases.append(Phrase(preposition, self._place(preposition)))
            elif word in lexicon.PARTICLES or lexicon.is_adverb(word):
                self.at += 1
                phrases.append(Phrase((word,)))
            else:
                break
        return tuple(phrases)

    def _place(self, preposition: tuple[str, ...]) -> Noun:
        """The noun behind a preposition; two behind "between"."""
        noun = self._noun()
        if preposition[-1] != "between" or self._word(self.at) != "and" or self._boundary(self.at) is not None:
            return noun
        self.at += 1
        return Noun((*noun.words, "and", *self._noun().words))

    def _preposition(self, i: int) -> int:
        """How many words from word ``i`` on are a preposition, with what leads to it ("located on")."""
        start = i
        while self._word(i) in lexicon.LEADS:
            i += 1
        length = match(self.words, i, lexicon.PREPOSITIONS)
        return i + length - start if length else 0

    def _purpose(self, i: int, told: bool = False) -> bool:
        """Whether word ``i`` begins to tell what for or how: "to serve coffee", "by gently pressing the button".

        Args:
            told: a place was told already, so that "to" need not lead to another one.
        """
        word, behind = self._word(i), i + 1 + lexicon.is_adverb(self._word(i + 1))
        if word == "to":
            goes_on = self._boundary(behind + 1) is None and not self._preposition(behind + 1)
            unknown = told and goes_on and lexicon.may_be_verb(self._word(behind))
            return unknown or self._verb(behind) is not None
        if word == "by" or (word == "for" and told):
            return self._word(behind).endswith("ing")
        return match(self.words, i, lexicon.PURPOSES) > 0


def _check_apart(item: Item, following: Item) -> None:
    """Raise NotUnderstood where "and" might as well belong to the first: "the bowl with the egg and the ham"."""
    described = not lexicon.RELATIVES.isdisjoint(item.noun.words) or any(phrase.is_full for phrase in item.phrases)
    if item.is_located > following.is_located or (described and not item.is_located):
        raise NotUnderstood(f"it is not clear whether '{item}' and '{following.noun}' are two things")


def _completed(items: list[Item]) -> list[Item]:
    """Items of a list with what they share: "the left and right drawers" → the left drawer, the right drawer."""
    nouns = [item.noun for item in items]
    shared = tuple(dropwhile(lexicon.ADJECTIVES.__contains__, nouns[-1].bare))
    lacking = [noun for noun in nouns if noun.bare and lexicon.ADJECTIVES.issuperset(noun.bare)]
    if shared and lacking:
        nouns = [Noun((*noun.words, *shared)) if noun in lacking else noun for noun in nouns]
        nouns = [noun.with_head(lexicon.singular(noun.head)) for noun in nouns]
    determiner = nouns[0].words[: len(nouns[0].words) - len(nouns[0].bare)]
    nouns = [Noun((*determiner, *n.words)) if n.words == n.bare and not n.is_pronoun else n for n in nouns]
    return [replace(item, noun=noun) for item, noun in zip(items, nouns, strict=True)]


def _numbered(count: int, item: Item) -> list[Item]:
    """ "both moka pots" → the first moka pot, the second moka pot."""
    if count == 1 or item.noun.is_pronoun or not item.noun.head:
        return [item]
    noun = item.noun.with_head(lexicon.singular(item.noun.head))
    return [replace(item, noun=Noun(("the", ordinal, *noun.bare))) for ordinal in lexicon.ORDINALS[:count]]
