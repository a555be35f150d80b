"""RoboCasa (Nasiriany et al. 2024, arXiv 2406.02523) as one of our simulators.

It wants another robosuite and MuJoCo than LIBERO, so it runs in an environment of its own (``scripts/setup --robocasa``)
and whatever is in this folder imports nothing but numpy, PyYAML and the core's lowest rooms: no torch, no ROS.
"""
