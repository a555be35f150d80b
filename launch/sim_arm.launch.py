"""The simulated arm and what drives it. Arguments: ``ros2 launch world2act sim_arm.launch.py --show-args``."""

from launch import LaunchDescription

from world2act.launching import launch_actions


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(launch_actions("sim_arm"))
