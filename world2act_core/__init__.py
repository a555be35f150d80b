"""World2Act: post-train a vision-language-action policy in the latent space of a video world model.

The rooms, from the ground up (a room imports only from rooms above it in this list):

===============  ==========================================================================
``types``        what travels between rooms: Observation, ActionChunk, Episode, Skill, LatentClip
``rotations``    quaternions, and axis times angle as robosuite has it
``embodiment``   one contract for a robot: cameras, state streams, action layout, rates, limits
``runs``         a run is a folder: stages with manifests, exact resume after a kill
``pages``        how results are shown: one self-contained page, charts, rates with their intervals
``episodes``     rosbag2/MCAP, LeRobot v3, LIBERO and RoboCasa files, synchronised to control steps
``networks``     blocks and the patch codec, of which the compact models are made
``policies``     base policies behind one protocol, in process or behind a server; servers of our own
``world_model``  frame + skill prompt → imagined latents
``simulators``   LIBERO and RoboCasa behind one protocol, here or in their own processes; demonstrators; workers
``skills``       episodes and instructions → atomic skill clips, decided by events and words that agree
``calibration``  a camera's lens, place and clock, and the gripper's width: measured, stored, checked
``alignment``    Stage 1: one latent space for video latents and action chunks
``residual``     Stage 2: a small residual policy on a frozen base; its export to graphs, which act without torch
``baselines``    what World2Act is compared with: cloning, fine-tuning, pixel-space supervision, imagination executed
``evaluation``   paired trials on fixed starts, intervals, reports
``runtime``      what runs on the robot: chunk scheduling, holds, the graph description
``recipes``      whole jobs made of the rooms above: the demo's loop
``doctor``       what is installed, what is missing, what mends it
``cli``          the ``world2act`` command
===============  ==========================================================================

Nothing here imports rclpy: the ROS 2 nodes in ``ros_ws`` are thin shells around this package.
"""

__version__ = "0.1.0"
