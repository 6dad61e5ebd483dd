//! The keys for what may run together, what follows what, and what a job is watched for.

use std::fmt::Write as _;
use std::time::Duration;

use jobctl::config::{Config, Severity};
use jobctl::engine::after::{After, AfterEnd, Same};
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::policy::{Busy, Overlap};
use jobctl::engine::retry::Retry;
use jobctl::engine::run::Status;
use jobctl::engine::watch::{FinishBy, Silence, SilenceAction, Usual, Watch};

use crate::{JOB, assert_mistake, folder, line, lines, load_text, validate};

fn taken(text: &str) -> Config {
    load_text(text).unwrap_or_else(|rejected| panic!("{rejected}"))
}

/// Job `a`, of which nothing else is said than these lines.
fn job(lines: &str) -> JobSpec {
    taken(&format!("{JOB}{lines}\n")).jobs["a"].as_ref().clone()
}

/// Asserts that the file is taken with exactly one warning, at this place, with these words.
#[track_caller]
fn assert_warning(text: &str, at: &str, words: &[&str]) {
    let config = taken(text);
    let found: Vec<_> = config.warnings.iter().map(line).collect();
    assert!(config.warnings.iter().all(|warning| warning.severity == Severity::Warning));
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    assert!(found[0].starts_with(&format!("{at}: ")), "{at} in {}", found[0]);
    assert!(words.iter().all(|word| found[0].contains(word)), "{words:?} in {}", found[0]);
}

#[test]
fn what_runs_together_is_taken_as_it_is_written() {
    let config = taken(
        "max_running = 64\n[pools]\netl = 4\nmail = 1\n[catch_up]\nrate = 5\nsettle = \"2m\"\n\
         [defaults]\noverlap = \"queue\"\nqueue_limit = 3\nlocks = [\"db\"]\n\
         [jobs.plain]\nschedule = \"@daily\"\nshell = \"x\"\n\
         [jobs.own]\nschedule = \"@daily\"\nshell = \"x\"\noverlap = \"allow\"\nlocks = []\n\
         pools = { etl = 2, mail = 1 }\nbusy = \"skip\"\npriority = -5\n\
         [jobs.list]\nschedule = \"@daily\"\nshell = \"x\"\noverlap = \"replace\"\npools = [\"etl\"]\n",
    );
    assert_eq!((config.admission.max_running, config.admission.rate), (64, 5));
    assert_eq!(config.admission.settle, Duration::from_mins(2));
    assert_eq!(config.admission.pools, [("etl".to_owned(), 4), ("mail".to_owned(), 1)].into());
    let plain = &config.jobs["plain"];
    assert_eq!((plain.overlap, plain.queue_limit), (Overlap::Queue, 3));
    assert_eq!((plain.holds.locks.as_slice(), plain.holds.pools.len()), (&["db".to_owned()][..], 0));
    assert_eq!((plain.busy, plain.priority), (Busy::Wait, 0));
    let own = &config.jobs["own"];
    assert_eq!((own.overlap, own.busy, own.priority), (Overlap::Allow, Busy::Skip, -5));
    assert!(own.holds.locks.is_empty());
    assert_eq!(own.holds.pools, [("etl".to_owned(), 2), ("mail".to_owned(), 1)].into());
    let list = &config.jobs["list"];
    assert_eq!((list.overlap, &list.holds.pools), (Overlap::Replace, &[("etl".to_owned(), 1)].into()));
    let none = job("");
    assert_eq!((none.overlap, none.queue_limit, none.holds.pools.len()), (Overlap::Skip, 10, 0));
}

