//! The READMEs are true: every command in them is run or checked, every configuration is validated, and the tables are
//! held against the programs. Both languages have the same commands.

#![expect(unreachable_pub, reason = "the modules of a test are its own")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod document;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../support/jobd.rs"]
mod jobd;
mod stage;
mod tables;

use std::collections::BTreeSet;

use document::{Block, Document, commands, masked};
use jobctl::engine::notice::{BadRun, Notice};
use jobctl::engine::run::Status;
use jobctl::forward::alerts::{Language, Wording};
use stage::Stage;

/// The one that is run; the other is held against it.
pub const ENGLISH: &str = "README.md";
const KOREAN: &str = "README.ko.md";

/// The verbs of jobctl that the README shows, which are to be all of them.
fn verbs(commands: &[String]) -> BTreeSet<String> {
    let words = commands.iter().map(|command| command.trim_start_matches("sudo "));
    words
        .filter_map(|command| command.strip_prefix("jobctl ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_does_what_it_says() {
    let readme = Document::read(ENGLISH);
    let config = &readme.of_kind("toml").next().unwrap().text;
    let jobs: toml::Table = config.parse().unwrap();
    let mut stage = Stage::new(config);
    stage.wait_for_quiet(jobs["jobs"].as_table().unwrap());
    let mut performed = Vec::new();
    for (at, block) in readme.blocks.iter().enumerate().filter(|(_, block)| block.kind == "sh") {
        let mut said = String::new();
        for command in commands(block) {
            said = stage.perform(&command);
            performed.push(command);
        }
        let shown = readme.blocks.get(at + 1).filter(|next| next.kind == "text" && next.follows);
        if let Some(shown) = shown {
            assert_eq!(masked(&shown.text), masked(&said), "what is shown is not what is printed");
        }
    }
    assert_eq!(stage.drop_in(), "[Service]\nGroup=jobd\n");
    assert_eq!(verbs(&performed), tables::verbs_of_help(), "shown, and what there is");
    stage.wait_for_end();
    tables::check_files(&readme, &stage);
    tables::check_exit_codes(&readme, &stage);
    tables::check_columns(&readme, &mut stage);
}

#[test]
fn every_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    for name in [ENGLISH, KOREAN] {
        for block in Document::read(name).of_kind("toml") {
            let file = folder.path().join("jobs.toml");
            std::fs::write(&file, &block.text).unwrap();
            let jobctl = std::process::Command::new(env!("CARGO_BIN_EXE_jobctl"))
                .arg("validate")
                .arg(&file)
                .output()
                .unwrap();
            assert!(jobctl.status.success(), "{name}: {}\n{}", jobd::text(&jobctl.stderr), block.text);
        }
    }
}

/// Comments and prose are translated; commands, configurations and tables of names are not.
#[test]
fn both_languages_say_the_same() {
    let (english, korean) = (Document::read(ENGLISH), Document::read(KOREAN));
    let kinds =
        |document: &Document| document.blocks.iter().map(|block| block.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&english), kinds(&korean));
    for (ours, theirs) in english.blocks.iter().zip(&korean.blocks) {
        assert_eq!(substance(ours), substance(theirs));
    }
    for table in tables::ALL {
        assert_eq!(english.names(table), korean.names(table), "{table}");
    }
    let rows = |document: &Document| document.text.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&korean), "the tables differ in length");
    let heads = |document: &Document| document.text.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(heads(&english), heads(&korean), "the sections differ in number");
}

/// What of a block does not depend on the language.
fn substance(block: &Block) -> String {
    match block.kind.as_str() {
        "sh" => commands(block).join("\n"),
        "toml" => block.text.parse::<toml::Table>().unwrap().to_string(),
        _ => block.text.clone(),
    }
}

#[test]
fn the_alert_is_worded_as_shown() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let (half_an_hour, start) = (std::time::Duration::from_mins(30), at("2026-11-01T10:00:00+09:00"));
    let zone = jiff::tz::TimeZone::get("Asia/Seoul").unwrap();
    let run = BadRun {
        job: "invoice_generation".to_owned().try_into().unwrap(),
        run: jobctl::engine::run::RunId(12),
        status: Status::Timeout,
        scheduled_at: Some(start),
        started_at: start,
        ended_at: at("2026-11-01T10:30:00+09:00"),
        duration: half_an_hour,
        timeout: Some(half_an_hour),
        error: "timed out after 30m".to_owned(),
        end: None,
        error_tail: String::new(),
        remark: None,
        waited_for: Some(
            "python3 pid 4121 waits in recv() on 127.0.0.1:2525, connected 31 s, last output 29 s ago"
                .to_owned(),
        ),
    };
    let message = Wording::new(Language::Ko, zone, "erp-1").unwrap().message(&Notice::Bad(run)).unwrap();
    let readme = Document::read(ENGLISH);
    let shown: Vec<_> = readme.of_kind("text").map(|block| block.text.trim_end()).collect();
    assert!(shown.contains(&message.trim_end()), "{message}");
}
