//! Java's properties text, as far as `meta.properties` needs it: keys and values, comments,
//! continued lines and escapes. Bytes are Latin-1; anything beyond is escaped.

use super::TextDamage;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    /// Line, from 1.
    pub(super) line: usize,
    /// The value, without escapes.
    pub(super) value: String,
}

/// One `key=value` line for each pair. Keys must need no escape.
pub(super) fn encode(pairs: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push_str(key);
        text.push('=');
        for (at, c) in value.char_indices() {
            escape(&mut text, c, at == 0);
        }
        text.push('\n');
    }
    text
}

fn escape(text: &mut String, c: char, is_first: bool) {
    match c {
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\x0c' => text.push_str("\\f"),
        '\\' | '=' | ':' | '#' | '!' => text.extend(['\\', c]),
        ' ' if is_first => text.push_str("\\ "),
        ' '..='~' => text.push(c),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04X}"));
            }
        }
    }
}

/// Reads a properties file; of a key that comes twice, the last counts.
pub(super) fn decode(bytes: &[u8]) -> Result<BTreeMap<String, Property>, TextDamage> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let mut pairs = BTreeMap::new();
    for (line, content) in logical_lines(&text) {
        let mut chars = content.chars().peekable();
        let key = unescape(line, &mut chars, |c| c == '=' || c == ':' || is_blank(c))?;
        skip_blanks(&mut chars);
        if chars.next_if(|c| *c == '=' || *c == ':').is_some() {
            skip_blanks(&mut chars);
        }
        let value = unescape(line, &mut chars, |_| false)?;
        pairs.insert(key, Property { line, value });
    }
    Ok(pairs)
}

/// The lines that hold a pair, with their numbers; a line that ends in an escaped end goes on in
/// the next one.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (number, line) in (1..).zip(text.split(['\n', '\r'])) {
        let line = line.trim_start_matches(is_blank);
        if !continued && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let escapes = line.chars().rev().take_while(|c| *c == '\\').count();
        let goes_on = escapes % 2 == 1;
        let content = if goes_on { line.strip_suffix('\\').unwrap_or(line) } else { line };
        match lines.last_mut() {
            Some((_, last)) if continued => last.push_str(content),
            _ => lines.push((number, content.to_owned())),
        }
        continued = goes_on;
    }
    lines
}

/// Takes characters up to an unescaped one that is an `end`, and resolves the escapes.
fn unescape(
    line: usize,
    chars: &mut Peekable<impl Iterator<Item = char>>,
    end: impl Fn(char) -> bool,
) -> Result<String, TextDamage> {
    let damage = TextDamage::malformed(line, "text with four digits after every \\u");
    let mut units: Vec<u16> = Vec::new();
    while let Some(c) = chars.next_if(|c| !end(*c)) {
        let c = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('u')) => {
                let digits: String = chars.by_ref().take(4).collect();
                let all_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| all_hex);
                units.push(unit.ok_or_else(|| damage.clone())?);
                continue;
            }
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('f')) => '\x0c',
            ('\\', Some(other)) => other,
            (plain, _) => plain,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).ok().ok_or(damage)
}

fn skip_blanks(chars: &mut Peekable<impl Iterator<Item = char>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}
