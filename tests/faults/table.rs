//! The table of `README.md`: each fault has a row, and each test that a row names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The sections that have their tests here: A (life), B (time), D (processes), E (output).
fn expected() -> BTreeSet<String> {
    (1..=23).chain(32..=48).map(|number| format!("F{number:02}")).collect()
}

/// A row: the fault's number, the tests that show it, and the last two columns.
struct Row {
    fault: String,
    tests: Vec<String>,
    observed: String,
    verdict: String,
}

fn rows() -> Vec<Row> {
    let text = include_str!("README.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| F")).map(cells);
    rows.map(|cells| {
        assert_eq!(cells.len(), 8, "six columns: {cells:?}");
        let tests = cells[4].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Row { fault: cells[1].clone(), tests, observed: cells[5].clone(), verdict: cells[6].clone() }
    })
    .collect()
}

#[test]
fn each_fault_has_a_row_with_a_verdict() {
    let rows = rows();
    let faults: Vec<String> = rows.iter().map(|row| row.fault.clone()).collect();
    assert_eq!(faults, expected().into_iter().collect::<Vec<_>>());
    for row in rows {
        let limit = row.verdict.strip_prefix("limit: ");
        assert!(
            row.verdict == "pass" || limit.is_some_and(|why| why.len() > 10),
            "{}: {}",
            row.fault,
            row.verdict
        );
        assert!(
            !row.observed.is_empty() && !row.tests.is_empty(),
            "{}: what was seen, and by which test?",
            row.fault
        );
    }
}

#[test]
fn each_test_that_is_named_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for row in rows() {
        for name in &row.tests {
            let (file, function) = name.split_once("::").unwrap_or_else(|| panic!("{name}: file::name"));
            let text = fs::read_to_string(tests.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("fn {function}(")), "{}: no test {function} in {file}", row.fault);
        }
    }
}
