//! The structure as a test: who may know whom, how long things may be, and what must not be written at all.
//!
//! The checks read the sources as text with comments and literals blanked out (`source.rs`), so they need no
//! dependency, and each is shown to find what it looks for by samples of its own (`samples.rs`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rules;
mod samples;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Reads every Rust file under the given folders of the package, by their paths relative to it.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut found);
    }
    found.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| Source::new(&relative(path), &fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    // `benches` and `examples` may not be there; a folder that cannot be read otherwise is a mistake.
    if !folder.exists() {
        return;
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn shipped() -> Vec<Source> {
    let sources = sources(&["src"]);
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the sources are not where they were");
    sources
}

fn all() -> Vec<Source> {
    sources(&["src", "tests", "benches", "examples"])
}

#[track_caller]
fn assert_tidy(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn modules_know_only_whom_they_may() {
    assert_tidy(&shipped(), rules::arrows);
}

#[test]
fn functions_fit_a_screen() {
    assert_tidy(&all(), rules::long_functions);
}

#[test]
fn files_stay_short() {
    assert_tidy(&shipped(), rules::long_file);
}

#[test]
fn lines_stay_narrow() {
    assert_tidy(&all(), rules::wide_lines);
}

#[test]
fn only_the_clock_module_reads_a_clock() {
    assert_tidy(&shipped(), rules::clock_reads);
}

#[test]
fn only_the_os_module_is_unsafe() {
    assert_tidy(&shipped(), rules::unsafe_code);
}

#[test]
fn lints_are_expected_and_never_allowed() {
    assert_tidy(&all(), rules::allowed_lints);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_tidy(&all(), rules::unfinished);
}

#[test]
fn maps_and_sets_have_an_order() {
    assert_tidy(&shipped(), rules::unordered);
}

#[test]
fn only_the_store_and_the_forwarders_speak_sql() {
    assert_tidy(&shipped(), rules::sql);
}

#[test]
fn every_file_says_what_it_is() {
    assert_tidy(&all(), rules::undocumented);
}
