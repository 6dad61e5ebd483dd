#!/usr/bin/env python3
"""Issues the month's invoices: a row and an HTML file for every active student, then a mail to the guardian.

An invoice is unique by (student, month) in the database; its file is written when it is missing, and its mail is
marked as sent after the mail server has accepted it. So a second run completes what the first left undone. Should
the job die between the server's answer and the mark, that one mail goes out again, under the same ``Message-ID``.
Mail is sent only where ``ACADEMY_SMTP`` (``host:port``) names a server; files go to ``ACADEMY_INVOICE_DIR``.
"""

import html
import os
import smtplib
import sqlite3
import sys
from datetime import datetime
from email.mime.text import MIMEText
from pathlib import Path
from string import Template

from erp import KST, JobError, folder, month_of, run_job, sync_folder, transaction, write_atomically

SENDER = "billing@academy.example"
PAGE = Template("""<!DOCTYPE html>
<html lang="ko">
<head>
<meta charset="utf-8">
<title>청구서 $number</title>
<style>
body { font-family: sans-serif; max-width: 40em; margin: 3em auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #999; padding: 0.5em; text-align: left; }
td.money { text-align: right; }
</style>
</head>
<body>
<h1>$month 수강료 청구서</h1>
<p>$guardian 보호자님께</p>
<table>
<tr><th>청구 번호</th><td>$number</td></tr>
<tr><th>학생</th><td>$student</td></tr>
<tr><th>반</th><td>$class_name (담임 $teacher)</td></tr>
<tr><th>월 수강료</th><td class="money">$fee원</td></tr>
<tr><th>할인</th><td class="money">$discount원</td></tr>
<tr><th>청구 금액</th><td class="money"><strong>$amount원</strong></td></tr>
</table>
<p>발행일: $issued_on</p>
</body>
</html>
""")


def issue(db: sqlite3.Connection, instant: datetime) -> str:
    """Rows, then files, then mails; each step does only what is still missing."""
    month = month_of(instant)
    added = add_rows(db, month, instant)
    invoices = invoices_of(db, month)
    write_files(folder(db, "ACADEMY_INVOICE_DIR", "invoices") / month, invoices)
    print(f"{month} 청구서 {len(invoices)}건 준비 완료 (새로 {added}건)", flush=True)
    mailed = send_mails(db, [row for row in invoices if row["emailed_at"] is None])
    repeated = f" (새로 발행 {added}건, 메일 {mailed}건)" if added < len(invoices) else ""
    return f"{len(invoices)}건 청구서 발행 완료{repeated}"


def add_rows(db: sqlite3.Connection, month: str, instant: datetime) -> int:
    """Adds an invoice for every active student who has none for the month; how many were added."""
    with transaction(db):
        return db.execute(
            "INSERT INTO invoices (number, student_id, month, amount, issued_at)"
            " SELECT printf('%s-%04d', replace(:month, '-', ''), s.id), s.id, :month,"
            "        t.monthly_fee * (100 - t.discount_percent) / 100, :issued_at"
            " FROM students s JOIN tuition t ON t.student_id = s.id WHERE s.status = 'active' ORDER BY s.id"
            " ON CONFLICT (student_id, month) DO NOTHING",
            {"month": month, "issued_at": instant.isoformat(timespec="seconds")},
        ).rowcount


def invoices_of(db: sqlite3.Connection, month: str) -> list[sqlite3.Row]:
    """The month's invoices with all that their pages say."""
    return db.execute(
        "SELECT i.id, i.number, i.month, i.amount, i.issued_at, i.emailed_at, s.name AS student,"
        "       g.name AS guardian, g.email, c.name AS class_name, c.teacher, t.monthly_fee AS fee"
        " FROM invoices i JOIN students s ON s.id = i.student_id JOIN guardians g ON g.id = s.guardian_id"
        " JOIN classes c ON c.id = s.class_id JOIN tuition t ON t.student_id = s.id"
        " WHERE i.month = ? ORDER BY i.number",
        (month,),
    ).fetchall()


def write_files(target: Path, invoices: list[sqlite3.Row]) -> None:
    """Writes the files that are missing. One that exists is left as the guardian has seen it."""
    target.mkdir(parents=True, exist_ok=True)
    for invoice in invoices:
        path = target / f"{invoice['number']}.html"
        if not path.exists():
            write_atomically(path, page(invoice).encode())
    sync_folder(target)


def page(invoice: sqlite3.Row) -> str:
    """The invoice as HTML. It knows no clock, so that a page made by a second run is the page of the first."""
    year, month = invoice["month"].split("-")
    words = {key: html.escape(invoice[key]) for key in ("number", "student", "guardian", "class_name", "teacher")}
    return PAGE.substitute(
        words,
        month=f"{year}년 {int(month)}월",
        fee=f"{invoice['fee']:,}",
        discount=f"{invoice['amount'] - invoice['fee']:,}",
        amount=f"{invoice['amount']:,}",
        issued_on=invoice["issued_at"][:10],
    )


def send_mails(db: sqlite3.Connection, invoices: list[sqlite3.Row]) -> int:
    """Mails the invoices, where there is a mail server to do it; how many were accepted."""
    address = os.environ.get("ACADEMY_SMTP")
    if not address or not invoices:
        return 0
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise JobError(f"ACADEMY_SMTP는 host:port 형식이어야 합니다: {address!r}")
    print(f"청구서 메일 {len(invoices)}건 발송 시작 ({address})", flush=True)
    refused: list[str] = []
    # No timeout, on purpose. This is the job whose mail server accepted the connection one night and never said a
    # word: it hung until someone looked. smtplib waits for ever unless it is told not to, and a program that
    # forgets to tell it is why jobd gives every run a time limit.
    with smtplib.SMTP(host, int(port), local_hostname="localhost") as server:
        for invoice in invoices:
            try:
                server.send_message(mail(invoice))
            except smtplib.SMTPRecipientsRefused:
                refused.append(invoice["number"])
                continue
            mark_mailed(db, invoice)
    if refused:
        raise JobError(f"메일 {len(refused)}건을 서버가 거부함 ({', '.join(refused[:3])})")
    return len(invoices)


def mail(invoice: sqlite3.Row) -> MIMEText:
    """The mail to the guardian: the page."""
    message = MIMEText(page(invoice), "html", "utf-8")
    message["From"] = SENDER
    message["To"] = invoice["email"]
    message["Subject"] = f"[학원] {invoice['student']} 학생 수강료 청구서 {invoice['number']}"
    message["Message-ID"] = f"<invoice-{invoice['number']}@academy.example>"
    return message


def mark_mailed(db: sqlite3.Connection, invoice: sqlite3.Row) -> None:
    """Remembers that the mail server has accepted an invoice."""
    db.execute(
        "UPDATE invoices SET emailed_at = ? WHERE id = ?",
        (datetime.now(KST).isoformat(timespec="milliseconds"), invoice["id"]),
    )


if __name__ == "__main__":
    sys.exit(run_job("청구서 발행", issue))
