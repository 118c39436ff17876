"""The libraries that networks come from, and all in which their networks differ.

To add the networks of another library, write a class like `Published`, here or in a module of its
own, and name it in KINDS of `networks`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import efficientnet_params, url_map
from torch import Tensor, nn

from animl_pipeline.errors import OptionError

MODEL_NAMES = tuple(f"efficientnet-b{size}" for size in range(8))  # of efficientnet-pytorch
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_LABELS = 1000
SIDE_REFUSED = (AssertionError, TypeError, ValueError, RuntimeError)  # by the networks of timm


@dataclass(frozen=True)
class Pictures:
    """What pictures a network was designed for."""

    side_px: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"


class Kind(Protocol):
    """The networks of one library, and all in which they differ from those of another."""

    description: str  # which names it has, for a message
    norm_after: dict[str, str]  # the batch norm after each convolution, by their names

    def has(self, model_name: str) -> bool:
        """Return whether the library has a network of this name."""

    def owns(self, network: nn.Module) -> bool:
        """Return whether a network is of this library."""

    def describe_pictures(self, model_name: str) -> Pictures:
        """Return what pictures a network was designed for."""

    def find_source(self, model_name: str) -> str:
        """Return where the ImageNet weights are."""

    def read_pretrained(self, model_name: str, side_px: int | None) -> dict[str, Tensor]:
        """Return the ImageNet weights, from the cache or the internet."""

    def build(self, model_name: str, labels: int, side_px: int | None) -> nn.Module:
        """Return a network with fresh weights."""

    def find_head(self, network: Any) -> Any:
        """Return the last layer."""

    def extract_features(self, network: Any, pictures: Tensor) -> Any:
        """Return what the backbone makes of pictures (b, 3, side, side)."""

    def pool(self, network: Any, features: Tensor) -> Any:
        """Return the embeddings (b, width) that the head takes."""


def import_timm() -> Any:
    """Return the library, which takes seconds to load and is needed for its own networks only."""
    import timm

    return timm


class Published:
    """EfficientNet B0 to B7 by efficientnet-pytorch, as the published workflow has them."""

    description = "efficientnet-b0 to b7 (efficientnet-b3 is the default)"
    norm_after = {  # noqa: RUF012 - never changed
        "_conv_stem": "_bn0",
        "_expand_conv": "_bn0",
        "_depthwise_conv": "_bn1",
        "_project_conv": "_bn2",
        "_conv_head": "_bn1",
    }

    def has(self, model_name: str) -> bool:
        """Return whether it is one of the eight."""
        return model_name in MODEL_NAMES

    def owns(self, network: nn.Module) -> bool:
        """Return whether a network is one of efficientnet-pytorch."""
        return isinstance(network, EfficientNet)

    def describe_pictures(self, model_name: str) -> Pictures:
        """Return what pictures a network was designed for."""
        return Pictures(int(efficientnet_params(model_name)[2]))

    def find_source(self, model_name: str) -> str:
        """Return the address of the ImageNet weights."""
        return str(url_map[model_name])

    def read_pretrained(self, model_name: str, side_px: int | None) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the ImageNet weights, which are for pictures of any side."""
        return dict(
            torch.hub.load_state_dict_from_url(self.find_source(model_name), weights_only=True)
        )

    def build(self, model_name: str, labels: int, side_px: int | None) -> nn.Module:  # noqa: ARG002
        """Return a network with fresh weights."""
        network = EfficientNet.from_name(model_name, num_classes=labels)
        network.set_swish(memory_efficient=False)  # the standard one is faster, for memory
        built: nn.Module = network
        return built

    def find_head(self, network: Any) -> Any:
        """Return the last layer."""
        return network._fc

    def extract_features(self, network: Any, pictures: Tensor) -> Any:
        """Return what the backbone makes of pictures: (b, channels, rows, columns)."""
        return network.extract_features(pictures)

    def pool(self, network: Any, features: Tensor) -> Any:
        """Return the embeddings (b, width) that the head takes."""
        return network._dropout(network._avg_pooling(features).flatten(start_dim=1))


class Timm:
    """Every network of timm for colour pictures."""

    description = "a network of timm for colour pictures"
    norm_after: dict[str, str] = {}  # noqa: RUF012 - its names differ from network to network

    def has(self, model_name: str) -> bool:
        """Return whether timm has a network of this name.

        Names with an address in them (hf-hub:, local-dir:) are none: to build a network, nothing
        else is opened.
        """
        try:
            config = import_timm().is_model(model_name) and import_timm().get_pretrained_cfg(
                model_name
            )
        except RuntimeError:  # a model it has, with a tag that it has not
            return False
        return bool(config) and config.input_size[0] == 3

    def owns(self, network: nn.Module) -> bool:
        """Return whether a network has what all those of timm have."""
        return hasattr(network, "get_classifier")

    def describe_pictures(self, model_name: str) -> Pictures:
        """Return what pictures a network was designed for."""
        published = import_timm().get_pretrained_cfg(model_name)
        is_known = published.interpolation in {"nearest", "bilinear", "bicubic"}
        return Pictures(
            side_px=max(published.input_size[1:]),
            mean=tuple(published.mean),
            std=tuple(published.std),
            interpolation=published.interpolation if is_known else "bicubic",
        )

    def find_source(self, model_name: str) -> str:
        """Return where the ImageNet weights are."""
        return f"https://huggingface.co/timm ({model_name})"

    def read_pretrained(self, model_name: str, side_px: int | None) -> dict[str, Tensor]:
        """Return the ImageNet weights, fitted to pictures of a side."""
        return self._create(model_name, IMAGENET_LABELS, side_px, pretrained=True).state_dict()

    def build(self, model_name: str, labels: int, side_px: int | None) -> nn.Module:
        """Return a network with fresh weights."""
        return self._create(model_name, labels, side_px)

    def find_head(self, network: Any) -> Any:
        """Return the last layer."""
        return network.get_classifier()

    def extract_features(self, network: Any, pictures: Tensor) -> Any:
        """Return what the backbone makes of pictures: (b, channels, rows, columns) of most."""
        return network.forward_features(pictures)

    def pool(self, network: Any, features: Tensor) -> Any:
        """Return the embeddings (b, width) that the head takes."""
        return network.forward_head(features, pre_logits=True)

    def _create(
        self, model_name: str, labels: int, side_px: int | None, *, pretrained: bool = False
    ) -> nn.Module:
        """Return a network, with fresh weights or, through timm's hub, ImageNet's.

        Raises:
            OptionError: it takes no pictures of that side, or has more than one head.
        """
        has_one_side = (
            import_timm().get_pretrained_cfg(model_name).fixed_input_size
        )  # as transformers
        size: dict[str, Any] = {"img_size": side_px} if has_one_side and side_px else {}
        try:
            network: nn.Module = import_timm().create_model(
                model_name, pretrained=pretrained, num_classes=labels, **size
            )
            if side_px:
                with torch.no_grad():  # some find out only when they are given a picture
                    network.eval()(torch.zeros(1, 3, side_px, side_px))
        except SIDE_REFUSED as error:
            raise OptionError(
                f"{model_name} does not take pictures of --image-size {side_px}: {error}."
            ) from error
        if not isinstance(self.find_head(network), nn.Module):  # one of its own, one of a teacher
            raise OptionError(f"{model_name} has more than one head: choose another --model-name.")
        return network.train()
