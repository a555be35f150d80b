"""What an instruction is made of: clauses, each a verb with the things it is about and where they are or go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile

from world2act_core.skills.grammar import lexicon
from world2act_core.skills.types import StepKind

CARRIES = (StepKind.PLACE, StepKind.PUT)
"""Kinds of clause that bring something to a place."""


class NotUnderstood(Exception):
    """Why an instruction cannot be split: one sentence."""


@dataclass(frozen=True)
class Noun:
    """A noun with all that belongs to it, e.g. ``the top drawer of the cabinet``; () where a clause leaves it out."""

    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def is_pronoun(self) -> bool:
        return len(self.words) == 1 and self.words[0] in lexicon.PRONOUNS

    @property
    def bare(self) -> tuple[str, ...]:
        """Without determiner."""
        return self.words[1:] if self.words and self.words[0] in lexicon.DETERMINERS else self.words

    @property
    def head(self) -> str:
        """``drawer`` of ``the top drawer of the cabinet``; "" of nothing."""
        words = tuple(takewhile(lambda word: word != "of", self.bare))
        return words[-1] if words else ""

    def with_head(self, head: str) -> Noun:
        """The same with another head: ``the moka pots`` → ``the moka pot``; itself if it has none."""
        if not self.head:
            return self
        at = self.words.index(self.head)
        return Noun((*self.words[:at], head, *self.words[at + 1 :]))

    @property
    def whole(self) -> Noun:
        """``the cabinet`` of ``the top drawer of the cabinet``; the noun itself if it is no part."""
        return Noun(self.words[self.words.index("of") + 1 :]) if "of" in self.words else self

    @property
    def again(self) -> Noun:
        """What it is called when it is mentioned again: ``a mug``, ``one of the mugs`` → ``the mug``."""
        if self.words[:2] == ("one", "of"):
            return self.whole.with_head(lexicon.singular(self.whole.head))
        return Noun(("the", *self.bare)) if self.words != self.bare else self


@dataclass(frozen=True)
class Phrase:
    """A preposition and its noun: ``on the plate``. A particle has no noun: ``up``.

    A purpose or manner has no preposition: ``to serve coffee``, ``by pressing the button``.
    """

    preposition: tuple[str, ...]
    noun: Noun = Noun()

    def __str__(self) -> str:
        return " ".join((*self.preposition, *self.noun.words))

    @property
    def relation(self) -> str:
        """The preposition without what leads to it: ``on`` of ``located on``."""
        words = list(self.preposition)
        while len(words) > 1 and words[0] in lexicon.LEADS | {"and"}:
            del words[0]
        return " ".join(words)

    @property
    def is_full(self) -> bool:
        """Whether it is a preposition with its noun."""
        return bool(self.preposition and self.noun.words)

    @property
    def is_open(self) -> bool:
        """Whether it lacks the noun that its preposition needs: ``inside``, ``on top``."""
        return self.noun.words in ((), ("top",)) and tuple(self.relation.split()) in lexicon.PREPOSITIONS

    @property
    def may_be_place(self) -> bool:
        """Whether it may tell where something goes."""
        if self.is_full:
            return self.relation not in lexicon.SOURCES | lexicon.NO_PLACES
        return self.is_open and self.relation not in lexicon.PARTICLES | lexicon.SOURCES


@dataclass(frozen=True)
class Item:
    """One thing that a clause is about, and where it is or goes."""

    noun: Noun
    phrases: tuple[Phrase, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, map(str, (self.noun, *self.phrases))))

    @property
    def is_located(self) -> bool:
        """Whether a phrase tells where it is or goes."""
        return any(phrase.is_full and phrase.relation not in lexicon.NO_PLACES for phrase in self.phrases)

    @property
    def destination(self) -> tuple[Phrase, ...]:
        """The phrases from the one on that tells where it goes, not where it was or which one it is."""
        for i, phrase in enumerate(self.phrases):
            which_one = lexicon.POSITIONS.issuperset(phrase.noun.bare) and any(p.is_full for p in self.phrases[i + 1 :])
            if phrase.may_be_place and not (phrase.is_full and which_one):  # "the butter at the back in the drawer"
                return self.phrases[i:]
        return ()


@dataclass(frozen=True)
class Clause:
    """One imperative.

    Attributes:
        verb: as in ``lexicon.VERBS``, joined: ``turn on``, also where it was "turn the stove on".
        said: the verb as it was said, with adverbs: ``carefully turn``.
        kind: what it does, by its verb, its object and its phrases.
        items: at least one; the first has no noun where the clause leaves its object out.
        order: sentence; then -1 if it is done before the rest of its sentence, 1 if after it, else 0.
    """

    verb: str
    said: str
    kind: StepKind
    items: tuple[Item, ...]
    order: tuple[int, int] = (0, 0)

    @property
    def objects(self) -> list[Noun]:
        """What it is about, as it is called when it is mentioned again."""
        return [item.noun.again for item in self.items if item.noun.words]

    @property
    def goal(self) -> Phrase | None:
        """Where a clause that carries says that things go to."""
        destination = self.items[-1].destination if self.kind in CARRIES else ()
        return destination[0] if destination and destination[0].is_full else None

    @property
    def place(self) -> list[Noun]:
        """The thing at its goal, one or none: ``the plate`` of "to the left of the plate"."""
        if self.goal is None:
            return []
        noun = self.goal.noun
        return [noun.whole.again if noun.head in lexicon.POSITIONS else noun.again]

    def settled(self) -> Clause:
        """The same with the kind that its object and its phrases make of the verb's."""
        kind = self.kind
        if self.verb == "set" and self.items[0].noun.head in lexicon.SETTINGS:
            kind = StepKind.MANIPULATE
        elif self.verb == "move" and self.items[0].noun.head in lexicon.ROBOT:
            kind = StepKind.MOVE
        elif kind is StepKind.PICK and any(map(_leads_away, self.items[-1].phrases)):
            kind = StepKind.PUT
        return replace(self, kind=kind)


def _leads_away(phrase: Phrase) -> bool:
    """Of "take the mug to the sink", not of "take the mug to the left of the sink", which tells which mug."""
    determined = phrase.noun.words != phrase.noun.bare or phrase.noun.is_pronoun
    return phrase.relation in lexicon.TOWARDS and determined and phrase.noun.head not in lexicon.POSITIONS
