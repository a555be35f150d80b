"""Stage 2: a small residual policy on a frozen base, trained to meet imagined latents (World2Act, section 3.3)."""
