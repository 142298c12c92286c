"""Write the documentation of the library: ``python tools/build_api.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc
import pdoc.render

import haulout


def main(folder: Path) -> None:
    for name in haulout.__all__:
        # pdoc looks at what a module holds; a face holds a name once it was asked for.
        getattr(haulout, name)
    pdoc.render.configure(docformat="google", footer_text=f"haulout {haulout.__version__}")
    pdoc.pdoc("haulout", "!haulout.", output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
