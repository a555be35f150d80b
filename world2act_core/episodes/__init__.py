"""Episodes in bags: read, write, synchronise."""

from world2act_core.episodes.describe import BagSummary, EpisodeSummary, describe_bag
from world2act_core.episodes.reader import BagContents, BagReport, Refused, iterate_episodes, read_bag
from world2act_core.episodes.synchronise import NotSynchronised, Samples, latest_synchronised, synchronise
from world2act_core.episodes.writer import BagWriter

__all__ = [
    "BagContents",
    "BagReport",
    "BagSummary",
    "BagWriter",
    "EpisodeSummary",
    "NotSynchronised",
    "Refused",
    "Samples",
    "describe_bag",
    "iterate_episodes",
    "latest_synchronised",
    "read_bag",
    "synchronise",
]
