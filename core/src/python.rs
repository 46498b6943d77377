//! The core's face to Python: batches in, records out that say what the sinks ask.

use crate::archive::{line, Origin};
use crate::attributes::Tree;
use crate::compiled::Change;
use crate::differences::{Differences, Step};
use crate::json::{at, Read, Yours};
use crate::records::{self, Record, Wire};
use crate::spec::{CoreExclude, CorePlan};
use crate::values::{item, string, value};
use crate::versions;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// The records of one call: one tree, one text, the bytes that all of it refers to.
struct Batch {
    tree: Tree,
    payloads: Vec<Py<PyBytes>>,
    records: Vec<Read<Record>>,
}

/// A record that the core has read. Each method answers exactly as the reference would, or with None: the reference is
/// to be asked.
#[pyclass(frozen, name = "Record", module = "cdc._core")]
pub struct CoreRecord {
    batch: Arc<Batch>,
    at: usize,
    was_left: AtomicBool,
}

impl CoreRecord {
    fn bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.batch.payloads[self.at].as_bytes(py)
    }

    fn record(&self) -> PyResult<&Record> {
        self.batch.records[self.at].as_ref().map_err(|_| PyValueError::new_err("the core has not read this record"))
    }

    fn change<'a>(&'a self, py: Python<'a>) -> PyResult<Change<'a>> {
        Ok(Change { b: self.bytes(py), tree: &self.batch.tree, record: self.record()? })
    }

    /// The answer, if there is one; that there was none is remembered.
    fn answer<T>(&self, answer: Read<T>) -> Option<T> {
        if answer.is_err() {
            self.was_left.store(true, Ordering::Relaxed);
        }
        answer.ok()
    }

    fn version(&self, change: Change<'_>, minute: Option<i64>) -> Read<u64> {
        match minute {
            Some(minute) => versions::in_stream(minute, crate::json::text(change.b, change.record.sequence)?),
            None => versions::at(change.record.created_micros.ok_or(Yours)?),
        }
    }
}

#[pymethods]
impl CoreRecord {
    /// The record's bytes.
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.batch.payloads[self.at].bind(py).clone()
    }

    /// Was something of it left to the reference?
    #[getter]
    fn was_left(&self) -> bool {
        self.was_left.load(Ordering::Relaxed)
    }

    #[getter]
    fn size_bytes(&self) -> PyResult<i64> {
        Ok(self.record()?.size_bytes)
    }

    #[getter]
    fn has_before(&self) -> PyResult<bool> {
        Ok(self.record()?.before.is_some())
    }

    #[getter]
    fn has_after(&self) -> PyResult<bool> {
        Ok(self.record()?.after.is_some())
    }

    /// The keys' exact values.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        item(py, self.bytes(py), &self.batch.tree, self.record()?.keys)
    }

    /// The exact values of the item before the change; None: it has no such image.
    fn before<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let image = self.record()?.before;
        image.map(|image| item(py, self.bytes(py), &self.batch.tree, image)).transpose()
    }

    /// The exact values of the item after the change; None: it has no such image.
    fn after<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let image = self.record()?.after;
        image.map(|image| item(py, self.bytes(py), &self.batch.tree, image)).transpose()
    }

    /// The paths that differ, each with `(has_before, before, has_after, after)`.
    fn differences<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Change { b, tree, record } = self.change(py)?;
        let Some(differences) = self.answer(Differences::of(b, tree, record.before, record.after)) else {
            return Ok(None);
        };
        let found = PyList::empty(py);
        for one in &differences.found {
            let path = path(py, b, differences.path(one))?;
            let side = |node: Option<u32>| node.map(|node| value(py, b, tree, node)).transpose();
            let (before, after) = (side(one.before)?, side(one.after)?);
            found.append((path, before.is_some(), before, after.is_some(), after))?;
        }
        Ok(Some(found))
    }

    /// The paths that differ.
    fn changed_paths<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Change { b, tree, record } = self.change(py)?;
        let Some(differences) = self.answer(Differences::of(b, tree, record.before, record.after)) else {
            return Ok(None);
        };
        let found = PyList::empty(py);
        for one in &differences.found {
            found.append(path(py, b, differences.path(one))?)?;
        }
        Ok(Some(found))
    }

    /// The writes that the change makes, of a stream that was made in that minute; without one, of Kinesis.
    fn writes<'py>(
        &self,
        py: Python<'py>,
        plan: &CorePlan,
        minute: Option<i64>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let change = self.change(py)?;
        let writes = self.version(change, minute).and_then(|version| Ok((plan.plan.writes(change)?, version)));
        self.answer(writes).map(|(writes, version)| plan.made(py, writes, version)).transpose()
    }

    /// The archive's line, and the identity in it. `label`: of a DynamoDB stream.
    #[pyo3(signature = (table, arn, label, sequence, minute, exclude))]
    #[allow(clippy::too_many_arguments)]
    fn line<'py>(
        &self,
        py: Python<'py>,
        table: &str,
        arn: &str,
        label: Option<&str>,
        sequence: &str,
        minute: Option<i64>,
        exclude: &CoreExclude,
    ) -> PyResult<Option<(Bound<'py, PyBytes>, Bound<'py, PyString>)>> {
        let change = self.change(py)?;
        let origin = Origin { table, arn, label };
        let made = self.version(change, minute).and_then(|at| line(change, &origin, sequence, at, &exclude.fields));
        Ok(self.answer(made).map(|line| (PyBytes::new(py, &line.bytes), PyString::new(py, &line.identity))))
    }
}

