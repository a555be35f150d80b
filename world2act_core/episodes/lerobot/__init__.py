"""Episodes in LeRobot v3.0 data sets: write, read."""

from world2act_core.episodes.lerobot.files import FileLimits
from world2act_core.episodes.lerobot.reader import iterate_lerobot
from world2act_core.episodes.lerobot.video import CODECS, DEFAULT_CODEC
from world2act_core.episodes.lerobot.writer import LeRobotWriter

__all__ = ["CODECS", "DEFAULT_CODEC", "FileLimits", "LeRobotWriter", "iterate_lerobot"]
