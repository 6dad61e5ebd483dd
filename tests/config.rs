//! The configuration as a person meets it: what is taken, what is refused, and what is said about it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "config/rules.rs"]
mod rules;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobctl::config::{Config, Diagnostic, LoadOptions, Rejected, Secret, Severity, load, summary};
use jobctl::engine::job::Command;
use jobctl::engine::policy::{CatchUp, Leftover};
use jobctl::engine::resources::{GroupLimits, IoPriority, Resources, Rlimit, RlimitPair};
use jobctl::engine::stop::StopLadder;
use proptest::prelude::*;
use tempfile::TempDir;

/// A folder with the given files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn validate(path: &Path) -> Result<Config, Rejected> {
    load(path, &LoadOptions::validate())
}

fn load_text(text: &str) -> Result<Config, Rejected> {
    let folder = folder(&[("jobs.toml", text)]);
    validate(&folder.path().join("jobs.toml"))
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config").join(name)
}

/// `line:column: message (help)` of a diagnostic.
fn line(diagnostic: &Diagnostic) -> String {
    let mut text = match &diagnostic.place {
        Some(place) => format!("{}:{}: ", place.line, place.column),
        None => String::new(),
    };
    text.push_str(&diagnostic.message);
    if let Some(help) = &diagnostic.help {
        write!(text, " ({help})").unwrap();
    }
    text
}

fn lines(rejected: &Rejected) -> Vec<String> {
    rejected.diagnostics.iter().map(line).collect()
}

/// Asserts that a job with these lines has exactly one mistake, at this line and column, told with these words.
fn assert_mistake(text: &str, at: &str, words: &[&str]) {
    let rejected = load_text(text).expect_err(text);
    let lines = lines(&rejected);
    assert_eq!(lines.len(), 1, "{text}\n{lines:#?}");
    assert!(lines[0].starts_with(&format!("{at}: ")), "{at} in {}\n{text}", lines[0]);
    for word in words {
        assert!(lines[0].contains(word), "{word:?} in {}\n{text}", lines[0]);
    }
}

#[test]
fn the_jobs_of_the_academy_are_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs.toml");
    let config = validate(&path).unwrap_or_else(|rejected| panic!("{rejected}"));
    let names: Vec<_> = config.jobs.keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["attendance_notification", "backup", "invoice_generation", "statistics_aggregation"]);
    assert_eq!(config.timezone.iana_name(), Some("Asia/Seoul"));
    assert_eq!(config.default_alert, ["ops"]);
    let invoice = &config.jobs["invoice_generation"];
    assert_eq!(invoice.timeout, Some(Duration::from_mins(30)));
    assert_eq!(invoice.stop, StopLadder::term(Duration::from_secs(10)));
    assert_eq!(invoice.alert, ["ops"]);
    assert_eq!(invoice.cwd, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(config.warnings.iter().all(|warning| warning.severity == Severity::Warning));
    assert_eq!(summary(Path::new("jobs.toml"), &config), "jobs.toml: 4 jobs, 1 channel: valid");
}

#[test]
fn a_job_gets_every_default_and_keeps_what_it_says() {
    let config = load_text(
        "[defaults]\ntimeout = \"2h\"\nenv = { A = \"1\", B = \"1\" }\n\
         [jobs.plain]\nschedule = \"@daily\"\nshell = \"true\"\n\
         [jobs.own]\nschedule = [\"0 9 * * *\", \"0 18 * * *\"]\ncommand = [\"true\"]\ntimeout = \"none\"\n\
         kill_grace = \"500ms\"\ncatch_up = \"all\"\ncatch_up_window = \"1h30m\"\ntimezone = \"UTC\"\n\
         cwd = \"sub\"\nenv = { B = \"2\" }\nenv_file = \"x.env\"\numask = \"077\"\nuser = \"root\"\nalert = []\n",
    )
    .unwrap_or_else(|rejected| panic!("{rejected}"));
    let plain = &config.jobs["plain"];
    assert_eq!(plain.timeout, Some(Duration::from_hours(2)));
    assert_eq!(plain.command, Command::Shell("true".to_owned()));
    assert_eq!((plain.umask, plain.catch_up), (0o022, CatchUp::Latest));
    assert_eq!(plain.catch_up_window, Duration::from_hours(24));
    let own = &config.jobs["own"];
    assert_eq!((own.timeout, own.stop.grace()), (None, Duration::from_millis(500)));
    assert_eq!((own.umask, own.catch_up, own.schedules.len()), (0o077, CatchUp::All, 2));
    assert_eq!(own.zone.iana_name(), Some("UTC"));
    assert_eq!((own.env["A"].as_str(), own.env["B"].as_str()), ("1", "2"));
    assert!(own.cwd.is_absolute() && own.cwd.ends_with("sub"), "{:?}", own.cwd);
    assert!(own.env_file.as_ref().is_some_and(|path| path.is_absolute()));
    assert_eq!(own.user.as_deref(), Some("root"));
}

