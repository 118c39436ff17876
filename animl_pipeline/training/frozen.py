"""Freeze all of a network but its head, or train the head alone on embeddings made once.

Of every crop there are two embeddings: as it is, and mirrored. An epoch over them takes moments,
where one over the pictures takes minutes. What is learned is the head of a whole network, saved as
any other.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from animl_pipeline.classifier import cache, networks
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import READ, Crops, make_loader
from animl_pipeline.classifier.kinds import SIDE_REFUSED
from animl_pipeline.errors import OptionError
from animl_pipeline.running.progress import progress

VIEWS = 2  # as it is, and mirrored
BATCH = 32


def set_train_mode(network: nn.Module, *, is_frozen: bool) -> None:
    """Make ready for an epoch of training: what is frozen gets no gradient and stays in eval mode.

    In eval mode a batch norm keeps its statistics, and nothing is dropped. Epoch after epoch this
    gives the same, whether the run was interrupted in between or not.
    """
    head = networks.find_head(network)
    network.requires_grad_(not is_frozen)
    head.requires_grad_(True)
    network.train(not is_frozen)
    head.train()


class Embeddings(Dataset[tuple[Tensor, int, int]]):
    """The crops of a split: (embedding (width, 1, 1), truth, what was read), as of `Crops`.

    While training (`mirrors`), either view is as likely.
    """

    def __init__(self, crops: Crops, views: Tensor, read: list[int], *, mirrors: bool) -> None:
        """`views` is (n, views, width)."""
        self.crops, self.views, self.read, self.mirrors = crops, views, read, mirrors

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        view = int(torch.randint(VIEWS, ())) if self.mirrors else 0
        return self.views[index, view, :, None, None], self.crops.truth[index], self.read[index]


class HeadOnly(nn.Module):
    """A network that is given embeddings (b, width, 1, 1) for pictures; its weights are all of it.

    So what is saved of it is the whole network.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logits (b, labels)."""
        logits: Tensor = networks.find_head(self.whole)(embeddings.flatten(start_dim=1))
        return logits

    def state_dict(self, *args: Any, **named: Any) -> Any:
        """Return that of the whole network."""
        return self.whole.state_dict(*args, **named)

    def load_state_dict(self, *args: Any, **named: Any) -> Any:
        """Load that of the whole network."""
        return self.whole.load_state_dict(*args, **named)


def measure_embedding(network: nn.Module, card: Card) -> int:
    """Return how long the embeddings of a network are.

    Raises:
        OptionError: its head takes something else, as of some networks of timm.
    """
    head, device = networks.find_head(network), next(network.parameters()).device
    picture = torch.zeros(1, 3, card.image_size, card.image_size, device=device)
    was_training = network.training
    try:
        with torch.inference_mode():
            features = networks.extract_features(network.eval(), picture)
            embedding = networks.pool(network, features)
            if embedding.ndim == 2 and head(embedding).shape == (1, len(card.labels)):
                return int(embedding.shape[1])
    except SIDE_REFUSED:
        pass
    finally:
        network.train(was_training)
    raise OptionError(
        f"--cache-embeddings is not for {card.model_name}, whose head is more than a layer on one "
        "embedding: use --freeze head."
    )


def embed_splits(
    fabric: Fabric,
    network: nn.Module,
    splits: list[Crops],
    card: Card,
    *,
    gigabytes: float,
    readers: int,
) -> list[Embeddings]:
    """Return the embeddings of train, the first of the splits, with both views; and of the others.

    The network stays as it is. What it gives is kept beside the crops, under a name that stands for
    its weights and for the crops, and taken from there the next time.
    """
    network = network.to(fabric.device).eval()
    folder, names = splits[0].folder, [name for crops in splits for name in crops.names]
    made_by = (card.model_name, card.image_size, card.interpolation, card.mean, card.std)
    precision = str(fabric.strategy.precision.precision)
    key = cache.make_key(folder, names, *made_by, precision, _hash_backbone(network))
    shape = (VIEWS, measure_embedding(network, card))
    kept = cache.open_records(folder, key, len(names), shape, "<f4", gigabytes=gigabytes)
    embeddings, first = [], 0
    for number, crops in enumerate(splits):
        views, read = _embed(fabric, network, crops, kept, first, shape=shape, readers=readers)
        embeddings.append(Embeddings(crops, views, read, mirrors=number == 0))
        first += len(crops)
    return embeddings


def _hash_backbone(network: nn.Module) -> str:
    """Return the sha256 of all weights but the head's."""
    head, digest = networks.head_names(network), hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if name not in head:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _embed(
    fabric: Fabric,
    network: nn.Module,
    crops: Crops,
    kept: cache.Records | None,
    first: int,
    *,
    shape: tuple[int, int],
    readers: int,
) -> tuple[Tensor, list[int]]:
    """Return the embeddings (n, views, width) of the crops, and what was read of each.

    `first` is the number of the first of them among those that are kept.
    """
    embeddings = np.zeros((len(crops), *shape), np.float32)
    read, missing = [READ] * len(crops), []
    for number in range(len(crops)):
        record = kept.get(first + number) if kept else None
        if record is None:
            missing.append(number)
        else:
            embeddings[number] = record
    with progress(len(missing), title="embeddings", unit="crop") as bar:
        todo = iter(missing)
        for pictures, _, states in make_loader(
            Subset(crops, missing), batch_size=BATCH, workers=readers if missing else 0
        ):
            views_of_batch = _compute_views(fabric, network, pictures)
            for views, state in zip(views_of_batch, states, strict=True):
                number = next(todo)
                embeddings[number], read[number] = views, int(state)
                if kept and state == READ:
                    kept.put(first + number, views)
            bar.update(len(pictures))
    return torch.from_numpy(embeddings), read


def _compute_views(fabric: Fabric, network: nn.Module, pictures: Tensor) -> NDArray[np.float32]:
    """Return the embeddings of pictures as they are and mirrored: (b, views, width)."""
    embeddings = []
    with fabric.autocast():
        for view in (pictures, pictures.flip(3)):
            shown = fabric.to_device(view).contiguous(memory_format=torch.channels_last)
            pooled = networks.pool(network, networks.extract_features(network, shown))
            embeddings.append(pooled.float().cpu())
    return torch.stack(embeddings, dim=1).numpy()
