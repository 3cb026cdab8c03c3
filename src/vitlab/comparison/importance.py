"""Which setting mattered: functional ANOVA (Hutter et al. 2014) on a random forest, by Optuna."""

from vitlab.comparison.entries import Comparison, comparable

MIN_RUNS = 10
"""With fewer completed runs any number would be an accident."""


def importance(comparison: Comparison) -> dict[str, float] | str:
    """Returns each varied setting's share, the greatest first; or a text that says why there is none."""
    runs = [entry for entry in comparison.entries if comparison.reached(entry) is not None]
    keys = comparison.parameters
    columns = {key: [comparable(comparison.value(entry, key)) for entry in runs] for key in keys}
    columns = {key: values for key, values in columns.items() if len(set(values)) > 1}
    if len(runs) < MIN_RUNS or not columns:
        what = f"{MIN_RUNS} completed runs or more that differ in more than their seed"
        return f"no importance: it takes {what}"
    try:
        import optuna
        import sklearn  # noqa: F401  Optuna asks for it only when it computes
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    except ModuleNotFoundError:
        return 'no importance: pip install "vitlab[optuna]" brings what computes it'

    def distribution(values: list[float | str]) -> BaseDistribution:
        numbers = [value for value in values if isinstance(value, float)]
        if len(numbers) < len(values):
            return CategoricalDistribution(sorted({str(value) for value in values}))
        low, high = min(numbers), max(numbers)
        return FloatDistribution(low, high, log=low > 0 and high / low > 20)

    space = {key: distribution(values) for key, values in columns.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if comparison.direction == "maximize" else "minimize")
    for index, entry in enumerate(runs):
        row = {key: values[index] for key, values in columns.items()}
        given = {
            key: str(value) if isinstance(space[key], CategoricalDistribution) else value
            for key, value in row.items()
        }
        reached = comparison.reached(entry)
        study.add_trial(optuna.create_trial(params=given, distributions=space, value=reached))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
