"""What intervals, verdicts and the temperature are worth, measured where the truth is known."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/support"))
import clustered

from animl_pipeline.classifier.predictions import Floats, Predictions
from animl_pipeline.evaluation import average_precision, calibration, intervals, metrics


def coverage(data_sets: int = 400) -> None:
    """Print the share of simulated data sets whose interval holds the true macro AP."""
    for skill in (clustered.SKILL, 4.0):  # the second so good that little is left above it
        truth = clustered.truth_of_macro(skill)
        print(f"the truth: {truth:.3f}, over {clustered.MANY:,} locations; {data_sets} data sets")
        for locations in (6, 12, 20, 30, 60):
            held: dict[str, list[bool]] = {}
            for seed in range(data_sets):
                scored = clustered.made(locations, seed=100 + seed, skill=skill)
                for name, ends in methods(scored, seed).items():
                    held.setdefault(name, []).append(ends[0] <= truth <= ends[1])
            shares = ", ".join(f"{name} {np.mean(inside):.3f}" for name, inside in held.items())
            print(f"  {locations:>3} locations: {shares}")


def methods(scored: Predictions, seed: int) -> dict[str, list[float]]:
    """Return the interval of macro average precision by each method."""
    left_out = macro(scored, intervals.leave_one_out(scored.groups))
    found = {
        "jackknife": intervals.resample_by_jackknife(left_out),
        "as evaluated": metrics.measure_split(scored)["intervals"]["macro_average_precision"],
        "on the plain scale": intervals.resample_by_jackknife(left_out, scale="plain"),
    }
    drawn = macro(scored, intervals.draw(scored.groups, seed)[:, :401])
    low, high = intervals.bound_percentiles(drawn[1:]) or (np.nan, np.nan)
    moved = drawn[0] - float(np.nanmedian(drawn[1:]))
    found |= {"bootstrap": [low, high], "moved": [low + moved, high + moved]}
    rows = [("crop", f"{row:06}") for row in range(len(scored))]
    each = Predictions.from_arrays(scored.labels, scored.probabilities, scored.truth, rows)
    found["of crops"] = intervals.bound_percentiles(
        macro(each, intervals.draw(each.groups, seed)[:, 1:201])
    )
    return {name: ends or [np.nan, np.nan] for name, ends in found.items()}


def verdicts(data_sets: int = 400) -> None:
    """Print how often two classifiers are told apart: equal ones, and one that is better."""
    for apart in (0.0, 0.8):
        sides = clustered.pair(clustered.MANY, seed=1, apart=apart)
        truth = ", ".join(f"{macro(side, np.ones((side.groups, 1)))[0]:.3f}" for side in sides)
        print(f"macro average precision {truth}; {data_sets} pairs")
        for locations in (2, 3, 4, 6, 9, 20, 60):
            told: dict[str, list[bool]] = {}
            for seed in range(data_sets):
                pair = clustered.pair(locations, seed=100 + seed, apart=apart)
                for name, ends in of_differences(*pair, seed).items():
                    told.setdefault(name, []).append(bool(ends and not ends[0] <= 0 <= ends[1]))
            shares = ", ".join(f"{name} {np.mean(of):.3f}" for name, of in told.items())
            print(f"  {locations:>3} locations: {shares}", flush=True)


def of_differences(
    this: Predictions, that: Predictions, seed: int
) -> dict[str, list[float] | None]:
    """Return the interval of the difference in each figure by each method."""
    drawn, left_out = intervals.draw(this.groups, seed), intervals.leave_one_out(this.groups)
    found: dict[str, list[float] | None] = {}
    for name, figure in (("macro AP", macro), ("accuracy", accuracy)):
        values = figure(this, drawn) - figure(that, drawn)
        jackknife = figure(this, left_out) - figure(that, left_out)
        found |= {
            f"{name}, as compared": intervals.bound_paired(values, this.groups),
            f"{name}, percentiles": intervals.bound_percentiles(values[1:]),
            f"{name}, jackknife": intervals.resample_by_jackknife(jackknife, scale="plain"),
        }
    return found


def calibrate(data_sets: int = 400) -> None:
    """Print the mean change of the log loss at other locations, and how often it is for worse."""
    many = clustered.made(clustered.MANY, seed=1)
    right = calibration.find_least_loss(many)  # of a classifier that is as sure as it may be
    ways = {"least loss": calibration.find_least_loss, "drawn to 1": calibration.fit_temperature}
    for sure in (1.0, 1.25, 1.5, 2.0):
        others = too_sure(many.select(np.arange(20_000)), sure / right)
        for locations in (5, 10, 20):
            changes: dict[str, list[float]] = {name: [] for name in ways}
            for seed in range(data_sets):
                few = too_sure(clustered.made(locations, seed=100 + seed), sure / right)
                for name, fit in ways.items():
                    soft = calibration.soften(others.probabilities, fit(few))
                    after = Predictions.from_arrays(
                        others.labels, soft, others.truth, others.locations
                    )
                    change = metrics.compute_row_log_losses(after) - metrics.compute_row_log_losses(
                        others
                    )
                    changes[name].append(float(change.mean()))
            words = ", ".join(
                f"{name} {np.mean(of):+.4f} (worse in {np.mean(np.array(of) > 1e-6):.0%})"
                for name, of in changes.items()
            )
            print(f"  {sure:.2f} times too sure, {locations:>2} locations: {words}")


def too_sure(scored: Predictions, times: float) -> Predictions:
    """Return the same with logits so many times as large."""
    soft = calibration.soften(scored.probabilities, 1 / times)
    return Predictions.from_arrays(scored.labels, soft, scored.truth, scored.locations)


def macro(scored: Predictions, weights: Floats) -> Floats:
    """Return macro average precision under each weighting."""
    return average_precision.average_known(average_precision.compute_label_aps(scored, weights))


def accuracy(scored: Predictions, weights: Floats) -> Floats:
    """Return accuracy under each weighting."""
    right = np.bincount(scored.group, scored.right, scored.groups)
    return np.asarray(right @ weights / (np.bincount(scored.group) @ weights))
