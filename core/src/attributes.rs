//! DynamoDB JSON: a tree of values over a record's bytes, and beside it the text that each has in a document.
//!
//! The twin of `cdc/records/attributes.py`. A record's second image is read beside its first: what has the same bytes
//! there is copied, with one node that refers to its twin.

use crate::json::{at, elements, expect, name_end, span, string_end, text, Read, Span, Yours};
use crate::numbers;
use std::cmp::Ordering;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    S,
    N,
    B,
    Bool,
    Null,
    M,
    L,
    Ss,
    Ns,
    Bs,
}

/// No node: of a value that has no twin.
pub const NONE: u32 = u32::MAX;

/// A value. Its members or elements follow it, up to `next`.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The name of a member, without its quotes, in the record.
    pub name: Span,
    /// The value with its tag, in the record; of an image, the image.
    pub raw: Span,
    /// What it is in a document, with its name if it is a member, in `Tree::text`.
    pub out: Span,
    pub next: u32,
    /// The node of the first image with the same bytes, which has the members or elements of both.
    pub twin: u32,
    pub tag: Tag,
}

/// The values of all records of a batch.
#[derive(Default)]
pub struct Tree {
    pub nodes: Vec<Node>,
    pub text: Vec<u8>,
}

const DEEPEST: u32 = 60;
/// With no more members than this, each name is compared with each other.
const FEW: u32 = 12;
/// So many members are looked through for a counterpart: without one, nothing is lost but speed.
const NEAR: usize = 32;

