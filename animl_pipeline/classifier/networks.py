"""The networks there are: EfficientNet of the published workflow, and every one of timm.

A network takes (b, 3, side, side) and returns logits (b, labels). It is a backbone, whose features
are pooled into one embedding a picture, and a head, the last layer, that makes logits of it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import efficientnet_params
from torch import Tensor, nn

from animl_pipeline.errors import OptionError

MODEL_NAMES = tuple(f"efficientnet-b{size}" for size in range(8))  # of efficientnet-pytorch
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# PyTorch's default. The 0.01 of TensorFlow's EfficientNets is for the many steps of ImageNet: over
# the few dozen of a camera-trap project the running statistics lag behind and validation is
# nonsense.
BATCH_NORM_MOMENTUM = 0.1
SIDE_REFUSED = (AssertionError, TypeError, ValueError, RuntimeError)  # by the networks of timm


@dataclass(frozen=True)
class Pictures:
    """What pictures a network was designed for."""

    side_px: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"


def pictures_of(model_name: str) -> Pictures:
    """Return what pictures the network was designed for.

    Raises:
        OptionError: there is no such network.
    """
    if model_name in MODEL_NAMES:
        return Pictures(int(efficientnet_params(model_name)[2]))
    published = _timm_config(model_name)
    known = published.interpolation in {"nearest", "bilinear", "bicubic"}
    return Pictures(
        side_px=max(published.input_size[1:]),
        mean=tuple(published.mean),
        std=tuple(published.std),
        interpolation=published.interpolation if known else "bicubic",
    )


def _timm_config(model_name: str) -> Any:
    """Return timm's entry of a model.

    Raises:
        OptionError: it has none, or one that takes no colour pictures. Names with an address in
            them (hf-hub:, local-dir:) are none: to build a network, nothing else is opened.
    """
    import timm

    try:
        found = timm.get_pretrained_cfg(model_name) if timm.is_model(model_name) else None
    except RuntimeError:  # a model it has, with a tag that it has not
        found = None
    if found is None or found.input_size[0] != 3:
        near = timm.list_models(f"*{model_name.partition('.')[0]}*")[:3] if model_name else []
        raise OptionError(
            f"--model-name {model_name!r} is neither {MODEL_NAMES[0]} to {MODEL_NAMES[-1][-2:]} "
            f"(efficientnet-b3 is the default) nor a network of timm for colour pictures"
            f"{', which has ' + ', '.join(near) if near else ''}."
        )
    return found


def is_known(model_name: Any) -> bool:
    """Return whether `build` knows the name."""
    try:
        return isinstance(model_name, str) and bool(pictures_of(model_name))
    except OptionError:
        return False


def build(model_name: str, labels: int, side_px: int | None = None) -> nn.Module:
    """Return the network, weights fresh, for pictures of a side (default: its own).

    Raises:
        OptionError: there is no such network, or not for that side.
    """
    if model_name in MODEL_NAMES:
        efficientnet = EfficientNet.from_name(model_name, num_classes=labels)
        efficientnet.set_swish(memory_efficient=False)  # the standard one is faster, for memory
        network: nn.Module = efficientnet
    else:
        network = build_timm(model_name, labels, side_px)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return network.to(memory_format=torch.channels_last)


def build_timm(
    model_name: str, labels: int, side_px: int | None, *, pretrained: bool = False
) -> nn.Module:
    """Return a network of timm, with fresh weights or, through its hub, ImageNet's."""
    import timm

    fixed = _timm_config(model_name).fixed_input_size  # as transformers, built for one side
    more: dict[str, Any] = {"img_size": side_px} if fixed and side_px else {}
    try:
        network: nn.Module = timm.create_model(
            model_name, pretrained=pretrained, num_classes=labels, **more
        )
        if side_px:
            with torch.no_grad():  # some find out only when they are given a picture
                network.eval()(torch.zeros(1, 3, side_px, side_px))
    except SIDE_REFUSED as error:
        raise OptionError(
            f"{model_name} does not take pictures of --image-size {side_px}: {error}."
        ) from error
    if not isinstance(head_of(network), nn.Module):  # one of what it is, one of its teacher's
        raise OptionError(f"{model_name} has more than one head: choose another --model-name.")
    return network.train()


def head_of(network: nn.Module) -> nn.Module:
    """Return the last layer, which is as wide as there are labels."""
    if isinstance(network, EfficientNet):
        return network._fc  # type: ignore[no-any-return]
    return network.get_classifier()  # type: ignore[operator, no-any-return]


def head_names(network: nn.Module) -> set[str]:
    """Return the names of the head's tensors among those of the network."""
    own = {id(tensor) for tensor in head_of(network).parameters()}
    return {name for name, tensor in network.named_parameters() if id(tensor) in own}


def features(network: nn.Module, pictures: Tensor) -> Tensor:
    """Return what the backbone says of each place: (b, channels, rows, columns) of most."""
    if isinstance(network, EfficientNet):
        return network.extract_features(pictures)  # type: ignore[no-any-return]
    return network.forward_features(pictures)  # type: ignore[operator, no-any-return]


def embedding(network: nn.Module, found: Tensor) -> Tensor:
    """Return the `features` pooled into what the head takes: (b, width)."""
    if isinstance(network, EfficientNet):
        return network._dropout(network._avg_pooling(found).flatten(start_dim=1))  # type: ignore[no-any-return]
    return network.forward_head(found, pre_logits=True)  # type: ignore[operator, no-any-return]


def has_channels_last(network: nn.Module, found: Tensor) -> bool:
    """Return whether `features` (b, ., ., .) are (b, rows, columns, channels), as Swin's are."""
    channels = getattr(network, "num_features", found.shape[1])
    return found.shape[1] != channels == found.shape[3]
