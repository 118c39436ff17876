"""What a crop goes through while training."""

from torchvision.transforms import v2

from animl_pipeline import classifier


def augmentation(side: int) -> v2.Compose:
    """Return what a crop goes through while training; it keeps most of the animal.

    The old workflow's RandomResizedCrop may keep 8 % of a crop, so often no animal at all, and
    its rotations by up to 90 degrees put black corners and standing foxes into the data.
    """
    return v2.Compose([
        classifier.square_up,
        v2.RandomResizedCrop(side, scale=(0.5, 1.0), ratio=(4 / 5, 5 / 4)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25),  # light, weather, camera
        v2.RandomGrayscale(0.1),  # infrared
        *classifier.to_tensor(classifier.IMAGENET_MEAN, classifier.IMAGENET_STD),
    ])  # fmt: skip