impl Tree {
    #[inline(always)]
    pub fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// The members of a map, or the elements of a list.
    pub fn children(&self, node: u32) -> Children<'_> {
        let node = if self.node(node).twin == NONE { node } else { self.node(node).twin };
        Children { tree: self, at: node + 1, end: self.node(node).next }
    }

    /// Its text in a document, without its name.
    pub fn value_text(&self, node: u32) -> &[u8] {
        let node = self.node(node);
        let name = node.name.1 - node.name.0;
        let skipped = if node.name.0 == 0 { 0 } else { name + 3 };
        at(&self.text, (node.out.0 + skipped, node.out.1))
    }

    /// Read the image at `i`, beside the one that `beside` is of; its node and where it ends.
    pub fn image(&mut self, b: &[u8], i: usize, beside: Option<u32>) -> Read<(u32, usize)> {
        let out = self.text.len();
        let here = self.open((0, 0));
        let end = self.map(b, i, beside, 0)?;
        self.shut(here, span(i, end), out, Tag::M);
        Ok((here, end))
    }

    fn open(&mut self, name: Span) -> u32 {
        self.nodes.push(Node { name, raw: (0, 0), out: (0, 0), next: 0, twin: NONE, tag: Tag::M });
        self.nodes.len() as u32 - 1
    }

    fn shut(&mut self, node: u32, raw: Span, out: usize, tag: Tag) {
        let next = self.nodes.len() as u32;
        let out = span(out, self.text.len());
        let node = &mut self.nodes[node as usize];
        (node.raw, node.out, node.next, node.tag) = (raw, out, next, tag);
    }

    /// A node for what has the same bytes as `twin`.
    fn copy(&mut self, twin: u32, name: Span, raw: Span) {
        let of = *self.node(twin);
        let out = self.text.len();
        self.text.extend_from_within(of.out.0 as usize..of.out.1 as usize);
        let here = self.open(name);
        self.shut(here, raw, out, of.tag);
        self.nodes[here as usize].twin = twin;
    }

    /// Read the map at `i`, beside the map `beside`; where it ends.
    fn map(&mut self, b: &[u8], i: usize, beside: Option<u32>, depth: u32) -> Read<usize> {
        if depth > DEEPEST {
            return Err(Yours);
        }
        let first = self.nodes.len() as u32;
        let (start, limit) = beside.map_or((0, 0), |node| (node + 1, self.node(node).next));
        let (mut expected, mut in_order, mut count) = (start, true, 0);
        let mut i = expect(b, i, b'{')?;
        self.text.push(b'{');
        if b.get(i) == Some(&b'}') {
            self.text.push(b'}');
            return Ok(i + 1);
        }
        loop {
            count += 1;
            let twin = (expected < limit).then(|| *self.node(expected));
            match twin {
                Some(twin) if b[i..].starts_with(&b[twin.name.0 as usize - 1..twin.raw.1 as usize]) => {
                    let name = span(i + 1, i + 1 + (twin.name.1 - twin.name.0) as usize);
                    let end = i + 1 + (twin.raw.1 - twin.name.0) as usize;
                    let raw = span(end - (twin.raw.1 - twin.raw.0) as usize, end);
                    self.copy(expected, name, raw);
                    expected = twin.next;
                    i = end;
                }
                _ => {
                    let (end, value) = name_end(b, i)?;
                    let name = span(i + 1, end);
                    let out = self.text.len();
                    self.text.extend_from_slice(&b[i..value]);
                    let counterpart = self.counterpart(b, name, expected, start, limit);
                    match counterpart {
                        Some(node) if node >= expected => expected = self.node(node).next,
                        _ => in_order = false,
                    }
                    i = self.value(b, value, name, out, counterpart, depth)?;
                }
            }
            match b.get(i) {
                Some(b',') => i += 1,
                Some(b'}') => break,
                _ => return Err(Yours),
            }
            self.text.push(b',');
        }
        self.text.push(b'}');
        if !in_order || beside.is_none() {
            self.distinct(b, first, count)?;
        }
        Ok(i + 1)
    }

    /// The member of that name, looked for from `expected` on and around.
    fn counterpart(&self, b: &[u8], name: Span, expected: u32, start: u32, limit: u32) -> Option<u32> {
        let wanted = at(b, name);
        let from = |at, end| Children { tree: self, at, end };
        from(expected, limit)
            .chain(from(start, expected))
            .take(NEAR)
            .find(|&node| at(b, self.node(node).name) == wanted)
    }

    fn list(&mut self, b: &[u8], i: usize, beside: Option<u32>, depth: u32) -> Read<usize> {
        if depth > DEEPEST {
            return Err(Yours);
        }
        let (mut expected, limit) = beside.map_or((0, 0), |node| (node + 1, self.node(node).next));
        self.text.push(b'[');
        let end = elements(b, i, |i| {
            if b[i - 1] == b',' {
                self.text.push(b',');
            }
            let twin = (expected < limit).then(|| *self.node(expected));
            let end = match twin {
                Some(twin) if b[i..].starts_with(at(b, twin.raw)) => {
                    let end = i + (twin.raw.1 - twin.raw.0) as usize;
                    self.copy(expected, (0, 0), span(i, end));
                    end
                }
                _ => {
                    let out = self.text.len();
                    self.value(b, i, (0, 0), out, twin.is_some().then_some(expected), depth)?
                }
            };
            expected = twin.map_or(limit, |twin| twin.next);
            Ok(end)
        })?;
        self.text.push(b']');
        Ok(end)
    }

    /// Read the value at `i`, beside the value `beside`; where it ends.
    fn value(&mut self, b: &[u8], i: usize, name: Span, out: usize, beside: Option<u32>, depth: u32) -> Read<usize> {
        let here = self.open(name);
        let (tag, content) = tag(b, i)?;
        let beside = beside.filter(|&node| self.node(node).tag == tag);
        let end = match tag {
            Tag::M => self.map(b, content, beside, depth + 1)?,
            Tag::L => self.list(b, content, beside, depth + 1)?,
            _ => scalar(b, content, tag, &mut self.text)?,
        };
        let end = expect(b, end, b'}')?;
        self.shut(here, span(i, end), out, tag);
        Ok(end)
    }

    /// Have the `count` members from `first` on names of their own? Of two with one name, the reference takes the last.
    fn distinct(&self, b: &[u8], first: u32, count: u32) -> Read<()> {
        let all = || Children { tree: self, at: first, end: self.nodes.len() as u32 };
        let name = |node: u32| at(b, self.node(node).name);
        if count <= FEW {
            let is_twice = |node: u32| all().skip_while(|&other| other <= node).any(|other| name(other) == name(node));
            return if all().any(is_twice) { Err(Yours) } else { Ok(()) };
        }
        let mut names: Vec<&[u8]> = all().map(name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Yours);
        }
        Ok(())
    }

    /// Are two values of one tag that are no containers equal? Numbers by value, sets as sets.
    pub fn is_same(&self, a: u32, b: u32) -> Read<bool> {
        let (mine, theirs) = (self.value_text(a), self.value_text(b));
        if mine == theirs {
            return Ok(true);
        }
        match self.node(a).tag {
            Tag::N => Ok(numbers::compare(mine, theirs)? == Ordering::Equal),
            Tag::Ns => same_numbers(mine, theirs),
            _ => Ok(false),
        }
    }
}

