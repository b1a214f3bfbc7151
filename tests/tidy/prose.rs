//! Owns the rules of plain English that a test can hold, and how prose is found in a file.
//!
//! Leaves to readers what no list of words can tell.

use std::path::Path;

use super::{files, none};

/// Words that are never right, and what is.
///
/// A pattern is a sequence of words in which `a|b` stands for either and `*` for any. A sentence in which one of the
/// exceptions stands is right.
struct Rule {
    pattern: &'static str,
    except: &'static [&'static str],
    instead: &'static str,
}

const fn rule(pattern: &'static str, instead: &'static str) -> Rule {
    Rule { pattern, except: &[], instead }
}

const RULES: [Rule; 17] = [
    rule("in front of", "`before`, of time and order"),
    Rule {
        pattern: "behind",
        except: &[
            "behind a proxy",
            "behind the proxy",
            "behind a captive portal",
            "behind the connector's back",
            "behind a feature",
            "behind one interface",
            "behind one lock",
            "far behind",
            "s behind",
            "falls behind",
            "fall behind",
            "left behind",
            "leaves nothing behind",
            "leave nothing behind",
            "behind the server's",
            "behind the store's",
        ],
        instead: "`after`, of time and order",
    },
    rule("or none", "`or `None``, of a value; otherwise say which case has none"),
    rule("chance", "`randomness`, or `probability`"),
    rule("take|takes|taken|took|taking up again", "`resume`"),
    rule("a|each|every|next|that|same|this pass", "`poll`, of a source"),
    Rule {
        pattern: "one|two|three * a|an operation|case|request|record|object|second|minute|line|key|day|file|instance|call",
        except: &["one of a|an"],
        instead: "`per`: one method per operation",
    },
    rule("times a|an second|minute|hour|day|week|month|year|request|run", "`per`: ten times per second"),
    rule(
        "byte|bytes|kib|mib|gib|requests|objects|records|lines|polls a|an second|minute|hour|day|month|year",
        "`per`: 8 MiB per second",
    ),
    rule("a process|instance|run each", "`per`"),
    rule("whoever", "the agent by name: `the source`, `the caller`"),
    rule("for good", "`permanently`"),
    rule("asks|ask|asked|asking again", "`retry`"),
    rule("let|lets|letting out", "`allow`, of requests"),
    rule("request|requests is|are|was|were kept in", "`denied`, of requests"),
    rule("overtaken", "`superseded`"),
    rule("hasty", "`fail-fast`"),
];

/// After these, a final `else` is right.
const BEFORE_ELSE: [&str; 24] = [
    "anybody",
    "anyone",
    "anything",
    "anywhere",
    "everybody",
    "everyone",
    "everything",
    "everywhere",
    "how",
    "much",
    "nobody",
    "nothing",
    "nowhere",
    "one",
    "somebody",
    "someone",
    "something",
    "somewhere",
    "what",
    "whatever",
    "when",
    "where",
    "who",
    "whose",
];

/// A word of prose: as it is written, as it is compared, and where it stands.
struct Word {
    written: String,
    plain: String,
    line: usize,
}

/// Words that follow each other in one text.
type Text = Vec<Word>;

fn push_words(text: &mut Text, line: usize, prose: &str) {
    for written in prose.split_whitespace() {
        let is_edge = |letter: char| !letter.is_alphanumeric();
        let plain = written.trim_matches(is_edge).to_lowercase();
        text.push(Word { written: written.to_owned(), plain, line });
    }
}

/// Comments of a Rust file, each block a text, its string literals, and the names of its tests.
fn of_rust(source: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    let mut block = Text::new();
    let (mut string, mut raw_end) = (None::<Text>, None::<String>);
    for (line, code) in (1..).zip(source.lines()) {
        let trimmed = code.trim_start();
        if string.is_none() && trimmed.starts_with("//") {
            push_words(&mut block, line, trimmed.trim_start_matches(['/', '!']));
            continue;
        }
        texts.push(std::mem::take(&mut block));
        if let Some((_, name)) = code.split_once("fn ")
            && let Some((name, _)) = name.split_once('(')
            && name.matches('_').count() > 2
        {
            let mut words = Text::new();
            push_words(&mut words, line, &name.replace('_', " "));
            texts.push(words);
        }
        literals(code, line, &mut string, &mut raw_end, &mut texts);
    }
    texts.push(block);
    texts
}

/// The string literals of a line; one may have begun before it, and may go on after it.
fn literals(code: &str, line: usize, string: &mut Option<Text>, raw_end: &mut Option<String>, texts: &mut Vec<Text>) {
    let mut rest = code;
    loop {
        if let Some(mut words) = string.take() {
            let end = match raw_end.as_deref() {
                Some(end) => rest.find(end).map(|at| (at, end.len())),
                None => end_of_literal(rest).map(|at| (at, 1)),
            };
            let Some((at, length)) = end else {
                push_words(&mut words, line, rest.trim_end_matches('\\'));
                *string = Some(words);
                return;
            };
            push_words(&mut words, line, &rest[..at]);
            // A word alone is a value.
            if words.len() > 1 {
                texts.push(words);
            }
            *raw_end = None;
            rest = &rest[at + length..];
        }
        // A comment after code, too.
        let quote = rest.find('"');
        if let Some(at) = rest.find("// ")
            && quote.is_none_or(|quote| at < quote)
        {
            let mut words = Text::new();
            push_words(&mut words, line, &rest[at + 3..]);
            texts.push(words);
            return;
        }
        let Some(quote) = quote else { return };
        let before = &rest[..quote];
        rest = &rest[quote + 1..];
        if before.ends_with('\'') && rest.starts_with('\'') || before.ends_with("'\\") {
            continue;
        }
        let hashes = before.len() - before.trim_end_matches('#').len();
        if before[..before.len() - hashes].ends_with('r') {
            *raw_end = Some(format!("\"{}", "#".repeat(hashes)));
        }
        *string = Some(Text::new());
    }
}

