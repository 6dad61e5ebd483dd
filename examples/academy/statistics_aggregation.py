#!/usr/bin/env python3
"""Aggregates attendance, tuition and invoices into ``statistics``, one row for each month and class.

This month and the one before are aggregated anew, since payments and corrections come late. Both are replaced in
one transaction: a reader sees the old figures or the new ones, and a second run leaves the same rows.
"""

import sqlite3
import sys
from datetime import datetime

from erp import month_before, month_of, run_job, transaction

AGGREGATE = """
WITH members AS (
    SELECT s.class_id, count(*) AS students, sum(t.monthly_fee * (100 - t.discount_percent) / 100) AS tuition
    FROM students s JOIN tuition t ON t.student_id = s.id WHERE s.status = 'active' GROUP BY s.class_id
), days AS (
    SELECT s.class_id, sum(a.status = 'present') AS present, sum(a.status = 'late') AS late,
           sum(a.status = 'absent') AS absent, sum(a.status = 'excused') AS excused
    FROM attendance a JOIN students s ON s.id = a.student_id
    WHERE a.day BETWEEN :month || '-01' AND :month || '-31' GROUP BY s.class_id
), bills AS (
    SELECT s.class_id, count(*) AS invoices, sum(i.amount) AS invoiced,
           sum(CASE WHEN i.paid_on IS NULL THEN 0 ELSE i.amount END) AS paid
    FROM invoices i JOIN students s ON s.id = i.student_id WHERE i.month = :month GROUP BY s.class_id
)
INSERT INTO statistics
SELECT :month, c.id, coalesce(m.students, 0),
       coalesce(d.present, 0), coalesce(d.late, 0), coalesce(d.absent, 0), coalesce(d.excused, 0),
       coalesce(m.tuition, 0), coalesce(b.invoices, 0), coalesce(b.invoiced, 0), coalesce(b.paid, 0), :instant
FROM classes c LEFT JOIN members m ON m.class_id = c.id LEFT JOIN days d ON d.class_id = c.id
LEFT JOIN bills b ON b.class_id = c.id
"""


def aggregate(db: sqlite3.Connection, instant: datetime) -> str:
    """Replaces the figures of this month and the one before."""
    month = month_of(instant)
    with transaction(db):
        for each in (month_before(month), month):
            db.execute("DELETE FROM statistics WHERE month = ?", (each,))
            db.execute(AGGREGATE, {"month": each, "instant": instant.isoformat()})
    classes, attended, recorded = db.execute(
        "SELECT count(*), sum(present + late), sum(present + late + absent + excused)"
        " FROM statistics WHERE month = ?",
        (month,),
    ).fetchone()
    rate = f"{100 * attended / recorded:.1f}%" if recorded else "기록 없음"
    return f"{month} 통계 {classes}개 반 집계 완료 (출석률 {rate})"


if __name__ == "__main__":
    sys.exit(run_job("통계 집계", aggregate))
