"""Camera intrinsics, hand-eye, time offset and gripper width: measured, stored with their errors, and checked.

A ChArUco board seen by a camera is all that is measured with. Frames follow REP 103: a camera's frame is its optical
one (x right, y down, z forward); ``T_a_b`` is the ``(4, 4)`` pose of frame b in frame a, metres.
"""
