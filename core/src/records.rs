//! The records of a batch: envelope, keys and images. The twin of `cdc/records/decoding.py`.

use crate::attributes::{self, Tag, Tree};
use crate::json::{at, members, plain_string, skip, span, text, unescaped, Read, Span, Yours};
use crate::numbers;
use crate::versions::END_MICROS;
use std::borrow::Cow;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Insert,
    Modify,
    Remove,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "INSERT",
            Operation::Modify => "MODIFY",
            Operation::Remove => "REMOVE",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    NewAndOldImages,
    NewImage,
    OldImage,
    KeysOnly,
}

impl View {
    pub fn name(self) -> &'static str {
        match self {
            View::NewAndOldImages => "NEW_AND_OLD_IMAGES",
            View::NewImage => "NEW_IMAGE",
            View::OldImage => "OLD_IMAGE",
            View::KeysOnly => "KEYS_ONLY",
        }
    }
}

/// The shape that records were received in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    Lambda,
    Adapter,
    Kinesis,
}

/// A record that was read. Spans are in its bytes, nodes in the tree of its batch.
#[derive(Debug)]
pub struct Record {
    pub operation: Operation,
    pub view: View,
    pub sequence: Span,
    pub created_micros: Option<i64>,
    pub is_coarse: bool,
    pub expired: bool,
    pub event_id: Span,
    pub table: Span,
    pub size_bytes: i64,
    pub keys: u32,
    pub before: Option<u32>,
    pub after: Option<u32>,
}

/// Each member of an object once: of two with one name the reference takes the last.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn once(&mut self, bit: u16) -> Read<()> {
        if self.0 & bit != 0 {
            return Err(Yours);
        }
        self.0 |= bit;
        Ok(())
    }
}

const TTL_PRINCIPAL: &[u8] = b"dynamodb.amazonaws.com";

/// Read a record. The tree is left as it was if it is not read.
pub fn read(b: &[u8], wire: Wire, tree: &mut Tree) -> Read<Record> {
    let (nodes, text) = (tree.nodes.len(), tree.text.len());
    let found = read_envelope(b, wire, tree);
    if found.is_err() {
        tree.nodes.truncate(nodes);
        tree.text.truncate(text);
    }
    found
}

fn read_envelope(b: &[u8], wire: Wire, tree: &mut Tree) -> Read<Record> {
    let is_too_much = |size: usize| size > (u32::MAX / 2) as usize;
    if is_too_much(b.len()) || is_too_much(tree.text.len()) || is_too_much(tree.nodes.len()) {
        return Err(Yours);
    }
    if std::str::from_utf8(b).is_err() {
        return Err(Yours);
    }
    let (mut operation, mut event_id, mut table, mut by_ttl, mut facts) = (None, (0, 0), (0, 0), false, None);
    let mut seen = Seen::default();
    let end = members(b, 0, |name, value| match at(b, name) {
        b"eventName" => {
            seen.once(1)?;
            let (name, end) = plain_string(b, value)?;
            operation = Some(match at(b, name) {
                b"INSERT" => Operation::Insert,
                b"MODIFY" => Operation::Modify,
                b"REMOVE" => Operation::Remove,
                _ => return Err(Yours),
            });
            Ok(end)
        }
        b"eventID" => {
            seen.once(2)?;
            let (id, end) = plain_string(b, value)?;
            event_id = id;
            Ok(end)
        }
        b"dynamodb" => {
            seen.once(4)?;
            let (read, end) = read_facts(b, value, tree)?;
            facts = Some(read);
            Ok(end)
        }
        b"userIdentity" => {
            seen.once(8)?;
            let (found, end) = is_ttl(b, value)?;
            by_ttl = found;
            Ok(end)
        }
        b"tableName" => {
            seen.once(16)?;
            let (name, end) = plain_string(b, value)?;
            table = name;
            Ok(end)
        }
        _ => skip(b, value, 0),
    })?;
    if end != b.len() {
        return Err(Yours);
    }
    record(b, wire, operation.ok_or(Yours)?, event_id, table, by_ttl, facts.ok_or(Yours)?, tree)
}

/// Is it DynamoDB's own deletion of an expired item?
fn is_ttl(b: &[u8], i: usize) -> Read<(bool, usize)> {
    if b[i..].starts_with(b"null") {
        return Ok((false, i + 4));
    }
    let (mut kind, mut principal, mut seen) = ((0, 0), (0, 0), Seen::default());
    let end = members(b, i, |name, value| match at(b, name) {
        b"type" | b"Type" => {
            seen.once(1)?;
            let (text, end) = plain_string(b, value)?;
            kind = text;
            Ok(end)
        }
        b"principalId" | b"PrincipalId" => {
            seen.once(2)?;
            let (text, end) = plain_string(b, value)?;
            principal = text;
            Ok(end)
        }
        _ => skip(b, value, 0),
    })?;
    Ok((at(b, kind) == b"Service" && at(b, principal) == TTL_PRINCIPAL, end))
}

