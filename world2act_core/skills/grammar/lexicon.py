"""The words that the grammar knows. To teach it a verb, add it to ``_KINDS``.

A verb that is missing there is still understood where a determiner or pronoun follows ("juice the orange"), as one of
kind MANIPULATE. So verbs that are nouns or adjectives in a kitchen as well (brush, empty, lower, roll) are better left
out: "the upper and lower drawers" must not be cut before "lower".
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from world2act_core.skills.types import StepKind

Words = tuple[str, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[Words]:
    return frozenset(tuple(phrase.split()) for phrase in text.split(","))


# Verbs

_KINDS = {
    StepKind.PICK: """pick, pick up, grab, grasp, grip, hold, take, take out, take hold of, lift, lift up, get, fetch,
        retrieve, collect, remove""",
    StepKind.PLACE: "place, set, set down, put down, lay, lay down, drop, release, let go of",
    StepKind.PUT: """put, stack, move, bring, transfer, transport, insert, hang, carry, deliver, add, store, stow,
        return, pick and place, pick up and place, pick and put, pick up and put, take and put, take and place""",
    StepKind.MANIPULATE: """open, close, shut, push, pull, slide, turn, turn on, turn off, switch, switch on,
        switch off, rotate, twist, press, flip, wipe, pour, stir, fold, unfold, squeeze, plug in, unplug, wash, rinse,
        scrub""",
    StepKind.MOVE: """navigate, navigate to, go, go to, go back to, drive, drive to, walk, walk to, approach,
        return to, move to, move toward, move towards, move near, move close to, move closer to, move in front of,
        move next to, move away from, move back to, move forward, move backward, turn around""",
}
VERBS = {verb: kind for kind, verbs in _KINDS.items() for verb in _phrases(verbs)}

_OPENABLE = _words("""bag blender bottle box cabinet can closet compartment container cooker cupboard dishwasher door
    doors drawer drawers freezer fridge hatch jar kettle lid locker microwave oven pot refrigerator safe suitcase trunk
    tupperware window""")
_SWITCHABLE = _words("""blender burner cooker cooktop dishwasher fan faucet heater hob hood kettle lamp light machine
    microwave mixer oven radio stove switch tap toaster tv water""")
ACTS_ON = dict.fromkeys(("open", "close", "shut"), _OPENABLE)
ACTS_ON |= dict.fromkeys(("turn on", "turn off", "switch on", "switch off"), _SWITCHABLE)
"""What "it" can be after a verb: in "put the mug in the microwave and close it", not the mug."""

SETTINGS = _words("alarm dial heat knob lever power speed temperature thermostat timer")
"""What is set without being put down anywhere: "set the timer"."""
ROBOT = _words("arm base effector gripper hand robot yourself")
"""What moves where nothing is carried: "move the gripper to the sink"."""
NO_TOP = _words("door doors drawer drawers")
"""What nothing can be put on: "close the top drawer of the cabinet and put the bowl on top of it" means the cabinet."""

# Nouns and what stands around them

DETERMINERS = _words("the a an this that these those my your our his her its their some any another one")
PRONOUNS = _words("it them they this that these those both")
PLURAL_PRONOUNS = _words("them they these those both")
UNRESOLVED = _words("it them they its their")
"""No prompt may hold these: whoever reads one prompt does not know the others."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
NUMBERS |= {str(n): n for n in NUMBERS.values()}

POSITIONS = _words("""left right top bottom middle center centre front back rear upper lower side far near nearest
    closest""")
ADJECTIVES = POSITIONS | _words("""red orange yellow green blue purple pink brown black white gray grey silver golden
    beige dark light transparent small large big little tall short long round square wooden metal metallic plastic
    ceramic clean dirty empty full open closed hot cold warm raw fresh frozen ripe striped spotted first second third
    last new old other""")
""" "and" joins them to one thing, "the yellow and white mug"; after a noun it joins two things."""
FIXED_PAIRS = _phrases("salt pepper, oil vinegar, mac cheese, macaroni cheese, butter jelly")
"""Nouns that "and" joins to one thing nevertheless: "the salt and pepper shaker"."""
RELATIVES = _words("containing contains has have holding holds")
"""What follows them belongs to the noun: "the bowl containing the egg and the ham"."""

PREPOSITIONS = _phrases("""about, above, across, against, along, alongside, among, around, at, away from, behind, below,
    beneath, beside, between, by, close to, closer to, down from, down into, far from, for, from, in, in between,
    in front of, inside, into, left of, near, next to, off, off of, on, onto, opposite, out of, outside, over, past,
    right of, through, to, toward, towards, under, underneath, until, up to, upon, via, with, within, without""")
