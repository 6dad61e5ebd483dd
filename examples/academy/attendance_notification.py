#!/usr/bin/env python3
"""Tells guardians how the day's attendance went: who arrived, who was late, who is absent.

A message is first a row of ``notifications``, one for each (student, day), and is marked as sent only after the
webhook at ``ACADEMY_WEBHOOK_URL`` has accepted it. So a second run sends what is missing and nothing else. Should
the job die between the two, that one message goes out again, under the same ``Idempotency-Key``. Without a webhook
the messages are queued, none is sent, and the success line says so.
"""

import http.client
import json
import os
import sqlite3
import sys
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from erp import KST, JobError, run_job, transaction

# A webhook that accepts the connection and then says nothing must not hold up the job for ever.
WEBHOOK_TIMEOUT_SECONDS = 10.0
# An absence that the guardian has announced (`excused`) is no news to them.
KINDS = {"present": "등원", "late": "지각", "absent": "결석"}


def notify(db: sqlite3.Connection, instant: datetime) -> str:
    """Queues the day's messages and sends those that have not been sent."""
    day = instant.date().isoformat()
    queue(db, day, instant)
    unsent = db.execute(
        "SELECT n.student_id, n.day, n.kind, n.text, s.name AS student, g.name AS guardian, g.phone"
        " FROM notifications n JOIN students s ON s.id = n.student_id JOIN guardians g ON g.id = s.guardian_id"
        " WHERE n.day = ? AND n.sent_at IS NULL ORDER BY n.student_id",
        (day,),
    ).fetchall()
    url = os.environ.get("ACADEMY_WEBHOOK_URL")
    if not url:
        return f"{day} 출결 알림 {len(unsent)}건 대기 중 (ACADEMY_WEBHOOK_URL이 없어 발송하지 않음)"
    send_all(db, webhook(url), unsent)
    total = db.execute("SELECT count(*) FROM notifications WHERE day = ?", (day,)).fetchone()[0]
    earlier = f" ({total - len(unsent)}건은 이미 발송됨)" if total > len(unsent) else ""
    return f"{day} 출결 알림 {len(unsent)}건 발송 완료{earlier}"


def queue(db: sqlite3.Connection, day: str, instant: datetime) -> None:
    """Writes the day's messages anew, all but those that have been sent: attendance may have been corrected."""
    rows = db.execute(
        "SELECT a.student_id, a.status, a.arrived_at, s.name FROM attendance a"
        " JOIN students s ON s.id = a.student_id WHERE a.day = ? AND a.status <> 'excused'",
        (day,),
    ).fetchall()
    with transaction(db):
        db.execute("DELETE FROM notifications WHERE day = ? AND sent_at IS NULL", (day,))
        db.executemany(
            "INSERT INTO notifications (student_id, day, kind, text, queued_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (student_id, day) DO NOTHING",
            [(r["student_id"], day, KINDS[r["status"]], wording(r, instant), instant.isoformat()) for r in rows],
        )


def wording(row: sqlite3.Row, instant: datetime) -> str:
    """What the guardian reads."""
    day = f"{instant.month}월 {instant.day}일"
    if row["status"] == "absent":
        return f"{row['name']} 학생이 {day} 아직 등원하지 않았습니다."
    late = " (지각)" if row["status"] == "late" else ""
    return f"{row['name']} 학생이 {day} {row['arrived_at']}에 등원했습니다{late}."


def webhook(url: str) -> SplitResult:
    """The parts of the webhook's address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JobError(f"ACADEMY_WEBHOOK_URL은 http 또는 https 주소여야 합니다: {url!r}")
    return parts


def send_all(db: sqlite3.Connection, target: SplitResult, messages: list[sqlite3.Row]) -> None:
    """Sends each message and marks it. A refused one does not hold up the rest; a dead webhook ends the run."""
    refused: list[str] = []
    for sent, message in enumerate(messages):
        try:
            status = post(target, message)
        except (OSError, http.client.HTTPException) as error:
            raise JobError(
                f"{len(messages)}건 중 {sent - len(refused)}건 발송 후 웹훅 응답 없음: {error!r}"
            ) from error
        if 200 <= status < 300:
            mark_sent(db, message)
        else:
            refused.append(f"학생 {message['student_id']}: HTTP {status}")
    if refused:
        raise JobError(f"{len(messages)}건 중 {len(refused)}건을 웹훅이 거부함 ({', '.join(refused[:3])})")


def post(target: SplitResult, message: sqlite3.Row) -> int:
    """Posts one message; the status of the answer. A redirect is an answer like any other, and not followed."""
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(target.hostname), target.port, timeout=WEBHOOK_TIMEOUT_SECONDS)
    keys = ("day", "kind", "student_id", "student", "guardian", "phone", "text")
    body = json.dumps({key: message[key] for key in keys}, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": f"attendance-{message['day']}-{message['student_id']}",
    }
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def mark_sent(db: sqlite3.Connection, message: sqlite3.Row) -> None:
    """Remembers that the webhook has accepted a message."""
    db.execute(
        "UPDATE notifications SET sent_at = ? WHERE student_id = ? AND day = ?",
        (datetime.now(KST).isoformat(timespec="milliseconds"), message["student_id"], message["day"]),
    )


if __name__ == "__main__":
    sys.exit(run_job("출결 알림 발송", notify))