#[test]
fn the_end_and_the_limits_of_a_run_are_taken_as_they_are_written() {
    let config = load_text(
        "[defaults]\nkill_grace = \"3s\"\nleftover = \"warn\"\nrlimits = { core = 0, nofile = 1024 }\n\
         limits = { memory = \"1GiB\", pids = 50, required = true }\n\
         [jobs.plain]\nschedule = \"@daily\"\nshell = \"true\"\n\
         [jobs.own]\nschedule = \"@daily\"\nshell = \"true\"\nleftover = \"allow\"\noutput_limit = \"none\"\n\
         stop_signals = [\"QUIT:10s\", \"TERM:1m30s\", \"KILL\"]\nstdin = \"answers\"\ngroups = [\"daemon\"]\n\
         no_new_privileges = true\nnice = -5\nionice = \"best-effort:7\"\n\
         rlimits = { nofile = [100, \"unlimited\"], as = \"2GiB\", stack = \"unlimited\" }\n\
         limits = { memory = \"none\", cpu = \"150%\", required = false }\n",
    )
    .unwrap_or_else(|rejected| panic!("{rejected}"));
    let both = |limit| RlimitPair { soft: limit, hard: limit };
    let plain = &config.jobs["plain"];
    assert_eq!(plain.stop, StopLadder::term(Duration::from_secs(3)));
    assert_eq!((plain.leftover, plain.output_limit), (Leftover::Warn, Some(100_000_000)));
    assert_eq!((plain.stdin.clone(), plain.groups.clone(), plain.no_new_privileges), (None, None, false));
    let expected = Resources {
        rlimits: [(Rlimit::Core, both(Some(0))), (Rlimit::Nofile, both(Some(1024)))].into(),
        group: GroupLimits {
            memory: Some(1 << 30),
            pids: Some(50),
            required: true,
            ..GroupLimits::default()
        },
        ..Resources::default()
    };
    assert_eq!(plain.resources, expected);
    let own = &config.jobs["own"];
    assert_eq!(own.stop.to_string(), "QUIT:10s TERM:1m30s KILL");
    assert_eq!((own.leftover, own.output_limit), (Leftover::Allow, None));
    assert!(own.stdin.as_ref().is_some_and(|path| path.is_absolute() && path.ends_with("answers")));
    assert_eq!((own.groups.as_deref(), own.no_new_privileges), (Some(&["daemon".to_owned()][..]), true));
    let expected = Resources {
        nice: Some(-5),
        io: Some(IoPriority::BestEffort(7)),
        rlimits: [
            (Rlimit::As, both(Some(2 << 30))),
            (Rlimit::Core, both(Some(0))),
            (Rlimit::Nofile, RlimitPair { soft: Some(100), hard: None }),
            (Rlimit::Stack, both(None)),
        ]
        .into(),
        group: GroupLimits { cpu_percent: Some(150), pids: Some(50), ..GroupLimits::default() },
    };
    assert_eq!(own.resources, expected);
}

#[test]
fn a_job_says_how_it_ends_in_place_of_what_all_say() {
    let text = |defaults: &str, own: &str| {
        format!("[defaults]\n{defaults}\n[jobs.a]\nschedule = \"@daily\"\nshell = \"x\"\n{own}\n")
    };
    let (grace, ladder) = ("kill_grace = \"3s\"", "stop_signals = [\"INT:1s\", \"KILL\"]");
    for (defaults, own, expected) in [
        (grace, ladder, "INT:1s KILL"),
        (ladder, grace, "TERM:3s KILL"),
        (ladder, "", "INT:1s KILL"),
        ("", "stop_signals = [\"KILL\"]", "KILL"),
    ] {
        let config = load_text(&text(defaults, own)).unwrap_or_else(|rejected| panic!("{rejected}"));
        assert_eq!(config.jobs["a"].stop.to_string(), expected);
    }
    let both = format!("{grace}\n{ladder}");
    assert_mistake(
        &text("", &both),
        "7:1",
        &["job \"a\" has both `kill_grace` and `stop_signals`", "keep the one"],
    );
    assert_mistake(&text(&both, ""), "3:1", &["[defaults] has both `kill_grace` and `stop_signals`", "keep"]);
}

