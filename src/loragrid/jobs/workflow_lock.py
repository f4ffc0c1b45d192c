"""Snakemake's lock of a folder, which only who has it takes away.

Snakemake 9.27 locks the files of each start, so that two starts with other files go side by side; but the first of them
that ends removes the locks of all (persistence/file.py, `_delete_locks`). So `snakemake -c1 tables` would unlock the
folder of a workflow that runs, and a second one would be let in.
"""

import contextlib
from pathlib import Path

from snakemake.persistence.file import FilePersistence


def keep_locks_of_others() -> None:
    """Let the end of a start remove its own locks; `--unlock` removes all, as it should."""
    if FilePersistence._delete_locks is _delete_own:
        return
    FilePersistence.cleanup_locks = FilePersistence._delete_locks
    FilePersistence._delete_locks = _delete_own


def _delete_own(persistence: FilePersistence) -> None:
    for file in persistence._lockfile.values():
        with contextlib.suppress(FileNotFoundError):
            Path(file).unlink()
    persistence._lockfile.clear()
