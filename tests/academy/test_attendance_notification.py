"""Every guardian is told, and none is told twice."""

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any

from support import MORNING, AcademyTest

JOB = "attendance_notification"
NEXT_MORNING = "2026-11-24T09:00:00+09:00"
DUE = "SELECT count(*) FROM attendance WHERE day = '2026-11-23' AND status <> 'excused'"


class AttendanceNotification(AcademyTest):
    """attendance_notification.py"""

    def test_each_guardian_is_told_once_however_often_it_runs(self) -> None:
        url, received = self.webhook()
        due = self.query(DUE)[0][0]
        self.assertIn(f"{due}건 발송 완료", self.succeed(JOB, MORNING, ACADEMY_WEBHOOK_URL=url))
        self.assertIn(f"0건 발송 완료 ({due}건은", self.succeed(JOB, MORNING, ACADEMY_WEBHOOK_URL=url))
        bodies = [json.loads(entry["body"]) for entry in received()]
        self.assertEqual(len(bodies), due)
        self.assertEqual(len({body["student_id"] for body in bodies}), due)
        self.assertEqual({body["day"] for body in bodies}, {"2026-11-23"})
        self.assertEqual(self.query("SELECT count(*) FROM notifications WHERE sent_at IS NULL"), [(0,)])

    def test_the_next_day_is_another_matter(self) -> None:
        url, received = self.webhook()
        self.change("INSERT INTO attendance SELECT student_id, '2026-11-24', status, arrived_at"
                    " FROM attendance WHERE day = '2026-11-23' LIMIT 10")  # fmt: skip
        self.succeed(JOB, MORNING, ACADEMY_WEBHOOK_URL=url)
        before = len(received())
        self.succeed(JOB, NEXT_MORNING, ACADEMY_WEBHOOK_URL=url)
        self.assertEqual({json.loads(entry["body"])["day"] for entry in received()[before:]}, {"2026-11-24"})

    def test_without_a_webhook_nothing_is_said_to_be_sent(self) -> None:
        due = self.query(DUE)[0][0]
        last = self.succeed(JOB, MORNING)
        self.assertIn(f"{due}건 대기 중", last)
        self.assertIn("발송하지 않음", last)
        self.assertEqual(self.query("SELECT count(*) FROM notifications WHERE sent_at IS NOT NULL"), [(0,)])

    def test_what_is_queued_follows_a_correction_and_what_is_sent_does_not(self) -> None:
        self.succeed(JOB, MORNING)
        student = self.query("SELECT student_id FROM notifications WHERE kind = '등원' LIMIT 1")[0][0]
        absent = (
            "UPDATE attendance SET status = 'absent', arrived_at = NULL WHERE student_id = ? AND day = '2026-11-23'"
        )
        self.change(absent, student)
        url, received = self.webhook()
        self.succeed(JOB, MORNING, ACADEMY_WEBHOOK_URL=url)
        told = [json.loads(entry["body"]) for entry in received()]
        self.assertEqual([body["kind"] for body in told if body["student_id"] == student], ["결석"])

    def test_after_a_failure_only_what_is_missing_is_sent(self) -> None:
        due = self.query(DUE)[0][0]
        accepted: list[int] = []
        # Accepts five, then fails as a server does that is being restarted.
        failing = self.responder(accepted, lambda count: 200 if count <= 5 else 503)
        self.assertIn("거부", self.fail_with(JOB, MORNING, ACADEMY_WEBHOOK_URL=failing))
        self.assertEqual(len(accepted), 5)
        url, received = self.webhook()
        self.succeed(JOB, MORNING, ACADEMY_WEBHOOK_URL=url)
        later = [json.loads(entry["body"])["student_id"] for entry in received()]
        self.assertEqual(len(later), due - 5)
        self.assertEqual(set(later) & set(accepted), set())

    def test_a_redirect_is_not_acceptance(self) -> None:
        moved = self.responder([], lambda _: 302)
        self.assertIn("HTTP 302", self.fail_with(JOB, MORNING, ACADEMY_WEBHOOK_URL=moved))
        self.assertEqual(self.query("SELECT count(*) FROM notifications WHERE sent_at IS NOT NULL"), [(0,)])

    def test_a_dead_webhook_or_a_wrong_address_is_an_error(self) -> None:
        for url in ("http://127.0.0.1:1/x", "ftp://example.com/", "no address"):
            with self.subTest(url):
                self.fail_with(JOB, MORNING, ACADEMY_WEBHOOK_URL=url)

    def responder(self, accepted: list[int], status: Callable[[int], int]) -> str:
        """A webhook that answers its n-th request with ``status(n)``; notes the students of those accepted."""
        count = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                nonlocal count
                count += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = status(count)
                if answer == 200:
                    accepted.append(body["student_id"])
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/"