/// Where a literal without hashes ends.
fn end_of_literal(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Paragraphs of a paper, without what stands in fences.
fn of_markdown(source: &str) -> Vec<Text> {
    let (mut texts, mut text, mut is_fenced) = (Vec::new(), Text::new(), false);
    for (line, prose) in (1..).zip(source.lines()) {
        if prose.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if prose.trim().is_empty() || prose.starts_with('#') || prose.trim_start().starts_with("- ") {
            texts.push(std::mem::take(&mut text));
            push_words(&mut text, line, prose);
        } else if !is_fenced {
            push_words(&mut text, line, prose);
        }
    }
    texts.push(text);
    texts
}

/// Comments that `mark` begins.
fn of_comments(source: &str, mark: &str) -> Vec<Text> {
    let (mut texts, mut text) = (Vec::new(), Text::new());
    for (line, code) in (1..).zip(source.lines()) {
        match code.split_once(mark) {
            Some((_, prose)) => push_words(&mut text, line, prose.trim_start_matches(['/', '#'])),
            None => texts.push(std::mem::take(&mut text)),
        }
    }
    texts.push(text);
    texts
}

/// Whether the words begin with the pattern, in one clause.
fn matches(words: &[Word], pattern: &str) -> bool {
    let expected: Vec<_> = pattern.split(' ').collect();
    let Some(words) = words.get(..expected.len()) else { return false };
    let is = |word: &Word, expected: &str| expected == "*" || expected.split('|').any(|option| option == word.plain);
    let goes_on = words.iter().rev().skip(1).all(|word| !word.written.ends_with([',', '.', ';', ':']));
    goes_on && words.iter().zip(expected).all(|(word, expected)| is(word, expected))
}

/// Where the text breaks the rule.
fn breaches<'t>(text: &'t [Word], rule: &Rule) -> impl Iterator<Item = &'t Word> {
    (0..text.len())
        .filter(|at| matches(&text[*at..], rule.pattern))
        .filter(|at| {
            let excepted = |exception: &str| {
                let length = exception.split(' ').count();
                (at.saturating_sub(length - 1)..=*at).any(|from| matches(&text[from..], exception))
            };
            !rule.except.iter().any(|exception| excepted(exception))
        })
        .map(|at| &text[at])
}

/// Whether the word is an `else` that means `otherwise`.
fn is_final_else(text: &[Word], at: usize) -> bool {
    let (word, before) = (&text[at], at.checked_sub(1).map(|before| &text[before]));
    let Some(before) = before.filter(|_| word.plain == "else") else { return false };
    let ends = word.written.ends_with(['.', ';', ':', ',', ')']) || at + 1 == text.len();
    let follows = before.written.ends_with([',', ';']);
    (ends || follows) && !BEFORE_ELSE.contains(&before.plain.as_str())
}

fn is_tidys_own(name: &str) -> bool {
    name.starts_with("tests/tidy/")
}

#[test]
fn prose_is_plain_english() {
    let mut problems = Vec::new();
    for (name, source) in files("", "").into_iter().filter(|(name, _)| !is_tidys_own(name)) {
        let ending = Path::new(&name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let texts = match ending {
            "rs" => of_rust(&source),
            "md" => of_markdown(&source),
            "wit" => of_comments(&source, "//"),
            "toml" | "sh" | "py" => of_comments(&source, "# "),
            _ if name == "Makefile" || name == ".ci/run" => of_comments(&source, "# "),
            _ => continue,
        };
        let mut note = |word: &Word, instead: &str| {
            problems.push(format!("{name}:{}: `{}`: better {instead}", word.line, word.written));
        };
        for text in &texts {
            for rule in &RULES {
                breaches(text, rule).for_each(|word| note(word, rule.instead));
            }
            let finals = (0..text.len()).filter(|at| is_final_else(text, *at));
            finals.for_each(|at| note(&text[at], "`otherwise`"));
        }
    }
    none(problems);
}

#[test]
fn prose_is_found_where_it_stands() {
    let source = "//! One method an\n//! operation, or 1 else.\nlet a = \"x\"; // behind\nlet b = \"in front \\\n    of\";\nlet c = r#\"for whoever\"#;";
    let texts = of_rust(source);
    let found: Vec<_> = RULES.iter().flat_map(|rule| texts.iter().flat_map(|text| breaches(text, rule))).collect();
    let found: Vec<_> = found.into_iter().map(|word| (word.line, word.plain.as_str())).collect();
    assert_eq!(found, [(4, "in"), (3, "behind"), (1, "one"), (6, "whoever")]);
    assert!(texts.iter().any(|text| (0..text.len()).any(|at| is_final_else(text, at))));
    let right = of_markdown("Nothing else. It runs behind a proxy.\n\n```\nbehind\n```\n");
    assert!(RULES.iter().all(|rule| right.iter().all(|text| breaches(text, rule).next().is_none())));
    assert!(right.iter().all(|text| (0..text.len()).all(|at| !is_final_else(text, at))));
}
