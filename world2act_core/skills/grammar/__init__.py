"""Instructions split into atomic skills by a small grammar: the default, which needs no model and under a millisecond.

What comes out:

- Prompts are imperatives in lower case on one line, without commas or a final stop, each to be understood by itself:
  pronouns are replaced. A thing that is mentioned again loses what told where it was and keeps its adjectives: "pick
  up the black bowl on the stove and place it on the plate" → "place the black bowl on the plate".
- "put X on Y" is one step (PUT), "pick up X and place it on Y" are two (PICK, PLACE); "open", "push", "turn on" are
  MANIPULATE and "go to" is MOVE. "place X on Y" is PLACE if X was picked up before, else PUT.
- Several things give a step each: "put both the soup and the sauce in the basket", "put both moka pots on the stove".
  There is one gripper: what is picked up together is carried one after the other, only what is stacked is carried
  together.
- A verb that is not in the lexicon is MANIPULATE where it can be told to be a verb. A single skill is left as it is.
- What cannot be told is rejected with the reason, for a wrong label is worse than a lost demonstration.

On the way: ``syntax`` reads clauses with the words of ``lexicon``, ``references`` replaces their pronouns, ``planning``
makes steps of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from world2act_core.skills.grammar.clauses import NotUnderstood
from world2act_core.skills.grammar.planning import plan_steps
from world2act_core.skills.grammar.references import resolve_references
from world2act_core.skills.grammar.syntax import read_clauses
from world2act_core.skills.types import Decomposition, EventKind

__all__ = ["GrammarDecomposer"]


class GrammarDecomposer:
    """Splits instructions by rules; the same instruction always gives the same steps."""

    name = "grammar"

    def decompose(self, instruction: str, events: Sequence[EventKind]) -> Decomposition:
        """See ``types.Decomposer``. The events are not looked at, and no text raises."""
        try:
            return Decomposition(tuple(plan_steps(resolve_references(read_clauses(instruction)))))
        except NotUnderstood as reason:
            return Decomposition((), rejected=str(reason))
