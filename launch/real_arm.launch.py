"""The policy on a robot. Arguments: ``ros2 launch world2act real_arm.launch.py --show-args``."""

from launch import LaunchDescription

from world2act.launching import launch_actions


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(launch_actions("real_arm"))
