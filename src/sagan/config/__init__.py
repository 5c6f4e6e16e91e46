"""The settings of a run: frozen dataclasses, TOML in and out.

Each component receives its own section. Defaults are the authors' values, but for the averaged
weights, which they do not have, and for Adam's eps and the discriminator's vectors in the
generator's update, which are PyTorch's; a preset holds only what differs. Nothing here imports
torch.
"""

from sagan.config.checks import nearest, require_class_names
from sagan.config.data import (
    HUB,
    UNKNOWN_SOURCE,
    Augmentation,
    Crop,
    DataConfig,
    Order,
    Part,
)
from sagan.config.networks import (
    Architecture,
    AttentionForm,
    AttentionProduct,
    ClassTables,
    DiscriminatorConfig,
    FirstBiases,
    GeneratorConfig,
    HiddenChannels,
    Initialization,
    NetworkConfig,
    NormalizedLayers,
    ShortcutInput,
    Upsampling,
    unread,
)
from sagan.config.plain import differences, from_dict, joined, load_toml, to_dict, to_toml
from sagan.config.plan import (
    NetworkShape,
    Place,
    Size,
    Stage,
    both_sides,
    least_weights,
    map_sizes,
    network_shape,
    places,
    plan,
)
from sagan.config.training import (
    EvaluationConfig,
    FakeLabels,
    LossConfig,
    LossName,
    OptimizerConfig,
    PowerIteration,
    Precision,
    TrainConfig,
)
from sagan.config.whole import Config

__all__ = [
    "HUB",
    "UNKNOWN_SOURCE",
    "Architecture",
    "AttentionForm",
    "AttentionProduct",
    "Augmentation",
    "ClassTables",
    "Config",
    "Crop",
    "DataConfig",
    "DiscriminatorConfig",
    "EvaluationConfig",
    "FakeLabels",
    "FirstBiases",
    "GeneratorConfig",
    "HiddenChannels",
    "Initialization",
    "LossConfig",
    "LossName",
    "NetworkConfig",
    "NetworkShape",
    "NormalizedLayers",
    "OptimizerConfig",
    "Order",
    "Part",
    "Place",
    "PowerIteration",
    "Precision",
    "ShortcutInput",
    "Size",
    "Stage",
    "TrainConfig",
    "Upsampling",
    "both_sides",
    "differences",
    "from_dict",
    "joined",
    "least_weights",
    "load_toml",
    "map_sizes",
    "nearest",
    "network_shape",
    "places",
    "plan",
    "require_class_names",
    "to_dict",
    "to_toml",
    "unread",
]
