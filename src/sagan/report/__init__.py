"""One self-contained HTML page about a run, for reading and for sending to somebody."""

from sagan.report.page import write_report

__all__ = ["write_report"]
