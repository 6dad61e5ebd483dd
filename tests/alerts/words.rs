//! What people read: whole messages, literally.

use std::time::Duration;

use jiff::tz::TimeZone;
use jobctl::engine::notice::{BadRun, End, MissedFires, Notice};
use jobctl::engine::reason::Reason;
use jobctl::engine::run::{Exit, LeftProcess, RunId, Status};
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::{Concern, RunConcern};
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
    let (first, last) = (seoul(first), seoul(last));
    MissedFires { job: job(name), first, last, fires, caught_up, folded: 0, skipped: 0, waiting: 0 }
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
자세히: `jobctl missed`",
        "
⚠️ 4 missed fires: jobd was not running
Period: 2026-11-01 03:00:00 – 2026-11-01 09:30:00 (6.5 h)
⚠️ attendance_notification did not run: missed 1 fire (2026-11-01 09:00:00), none caught up
⚠️ backup did not run: missed 3 fires (2026-11-01 04:00:00–2026-11-01 06:00:00), 1 caught up
Host: erp-1
More: `jobctl missed`",
    );
}

#[test]
fn a_downtime_says_what_was_done_and_what_waits_for_a_person() {
    let (from, to) = ("2026-11-01 04:00:00", "2026-11-01 06:00:00");
    let notice = missed(vec![
        MissedFires { folded: 2, ..fires("backup", from, to, 3, 1) },
        MissedFires { skipped: 1, ..fires("report", from, from, 1, 0) },
        MissedFires { waiting: 3, ..fires("tax", from, to, 5, 0) },
    ]);
    assert_words(
        &notice,
        "
⚠️ 놓친 실행 9회: jobd가 꺼져 있었습니다
기간: 2026-11-01 03:00:00 – 2026-11-01 09:30:00 (6.5시간)
⚠️ backup 실행 기록 없음: 놓친 실행 3회 (2026-11-01 04:00:00–2026-11-01 06:00:00), 1회 보충 실행, 2회는 그 실행으로 대신함
⚠️ report 실행 기록 없음: 놓친 실행 1회 (2026-11-01 04:00:00), 보충 실행 없음, 1회 건너뜀
⚠️ tax 실행 기록 없음: 놓친 실행 5회 (2026-11-01 04:00:00–2026-11-01 06:00:00), 보충 실행 없음, 3회는 직접 보충 가능
호스트: erp-1
할 일: `jobctl missed`로 확인한 뒤 `jobctl catchup tax@2026-11-01T06:00:00+09:00` 또는 `jobctl catchup --all`",
        "
⚠️ 9 missed fires: jobd was not running
Period: 2026-11-01 03:00:00 – 2026-11-01 09:30:00 (6.5 h)
⚠️ backup did not run: missed 3 fires (2026-11-01 04:00:00–2026-11-01 06:00:00), 1 caught up, 2 covered by that
⚠️ report did not run: missed 1 fire (2026-11-01 04:00:00), none caught up, 1 skipped
⚠️ tax did not run: missed 5 fires (2026-11-01 04:00:00–2026-11-01 06:00:00), none caught up, 3 can be caught up by hand
Host: erp-1
To do: `jobctl missed`, then `jobctl catchup tax@2026-11-01T06:00:00+09:00` or `jobctl catchup --all`",
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
        (
            Reason::ClockMoved,
            "시계가 건너뛰었습니다 (시각 변경)",
            "the clock passed over them (it was set forward)",
        ),
        (Reason::Asleep, "호스트가 절전 상태였습니다", "the host was asleep"),
        (Reason::PastWindow, "기한 안에 차례가 오지 않았습니다", "their turn did not come in time"),
        (Reason::Starved, "jobd가 제때 처리하지 못했습니다", "jobd could not act in time"),
        (
            Reason::NeverStarted,
            "작업을 시작하기 전에 jobd가 멈췄습니다",
            "jobd stopped before the job was started",
        ),
        (Reason::Overlap { run: RunId(7) }, "실행 7번이 아직 진행 중이었습니다", "run 7 was still active"),
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

/// A run that began late, of which one should know.
fn long_run(concern: Concern) -> RunConcern {
    RunConcern {
        job: job("backup"),
        run: RunId(12),
        scheduled_at: Some(seoul("2026-11-01 03:00:00")),
        started_at: Some(seoul("2026-11-01 03:00:02")),
        at: seoul("2026-11-01 03:31:02"),
        concern,
    }
}

/// What stands below each concern about a run that goes on.
const ACTIVE_KO: &str = "
예정: 2026-11-01 03:00:00
시작: 2026-11-01 03:00:02
호스트: erp-1
할 일: `jobctl inspect 12`, `jobctl logs 12`, 끝내려면 `jobctl kill 12`";
const ACTIVE_EN: &str = "
Due: 2026-11-01 03:00:00
Started: 2026-11-01 03:00:02
Host: erp-1
To do: `jobctl inspect 12`, `jobctl logs 12`, and to end it `jobctl kill 12`";

#[test]
fn a_run_that_goes_on_too_long_is_told_with_its_numbers() {
    let minutes = Duration::from_mins;
    let unusual = Concern::Unusual { usual: minutes(4), runs: 20, limit: minutes(12) };
    let line = "cp pid 7 waits in nfs_wait";
    let silent = Concern::Silent { for_: minutes(10), waits_for: Some(line.to_owned()) };
    for (concern, ko, en) in [
        (
            Concern::Long { limit: minutes(20) },
            "⚠️ backup 오래 실행 중\n경과: 31.0분 (경고 기준 20분)",
            "⚠️ backup takes long\nElapsed: 31.0 min (warned of after 20 min)",
        ),
        (
            unusual,
            "⚠️ backup 평소보다 오래 실행 중\n평소 4.0분 (성공 20회 기준), 지금 31.0분 (경고 기준 12.0분)",
            "⚠️ backup takes longer than usual\n\
             Usually 4.0 min (of 20 successes), now 31.0 min (warned of after 12.0 min)",
        ),
        (
            Concern::NotFinished { by: seoul("2026-11-01 03:30:00") },
            "⚠️ backup 완료 지연\n2026-11-01 03:30:00까지 끝나야 하지만 아직 끝나지 않았습니다.",
            "⚠️ backup is not finished\nIt was to be over by 2026-11-01 03:30:00.",
        ),
        (
            silent,
            "⚠️ backup 응답 없음\n10.0분 동안 출력도, CPU나 입출력 사용도 없습니다.\n멈춘 곳: cp pid 7 waits in nfs_wait",
            "⚠️ backup is silent\nFor 10.0 min it has written nothing, and used neither CPU nor input and output.\n\
             Stuck in: cp pid 7 waits in nfs_wait",
        ),
        (
            Concern::InTheWay { skipped: 2 },
            "⚠️ backup 계속 건너뜀: 실행 12번이 아직 진행 중입니다\n건너뜀: 연속 2회",
            "⚠️ backup is skipped again and again: run 12 is still active\nSkipped: 2 fires in a row",
        ),
    ] {
        let notice = Notice::Concern(long_run(concern));
        assert_words(&notice, &format!("{ko}{ACTIVE_KO}"), &format!("{en}{ACTIVE_EN}"));
    }
}

#[test]
fn a_run_that_is_late_or_too_short_is_told() {
    let limit = Duration::from_mins(5);
    let concern = Concern::NotStarted { limit, waits_for: "run 11 to end".to_owned() };
    assert_words(
        &Notice::Concern(RunConcern { started_at: None, ..long_run(concern) }),
        "
⚠️ backup 시작 지연
5분 안에 시작되어야 하지만 아직 시작되지 않았습니다.
대기: run 11 to end
예정: 2026-11-01 03:00:00
호스트: erp-1
자세히: `jobctl show 12`, `jobctl logs 12`",
        "
⚠️ backup has not started
It was to start within 5 min.
Waits for: run 11 to end
Due: 2026-11-01 03:00:00
Host: erp-1
More: `jobctl show 12`, `jobctl logs 12`",
    );
    let concern = Concern::Short { took: Duration::from_millis(1_200), least: Duration::from_mins(1) };
    assert_words(
        &Notice::Concern(long_run(concern)),
        "
⚠️ backup 너무 빨리 끝남
1.2초 만에 성공으로 끝났습니다 (최소 1분). 할 일을 다 했는지 확인이 필요합니다.
예정: 2026-11-01 03:00:00
시작: 2026-11-01 03:00:02
호스트: erp-1
자세히: `jobctl show 12`, `jobctl logs 12`",
        "
⚠️ backup ended too soon
It succeeded in 1.2 s, and takes 1 min at least. Has it done its work?
Due: 2026-11-01 03:00:00
Started: 2026-11-01 03:00:02
Host: erp-1
More: `jobctl show 12`, `jobctl logs 12`",
    );
}

#[test]
fn a_job_without_a_success_is_told_also_when_it_is_gone() {
    let notice = |removed| Notice::NoSuccess {
        job: job("backup"),
        since: seoul("2026-11-01 03:00:00"),
        limit: Duration::from_hours(26),
        removed,
    };
    assert_words(
        &notice(false),
        "
⚠️ backup 성공 없음: 1일 2시간 넘게 성공한 실행이 없습니다
마지막 성공 이후: 2026-11-01 03:00:00부터
호스트: erp-1
자세히: `jobctl history --job backup`",
        "
⚠️ backup has had no success for more than 1 d 2 h
No success since: 2026-11-01 03:00:00
Host: erp-1
More: `jobctl history --job backup`",
    );
    assert_words(
        &notice(true),
        "
⚠️ backup 성공 없음: 1일 2시간 넘게 성공한 실행이 없습니다
마지막 성공 이후: 2026-11-01 03:00:00부터
jobs.toml에 더 이상 없는 작업입니다.
호스트: erp-1
할 일: 다시 등록하거나, 완전히 없앤 작업이면 `jobctl ack backup`",
        "
⚠️ backup has had no success for more than 1 d 2 h
No success since: 2026-11-01 03:00:00
It is no longer in jobs.toml.
Host: erp-1
To do: put it back, or `jobctl ack backup` if it is gone for good",
    );
}

#[test]
fn fires_that_nothing_accounts_for_are_told() {
    let jobs = vec![
        fires("backup", "2026-11-01 03:00:00", "2026-11-01 03:00:00", 1, 0),
        fires("report", "2026-11-01 03:00:00", "2026-11-01 03:02:00", 3, 0),
    ];
    assert_words(
        &Notice::Unaccounted { at: seoul("2026-11-01 03:03:00"), jobs },
        "
❌ 실행 기록 없음: 예정된 실행 4회가 실행되지도 기록되지도 않았습니다
발견: 2026-11-01 03:03:00
backup: 1회 (2026-11-01 03:00:00)
report: 3회 (2026-11-01 03:00:00–2026-11-01 03:02:00)
호스트: erp-1
할 일: `jobctl status`, `journalctl -u jobd -n 50`, 급한 작업은 `jobctl run`",
        "
❌ 4 fires due without a trace: neither run nor accounted for
Found: 2026-11-01 03:03:00
backup: 1 fire (2026-11-01 03:00:00)
report: 3 fires (2026-11-01 03:00:00–2026-11-01 03:02:00)
Host: erp-1
To do: `jobctl status`, `journalctl -u jobd -n 50`, and `jobctl run` for what cannot wait",
    );
}

#[test]
fn korean_has_its_own_words_for_an_end() {
    let end = |exit| Some(End { exit, stop: None, oom: None });
    let run = BadRun { end: end(Exit::Code(3)), ..failed() };
    let ko = message(Language::Ko, &Notice::Bad(run.clone()));
    assert!(ko.contains("\n에러: 종료 코드 3\n"), "{ko}");
    let en = message(Language::En, &Notice::Bad(run));
    assert!(en.contains("\nError: exit code 3\n"), "{en}");
    let why = "✅ no\nline".to_owned();
    let run =
        BadRun { error: why.clone(), end: end(Exit::Unknown { why }), status: Status::Lost, ..failed() };
    let ko = message(Language::Ko, &Notice::Bad(run));
    assert!(ko.contains("\n이유: ✅ no line\n"), "{ko}");
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
    let all: Vec<_> =
        (0..5_000).map(|_| fires(&long, "2026-01-01 00:00:00", end, u64::MAX, u64::MAX)).collect();
    let full = |fires: &MissedFires| MissedFires { folded: u64::MAX, skipped: u64::MAX, ..fires.clone() };
    let everything: Vec<_> = all.iter().map(full).collect();
    let statuses = [Status::Failed, Status::Timeout, Status::Lost];
    let mut notices: Vec<Notice> =
        statuses.into_iter().map(|status| Notice::Bad(BadRun { status, ..run.clone() })).collect();
    notices.push(missed(all));
    let told =
        |concern| Notice::Concern(RunConcern { job: job(&long), run: RunId(u64::MAX), ..long_run(concern) });
    notices.push(told(Concern::NotStarted { limit: Duration::MAX, waits_for: text.clone() }));
    notices.push(told(Concern::Silent { for_: Duration::MAX, waits_for: Some(text.clone()) }));
    notices.push(Notice::Unaccounted { at: Timestamp::MAX, jobs: everything.clone() });
    let waiting = everything.into_iter().map(|fires| MissedFires { waiting: u64::MAX, ..fires }).collect();
    notices.push(missed(waiting));
    notices.push(unkillable(500, &text, Some(&text)));
    for language in BOTH {
        let wording = Wording::new(language, TimeZone::UTC, &text).unwrap();
        for notice in &notices {
            let length = wording.message(notice).unwrap().chars().count();
            assert!(length <= MESSAGE_CHARS_MAX, "{length}");
        }
    }
}
