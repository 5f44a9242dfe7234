//! Java's properties syntax: `key = value` lines, comments, continued lines, escapes.
//!
//! Kafka's configuration files are written in it, so an operator's `server.properties` is read as
//! it stands. The syntax has no errors but one: a `\u` escape that is not four hexadecimal digits.

/// One assignment, with the line it began on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// Parses a whole file; the error names the line.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment>, String> {
    let mut assignments = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_continued(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, more)) => logical.push_str(more.trim_start()),
                None => break,
            }
        }
        let line = index + 1;
        let (key, value) = split(&logical);
        let unescape = |part| unescape(part).map_err(|e| format!("line {line}: {e}"));
        assignments.push(Assignment { line, key: unescape(key)?, value: unescape(value)? });
    }
    Ok(assignments)
}

/// An odd number of trailing backslashes continues the line; an even number are escaped ones.
fn ends_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped `=`, `:` or white space.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        escaped = !escaped && *c == '\\';
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start().trim_end_matches(['\r', ' ', '\t']))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => plain.push(unicode(&mut chars)?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

fn unicode(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let digits: String = chars.take(4).collect();
    let code = (digits.len() == 4).then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
    code.and_then(char::from_u32).ok_or_else(|| {
        format!("\\u{digits} is not an escaped character; four hex digits follow \\u")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|a| (a.key, a.value)).collect()
    }

    #[test]
    fn the_forms_java_accepts_are_read_alike() {
        let text =
            "# comment\n! comment\n\n a=1\nb : 2\nc 3\nd\ne = x\\\n    y\nf\\ g=\\u0041\\n\n";
        let expected = [("a", "1"), ("b", "2"), ("c", "3"), ("d", ""), ("e", "xy"), ("f g", "A\n")];
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert!(parse("a=1\nb=\\u12").unwrap_err().starts_with("line 2"));
    }
}
