"""GR00T N1.6's and N1.7's policy server: msgpack over ZeroMQ, REQ to REP (NVIDIA/Isaac-GR00T, gr00t/policy)."""
