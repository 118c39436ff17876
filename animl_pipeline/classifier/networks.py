"""Networks by name: built, taken apart into backbone and head, and made faster.

A network takes (b, 3, side, side) and returns logits (b, labels). It is a backbone, whose features
are pooled into one embedding a picture, and a head, the last layer, that makes logits of it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from animl_pipeline.classifier.kinds import Kind, Pictures, Published, Timm, import_timm
from animl_pipeline.errors import OptionError

# PyTorch's default. The 0.01 of TensorFlow's EfficientNets is for the many steps of ImageNet: over
# the few dozen of a camera-trap project the running statistics lag behind and validation is
# nonsense.
BATCH_NORM_MOMENTUM = 0.1

KINDS: tuple[Kind, ...] = (Published(), Timm())  # the first that has a name builds it


def find_kind_named(model_name: str) -> Kind:
    """Return the kind that has a network of this name.

    Raises:
        OptionError: there is no such network.
    """
    for kind in KINDS:
        if kind.has(model_name):
            return kind
    stem = model_name.partition(".")[0]
    near = import_timm().list_models(f"*{stem}*")[:3] if model_name else []
    raise OptionError(
        f"--model-name {model_name!r} is neither {' nor '.join(k.description for k in KINDS)}"
        f"{', which has ' + ', '.join(near) if near else ''}."
    )


def find_kind_of(network: nn.Module) -> Kind:
    """Return the kind of a network that `build` made."""
    return next(kind for kind in KINDS if kind.owns(network))


def is_known(model_name: Any) -> bool:
    """Return whether `build` knows the name."""
    try:
        return isinstance(model_name, str) and bool(find_kind_named(model_name))
    except OptionError:
        return False


def describe_pictures(model_name: str) -> Pictures:
    """Return what pictures the network was designed for.

    Raises:
        OptionError: there is no such network.
    """
    return find_kind_named(model_name).describe_pictures(model_name)


def build(model_name: str, labels: int, side_px: int | None = None) -> nn.Module:
    """Return the network, weights fresh, for pictures of a side (default: its own).

    Raises:
        OptionError: there is no such network, or not for that side.
    """
    network = find_kind_named(model_name).build(model_name, labels, side_px)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return network.to(memory_format=torch.channels_last)


def find_head(network: nn.Module) -> nn.Module:
    """Return the last layer, which is as wide as there are labels."""
    head: nn.Module = find_kind_of(network).find_head(network)
    return head


def head_names(network: nn.Module) -> set[str]:
    """Return the names of the head's tensors among those of the network."""
    of_head = {id(tensor) for tensor in find_head(network).parameters()}
    return {name for name, tensor in network.named_parameters() if id(tensor) in of_head}


def extract_features(network: nn.Module, pictures: Tensor) -> Tensor:
    """Return the last layer of the backbone before pooling.

    Of most networks it is (b, channels, rows, columns); see `has_channels_last`. Transformers may
    return tokens (b, tokens, channels).
    """
    features: Tensor = find_kind_of(network).extract_features(network, pictures)
    return features


def pool(network: nn.Module, features: Tensor) -> Tensor:
    """Return the embeddings (b, width) of features, which are what the head takes."""
    embeddings: Tensor = find_kind_of(network).pool(network, features)
    return embeddings


@dataclass
class Watched:
    """The features (b, width) of the batch that a network saw last."""

    features: Tensor


@contextmanager
def watch_features(network: nn.Module) -> Iterator[Watched]:
    """Yield what holds the features that the head takes, batch by batch, at no cost in time.

    `network` may be one that fabric has set up.
    """
    watched = Watched(torch.empty(0))

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        watched.features = inputs[0].flatten(start_dim=1)

    handle = find_head(_unwrap(network)).register_forward_pre_hook(keep)
    try:
        yield watched
    finally:
        handle.remove()


def _unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside what fabric made of it."""
    inside = getattr(network, "module", network)
    return inside if inside is network else _unwrap(inside)


def has_channels_last(network: nn.Module, features: Tensor) -> bool:
    """Return whether features (b, ., ., .) are (b, rows, columns, channels), as Swin's are."""
    channels = getattr(network, "num_features", features.shape[1])
    return bool(features.shape[1] != channels == features.shape[3])


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy with every batch norm folded into the convolution before it.

    It predicts the same, to rounding, in less time; it can no longer be trained. A network whose
    kind does not say which norm follows which convolution is copied as it is.
    """
    norm_after = find_kind_of(network).norm_after
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for name, norm in norm_after.items():
            convolution = getattr(module, name, None)
            if convolution is not None:
                setattr(module, name, fuse_conv_bn_eval(convolution, getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return network
