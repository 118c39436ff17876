"""Train a head on what a frozen backbone says of each crop, which is worked out only once.

Of every crop there are two embeddings: as it is, and mirrored. An epoch over them takes moments,
where one over the pictures takes minutes; what is learned is the head of a whole network, saved as
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
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.crops import READ, Crops, loader
from animl_pipeline.classifier.kinds import SIDE_REFUSED
from animl_pipeline.errors import OptionError
from animl_pipeline.running.progress import progress

VIEWS = 2  # as it is, and mirrored
BATCH = 32


class Embeddings(Dataset[tuple[Tensor, int, int]]):
    """The crops of a split: (embedding (width, 1, 1), truth, what was read), as of `Crops`.

    While training, either view is as likely.
    """

    def __init__(self, crops: Crops, found: Tensor, read: list[int], *, mirrors: bool) -> None:
        """`found` is (n, views, width)."""
        self.crops, self.found, self.read, self.mirrors = crops, found, read, mirrors
        self.folder, self.names = crops.folder, crops.names

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        view = int(torch.randint(VIEWS, ())) if self.mirrors else 0
        return self.found[index, view, :, None, None], self.crops.truth[index], self.read[index]


class OnEmbeddings(nn.Module):
    """A network that is given embeddings (b, width, 1, 1) for pictures; its weights are all of it.

    So what is saved of it is the whole network.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, found: Tensor) -> Tensor:
        """Return the logits (b, labels)."""
        logits: Tensor = networks.head_of(self.whole)(found.flatten(start_dim=1))
        return logits

    def state_dict(self, *args: Any, **named: Any) -> Any:
        """Return that of the whole network."""
        return self.whole.state_dict(*args, **named)

    def load_state_dict(self, *args: Any, **named: Any) -> Any:
        """Load that of the whole network."""
        return self.whole.load_state_dict(*args, **named)


def of_parts(
    fabric: Fabric,
    network: nn.Module,
    parts: list[Crops],
    card: classifier.Card,
    *,
    gigabytes: float,
    readers: int,
) -> list[Embeddings]:
    """Return the embeddings of train, of both views, and of the other parts.

    The network stays as it is. What it says is kept beside the crops, under a name that stands for
    its weights and for the crops, and taken from there the next time.
    """
    network = network.to(fabric.device).eval()
    folder, names = parts[0].folder, [name for part in parts for name in part.names]
    made_by = (card.model_name, card.image_size, card.interpolation, card.mean, card.std)
    precision = str(fabric.strategy.precision.precision)
    key = cache.key_of(folder, names, *made_by, precision, _digest(network))
    width = _width(network, card)
    kept = cache.opened(folder, key, len(names), (VIEWS, width), "<f4", gigabytes=gigabytes)
    found, first = [], 0
    for number, part in enumerate(parts):
        rows, read = _embed(fabric, network, part, kept, first, width=width, readers=readers)
        found.append(Embeddings(part, rows, read, mirrors=number == 0))
        first += len(part)
    return found


def _width(network: nn.Module, card: classifier.Card) -> int:
    """Return how long its embeddings are.

    Raises:
        OptionError: its head takes something else, as of some networks of timm.
    """
    head, device = networks.head_of(network), next(network.parameters()).device
    picture = torch.zeros(1, 3, card.image_size, card.image_size, device=device)
    try:
        with torch.inference_mode():
            found = networks.pool(network, networks.extract_features(network, picture))
            if found.ndim == 2 and head(found).shape == (1, len(card.labels)):
                return int(found.shape[1])
    except SIDE_REFUSED:
        pass
    raise OptionError(
        f"--cache-embeddings is not for {card.model_name}, whose head is more than a layer on one "
        "embedding: use --freeze head."
    )


def _digest(network: nn.Module) -> str:
    """Return the sha256 of all weights but the head's."""
    head, found = networks.head_names(network), hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if name not in head:
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


@torch.inference_mode()
def _embed(
    fabric: Fabric,
    network: nn.Module,
    crops: Crops,
    kept: cache.Records | None,
    first: int,
    *,
    width: int,
    readers: int,
) -> tuple[Tensor, list[int]]:
    """Return the embeddings (n, views, width) of the crops, and what was read of each.

    `first` is the number of the first of them among those that are kept.
    """
    found = np.zeros((len(crops), VIEWS, width), np.float32)
    read, missing = [READ] * len(crops), []
    for number in range(len(crops)):
        known = kept.get(first + number) if kept else None
        if known is None:
            missing.append(number)
        else:
            found[number] = known
    with progress(len(missing), title="embeddings", unit="crop") as bar:
        todo = iter(missing)
        for pictures, _, states in loader(
            Subset(crops, missing), batch_size=BATCH, workers=readers if missing else 0
        ):
            for views, state in zip(_views(fabric, network, pictures), states, strict=True):
                number = next(todo)
                found[number], read[number] = views, int(state)
                if kept and state == READ:
                    kept.put(first + number, views)
            bar.update(len(pictures))
    return torch.from_numpy(found), read


def _views(fabric: Fabric, network: nn.Module, pictures: Tensor) -> NDArray[np.float32]:
    """Return the embeddings of pictures as they are and mirrored: (b, views, width)."""
    found = []
    with fabric.autocast():
        for view in (pictures, pictures.flip(3)):
            seen = fabric.to_device(view).contiguous(memory_format=torch.channels_last)
            pooled = networks.pool(network, networks.extract_features(network, seen))
            found.append(pooled.float().cpu())
    return torch.stack(found, dim=1).numpy()