"""They begin a phrase. "of" is missing: "the drawer of the cabinet" is one noun."""
LEADS = _words("currently directly filled covered is are located lying placed right sitting standing that which")
"""They may stand before a preposition and belong to it: "located on", "that is on", "right next to"."""
SOURCES = frozenset({"from", "out of", "off", "off of", "away from", "down from"})
INWARD = frozenset({"in", "into", "inside", "within", "down into"})
UPON = frozenset({"on", "onto", "upon"})
TOWARDS = frozenset({"to", "into", "onto"})
NO_PLACES = frozenset({"about", "for", "until", "via", "with", "without"})
PARTICLES = _words("""up down out away back over around together apart forward forwards backward backwards inward
    inwards outward outwards upright upside there here left right""")
"""They follow a verb or its object: "pick the mug up", "put the lid back on the pot"."""
PURPOSES = _phrases("in order to, so, so that, such that, because")

# Between clauses

SEQUENCE = _phrases("then, after that, afterwards, afterward, subsequently")
"""They part two steps wherever they stand."""
ENDERS = _phrases("when finished, when done, once finished, once done, as well")
"""They say nothing at the end of a sentence, and "then" at its beginning."""
REQUESTS = _phrases("can you, could you, will you, would you, i want you to, you should, you have to, you need to")
OPENERS = SEQUENCE | ENDERS | REQUESTS | _phrases("first, firstly, second, secondly, next, finally, lastly")
"""They may stand before a clause and say nothing about what is done in it."""
COURTESY = _words("please kindly now just also too")

REFUSED = {
    **dict.fromkeys(("if", "unless", "whether", "when", "once"), "a condition"),
    **dict.fromkeys(("or", "either"), "a choice"),
    **dict.fromkeys(("not", "don't", "dont", "never", "except", "instead", "avoid"), "what is not to be done"),
    **dict.fromkeys(("while", "whilst", "meanwhile", "simultaneously"), "things done at the same time"),
    **dict.fromkeys(("different", "separate", "separately", "respectively"), "things shared out among places"),
    **dict.fromkeys(("all", "each", "every", "everything", "many", "multiple", "several", "various"), "an open number"),
    "wait": "a pause",
}
"""Words whose meaning a list of steps cannot express."""
QUESTIONS = _words("what which where who whom whose why how is are was were does did has have am")

FOLLOW_A_VERB = DETERMINERS | PRONOUNS | frozenset(NUMBERS)
"""An unknown word before one of these is taken for a verb."""
_NO_VERBS = (
    _words("and of but as like than only half there's that's i we he she be been being do had before after")
    | QUESTIONS | DETERMINERS | PRONOUNS | PARTICLES | LEADS | frozenset(NUMBERS) | frozenset(REFUSED)
    | {word for phrase in PREPOSITIONS | OPENERS | PURPOSES for word in phrase}
)  # fmt: skip
_NO_ADVERBS = _words("jelly lily butterfly family assembly fly apply supply")

_LONGEST = max(map(len, {*VERBS} | PREPOSITIONS | OPENERS | PURPOSES))


def match(words: Sequence[str], start: int, phrases: Container[Words]) -> int:
    """How many words from ``start`` on are one of the phrases, as many as possible; 0 if none is."""
    for length in range(min(_LONGEST, len(words) - start), 0, -1):
        if tuple(words[start : start + length]) in phrases:
            return length
    return 0


def is_adverb(word: str) -> bool:
    """``carefully``, not ``jelly``."""
    return word.endswith("ly") and word not in _NO_ADVERBS


def may_be_verb(word: str) -> bool:
    """Whether an unknown word could be a verb: no number, no adverb, none of the small words of the language."""
    return word.isalpha() and word not in _NO_VERBS and word not in GERUNDS and not is_adverb(word)


def gerund(verb: str) -> str:
    """``close`` → ``closing``, ``put`` → ``putting``."""
    vowels = [letter in "aeiou" for letter in verb]
    if verb.endswith("e"):
        return verb[:-1] + "ing"
    # One vowel before one consonant: it is doubled (get, flip, shut; not lay, hold, open, pour).
    doubled = sum(vowels) == 1 and vowels[-2] and verb[-1] not in "wxy"
    return verb + verb[-1] * doubled + "ing"


GERUNDS = {gerund(verb[0]): verb[0] for verb in VERBS}

_SINGULARS = {"knives": "knife", "loaves": "loaf", "shelves": "shelf", "leaves": "leaf", "halves": "half"}
_SINGULARS |= {f"{word}s": word for word in ("cookie", "brownie", "smoothie", "veggie", "pie", "shoe")}


def singular(noun: str) -> str:
    """``pots`` → ``pot``, ``boxes`` → ``box``, ``berries`` → ``berry``; what is no plural stays."""
    if noun in _SINGULARS:
        return _SINGULARS[noun]
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("sses", "xes", "ches", "shes", "zzes", "toes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun
