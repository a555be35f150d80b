"""Demonstrations in HDF5 files as robomimic lays them out: those of LIBERO and of RoboCasa."""

from world2act_core.episodes.robomimic.reader import iterate_robomimic

__all__ = ["iterate_robomimic"]
