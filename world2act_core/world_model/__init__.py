"""World models: given frames and a skill prompt, imagine what will be seen, as latents."""
