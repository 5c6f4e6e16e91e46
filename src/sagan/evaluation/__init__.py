"""Numbers that can be compared: pictures -> features -> records."""

from sagan.evaluation.record import Record, comparison, read_record, summary, write_record

__all__ = ["Record", "comparison", "read_record", "summary", "write_record"]
