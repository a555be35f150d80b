"""Cosmos behind the world model protocol: the time base of what it imagines, seeds, batches, limits."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.world_model.cosmos_scene import NO_CLOCK, SMALL, frames, small_model
from tests.world_model.tiny_cosmos import save_tiny_cosmos, tiny_parts
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError, World2ActError
from world2act_core.world_model.cosmos.model import CosmosSettings, CosmosWorldModel
from world2act_core.world_model.cosmos.parts import CosmosParts, load_parts
from world2act_core.world_model.protocol import WorldModel

PUT, OPEN = "put the bowl on the plate", "open the drawer"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CosmosParts:
    return tiny_parts(tmp_path_factory.mktemp("cosmos"))


class Counting(nn.Module):
    """A denoiser that takes every latent for its number in the clip, whatever it reads; it notes what it is asked."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.config, self.dtype, self.device = real.config, torch.float32, torch.device("cpu")
        self.asked: list[dict[str, Any]] = []

    def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor, **rest: Any) -> tuple[torch.Tensor]:
        self.asked.append(rest)
        number = torch.arange(hidden_states.shape[2]).view(1, 1, -1, 1, 1)
        return ((hidden_states - number) / timestep,)  # so that c_skip x + c_out F is the number


@pytest.mark.parametrize(("given", "now"), [(1, 0), (5, 1)])
def test_entry_0_is_now_and_entry_t_is_t_chunks_later(parts: CosmosParts, given: int, now: int) -> None:
    """With five given frames the pipeline's clip begins one chunk before now: latent 1 of it is now."""
    model = small_model(replace(parts, transformer=Counting(parts.transformer)))
    context = frames(given)
    imagined = model.imagine(context, [PUT], NO_CLOCK, 3)
    assert imagined.shape == (1, 16, 4, 4, 6) and imagined.dtype == torch.float32
    assert torch.equal(imagined[:, :, 0], model.encode(context)[:, :, now])
    levels = imagined.mean((0, 1, 3, 4))
    torch.testing.assert_close(levels[1:], torch.tensor([now + 1.0, now + 2.0, now + 3.0]), atol=0.01, rtol=0)


@pytest.mark.parametrize("given", [1, 5])
@pytest.mark.parametrize("chunks", [1, 4])
def test_what_is_imagined_is_the_pipeline_s_clip_behind_the_given_frames(
    parts: CosmosParts, given: int, chunks: int
) -> None:
    model, context = small_model(parts), frames(given)
    imagined = model.imagine(context, [PUT], NO_CLOCK, chunks)
    clip = model.pipeline(
        video=context.permute(0, 1, 4, 2, 3) / 255,
        prompt=[PUT],
        height=32,
        width=48,
        num_frames=given + 4 * chunks,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).frames
    assert torch.equal(imagined[:, :, 1:], clip[:, :, -chunks:])
    assert clip.shape[2] - chunks == (given + 3) // 4


