//! Values as Python has them: the twin of `decode_value`.

use crate::attributes::{self, content, Tag, Tree};
use crate::json::{at, elements, unescaped, Yours};
use crate::numbers;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFrozenSet, PyInt, PyList, PyString, PyType};

static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The exact values of the members of a map, by name.
pub fn item<'py>(py: Python<'py>, b: &[u8], tree: &Tree, node: u32) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    for member in tree.children(node) {
        found.set_item(string(py, at(b, tree.node(member).name))?, value(py, b, tree, member)?)?;
    }
    Ok(found)
}

/// The exact value of a node.
pub fn value<'py>(py: Python<'py>, b: &[u8], tree: &Tree, node: u32) -> PyResult<Bound<'py, PyAny>> {
    let tag = tree.node(node).tag;
    Ok(match tag {
        Tag::S => {
            let inner = content(b, tree.node(node)).map_err(never)?;
            if inner.contains('\\') {
                PyString::new(py, &unescaped(inner)).into_any()
            } else {
                PyString::new(py, inner).into_any()
            }
        }
        Tag::N => number(py, content(b, tree.node(node)).map_err(never)?)?,
        Tag::B => {
            let inner = content(b, tree.node(node)).map_err(never)?;
            PyBytes::new(py, &attributes::decoded(inner.as_bytes())).into_any()
        }
        Tag::Bool => PyBool::new(py, tree.value_text(node) == b"true").to_owned().into_any(),
        Tag::Null => py.None().into_bound(py),
        Tag::M => item(py, b, tree, node)?.into_any(),
        Tag::L => {
            let found = PyList::empty(py);
            for element in tree.children(node) {
                found.append(value(py, b, tree, element)?)?;
            }
            found.into_any()
        }
        Tag::Ss | Tag::Ns | Tag::Bs => set(py, tag, tree.value_text(node))?,
    })
}

fn set<'py>(py: Python<'py>, tag: Tag, array: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut members = Vec::new();
    let quotes = usize::from(tag != Tag::Ns);
    let stop = if tag == Tag::Ns { b',' } else { b'"' };
    elements(array, 0, |i| {
        let inner = &array[i + quotes..array.len() - 1];
        let length = inner.iter().position(|&c| c == stop).unwrap_or(inner.len());
        members.push(&inner[..length]);
        Ok(i + length + 2 * quotes)
    })
    .map_err(never)?;
    let made = members.into_iter().map(|member| match tag {
        Tag::Ss => string(py, member).map(Bound::into_any),
        Tag::Ns => number(py, utf8(member)?),
        _ => Ok(PyBytes::new(py, &attributes::decoded(member)).into_any()),
    });
    Ok(PyFrozenSet::new(py, made.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

fn number<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    if !numbers::is_whole(text.as_bytes()) {
        let decimal = DECIMAL.import(py, "decimal", "Decimal")?;
        return decimal.call1((text,));
    }
    match text.parse::<i64>() {
        Ok(number) => Ok(number.into_pyobject(py)?.into_any()),
        Err(_) => py.get_type::<PyInt>().call1((text,)),
    }
}

/// A Python text of what was found to be UTF-8.
pub fn string<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    Ok(PyString::new(py, utf8(bytes)?))
}

/// What was read once can be read again.
fn never(_: Yours) -> PyErr {
    pyo3::exceptions::PySystemError::new_err("what was read can't be read again")
}

fn utf8(bytes: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(bytes).map_err(|_| never(Yours))
}
