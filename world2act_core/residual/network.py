"""The residual policy f_theta (World2Act, section 3.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from world2act_core.alignment.adapters import Alignment
from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import Standardise, start_at_zero, to_float
from world2act_core.networks.codec import PatchCodec
from world2act_core.networks.eyes import Eyes, EyesConfig
from world2act_core.types import Array

CORRECTIONS, TRUNKS = ("added", "instead"), ("tokens", "flat")


@dataclass(frozen=True)
class ResidualConfig(EyesConfig):
    """Architecture of the residual. Widths are the paper's where it gives them; ``encoder`` may also be ``paper``:
    three convolutions over the tiled frame and a linear layer.

    Attributes:
        trunk: ``tokens``, a transformer over base action, proprioception and images (paper); ``flat``, an MLP (ours).
        correction: what f_theta says is ``added`` to the base's action, or stands ``instead`` of it (both ours).
        hide_base: ours: share of training samples in which f_theta is not told the base's action; at 1 it never is.
        bound: ours: largest correction of an action, in action units, of displacements in theirs; 0 sets none.
    """

    encoders: ClassVar[tuple[str, ...]] = (*EyesConfig.encoders, "paper")

    heads: int = 4
    layers: int = 2
    bound: float = 0.0
    trunk: str = "tokens"
    correction: str = "added"
    hide_base: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("trunk", TRUNKS), ("correction", CORRECTIONS)):
            if (value := getattr(self, name)) not in known:
                raise World2ActError(f"{name} is {value!r}, expected one of {', '.join(known)}")
        if not 0.0 <= self.hide_base <= 1.0:
            raise World2ActError(f"hide_base is {self.hide_base!r}, expected a share from 0 to 1")
        if self.correction == "added" and self.hide_base == 1.0:
            raise World2ActError(
                "correction: added with hide_base: 1 would add to an action that it is never told: set hide_base: 0"
            )

    @property
    def deaf(self) -> bool:
        """Whether f_theta says the whole action in the dimensions that it moves, and is not told the base's."""
        return self.correction == "instead" and self.hide_base == 1.0 and not self.bound


class Residual(nn.Module):
    """Base chunk, proprioception and images → a correction of the base chunk, made in the latent space (ours).

    ``added``: with z = B_a(a_base) and a correction delta of it,

        a_final = a_base + D_a(z + delta) - D_a(z)

    so the base is recovered exactly at delta = 0, which is where training starts, and what is added stays a difference
    of two decoded actions. Where the base is wrong, this has to know in advance what the base will say to take it away
    again, also where the base was never trained. ``instead``:

        a_final = D_a(h)

    that is, the correction is D_a(h) - a_base; where the base is poor this fails less (docs/post-training-trials.md).
    D_a starts as Stage 1's decoder and is trained along; B_a stays frozen.
    """

    config: ResidualConfig

    def __init__(
        self, config: ResidualConfig, alignment: Alignment, proprio: int, used: torch.Tensor, codec: PatchCodec
    ) -> None:
        """
        Args:
            proprio: P, size of proprioception.
            used: ``(A,)`` bool, False for action dimensions that the residual must never touch.
            codec: of the cameras, tiled as in the frames that ``see`` is given; kept frozen, by ``patches`` only.

        Chunks and corrections are actions as the adapters go by them, in ``units`` where these are displacements.
        """
        super().__init__()
        self.config, size = config, alignment.config.size
        self.units: tuple[float, ...] = tuple(alignment.config.units)
        self.standardise = Standardise(proprio)
        self.codec_shape = codec.shape
        self.eyes = _PaperEyes(codec) if config.encoder == "paper" else Eyes(config, codec)
        self.action = copy.deepcopy(alignment.action).requires_grad_(False)
        self.decoder = copy.deepcopy(alignment.decoder).requires_grad_(True)
        if config.trunk == "tokens":
            self._lay_tokens(proprio, size)
        else:
            seen = self.eyes.size + proprio + size
            self.head = nn.Sequential(nn.Linear(seen, 128), nn.ReLU(), nn.Linear(128, size))
        if config.correction == "added":
            start_at_zero(self.head[-1])
        self.used: torch.Tensor
        self.register_buffer("used", used.float())

    def _lay_tokens(self, proprio: int, size: int) -> None:
        """Three tokens of width D (section 3.3)."""
        heads, layers = self.config.heads, self.config.layers
        self.proprio = nn.Sequential(nn.Linear(proprio, 128), nn.ReLU(), nn.Linear(128, size), nn.LayerNorm(size))
        self.image = nn.Sequential(nn.Linear(self.eyes.size, size), nn.LayerNorm(size))
        layer = nn.TransformerEncoderLayer(size, heads, 4 * size, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.kind = nn.Parameter(0.02 * torch.randn(3, size))
        self.head = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, size))

    @property
    def overrules(self) -> bool:
        """Whether nothing of the base's action is left in the final one, nor is it told: it need not be asked."""
        return self.config.deaf and bool(self.used.all())

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        """Tiled frames uint8 ``(B, S, V S, 3)`` → what the image token is made of; nothing here is trained."""
        return self.eyes.see(frames)

    def forward(self, base: torch.Tensor, proprio: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, ``see(frames)`` → residual ``(B, M, A)``."""
        z = self.action(base)
        said = self._say(self._shown(z), self.standardise(proprio), self.eyes(seen))
        instead = self.config.correction == "instead"
        correction = self.decoder(said) - base if instead else self.decoder(z + said) - self.decoder(z)
        if self.config.bound:
            correction = self.config.bound * torch.tanh(correction / self.config.bound)
        return correction * self.used

    def _shown(self, z: torch.Tensor) -> torch.Tensor:
        """What is told of the base. On frames of an expert its action is a shortcut, which leads astray elsewhere."""
        hide = self.config.hide_base
        if hide == 1.0:
            return torch.zeros_like(z)
        return z * (torch.rand(len(z), 1) >= hide) if self.training and hide else z

    def _say(self, z: torch.Tensor, proprio: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Base action's latent ``(B, D)``, standardised proprioception and features of the images → ``(B, D)``."""
        if self.config.trunk == "flat":
            return self.head(torch.cat([features, proprio, z], -1))
        tokens = torch.stack([z, self.proprio(proprio), self.image(features)], 1) + self.kind
        return self.head(self.transformer(tokens)[:, 0])

    @torch.inference_mode()
    def correct(self, base: Array, proprio: Array, frames: Array) -> Array:
        """As ``forward``, from and to numpy; ``frames`` are those that ``see`` is given."""
        seen = self.see(torch.from_numpy(frames))
        correction: Array = self(torch.from_numpy(base), torch.from_numpy(proprio), seen).numpy()
        return correction


class _PaperEyes(nn.Module):
    """The paper's image head: convolutions 3 → 16 → 32 → 32, strides 4, 2, 2, whose maps are laid out flat."""

    def __init__(self, codec: PatchCodec) -> None:
        """``codec`` tells the size of a frame."""
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.size = 32 * (codec.size // 16) * (codec.width // 16)

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        return to_float(frames)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.net(seen)
