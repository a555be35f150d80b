"""Cosmos Policy's server: JSON over HTTP, ``POST /act`` (NVlabs/cosmos-policy, experiments/robot/aloha/deploy.py)."""
