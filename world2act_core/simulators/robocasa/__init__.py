"""RoboCasa (Nasiriany et al. 2024, arXiv 2406.02523) as one of our simulators.

It wants another robosuite and MuJoCo than LIBERO, so it runs in an environment of its own (``make setup-robocasa``).
Whatever is in this folder imports nothing but numpy, PyYAML and the lowest rooms of the core: no torch, no ROS.
"""
