"""Stands where a real arm would be: its mechanics, and its controllers with their time-outs and refusals."""

from world2act_core.simulators.emulator.emulator import Emulator

__all__ = ["Emulator"]
