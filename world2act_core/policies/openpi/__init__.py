"""openpi's policy server: msgpack over websockets (Physical-Intelligence/openpi, src/openpi/serving)."""