#[derive(Default)]
struct Facts {
    keys: Option<u32>,
    before: Option<u32>,
    after: Option<u32>,
    sequence: Span,
    created: Option<i64>,
    view: Option<View>,
    micros_per_unit: Option<i64>,
    size_bytes: i64,
}

fn read_facts(b: &[u8], i: usize, tree: &mut Tree) -> Read<(Facts, usize)> {
    let mut facts = Facts::default();
    let mut seen = Seen::default();
    let end = members(b, i, |name, value| match at(b, name) {
        b"Keys" => {
            seen.once(1)?;
            let (keys, end) = tree.image(b, value, None)?;
            facts.keys = Some(keys);
            Ok(end)
        }
        name @ (b"OldImage" | b"NewImage") => {
            let is_new = name == b"NewImage";
            seen.once(if is_new { 2 } else { 4 })?;
            if let Some(end) = absent(b, value) {
                return Ok(end);
            }
            let (node, end) = tree.image(b, value, facts.before.or(facts.after))?;
            *(if is_new { &mut facts.after } else { &mut facts.before }) = Some(node);
            Ok(end)
        }
        b"SequenceNumber" => {
            seen.once(8)?;
            let (sequence, end) = plain_string(b, value)?;
            facts.sequence = sequence;
            Ok(end)
        }
        b"ApproximateCreationDateTime" => {
            seen.once(16)?;
            if b[value..].starts_with(b"null") {
                return Ok(value + 4);
            }
            let (created, digits_end) = natural(b, value)?;
            facts.created = Some(created);
            Ok(point_and_zero_end(b, value, digits_end))
        }
        b"StreamViewType" => {
            seen.once(32)?;
            let (view, end) = plain_string(b, value)?;
            facts.view = Some(match at(b, view) {
                b"NEW_AND_OLD_IMAGES" => View::NewAndOldImages,
                b"NEW_IMAGE" => View::NewImage,
                b"OLD_IMAGE" => View::OldImage,
                b"KEYS_ONLY" => View::KeysOnly,
                _ => return Err(Yours),
            });
            Ok(end)
        }
        b"ApproximateCreationDateTimePrecision" => {
            seen.once(64)?;
            let (precision, end) = plain_string(b, value)?;
            facts.micros_per_unit = Some(match at(b, precision) {
                b"MICROSECOND" => 1,
                b"MILLISECOND" => 1000,
                _ => return Err(Yours),
            });
            Ok(end)
        }
        b"SizeBytes" => {
            seen.once(128)?;
            let (size, end) = natural(b, value)?;
            facts.size_bytes = size;
            Ok(end)
        }
        _ => skip(b, value, 0),
    })?;
    Ok((facts, end))
}

/// The end of an image that is none: the adapter writes an empty object for it.
fn absent(b: &[u8], i: usize) -> Option<usize> {
    let rest = &b[i..];
    let length = [&b"{}"[..], b"null"].into_iter().find(|form| rest.starts_with(form))?.len();
    Some(i + length)
}

/// A natural number; what follows it is the caller's to check.
fn natural(b: &[u8], i: usize) -> Read<(i64, usize)> {
    let length = b[i..].iter().take_while(|c| c.is_ascii_digit()).count();
    let digits = text(b, span(i, i + length))?;
    if length > 18 || (length > 1 && digits.starts_with('0')) {
        return Err(Yours);
    }
    Ok((digits.parse().map_err(|_| Yours)?, i + length))
}

/// The end of a number that may be written as a float; with more digits a float would not be exact.
fn point_and_zero_end(b: &[u8], start: usize, end: usize) -> usize {
    if end - start <= 15 && b[end..].starts_with(b".0") {
        end + 2
    } else {
        end
    }
}

#[allow(clippy::too_many_arguments)]
fn record(
    b: &[u8],
    wire: Wire,
    operation: Operation,
    event_id: Span,
    table: Span,
    by_ttl: bool,
    facts: Facts,
    tree: &Tree,
) -> Read<Record> {
    let keys = facts.keys.ok_or(Yours)?;
    check_keys(b, tree, keys)?;
    let view = facts.view.unwrap_or(match (facts.before, facts.after) {
        (None, None) => View::KeysOnly,
        _ => View::NewAndOldImages,
    });
    let has_new = matches!(view, View::NewAndOldImages | View::NewImage);
    if facts.after.is_none() && operation != Operation::Remove && has_new {
        return Err(Yours);
    }
    let micros_per_unit = match wire {
        Wire::Lambda => 1_000_000,
        Wire::Adapter => 1000,
        Wire::Kinesis => facts.micros_per_unit.unwrap_or(1000),
    };
    let created_micros = match facts.created {
        None if wire == Wire::Kinesis => return Err(Yours),
        None => None,
        Some(created) => {
            let micros = created.checked_mul(micros_per_unit).ok_or(Yours)?;
            Some(if micros < END_MICROS { micros } else { return Err(Yours) })
        }
    };
    if wire == Wire::Kinesis {
        if table.0 == table.1 {
            return Err(Yours);
        }
    } else {
        let sequence = at(b, facts.sequence);
        if sequence.is_empty() || sequence.len() > 40 || !sequence.iter().all(u8::is_ascii_digit) {
            return Err(Yours);
        }
    }
    Ok(Record {
        operation,
        view,
        sequence: facts.sequence,
        created_micros,
        is_coarse: wire == Wire::Kinesis && micros_per_unit > 1,
        expired: by_ttl && operation == Operation::Remove,
        event_id,
        table,
        size_bytes: facts.size_bytes,
        keys,
        before: if operation == Operation::Insert { None } else { facts.before },
        after: if operation == Operation::Remove { None } else { facts.after },
    })
}

