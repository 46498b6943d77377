//! The archive's line of a change: the twin of `line_of` in `cdc/archive.py`.

use crate::attributes::Tree;
use crate::compiled::{is_below, Change};
use crate::differences::{Differences, Step};
use crate::fields::{write_image, Fields};
use crate::identity::identity;
use crate::json::{at, digits, quote, text, Read};
use crate::records::{Operation, Record};

/// The stream that a change came by.
pub struct Origin<'a> {
    pub table: &'a str,
    pub arn: &'a str,
    /// None: a Kinesis stream.
    pub label: Option<&'a str>,
}

pub struct Line {
    pub bytes: Vec<u8>,
    pub identity: String,
}

/// The line, without the attributes that `fields` excludes.
pub fn line(change: Change<'_>, origin: &Origin<'_>, sequence: &str, version: u64, fields: &Fields) -> Read<Line> {
    let Change { b, tree, record } = change;
    let mut out = Vec::with_capacity(b.len() + 640);
    let mut name = Vec::with_capacity(128);
    identity(&mut name, b, tree, record, origin.label)?;
    out.extend_from_slice(b"{\"Metadata\":{");
    if let Some(created) = record.created_micros {
        out.extend_from_slice(b"\"WriteTimestampMicros\":{\"N\":\"");
        digits(&mut out, created);
        out.extend_from_slice(b"\"},");
    }
    let mut put = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    };
    put("\"Operation\":{\"S\":\"", record.operation.name().as_bytes());
    put("\"},\"View\":{\"S\":\"", record.view.name().as_bytes());
    put("\"},\"Table\":{\"S\":", b"");
    quote(&mut out, origin.table);
    out.extend_from_slice(b"},\"Stream\":{\"S\":");
    quote(&mut out, origin.arn);
    out.extend_from_slice(b"},\"SequenceNumber\":{\"S\":");
    quote(&mut out, sequence);
    out.extend_from_slice(b"},\"Identity\":{\"S\":\"");
    out.extend_from_slice(&name);
    out.extend_from_slice(b"\"},\"Version\":{\"N\":\"");
    digits(&mut out, version);
    out.extend_from_slice(b"\"},\"EventId\":{\"S\":\"");
    out.extend_from_slice(at(b, record.event_id));
    out.extend_from_slice(b"\"},\"Expired\":{\"BOOL\":");
    out.extend_from_slice(if record.expired { b"true}" } else { b"false}" });
    if record.operation == Operation::Modify && record.before.is_some() && record.after.is_some() {
        changed(&mut out, b, tree, record, fields)?;
    }
    out.push(b'}');
    let is_whole = record.after.is_some() || record.operation == Operation::Remove;
    if !is_whole {
        // in the export's format, keys without a new image are a delete
        out.extend_from_slice(b",\"WithoutNewImage\":{");
    }
    out.extend_from_slice(if is_whole { b",\"Keys\":" } else { b"\"Keys\":" });
    out.extend_from_slice(at(b, tree.node(record.keys).raw));
    for (name, image) in [(&b",\"OldImage\":"[..], record.before), (b",\"NewImage\":", record.after)] {
        let Some(image) = image else { continue };
        out.extend_from_slice(name);
        if fields.takes_all() {
            out.extend_from_slice(at(b, tree.node(image).raw));
        } else {
            write_image(&mut out, b, tree, &fields.of(b, tree, image)?);
        }
    }
    out.extend_from_slice(if is_whole { b"}" } else { b"}}" });
    Ok(Line { bytes: out, identity: String::from_utf8_lossy(&name).into_owned() })
}

/// Write the names of the top-level attributes that differ.
fn changed(out: &mut Vec<u8>, b: &[u8], tree: &Tree, record: &Record, fields: &Fields) -> Read<()> {
    let differences = Differences::of(b, tree, record.before, record.after)?;
    let mut names = Vec::new();
    for path in differences.found.iter().map(|one| differences.path(one)) {
        if let (Some(Step::Name(name)), false) = (path.first(), is_below(b, path, &fields.exclude)) {
            names.push(text(b, *name)?);
        }
    }
    names.sort_unstable();
    names.dedup();
    out.extend_from_slice(b",\"ChangedAttributes\":{\"L\":[");
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"S\":\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    Ok(())
}
