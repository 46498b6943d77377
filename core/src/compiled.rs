//! What a change does to the indices that a mapping names: the twin of `cdc/mappings/compiled.py`.

use crate::attributes::Tree;
use crate::differences::{Differences, Step};
use crate::document_id::document_id;
use crate::fields::{write_document, Fields, Path};
use crate::json::{at, Read, Yours};
use crate::pattern::Pattern;
use crate::records::{key_text, sorted_keys, Operation, Record};
use crate::versions;
use std::borrow::Cow;

/// What becomes of a document whose item is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Keep,
    Tombstone,
    Delete,
}

/// A part of a document's id.
pub enum Part {
    Table,
    Key(String),
}

/// A document of the mapping.
pub struct Owner {
    /// None: it tests what the core can't.
    pub pattern: Option<Pattern>,
    /// The conditions on keys, where an image is not there.
    pub of_keys: Option<Pattern>,
    pub id: Vec<Part>,
    pub routing: Option<String>,
    pub fields: Fields,
    pub unless_only: Vec<Path>,
    pub on_remove: Gone,
    pub on_expiry: Option<Gone>,
    pub has_transform: bool,
    pub sets_aside: bool,
}

/// The mapping of a table: the owners of each index, in their order.
pub struct Plan {
    pub table: String,
    /// The table's key attributes, in the order of their names; none where they are not known.
    pub keys: Vec<String>,
    pub indices: Vec<Vec<Owner>>,
    /// Names that a document's own fields can't have.
    pub no_fields: Vec<String>,
    pub reserved: Vec<String>,
    pub tombstone_field: String,
}

pub enum What<'a> {
    Put { source: Vec<u8>, keys: Vec<Cow<'a, str>>, unfit: Vec<Cow<'a, str>>, may_set_aside: bool },
    Delete,
}

pub struct Write<'a> {
    /// The position of its index in the plan.
    pub index: usize,
    pub id: String,
    pub routing: Option<String>,
    pub what: What<'a>,
}

/// The record of a change, and what it was read from.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub b: &'a [u8],
    pub tree: &'a Tree,
    pub record: &'a Record,
}

impl Plan {
    /// One write an index at most.
    pub fn writes<'a>(&'a self, change: Change<'a>) -> Read<Vec<Write<'a>>> {
        let mut found = Vec::with_capacity(self.indices.len());
        for (index, owners) in self.indices.iter().enumerate() {
            found.extend(self.write(change, index, owners)?);
        }
        Ok(found)
    }

