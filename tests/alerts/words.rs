//! What people read: whole messages, literally.

use std::time::Duration;

use jiff::tz::TimeZone;
use jobctl::engine::ledger::{BadRun, MissedFires, Notice, Reason};
use jobctl::engine::run::{LeftProcess, RunId, Status};
use jobctl::engine::time::Timestamp;
use jobctl::forward::alerts::{Language, MESSAGE_CHARS_MAX, Wording};

use super::{hung, job, seoul};

const BOTH: [Language; 2] = [Language::Ko, Language::En];

fn message(language: Language, notice: &Notice) -> String {
    Wording::new(language, TimeZone::get("Asia/Seoul").unwrap(), "erp-1").unwrap().message(notice).unwrap()
}

#[track_caller]
fn assert_words(notice: &Notice, ko: &str, en: &str) {
    assert_eq!(message(Language::Ko, notice), ko.trim_start());
    assert_eq!(message(Language::En, notice), en.trim_start());
}

fn failed() -> BadRun {
    BadRun {
        status: Status::Failed,
        started_at: seoul("2026-11-01 10:00:03"),
        duration: Duration::from_millis(2_340),
        error: "exit code 3".to_owned(),
        ..hung()
    }
}

fn missed(jobs: Vec<MissedFires>) -> Notice {
    Notice::Missed {
        reason: Reason::Down,
        since: Some(seoul("2026-11-01 03:00:00")),
        until: seoul("2026-11-01 09:30:00"),
        jobs,
    }
}

fn fires(name: &str, first: &str, last: &str, fires: u64, caught_up: u64) -> MissedFires {
    MissedFires { job: job(name), first: seoul(first), last: seoul(last), fires, caught_up }
}

#[test]
fn a_timeout() {
    assert_words(
        &Notice::Bad(hung()),
        "
⚠️ invoice_generation 타임아웃
시작: 2026-11-01 10:00:00
경과: 31.2분 (제한 30분)
stderr:
```
connecting to mail server
waiting for 220
```
호스트: erp-1
자세히: `jobctl show 42`, `jobctl logs 42`",
        "
⚠️ invoice_generation timed out
Started: 2026-11-01 10:00:00
Elapsed: 31.2 min (limit 30 min)
stderr:
```
connecting to mail server
waiting for 220
```
Host: erp-1
More: `jobctl show 42`, `jobctl logs 42`",
    );
}

#[test]
fn a_failure_that_began_late() {
    assert_words(
        &Notice::Bad(failed()),
        "
❌ invoice_generation 실패
에러: exit code 3
시작: 2026-11-01 10:00:03
경과: 2.3초 (제한 30분)
예정: 2026-11-01 10:00:00
stderr:
```
connecting to mail server
waiting for 220
```
호스트: erp-1
자세히: `jobctl show 42`, `jobctl logs 42`",
        "
❌ invoice_generation failed
Error: exit code 3
Started: 2026-11-01 10:00:03
Elapsed: 2.3 s (limit 30 min)
Due: 2026-11-01 10:00:00
stderr:
```
connecting to mail server
waiting for 220
```
Host: erp-1
More: `jobctl show 42`, `jobctl logs 42`",
    );
}

#[test]
fn a_failure_without_a_limit_or_output_and_with_a_remark() {
    let run = BadRun {
        timeout: None,
        scheduled_at: None,
        error_tail: "\n".to_owned(),
        remark: Some("2 processes outlived the main one".to_owned()),
        ..failed()
    };
    assert_words(
        &Notice::Bad(run),
        "
❌ invoice_generation 실패
에러: exit code 3
시작: 2026-11-01 10:00:03
경과: 2.3초
참고: 2 processes outlived the main one
호스트: erp-1
자세히: `jobctl show 42`, `jobctl logs 42`",
        "
❌ invoice_generation failed
Error: exit code 3
Started: 2026-11-01 10:00:03
Elapsed: 2.3 s
Note: 2 processes outlived the main one
Host: erp-1
More: `jobctl show 42`, `jobctl logs 42`",
    );
}

#[test]
fn a_lost_run() {
    let run = BadRun {
        status: Status::Lost,
        duration: Duration::ZERO,
        error: "host rebooted".to_owned(),
        error_tail: String::new(),
        ..hung()
    };
    assert_words(
        &Notice::Bad(run),
        "
❌ invoice_generation 결과 불명
이유: host rebooted
시작: 2026-11-01 10:00:00
발견: 2026-11-01 10:31:12
호스트: erp-1
자세히: `jobctl show 42`, `jobctl logs 42`",
        "
❌ invoice_generation outcome unknown
Reason: host rebooted
Started: 2026-11-01 10:00:00
Found: 2026-11-01 10:31:12
Host: erp-1
More: `jobctl show 42`, `jobctl logs 42`",
    );
}

