"""Any metric of texts as an `evaluate.Metric`, for notebooks and Trainers; without the hub."""

from typing import Any

from loragrid.errors import UserError
from loragrid.metrics.base import MetricOptions, TextMetric, Texts, values_of


def adapter(name: str, metric: TextMetric, options: MetricOptions) -> Any:
    """An `evaluate.Metric` over `predictions` and `references`, texts each.

    Args:
        name: of the metric.
        metric: its module.
        options: its settings.
    """
    import datasets
    import evaluate

    class Adapter(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            text = datasets.Value("string")
            return evaluate.MetricInfo(
                description=metric.TITLE,
                citation="",
                inputs_description="predictions and references: texts",
                features=datasets.Features({"predictions": text, "references": text}),
            )

        def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
            if not predictions:
                raise UserError(f"{name}: no predictions, so there is nothing to score")
            texts = Texts(predictions, references)
            return values_of(metric, texts, options, metric.items(texts, options))

    # In memory: its files would be of the Arrow cache of every process that computes something.
    return Adapter(config_name=name, keep_in_memory=True)
