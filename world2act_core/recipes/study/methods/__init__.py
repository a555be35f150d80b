"""The methods that a study compares, by name. A new one is a function from ``Context`` to ``Made``, and a line below.

``stage`` of the context is the method's own: what it writes there is sealed with the policy. What several methods need
(videos, a world model, adapters) is made by whichever comes first (``shared.Shared``), and counted in the minutes of
each.
"""

from __future__ import annotations

from world2act_core.recipes.study.cells import Method, OnceATask
from world2act_core.recipes.study.methods import cloned, logged, post_trained, substituted

METHODS: dict[str, Method] = {
    "base": OnceATask(cloned.base),
    # World2Act
    "post_trained": post_trained.post_trained,
    "decode_only": post_trained.decode_only,
    "with_contrast": post_trained.with_contrast,
    "contrast_across": post_trained.contrast_across,
    "added": post_trained.added,
    "added_with_contrast": post_trained.added_with_contrast,
    "contrast_only": post_trained.contrast_only,
    "contrast_on_manifold": post_trained.contrast_on_manifold,
    "masked": post_trained.masked,
    "bounded": post_trained.bounded,
    "added_bounded": post_trained.added_bounded,
    "added_penalised": post_trained.added_penalised,
    "without_demonstrations": post_trained.without_demonstrations,
    "rollouts_only": post_trained.rollouts_only,
    "read_from_video": post_trained.read_from_video,
    "imagined_once": post_trained.imagined_once,
    "by_progress": post_trained.by_progress,
    "without_videos": post_trained.without_videos,
    # from logs alone
    "logged": logged.logged,
    "logged_decode": logged.logged_decode,
    "logged_instead": logged.logged_instead,
    # what it is compared with
    "imagination": post_trained.imagination,
    "pseudo_labels": cloned.pseudo_labels,
    "pseudo_labels_blind": cloned.pseudo_labels_blind,
    "state_labels": cloned.state_labels,
    "filtered": OnceATask(cloned.filtered),
    "fine_tuned": post_trained.fine_tuned,
    "pixels": cloned.pixels,
    # the truth in the place of one part: what limits it
    "at_videos": substituted.at_videos,
    "true_latents": substituted.true_latents,
    "true_adapter": substituted.true_adapter,
    "true_actions": substituted.true_actions,
}
"""Name → method. A plan may name any of these."""