#[test]
fn a_recovery() {
    let notice = Notice::Recovered {
        job: job("invoice_generation"),
        run: RunId(57),
        since: seoul("2026-11-01 10:31:12"),
        at: seoul("2026-11-02 10:00:05"),
        bad_runs: 3,
    };
    assert_words(
        &notice,
        "
✅ invoice_generation 복구
장애: 2026-11-01 10:31:12 – 2026-11-02 10:00:05 (23.5시간)
잘못 끝난 실행: 3회
호스트: erp-1
자세히: `jobctl show 57`, `jobctl logs 57`",
        "
✅ invoice_generation recovered
Trouble: 2026-11-01 10:31:12 – 2026-11-02 10:00:05 (23.5 h)
Runs that ended badly: 3
Host: erp-1
More: `jobctl show 57`, `jobctl logs 57`",
    );
}

#[test]
fn a_downtime_is_one_message() {
    let notice = missed(vec![
        fires("attendance_notification", "2026-11-01 09:00:00", "2026-11-01 09:00:00", 1, 0),
        fires("backup", "2026-11-01 04:00:00", "2026-11-01 06:00:00", 3, 1),
    ]);
    assert_words(
        &notice,
        "
⚠️ 놓친 실행 4회: jobd가 꺼져 있었습니다
기간: 2026-11-01 03:00:00 – 2026-11-01 09:30:00 (6.5시간)
⚠️ attendance_notification 실행 기록 없음: 놓친 실행 1회 (2026-11-01 09:00:00), 보충 실행 없음
⚠️ backup 실행 기록 없음: 놓친 실행 3회 (2026-11-01 04:00:00–2026-11-01 06:00:00), 1회 보충 실행
호스트: erp-1
자세히: `jobctl history`",
        "
⚠️ 4 missed fires: jobd was not running
Period: 2026-11-01 03:00:00 – 2026-11-01 09:30:00 (6.5 h)
⚠️ attendance_notification did not run: missed 1 fire (2026-11-01 09:00:00), none caught up
⚠️ backup did not run: missed 3 fires (2026-11-01 04:00:00–2026-11-01 06:00:00), 1 caught up
Host: erp-1
More: `jobctl history`",
    );
}

#[test]
fn many_jobs_are_counted_when_they_are_not_named() {
    let name = |n: usize| format!("job-{n}");
    let at = "2026-11-01 09:00:00";
    let jobs = (0..52).map(|n| fires(&name(n), at, at, 2, 1)).collect();
    let (ko, en) = (message(Language::Ko, &missed(jobs)), String::new());
    assert!(ko.contains("\n그 밖의 작업 37개: 놓친 실행 74회, 37회 보충 실행\n"), "{ko}{en}");
    assert_eq!(ko.matches("실행 기록 없음").count(), 15, "{ko}");
    assert!(ko.starts_with("⚠️ 놓친 실행 104회"), "{ko}");
}

#[test]
fn why_fires_were_missed_is_told_in_both_languages() {
    let at = "2026-11-01 09:00:00";
    let reasons = [
        (Reason::ClockMoved, "시계가 건너뛰었습니다 (시각 변경 또는 절전)", "the clock passed over them"),
        (Reason::Starved, "jobd가 제때 처리하지 못했습니다", "jobd could not act in time"),
        (
            Reason::NeverStarted,
            "작업을 시작하기 전에 jobd가 멈췄습니다",
            "jobd stopped before the job was started",
        ),
        (Reason::Overlap { run: RunId(7) }, "실행 7이 아직 진행 중이었습니다", "run 7 was still active"),
    ];
    for (reason, ko, en) in reasons {
        let jobs = vec![fires("backup", at, at, 1, 1)];
        let notice = Notice::Missed { reason, since: None, until: seoul(at), jobs };
        let korean = message(Language::Ko, &notice);
        assert!(korean.starts_with(&format!("⚠️ 놓친 실행 1회: {ko}\n기간: {at}까지\n")), "{korean}");
        let english = message(Language::En, &notice);
        assert!(english.starts_with(&format!("⚠️ 1 missed fire: {en}")), "{english}");
        assert!(english.contains(&format!("\nPeriod: until {at}\n")), "{english}");
    }
}

