//! Shows that each rule finds what it looks for, and leaves alone what merely looks like it.

use super::rules;
use super::source::Source;

#[track_caller]
fn assert_found(rule: fn(&Source) -> Vec<String>, path: &str, text: &str, lines: &[usize]) {
    let found = rule(&Source::new(path, text));
    let places: Vec<usize> =
        found.iter().map(|finding| finding.split(':').nth(1).unwrap().trim().parse().unwrap()).collect();
    assert_eq!(places, lines, "{path}: {text:?}: {found:?}");
}

#[test]
fn arrows_against_the_stream_are_found() {
    let cases = [
        ("src/engine/run.rs", "use crate::store::Store;"),
        ("src/engine/run.rs", "use super::super::store::Store;"),
        ("src/clock.rs", "use super::daemon::Loop;"),
        ("src/run/mod.rs", "use crate::{engine::run::RunId, store};"),
        ("src/run/mod.rs", "use crate::{\n    engine,\n    output::{Tail, tail},\n};"),
        ("src/store/mod.rs", "fn f() { crate :: forward::alerts::run(); }"),
        ("src/forward/mod.rs", "mod inner { use super::super::config::Config; }"),
        ("src/cli/mod.rs", "use crate::daemon::run;"),
        ("src/bin/jobctl.rs", "fn main() { jobctl::daemon::main() }"),
        ("src/bin/other.rs", ""),
        ("src/utilities.rs", ""),
    ];
    for (path, text) in cases {
        assert_found(rules::arrows, path, text, &[1]);
    }
}

#[test]
fn arrows_with_the_stream_are_fine() {
    let cases = [
        ("src/engine/run.rs", "use super::job::JobName; use crate::engine::time::Now;"),
        ("src/engine/run.rs", "// use crate::store::Store;\nconst A: &str = \"crate::store\";"),
        ("src/engine/run.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; }"),
        ("src/engine/run.rs", "#[cfg(test)]\nuse crate::store::Store;\npub(crate) fn f() {}"),
        ("src/daemon/mod.rs", "use crate::{api, config, engine::{run, job}};"),
        ("src/forward/alerts/mod.rs", "use super::super::forward::x; use super::history;"),
        ("src/bin/jobd.rs", "fn main() { jobctl::daemon::main(jobctl::config::load()) }"),
        ("src/lib.rs", "pub use crate::daemon::run;"),
        ("src/run/mod.rs", "pub(super) fn f() { super::run::g() }"),
    ];
    for (path, text) in cases {
        assert_found(rules::arrows, path, text, &[]);
    }
}

#[test]
fn long_functions_and_files_are_found() {
    let function = |lines: usize| format!("\nfn f(a: [u8; 2]) {{{}}}", "\n".repeat(lines - 1));
    assert_found(rules::long_functions, "src/a.rs", &function(70), &[]);
    assert_found(rules::long_functions, "src/a.rs", &function(71), &[2]);
    let brace = function(71).replace("{\n", "{ let a = '{'; let b = \"{\"; let c = r#\"\"{\"#; // {\n");
    assert_found(rules::long_functions, "src/a.rs", &format!("{brace}\nfn g() {{}}"), &[2]);
    assert_found(rules::long_functions, "src/a.rs", "trait T { fn f(); fn g() {} }", &[]);
    let file = |lines: usize| "const A: u8 = 1;\n".repeat(lines) + "#[cfg(test)]\nmod tests {\n\n\n}\n";
    assert_eq!(rules::long_file(&Source::new("src/a.rs", &file(500))).len(), 0);
    assert_eq!(rules::long_file(&Source::new("src/a.rs", &file(501))).len(), 1);
}

#[test]
fn wide_lines_are_counted_in_characters() {
    let text = format!("//{}\n//{}", "가".repeat(118), "가".repeat(119));
    assert_found(rules::wide_lines, "src/a.rs", &text, &[2]);
}

#[test]
fn clock_reads_are_found() {
    let text = "fn f() { std::time::Instant::now(); }\nfn g() { rustix::time::clock_gettime(id); }";
    assert_found(rules::clock_reads, "src/store/mod.rs", text, &[1, 2]);
    assert_found(rules::clock_reads, "src/clock.rs", text, &[]);
    assert_found(rules::clock_reads, "src/a.rs", "// Instant::now\nfn f() { clock::now(); }", &[]);
}

#[test]
fn unsafe_code_is_found() {
    assert_found(rules::unsafe_code, "src/run/mod.rs", "fn f() { unsafe { g() } }", &[1]);
    assert_found(rules::unsafe_code, "src/os/mod.rs", "fn f() { unsafe { g() } }", &[]);
    assert_found(rules::unsafe_code, "src/a.rs", "#![deny(unsafe_code)] // unsafe", &[]);
}

#[test]
fn allowed_lints_are_found() {
    let text =
        "#![allow(a)]\n#[allow(a)]\n#[cfg_attr(test, allow(a))]\n#[expect(a)]\nfn f() { g(1, allow(2)) }";
    assert_found(rules::allowed_lints, "src/a.rs", text, &[1, 2, 3]);
}

#[test]
fn what_is_left_unfinished_is_found() {
    let text = format!("// {}: later\nfn f() {{ dbg{}(1) }}\n// todo lists", concat!("TO", "DO"), '!');
    assert_found(rules::unfinished, "src/a.rs", &text, &[1, 2]);
}

#[test]
fn unordered_maps_are_found() {
    assert_found(rules::unordered, "src/a.rs", "use std::collections::{BTreeMap, HashMap};", &[1]);
    assert_found(rules::unordered, "src/a.rs", "use std::collections::BTreeMap; // HashMap", &[]);
}

#[test]
fn sql_is_found() {
    let text = "const A: &str = \"SELECT a FROM b\";\nconst B: &str = r#\"\n  UPDATE a SET b = 1\"#;\nuse sqlx::query;";
    assert_found(rules::sql, "src/api/mod.rs", text, &[4, 1, 2]);
    assert_found(rules::sql, "src/store/mod.rs", text, &[]);
    assert_found(rules::sql, "src/a.rs", "const A: &str = \"UPDATE failed\"; // \"SELECT 1 FROM a\"", &[]);
}

#[test]
fn files_that_do_not_say_what_they_are_are_found() {
    assert_found(rules::undocumented, "src/a.rs", "use a;\n//! What it is.", &[1]);
    assert_found(rules::undocumented, "src/a.rs", "", &[1]);
    assert_found(rules::undocumented, "src/a.rs", "//! What it is.\n", &[]);
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let text = "a /* /* unsafe */ unsafe */ b 'x' '\\'' '\"' 'a: r\"unsafe\" b\"\\\" unsafe\" r#type unsafe";
    let source = Source::new("src/a.rs", text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.matches("unsafe").count(), 1, "{}", source.code);
    assert!(source.code.contains("'a:") && source.code.contains("r#type"), "{}", source.code);
}
