"""The released Self-Attention GAN in NumPy, formula by formula, to be read beside the paper.

This file shares nothing with the package: it knows neither its layers nor PyTorch, folds nothing,
and takes the slow road wherever that is the plainer one. Pictures and maps are (N, C, H, W).

A network is its state: a dictionary from names such as ``blocks.0.conv1.weight`` to arrays.
``part(state, "blocks.0")`` is what a part of a network owns.

Sources: Zhang et al. 2019 ("SAGAN", arXiv 1805.08318); Miyato et al. 2018 ("SN", arXiv 1802.05957);
Miyato and Koyama 2018 ("projection", arXiv 1802.05637); Ioffe and Szegedy 2015 ("batch norm",
arXiv 1502.03167); the authors' released code wherever it does something else than the paper says.
"""

import numpy as np


def part(state, name):
    """What the part of a network called ``name`` owns, by its own names."""
    return {
        key.removeprefix(f"{name}."): value
        for key, value in state.items()
        if key.startswith(f"{name}.")
    }


def parts(state, name):
    """The parts ``name.0``, ``name.1``, ... of a network, in order."""
    count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"{name}."))
    return [part(state, f"{name}.{i}") for i in range(count)]


# --- spectral normalisation


def spectral_norm(weight, u=None, v=None):
    """W / sigma(W), with W seen as a matrix of one row per output (SN, section 2.1).

    sigma(W) is the largest singular value:

        sigma(W) = max |W h| / |h|  over  h != 0.

    Training follows its singular vectors u and v by power iteration, and divides by

        u^T W v                                   (SN, appendix A)

    which is sigma(W) once they have converged. Where u and v are given, that is what is done here.
    """
    matrix = weight.reshape(len(weight), -1)
    sigma = np.linalg.svd(matrix, compute_uv=False)[0] if u is None else u @ matrix @ v
    return weight / sigma


def weight_of(layer):
    """The normalised weight of a layer: every weight of both networks is."""
    return spectral_norm(
        layer["weight"], layer.get("spectral_norm.u"), layer.get("spectral_norm.v")
    )


# --- layers


def relu(x):
    """max(0, x)."""
    return np.maximum(x, 0)


def linear(x, layer):
    """y = W x + b, for every row of x (N, in)."""
    return x @ weight_of(layer).T + layer["bias"]


def convolution(x, layer):
    """A convolution that keeps height and width; beyond the border there are zeros.

    y[n, o, i, j] = b[o] + sum over c, p, q of  w[o, c, p, q] x[n, c, i + p - r, j + q - r]

    for kernels of side 2r + 1.
    """
    weight = weight_of(layer)
    count, _, height, width = x.shape
    radius = weight.shape[2] // 2
    padded = np.pad(x, [(0, 0), (0, 0), (radius, radius), (radius, radius)])
    y = np.zeros((count, len(weight), height, width))
    for p in range(weight.shape[2]):
        for q in range(weight.shape[3]):
            window = padded[:, :, p : p + height, q : q + width]
            y += np.einsum("oc,nchw->nohw", weight[:, :, p, q], window, optimize=True)
    if "bias" in layer:
        y += layer["bias"][:, None, None]
    return y


def upsample(x):
    """Nearest neighbour: y[i, j] = x[i // 2, j // 2]."""
    rows, columns = np.arange(2 * x.shape[2]) // 2, np.arange(2 * x.shape[3]) // 2
    return x[:, :, rows][:, :, :, columns]


def quarters(x):
    """The four pixels of every 2 x 2 block, (4, N, C, H/2, W/2)."""
    return np.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def average_pool(x):
    """The mean of every 2 x 2 block."""
    return quarters(x).mean(axis=0)


def max_pool(x):
    """The largest of every 2 x 2 block."""
    return quarters(x).max(axis=0)


def batch_norm(x, labels, layer, *, training, eps=1e-5):
    """Conditional batch norm: a gain and a bias per class and channel.

    y = gain[label] (x - mu) / sqrt(sigma^2 + eps) + bias[label]      (batch norm, algorithm 1)

    In training mu and sigma^2 are mean and variance of each channel over the batch and all
    positions; afterwards they are the running ones. Without classes the tables have one row, and
    ``labels`` is None.
    """
    if training:
        mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    else:
        mean, variance = layer["running_mean"], layer["running_var"]
    y = (x - mean[:, None, None]) / np.sqrt(variance + eps)[:, None, None]
    rows = np.zeros(len(x), dtype=int) if labels is None else labels
    return layer["gain"][rows][:, :, None, None] * y + layer["bias"][rows][:, :, None, None]


# --- self-attention


