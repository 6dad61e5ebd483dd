//! The rules. Each looks at one file and tells what is wrong, with its place.

use super::source::{Source, block, line_of, words};

/// Who may use whom among the modules of `src/` (drawn in `src/lib.rs`). What is not here may not be used.
const ARROWS: [(&str, &[&str]); 13] = [
    ("engine", &[]),
    ("failpoint", &[]),
    ("config", &["engine"]),
    // Its timer waits through the runtime, which only `os` may register a descriptor with.
    ("clock", &["engine", "os", "failpoint"]),
    ("store", &["engine"]),
    ("os", &["engine"]),
    ("run", &["engine", "os"]),
    ("output", &["engine"]),
    ("process", &["run", "os", "engine", "failpoint"]),
    ("shim", &["run", "output", "os", "clock", "engine", "failpoint"]),
    ("forward", &["store", "run", "output", "engine", "clock", "failpoint"]),
    ("api", &["store", "run", "output", "engine", "clock"]),
    ("cli", &["api", "config", "engine", "store", "run", "output", "clock"]),
];

/// The daemon joins the parts, and nothing uses it but its program.
const DAEMON: &[&str] =
    &["config", "clock", "process", "store", "forward", "api", "run", "output", "engine", "os", "failpoint"];

/// What the programs use of the library.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("src/bin/jobd.rs", &["daemon", "config"]),
    ("src/bin/jobctl.rs", &["cli"]),
    ("src/bin/jobd-shim.rs", &["shim"]),
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 120;

/// What reads a clock.
const CLOCK_READS: [&str; 6] =
    ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now", "clock_gettime"];

/// What is written when something is put off or was being looked into.
const UNFINISHED_WORDS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
const UNFINISHED_MACROS: [&str; 3] = ["dbg!", "todo!", "unimplemented!"];

/// How statements begin; with a word of what they go on with, they are SQL and not English.
const STATEMENTS: [(&str, &str); 8] = [
    ("SELECT ", " FROM "),
    ("INSERT ", "INTO "),
    ("REPLACE INTO ", ""),
    ("UPDATE ", " SET "),
    ("DELETE FROM ", ""),
    ("CREATE ", "TABLE "),
    ("PRAGMA ", ""),
    ("BEGIN IMMEDIATE", ""),
];

/// The module of `src/` that a file belongs to; none for `lib.rs` and the programs.
fn module(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let first = inner.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "bin")).then_some(name)
}

/// A file uses only modules that its own may use.
pub(crate) fn arrows(source: &Source) -> Vec<String> {
    let (own, allowed) = match module(&source.path) {
        Some("daemon") => ("daemon", DAEMON),
        Some(name) => match ARROWS.iter().find(|(module, _)| *module == name) {
            Some(&(name, allowed)) => (name, allowed),
            None => return vec![source.finding(0, "a module that the table of arrows does not know")],
        },
        None => match PROGRAMS.iter().find(|(path, _)| *path == source.path) {
            Some(&(_, allowed)) => ("", allowed),
            None if source.path == "src/lib.rs" => return vec![],
            None => return vec![source.finding(0, "a program that the table of arrows does not know")],
        },
    };
    let uses = used_modules(source).into_iter();
    uses.filter(|(_, used)| used != own && !allowed.contains(&used.as_str()))
        .map(|(at, used)| source.finding(at, &format!("uses `{used}`, which it may not know")))
        .collect()
}

/// The modules of the library that the shipped code names, and where. `super::` counts where it leads to the root.
fn used_modules(source: &Source) -> Vec<(usize, String)> {
    let code = &source.shipped;
    let mut used = Vec::new();
    for root in ["crate", "jobctl"] {
        for at in words(code, root) {
            let after = code[at + root.len()..].trim_start();
            if let Some(path) = after.strip_prefix("::") {
                used.extend(first_names(path).into_iter().map(|name| (at, name)));
            }
        }
    }
    for at in words(code, "super") {
        let path = code[at..].trim_start_matches("super::");
        let ups = (code.len() - at - path.len()) / "super::".len();
        // The inner ones of a row are part of their row.
        if ups > 0 && ups >= depth(source, at) && !code[..at].ends_with("super::") {
            used.extend(first_names(path).into_iter().map(|name| (at, name)));
        }
    }
    used
}

/// How many `super::` lead from the place to the root: the folders, the file, and the modules written inside it.
fn depth(source: &Source, at: usize) -> usize {
    let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let file = inner.split('/').filter(|part| *part != "mod").count();
    let around = words(&source.shipped, "mod")
        .filter(|&module| block(&source.shipped, module).is_some_and(|block| block.contains(&at)));
    file + around.count()
}

/// The first names of a path, or of each path of a group: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    if !path.starts_with('{') {
        let name = path.chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
        return vec![name];
    }
    let group = block(path, 0).map_or(path, |group| &path[group.start + 1..group.end - 1]);
    let mut depth = 0_i32;
    let parts = group.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).flat_map(first_names).collect()
}