/// A change of any key of a job changes its fingerprint.
#[test]
fn no_key_is_forgotten_in_the_fingerprint() {
    let hash = |lines: &str| {
        let other = JOB.replace("jobs.a", "jobs.other");
        let text = format!("timezone = \"UTC\"\n{JOB}cwd = \"/\"\n{lines}\n{other}[pools]\netl = 4\n");
        let config = load_text(&text).unwrap_or_else(|rejected| panic!("{rejected}"));
        config.jobs["a"].config_hash.clone()
    };
    let lines = [
        "",
        "description = \"d\"",
        "timezone = \"Asia/Seoul\"",
        "timeout = \"2h\"",
        "kill_grace = \"11s\"",
        "stop_signals = [\"QUIT:10s\", \"KILL\"]",
        "leftover = \"allow\"",
        "output_limit = \"1MB\"",
        "catch_up = \"all\"",
        "catch_up_window = \"2d\"",
        "overlap = \"queue\"",
        "overlap = \"queue\"\nqueue_limit = 3",
        "locks = [\"db\"]",
        "locks = [\"db\"]\nbusy = \"skip\"",
        "pools = [\"etl\"]",
        "pools = { etl = 2 }",
        "priority = 1",
        "retry = 3",
        "retry = 4",
        "after = [\"other\"]",
        "after = { jobs = [\"other\"], same = \"fire\" }",
        "timeout = \"auto\"",
        "late_after = \"1m\"",
        "must_finish_by = \"11:00\"",
        "must_finish_by = \"11h\"",
        "max_since_success = \"1d\"",
        "warn_after = \"1m\"",
        "min_duration = \"1s\"",
        "silence = \"1m\"",
        "silence = { after = \"1m\", action = \"kill\" }",
        "usual = true",
        "env = { A = \"1\" }",
        "env_file = \"/a.env\"",
        "stdin = \"/dev/zero\"",
        "user = \"root\"",
        "groups = []",
        "groups = [\"daemon\"]",
        "no_new_privileges = true",
        "umask = \"077\"",
        "nice = 1",
        "ionice = \"idle\"",
        "rlimits = { nofile = 10 }",
        "rlimits = { nofile = [9, 10] }",
        "limits = { memory = \"1GiB\" }",
        "limits = { cpu = \"50%\" }",
        "limits = { pids = 9 }",
        "limits = { required = true }",
    ];
    let hashes: std::collections::BTreeSet<_> = lines.iter().map(|lines| hash(lines)).collect();
    assert_eq!(hashes.len(), lines.len());
}

#[test]
fn fingerprints_follow_what_they_stand_for() {
    let text = |schedule: &str, timeout: &str| {
        format!(
            "timezone = \"UTC\"\n[jobs.a]\nschedule = \"{schedule}\"\nshell = \"x\"\n\
             cwd = \"/\"\ntimeout = \"{timeout}\""
        )
    };
    let hashes = |text: &str| {
        let config = load_text(text).unwrap_or_else(|rejected| panic!("{rejected}"));
        let job = &config.jobs["a"];
        (job.config_hash.clone(), job.schedule_hash.clone(), config.hash)
    };
    let (job, schedule, all) = hashes(&text("0 9 * * *", "1h"));
    assert_eq!((job.clone(), schedule.clone(), all.clone()), hashes(&text("0 9 * * *", "60m")));
    let later = hashes(&text("0 9 * * *", "2h"));
    assert!(later.0 != job && later.1 == schedule && later.2 != all);
    let moved = hashes(&text("0 10 * * *", "1h"));
    assert!(moved.0 != job && moved.1 != schedule && moved.2 != all);
    assert!(job.len() == 16 && job.bytes().all(|b| b.is_ascii_hexdigit()));
}

/// Lines of a job that is right but for the last of them.
const JOB: &str = "[jobs.a]\nschedule = \"@daily\"\nshell = \"x\"\n";

