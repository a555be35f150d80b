"""Paired trials on fixed starts, intervals, and the report of a run."""

from world2act_core.evaluation.results import Results, read_results, write_results
from world2act_core.evaluation.statistics import (
    Interval,
    Verdict,
    exact_paired_p,
    paired_difference_interval,
    verdict,
    wilson_interval,
)
from world2act_core.evaluation.trial_log import TrialLog, TrialRequest, evaluate
from world2act_core.evaluation.trials import PairedTrials, Trial, held_out_or_raise, pair_trials

__all__ = [
    "Interval",
    "PairedTrials",
    "Results",
    "Trial",
    "TrialLog",
    "TrialRequest",
    "Verdict",
    "evaluate",
    "exact_paired_p",
    "held_out_or_raise",
    "pair_trials",
    "paired_difference_interval",
    "read_results",
    "verdict",
    "wilson_interval",
    "write_results",
]
