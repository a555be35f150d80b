"""Stage 1: one small latent space in which world-model latents and action chunks meet (World2Act, section 3.2)."""