#[test]
fn each_mistake_in_a_job_is_told_with_its_place() {
    for (last, column, words) in [
        ("timeout = \"0s\"", 11, ["zero", "\"none\""]),
        ("timeout = 30", 11, ["expected a string, found an integer", "\"30m\""]),
        ("timeout = \"30\"", 11, ["no unit", "\"30s\" or \"30m\""]),
        ("timeout = \"400d\"", 11, ["longer than 365d", "365d"]),
        ("timeout = \"1m1h\"", 11, ["out of order", "1h30m"]),
        ("catch_up_window = \"0s\"", 19, ["zero", "catch_up = \"skip\""]),
        ("kill_grace = \"soon\"", 14, ["\"soon\" is no duration", "d, h, m, s, ms"]),
        ("catch_up = \"newest\"", 12, ["can't be \"newest\"", "\"skip\" or \"latest\" or \"all\""]),
        ("catch_up = \"lastest\"", 12, ["\"lastest\"", "did you mean \"latest\"?"]),
        ("alert = \"ops\"", 9, ["expected a list, found a string", "alert = [\"ops\"]"]),
        ("alert = [\"ops\"]", 10, ["no channel \"ops\"", "[channels.ops]"]),
        ("timezone = \"Asia/Soeul\"", 12, ["\"Asia/Soeul\" is not a time zone", "Asia/Seoul"]),
        ("tiemout = \"1h\"", 1, ["\"tiemout\" is not a key of a job", "did you mean `timeout`?"]),
        ("frequency = 3", 1, ["\"frequency\" is not a key", "description, schedule, command"]),
        ("env = { JOBD_RUN_ID = \"1\" }", 9, ["\"JOBD_RUN_ID\" is reserved", "another name"]),
        ("env = { PORT = 80 }", 16, ["`PORT`: expected a string, found an integer", "PORT = \"1\""]),
        ("env = { \"A=B\" = \"1\" }", 9, ["\"A=B\" can't be the name of a variable", "digits"]),
        ("env = { A = \"\\u0000\" }", 13, ["NUL", "`A`"]),
        ("umask = \"888\"", 9, ["\"888\" is not an octal number", "\"022\""]),
        ("user = \"rooot\"", 8, ["no user \"rooot\" on this host", "did you mean \"root\"?"]),
        ("cwd = \"\"", 7, ["path is empty", "cwd = "]),
        ("description = [1]", 15, ["expected a string, found a list", "description"]),
        ("command = [\"x\"]", 1, ["both `command` and `shell`", "keep the one"]),
        ("timeout = \"1h\"\ntimeout = \"2h\"", 1, ["\"timeout\" is given twice", "keep one"]),
        ("timeout = 1h", 11, ["without quotes", "\"…\""]),
        ("cwd = \"/tmp", 7, ["not closed", "end it with \""]),
        ("cwd = x", 7, ["without quotes", "\"…\""]),
        ("a line", 1, ["has no value", "key = value"]),
    ] {
        let number = 4 + last.matches('\n').count();
        assert_mistake(&format!("{JOB}{last}\n"), &format!("{number}:{column}"), &words);
    }
}

#[test]
fn each_mistake_in_how_a_job_ends_and_what_it_may_use_is_told() {
    for (last, column, words) in [
        ("stop_signals = []", 16, ["empty list", "\"KILL\"]"]),
        ("stop_signals = \"TERM\"", 16, ["found a string", "\"QUIT:10s\", \"TERM:30s\", \"KILL\""]),
        ("stop_signals = [\"TERM:1s\"]", 17, ["ends with \"TERM:1s\", not with \"KILL\"", "\"KILL\"]"]),
        ("stop_signals = [\"KILL:5s\"]", 17, ["ends with \"KILL:5s\"", "has no duration"]),
        ("stop_signals = [\"TERM\", \"KILL\"]", 17, ["\"TERM\" has no duration", "\"TERM:10s\""]),
        ("stop_signals = [\"TERM:1\", \"KILL\"]", 23, ["no unit", "\"1s\" or \"1m\""]),
        ("stop_signals = [\"SIGTERM:1s\", \"KILL\"]", 18, ["\"SIGTERM\" is no signal", "mean \"TERM\"?"]),
        ("stop_signals = [\"STOP:1s\", \"KILL\"]", 18, ["\"STOP\" is no signal", "HUP, INT, QUIT, USR1"]),
        ("stop_signals = [\"KILL\", \"TERM:1s\", \"KILL\"]", 17, ["\"KILL\" is not the last", "put it last"]),
        ("leftover = \"keep\"", 12, ["can't be \"keep\"", "\"kill\" or \"warn\" or \"allow\""]),
        ("output_limit = \"100\"", 16, ["\"100\" has no unit", "\"100KiB\" or \"100MB\""]),
        ("output_limit = \"1KB\"", 16, ["`output_limit` is below 64KiB", "64KiB is the least"]),
        ("output_limit = \"1 GB\"", 16, ["\"1 GB\" is no size", "KiB, MiB"]),
        ("output_limit = 100", 16, ["expected a string, found an integer", "\"100MB\""]),
        ("stdin = \"\"", 9, ["path is empty", "stdin = "]),
        ("groups = \"backup\"", 10, ["expected a list, found a string", "[\"backup\"]"]),
        ("groups = [\"deamon\"]", 11, ["no group \"deamon\" on this host", "did you mean \"daemon\"?"]),
        ("groups = [\"daemon\", \"daemon\"]", 21, ["group \"daemon\" is given twice", "leave it out"]),
        ("no_new_privileges = \"yes\"", 21, ["expected a boolean, found a string", "= true"]),
        ("nice = 20", 8, ["`nice` can't be 20", "-20 to 19"]),
        ("nice = \"10\"", 8, ["expected an integer, found a string", "nice = 10"]),
        ("ionice = \"ilde\"", 10, ["`ionice` can't be \"ilde\"", "did you mean \"idle\"?"]),
        ("ionice = \"best-effort:8\"", 10, ["can't be \"best-effort:8\"", "\"best-effort:7\""]),
        ("ionice = \"idle:1\"", 10, ["can't be \"idle:1\"", "\"idle\""]),
        (
            "rlimits = { nofiles = 1 }",
            13,
            ["\"nofiles\" is not a key of `rlimits`", "did you mean `nofile`?"],
        ),
        ("rlimits = { x = 1 }", 13, ["\"x\" is not a key", "as, core, cpu, data, fsize"]),
        ("rlimits = { nofile = -1 }", 22, ["`nofile` can't be -1", "0 is the least"]),
        ("rlimits = { nofile = \"many\"}", 22, ["expected an integer", "or \"unlimited\""]),
        ("rlimits = { as = 4096 }", 18, ["4096 has no unit", "\"4096KiB\""]),
        ("rlimits = { nofile = [1, 2, 3] }", 22, ["a list of 3", "[soft, hard]"]),
        ("rlimits = { nofile = [2, 1] }", 22, ["soft limit is above the hard one", "first of the two"]),
        ("rlimits = { as = [\"unlimited\", \"1GiB\"] }", 18, ["above the hard one", "first of the two"]),
        ("limits = { memry = \"1GiB\" }", 12, ["\"memry\" is not a key of `limits`", "mean `memory`?"]),
        ("limits = { memory = \"1KiB\" }", 21, ["`memory` is below 1MiB", "is the least"]),
        ("limits = { cpu = \"1.5\" }", 18, ["\"1.5\" is not a percentage", "100% is one CPU"]),
        ("limits = { cpu = \"0%\" }", 18, ["not a percentage from 1%", "cpu = \"150%\""]),
        ("limits = { pids = 0 }", 19, ["`pids` can't be 0", "1 is the least"]),
        ("limits = { required = 1 }", 23, ["expected a boolean, found an integer", "required = true"]),
    ] {
        assert_mistake(&format!("{JOB}{last}\n"), &format!("4:{column}"), &words);
    }
}

