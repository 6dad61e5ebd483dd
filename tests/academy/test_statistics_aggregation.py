"""The statistics add up to the tables they are made of."""

from support import MORNING, AcademyTest

JOB = "statistics_aggregation"


class StatisticsAggregation(AcademyTest):
    """statistics_aggregation.py"""

    def test_the_figures_are_those_of_the_tables(self) -> None:
        self.succeed("invoice_generation", MORNING)
        self.assertIn("2026-11 통계 9개 반 집계 완료", self.succeed(JOB, MORNING))
        sums = self.query(
            "SELECT sum(students), sum(present + late + absent + excused), sum(tuition), sum(invoices),"
            " sum(invoiced), sum(paid) FROM statistics WHERE month = '2026-11'"
        )
        attendance = self.query("SELECT count(*) FROM attendance WHERE day LIKE '2026-11-%'")[0][0]
        invoiced = self.query("SELECT sum(amount) FROM invoices WHERE month = '2026-11'")[0][0]
        self.assertEqual(sums, [(213, attendance, invoiced, 213, invoiced, 0)])

    def test_this_month_and_the_one_before_are_replaced(self) -> None:
        self.succeed(JOB, MORNING)
        self.change("UPDATE invoices SET paid_on = '2026-10-31' WHERE month = '2026-10'")
        self.succeed(JOB, MORNING)
        rows = self.query("SELECT month, count(*), sum(invoiced) = sum(paid) FROM statistics GROUP BY month")
        self.assertEqual(rows, [("2026-10", 9, 1), ("2026-11", 9, 1)])

    def test_a_month_without_attendance_is_no_error(self) -> None:
        self.assertIn("기록 없음", self.succeed(JOB, "2027-03-01T14:00:00+09:00"))