    fn write<'a>(&'a self, change: Change<'a>, index: usize, owners: &'a [Owner]) -> Read<Option<Write<'a>>> {
        let record = change.record;
        if record.operation == Operation::Remove {
            let Some(before) = self.owner_before(change, owners)? else {
                return Ok(None);
            };
            let policy = before.on_expiry.filter(|_| record.expired).unwrap_or(before.on_remove);
            return match policy {
                Gone::Keep => Ok(None),
                _ => self.gone(change, index, before, policy).map(Some),
            };
        }
        let image = record.after.ok_or(Yours)?;
        let mut after = None;
        for owner in owners {
            if owner.pattern.as_ref().ok_or(Yours)?.matches(change.b, change.tree, Some(image))? {
                after = Some(owner);
                break;
            }
        }
        let Some(after) = after else {
            if record.operation == Operation::Insert {
                return Ok(None);
            }
            let before = self.owner_before(change, owners)?;
            return before.map(|before| self.leaving(change, index, before)).transpose();
        };
        if after.has_transform {
            return Err(Yours);
        }
        if !after.unless_only.is_empty() && record.before.is_some() {
            let is_same = self.owner_before(change, owners)?.is_some_and(|before| std::ptr::eq(before, after));
            if is_same && after.ignores(change)? {
                return Ok(None);
            }
        }
        self.put(change, index, after, image).map(Some)
    }

    /// The owner of the item as it was; without the old image, the first that could be.
    fn owner_before<'a>(&self, change: Change<'_>, owners: &'a [Owner]) -> Read<Option<&'a Owner>> {
        let record = change.record;
        for owner in owners {
            let (pattern, image) = match record.before {
                Some(image) => (&owner.pattern, image),
                None if self.has_its_keys(change) => (&owner.of_keys, record.keys),
                None => return Err(Yours),
            };
            if pattern.as_ref().ok_or(Yours)?.matches(change.b, change.tree, Some(image))? {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    fn has_its_keys(&self, change: Change<'_>) -> bool {
        let keys = sorted_keys(change.b, change.tree, change.record.keys);
        let names = keys.iter().map(|&key| at(change.b, change.tree.node(key).name));
        names.eq(self.keys.iter().map(String::as_bytes))
    }

    fn leaving<'a>(&self, change: Change<'a>, index: usize, owner: &Owner) -> Read<Write<'a>> {
        self.gone(change, index, owner, owner.on_remove)
    }

    fn gone<'a>(&self, change: Change<'a>, index: usize, owner: &Owner, policy: Gone) -> Read<Write<'a>> {
        let (id, routing) = (self.id(change, owner)?, routing(change, owner)?);
        let what = if policy == Gone::Tombstone {
            let removed = versions::isoformat(change.record.created_micros.ok_or(Yours)?);
            let mut source = vec![b'{'];
            crate::json::quote(&mut source, &self.tombstone_field);
            source.extend_from_slice(format!(":\"{removed}\"}}").as_bytes());
            What::Put { source, keys: Vec::new(), unfit: Vec::new(), may_set_aside: false }
        } else {
            What::Delete
        };
        Ok(Write { index, id, routing, what })
    }

    fn put<'a>(&'a self, change: Change<'a>, index: usize, owner: &'a Owner, image: u32) -> Read<Write<'a>> {
        let (id, routing) = (self.id(change, owner)?, routing(change, owner)?);
        let Change { b, tree, .. } = change;
        let mut source;
        let names: Vec<&[u8]>;
        if owner.fields.takes_all() {
            source = at(&tree.text, tree.node(image).out).to_vec();
            names = tree.children(image).map(|member| at(b, tree.node(member).name)).collect();
        } else {
            let fields = owner.fields.of(b, tree, image)?;
            source = Vec::with_capacity(tree.value_text(image).len());
            write_document(&mut source, tree, &fields);
            names = fields.iter().map(|field| field.name).collect();
        }
        let is_one_of = |name: &[u8], all: &[String]| all.iter().any(|one| one.as_bytes() == name);
        let unfit: Vec<&[u8]> = names.into_iter().filter(|name| is_one_of(name, &self.no_fields)).collect();
        if !owner.sets_aside && unfit.iter().any(|name| is_one_of(name, &self.reserved)) {
            return Err(Yours);
        }
        let text = |name| std::str::from_utf8(name).map(Cow::Borrowed).map_err(|_| Yours);
        let unfit = unfit.into_iter().map(text).collect::<Read<_>>()?;
        let keys = tree.children(change.record.keys).map(|key| {
            let name = at(b, tree.node(key).name);
            let renamed =
                owner.fields.rename.iter().rev().find(|(path, _)| path.len() == 1 && path[0].as_bytes() == name);
            renamed.map_or_else(|| text(name), |(_, new)| Ok(Cow::Borrowed(new.as_str())))
        });
        let keys = keys.collect::<Read<_>>()?;
        let what = What::Put { source, keys, unfit, may_set_aside: owner.sets_aside };
        Ok(Write { index, id, routing, what })
    }

    fn id(&self, change: Change<'_>, owner: &Owner) -> Read<String> {
        let Change { b, tree, record } = change;
        let parts = if owner.id.is_empty() {
            let keys = sorted_keys(b, tree, record.keys);
            keys.into_iter().map(|key| key_text(b, tree, key)).collect::<Read<Vec<_>>>()?
        } else {
            let part = |part| match part {
                &Part::Table => Ok(Cow::Borrowed(self.table.as_str())),
                Part::Key(name) => named_key(change, name),
            };
            owner.id.iter().map(part).collect::<Read<Vec<_>>>()?
        };
        Ok(document_id(&parts))
    }
}

impl Owner {
    /// Did nothing change but what `unless_only` names?
    fn ignores(&self, change: Change<'_>) -> Read<bool> {
        let Change { b, tree, record } = change;
        let differences = Differences::of(b, tree, record.before, record.after)?;
        let found = differences.found.iter();
        Ok(found.map(|one| differences.path(one)).all(|path| is_below(b, path, &self.unless_only)))
    }
}

/// Does the path lead through one of `paths`?
pub fn is_below(b: &[u8], path: &[Step], paths: &[Path]) -> bool {
    let is_step = |(step, name): (&Step, &String)| match *step {
        Step::Name(span) => at(b, span) == name.as_bytes(),
        Step::Index(_) => false,
    };
    paths.iter().any(|above| above.len() <= path.len() && path.iter().zip(above).all(is_step))
}

fn routing(change: Change<'_>, owner: &Owner) -> Read<Option<String>> {
    let name = owner.routing.as_deref();
    name.map(|name| named_key(change, name).map(Cow::into_owned)).transpose()
}

fn named_key<'a>(change: Change<'a>, name: &str) -> Read<Cow<'a, str>> {
    let Change { b, tree, record } = change;
    let mut keys = tree.children(record.keys);
    let key = keys.find(|&key| at(b, tree.node(key).name) == name.as_bytes()).ok_or(Yours)?;
    key_text(b, tree, key)
}
