"""Adam over the parameters of a network, as they lie in memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sagan.config import OptimizerConfig
from sagan.nn.spectral import memory_order
from sagan.runs.checkpoint import require_same_tensors

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class NetworkAdam:
    """Fused Adam, one kernel for all parameters, which does nothing once the run has diverged.

    It works on views of the parameters with their dimensions in the order of memory: the fused
    kernel of CPUs copies whatever is not contiguous, four times per step. PyTorch's kernel for
    Apple's GPUs ignores ``diverged``: there the run stops as well, but after some useless steps.

    Args:
        network: The parameters; they must stay where they are.
        learning_rate: To begin with.
        config: The decays and eps.
        diverged: Holds 1 as soon as no weight may change any more, else 0; read on the device.

    Attributes:
        learning_rate: Of the steps to come.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, config: OptimizerConfig, diverged: Tensor
    ) -> None:
        self._named = dict(network.named_parameters())
        self._orders = {name: memory_order(p) for name, p in self._named.items()}
        self._views = {
            name: nn.Parameter(p.detach().permute(self._orders[name]))
            for name, p in self._named.items()
        }
        self._adam = torch.optim.Adam(
            self._views.values(),
            lr=learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            fused=True,
        )
        # The switch by which mixed precision's gradient scaler stops a step.
        self._adam.found_inf = diverged  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def learning_rate(self) -> float:
        """Of the steps to come."""
        return self._adam.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def step(self) -> None:
        """Moves the parameters by the gradients at hand, and forgets these."""
        for name, parameter in self._named.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                self._views[name].grad = gradient.permute(self._orders[name])
        self._adam.step()
        self._adam.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Moments and numbers of steps by ``parameter.moment``, shaped as the parameters."""
        return {
            f"{name}.{moment}": self._as_parameter(name, value)
            for name, view in self._views.items()
            for moment, value in self._adam.state[view].items()
        }

    def restore(self, tensors: Mapping[str, Tensor], part: str) -> None:
        """Takes over copies of what :meth:`tensors` gave.

        Raises:
            SaganError: They do not fit; names the first difference in ``part``.
        """
        expected = {
            f"{name}.{moment}": parameter.new_zeros(()) if moment == "step" else parameter
            for name, parameter in self._named.items()
            for moment in _MOMENTS
        }
        require_same_tensors(tensors, expected, part)
        for view in self._views.values():
            self._adam.state[view] = {
                moment: torch.empty_like(view.new_zeros(()) if moment == "step" else view)
                for moment in _MOMENTS
            }
        for key, tensor in self.tensors().items():
            tensor.detach().copy_(tensors[key])

    def _as_parameter(self, name: str, value: Tensor) -> Tensor:
        if not value.ndim:
            return value
        order = self._orders[name]
        return value.permute([order.index(dimension) for dimension in range(value.ndim)])
