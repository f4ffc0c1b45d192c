"""From scores to tables, figures and pages that say what chance explains."""