/// A record has keys, each S, N or B.
fn check_keys(b: &[u8], tree: &Tree, keys: u32) -> Read<()> {
    let mut count = 0;
    for key in tree.children(keys) {
        key_text(b, tree, key)?;
        count += 1;
    }
    if count == 0 {
        Err(Yours)
    } else {
        Ok(())
    }
}

/// The text that stands for a key attribute in an id: the twin of `key_text`.
pub fn key_text<'a>(b: &'a [u8], tree: &Tree, key: u32) -> Read<Cow<'a, str>> {
    let node = tree.node(key);
    let content = attributes::content(b, node)?;
    Ok(match node.tag {
        Tag::S if content.contains('\\') => unescaped(content).into(),
        Tag::S => content.into(),
        Tag::N => numbers::canonical(content)?.into(),
        Tag::B => content.replace('+', "-").replace('/', "_").into(),
        _ => return Err(Yours),
    })
}

/// The keys in the order of their names.
pub fn sorted_keys(b: &[u8], tree: &Tree, keys: u32) -> Vec<u32> {
    let mut found: Vec<u32> = tree.children(keys).collect();
    found.sort_unstable_by(|&one, &other| at(b, tree.node(one).name).cmp(at(b, tree.node(other).name)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{line, Origin};
    use crate::compiled::Change;
    use crate::fields::Fields;

    const RECORD: &str = concat!(
        r#"{"eventID":"ab","eventName":"MODIFY","dynamodb":{"ApproximateCreationDateTime":1768469400,"#,
        r#""Keys":{"pk":{"S":"a|b"},"sk":{"N":"1.50"}},"OldImage":{"pk":{"S":"a|b"},"sk":{"N":"1.50"},"#,
        r#""n":{"N":"7"},"l":{"L":[{"S":"x"},{"M":{"y":{"BOOL":true}}}]},"s":{"SS":["b","a"]}},"#,
        r#""NewImage":{"pk":{"S":"a|b"},"sk":{"N":"1.50"},"n":{"N":"8"},"l":{"L":[{"S":"x"},{"M":{}}]},"#,
        r#""s":{"NS":["10","9"]},"b":{"B":"AAE="},"z":{"NULL":true}},"SequenceNumber":"700000000000000000001","#,
        r#""SizeBytes":99,"StreamViewType":"NEW_AND_OLD_IMAGES"},"userIdentity":null}"#
    );

    /// Read a record and write its line; whatever it is, nothing panics.
    fn told(bytes: &[u8]) -> Read<usize> {
        let mut tree = Tree::default();
        let record = read(bytes, Wire::Lambda, &mut tree)?;
        let change = Change { b: bytes, tree: &tree, record: &record };
        let origin = Origin { table: "shop", arn: "arn", label: Some("label") };
        Ok(line(change, &origin, "1", 1, &Fields::default())?.bytes.len())
    }

    #[test]
    fn a_record_is_read() {
        let mut tree = Tree::default();
        let record = read(RECORD.as_bytes(), Wire::Lambda, &mut tree).unwrap();
        assert_eq!(record.created_micros, Some(1_768_469_400_000_000));
        assert_eq!(record.size_bytes, 99);
        assert!(told(RECORD.as_bytes()).unwrap() > RECORD.len());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut draw = |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % most as u64) as usize
        };
        let snippets: [&[u8]; 8] = [b"\"", b"{", b"}", b"\\", b"9", b"{\"N\":\"1\"}", b"", b"\xff"];
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut bytes = RECORD.as_bytes().to_vec();
            for _ in 0..1 + draw(3) {
                let from = draw(bytes.len());
                let to = (from + draw(12)).min(bytes.len());
                let part = if draw(2) == 0 { snippets[draw(8)].to_vec() } else { bytes[from..to].to_vec() };
                let at = draw(bytes.len());
                let end = (at + draw(3)).min(bytes.len());
                bytes.splice(at..end, part);
            }
            taken += usize::from(told(&bytes).is_ok());
        }
        assert!(taken > 100, "{taken}");
    }
}
