"""What the words of a clause stand for in the clauses before it: pronouns, objects left out, "inside", "there"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from world2act_core.skills.grammar import lexicon
from world2act_core.skills.grammar.clauses import CARRIES, Clause, Item, NotUnderstood, Noun, Phrase
from world2act_core.skills.types import StepKind


def resolve_references(clauses: Sequence[Clause]) -> list[Clause]:
    """The same clauses, in the order in which they are written, each to be understood by itself.

    Raises:
        NotUnderstood: it is not clear what a word stands for.
    """
    told: list[Clause] = []
    for clause in clauses:
        told.append(_Context(told).resolve(clause))
    return told


def is_same(known: Noun, mentioned: Noun) -> bool:
    """Whether a thing is mentioned again: "the bowl" is the black bowl that was told of."""
    return known.head == mentioned.head and {*mentioned.bare} <= {*known.bare}


def joined(nouns: Sequence[Noun]) -> Noun:
    """ "the mug and the bowl"."""
    return Noun(tuple(" and ".join(map(str, nouns)).split()))


class _Context:
    """What was told before a clause.

    Attributes:
        told: the clauses, resolved.
        held: what is in the hand after them.
    """

    def __init__(self, told: Sequence[Clause]) -> None:
        self.told = told
        self.held: list[Noun] = []
        for clause in told:
            if clause.kind in CARRIES:
                self.held = [held for held in self.held if not any(is_same(held, noun) for noun in clause.objects)]
            self.held += clause.objects if clause.kind is StepKind.PICK else []

    def resolve(self, clause: Clause) -> Clause:
        items = [replace(item, noun=noun) for item in clause.items for noun in self._nouns(clause, item)]
        clause = replace(clause, items=tuple(_shared(clause.kind, items)))
        items = [replace(item, phrases=tuple(self._phrases(clause, item))) for item in clause.items]
        for word in " ".join(map(str, items)).split():
            if word in lexicon.UNRESOLVED:
                raise NotUnderstood(f"it is not clear what {word!r} stands for")
        return replace(clause, items=tuple(items))

    # What a clause is about

    def _nouns(self, clause: Clause, item: Item) -> list[Noun]:
        if not item.noun.words:
            return self._left_out(clause, item)
        if not item.noun.is_pronoun:
            return [item.noun]
        plural = item.noun.words[0] in lexicon.PLURAL_PRONOUNS
        if clause.kind is StepKind.MANIPULATE:
            nouns = self._manipulated(clause.verb, plural)
        else:
            nouns = self.held or self._last_objects(plural)
        if not nouns or (len(nouns) > 1 and not plural):
            raise NotUnderstood(f"it is not clear what '{item.noun}' stands for in '{clause.said} {item}'")
        return nouns

    def _left_out(self, clause: Clause, item: Item) -> list[Noun]:
        """ "pick bowl and place on plate"; "go forward" and "press on the lever" need no object."""
        if clause.kind in CARRIES and self.held:
            return self.held
        moves = clause.kind is StepKind.MOVE and clause.verb.split()[-1] in lexicon.PARTICLES
        if moves or (clause.kind in (StepKind.MANIPULATE, StepKind.MOVE) and item.phrases):
            return [item.noun]
        raise NotUnderstood(f"it is not said what to {clause.said}")

    def _last_objects(self, plural: bool) -> list[Noun]:
        if not self.told:
            return []
        last = self.told[-1]
        if plural and last.verb == "stack":  # what stands on each other is carried together
            return [joined([*last.objects, *last.place])]
        if plural and last.place and len(last.objects) == 1 and not last.objects[0].head.endswith("s"):
            return []  # "put the mug on the plate and move them": not the mug alone
        return last.objects

    def _manipulated(self, verb: str, plural: bool) -> list[Noun]:
        """Of all that was told, what can be opened or switched on, the last such thing; else what was moved last."""
        wanted = lexicon.ACTS_ON.get(verb, frozenset())
        for clause in reversed(self.told):
            fitting = [noun for noun in (*clause.objects, *clause.place) if noun.head in wanted]
            if len(fitting) > 1 and _goes_in(clause):  # "put the box in the drawer and close it"
                return clause.place
            if fitting:
                return fitting
        if wanted and self.told and _goes_in(self.told[-1]):
            return self.told[-1].place
        return self.held or self._last_objects(plural)

    # Where

    def _phrases(self, clause: Clause, item: Item) -> Iterator[Phrase]:
        carries, previous = clause.kind in CARRIES, ""
        for phrase in item.phrases:
            unresolved = not lexicon.UNRESOLVED.isdisjoint(phrase.noun.words)
            if unresolved and not phrase.preposition:
                continue  # "push down the lever of the toaster to turn it on": the purpose can be left out
            if carries and phrase.relation == "there":
                yield from self._there()
            elif unresolved:
                yield self._with_place(phrase, self._places(clause))
            elif carries and phrase.is_open and previous != "back" and (places := self._places(clause)):
                words = (*phrase.noun.words, *(("of",) if phrase.noun.words else ()), "it")
                yield self._with_place(replace(phrase, noun=Noun(words)), places)
            else:
                yield phrase
            previous = phrase.relation

    def _there(self) -> Sequence[Phrase]:
        """ "put the bowl on the plate and put the mug there"."""
        for clause in reversed(self.told):
            if clause.kind in CARRIES and clause.items[-1].destination:
                return clause.items[-1].destination
        raise NotUnderstood("it is not clear where 'there' is")

    def _places(self, clause: Clause) -> list[Noun]:
        """What "on it" or "inside" may mean: what was told last, except for what the clause itself is about."""
        for number in range(len(self.told) - 1, -1, -1):
            before = self.told[number]
            nouns = before.objects
            if before.kind is StepKind.MANIPULATE:
                nouns = nouns + [phrase.noun.again for phrase in before.items[-1].phrases if phrase.is_full]
            elif before.kind in CARRIES:
                # Where several things are put is what goes on being talked about: "open the drawer, put the bowl in
                # it and put the mug in it". Else both what was put and where could be meant.
                known = any(place in earlier.objects for place in before.place for earlier in self.told[:number])
                nouns = before.place if known else nouns + before.place
            if nouns := [noun for noun in nouns if noun not in clause.objects]:
                return nouns
        return []

    def _with_place(self, phrase: Phrase, places: Sequence[Noun]) -> Phrase:
        """The phrase with a place for "it"."""
        if len(places) != 1:
            raise NotUnderstood(f"it is not clear what '{phrase}' stands for")
        place = places[0]
        if phrase.relation in lexicon.UPON and place.head in lexicon.NO_TOP:
            place = place.whole
        words = [new for word in phrase.noun.words for new in (place.words if word == "it" else (word,))]
        return replace(phrase, noun=Noun(tuple(words)))


def _goes_in(clause: Clause) -> bool:
    return clause.goal is not None and clause.goal.relation in lexicon.INWARD


def _shared(kind: StepKind, items: Sequence[Item]) -> list[Item]:
    """ "put the soup and the sauce in the basket": both go into the basket."""
    shared: tuple[Phrase, ...] = ()
    complete: list[Item] = []
    for item in reversed(items):
        if item.is_located:
            common = lexicon.TOWARDS if kind is StepKind.MANIPULATE else lexicon.SOURCES
            goal = item.destination if kind in CARRIES else ()
            shared = tuple(phrase for phrase in item.phrases if phrase.relation in common or phrase in goal)
        else:
            item = replace(item, phrases=(*item.phrases, *shared))
        complete.insert(0, item)
    return complete
