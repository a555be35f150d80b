"""Blocks that are there for speed do what the ones of torch do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from world2act_core.networks.blocks import Dropout, WideLinear


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.full((1000, 999), 3.0)  # not a multiple of the four values that one draw decides on
    y = Dropout(0.2)(x)
    assert y.unique().tolist() == pytest.approx([0.0, 3.0 / 0.8], rel=1e-4)
    share = (y == 0).float()
    assert share.mean().item() == pytest.approx(0.2, abs=0.002)  # five standard deviations
    assert y.mean().item() == pytest.approx(3.0, abs=0.01)
    for axis in (0, 1):  # neither rows nor columns fall together: their shares spread as independent ones do
        expected = (0.2 * 0.8 / share.shape[axis]) ** 0.5
        assert share.mean(axis).std().item() == pytest.approx(expected, rel=0.15)
    neighbours = (share[:, :-1] * share[:, 1:]).mean().item()
    assert neighbours == pytest.approx(0.04, abs=0.002)


def test_dropout_lets_gradients_through_where_it_let_values_through():
    torch.manual_seed(0)
    x = torch.ones(64, 64, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())


def test_dropout_drops_nothing_out_of_training():
    x = torch.randn(8, 8)
    assert torch.equal(Dropout(0.5).eval()(x), x)


def test_a_wide_linear_layer_is_a_linear_layer():
    torch.manual_seed(0)
    plain, wide = nn.Linear(700, 30), WideLinear(700, 30)
    wide.load_state_dict(plain.state_dict())
    x, weights = torch.randn(50, 700), torch.randn(50, 30)
    inputs = [x.clone().requires_grad_(True) for _ in range(2)]
    for layer, given in zip((plain, wide), inputs, strict=True):
        (weights * layer(given)).sum().backward()
    torch.testing.assert_close(wide(x), plain(x), rtol=1e-4, atol=1e-4)
    for one, other in zip((*plain.parameters(), inputs[0]), (*wide.parameters(), inputs[1]), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-4)
    assert torch.equal(wide.eval()(x), plain(x))  # out of training they are one and the same, bit for bit
