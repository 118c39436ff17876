"""What can stop a command, each with a message that says what, where and what to do.

PipelineError
├── OptionError    (ValueError)         an option, or two together, make no sense     exit 2
├── InputMissing   (FileNotFoundError)  a file an earlier stage or a person provides  exit 1
├── InputInvalid   (ValueError)         a file that is there but is not what it should be
├── StorageRefused (ConnectionError)    the bucket as a whole cannot be read
├── WeightsMissing (FileNotFoundError)  pretrained weights that cannot be had here
├── TrainingDiverged (ArithmeticError)  the loss is not a number any more
├── CropsLost      (OSError)            of a label no crop can be read any more
├── ReaderLost     (ChildProcessError)  a process that reads crops was ended from outside
├── ObjectUnavailable (OSError)         one object of the bucket; always becomes a row
└── ImageUnusable  (OSError)            one image; always becomes a row, never ends a command

Stopped            (KeyboardInterrupt)  Ctrl-C or SIGTERM, answered after all was saved
"""

import signal


class PipelineError(Exception):
    """Anything a user can put right; the command line prints it and exits with 1."""

    exit_code = 1


class OptionError(PipelineError, ValueError):
    """An option, or two options together, make no sense; nothing was done."""

    exit_code = 2


class InputMissing(PipelineError, FileNotFoundError):
    """A file that an earlier stage or a person provides is not there."""


class InputInvalid(PipelineError, ValueError):
    """A file is there, but is not what it should be."""


class StorageRefused(PipelineError, ConnectionError):
    """The bucket as a whole cannot be read: credentials, name, region, network."""


class WeightsMissing(PipelineError, FileNotFoundError):
    """Pretrained weights cannot be had here; training from scratch in silence is no answer."""


class TrainingDiverged(PipelineError, ArithmeticError):
    """The loss is not a number any more; the last good state is kept."""


class CropsLost(PipelineError, OSError):
    """Of a label no crop can be read any more, in the midst of training."""


class ReaderLost(PipelineError, ChildProcessError):
    """A process that reads crops was ended from outside."""


class ObjectUnavailable(PipelineError, OSError):
    """One object of the bucket cannot be had; `state` is the ledger's word for why."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class ImageUnusable(PipelineError, OSError):
    """One image cannot be used; the message is the reason that goes into its row."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind  # what it is counted under


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM was answered where nothing is half done."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # the shell's convention
