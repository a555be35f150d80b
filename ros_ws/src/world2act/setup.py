"""The nodes of World2Act as a ROS 2 package."""

from glob import glob

from setuptools import setup

NODES = (
    "arm_emulator",
    "calibrator",
    "camera",
    "command",
    "emulator_camera",
    "policy",
    "recorder",
    "replay",
    "run_task",
    "scripted_operator",
    "sim_arm",
    "skill_prompter",
    "static_transforms",
    "status",
    "supervisor",
)
SHARED = ("launch.py", "yaml", "xml", "foxglove.json")

setup(
    # The Python distribution `world2act` is the core: with the same name here, pip and importlib.metadata would take
    # one for the other. ROS 2 goes by package.xml's name.
    name="world2act_nodes",
    version="0.1.0",
    packages=["world2act"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/world2act"]),
        ("share/world2act", ["package.xml"]),
        # launch/ is a link to the repository's own folder: launch files, parameters, Fast DDS profile, Foxglove layout.
        ("share/world2act/launch", [file for end in SHARED for file in sorted(glob(f"launch/*.{end}"))]),
    ],
    zip_safe=False,
    description="The nodes of World2Act",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"{name} = world2act.{name}:main" for name in NODES]},
)
