"""A simulator in a process of its own, which may have an interpreter of its own.

JSON messages go over a socket, arrays through memory that both sides share.
"""
