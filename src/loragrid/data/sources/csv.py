"""A user's own CSV: a header, then a row each, fields in quotation marks where they need it, also compressed."""

from pydantic import Field

from loragrid.data.own import OwnFiles, OwnOptions


class Options(OwnOptions, extra="forbid", frozen=True):
    """How rows are laid out."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="What stands between fields; by default `,`, in .tsv a tab."
    )


SOURCE = OwnFiles((".csv", ".tsv"), Options)
