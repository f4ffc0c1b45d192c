"""From scores to comparisons: intervals, p-values, verdicts, effects of the grid's axes, and how biased a pick is."""
