"""Figures as SVG with the same bytes whenever the same is drawn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def drawing() -> "Iterator[tuple[Figure, Callable[[], str]]]":
    """Draw a figure in the block.

    Yields:
        The empty figure, and a function that gives it as SVG.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Without these two, ids are random and text is drawn as outlines.
    with rc_context({"svg.hashsalt": "loragrid", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasSVG(figure)

        def finished() -> str:
            out = StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
            return out.getvalue()

        yield figure, finished
