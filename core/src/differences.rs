//! What differs between two images, in the order of the reference: the twin of `cdc/records/differences.py`.

use crate::attributes::{Children, Tag, Tree};
use crate::json::{at, Read, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An attribute's or a member's name, in the record.
    Name(Span),
    Index(u32),
}

/// One path at which two images differ. Nothing before: added; nothing after: removed.
#[derive(Debug)]
pub struct Difference {
    path: Span,
    pub before: Option<u32>,
    pub after: Option<u32>,
}

#[derive(Default)]
pub struct Differences {
    pub found: Vec<Difference>,
    steps: Vec<Step>,
    here: Vec<Step>,
}

impl Differences {
    /// The differences of two images of a record; without an image, those to an empty one.
    pub fn of(b: &[u8], tree: &Tree, before: Option<u32>, after: Option<u32>) -> Read<Differences> {
        let mut differences = Differences::default();
        let is_same = matches!((before, after), (Some(one), Some(other)) if raw(b, tree, one) == raw(b, tree, other));
        if !is_same {
            differences.maps(b, tree, before, after)?;
        }
        Ok(differences)
    }

    pub fn path(&self, difference: &Difference) -> &[Step] {
        &self.steps[difference.path.0 as usize..difference.path.1 as usize]
    }

    fn note(&mut self, step: Step, before: Option<u32>, after: Option<u32>) {
        let from = self.steps.len() as u32;
        self.steps.extend_from_slice(&self.here);
        self.steps.push(step);
        self.found.push(Difference { path: (from, self.steps.len() as u32), before, after });
    }

    fn maps(&mut self, b: &[u8], tree: &Tree, before: Option<u32>, after: Option<u32>) -> Read<()> {
        let mut there = Members::of(b, tree, after);
        let mut in_both = 0;
        for old in before.into_iter().flat_map(|node| tree.children(node)) {
            let name = tree.node(old).name;
            match there.named(at(b, name)) {
                None => self.note(Step::Name(name), Some(old), None),
                Some(new) => {
                    in_both += 1;
                    self.values(b, tree, Step::Name(name), old, new)?;
                }
            }
        }
        if in_both == there.count() {
            return Ok(());
        }
        let mut here = Members::of(b, tree, before);
        for new in after.into_iter().flat_map(|node| tree.children(node)) {
            let name = tree.node(new).name;
            if here.named(at(b, name)).is_none() {
                self.note(Step::Name(name), None, Some(new));
            }
        }
        Ok(())
    }

    fn lists(&mut self, b: &[u8], tree: &Tree, before: u32, after: u32) -> Read<()> {
        let (mut old, mut new) = (tree.children(before), tree.children(after));
        for position in 0.. {
            let step = Step::Index(position);
            match (old.next(), new.next()) {
                (None, None) => break,
                (Some(old), Some(new)) => self.values(b, tree, step, old, new)?,
                (old, new) => self.note(step, old, new),
            }
        }
        Ok(())
    }

    fn values(&mut self, b: &[u8], tree: &Tree, step: Step, old: u32, new: u32) -> Read<()> {
        let is_twin = tree.node(new).twin == old || tree.node(old).twin == new;
        if is_twin || raw(b, tree, old) == raw(b, tree, new) {
            return Ok(());
        }
        let (one, other) = (tree.node(old).tag, tree.node(new).tag);
        if one == other && matches!(one, Tag::M | Tag::L) {
            self.here.push(step);
            match one {
                Tag::M => self.maps(b, tree, Some(old), Some(new))?,
                _ => self.lists(b, tree, old, new)?,
            }
            self.here.pop();
        } else if one != other || !tree.is_same(old, new)? {
            self.note(step, Some(old), Some(new));
        }
        Ok(())
    }
}

fn raw<'a>(b: &'a [u8], tree: &Tree, node: u32) -> &'a [u8] {
    at(b, tree.node(node).raw)
}

/// With no more members than this, they are looked through.
const FEW: usize = 16;

/// The members of a map by name: mostly asked for in their order.
struct Members<'a> {
    b: &'a [u8],
    tree: &'a Tree,
    all: Vec<u32>,
    expected: usize,
    sorted: Option<Vec<u32>>,
}

impl<'a> Members<'a> {
    fn of(b: &'a [u8], tree: &'a Tree, node: Option<u32>) -> Members<'a> {
        let children: Option<Children<'a>> = node.map(|node| tree.children(node));
        Members { b, tree, all: children.into_iter().flatten().collect(), expected: 0, sorted: None }
    }

    fn count(&self) -> usize {
        self.all.len()
    }

    fn name(&self, node: u32) -> &'a [u8] {
        at(self.b, self.tree.node(node).name)
    }

    fn named(&mut self, wanted: &[u8]) -> Option<u32> {
        if let Some(&node) = self.all.get(self.expected) {
            if self.name(node) == wanted {
                self.expected += 1;
                return Some(node);
            }
        }
        if self.all.len() <= FEW {
            let position = self.all.iter().position(|&node| self.name(node) == wanted)?;
            self.expected = position + 1;
            return Some(self.all[position]);
        }
        if self.sorted.is_none() {
            let mut sorted = self.all.clone();
            sorted.sort_unstable_by(|&one, &other| self.name(one).cmp(self.name(other)));
            self.sorted = Some(sorted);
        }
        let sorted = self.sorted.as_ref()?;
        let found = sorted.binary_search_by(|&node| self.name(node).cmp(wanted)).ok()?;
        Some(sorted[found])
    }
}
