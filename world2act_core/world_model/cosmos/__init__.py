"""NVIDIA's Cosmos-Predict2 Video2World through diffusers, behind the world model protocol."""