#[test]
fn a_retry_is_a_number_or_a_table() {
    let seconds = Duration::from_secs;
    let retry = |attempts| Retry {
        attempts,
        delay: seconds(60),
        backoff: 2.0,
        max_delay: seconds(3600),
        jitter: seconds(10),
        on: [Status::Failed].into(),
    };
    assert_eq!(job("").retry, None);
    assert_eq!(job("retry = 5").retry, Some(retry(5)));
    assert_eq!(job("retry = 1").retry, None, "one try is no retry");
    assert_eq!(job("retry = {}").retry, Some(retry(3)));
    let own = Retry {
        attempts: 100,
        delay: Duration::ZERO,
        backoff: 1.5,
        max_delay: seconds(60),
        jitter: Duration::ZERO,
        on: [Status::Timeout, Status::Lost].into(),
    };
    let text = "retry = { attempts = 100, delay = \"0s\", backoff = 1.5, max_delay = \"1m\", jitter = \"0s\", \
                on = [\"timeout\", \"lost\"] }";
    assert_eq!(job(text).retry, Some(own));
    assert_eq!(job("retry = { backoff = 1 }").retry.map(|retry| retry.backoff), Some(1.0));
    let config =
        taken(&format!("[defaults]\nretry = 4\n{JOB}{}retry = 1\n", JOB.replace("jobs.a", "jobs.b")));
    assert_eq!(config.jobs["a"].retry, Some(retry(4)));
    assert_eq!(config.jobs["b"].retry, None, "a job takes a default back");
}

#[test]
fn a_job_may_follow_others_with_or_without_a_schedule_of_its_own() {
    let config = taken(
        "[jobs.backup]\nshell = \"x\"\nafter = [\"statistics\", \"invoices\"]\n\
         [jobs.report]\nschedule = \"0 9 * * *\"\nshell = \"x\"\n\
         after = { jobs = [\"backup\"], on = \"always\", same = \"fire\", within = \"90m\" }\n\
         [jobs.alarm]\nshell = \"x\"\nafter = { jobs = [\"statistics\"], on = \"failure\" }\n\
         [jobs.statistics]\nschedule = \"0 2 * * *\"\nshell = \"x\"\n\
         [jobs.invoices]\nschedule = \"0 1 * * *\"\nshell = \"x\"\n",
    );
    let name = |name: &str| JobName::new(name).unwrap();
    let hours = Duration::from_hours;
    let after = After {
        jobs: vec![name("statistics"), name("invoices")],
        on: AfterEnd::Success,
        same: Same::Day,
        within: hours(6),
    };
    assert_eq!(config.jobs["backup"].after, Some(after));
    assert!(config.jobs["backup"].schedules.is_empty());
    let after = After {
        jobs: vec![name("backup")],
        on: AfterEnd::Always,
        same: Same::Fire,
        within: Duration::from_mins(90),
    };
    assert_eq!(config.jobs["report"].after, Some(after));
    assert_eq!(config.jobs["alarm"].after.as_ref().map(|after| after.on), Some(AfterEnd::Failure));
    assert_eq!(config.jobs["statistics"].after, None);
}

#[test]
fn what_a_job_is_watched_for_is_taken_as_it_is_written() {
    let minutes = Duration::from_mins;
    let usual = Usual { factor: 3.0, floor: minutes(1), min_runs: 5 };
    assert_eq!(job("").watch, Watch::default());
    let watch = job(
        "late_after = \"5m\"\nmust_finish_by = \"11:00\"\nmax_since_success = \"26h\"\nwarn_after = \"20m\"\n\
         min_duration = \"10s\"\nsilence = { after = \"10m\", action = \"kill\" }\nusual = true",
    )
    .watch;
    let expected = Watch {
        late_after: Some(minutes(5)),
        must_finish_by: Some(FinishBy::TimeOfDay(jiff::civil::time(11, 0, 0, 0))),
        max_since_success: Some(Duration::from_hours(26)),
        warn_after: Some(minutes(20)),
        min_duration: Some(Duration::from_secs(10)),
        silence: Some(Silence { after: minutes(10), action: SilenceAction::Kill }),
        usual: Some(usual),
    };
    assert_eq!(watch, expected);
    let watch = job(
        "must_finish_by = \"2h\"\nsilence = \"1s\"\nusual = { factor = 1.5, floor = \"0s\", min_runs = 50 }",
    )
    .watch;
    assert_eq!(watch.must_finish_by, Some(FinishBy::After(minutes(120))));
    assert_eq!(watch.silence, Some(Silence { after: Duration::from_secs(1), action: SilenceAction::Warn }));
    assert_eq!(watch.usual, Some(Usual { factor: 1.5, floor: Duration::ZERO, min_runs: 50 }));
    let late = "late_after = \"5m\"\nmust_finish_by = \"23:59:59\"\nmax_since_success = \"1d\"\nwarn_after = \"1m\"\n\
                min_duration = \"1s\"\nsilence = \"1m\"\nusual = true\n";
    let none = "late_after = \"none\"\nmust_finish_by = \"none\"\nmax_since_success = \"none\"\nwarn_after = \"none\"\n\
                min_duration = \"none\"\nsilence = \"none\"\nusual = false\n";
    let config = taken(&format!("[defaults]\n{late}{JOB}{none}"));
    assert_eq!(config.jobs["a"].watch, Watch::default(), "a job takes each default back");
}

