"""What stops a command becomes a message and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from animl_pipeline.errors import PipelineError, Stopped
from animl_pipeline.running import progress

EXIT_TOO_MANY_FAILED = 3
EXIT_INTERRUPTED = 130  # the shell's own convention: 128 + SIGINT


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn what stops a command into a message on stderr and an exit code, never a traceback."""
    try:
        yield
    except PipelineError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        progress.complain("Stopped. Run the same command again: it goes on where it stopped.")
        code = error.exit_code if isinstance(error, Stopped) else EXIT_INTERRUPTED
        raise click.exceptions.Exit(code) from error
    except OSError as error:  # the disk is full, a folder is not ours to write to
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror}. Fix that and run the same command again.")


def fail(message: str, code: int = PipelineError.exit_code) -> NoReturn:
    """Print a message and end with a code."""
    progress.complain(f"Error: {message}")
    raise click.exceptions.Exit(code)
