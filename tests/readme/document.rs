//! The parts of a README that can be held to their word: fenced blocks, commands, tables.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The word after the fence.
    pub kind: String,
    /// What it holds.
    pub text: String,
    /// Whether nothing but white space stands between it and the block before.
    pub follows: bool,
}

/// A README of one language.
#[derive(Debug)]
pub struct Document {
    pub name: &'static str,
    pub text: String,
    pub blocks: Vec<Block>,
}

impl Document {
    pub fn read(name: &'static str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(path).unwrap();
        Self { name, blocks: blocks(&text), text }
    }

    /// The blocks of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }

    /// The rows of the table under `<!-- table: NAME -->`, without its head; code marks are taken off.
    #[track_caller]
    pub fn table(&self, name: &str) -> Vec<Vec<String>> {
        let mark = format!("<!-- table: {name} -->\n");
        let at = self.text.find(&mark).unwrap_or_else(|| panic!("{} has no table {name}", self.name));
        let rows = self.text[at + mark.len()..].lines().take_while(|line| line.starts_with('|'));
        rows.skip(2).map(cells).collect()
    }

    /// The first cells of that table.
    #[track_caller]
    pub fn names(&self, table: &str) -> Vec<String> {
        self.table(table).into_iter().map(|row| row[0].clone()).collect()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut follows) = (false, false);
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(kind), false) => {
                found.push(Block { kind: kind.to_owned(), text: String::new(), follows });
                open = true;
            }
            (Some(_), true) => (open, follows) = (false, true),
            (None, true) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => follows &= line.trim().is_empty(),
        }
    }
    assert!(!open, "a block is not closed");
    found
}

fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|").replace('`', "")).collect()
}

/// The commands of a block of shell, one a line, without their comments.
pub fn commands(block: &Block) -> Vec<String> {
    let commands = block.text.lines().map(without_comment);
    commands.filter(|command| !command.is_empty()).map(str::to_owned).collect()
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return line[..at].trim(),
            _ => {}
        }
        before = c;
    }
    line.trim()
}

/// Output with what differs from run to run taken out: instants, lengths of time, and the spaces between columns.
pub fn masked(output: &str) -> Vec<String> {
    let line = |line: &str| line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ");
    output.lines().map(line).collect()
}

fn mask(word: &str) -> &str {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if matches!(shape.as_str(), "0000-00-00" | "00:00:00") {
        return "TIME";
    }
    let units = shape.trim_start_matches(['0', '.']);
    if units.len() < shape.len() && matches!(units, "ms" | "s" | "m" | "h" | "d") { "LENGTH" } else { word }
}

#[test]
fn a_document_is_taken_apart() {
    let text = "a\n```sh\nx 'a # b' # c\n\n# d\n```\n\n```text\nout\n```\nb\n```text\nno\n```\n";
    let blocks = blocks(text);
    let kinds: Vec<_> = blocks.iter().map(|block| (block.kind.as_str(), block.follows)).collect();
    assert_eq!(kinds, [("sh", false), ("text", true), ("text", false)]);
    assert_eq!(commands(&blocks[0]), ["x 'a # b'"]);
    let document =
        Document { name: "x", text: "<!-- table: t -->\n|a|b|\n|-|-|\n| `c\\|d` | e |\n\n".into(), blocks };
    assert_eq!(document.table("t"), [["c|d", "e"]]);
    assert_eq!(masked("a  2026-11-22 20:59:04   26ms 1.5s s 12"), ["a TIME TIME LENGTH LENGTH s 12"]);
}
