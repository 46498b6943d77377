//! Which attributes a document has, and what they are named: the twin of `cdc/mappings/fields.py`.

use crate::attributes::{Tag, Tree};
use crate::json::{at, Read, Yours};

pub type Path = Vec<String>;

/// What a mapping selects and renames.
#[derive(Default)]
pub struct Fields {
    pub include: Option<Vec<Path>>,
    pub exclude: Vec<Path>,
    pub rename: Vec<(Path, String)>,
}

impl Fields {
    pub fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty() && self.rename.is_empty()
    }

    /// The fields of a document of the image `node`.
    pub fn of<'a>(&'a self, b: &'a [u8], tree: &'a Tree, node: u32) -> Read<Vec<Field<'a>>> {
        let source = Source { b, tree };
        let mut fields = match &self.include {
            None => source.members(node),
            Some(paths) => {
                let mut chosen = Vec::new();
                for path in paths {
                    source.copy(node, path, &mut chosen);
                }
                chosen
            }
        };
        for path in &self.exclude {
            source.remove(&mut fields, path);
        }
        for (path, name) in &self.rename {
            source.rename(&mut fields, path, name)?;
        }
        Ok(fields)
    }
}

pub struct Field<'a> {
    pub name: &'a [u8],
    content: Content<'a>,
}

/// A value as it stands in the image, or a map of which a part was taken.
enum Content<'a> {
    Whole(u32),
    Part(Vec<Field<'a>>),
}

#[derive(Clone, Copy)]
struct Source<'a> {
    b: &'a [u8],
    tree: &'a Tree,
}

impl<'a> Source<'a> {
    fn members(self, node: u32) -> Vec<Field<'a>> {
        let field = |member| Field { name: at(self.b, self.tree.node(member).name), content: Content::Whole(member) };
        self.tree.children(node).map(field).collect()
    }

    /// Choose what stands at `path` below `node`, within the maps that lead to it.
    fn copy(self, node: u32, path: &'a [String], into: &mut Vec<Field<'a>>) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        let is_named = |member: &u32| at(self.b, self.tree.node(*member).name) == name.as_bytes();
        let Some(value) = self.tree.children(node).find(is_named) else {
            return;
        };
        let there = into.iter().position(|field| field.name == name.as_bytes());
        if rest.is_empty() {
            match there {
                Some(position) => into[position].content = Content::Whole(value),
                None => into.push(Field { name: name.as_bytes(), content: Content::Whole(value) }),
            }
        } else if self.tree.node(value).tag == Tag::M {
            let position = there.unwrap_or_else(|| {
                into.push(Field { name: name.as_bytes(), content: Content::Part(Vec::new()) });
                into.len() - 1
            });
            if let Content::Part(inner) = &mut into[position].content {
                self.copy(value, rest, inner);
            }
        }
    }

    fn remove(self, fields: &mut Vec<Field<'a>>, path: &'a [String]) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        let Some(position) = fields.iter().position(|field| field.name == name.as_bytes()) else {
            return;
        };
        if rest.is_empty() {
            fields.remove(position);
        } else if let Some(inner) = self.opened(&mut fields[position]) {
            self.remove(inner, rest);
        }
    }

    fn rename(self, fields: &mut Vec<Field<'a>>, path: &'a [String], new: &'a str) -> Read<()> {
        let Some((name, rest)) = path.split_first() else {
            return Ok(());
        };
        let Some(position) = fields.iter().position(|field| field.name == name.as_bytes()) else {
            return Ok(());
        };
        if !rest.is_empty() {
            return match self.opened(&mut fields[position]) {
                Some(inner) => self.rename(inner, rest, new),
                None => Ok(()),
            };
        }
        if fields.iter().any(|field| field.name == new.as_bytes()) {
            return Err(Yours);
        }
        let field = fields.remove(position);
        fields.push(Field { name: new.as_bytes(), content: field.content });
        Ok(())
    }

    /// The members of a map, to be changed.
    fn opened<'f>(self, field: &'f mut Field<'a>) -> Option<&'f mut Vec<Field<'a>>> {
        if let Content::Whole(node) = field.content {
            if self.tree.node(node).tag != Tag::M {
                return None;
            }
            field.content = Content::Part(self.members(node));
        }
        match &mut field.content {
            Content::Part(inner) => Some(inner),
            Content::Whole(_) => None,
        }
    }
}

/// Write the fields as a document.
pub fn write_document(out: &mut Vec<u8>, tree: &Tree, fields: &[Field<'_>]) {
    write_fields(out, fields, &|out, node| out.extend_from_slice(tree.value_text(node)), &|out, inner| {
        write_document(out, tree, inner);
    });
}

/// Write the fields as an image: DynamoDB JSON.
pub fn write_image(out: &mut Vec<u8>, b: &[u8], tree: &Tree, fields: &[Field<'_>]) {
    write_fields(out, fields, &|out, node| out.extend_from_slice(at(b, tree.node(node).raw)), &|out, inner| {
        out.extend_from_slice(b"{\"M\":");
        write_image(out, b, tree, inner);
        out.push(b'}');
    });
}

fn write_fields(
    out: &mut Vec<u8>,
    fields: &[Field<'_>],
    whole: &dyn Fn(&mut Vec<u8>, u32),
    part: &dyn Fn(&mut Vec<u8>, &[Field<'_>]),
) {
    out.push(b'{');
    for (position, field) in fields.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        match std::str::from_utf8(field.name) {
            Ok(name) => crate::json::quote(out, name),
            Err(_) => out.extend_from_slice(b"\"\""), // all that is read was found to be UTF-8
        }
        out.push(b':');
        match &field.content {
            Content::Whole(node) => whole(out, *node),
            Content::Part(inner) => part(out, inner),
        }
    }
    out.push(b'}');
}
