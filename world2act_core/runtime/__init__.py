"""What runs on the robot: chunk scheduling, holds, observation assembly, the graph. Few imports, no torch."""
