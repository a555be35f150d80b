"""Look into rosbag2/MCAP bags.

`info` counts topics and lists episodes, without decoding images. Of a damaged bag it shows what lies in front of the
damage, says where the damage is, and ends with exit code 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world2act_core.episodes import BagSummary

EXAMPLES = """\
  world2act bag info runs/demo/deployment/bag
  world2act bag info recording.mcap"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser("info", help="topics, episodes and damage of a bag")
    info.add_argument("bag", metavar="BAG", type=Path, help="a bag's folder, or one .mcap file")


def run(args: argparse.Namespace) -> int:
    from world2act_core.episodes import describe_bag

    summary = describe_bag(args.bag)
    print(as_text(summary))
    return 1 if summary.damage else 0


def as_text(summary: BagSummary) -> str:
    """A bag's topics and episodes, one a line, and its damage if it has any."""
    from world2act_core.episodes.messages import HOW_EPISODES_ARE_MARKED

    lines = [f"{summary.path}  {summary.bytes / 1e6:.1f} MB, {len(summary.episodes)} episodes"]
    width = max((len(topic) for topic in summary.topics), default=0)
    for topic, (type_name, count) in sorted(summary.topics.items()):
        lines.append(f"  {topic:{width}}  {count:7}  {type_name}")
    if not summary.episodes:
        lines.append(f"no episode: {HOW_EPISODES_ARE_MARKED}")
    for episode in summary.episodes:
        start = f" from {episode.start_id}" if episode.start_id else ""
        outcome = f"{episode.outcome} ({episode.reason})" if episode.reason else episode.outcome
        images = sum(episode.images.values())
        chunks = f"{episode.chunks} chunks, " if episode.chunks else ""
        lines.append(
            f"  {episode.episode_id}: {episode.task!r} by {episode.source or 'nobody named'}{start}, "
            f"{episode.steps} steps, {chunks}{images} images, {episode.seconds:.1f} s, {outcome}"
        )
        if len(episode.skills) > 1:
            lines += [f"    steps {start} to {end}: {prompt!r}" for prompt, start, end in episode.skills]
    if summary.damage:
        lines.append(f"damaged: {summary.damage}")
    return "\n".join(lines)
