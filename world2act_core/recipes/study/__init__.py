"""The study: every method on the same starts, over tasks and training seeds, by a plan that is fixed beforehand."""