#[test]
fn each_mistake_in_what_a_job_must_have_is_told() {
    for (text, at, words) in [
        ("[jobs.a]\nshell = \"x\"\n", "1:7", ["no schedule", "schedule = \"0 9 * * *\""]),
        ("[jobs.a]\nschedule = \"@daily\"\n", "1:7", ["no command", "command = ["]),
        ("[jobs.a]\nschedule = \"@daily\"\ncommand = []\n", "3:11", ["empty list", "command = ["]),
        ("[jobs.a]\nschedule = \"@daily\"\ncommand = [\"\"]\n", "3:12", ["program", "is empty"]),
        ("[jobs.a]\nschedule = \"@daily\"\ncommand = \"x y\"\n", "3:11", ["found a string", "shell"]),
        ("[jobs.a]\nschedule = \"@daily\"\ncommand = [\"x\", 1]\n", "3:17", ["a string", "found an integer"]),
        ("[jobs.a]\nschedule = \"@daily\"\nshell = \" \"\n", "3:9", ["`shell` is empty", "a | b"]),
        ("[jobs.a]\nschedule = []\nshell = \"x\"\n", "2:12", ["empty list", "0 9 * * *"]),
        ("[jobs.a]\nschedule = 9\nshell = \"x\"\n", "2:12", ["found an integer", "0 9 * * *"]),
        ("[jobs.a]\nschedule = [\"@daily\", \"@daily\"]\nshell = \"x\"\n", "2:23", ["given twice", "@daily"]),
        ("[jobs.a]\nschedule = \"0 25 * * *\"\nshell = \"x\"\n", "2:15", ["25", "0 to 23"]),
        ("[jobs.a]\nschedule = \"0 9 31 2 *\"\nshell = \"x\"\n", "2:17", ["never fires", "31"]),
        ("[jobs.a]\nschedule = \"0\\t25 * * *\"\nshell = \"x\"\n", "2:12", ["25", "0 to 23"]),
        ("[jobs.\"My Job\"]\nschedule = \"@daily\"\nshell = \"x\"\n", "1:7", ["\"My Job\"", "[jobs.my_job]"]),
        ("[jobs]\na = 1\n", "2:5", ["`a`: expected a table, found an integer", "[jobs.backup]"]),
        ("[[jobs]]\n", "1:1", ["expected a table, found a list", "[jobs.backup]"]),
        ("jobs = 1\n", "1:8", ["expected a table", "found an integer"]),
        ("[defaults]\nschedule = \"@daily\"\n", "2:1", ["`schedule` can't be a default", "each job"]),
        ("[job.a]\n", "1:2", ["\"job\" is not a key", "did you mean `jobs`?"]),
        ("[history]\nurl = \"x\"\n", "1:2", ["\"history\" is not supported yet", "leave it out"]),
        ("language = \"kr\"\n", "1:12", ["can't be \"kr\"", "\"ko\""]),
        ("[channels.ops]\nurl = \"http://x\"\n", "1:11", ["no `type`", "slack"]),
        ("[channels.ops]\ntype = \"slack\"\n", "1:11", ["no `url`", "env"]),
        ("[channels.ops]\ntype = \"email\"\nurl = \"http://x\"\n", "2:8", ["not supported yet", "slack"]),
        ("[channels.ops]\ntype = \"slack\"\nurl = {}\n", "3:7", ["one place", "file"]),
        ("[channels.ops]\ntype = \"slack\"\nurl = \"x\"\n", "3:7", ["no URL", "https://"]),
        ("include = [\"gone.toml\"]\n", "1:12", ["gone.toml cannot be read", "No such file"]),
        ("include = [\"*/x.toml\"]\n", "1:12", ["only the last part", "conf.d/*.toml"]),
        ("\"\" = 1\n", "1:1", ["\"\" is not a key", "timezone"]),
    ] {
        assert_mistake(text, at, &words);
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_text() {
    let path = data("ten-mistakes.toml");
    let rejected = validate(&path).expect_err("ten mistakes");
    let found = lines(&rejected);
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["1:12", "2:1", "6:8", "10:15", "11:11", "14:16", "16:1", "19:11", "21:10", "26:22"],
        "{found:#?}"
    );
    let report = rejected.to_string();
    assert!(report.ends_with("ten-mistakes.toml: 10 mistakes"), "{report}");
    assert!(report.contains("ten-mistakes.toml:10:15"), "{report}");
}

#[test]
fn a_report_shows_the_line_and_underlines_what_is_wrong() {
    let rejected =
        load_text("[jobs.a]\n\tshell = \"가나다\" # 라\n\tschedule = '가 25 * * *'\n\tuser = \"rooot\"\n");
    let report = rejected.expect_err("two mistakes").to_string();
    let caret = report.lines().find(|line| line.contains("^^^^^^^")).unwrap();
    let source = report.lines().find(|line| line.contains("rooot") && line.starts_with('4')).unwrap();
    assert_eq!(caret.find('^'), source.find("\"rooot\""), "{report}");
    assert!(!report.contains('\u{1b}') && report.contains("jobs.toml:4:9"), "{report}");
}

#[test]
fn colour_is_an_option() {
    let rejected = load_text("x = 1\n").expect_err("unknown key");
    assert!(rejected.render(true).contains('\u{1b}'));
    assert!(!rejected.render(false).contains('\u{1b}'));
    assert!(rejected.render(false).ends_with("1 mistake"));
}

#[test]
fn broken_syntax_hides_no_other_mistake() {
    let text = "[jobs.a]\nschedule = \"@daily\"\ncommand = [\"x\", \"y\"\ntimeout = zz\n[jobs.b\nuser = 1\n\
                cwd = 'x\n[jobs.c]\nshell = \"x\"\nenv = {\n  A = \"1\",\n}\ntiemout = \"1h\"\n";
    let rejected = load_text(text).expect_err("mistakes");
    let places: Vec<_> =
        lines(&rejected).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["3:11", "4:11", "5:1", "7:7", "8:7", "13:1"], "{rejected}");
}

