//! Event patterns: the twin of `cdc/mappings/pattern.py` and `cdc/mappings/value_tests.py`, but for tests that fold the
//! case of letters or compare addresses: a mapping that has one is the reference's.

use crate::attributes::{content, Tag, Tree};
use crate::json::{at, elements, text, unescaped, Read, Yours};
use crate::numbers;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Conditions on members that all have to hold, and patterns of which one has to, if there are any.
pub struct Pattern {
    pub conditions: Vec<(String, Matcher)>,
    pub alternatives: Vec<Pattern>,
}

pub enum Matcher {
    /// The value is absent, is there, or passes one of the tests.
    Leaf { absent: bool, present: bool, tests: Vec<Test> },
    /// The value is a map that the pattern matches, or a list with such a member.
    Within(Pattern),
}

pub enum Test {
    Null,
    Bool(bool),
    Text(String),
    Prefix(String),
    Suffix(String),
    /// The texts between the stars.
    Wildcard(Vec<String>),
    /// Comparisons and bounds, all of which have to hold.
    Numeric(Vec<(Comparison, String)>),
    /// None of them passes.
    Not(Vec<Test>),
}

#[derive(Clone, Copy)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        }
    }
}

impl Pattern {
    /// Does it match the members of `node`? Without a node: of an empty map.
    pub fn matches(&self, b: &[u8], tree: &Tree, node: Option<u32>) -> Read<bool> {
        for (name, matcher) in &self.conditions {
            let mut members = node.into_iter().flat_map(|node| tree.children(node));
            let value = members.find(|&member| at(b, tree.node(member).name) == name.as_bytes());
            if !matcher.matches(b, tree, value)? {
                return Ok(false);
            }
        }
        for alternative in &self.alternatives {
            if alternative.matches(b, tree, node)? {
                return Ok(true);
            }
        }
        Ok(self.alternatives.is_empty())
    }
}

impl Matcher {
    fn matches(&self, b: &[u8], tree: &Tree, value: Option<u32>) -> Read<bool> {
        match (self, value) {
            (Matcher::Leaf { absent, .. }, None) => Ok(*absent),
            (Matcher::Leaf { present: true, .. }, Some(_)) => Ok(true),
            (Matcher::Leaf { tests, .. }, Some(value)) => any_member(b, tree, value, tests),
            (Matcher::Within(inside), None) => inside.matches(b, tree, None),
            (Matcher::Within(inside), Some(value)) => match tree.node(value).tag {
                Tag::M => inside.matches(b, tree, Some(value)),
                Tag::L => any(tree.children(value), |member| self.matches(b, tree, Some(member))),
                _ => Ok(false),
            },
        }
    }
}

fn any<T>(all: impl Iterator<Item = T>, mut holds: impl FnMut(T) -> Read<bool>) -> Read<bool> {
    for one in all {
        if holds(one)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn any_member(b: &[u8], tree: &Tree, value: u32, tests: &[Test]) -> Read<bool> {
    let node = tree.node(value);
    match node.tag {
        Tag::M => Ok(false),
        Tag::L => any(tree.children(value), |member| any_member(b, tree, member, tests)),
        Tag::Ss | Tag::Ns => {
            let (array, tag) = (tree.value_text(value), if node.tag == Tag::Ss { Tag::S } else { Tag::N });
            let mut found = false;
            elements(array, 0, |i| {
                let quotes = usize::from(tag == Tag::S);
                let stop = if tag == Tag::S { b'"' } else { b',' };
                let inner = &array[i + quotes..array.len() - 1];
                let length = inner.iter().position(|&c| c == stop).unwrap_or(inner.len());
                let member = std::str::from_utf8(&inner[..length]).map_err(|_| Yours)?;
                found = found || any(tests.iter(), |test| test.passes(tag, member))?;
                Ok(i + length + 2 * quotes)
            })?;
            Ok(found)
        }
        Tag::S | Tag::N | Tag::B => {
            let content = content(b, node)?;
            any(tests.iter(), |test| test.passes(node.tag, content))
        }
        Tag::Bool | Tag::Null | Tag::Bs => {
            let content = text(&tree.text, node.out)?;
            let content = if content.ends_with("true") { "true" } else { "" };
            any(tests.iter(), |test| test.passes(node.tag, content))
        }
    }
}

impl Test {
    /// Does a value that is no container pass? `content`: the inside of its JSON string; of a boolean, `true` if it is.
    fn passes(&self, tag: Tag, content: &str) -> Read<bool> {
        match self {
            Test::Not(tests) => Ok(!any(tests.iter(), |test| test.passes(tag, content))?),
            Test::Null => Ok(tag == Tag::Null),
            Test::Bool(wanted) => Ok(tag == Tag::Bool && (content == "true") == *wanted),
            Test::Numeric(comparisons) => {
                if tag != Tag::N {
                    return Ok(false);
                }
                for (comparison, bound) in comparisons {
                    if !comparison.holds(numbers::compare(content.as_bytes(), bound.as_bytes())?) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ if tag != Tag::S => Ok(false),
            _ => {
                let value: Cow<str> = if content.contains('\\') { unescaped(content).into() } else { content.into() };
                Ok(self.fits(&value))
            }
        }
    }

    fn fits(&self, value: &str) -> bool {
        match self {
            Test::Text(wanted) => value == wanted,
            Test::Prefix(wanted) => value.starts_with(wanted),
            Test::Suffix(wanted) => value.ends_with(wanted),
            Test::Wildcard(parts) => fits_wildcard(value, parts),
            _ => false,
        }
    }
}

/// Each part is found at its first place: of what is left over, most is left so.
fn fits_wildcard(value: &str, parts: &[String]) -> bool {
    let [first, between @ .., last] = parts else {
        return parts.iter().any(|only| value == only);
    };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in between {
        match rest.find(part.as_str()) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let parts = |text: &str| text.split('*').map(str::to_owned).collect::<Vec<_>>();
        for (value, wildcard, wanted) in [
            ("abc", "a*c", true),
            ("ac", "a*c", true),
            ("a", "a*a", false),
            ("aba", "a*b*a", true),
            ("abca", "*b*", true),
            ("abc", "abc", true),
            ("abcd", "abc", false),
        ] {
            assert_eq!(fits_wildcard(value, &parts(wildcard)), wanted, "{value} {wildcard}");
        }
    }
}
