"""Fused Adam over the parameters of one network."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sagan.config import OptimizerConfig
from sagan.nn.singular import memory_order
from sagan.runs.checkpoint import require_same_tensors

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class _StoppableAdam(torch.optim.Adam):
    found_inf: Tensor
    """The switch by which mixed precision's gradient scaler stops a step."""


class NetworkAdam:
    """Fused Adam, one kernel for all parameters, which does nothing once the run has diverged.

    It works on views of the parameters with their dimensions in the order of memory: the fused
    kernel of CPUs copies whatever is not contiguous, four times per step. PyTorch's kernel for
    Apple's GPUs ignores ``diverged``: there the run stops as well, but after some useless steps.

    Args:
        network: Its parameters, but for frozen ones, which need no gradient; they must stay where
            they are.
        learning_rate: To begin with.
        config: The decays, eps and where it is added.
        diverged: Holds 1 as soon as no weight may change any more, else 0; read on the device.

    Attributes:
        learning_rate: Of the steps to come.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, config: OptimizerConfig, diverged: Tensor
    ) -> None:
        self._named = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._orders = {name: memory_order(p) for name, p in self._named.items()}
        self._views = {
            name: nn.Parameter(p.detach().permute(self._orders[name]))
            for name, p in self._named.items()
        }
        self._adam = _StoppableAdam(
            self._views.values(),
            lr=learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            fused=True,
        )
        self._adam.found_inf = diverged
        self._config, self._steps = config, 0
        self._none = torch.zeros_like(diverged)
        self._lengths = diverged.new_zeros(len(self._named))

    @property
    def learning_rate(self) -> float:
        """Of the steps to come."""
        return self._adam.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def gradients(self) -> list[Tensor]:
        """Those at hand, as they lie in memory."""
        return [
            parameter.grad.permute(self._orders[name])
            for name, parameter in self._named.items()
            if parameter.grad is not None
        ]

    def finite_gradients(self) -> Tensor:
        """Whether all gradients at hand are finite, and their squares, which Adam takes.

        Their lengths are kept: at last those of the first update that is not made.

        Returns:
            A boolean on the device, for which nobody waits.
        """
        found = [self._none if p.grad is None else p.grad for p in self._named.values()]
        norms = torch._foreach_norm(found)  # pyright: ignore[reportPrivateImportUsage]
        lengths = torch.stack(norms)
        self._lengths = torch.where(self._adam.found_inf > 0, self._lengths, lengths)
        return lengths.isfinite().all()

    def not_finite(self) -> list[str]:
        """The parameters whose gradient was not finite when last judged; waits for the device."""
        lengths = zip(self._named, self._lengths.tolist(), strict=True)
        return [name for name, length in lengths if not math.isfinite(length)]

    def step(self) -> None:
        """Moves the parameters by the gradients at hand, and forgets these."""
        for name, parameter in self._named.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                self._views[name].grad = gradient.permute(self._orders[name])
        self._steps += 1
        self._adam.param_groups[0]["eps"] = self._config.eps_after_correction(self._steps)
        self._adam.step()
        self._adam.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Moments and numbers of steps by ``parameter.moment``, shaped as the parameters."""
        return {
            f"{name}.{moment}": self._as_parameter(name, value)
            for name, view in self._views.items()
            for moment, value in self._adam.state[view].items()
        }

    def forget(self) -> None:
        """Drops all moments, as before the first step."""
        self._adam.state.clear()
        self._steps = 0

    def expected(self) -> dict[str, Tensor]:
        """What :meth:`tensors` gives after the first step, but for the values."""
        return {
            f"{name}.{moment}": parameter.new_zeros(()) if moment == "step" else parameter
            for name, parameter in self._named.items()
            for moment in _MOMENTS
        }

    def restore(self, tensors: Mapping[str, Tensor], part: str) -> None:
        """Takes over copies of what :meth:`tensors` gave.

        Raises:
            SaganError: They do not fit; names the first difference in ``part``.
        """
        require_same_tensors(tensors, self.expected(), part)
        for view in self._views.values():
            self._adam.state[view] = {
                moment: torch.empty_like(view.new_zeros(()) if moment == "step" else view)
                for moment in _MOMENTS
            }
        for key, tensor in self.tensors().items():
            tensor.detach().copy_(tensors[key])
        self._steps = max((int(tensors[f"{name}.step"]) for name in self._named), default=0)

    def _as_parameter(self, name: str, value: Tensor) -> Tensor:
        if not value.ndim:
            return value
        order = self._orders[name]
        return value.permute([order.index(dimension) for dimension in range(value.ndim)])
