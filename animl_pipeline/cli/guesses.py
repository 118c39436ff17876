"""What to say to a word that is no command."""

import difflib

CUTOFF = 0.75  # of likeness: `spilt` is split, `list` is not
GUESSES = (
    (("classify", "infer", "inference", "identify", "run-model"),
     "`pipeline predict` says what is in a folder of new images"),
    (("export", "deploy", "serve", "onnx", "publish"),
     "A run cannot be turned into another program's form yet; its folder, runs/<name>, holds "
     "model.safetensors and model.json"),
    (("list", "ls", "runs", "status", "leaderboard", "compare"),
     "Runs are the folders in runs/; `pipeline evaluate --compare` sets one beside another"),
    (("tune", "sweep"), "A search over options is not here yet; `pipeline train` takes each"),
    (("init", "new"), "`pipeline run --help` shows a project file to begin with"),
    (("test", "score", "report", "metrics"), "`pipeline evaluate` scores a run"),
    (("fit", "learn"), "`pipeline train` trains"),
    (("fetch", "sync"), "`pipeline download` fetches the images"),
    (("validate", "lint", "verify"), "`pipeline check` looks at a COCO file"),
    (("megadetector", "md"), "`pipeline detect` runs MegaDetector"),
)  # fmt: skip


def suggest(word: str, names: list[str]) -> str:
    """Return what to say of a word that is no command.

    >>> suggest("spilt", ["split", "run"])
    "There is no command 'spilt'. Did you mean split?"
    """
    for words, answer in GUESSES:
        if word.lower() in words:
            return f"There is no command {word!r}. {answer}."
    near = difflib.get_close_matches(word, names, n=1, cutoff=CUTOFF)
    hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}."
    return f"There is no command {word!r}. {hint}"