#[test]
fn a_limit_that_is_learned_is_that_of_all_jobs_until_then() {
    let usual = Some(Usual { factor: 3.0, floor: Duration::from_mins(1), min_runs: 5 });
    let auto = job("timeout = \"auto\"");
    assert_eq!((auto.timeout, auto.auto_timeout), (Some(Duration::from_hours(1)), usual));
    for (default, limit) in
        [("2h", Some(Duration::from_hours(2))), ("none", None), ("auto", Some(Duration::from_hours(1)))]
    {
        let config = taken(&format!("[defaults]\ntimeout = \"{default}\"\n{JOB}timeout = \"auto\"\n"));
        assert_eq!((config.jobs["a"].timeout, config.jobs["a"].auto_timeout), (limit, usual), "{default}");
    }
    assert_eq!(job("timeout = \"2h\"").auto_timeout, None);
}

#[test]
fn each_mistake_in_what_runs_together_is_told() {
    for (last, column, words) in [
        ("overlap = \"quue\"", 11, ["can't be \"quue\"", "did you mean \"queue\"?"]),
        (
            "overlap = \"never\"",
            11,
            ["can't be \"never\"", "\"skip\" or \"queue\" or \"replace\" or \"allow\""],
        ),
        ("queue_limit = 0", 15, ["`queue_limit` can't be 0", "1 to 100000"]),
        ("queue_limit = \"many\"", 15, ["expected an integer", "queue_limit = 10"]),
        ("locks = \"db\"", 9, ["expected a list, found a string", "locks = [\"db\"]"]),
        ("locks = [\"db\", \"db\"]", 16, ["lock \"db\" is given twice", "leave it out"]),
        ("locks = [\"The DB\"]", 10, ["\"The DB\" can't be the name of a lock", "a-z"]),
        ("locks = [1]", 10, ["expected a string", "locks = [\"db\"]"]),
        ("pools = [\"elt\"]", 10, ["there is no pool \"elt\"", "did you mean \"etl\"?"]),
        ("pools = [\"disk\"]", 10, ["there is no pool \"disk\"", "there are etl"]),
        ("pools = { etl = 5 }", 11, ["takes 5 places in \"etl\" never starts", "the pool has 4"]),
        ("pools = { etl = 0 }", 17, ["`etl` can't be 0", "1 to 1000000"]),
        ("pools = { etl = \"2\" }", 17, ["expected an integer, found a string", "etl = 1"]),
        ("pools = [\"etl\", \"etl\"]", 17, ["pool \"etl\" is given twice", "leave it out"]),
        ("busy = \"later\"", 8, ["can't be \"later\"", "\"wait\" or \"skip\""]),
        ("priority = 5000", 12, ["`priority` can't be 5000", "-1000 to 1000"]),
        ("priority = 1.5", 12, ["expected an integer, found a float", "priority = 10"]),
    ] {
        assert_mistake(&format!("{JOB}{last}\n[pools]\netl = 4\n"), &format!("4:{column}"), &words);
    }
    for (text, at, words) in [
        ("max_running = 0\n", "1:15", ["`max_running` can't be 0", "1 to 1000000"]),
        ("max_runing = 9\n", "1:1", ["\"max_runing\" is not a key", "did you mean `max_running`?"]),
        ("pools = [\"etl\"]\n", "1:9", ["expected a table, found a list", "etl = 4"]),
        ("[pools]\netl = 0\n", "2:7", ["`etl` can't be 0", "1 to 1000000"]),
        ("[pools]\n\"The Pool\" = 1\n", "2:1", ["can't be the name of a pool", "a-z"]),
        ("[catch_up]\nrate = 0\n", "2:8", ["`rate` can't be 0", "1 to 10000"]),
        ("[catch_up]\nsettle = \"2d\"\n", "2:10", ["`settle` is longer than 1d", "1d is the most"]),
        ("[catch_up]\npolicy = \"all\"\n", "2:1", ["\"policy\" is not a key of [catch_up]", "rate, settle"]),
        ("catch_up = \"all\"\n", "1:12", ["expected a table", "[catch_up]"]),
        ("[defaults]\npools = [\"x\"]\n", "2:10", ["there is no pool \"x\"", "[pools]"]),
    ] {
        assert_mistake(text, at, &words);
    }
    let pool = format!("{JOB}pools = [\"etl\"]\n[pools]\netl = -1\n");
    assert_mistake(&pool, "6:7", &["`etl` can't be -1"]);
    let many: Vec<_> = (0..101).map(|n| format!("\"l{n}\"")).collect();
    let locks = format!("{JOB}locks = [{}]\n", many.join(", "));
    assert_mistake(
        &locks,
        &format!("4:{}", locks.lines().nth(3).unwrap().find("\"l100\"").unwrap() + 1),
        &["at most 100 locks"],
    );
}