@pytest.mark.parametrize("given", [1, 5])
def test_the_denoiser_is_told_which_latents_are_given_and_has_others_to_make(parts: CosmosParts, given: int) -> None:
    """As many given frames as there are frames in the clip would leave nothing to imagine."""
    network = Counting(parts.transformer)
    small_model(replace(parts, transformer=network)).imagine(frames(given), [PUT], NO_CLOCK, 1)
    masks = [asked["condition_mask"][0, 0, :, 0, 0].tolist() for asked in network.asked]
    assert masks == [[1.0] * ((given + 3) // 4) + [0.0]] * 4  # two steps, with the prompt and without


def test_it_is_a_world_model_of_one_frame_a_control_step(parts: CosmosParts) -> None:
    model = small_model(parts)
    protocol: WorldModel = model
    assert protocol.frames_per_latent == 4 and protocol.latent_shape == (16, 4, 6)
    video = frames(9, batch=2)
    latents = protocol.encode(video)
    assert latents.shape == (2, 16, 3, 4, 6)
    assert protocol.decode(latents).shape == video.shape


def test_at_full_size_a_latent_is_the_paper_s(parts: CosmosParts) -> None:
    """World2Act: 480 x 832 and 93 frames become (16, 24, 60, 104)."""
    model = small_model(parts, height=480, width=832)
    assert model.latent_shape == (16, 60, 104)


def test_defaults_are_nvidia_s(parts: CosmosParts) -> None:
    """But for the size: the pipeline's default is 720p, the paper's is 480p."""
    model = small_model(parts)
    nvidia = {name: value.default for name, value in inspect.signature(model.pipeline.__call__).parameters.items()}
    ours = CosmosSettings()
    assert (ours.longest_clip, ours.steps, ours.guidance) == (
        nvidia["num_frames"],
        nvidia["num_inference_steps"],
        nvidia["guidance_scale"],
    )
    assert (model.fps, ours.height, ours.width) == (nvidia["fps"], 480, 832)


@pytest.mark.parametrize("given", [1, 5])
def test_a_scene_has_the_same_future_in_any_batch(parts: CosmosParts, given: int) -> None:
    model, context, prompts = small_model(parts, seed=7), frames(given, batch=3), [PUT, OPEN, PUT]
    together = model.imagine(context, prompts, NO_CLOCK, 2)
    turned = model.imagine(context.flip(0), prompts[::-1], NO_CLOCK, 2).flip(0)
    alone = torch.cat([model.imagine(context[i : i + 1], prompts[i : i + 1], NO_CLOCK, 2) for i in range(3)])
    for other in (alone, turned):  # sampling starts at a spread of 80, of which float32 keeps 1e-5
        torch.testing.assert_close(together, other, atol=1e-3, rtol=0)
    assert (together[0] - together[2]).abs().mean() > 0.01  # equal prompts, other scenes


def test_another_seed_gives_another_future_of_the_same_scene(parts: CosmosParts) -> None:
    context = frames(1)
    one, again, other = (small_model(parts, seed=seed).imagine(context, [PUT], NO_CLOCK, 1) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one[:, :, 0], other[:, :, 0]) and (one - other)[:, :, 1].abs().mean() > 0.1


@pytest.mark.parametrize("change", [{"prompts": [OPEN]}, {"context": frames(1, seed=9)}], ids=["prompt", "scene"])
def test_another_prompt_or_scene_gives_another_future(parts: CosmosParts, change: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"context": frames(1), "prompts": [PUT], "clock": NO_CLOCK, "chunks": 1}
    model = small_model(parts)
    assert not torch.allclose(model.imagine(**asked)[:, :, 1], model.imagine(**{**asked, **change})[:, :, 1])


@pytest.mark.parametrize("changed", [{"guidance": 1.0}, {"negative_prompt": ""}, {"steps": 3}, {"fps": 5.0}])
def test_every_setting_reaches_the_denoiser(parts: CosmosParts, changed: dict[str, Any]) -> None:
    usual, other = small_model(parts), small_model(parts, **changed)
    one, another = (model.imagine(frames(1), [PUT], NO_CLOCK, 2)[:, :, 1:] for model in (usual, other))
    assert not torch.allclose(one, another)


def test_the_clock_is_not_read(parts: CosmosParts) -> None:
    model = small_model(parts)
    one, another = (model.imagine(frames(1), [PUT], torch.tensor([time]), 1) for time in (-1, 5))
    assert torch.equal(one, another)


@pytest.mark.parametrize(("given", "longest"), [(1, 23), (5, 22)])
def test_a_clip_beyond_93_frames_is_refused_and_composition_named(parts: CosmosParts, given: int, longest: int) -> None:
    model = small_model(parts, height=16, width=16)
    context = frames(given, height=16, width=16)
    assert model.imagine(context, [PUT], NO_CLOCK, longest).shape[2] == longest + 1
    with pytest.raises(World2ActError, match=r"97 frames, and Cosmos makes at most 93.*imagine_skills") as refusal:
        model.imagine(context, [PUT], NO_CLOCK, longest + 1)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("given", [2, 4, 9])
def test_a_context_of_other_than_one_or_five_frames_is_refused(parts: CosmosParts, given: int) -> None:
    with pytest.raises(ValueError, match=f"a context of {given} frames: Cosmos takes 1 or 5"):
        small_model(parts).imagine(frames(given), [PUT], NO_CLOCK, 2)


def test_what_does_not_fit_is_refused(parts: CosmosParts) -> None:
    model = small_model(parts)
    with pytest.raises(ValueError, match="0 chunks"):
        model.imagine(frames(1), [PUT], NO_CLOCK, 0)
    with pytest.raises(ValueError, match="2 prompts for 1 scenes"):
        model.imagine(frames(1), [PUT, OPEN], NO_CLOCK, 1)
    with pytest.raises(ValueError, match=r"expected uint8 \(B, F, 32, 48, 3\)"):
        model.imagine(frames(1, height=48), [PUT], NO_CLOCK, 1)
    with pytest.raises(ValueError, match="expected uint8"):
        model.encode(frames(1).float())


def test_a_size_that_the_network_cannot_patch_is_refused() -> None:
    with pytest.raises(World2ActError, match="height = 472, width = 832: both must divide by 16"):
        CosmosSettings(height=472)


def test_a_robot_whose_chunks_are_not_as_long_as_latents_is_refused(parts: CosmosParts) -> None:
    panda = load_embodiment("libero_panda")
    with pytest.raises(ContractError, match=r"libero_panda\.yaml: chunk_length = 5, .* 4 control steps"):
        small_model(parts, embodiment=replace(panda, chunk_length=5))


def test_the_model_is_told_the_robot_s_frame_rate(parts: CosmosParts) -> None:
    """Cosmos sees one frame a control step."""
    network = Counting(parts.transformer)
    counting = replace(parts, transformer=network)
    small_model(counting, embodiment=load_embodiment("libero_panda")).imagine(frames(1), [PUT], NO_CLOCK, 1)
    small_model(counting, embodiment=load_embodiment("libero_panda"), fps=10.0).imagine(frames(1), [PUT], NO_CLOCK, 1)
    assert [asked["fps"] for asked in network.asked] == [20.0] * 4 + [10.0] * 4


def test_weights_in_bfloat16_imagine_what_those_in_float32_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = save_tiny_cosmos(tmp_path_factory.mktemp("cosmos"))
    full, half = (
        small_model(load_parts(folder, dtype=dtype, device="cpu")) for dtype in (torch.float32, torch.bfloat16)
    )
    context = frames(5)
    expected, imagined = (model.imagine(context, [PUT], NO_CLOCK, 2) for model in (full, half))
    assert imagined.dtype == torch.float32 and bool(torch.isfinite(imagined).all())
    assert (imagined - expected)[:, :, 0].abs().max() < 0.1
    assert half.decode(imagined).dtype == torch.uint8


def test_offloading_without_a_gpu_is_refused(parts: CosmosParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(World2ActError, match="no CUDA device"):
        CosmosWorldModel(parts, SMALL, safety_checker=object(), offload=True)  # type: ignore[arg-type]


def test_offloaded_networks_do_the_same_by_turns(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The CPU stands in for the GPU: accelerate's hooks are in place around every call that is made here."""
    folder = tmp_path_factory.mktemp("cosmos")
    plain, offloaded = small_model(tiny_parts(folder)), small_model(tiny_parts(folder))
    offloaded.pipeline.enable_model_cpu_offload(device="cpu")
    results = []
    for model in (plain, offloaded):
        seen = model.one_step_x0(frames(5), [PUT], 1.0, torch.Generator().manual_seed(0))
        imagined = model.imagine(frames(5), [PUT], NO_CLOCK, 2)
        results.append((seen, imagined, model.decode(imagined)))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert hasattr(offloaded.pipeline.transformer, "_hf_hook") and not hasattr(plain.pipeline.transformer, "_hf_hook")
