"""What a world model imagined beside what happened: a table, a page, a contact sheet and a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.pages.page import Page, encode_png
from world2act_core.recipes.world_model import TrainedModel
from world2act_core.types import Array
from world2act_core.world_model.scores import Example, Scores

REPORT, SHEET, VIDEO = "report.html", "contact_sheet.png", "imagined.mp4"
_HEADER = ("chunks ahead", "latent error below copying, %", "PSNR, dB", "of copying", "of the codec", "SSIM",
           "of copying", "of the codec")  # fmt: skip
_TABLE_NOTE = (
    "From every frame, told the skills that were then carried out. Pictures are compared with the recorded ones; the "
    "codec's column is what encoding and decoding alone costs."
)
_GAP = 4


def rows(scores: Scores) -> list[list[str]]:
    """The table by horizon, as text."""
    return [
        [
            str(k + 1),
            f"{100 * scores.latent.gain[k]:.0f}",
            *(f"{values[k]:.1f}" for values in (scores.psnr.imagined, scores.psnr.copied, scores.psnr.coded)),
            *(f"{values[k]:.3f}" for values in (scores.ssim.imagined, scores.ssim.copied, scores.ssim.coded)),
        ]
        for k in range(scores.horizon)
    ]


def as_text(scores: Scores) -> str:
    """For a terminal."""
    lines = [
        f"{scores.episodes} episodes, {int(scores.latent.count[0])} frames to start from",
        "chunks  below copying  PSNR imagined / copied / codec  SSIM imagined / copied / codec",
    ]
    for k, gain, *values in rows(scores):
        p, pc, pk, s, sc, sk = values
        lines.append(f"{k:>6}{gain + ' %':>15}{p:>16} / {pc:>6} / {pk:>5}{s:>15} / {sc:>6} / {sk:>5}")
    lines.append(f"temporal consistency {scores.consistency:.2f} (1: the real motion, 0: a still picture)")
    lines.append(_obedience(scores))
    return "\n".join(lines)


def write_report(folder: Path, trained: TrainedModel, scores: Scores, examples: Sequence[Example]) -> Path:
    """Write report.html, contact_sheet.png and imagined.mp4; the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    step_s = trained.embodiment.chunk_length * trained.embodiment.step_s
    film = encode_mp4(video(examples), 1 / step_s)
    (folder / VIDEO).write_bytes(film)
    (folder / SHEET).write_bytes(encode_png(contact_sheet(examples)))
    page = Page("What the world model imagines")
    gain = 100 * scores.latent.gain
    css = "better" if gain.min() > 0 else "worse"
    page.add_verdict(
        f"Latent error {gain.min():.0f} to {gain.max():.0f} % below copying, up to {scores.horizon} chunks ahead",
        css,
        [
            ("temporal consistency", f"{scores.consistency:.2f}", "1 is the real motion, 0 a still picture"),
            ("prompt", *_obedience_numbers(scores)),
            ("episodes", str(scores.episodes), "that the model was not trained on"),
        ],
    )
    page.add_table(_HEADER, rows(scores), title="By horizon", caption=_TABLE_NOTE)
    ahead = np.arange(1, scores.horizon + 1) * step_s
    for title, unit, imagined, copied in (
        ("Latent error", "mean square", scores.latent.model, scores.latent.copy),
        ("Structural similarity", "SSIM", scores.ssim.imagined, scores.ssim.copied),
    ):
        page.add_curves(title, {"imagined": (ahead, imagined), "copied": (ahead, copied)}, "seconds ahead", unit)
    page.add_video("Real and imagined", film, caption="From the first frame of each episode, without looking again.")
    grid = {}
    for example in examples:
        grid[f"{example.episode_id}, real"] = list(example.real)
        grid[f"{example.episode_id}, imagined ({', then '.join(example.prompts)})"] = list(example.imagined)
    page.add_images("Chunk by chunk", grid, columns=[f"+{k}" for k in range(scores.horizon + 1)])
    page.add_manifest({"training": trained.stage.config, "held out": trained.stage.metrics["held_out"]})
    page.write(folder / REPORT)
    return folder / REPORT


def contact_sheet(examples: Sequence[Example]) -> Array:
    """Real above imagined for each episode, one column a chunk: ``(H, W, 3)`` uint8."""
    strips = []
    for example in examples:
        for first, frames in ((f"real: {example.episode_id}", example.real), ("imagined, +0", example.imagined)):
            captions = [first, *(f"+{k}" for k in range(1, len(frames)))]
            cells = [Panel(frame[None], said) for frame, said in zip(frames, captions, strict=True)]
            strips.append(side_by_side(cells, height=2 * frames.shape[1], gap=_GAP)[0])
    return np.concatenate(strips)


def video(examples: Sequence[Example]) -> Array:
    """Real beside imagined, episode after episode: ``(K, H, W, 3)`` uint8."""
    parts = []
    for example in examples:
        said = ", then ".join(example.prompts)
        panels = [Panel(example.real, f"real: {example.episode_id}"), Panel(example.imagined, f"imagined: {said}")]
        parts.append(side_by_side(panels, hold=2))
    return np.concatenate(parts)


def _obedience(scores: Scores) -> str:
    found = scores.sensitivity
    if found is None:
        return "prompt sensitivity: not measured, all videos have the same prompt"
    return (
        f"prompt sensitivity: {100 * found.nearer:.0f} % of {found.cases} futures are nearer the truth than under "
        f"another prompt; prompts are {found.apart:.2f} times the error apart"
    )


def _obedience_numbers(scores: Scores) -> tuple[str, str]:
    found = scores.sensitivity
    if found is None:
        return "one only", "nothing to compare"
    return f"{100 * found.nearer:.0f} %", f"of {found.cases} futures nearer the truth than under another prompt"