pub(crate) fn long_functions(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for at in words(&source.code, "fn") {
        let named = source.code[at + 2..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
        let Some(body) = block(&source.code, at).filter(|_| named) else { continue };
        let lines = line_of(&source.code, body.end - 1) - line_of(&source.code, at) + 1;
        if lines > FUNCTION_LINES_MAX {
            found.push(
                source.finding(at, &format!("a function of {lines} lines; at most {FUNCTION_LINES_MAX}")),
            );
        }
    }
    found
}

/// Tests in the file do not count.
pub(crate) fn long_file(source: &Source) -> Vec<String> {
    let tests: usize = source.tests.iter().map(|item| source.text[item.clone()].lines().count()).sum();
    let lines = source.text.lines().count() - tests;
    let found = format!("{}: {lines} lines without tests; at most {FILE_LINES_MAX}", source.path);
    if lines > FILE_LINES_MAX { vec![found] } else { vec![] }
}

pub(crate) fn wide_lines(source: &Source) -> Vec<String> {
    let wide = source.text.lines().enumerate().filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX);
    wide.map(|(n, _)| format!("{}:{}: wider than {LINE_CHARS_MAX} characters", source.path, n + 1)).collect()
}

pub(crate) fn clock_reads(source: &Source) -> Vec<String> {
    if source.is_under(&["src/clock.rs", "src/clock/"]) {
        return vec![];
    }
    let reads = CLOCK_READS.iter().flat_map(|read| words(&source.shipped, read).map(move |at| (at, read)));
    reads.map(|(at, read)| source.finding(at, &format!("`{read}` outside clock.rs"))).collect()
}

pub(crate) fn unsafe_code(source: &Source) -> Vec<String> {
    if source.is_under(&["src/os.rs", "src/os/"]) {
        return vec![];
    }
    words(&source.code, "unsafe").map(|at| source.finding(at, "`unsafe` outside os/")).collect()
}

pub(crate) fn allowed_lints(source: &Source) -> Vec<String> {
    let attributes = words(&source.code, "allow").filter(|&at| {
        let before = source.code[..at].trim_end();
        before.ends_with("#[") || before.ends_with("#![") || before.ends_with(',') && in_attribute(before)
    });
    attributes.map(|at| source.finding(at, "a lint that is allowed; expect it, with the reason")).collect()
}

/// Whether the text ends inside `#[…`, as after the comma of `#[cfg_attr(test, allow(…))]`.
fn in_attribute(before: &str) -> bool {
    let opened = before.rfind("#[").max(before.rfind("#!["));
    opened.is_some_and(|at| !before[at..].contains(']'))
}

/// Words are looked for in comments too, macros in code.
pub(crate) fn unfinished(source: &Source) -> Vec<String> {
    let marks = UNFINISHED_WORDS.iter().flat_map(|word| words(&source.text, word).map(move |at| (at, word)));
    let calls = UNFINISHED_MACROS.iter().flat_map(|call| words(&source.code, call).map(move |at| (at, call)));
    marks.chain(calls).map(|(at, what)| source.finding(at, &format!("`{what}` is left"))).collect()
}

pub(crate) fn unordered(source: &Source) -> Vec<String> {
    let names = ["HashMap", "HashSet"];
    let uses = names.iter().flat_map(|name| words(&source.shipped, name).map(move |at| (at, name)));
    uses.map(|(at, name)| source.finding(at, &format!("`{name}` has no order; use the BTree one"))).collect()
}

/// A heuristic: literals that begin as statements do, in the upper case that SQL is written in here.
pub(crate) fn sql(source: &Source) -> Vec<String> {
    if source.is_under(&["src/store.rs", "src/store/", "src/forward/"]) {
        return vec![];
    }
    let mut found: Vec<String> = words(&source.shipped, "sqlx")
        .map(|at| source.finding(at, "`sqlx` outside store/ and forward/"))
        .collect();
    for literal in &source.literals {
        let text = source.text[literal.clone()].trim_start_matches(['b', 'c', 'r', '#', '"']).trim_start();
        let is_sql = STATEMENTS.iter().any(|(head, then)| text.starts_with(head) && text.contains(then));
        if is_sql && !source.tests.iter().any(|item| item.contains(&literal.start)) {
            found.push(source.finding(literal.start, "SQL outside store/ and forward/"));
        }
    }
    found
}

pub(crate) fn undocumented(source: &Source) -> Vec<String> {
    let first = source.text.lines().find(|line| !line.starts_with("#!["));
    if first.is_some_and(|line| line.starts_with("//! ")) {
        return vec![];
    }
    vec![source.finding(0, "does not begin by saying what it is (`//!`)")]
}