#[test]
fn hostile_output_stays_inert() {
    let run = BadRun {
        error: "exit code 1\n✅ backup 복구 <!channel>".to_owned(),
        error_tail: "```\n@here <!everyone>\x1b[2J\u{202e}\n`x`\n".to_owned(),
        ..failed()
    };
    for language in BOTH {
        let text = message(language, &Notice::Bad(run.clone()));
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
        assert!(!text.contains("<!") && !text.contains("@here"), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with('✅')), "{text:?}");
        assert_eq!(text.matches("```").count(), 2, "only our own fences: {text:?}");
        assert!(text.contains("`x`"), "{text:?}");
    }
}

#[test]
fn what_a_run_waited_for_is_a_line_of_its_own() {
    let line = "python3 pid 4121 waits in recv() on 127.0.0.1:2525, connected 31 s\n✅ forged";
    let run = BadRun { waited_for: Some(line.to_owned()), ..failed() };
    let told = "python3 pid 4121 waits in recv() on 127.0.0.1:2525, connected 31 s ✅ forged\n";
    let ko = message(Language::Ko, &Notice::Bad(run.clone()));
    assert!(ko.contains(&format!("\n멈춘 곳: {told}")), "{ko}");
    let en = message(Language::En, &Notice::Bad(run));
    assert!(en.contains(&format!("\nStuck in: {told}")), "{en}");
}

#[test]
fn long_output_is_cut_at_its_beginning_and_says_so() {
    let lines: Vec<String> = (1..=500).map(|n| format!("line {n}")).collect();
    let run = BadRun { error_tail: lines.join("\n"), ..failed() };
    let ko = message(Language::Ko, &Notice::Bad(run.clone()));
    assert!(ko.contains("stderr 끝부분 (앞부분 생략):\n```\nline 491\n"), "{ko}");
    let en = message(Language::En, &Notice::Bad(run));
    assert!(en.contains("End of stderr (the beginning is left out):\n```\nline 491\n"), "{en}");
    assert!(en.contains("line 500\n```\n"), "{en}");
}

fn unkillable(processes: u32, name: &str, place: Option<&str>) -> Notice {
    let left = |n| LeftProcess {
        pid: 4121 + n,
        name: name.to_owned(),
        state: 'D',
        sleeps_in: place.filter(|_| n % 2 == 0).map(str::to_owned),
    };
    Notice::Unkillable {
        job: job("invoice_generation"),
        run: RunId(812),
        since: seoul("2026-11-01 10:30:10"),
        left: (0..processes).map(left).collect(),
    }
}

#[test]
fn a_run_that_cannot_be_killed() {
    assert_words(
        &unkillable(2, "python3", Some("nfs_wait")),
        "
⚠️ invoice_generation 종료 불가
SIGKILL을 보냈지만 끝나지 않습니다. 끝날 때까지 실행 중으로 남습니다.
SIGKILL: 2026-11-01 10:30:10부터
프로세스: 4121 (python3), 상태 D, nfs_wait에서 대기
프로세스: 4122 (python3), 상태 D
호스트: erp-1
자세히: `jobctl show 812`, `jobctl logs 812`",
        "
⚠️ invoice_generation cannot be killed
SIGKILL was sent and it does not end. Until it does, its run stays RUNNING.
Since: 2026-11-01 10:30:10
Process: 4121 (python3), state D, sleeps in nfs_wait
Process: 4122 (python3), state D
Host: erp-1
More: `jobctl show 812`, `jobctl logs 812`",
    );
    let many = message(Language::En, &unkillable(12, "<!channel>", None));
    assert!(many.contains("\nProcess: 4130 (&lt;!channel&gt;), state D\nand 2 more processes\n"), "{many}");
}

#[test]
fn the_longest_messages_keep_to_the_limit() {
    let text = "&<`@all\n".repeat(10_000);
    let long = "j".repeat(64);
    let end = "9999-12-30 12:00:00";
    let run = BadRun {
        job: job(&long),
        run: RunId(u64::MAX),
        error: text.clone(),
        error_tail: text.clone(),
        remark: Some(text.clone()),
        waited_for: Some(text.clone()),
        scheduled_at: Some(Timestamp::UNIX_EPOCH),
        ..failed()
    };
    let all = (0..5_000).map(|_| fires(&long, "2026-01-01 00:00:00", end, u64::MAX, u64::MAX)).collect();
    let statuses = [Status::Failed, Status::Timeout, Status::Lost];
    let mut notices: Vec<Notice> =
        statuses.into_iter().map(|status| Notice::Bad(BadRun { status, ..run.clone() })).collect();
    notices.push(missed(all));
    notices.push(unkillable(500, &text, Some(&text)));
    for language in BOTH {
        let wording = Wording::new(language, TimeZone::UTC, &text).unwrap();
        for notice in &notices {
            let length = wording.message(notice).unwrap().chars().count();
            assert!(length <= MESSAGE_CHARS_MAX, "{length}");
        }
    }
}
