"""A bag drives a policy and is compared with it. Arguments: ``ros2 launch world2act replay.launch.py --show-args``."""

from launch import LaunchDescription

from world2act.launching import launch_actions


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(launch_actions("replay"))
