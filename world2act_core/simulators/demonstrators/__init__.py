"""Scripted demonstrators: they stand in for the person with the teleoperation device.

They are privileged: they read true poses from the simulator, which no policy may; their success says nothing about a
policy. Each carries out a plan of atomic skills and knows when each began and ended.
"""