fn path<'py>(py: Python<'py>, b: &[u8], steps: &[Step]) -> PyResult<Bound<'py, PyTuple>> {
    let step = |step: &Step| match *step {
        Step::Name(name) => string(py, at(b, name)).map(Bound::into_any),
        Step::Index(position) => Ok(position.into_pyobject(py)?.into_any()),
    };
    PyTuple::new(py, steps.iter().map(step).collect::<PyResult<Vec<_>>>()?)
}

fn wire_of(name: &str) -> PyResult<Wire> {
    match name {
        "lambda" => Ok(Wire::Lambda),
        "adapter" => Ok(Wire::Adapter),
        "kinesis" => Ok(Wire::Kinesis),
        _ => Err(PyValueError::new_err(format!("{name} is no wire format"))),
    }
}

/// Read records from their bytes, without the interpreter's lock. Of each: what was read, operation, view, sequence
/// number, microsecond of creation, expired, event id, coarse, table; None: the reference's.
#[pyfunction]
pub fn read<'py>(py: Python<'py>, payloads: &Bound<'py, PyList>, wire: &str) -> PyResult<Bound<'py, PyList>> {
    let wire = wire_of(wire)?;
    let mut given = Vec::with_capacity(payloads.len());
    for payload in payloads {
        given.push(payload.cast_into::<PyBytes>().map_err(PyErr::from)?);
    }
    let bytes: Vec<&[u8]> = given.iter().map(|payload| payload.as_bytes()).collect();
    let (tree, records) = py.detach(|| read_all(&bytes, wire));
    let payloads = given.into_iter().map(Bound::unbind).collect();
    answers(py, Batch { tree, payloads, records })
}

fn read_all(payloads: &[&[u8]], wire: Wire) -> (Tree, Vec<Read<Record>>) {
    let mut tree = Tree::default();
    tree.text.reserve(payloads.iter().map(|payload| payload.len()).sum::<usize>() / 2);
    let records = payloads.iter().map(|payload| records::read(payload, wire, &mut tree)).collect();
    (tree, records)
}

fn answers(py: Python<'_>, batch: Batch) -> PyResult<Bound<'_, PyList>> {
    let batch = Arc::new(batch);
    let found = PyList::empty(py);
    for (at, read) in batch.records.iter().enumerate() {
        let Ok(record) = read else {
            found.append(py.None())?;
            continue;
        };
        let core = CoreRecord { batch: Arc::clone(&batch), at, was_left: AtomicBool::new(false) };
        let answer = {
            let b = core.bytes(py);
            let text = |span| string(py, crate::json::at(b, span)).map(Bound::into_any);
            [
                PyString::intern(py, record.operation.name()).into_any(),
                PyString::intern(py, record.view.name()).into_any(),
                text(record.sequence)?,
                record.created_micros.into_pyobject(py)?.into_any(),
                pyo3::types::PyBool::new(py, record.expired).to_owned().into_any(),
                text(record.event_id)?,
                pyo3::types::PyBool::new(py, record.is_coarse).to_owned().into_any(),
                text(record.table)?,
            ]
        };
        let core = Bound::new(py, core)?.into_any();
        found.append(PyTuple::new(py, std::iter::once(core).chain(answer).collect::<Vec<_>>())?)?;
    }
    Ok(found)
}