#[test]
fn two_places_are_named_when_two_contradict() {
    let job = "[jobs.a]\nschedule = \"@daily\"\nshell = \"x\"\n";
    let files =
        [("jobs.toml", "include = [\"conf.d/*.toml\"]\n"), ("conf.d/1.toml", job), ("conf.d/2.toml", job)];
    let folder = folder(&files);
    let rejected = validate(&folder.path().join("jobs.toml")).expect_err("duplicate");
    let [mistake] = rejected.diagnostics.as_slice() else { panic!("{rejected}") };
    assert!(mistake.file.ends_with("conf.d/2.toml"), "{rejected}");
    assert!(
        mistake.first.as_ref().is_some_and(|first| first.file.ends_with("conf.d/1.toml") && first.line == 1)
    );
    assert!(mistake.message.contains("\"a\" is registered twice"));

    let rejected = load_text("[jobs.a]\nschedule = \"@daily\"\nshell = \"x\"\n[channels]\n[jobs.a]\n")
        .expect_err("twice");
    let [mistake] = rejected.diagnostics.as_slice() else { panic!("{rejected}") };
    let first = mistake.first.as_ref().expect("the first place");
    assert_eq!((mistake.place.as_ref().map(|place| place.line), first.line), (Some(5), 1), "{rejected}");
}

