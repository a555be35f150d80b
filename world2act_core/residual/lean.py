"""The residual and the compact base as fewer and larger operations: the same functions, rearranged for export.

On one core a graph of this size costs what its nodes cost to be called, not what they compute. So everything linear
that follows something linear is folded into it: the scale of proprioception, the division by 255, the codec's mean
image, the tokens' kinds, the mask of unused dimensions. Numbers differ from ``Residual`` by rounding only, which an
export checks.
"""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import torch
from torch import nn

from world2act_core.alignment.adapters import VideoAdapter
from world2act_core.networks.blocks import ImageEncoder, PatchEncoder, Standardise
from world2act_core.networks.codec import PatchCodec
from world2act_core.networks.eyes import Eyes
from world2act_core.policies.compact import CompactNetwork
from world2act_core.residual.network import Residual


class LeanResidual(nn.Module):
    """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, frames uint8 ``(B, S, V S, 3)`` → correction ``(B, M, A)``.

    Args:
        residual: trained, in evaluation mode; it is read, not changed.
    """

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        source: Any = residual  # whose parts torch types as tensors or modules
        self.action, self.bound = source.action.net, residual.config.bound
        self.eyes = lean_eyes(residual.eyes)
        self.trunk = _Tokens(residual) if residual.config.trunk == "tokens" else _Flat(residual)
        self.instead, self.hidden = residual.config.correction == "instead", residual.config.hide_base == 1.0
        *inner, last, shape = source.decoder.net
        self.inner = nn.Sequential(*inner)
        used = residual.used.repeat(shape.unflattened_size[0])  # (M A,): what must not be touched is not computed
        # A difference of two decoded chunks has no bias.
        self.last = _linear(last.weight * used[:, None], last.bias * used if self.instead else None)
        self.used: torch.Tensor
        self.register_buffer("used", used)
        self.chunk = shape.unflattened_size

    def forward(self, base: torch.Tensor, proprio: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        z = self.action(base)
        said = self.trunk(torch.zeros_like(z) if self.hidden else z, proprio, self.eyes(frames))
        if self.instead:
            correction = self.last(self.inner(said)) - self.used * base.flatten(1)
        else:
            both = self.inner(torch.cat([z + said, z], -1).reshape(-1, z.shape[-1]))
            moved, still = both.reshape(-1, 2 * both.shape[-1]).chunk(2, -1)
            correction = self.last(moved - still)
        if self.bound:
            correction = self.bound * torch.tanh(correction / self.bound)
        return correction.reshape(-1, *self.chunk)


class _Flat(nn.Module):
    """Base action's latent, proprioception as it is measured, and features → ``(B, D)``."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        first, *rest = residual.head
        proprio, latent = len(residual.standardise.mean), residual.action.net[-1].out_features
        scale = Standardise(residual.eyes.size + proprio + cast(int, latent))
        around = slice(residual.eyes.size, residual.eyes.size + proprio)
        scale.mean[around], scale.std[around] = residual.standardise.mean, residual.standardise.std
        self.net = nn.Sequential(_of_raw(scale, first), *rest)

    def forward(self, z: torch.Tensor, proprio: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([features, proprio, z], -1))


class _Tokens(nn.Module):
    """Base action's latent, proprioception as it is measured, and features → ``(B, D)``, through three tokens."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        source: Any = residual
        kinds = residual.kind.detach()
        first, act, second, norm = source.proprio
        self.proprio = nn.Sequential(_of_raw(residual.standardise, first), act, second, _shifted(norm, kinds[1]))
        to_token, norm = source.image
        self.image = nn.Sequential(to_token, _shifted(norm, kinds[2]))
        self.kind = nn.Parameter(kinds[:1].clone())
        self.layers = nn.ModuleList(_Layer(layer) for layer in source.transformer.layers)
        self.head = source.head

    def forward(self, z: torch.Tensor, proprio: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        tokens, size = torch.cat([z + self.kind, self.proprio(proprio), self.image(features)], -1), z.shape[-1]
        x = tokens.reshape(-1, size)  # (3 B, D)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.reshape(-1, 3 * size)[:, :size])


class _Layer(nn.Module):
    """A ``TransformerEncoderLayer`` (norm first, ReLU) over three tokens, laid out as ``(3 B, D)``."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        attention = layer.self_attn
        self.heads, size = attention.num_heads, attention.embed_dim
        scale = torch.ones(3 * size, 1)
        scale[:size] = 1 / math.sqrt(size // self.heads)  # of the queries
        weight, bias = cast(torch.Tensor, attention.in_proj_weight), cast(torch.Tensor, attention.in_proj_bias)
        self.qkv = _linear(weight * scale, bias * scale[:, 0])
        self.out, self.norm1, self.norm2 = attention.out_proj, layer.norm1, layer.norm2
        self.feed = nn.Sequential(layer.linear1, nn.ReLU(), layer.linear2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[-1]
        split = self.qkv(self.norm1(x)).reshape(-1, 3, 3 * self.heads, size // self.heads)
        q, k, v = split.transpose(1, 2).chunk(3, 1)  # (B, heads, 3 tokens, D / heads)
        seen = torch.softmax(q @ k.transpose(2, 3), -1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(-1, size))
        return x + self.feed(self.norm2(x))


class LeanBase(nn.Module):
    """The compact base: frames uint8 ``(B, S, V S, 3)`` and proprioception ``(B, P)`` → chunk ``(B, M, A)``."""

    def __init__(self, network: CompactNetwork) -> None:
        super().__init__()
        self.eyes, self.head = lean_eyes(network.eyes), network.head
        self.shape, self.uses_proprio, self.standardise = network.shape, network.uses_proprio, network.standardise
        self.from_standing = network.from_standing

    def forward(self, frames: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        features = self.eyes(frames)
        if self.uses_proprio:
            features = torch.cat([features, self.standardise(proprio)], -1)
        said = self.head(features).reshape(-1, *self.shape)
        return said if self.from_standing is None else self.from_standing(said, proprio)


class LeanVideo(nn.Module):
    """B_v over patches: latents before and after ``(B, C, h, w)`` → ``(B, D)``; their difference is in its weights."""

    def __init__(self, adapter: VideoAdapter) -> None:
        super().__init__()
        _, _, first, *rest = adapter.net
        latent, change = cast(nn.Linear, first).weight.chunk(2, -1)
        self.first = _linear(torch.cat([latent - change, change], -1), cast(nn.Linear, first).bias)
        self.rest = nn.Sequential(*rest)

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.rest(self.first(torch.cat([before.flatten(1), after.flatten(1)], -1)))


def lean_video(adapter: VideoAdapter) -> nn.Module:
    """The same function of the same two latents, or of the flow ``(B, 2 V GRID GRID)`` between them."""
    if adapter.motion is not None:
        standardise, _, first, *rest = adapter.net
        return nn.Sequential(_of_raw(cast(Standardise, standardise), first), *rest)
    return LeanVideo(adapter) if adapter.pooling == "patches" else adapter


def lean_eyes(eyes: nn.Module) -> nn.Module:
    """Frames uint8 ``(B, S, V S, 3)`` → features: ``see`` and ``forward`` of the eyes in one."""
    if not isinstance(eyes, Eyes):
        return _Views([cast(nn.Sequential, eyes.net)])
    if eyes.codec is None:
        return _Views([cast(ImageEncoder, encoder).net for encoder in eyes.encoders])
    return _Patches(eyes.codec, cast(PatchEncoder, eyes.encoders[0]))


class _Views(nn.Module):
    """Convolutions straight from bytes, one network a view; the division by 255 is in the first layer's weights."""

    def __init__(self, networks: list[nn.Sequential]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(nn.Sequential(_from_bytes(net[0]), *list(net.children())[1:]) for net in networks)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        views = frames.permute(0, 3, 1, 2).float().chunk(len(self.networks), 3)
        return torch.cat([net(view) for net, view in zip(self.networks, views, strict=True)], -1)


class _Patches(nn.Module):
    """The frozen codec and the encoder of its latents; patches are cut out as bytes, a quarter of floats to move."""

    def __init__(self, codec: PatchCodec, encoder: PatchEncoder) -> None:
        super().__init__()
        self.p, (channels, self.h, self.w) = codec.patch, codec.latent_shape
        net: Any = encoder.net
        # A patch's bytes lie (row, column, RGB); the basis is (RGB, row, column).
        by_channel = codec.basis.reshape(3, self.p, self.p, channels).permute(1, 2, 0, 3)
        self.basis: torch.Tensor
        self.register_buffer("basis", (by_channel / codec.scale / 255).reshape(-1, channels).contiguous())
        _, _, first, act, _, second, act2 = net
        # The encoder reads (C, h, w); here latents come out (h, w, C). What the mean image adds is the same every time.
        weight = first.weight.reshape(-1, channels, self.h, self.w).permute(0, 2, 3, 1).flatten(1)
        mean = codec._patches(codec.mean[None]) @ codec.basis / codec.scale  # (1, h, w, C)
        self.net = nn.Sequential(_linear(weight, first.bias - weight @ mean.flatten()), act, second, act2)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        cut = frames.reshape(-1, self.h, self.p, self.w, 3 * self.p).transpose(2, 3)  # (B, h, w, p, 3 p)
        latents = cut.reshape(-1, 3 * self.p * self.p).float() @ self.basis  # (B h w, C)
        return self.net(latents.reshape(-1, self.h * self.w * self.basis.shape[1]))


def _from_bytes(layer: nn.Module) -> nn.Conv2d:
    """A convolution of images in [0, 1] as one of bytes; its padding is black in both."""
    layer = cast(nn.Conv2d, layer)
    made = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]
    made.weight, made.bias = nn.Parameter(layer.weight.detach() / 255), layer.bias
    return made


def _of_raw(scale: Standardise, layer: nn.Module) -> nn.Linear:
    """A layer of standardised values as one of the values themselves."""
    layer = cast(nn.Linear, layer)
    weight = layer.weight / scale.std
    return _linear(weight, layer.bias - weight @ scale.mean)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def _shifted(norm: nn.LayerNorm, by: torch.Tensor) -> nn.LayerNorm:
    """The norm, and what is added behind it."""
    made = nn.LayerNorm(norm.normalized_shape)
    made.weight, made.bias = norm.weight, nn.Parameter(norm.bias.detach() + by)
    made.eps = norm.eps
    return made


def core_of(lean: LeanResidual) -> LeanResidual:
    """The residual behind its eyes: base chunk, proprioception and features ``(B, F)`` → correction."""
    core = copy.deepcopy(lean)
    core.eyes = nn.Identity()
    return core
