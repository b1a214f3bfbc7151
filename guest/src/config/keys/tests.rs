//! Owns which keys globs take, which lists of globs are refused, and that matching agrees with the plainest matcher there
//! is.

use super::*;

fn globs(text: &str) -> Globs {
    GlobList.parse(text).expect(text)
}

fn problem(text: &str) -> String {
    let problem = GlobList.parse(text).expect_err(text).into_owned();
    problem.strip_prefix("globs such as `2026/**, *.json`; ").expect(&problem).to_owned()
}

#[test]
fn a_glob_takes_keys_as_wholes() {
    for (glob, taken, refused) in [
        ("a", &["a"][..], &["", "A", "aa", "a/", "/a", "b"][..]),
        ("*", &["", "a", "ä.json", " "], &["a/b", "/", "a/"]),
        ("*.json", &["a.json", ".json", "a.json.json"], &["a/b.json", "a.JSON", "a.json "]),
        ("a*b*c", &["abc", "aXbYc", "abbcc", "abcbc"], &["ab", "ac", "abcd", "a/bc"]),
        ("?", &["a", "ä", "\u{10ffff}", "*"], &["", "ab", "/"]),
        ("a/*/b", &["a/x/b", "a//b"], &["a/b", "a/x/y/b"]),
        ("**", &["", "a", "a/b", "/", "a//"], &[]),
        ("a/**", &["a/", "a/b", "a/b/c", "a//"], &["a", "ab", "b/a/"]),
        ("**/a", &["a", "x/a", "x/y/a", "/a"], &["xa", "x/ya", "a/x"]),
        ("**/*.json", &["a.json", "x/y/a.json", "/.json"], &["a.json/x"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b", "a//b", "a/b/b"], &["ab", "a/xb", "a/b/x"]),
        ("**/a*/**/b", &["a/b", "ab/b", "x/a/y/b", "a/a/b/b"], &["a", "b", "xa/b", "a/xb"]),
        ("**/", &["", "a/", "a/b/"], &["a", "a/b"]),
        ("[abc]", &["a", "b", "c"], &["", "d", "ab", "A"]),
        ("[a-cx]", &["a", "b", "c", "x"], &["d", "-", "w"]),
        ("[!a-c]", &["d", "ä", "-"], &["a", "b", "/", ""]),
        ("[^ä]", &["a", "ö"], &["ä", "/"]),
        ("[]-]", &["]", "-"], &["[", "a"]),
        ("[!]]", &["a", "["], &["]"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[+-9]", &["+", "9", "."], &["/"]),
        ("[*?{},]", &["*", "?", "{", "}", ","], &["a", "[", "\\"]),
        (r"[\]\\\-a]", &["]", "\\", "-", "a"], &["[", "b"]),
        ("{a,b}c", &["ac", "bc"], &["a", "b", "c", "abc"]),
        ("{a,b/*,}.{x,{y,z}1}", &["a.x", "b/q.y1", ".z1", "b/.x"], &["b.x", "a.y", "a.1"]),
        ("{**/,}a", &["a", "x/a"], &["xa"]),
        ("x{}y", &["xy"], &["x{}y"]),
        (r"\*\?\[\]\{\}\,\\", &[r"*?[]{},\"], &["a"]),
        (r"a\b", &["ab"], &[r"a\b"]),
        ("a b", &["a b"], &["ab"]),
        (r"\ a\ ", &[" a "], &["a"]),
        ("!a", &["!a"], &["a", "b"]),
        ("2026-{0[1-6],1?}-*/**", &["2026-01-31/a", "2026-12-/b/c"], &["2026-07-01/a", "2026-01-31"]),
    ] {
        let globs = globs(glob);
        for key in taken {
            assert!(globs.match_any(key), "`{glob}` takes `{key}`");
        }
        for key in refused {
            assert!(!globs.match_any(key), "`{glob}` does not take `{key}`");
        }
    }
}

#[test]
fn lists_have_commas_and_blanks_between_globs() {
    for text in ["a,b", " a , b ", "a,\n\tb\n", "{a,b}", "{ a, b }"] {
        let globs = globs(text);
        assert!(globs.match_any("a") && globs.match_any("b") && !globs.match_any("c"), "{text:?}");
    }
    for text in ["a\\,b", "a[,]b"] {
        assert!(globs(text).match_any("a,b") && !globs(text).match_any("a"), "{text:?}");
    }
    assert_eq!(globs(" \n"), Globs::default());
}

#[test]
fn exclude_wins_over_include_and_include_over_nothing() {
    let filter = |include, exclude| KeyFilter { include: globs(include), exclude: globs(exclude) };
    for (filter, taken, refused) in [
        (filter("", ""), &["", "a", "b/c"][..], &[][..]),
        (filter("a*", ""), &["a", "ab"], &["", "b", "a/b"]),
        (filter("", "a*"), &["", "b", "a/b"], &["a", "ab"]),
        (filter("a*, b", "*b"), &["a", "ac"], &["ab", "b", "c"]),
    ] {
        assert_eq!(filter.is_all(), refused.is_empty());
        for key in taken {
            assert!(filter.takes(key), "{filter:?} takes `{key}`");
        }
        for key in refused {
            assert!(!filter.takes(key), "{filter:?} does not take `{key}`");
        }
    }
    assert_eq!(KeyFilter::default(), filter("", ""));
}

#[test]
fn globs_that_repeat_the_prefix_or_begin_with_a_slash_are_doubted() {
    for (prefix, include, exclude, says) in [
        ("p/", "p/*.json", "", "`keys.include`: a glob is compared with what follows the prefix"),
        ("p/", "**", "a, {p,q}/x", "`keys.exclude`: a glob is compared with what follows the prefix"),
        ("p/", "/a", "", "`keys.include`: a glob begins with a slash"),
        ("", "", "/a/**", "`keys.exclude`: a glob begins with a slash"),
    ] {
        let filter = KeyFilter { include: globs(include), exclude: globs(exclude) };
        let doubt = filter.doubt(prefix).expect(include);
        assert!(doubt.contains(says), "{doubt}");
    }
    for (prefix, include) in [("", "p/*"), ("p", "p/*"), ("logs", "/a"), ("p/", "*p/**"), ("p/", "")] {
        let filter = KeyFilter { include: globs(include), exclude: Globs::default() };
        assert_eq!(filter.doubt(prefix), None, "{prefix} {include}");
    }
}

#[test]
fn a_refused_list_says_where_and_why() {
    for (text, expected) in [
        ("a{b", r"the `{` at character 2 is never closed: `\{` stands for itself"),
        ("a{b,{c}", r"the `{` at character 2 is never closed: `\{` stands for itself"),
        ("ä}", r"the `}` at character 2 closes nothing: `\}` stands for itself"),
        ("a,b]", r"the `]` at character 4 closes nothing: `\]` stands for itself"),
        ("ab[c", r"the `[` at character 3 is never closed: `\[` stands for itself"),
        ("[]", r"the `[` at character 1 is never closed: `\[` stands for itself"),
        ("[!]", r"the `[` at character 1 is never closed: `\[` stands for itself"),
        ("[a-", r"the `[` at character 1 is never closed: `\[` stands for itself"),
        ("x[z-a]", "the range `z-a` at character 3 has its ends the wrong way round"),
        (r"a\", r"the `\` at character 2 has nothing after it: `\\` stands for itself"),
        (r"[\", r"the `\` at character 2 has nothing after it: `\\` stands for itself"),
        ("a,,b", "the one at character 3 is empty"),
        ("a,", "the one at character 3 is empty"),
        ("{a,}", "the one at character 1 is empty"),
        ("a**", "the `**` at character 2 must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`"),
        ("**.json", "the `**` at character 1 must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`"),
        ("b,a/***", "the `**` at character 5 must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`"),
        ("[a]**/b", "the `**` at character 4 must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`"),
        ("{a,b/}**", "the `**` at character 7 must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`"),
        ("{{{{{{{{{a}}}}}}}}}", "the `{` at character 9 is nested more than 8 deep"),
    ] {
        assert_eq!(problem(text), expected, "{text}");
    }
}

#[test]
fn braces_are_expanded_up_to_a_bound() {
    assert_eq!(globs(&"{a,b}".repeat(9)).0.len(), 512);
    for text in ["{a,b}".repeat(40), "{,,,}".repeat(40), format!("{{a,b}}{}", "x".repeat(PIECES_MAX))] {
        assert!(problem(&text).starts_with("with their braces expanded they are too long from character "), "{text}");
    }
}

#[test]
fn no_key_takes_long() {
    let key = format!("{}/{}c", "a".repeat(500), "a/".repeat(250));
    for glob in
        ["*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/b", "**/*a*/**/*a*a*a/**/*a*a*a*b", "{*a,*a}{*a,*a}{*a,*a}b"]
    {
        let globs = globs(glob);
        // A matcher that tried all ways would not end in this century.
        (0..100).for_each(|_| assert!(!globs.match_any(&key), "{glob}"));
    }
}

/// Whether `key` matches, trying all ways.
fn tries_all(tokens: &[Token], key: &str) -> bool {
    let Some((token, after)) = tokens.split_first() else {
        return key.is_empty();
    };
    let ends = (0..=key.len()).filter(|end| key.is_char_boundary(*end));
    let takes = |taken: &str| match token {
        Token::Text(text) => *taken == **text,
        Token::One => taken.chars().count() == 1 && taken != "/",
        Token::Set(set) => taken.chars().count() == 1 && taken.chars().all(|character| set.takes(character)),
        Token::Star => !taken.contains('/'),
        Token::Segments => taken.is_empty() || taken.ends_with('/'),
        Token::Rest => true,
    };
    ends.into_iter().any(|end| takes(&key[..end]) && tries_all(after, &key[end..]))
}

/// Calls `visit` with every text of at most `length` of these parts.
fn every_text(parts: &[&str], length: usize, text: &mut String, visit: &mut impl FnMut(&str)) {
    visit(text);
    if length > 0 {
        for part in parts {
            let before = text.len();
            text.push_str(part);
            every_text(parts, length - 1, text, visit);
            text.truncate(before);
        }
    }
}

#[test]
fn matching_agrees_with_trying_all_ways() {
    let mut keys = Vec::new();
    every_text(&["a", "b", "/"], 6, &mut String::new(), &mut |key| keys.push(key.to_owned()));
    let (mut tried, mut taken) = (0, 0);
    every_text(&["a", "*", "**/", "/", "[!a]"], 6, &mut String::new(), &mut |glob| {
        let Ok(globs) = GlobList.parse(glob) else {
            return;
        };
        // Every 7th: all of them take a minute, and were once tried.
        for key in keys.iter().skip(tried % 7).step_by(7) {
            let matches = globs.match_any(key);
            assert_eq!(matches, globs.0.iter().any(|glob| tries_all(&glob.0, key)), "`{glob}` and `{key}`");
            taken += usize::from(matches);
        }
        tried += 1;
    });
    assert!(tried > 5000 && taken > 10_000, "{tried} globs, {taken} keys taken");
}
