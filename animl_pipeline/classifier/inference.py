"""A trained network as it answers: the bytes of pictures in, logits and features out."""

import torch
from torch import Tensor, nn

from animl_pipeline.classifier import networks
from animl_pipeline.classifier.card import Card

BYTE_MAX = 255


class Inference(nn.Module):
    """A network that normalises what it is given, and also says what its head saw.

    It takes what `Transform.prepare` gives, bytes (b, 3, side, side), and returns logits
    (b, labels) and features (b, width). It does the arithmetic of `Transform.finish` and of the
    network, in their order, so that its logits are those of `predict_rows`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = networks.fold_batch_norms(network)
        self.register_buffer("mean", torch.tensor(card.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(3, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (b, labels) and features (b, width)."""
        shown = pictures.float().div(BYTE_MAX).sub(self.mean).div(self.std)
        shown = shown.contiguous(memory_format=torch.channels_last)
        features = networks.pool(self.network, networks.extract_features(self.network, shown))
        return networks.find_head(self.network)(features), features
