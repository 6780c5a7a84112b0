"""Reports as PDF."""

import pytest

from lhc.errors import MissingDependencyError
from lhc.report.document.report import Report
from lhc.report.exports.formats import pdf
from tests.report.chromium import MISSING, chromium


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason=MISSING)
def test_a_browser_prints_the_page(full: Report) -> None:
    printed = pdf(full)
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 10_000


def test_without_a_browser_the_message_says_what_to_do(full: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.report.exports.formats.shutil.which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"none of chromium.* write \.html and print that"):
        pdf(full)


def test_a_browser_that_prints_nothing_is_told(full: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.report.exports.formats.shutil.which", lambda name: "/bin/true")
    with pytest.raises(MissingDependencyError, match="/bin/true did not print"):
        pdf(full)