/// Nodes that stand beside each other.
pub struct Children<'a> {
    tree: &'a Tree,
    at: u32,
    end: u32,
}

impl Iterator for Children<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.at >= self.end {
            return None;
        }
        let here = self.at;
        self.at = self.tree.node(here).next;
        Some(here)
    }
}

/// Two arrays of numbers, each sorted and without repetition.
fn same_numbers(mine: &[u8], theirs: &[u8]) -> Read<bool> {
    let split = |array: &[u8]| -> Vec<Vec<u8>> {
        array[1..array.len() - 1].split(|&c| c == b',').map(<[u8]>::to_vec).collect()
    };
    let (mine, theirs) = (split(mine), split(theirs));
    if mine.len() != theirs.len() {
        return Ok(false);
    }
    for (a, b) in mine.iter().zip(&theirs) {
        if a.is_empty() || b.is_empty() || numbers::compare(a, b)? != Ordering::Equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The tag of the value at `i`, and where its content begins.
#[inline(always)]
pub fn tag(b: &[u8], i: usize) -> Read<(Tag, usize)> {
    let rest = b.get(i..i + 9).ok_or(Yours)?; // no value is so short that the record would end here
    let one = |tag| if rest[4] == b':' { Ok((tag, i + 5)) } else { Err(Yours) };
    match rest {
        [b'{', b'"', b'S', b'"', ..] => one(Tag::S),
        [b'{', b'"', b'N', b'"', ..] => one(Tag::N),
        [b'{', b'"', b'M', b'"', ..] => one(Tag::M),
        [b'{', b'"', b'L', b'"', ..] => one(Tag::L),
        [b'{', b'"', b'B', b'"', ..] => one(Tag::B),
        [b'{', b'"', b'S', b'S', b'"', b':', ..] => Ok((Tag::Ss, i + 6)),
        [b'{', b'"', b'N', b'S', b'"', b':', ..] => Ok((Tag::Ns, i + 6)),
        [b'{', b'"', b'B', b'S', b'"', b':', ..] => Ok((Tag::Bs, i + 6)),
        [b'{', b'"', b'B', b'O', b'O', b'L', b'"', b':', _] => Ok((Tag::Bool, i + 8)),
        [b'{', b'"', b'N', b'U', b'L', b'L', b'"', b':', _] => Ok((Tag::Null, i + 8)),
        _ => Err(Yours),
    }
}

/// Write what the content at `i` is in a document; where it ends.
#[inline(always)]
fn scalar(b: &[u8], i: usize, tag: Tag, out: &mut Vec<u8>) -> Read<usize> {
    match tag {
        Tag::S => {
            let start = expect(b, i, b'"')?;
            let end = string_end(b, start)?.0 + 1;
            out.extend_from_slice(&b[i..end]);
            Ok(end)
        }
        Tag::N => {
            let (number, end) = number(b, i)?;
            out.extend_from_slice(at(b, number));
            Ok(end)
        }
        Tag::B => {
            let (binary, end) = binary(b, i)?;
            out.extend_from_slice(&b[binary.0 as usize - 1..end]);
            Ok(end)
        }
        Tag::Bool | Tag::Null => {
            let word: &[u8] = match (tag, b.get(i)) {
                (Tag::Bool, Some(b'f')) => b"false",
                _ => b"true",
            };
            if !b[i..].starts_with(word) {
                return Err(Yours);
            }
            out.extend_from_slice(if tag == Tag::Null { b"null" } else { word });
            Ok(i + word.len())
        }
        _ => set(b, i, tag, out),
    }
}

/// The number in the string at `i`, and where the string ends.
#[inline(always)]
pub fn number(b: &[u8], i: usize) -> Read<(Span, usize)> {
    let start = expect(b, i, b'"')?;
    let length = b[start..].iter().position(|&c| c == b'"').ok_or(Yours)?;
    if !numbers::is_json(&b[start..start + length]) {
        return Err(Yours);
    }
    Ok((span(start, start + length), start + length + 1))
}

/// The base64 text in the string at `i`, and where the string ends.
pub fn binary(b: &[u8], i: usize) -> Read<(Span, usize)> {
    let start = expect(b, i, b'"')?;
    let length = b[start..].iter().position(|&c| c == b'"').ok_or(Yours)?;
    let text = &b[start..start + length];
    let padding = text.iter().rev().take(2).take_while(|&&c| c == b'=').count();
    let body = &text[..length - padding];
    let last = body.last().map_or(Some(0), |&c| sextet(c)).ok_or(Yours)?;
    let is_canonical = match padding {
        0 => true,
        1 => last & 0b11 == 0,
        _ => last & 0b1111 == 0,
    };
    if length % 4 != 0 || !is_canonical || body.iter().any(|&c| sextet(c).is_none()) {
        return Err(Yours);
    }
    Ok((span(start, start + length), start + length + 1))
}

fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The bytes of a base64 text that `binary` has found.
pub fn decoded(text: &[u8]) -> Vec<u8> {
    let mut found = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.chunks(4) {
        let word = four.iter().fold(0u32, |word, &c| word << 6 | u32::from(sextet(c).unwrap_or(0)));
        let count = 3 - four.iter().filter(|&&c| c == b'=').count();
        found.extend_from_slice(&word.to_be_bytes()[1..=count]);
    }
    found
}

/// Write a set as a sorted array, each member once.
fn set(b: &[u8], i: usize, tag: Tag, out: &mut Vec<u8>) -> Read<usize> {
    let mut members: Vec<Span> = Vec::new();
    let end = elements(b, i, |i| {
        let (member, end) = match tag {
            Tag::Ss => crate::json::plain_string(b, i)?,
            Tag::Ns => number(b, i)?,
            _ => binary(b, i)?,
        };
        if tag == Tag::Ns && !numbers::is_as_python(at(b, member)) {
            return Err(Yours);
        }
        members.push(member);
        Ok(end)
    })?;
    match tag {
        Tag::Ss => {
            members.sort_unstable_by(|&one, &other| at(b, one).cmp(at(b, other)));
            members.dedup_by(|one, other| at(b, *one) == at(b, *other));
        }
        Tag::Ns => sort_numbers(b, &mut members)?,
        _ => {
            members.sort_by_cached_key(|&member| decoded(at(b, member)));
            members.dedup_by(|one, other| at(b, *one) == at(b, *other));
        }
    }
    out.push(b'[');
    for (position, &member) in members.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let quotes = usize::from(tag != Tag::Ns);
        out.extend_from_slice(&b[member.0 as usize - quotes..member.1 as usize + quotes]);
    }
    out.push(b']');
    Ok(end)
}

/// By value. Of two ways to write one number the reference keeps one or the other.
fn sort_numbers(b: &[u8], members: &mut [Span]) -> Read<()> {
    for &member in members.iter() {
        numbers::compare(at(b, member), at(b, member))?;
    }
    let order = |one: &Span, other: &Span| numbers::compare(at(b, *one), at(b, *other)).unwrap_or(Ordering::Equal);
    members.sort_by(order);
    if members.windows(2).any(|pair| order(&pair[0], &pair[1]) == Ordering::Equal) {
        return Err(Yours);
    }
    Ok(())
}

/// The content of a value that is a string in JSON, without its quotes.
pub fn content<'a>(b: &'a [u8], node: &Node) -> Read<&'a str> {
    let (_, start) = tag(b, node.raw.0 as usize)?;
    text(b, (start as u32 + 1, node.raw.1 - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(image: &str) -> Read<String> {
        let mut tree = Tree::default();
        let record = format!("{image}        ");
        let (node, _) = tree.image(record.as_bytes(), 0, None)?;
        Ok(String::from_utf8(at(&tree.text, tree.node(node).out).to_vec()).unwrap())
    }

    #[test]
    fn all_types() {
        let image = r#"{"s":{"S":"a\nb"},"n":{"N":"1E+2"},"b":{"B":"AAE="},"t":{"BOOL":true},"f":{"BOOL":false},
"z":{"NULL":true},"m":{"M":{"x":{"N":"1"}}},"l":{"L":[{"S":"["},{"M":{}},{"L":[]}]},"ss":{"SS":["b","a","b"]},
"ns":{"NS":["10","9.5","-1"]},"bs":{"BS":["Ag==","AQ=="]},"e":{"SS":[]}}"#
            .replace('\n', "");
        let wanted = r#"{"s":"a\nb","n":1E+2,"b":"AAE=","t":true,"f":false,"z":null,"m":{"x":1},"l":["[",{},[]],
"ss":["a","b"],"ns":[-1,9.5,10],"bs":["AQ==","Ag=="],"e":[]}"#
            .replace('\n', "");
        assert_eq!(document(&image).unwrap(), wanted);
    }

    #[test]
    fn rare_forms_are_yours() {
        for image in [
            r#"{"a":{}}"#,
            r#"{"a":{"X":"1"}}"#,
            r#"{"a":{"S":1}}"#,
            r#"{"a":{"N":"01"}}"#,
            r#"{"a":{"NULL":false}}"#,
            r#"{"a":{"B":"A"}}"#,
            r#"{"a":{"B":"AB=="}}"#,
            r#"{"a":{"B":"A=B="}}"#,
            r#"{"a":{"NS":["1","1.0"]}}"#,
            r#"{"a":{"S":"1"},"a":{"S":"2"}}"#,
            r#"{"a":{"S":"1","N":"2"}}"#,
        ] {
            assert_eq!(document(image), Err(Yours), "{image}");
        }
    }

    #[test]
    fn the_second_image_is_the_same_as_if_it_stood_alone() {
        let pairs = [
            (
                r#"{"a":{"S":"1"},"b":{"L":[{"N":"1"},{"N":"2"}]}}"#,
                r#"{"a":{"S":"1"},"b":{"L":[{"N":"1"},{"N":"3"}]}}"#,
            ),
            (r#"{"a":{"S":"1"},"b":{"S":"2"}}"#, r#"{"b":{"S":"2"},"a":{"S":"1"},"c":{"M":{"a":{"S":"1"}}}}"#),
            (r#"{"a":{"M":{"x":{"N":"1"}}}}"#, r#"{"a":{"M":{"x":{"N":"1"},"y":{"M":{}}}}}"#),
        ];
        for (first, second) in pairs {
            let record = format!("{first}{second}        ");
            let mut tree = Tree::default();
            let (one, end) = tree.image(record.as_bytes(), 0, None).unwrap();
            let (two, _) = tree.image(record.as_bytes(), end, Some(one)).unwrap();
            let text = at(&tree.text, tree.node(two).out);
            assert_eq!(std::str::from_utf8(text).unwrap(), document(second).unwrap());
        }
    }
}