def attention_weights(x, layer):
    """How much position j of a map attends to position i (SAGAN, equation 1).

    beta[j, i] = exp(s[i, j]) / sum over i of exp(s[i, j]),     s[i, j] = key_i . query_j

    No 1 / sqrt(d) stands in it. The paper writes f for the key and g for the query; the released
    code phi and theta, gives both C/8 channels, and takes the largest key of every 2 x 2 block, so
    that i counts the blocks.

    Returns:
        (N, HW, HW/4); rows sum to 1.
    """
    queries = convolution(x, part(layer, "query"))
    keys = max_pool(convolution(x, part(layer, "key")))
    count, channels = queries.shape[:2]
    weights = []
    for n in range(count):
        query, key = queries[n].reshape(channels, -1), keys[n].reshape(channels, -1)
        for j in range(query.shape[1]):
            scores = [key[:, i] @ query[:, j] for i in range(key.shape[1])]
            exponentials = np.exp(np.array(scores) - max(scores))
            weights.append(exponentials / exponentials.sum())
    return np.array(weights).reshape(count, -1, keys.shape[2] * keys.shape[3])


def self_attention(x, layer):
    """What each position gathers is added to it (SAGAN, equations 2 and 3).

    o_j = v(sum over i of beta[j, i] h(x_i)),     y_j = gamma o_j + x_j

    h is called ``value`` here and v ``out``. In the released code h has C/2 channels and is
    max-pooled as the keys are; v leads back to C. None of the four has a bias.
    """
    count, _, height, width = x.shape
    beta = attention_weights(x, layer)
    values = max_pool(convolution(x, part(layer, "value")))  # (N, C/2, H/2, W/2)
    values = values.reshape(count, values.shape[1], -1)
    gathered = np.zeros((count, values.shape[1], height * width))
    for n in range(count):
        for j in range(height * width):
            gathered[n, :, j] = values[n] @ beta[n, j]
    gathered = gathered.reshape(count, -1, height, width)
    return layer["gamma"] * convolution(gathered, part(layer, "out")) + x


def attend(x, state):
    """Self-attention where the network has it at this resolution."""
    layer = part(state, f"attention.{x.shape[2]}")
    return self_attention(x, layer) if layer else x


# --- generator


def generator_block(x, labels, block, *, training):
    """Doubles height and width (released code, ``generator.py``).

    y = conv(relu(bn(conv(up(relu(bn(x))))))) + conv1x1(up(x))
    """
    h = relu(batch_norm(x, labels, part(block, "norm1"), training=training))
    h = convolution(upsample(h), part(block, "conv1"))
    h = relu(batch_norm(h, labels, part(block, "norm2"), training=training))
    h = convolution(h, part(block, "conv2"))
    return h + convolution(upsample(x), part(block, "shortcut"))


def generator(state, latents, labels, *, training, first=(4, 4)):
    """Latents (N, d) and labels (N,), or None without classes, -> pictures in [-1, 1].

    ``first`` is the height and width of the first map.
    """
    x = linear(latents, part(state, "linear"))
    x = x.reshape(len(latents), -1, *first)
    for block in parts(state, "blocks"):
        x = generator_block(x, labels, block, training=training)
        x = attend(x, state)
    x = relu(batch_norm(x, None, part(state, "norm"), training=training))
    return np.tanh(convolution(x, part(state, "out")))


# --- discriminator


def discriminator_block(x, block, *, first, downsample):
    """A residual block (released code, ``discriminator.py``).

    y = pool(conv(relu(conv(relu(x))))) + pool(conv1x1(x))

    The first of a network has no relu before its first convolution. A block that keeps the
    resolution does not pool; if it also keeps the number of channels, its shortcut is the identity.
    """
    h = convolution(x if first else relu(x), part(block, "conv1"))
    h = convolution(relu(h), part(block, "conv2"))
    shortcut = part(block, "shortcut")
    y = convolution(x, shortcut) if shortcut else x
    return average_pool(h) + average_pool(y) if downsample else h + y


def discriminator(state, images, labels, *, last=4):
    """Pictures in [-1, 1] and labels (N,), or None without classes, -> logits (N,).

    D(x, y) = psi(phi(x)) + <V_y, phi(x)>      (projection, section 3)

    Maps are halved down to the height ``last``. phi sums the last one over its positions, psi is
    linear, V is a table of a row per class.
    """
    x = images
    for number, block in enumerate(parts(state, "blocks")):
        downsample = x.shape[2] > last
        x = discriminator_block(x, block, first=number == 0, downsample=downsample)
        if downsample:
            x = attend(x, state)
    features = relu(x).sum(axis=(2, 3))
    logits = linear(features, part(state, "linear"))[:, 0]
    if labels is not None:
        logits = logits + (features * weight_of(part(state, "embedding"))[labels]).sum(axis=1)
    return logits


# --- losses


def discriminator_loss(real_logits, fake_logits):
    """L_D = -E[min(0, -1 + D(x, y))] - E[min(0, -1 - D(G(z), y))]      (SAGAN, equation 4)."""
    real = -np.mean(np.minimum(0, -1 + real_logits))
    fake = -np.mean(np.minimum(0, -1 - fake_logits))
    return real + fake


def generator_loss(fake_logits):
    """L_G = -E[D(G(z), y)]      (SAGAN, equation 4)."""
    return -np.mean(fake_logits)
