"""ROS 2 nodes of World2Act. Each converts, times and publishes; what it decides lives in world2act_core."""
