"""Recipes: whole jobs made of the other rooms' parts, each a run folder that resumes."""
