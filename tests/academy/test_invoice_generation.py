"""Every active student gets the month's invoice, and none gets it twice."""

import signal
import socket

from support import ACADEMY, DEMO, MORNING, AcademyTest, end

JOB = "invoice_generation"
FIRST = "[SUCCESS] 213건 청구서 발행 완료"


class InvoiceGeneration(AcademyTest):
    """invoice_generation.py"""

    def test_a_second_run_issues_nothing(self) -> None:
        self.assertEqual(self.succeed(JOB, MORNING), FIRST)
        rows, files = self.invoices(), self.files()
        self.assertEqual(len(rows), 213)
        self.assertEqual(len(files), 213)
        self.assertEqual(self.succeed(JOB, MORNING), f"{FIRST} (새로 발행 0건, 메일 0건)")
        self.assertEqual((self.invoices(), self.files()), (rows, files))

    def test_the_next_month_is_issued_anew(self) -> None:
        self.succeed(JOB, MORNING)
        self.assertEqual(self.succeed(JOB, "2026-12-01T10:00:00+09:00"), FIRST)
        months = self.query("SELECT month, count(*) FROM invoices GROUP BY month ORDER BY month DESC LIMIT 2")
        self.assertEqual(months, [("2026-12", 213), ("2026-11", 213)])

    def test_missing_rows_and_files_are_made_and_the_others_left_alone(self) -> None:
        self.succeed(JOB, MORNING)
        files = self.files()
        lost, kept = sorted(files)[:2]
        (self.folder / "invoices" / "2026-11" / lost).unlink()
        (self.folder / "invoices" / "2026-11" / kept).write_text("as the guardian has seen it")
        self.change("DELETE FROM invoices WHERE number = ?", sorted(files)[2].removesuffix(".html"))
        self.assertIn("새로 발행 1건", self.succeed(JOB, MORNING))
        self.assertEqual(self.files(), files | {kept: b"as the guardian has seen it"})

    def test_a_page_says_what_the_row_says_and_escapes_names(self) -> None:
        self.change("UPDATE students SET name = '<b>김&이</b>' WHERE id = 1")
        self.succeed(JOB, MORNING)
        amount = self.query("SELECT amount FROM invoices WHERE number = '202611-0001'")[0][0]
        page = self.files()["202611-0001.html"].decode()
        self.assertIn(f"<strong>{amount:,}원</strong>", page)
        self.assertIn("&lt;b&gt;김&amp;이&lt;/b&gt;", page)

    def test_mails_are_sent_once(self) -> None:
        server, port = self.server("mail_hole.py", "--answer")
        address = {"ACADEMY_SMTP": f"127.0.0.1:{port}"}
        self.assertEqual(self.succeed(JOB, MORNING, **address), FIRST)
        self.assertIn("메일 0건", self.succeed(JOB, MORNING, **address))
        mails = [line for line in end(server, signal.SIGTERM).splitlines() if line.startswith("mail accepted")]
        self.assertEqual((len(mails), len(set(mails))), (213, 213))

    def test_it_hangs_at_a_silent_mail_server_and_the_next_run_completes_it(self) -> None:
        hole, port = self.server("mail_hole.py")
        job = self.start(ACADEMY / f"{JOB}.py", ACADEMY_SMTP=f"127.0.0.1:{port}")
        assert hole.stdout is not None
        self.assertEqual(hole.stdout.readline(), "connection accepted\n")
        # It has done all it could without the server, and would now wait for ever.
        self.assertEqual((len(self.invoices()), len(self.files())), (213, 213))
        self.assertIsNone(job.poll())
        printed = end(job, signal.SIGTERM)
        self.assertEqual(job.returncode, -signal.SIGTERM)
        self.assertNotIn("[SUCCESS]", printed)
        self.assertEqual(hole.stdout.readline(), "connection closed by the client\n")
        end(hole, signal.SIGTERM)

        server, port = self.server("mail_hole.py", "--port", str(port), "--answer")
        last = self.succeed(JOB, MORNING, ACADEMY_SMTP=f"127.0.0.1:{port}")
        self.assertEqual(last, f"{FIRST} (새로 발행 0건, 메일 213건)")
        self.assertEqual((len(self.invoices()), len(self.files())), (213, 213))
        self.assertEqual(end(server, signal.SIGTERM).count("mail accepted"), 213)

    def test_a_mail_server_that_is_not_there_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for address in (f"127.0.0.1:{port}", "nonsense", "host:port"):
            with self.subTest(address):
                self.fail_with(JOB, MORNING, ACADEMY_SMTP=address)

    def invoices(self) -> list[tuple[object, ...]]:
        """The month's rows."""
        return self.query("SELECT id, number, student_id, amount, issued_at FROM invoices WHERE month = '2026-11'")

    def files(self) -> dict[str, bytes]:
        """The month's files, and whatever else lies beside them."""
        return {path.name: path.read_bytes() for path in (self.folder / "invoices" / "2026-11").iterdir()}


class DemoServers(AcademyTest):
    """The demo's servers end when they are told to."""

    def test_they_end_with_0_on_sigterm_also_with_an_open_connection(self) -> None:
        for script, arguments in (("mail_hole.py", ()), ("webhook.py", (self.folder / "log",))):
            with self.subTest(script):
                self.assertTrue((DEMO / script).exists())
                server, port = self.server(script, *arguments)
                with socket.create_connection(("127.0.0.1", port)):
                    end(server, signal.SIGTERM)
                self.assertEqual(server.returncode, 0)
