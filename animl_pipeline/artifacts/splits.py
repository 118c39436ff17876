"""The names of the splits: what crops are trained on, and what they are judged by."""

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
SEEN_TEST = "seen_test"  # whole sequences of training locations: what to expect at known ones
ALL_SPLITS = (*SPLITS, SEEN_TEST)
