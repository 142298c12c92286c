"""Documents of Intel that cannot be read."""

from __future__ import annotations

import pytest
from tests.support.tdx_quotes import collateral, judge, levels

from haulout.emulator.tdx import COMPONENTS
from haulout.errors import InvalidEvidence

DOCUMENTS = {
    "tcb_info": [
        ("id", "SGX"),
        ("version", 2),
        ("version", "3"),
        ("issueDate", "yesterday"),
        ("issueDate", 7),
        ("nextUpdate", "2026-06-01"),
        ("fmspc", "90C06F"),
        ("fmspc", "90C06F00000G"),
        ("pceId", None),
        ("tcbEvaluationDataNumber", True),
        ("tcbEvaluationDataNumber", -1),
        ("tdxModule", []),
        ("tdxModule", {}),
        ("tdxModuleIdentities", {}),
        ("tdxModuleIdentities", [1]),
        ("tcbLevels", []),
        ("tcbLevels", [{}]),
        ("tcbLevels", levels((COMPONENTS[:15], 13, (0,) * 16, "UpToDate"))),
        ("tcbLevels", levels(((256,) * 16, 13, (0,) * 16, "UpToDate"))),
        ("tcbLevels", levels((COMPONENTS, 13, (0,) * 16, "Fine"))),
        ("tcbLevels", levels((COMPONENTS, 13, (0,) * 16, "UpToDate")) * 257),
    ],
    "qe_identity": [
        ("id", "QE"),
        ("version", 1),
        ("miscselect", "0"),
        ("miscselectMask", None),
        ("attributes", "00" * 15),
        ("attributesMask", "zz" * 16),
        ("mrsigner", ""),
        ("isvprodid", "2"),
        ("tcbLevels", None),
    ],
}


@pytest.mark.parametrize(
    ("document", "name", "value"), [(document, *case) for document, cases in DOCUMENTS.items() for case in cases]
)
def test_documents_that_cannot_be_read(document, name, value):
    which = "info" if document == "tcb_info" else "identity"
    with pytest.raises(InvalidEvidence) as caught:
        judge(collateral=collateral(**{which: {name: value}}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
