"""Completion of commands, options and choices by the shell."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from animl_pipeline.errors import OptionError

VARIABLE = "_PIPELINE_COMPLETE"  # what click asks the program by
STARTS = {"bash": ".bashrc", "zsh": ".zshrc"}  # fish reads a folder of its own


def install_completion(command: click.Command) -> str:
    """Let the shell of this terminal complete the command, and return what was done.

    Raises:
        OptionError: the shell is none that can.
    """
    shell = Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell)
    if kind is None:
        raise OptionError(f"The shell {shell or 'of SHELL'} is not known; bash, zsh and fish are.")
    script = kind(command, {}, "pipeline", VARIABLE).source()
    home = Path.home()
    if shell == "fish":
        path = home / ".config" / "fish" / "completions" / "pipeline.fish"
    else:
        path = home / ".config" / "animl-pipeline" / f"completion.{shell}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    if shell in STARTS:
        start, line = home / STARTS[shell], f'source "{path}"'
        content = start.read_text(encoding="utf-8") if start.exists() else ""
        if line not in content:
            ending = "" if not content or content.endswith("\n") else "\n"
            start.write_text(f"{content}{ending}{line}\n", encoding="utf-8")
    return f"Completion for {shell} is in {path}. Open a new terminal to use it."