#[test]
fn each_mistake_in_what_follows_what_is_told() {
    for (last, column, words) in [
        ("retry = 0", 9, ["`retry` can't be 0", "1 to 100"]),
        ("retry = 101", 9, ["`retry` can't be 101", "1 to 100"]),
        ("retry = \"often\"", 9, ["expected a table, found a string", "retry = 3"]),
        ("retry = { atempts = 3 }", 11, ["\"atempts\" is not a key of `retry`", "did you mean `attempts`?"]),
        ("retry = { attempts = 0 }", 22, ["`attempts` can't be 0", "1 to 100"]),
        ("retry = { backoff = 0.5 }", 21, ["`backoff` can't be 0.5", "1 to 100"]),
        ("retry = { backoff = nan }", 21, ["`backoff` can't be nan", "1 to 100"]),
        ("retry = { backoff = inf }", 21, ["`backoff` can't be inf", "1 to 100"]),
        ("retry = { backoff = \"2\" }", 21, ["expected a number, found a string", "backoff = 2.0"]),
        ("retry = { delay = \"2h\" }", 9, ["`delay` is longer than `max_delay`", "1h"]),
        ("retry = { delay = \"400d\" }", 19, ["longer than 365d", "365d is the most"]),
        ("retry = { on = [] }", 16, ["`on` is an empty list", "retry = 1"]),
        ("retry = { on = [\"FAILED\"] }", 17, ["\"FAILED\" is no outcome", "did you mean \"failed\"?"]),
        ("retry = { on = [\"killed\"] }", 17, ["\"killed\" is no outcome", "\"lost\""]),
        ("after = []", 9, ["`after` is an empty list", "after = [\"statistics\"]"]),
        ("after = \"b\"", 9, ["expected a list, found a string", "after = [\"statistics\"]"]),
        ("after = [\"b\", \"b\"]", 15, ["job \"b\" is given twice", "leave it out"]),
        ("after = [\"bb\"]", 10, ["there is no job \"bb\"", "did you mean \"b\"?"]),
        ("after = [\"statistics\"]", 10, ["there is no job \"statistics\"", "there are a, b"]),
        ("after = [\"a\"]", 10, ["job \"a\" waits for itself", "leave this one out"]),
        ("after = { on = \"always\" }", 9, ["`after` names no jobs", "jobs = [\"statistics\"]"]),
        (
            "after = { jobs = [\"b\"], on = \"done\" }",
            30,
            ["can't be \"done\"", "\"success\" or \"failure\" or \"always\""],
        ),
        ("after = { jobs = [\"b\"], same = \"week\" }", 32, ["can't be \"week\"", "\"day\" or \"fire\""]),
        ("after = { jobs = [\"b\"], within = \"0s\" }", 34, ["`within` is zero", "some time"]),
        (
            "after = { jobs = [\"b\"], unti = \"1h\" }",
            25,
            ["\"unti\" is not a key of `after`", "jobs, on, same, within"],
        ),
    ] {
        let other = JOB.replace("jobs.a", "jobs.b");
        assert_mistake(&format!("{JOB}{last}\n{other}"), &format!("4:{column}"), &words);
    }
    assert_mistake("[defaults]\nafter = [\"a\"]\n", "2:1", &["`after` can't be a default", "each job"]);
    assert_mistake(
        "[jobs.a]\nshell = \"x\"\n",
        "1:7",
        &["no schedule", "`after` with the jobs that it follows"],
    );
}

