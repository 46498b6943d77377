//! What makes two deliveries the same change: the twin of `cdc/records/identity.py`.

use crate::attributes::{self, Tag, Tree};
use crate::json::{at, digits, hex, text, Read, Yours};
use crate::numbers;
use crate::records::{sorted_keys, Record};
use sha2::{Digest, Sha256};

/// Write the identity of a record of a stream with this label, or, without a label, of a table that Kinesis carries.
pub fn identity(out: &mut Vec<u8>, b: &[u8], tree: &Tree, record: &Record, label: Option<&str>) -> Read<()> {
    match label {
        Some(label) => {
            out.extend_from_slice(label.as_bytes());
            out.push(b'/');
            let value = text(b, record.sequence)?.trim_start_matches('0');
            out.extend_from_slice(if value.is_empty() { b"0" } else { value.as_bytes() });
        }
        None => {
            out.extend_from_slice(at(b, record.table));
            out.push(b'/');
            digits(out, record.created_micros.ok_or(Yours)?);
            if record.is_coarse {
                out.push(b'-');
                hex(out, &images_digest(b, tree, record));
            }
        }
    }
    out.push(b'/');
    hex(out, &keys_digest(b, tree, record.keys)?);
    Ok(())
}

fn keys_digest(b: &[u8], tree: &Tree, keys: u32) -> Read<[u8; 16]> {
    let mut parts = Vec::with_capacity(96);
    parts.push(b'[');
    for key in sorted_keys(b, tree, keys) {
        let node = tree.node(key);
        let content = attributes::content(b, node)?;
        let tag = match node.tag {
            Tag::S => b'S',
            Tag::N => b'N',
            _ => b'B',
        };
        parts.extend_from_slice(b"[\"");
        parts.extend_from_slice(at(b, node.name));
        parts.extend_from_slice(&[b'"', b',', b'"', tag, b'"', b',', b'"']);
        match node.tag {
            Tag::N => parts.extend_from_slice(numbers::canonical(content)?.as_bytes()),
            _ => parts.extend_from_slice(content.as_bytes()),
        }
        parts.extend_from_slice(b"\"],");
    }
    if let Some(last) = parts.last_mut() {
        *last = b']';
    }
    Sha256::digest(&parts)[..16].try_into().map_err(|_| Yours)
}

fn images_digest(b: &[u8], tree: &Tree, record: &Record) -> [u8; 4] {
    let image = |node: Option<u32>| node.map_or(&b"null"[..], |node| at(b, tree.node(node).raw));
    let mut hash = Sha256::new();
    for part in [b"[", image(record.before), b",", image(record.after), b"]"] {
        hash.update(part);
    }
    let digest = hash.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}
