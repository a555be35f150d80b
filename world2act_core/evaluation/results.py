"""``results.json``: a paired evaluation on disk, with everything needed to check or repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError
from world2act_core.evaluation.conduct import conduct_from_json, conduct_to_json
from world2act_core.evaluation.statistics import ALPHA, CONFIDENCE
from world2act_core.evaluation.trials import PairedTrials, Trial

SCHEMA = "world2act.evaluation/1"


def versions_used() -> dict[str, str]:
    """Versions that a result may depend on."""
    from world2act_core.runs.stage import versions  # brings torch, which a reader of results does not need

    return versions()


@dataclass(frozen=True)
class Results:
    """A paired evaluation with its provenance.

    Attributes:
        trials: the paired trials.
        task: the instruction in words.
        embodiment: name of the embodiment contract.
        commit: commit of the code that produced it, "" if unknown.
        versions: package → version that the result depends on.
        training_starts: stage → number of starts it used, all proven disjoint from the evaluation's.
        details: anything else worth keeping (seeds, horizon, digests of the weights); JSON values.
    """

    trials: PairedTrials
    task: str
    embodiment: str
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=versions_used)
    training_starts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def summary(trials: PairedTrials) -> dict[str, Any]:
    """The statistics of a paired evaluation as JSON values; rates and intervals are fractions."""
    return {
        "n": trials.n,
        "base": {
            "successes": trials.base_successes,
            "rate": trials.base_successes / trials.n,
            "wilson": list(trials.base_interval),
        },
        "post_trained": {
            "successes": trials.post_successes,
            "rate": trials.post_successes / trials.n,
            "wilson": list(trials.post_interval),
        },
        "both": trials.count("both"),
        "only_base": trials.count("only base"),
        "only_post_trained": trials.count("only post-trained"),
        "neither": trials.count("neither"),
        "difference": trials.difference,
        "difference_newcombe_10": list(trials.difference_interval),
        "exact_mcnemar_p": trials.p_value,
        "verdict": trials.verdict,
        "alpha": ALPHA,
        "confidence": CONFIDENCE,
    }


def write_results(path: Path, results: Results) -> None:
    """Write ``results.json``, whole or not at all.

    The same results give the same bytes. Keys besides the trials repeat what follows from them, for readers
    without this library; ``read_results`` checks that they agree.
    """
    from world2act_core.runs.stage import write_json

    write_json(
        path,
        {
            "schema": SCHEMA,
            "task": results.task,
            "embodiment": results.embodiment,
            "summary": summary(results.trials),
            "trials": {
                "base": [trial_to_json(trial) for trial in results.trials.base],
                "post_trained": [trial_to_json(trial) for trial in results.trials.post],
            },
            "commit": results.commit,
            "versions": dict(results.versions),
            "training_starts": dict(results.training_starts),
            "details": dict(results.details),
        },
    )


def read_results(path: Path) -> Results:
    """Read ``results.json`` back.

    Raises:
        RunError: missing, not JSON, another schema, incomplete, or its summary contradicts its trials.
    """
    raw = read_with_schema(path, SCHEMA, "evaluate again")
    try:
        sides = raw["trials"]
        trials = PairedTrials(
            *(tuple(trial_from_json(trial) for trial in sides[side]) for side in ("base", "post_trained"))
        )
        results = Results(trials, **{f.name: raw[f.name] for f in fields(Results) if f.name != "trials"})
        stated = [raw["summary"][key] for key in ("both", "only_base", "only_post_trained", "neither", "verdict")]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is incomplete (at {error}): evaluate again") from None
    fresh = summary(trials)
    if stated != [fresh[key] for key in ("both", "only_base", "only_post_trained", "neither", "verdict")]:
        raise RunError(f"{path} states a summary that does not follow from its trials: it was edited, evaluate again")
    return results


def read_with_schema(path: Path, schema: str, again: str) -> dict[str, Any]:
    """A JSON object whose ``schema`` is the one expected; ``again`` says how it is made anew.

    Raises:
        RunError: missing, not JSON, or of another schema.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist: run the evaluation first") from None
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}): {again}") from None
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != schema:
        raise RunError(f"{path} has schema {found!r}, expected {schema!r}: read it with the version that wrote it")
    content: dict[str, Any] = raw
    return content


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """JSON values; ``conduct`` only if there is one, ``attempts`` only where it marks something."""
    stored = {f.name: getattr(trial, f.name) for f in fields(trial) if f.name != "conduct"}
    if trial.attempts == 1:
        del stored["attempts"]
    return stored if trial.conduct is None else {**stored, "conduct": conduct_to_json(trial.conduct)}


def trial_from_json(raw: Mapping[str, Any]) -> Trial:
    """A trial from JSON values, types checked.

    Raises:
        KeyError, TypeError: a field is missing or of the wrong kind.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "start_id": (str,),
        "policy": (str,),
        "success": (bool,),
        "steps": (int,),
        "seconds": (int, float),
    }
    if "attempts" in raw:
        kinds["attempts"] = (int,)
    for name, kind in kinds.items():
        if not isinstance(raw[name], kind):
            raise TypeError(f"{name} is {raw[name]!r}")
    conduct = raw.get("conduct")  # not in files of before, nor where nobody counted
    return Trial(**{name: raw[name] for name in kinds}, conduct=None if conduct is None else conduct_from_json(conduct))