#[test]
fn included_files_hold_jobs_and_channels_and_nothing_for_all() {
    let job = "[channels.ops]\ntype = \"slack\"\nurl = \"http://127.0.0.1:1/\"\n\
               [jobs.a]\nschedule = \"@daily\"\nshell = \"x\"\nalert = [\"ops\"]\n";
    let good = folder(&[
        ("jobs.toml", "include = [\"d/*.toml\", \"none/*.toml\"]\n"),
        ("d/a.toml", job),
        ("d/a.toml~", "x"),
    ]);
    let config = validate(&good.path().join("jobs.toml")).unwrap_or_else(|rejected| panic!("{rejected}"));
    assert_eq!(config.jobs["a"].cwd, good.path().join("d"));
    assert_eq!(config.channels.len(), 1);

    let bad =
        folder(&[("jobs.toml", "include = [\"a.toml\"]\n"), ("a.toml", "language = \"ko\"\n[defaults]\n")]);
    let found = lines(&validate(&bad.path().join("jobs.toml")).expect_err("not for all"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("`language` can't stand in an included file"), "{found:#?}");
}

#[test]
fn an_include_cycle_shows_its_chain() {
    let folder =
        folder(&[("jobs.toml", "include = [\"a.toml\"]\n"), ("a.toml", "include = [\"jobs.toml\"]\n")]);
    let found = lines(&validate(&folder.path().join("jobs.toml")).expect_err("cycle"));
    assert_eq!(found.len(), 1);
    let chain: Vec<_> = found[0].split(" -> ").collect();
    assert!(chain.len() == 3 && chain[1].ends_with("a.toml") && found[0].starts_with("1:12"), "{found:#?}");
}

#[test]
fn what_is_no_configuration_is_refused_in_one_line() {
    let folder = folder(&[]);
    let path = |name: &str| folder.path().join(name);
    std::fs::File::create(path("large")).unwrap().set_len(100_000_000).unwrap();
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(path("binary"), b"timezone = \"UTC\"\nx = \"\xff\xfe\"\n").unwrap();
    for (path, words) in [
        (path("large"), "is 100 MB; a configuration is at most 1 MiB"),
        (path("pipe"), "is a pipe, not a regular file"),
        (folder.path().to_owned(), "is a folder, not a regular file"),
        (PathBuf::from("/dev/zero"), "is a device, not a regular file"),
        (path("binary"), "byte 22 is not UTF-8"),
        (path("gone"), "No such file"),
    ] {
        let rejected = validate(&path).expect_err(words);
        assert_eq!(rejected.diagnostics.len(), 1, "{rejected}");
        assert!(rejected.to_string().contains(words), "{rejected}");
    }
    let rejected = validate(&path("binary")).expect_err("binary");
    assert!(rejected.to_string().contains("binary:2:6"), "{rejected}");
}

#[test]
fn hostile_texts_end_in_an_answer() {
    let deep = format!("a = {}{}\n", "[".repeat(200_000), "]".repeat(200_000));
    let dotted = format!("{}b = 1\n", "a.".repeat(100_000));
    let lines = "= 1\n".repeat(40_000);
    let long = format!("{} = 1\n", "가".repeat(200_000));
    for text in [deep, dotted, lines, long, "[".repeat(500_000), "\"".repeat(500_001), "\0".repeat(1000)] {
        let report = load_text(&text).expect_err("hostile").to_string();
        assert!(report.len() < 2_000_000, "{} bytes", report.len());
    }
    let escape = load_text("\"\\u001b[31m\u{202e}\" = 1 # \u{1b}[31m\n").expect_err("escapes").to_string();
    assert!(!escape.contains('\u{1b}') && !escape.contains('\u{202e}'), "{escape:?}");
}

#[test]
fn many_jobs_are_no_mistake() {
    let text: String = (0..20_000).fold(String::from("[jobs]\n"), |mut text, n| {
        writeln!(text, "j{n}={{schedule=\"@daily\",shell=\":\"}}").unwrap();
        text
    });
    assert_eq!(load_text(&text).unwrap_or_else(|rejected| panic!("{rejected}")).jobs.len(), 20_000);
}

#[test]
fn root_takes_no_file_that_others_could_write() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = folder(&[("jobs.toml", "")]);
    let path = folder.path().join("jobs.toml");
    let owner = std::fs::metadata(&path).unwrap().uid();
    let load_as_root = || load(&path, &LoadOptions::daemon(0));
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    if owner != 0 {
        let report = load_as_root().expect_err("not root's").to_string();
        assert!(
            report.contains(&format!("belongs to user {owner}")) && report.contains("chown root"),
            "{report}"
        );
        return;
    }
    assert!(load_as_root().is_ok());
    chmod(&path, 0o646);
    let report = load_as_root().expect_err("world-writable").to_string();
    assert!(report.contains("mode 0646") && report.contains("chmod go-w"), "{report}");
    assert!(validate(&path).is_ok());
    chmod(&path, 0o600);
    chmod(folder.path(), 0o1777);
    let report = load_as_root().expect_err("folder").to_string();
    assert!(report.contains("mode 1777") && report.contains("chmod go-w"), "{report}");
}

