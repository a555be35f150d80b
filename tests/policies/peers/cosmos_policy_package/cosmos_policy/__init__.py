"""A stand-in for NVIDIA's package, which needs a GPU: its functions by their published signatures, a toy in its place.

Written from NVlabs/cosmos-policy (cosmos_policy/experiments/robot/cosmos_utils.py, constants.py, LIBERO.md), which it
shares no code with. Put this folder's parent on PYTHONPATH of a process of its own.
"""
