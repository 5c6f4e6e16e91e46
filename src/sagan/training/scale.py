"""On how many processes a run is forecast, and what they have to tell each other."""

from dataclasses import dataclass, replace

from sagan.config import Config
from sagan.errors import SaganError

_BYTES_OF_A_GRADIENT = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The processes that a dry run is to imagine."""

    ranks: int = 1
    """For --dry-run: forecast so many processes that share every batch, each on a device like this
    one (docs/scale.md)."""
    bandwidth: float = 10.0
    """For --dry-run: the network between two of these processes, in Gbit/s."""
    price_per_hour: float | None = None
    """For --dry-run: what all these processes together cost in an hour, in any currency."""

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise SaganError(f"--ranks {self.ranks} is out of range; it must be at least 1")
        for flag, value in (("bandwidth", self.bandwidth), ("price-per-hour", self.price_per_hour)):
            if value is not None and not 0 < value < float("inf"):
                raise SaganError(f"--{flag} {value:g} is out of range; it must be above 0")

    def of_a_rank(self, config: Config) -> Config:
        """The settings with the share of a batch that each rank takes."""
        share = config.train.batch_size // self.ranks
        return replace(config, train=replace(config.train, batch_size=share))

    def seconds_to_average(self, size: int) -> float:
        """How long it takes to average so many bytes over all ranks.

        As a ring does it: every rank sends and receives twice the bytes, but for its own part.
        """
        return 2 * (self.ranks - 1) / self.ranks * size / (self.bandwidth * 1e9 / 8)


ONE_PROCESS = Scale()


def averaged_bytes(generator_parameters: int, discriminator_parameters: int, config: Config) -> int:
    """Bytes of the gradients of one step, which ranks average."""
    updates = config.train.discriminator_steps
    return _BYTES_OF_A_GRADIENT * (generator_parameters + updates * discriminator_parameters)