#[test]
fn a_daemon_that_is_not_root_starts_jobs_as_itself_only() {
    let folder = folder(&[("jobs.toml", &format!("{JOB}user = \"root\"\n"))]);
    let path = folder.path().join("jobs.toml");
    let found = lines(&load(&path, &LoadOptions::daemon(65_000)).expect_err("another user"));
    assert!(
        found[0].starts_with("4:8: jobd runs as user 65000 and can't start a job as \"root\""),
        "{found:#?}"
    );
    assert!(validate(&path).is_ok());
    for (line, column, words, help) in [
        ("groups = [\"daemon\"]", 10, "can't give a job other groups", "leave `groups` out"),
        ("nice = -1", 8, "can't give a job a negative `nice`", "0 to 19"),
        ("ionice = \"realtime:0\"", 10, "can't give a job a realtime `ionice`", "\"best-effort:0\""),
    ] {
        std::fs::write(&path, format!("{JOB}{line}\n")).unwrap();
        let found = lines(&load(&path, &LoadOptions::daemon(65_000)).expect_err(line));
        assert!(
            found[0].starts_with(&format!("4:{column}: jobd runs as user 65000 and {words}")),
            "{found:#?}"
        );
        assert!(found[0].contains(help), "{found:#?}");
        assert!(validate(&path).is_ok());
    }
}

#[test]
fn secrets_are_read_late_and_shown_never() {
    const CANARY: &str = "T0CANARY";
    let url = format!("https://hooks.slack.example/services/{CANARY}");
    let channel = |url: &str| format!("[channels.ops]\ntype = \"slack\"\nurl = {url}\n");
    let folder = folder(&[("hook", &format!("{url}\n")), ("jobs.toml", &channel("{ file = \"hook\" }"))]);
    let config = validate(&folder.path().join("jobs.toml")).unwrap_or_else(|rejected| panic!("{rejected}"));
    let jobctl::config::Channel::Slack { url: secret } = &config.channels["ops"];
    assert_eq!(secret.read().ok().map(|text| text.expose().to_owned()), Some(url.clone()));
    assert!(!format!("{config:?}").contains(CANARY));

    let config =
        load_text(&channel("{ env = \"JOBD_TEST_NO_SUCH_VARIABLE\" }")).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].message.contains("JOBD_TEST_NO_SUCH_VARIABLE is not set"));
    assert!(Secret::Env("JOBD_TEST_NO_SUCH_VARIABLE".to_owned()).read().is_err());

    let config = load_text(&channel(&format!("{url:?}"))).unwrap_or_else(|rejected| panic!("{rejected}"));
    assert!(!format!("{config:?}").contains(CANARY));
    for bad in [
        channel(&format!("\"htps://{CANARY}\"")),
        channel(&format!("\"{url}")),
        channel(&format!("\"{url}\" x")),
        channel(&url),
        channel(&format!("[\"{url}\"]")),
        channel(&format!("\"{url}\"\n[jobs.x\n")),
        format!("[channels.ops]\ntype = \"slack\"\nulr = \"{url}\"\n"),
        format!("[channels.ops\ntype = \"slack\"\nhook = \"{url}\" \"\n"),
        format!("[channels]\nops = {{ type = \"slack\", url = \"{url}\", x = 1 }}\n"),
        format!("[channels]\nops = {{ type = \"slack\", url = \"{url}\" \n"),
        format!("[channels]\nops = \"{url}\"\n"),
        format!("[channels.ops]\nurl = {{ text = \"{url}\" }}\ntype = \"slack\"\n"),
        format!("channels = [\"{url}\"]\n"),
        format!("channels.ops.url.value = \"{url}\"\nchannels.ops.type = 1\n"),
    ] {
        let rejected = load_text(&bad).expect_err(&bad);
        assert!(!rejected.render(true).contains(CANARY), "{rejected}");
        assert!(!format!("{rejected:?}").contains(CANARY), "{rejected:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.toml");
        std::fs::write(&path, &bytes).unwrap();
        if let Err(rejected) = validate(&path) {
            prop_assert!(rejected.render(true).contains(" mistake"));
        }
    }

    #[test]
    fn no_near_miss_makes_it_panic(
        cut in 0_usize..600,
        length in 0_usize..40,
        insert in "[\\[\\]{}=\"'#,.\\n가a0-9 \\\\\\t]{0,6}",
    ) {
        let mut text = std::fs::read_to_string(data("ten-mistakes.toml")).unwrap();
        let start = text.floor_char_boundary(cut.min(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
        text.replace_range(start..end, &insert);
        if let Err(rejected) = load_text(&text) {
            prop_assert!(!rejected.to_string().is_empty());
            for place in rejected.diagnostics.iter().filter_map(|diagnostic| diagnostic.place.as_ref()) {
                let line = text.split('\n').nth(place.line - 1);
                prop_assert!(line.is_some_and(|line| place.column <= line.chars().count() + 1));
            }
        }
    }
}