#[test]
fn jobs_that_wait_for_each_other_are_named_all() {
    let job = |name: &str, after: &str| format!("[jobs.{name}]\nshell = \"x\"\nafter = [{after}]\n");
    let circle = [job("a", "\"x\""), job("b", "\"c\""), job("c", "\"d\""), job("d", "\"x\", \"b\"")].concat();
    let text = format!("{circle}[jobs.x]\nschedule = \"@daily\"\nshell = \"x\"\n");
    assert_mistake(&text, "12:15", &["jobs wait for each other: b -> c -> d -> b", "leave this one out"]);
    let two = [job("a", "\"b\""), job("b", "\"a\""), job("c", "\"d\""), job("d", "\"c\"")].concat();
    let found = lines(&load_text(&two).expect_err("two circles"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("a -> b -> a") && found[1].contains("c -> d -> c"), "{found:#?}");
    let mesh = [job("a", "\"b\", \"c\""), job("b", "\"x\""), job("c", "\"x\", \"b\"")].concat();
    let mesh = format!("{mesh}[jobs.x]\nschedule = \"@daily\"\nshell = \"x\"\n");
    assert_eq!(taken(&mesh).jobs.len(), 4, "two ways to one job are no circle");
}

#[test]
fn a_circle_of_very_many_jobs_ends_in_an_answer() {
    let many = 20_000;
    let text = (0..many).fold(String::from("[jobs]\n"), |mut text, n| {
        writeln!(text, "j{n}={{after=[\"j{}\"],shell=\":\"}}", (n + 1) % many).unwrap();
        text
    });
    let found = lines(&load_text(&text).expect_err("a circle"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("-> … -> ") && found[0].len() < 1000, "{found:#?}");
}

#[test]
fn each_mistake_in_what_a_job_is_watched_for_is_told() {
    for (last, column, words) in [
        ("late_after = \"0s\"", 14, ["`late_after` is zero", "late_after = \"none\""]),
        ("late_after = 5", 14, ["expected a string, found an integer", "late_after = \"5m\""]),
        ("must_finish_by = \"24:00\"", 18, ["\"24:00\" is no time of day", "00:00 to 23:59"]),
        ("must_finish_by = \"9:00\"", 18, ["\"9:00\" is no time of day", "\"11:00\""]),
        ("must_finish_by = \"11:00:00:00\"", 18, ["is no time of day", "\"11:00\""]),
        ("must_finish_by = \"noon\"", 18, ["\"noon\" is no duration", "\"11:00\""]),
        ("must_finish_by = \"0s\"", 18, ["`must_finish_by` is zero", "after its fire"]),
        ("must_finish_by = 11:00:00", 18, ["expected a string, found a date", "\"11:00\""]),
        ("max_since_success = \"400d\"", 21, ["longer than 365d", "365d is the most"]),
        ("warn_after = \"soon\"", 14, ["\"soon\" is no duration", "warn_after = \"20m\""]),
        ("min_duration = \"1x\"", 16, ["\"1x\" is no duration", "min_duration = \"10s\""]),
        ("silence = \"999ms\"", 11, ["shorter than a second", "1s is the least"]),
        ("silence = { after = \"0s\" }", 21, ["shorter than a second", "1s is the least"]),
        ("silence = { action = \"kill\" }", 11, ["does not say after how long", "silence = \"10m\""]),
        ("silence = { after = \"1m\", action = \"end\" }", 36, ["can't be \"end\"", "\"warn\" or \"kill\""]),
        (
            "silence = { for = \"1m\", after = \"1m\" }",
            13,
            ["\"for\" is not a key of `silence`", "after, action"],
        ),
        ("usual = \"3x\"", 9, ["expected a boolean, found a string", "usual = true"]),
        ("usual = { factor = 0.5 }", 20, ["`factor` can't be 0.5", "1 to 1000"]),
        ("usual = { min_runs = 0 }", 22, ["`min_runs` can't be 0", "1 to 50"]),
        ("usual = { flor = \"1m\" }", 11, ["\"flor\" is not a key of `usual`", "did you mean `floor`?"]),
        ("timeout = \"atuo\"", 11, ["\"atuo\" is no duration", "timeout = \"30m\""]),
    ] {
        assert_mistake(&format!("{JOB}{last}\n"), &format!("4:{column}"), &words);
    }
}

#[test]
fn what_never_comes_about_is_a_warning() {
    for (last, at, words) in [
        ("queue_limit = 3", "4:1", ["`queue_limit` says nothing", "overlap = \"queue\""]),
        ("busy = \"skip\"", "4:1", ["`busy` says nothing", "lock or pool"]),
        ("warn_after = \"1h\"", "4:1", ["`warn_after` is never reached", "shorter than `timeout`"]),
        (
            "timeout = \"5m\"\nsilence = \"10m\"",
            "5:1",
            ["`silence` is never reached", "shorter than `timeout`"],
        ),
        ("min_duration = \"2h\"", "4:1", ["no success lasts as long", "shorter than `timeout`"]),
    ] {
        assert_warning(&format!("{JOB}{last}\n"), at, &words);
    }
    let quiet = [
        "warn_after = \"59m\"\nsilence = \"10m\"",
        "timeout = \"none\"\nwarn_after = \"2h\"",
        "overlap = \"queue\"\nqueue_limit = 3",
        "locks = [\"db\"]\nbusy = \"skip\"",
    ];
    for lines in quiet {
        assert!(taken(&format!("{JOB}{lines}\n")).warnings.is_empty(), "{lines}");
    }
    let defaults = format!(
        "[defaults]\nqueue_limit = 5\nbusy = \"skip\"\nwarn_after = \"30m\"\n{JOB}timeout = \"5m\"\n"
    );
    assert!(taken(&defaults).warnings.is_empty(), "a default is for those it suits");
}

#[test]
fn what_holds_for_all_stands_in_the_main_file() {
    let files = [
        ("jobs.toml", "include = [\"a.toml\"]\n"),
        ("a.toml", "max_running = 4\n[pools]\netl = 1\n[catch_up]\n"),
    ];
    let folder = folder(&files);
    let found = lines(&validate(&folder.path().join("jobs.toml")).expect_err("not for all"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().all(|line| line.contains("can't stand in an included file")), "{found:#?}");
}
