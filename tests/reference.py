"""SAGAN as plainly as it can be written: the yardstick for the folded networks.

Upsampling, convolution and pooling are separate layers, attention is three matrix products,
spectral normalisation is PyTorch's own, real and fake pictures go through the discriminator one
after the other. Parameter names follow sagan.nn.residual, so that weights can be copied over.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

GENERATOR_CHANNELS = {
    32: (8, 4, 2, 1),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
DISCRIMINATOR_CHANNELS = {
    32: (1, 2, 4, 8),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}


def conv(in_channels, out_channels, size, bias=True):
    return spectral_norm(
        nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=bias), eps=1e-12
    )


class ConditionalBatchNorm(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False, momentum=0.001)
        self.gain = nn.Parameter(torch.ones(max(num_classes, 1), channels))
        self.bias = nn.Parameter(torch.zeros(max(num_classes, 1), channels))

    def forward(self, x, y):
        return self.norm(x) * self.gain[y][:, :, None, None] + self.bias[y][:, :, None, None]


class SelfAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.query = conv(channels, channels // 8, 1, bias=False)
        self.key = conv(channels, channels // 8, 1, bias=False)
        self.value = conv(channels, channels // 2, 1, bias=False)
        self.out = conv(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        n, c, h, w = x.shape
        query = self.query(x).view(n, c // 8, h * w)
        key = F.max_pool2d(self.key(x), 2).view(n, c // 8, h * w // 4)
        value = F.max_pool2d(self.value(x), 2).view(n, c // 2, h * w // 4)
        attention = torch.softmax(torch.bmm(query.transpose(1, 2), key), dim=2)
        attended = torch.bmm(value, attention.transpose(1, 2)).view(n, c // 2, h, w)
        return x + self.gamma * self.out(attended)


class GeneratorBlock(nn.Module):
    def __init__(self, in_channels, out_channels, num_classes):
        super().__init__()
        self.norm1 = ConditionalBatchNorm(in_channels, num_classes)
        self.conv1 = conv(in_channels, out_channels, 3)
        self.norm2 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.shortcut = conv(in_channels, out_channels, 1)

    def forward(self, x, y):
        h = F.relu(self.norm1(x, y))
        h = self.conv1(F.interpolate(h, scale_factor=2, mode="nearest"))
        h = self.conv2(F.relu(self.norm2(h, y)))
        return h + self.shortcut(F.interpolate(x, scale_factor=2, mode="nearest"))


class Generator(nn.Module):
    def __init__(self, resolution, num_classes, base_channels, attention, multiples=None):
        super().__init__()
        channels = [base_channels * n for n in multiples or GENERATOR_CHANNELS[resolution]]
        self.linear = spectral_norm(nn.Linear(128, channels[0] * 16), eps=1e-12)
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleDict()
        for i in range(len(channels) - 1):
            self.blocks.append(GeneratorBlock(channels[i], channels[i + 1], num_classes))
            size = 8 * 2**i
            if size in attention:
                self.attention[str(size)] = SelfAttention(channels[i + 1])
        self.norm = ConditionalBatchNorm(channels[-1], 0)
        self.out = conv(channels[-1], 3, 3)

    def forward(self, z, y):
        x = self.linear(z).view(z.shape[0], -1, 4, 4)
        for block in self.blocks:
            x = block(x, y)
            if str(x.shape[2]) in self.attention:
                x = self.attention[str(x.shape[2])](x)
        return torch.tanh(self.out(F.relu(self.norm(x, torch.zeros_like(y)))))


class DiscriminatorBlock(nn.Module):
    def __init__(self, in_channels, out_channels, first, downsample):
        super().__init__()
        self.first = first
        self.downsample = downsample
        self.conv1 = conv(in_channels, out_channels, 3)
        self.conv2 = conv(out_channels, out_channels, 3)
        changes = downsample or in_channels != out_channels
        self.shortcut = conv(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x):
        h = self.conv1(x if self.first else F.relu(x))
        h = self.conv2(F.relu(h))
        if self.downsample:
            return F.avg_pool2d(h, 2) + F.avg_pool2d(self.shortcut(x), 2)
        return h + self.shortcut(x)


class Discriminator(nn.Module):
    def __init__(
        self, resolution, num_classes, base_channels, attention, multiples=None, final_resolution=4
    ):
        super().__init__()
        multiples = multiples or DISCRIMINATOR_CHANNELS[resolution]
        channels = [3] + [base_channels * n for n in multiples]
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleDict()
        size = resolution
        for i in range(len(channels) - 1):
            downsample = size > final_resolution
            self.blocks.append(DiscriminatorBlock(channels[i], channels[i + 1], i == 0, downsample))
            if downsample:
                size //= 2
                if size in attention:
                    self.attention[str(size)] = SelfAttention(channels[i + 1])
        self.linear = spectral_norm(nn.Linear(channels[-1], 1), eps=1e-12)
        self.embedding = (
            spectral_norm(nn.Embedding(num_classes, channels[-1]), eps=1e-12)
            if num_classes
            else None
        )

    def forward(self, x, y):
        for block in self.blocks:
            x = block(x)
            if block.downsample and str(x.shape[2]) in self.attention:
                x = self.attention[str(x.shape[2])](x)
        h = F.relu(x).sum(dim=(2, 3))
        out = self.linear(h)
        if self.embedding is not None:
            out = out + (h * self.embedding(y)).sum(dim=1, keepdim=True)
        return out[:, 0]


def copy_weights(ours, plain):
    """Gives a reference network the weights, singular vectors and statistics of one of ours."""
    state = {}
    for name, tensor in ours.state_dict().items():
        name = name.replace("running_", "norm.running_")
        if name.endswith(".spectral_norm.u"):
            name = name.replace("spectral_norm.u", "parametrizations.weight.0._u")
        elif name.endswith(".spectral_norm.v"):
            name = name.replace("spectral_norm.v", "parametrizations.weight.0._v")
        elif name.endswith(".weight"):
            name = name.replace(".weight", ".parametrizations.weight.original")
        state[name] = tensor
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all("num_batches_tracked" in key for key in missing), missing


def freeze_singular_vectors(plain):
    """Stops the power iteration that PyTorch runs at every access of a weight in training."""
    for module in plain.modules():
        if isinstance(module, torch.nn.utils.parametrizations._SpectralNorm):
            module.eval()


def train_step(
    generator, discriminator, optimizers, real_images, real_labels, latents, labels, autocast
):
    """One step of the textbook loop; latents and labels hold the draws of both updates.

    Returns the losses of discriminator and generator, unread.
    """
    generator_optimizer, discriminator_optimizer = optimizers
    with autocast:
        fake_images = generator(latents[0], labels[0])
        real_logits = discriminator(real_images, real_labels)
        fake_logits = discriminator(fake_images.detach(), labels[0])
        discriminator_loss = F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
    discriminator_optimizer.zero_grad()
    discriminator_loss.backward()
    discriminator_optimizer.step()

    with autocast:
        fake_logits = discriminator(generator(latents[1], labels[1]), labels[1])
        generator_loss = -fake_logits.mean()
    generator_optimizer.zero_grad()
    generator_loss.backward()
    generator_optimizer.step()
    return discriminator_loss.detach(), generator_loss.detach()
