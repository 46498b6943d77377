//! Ids of documents: the twin of `cdc/mappings/document_id.py`.

use crate::json::hex;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

const MAX_ID_BYTES: usize = 512;
const PREFIX: &str = "sha256:";

/// One id for each list of parts of one length, and another for every other list.
pub fn document_id(parts: &[Cow<'_, str>]) -> String {
    let id = match parts {
        [part] => part.to_string(),
        _ => joined(parts),
    };
    if !id.is_empty() && id.len() <= MAX_ID_BYTES && !is_digest(&id) {
        return id;
    }
    let mut digest = PREFIX.as_bytes().to_vec();
    hex(&mut digest, &Sha256::digest(id.as_bytes()));
    String::from_utf8_lossy(&digest).into_owned()
}

fn joined(parts: &[Cow<'_, str>]) -> String {
    let mut id = String::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            id.push('|');
        }
        if part.contains(['%', '|']) {
            id.push_str(&part.replace('%', "%25").replace('|', "%7C"));
        } else {
            id.push_str(part);
        }
    }
    id
}

fn is_digest(id: &str) -> bool {
    let digits = id.strip_prefix(PREFIX);
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(parts: &[&str]) -> String {
        document_id(&parts.iter().map(|&part| part.into()).collect::<Vec<_>>())
    }

    #[test]
    fn each_list_of_parts_has_an_id_of_its_own() {
        assert_eq!(id(&["a|b%"]), "a|b%");
        assert_eq!(id(&["a|b", "c%"]), "a%7Cb|c%25");
        assert_eq!(id(&["", ""]), "|");
        let long = "x".repeat(513);
        let made = id(&[&long]);
        assert!(is_digest(&made) && is_digest(&id(&[&made])) && is_digest(&id(&[""])));
        assert_ne!(id(&[&made]), made);
    }
}
