//! A mapping's plan as Python describes it, and writes as Python has them.

use crate::compiled::{Gone, Owner, Part, Plan, What, Write};
use crate::fields::{Fields, Path};
use crate::numbers;
use crate::pattern::{Comparison, Matcher, Pattern, Test};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

/// The mapping of a table, compiled. `indices`: each index with its owners, as `cdc/core.py` describes them.
#[pyclass(frozen, name = "Plan", module = "cdc._core")]
pub struct CorePlan {
    pub plan: Plan,
    names: Vec<Py<PyString>>,
    put: Py<PyAny>,
    delete: Py<PyAny>,
}

type Names = (Vec<String>, Vec<String>, String);

#[pymethods]
impl CorePlan {
    #[new]
    #[pyo3(signature = (table, keys, indices, put, delete, names))]
    fn new(
        table: String,
        keys: Vec<String>,
        indices: Vec<(Bound<'_, PyString>, Vec<Bound<'_, PyAny>>)>,
        put: Py<PyAny>,
        delete: Py<PyAny>,
        names: Names,
    ) -> PyResult<Self> {
        let (no_fields, reserved, tombstone_field) = names;
        let mut plan = Plan { table, keys, indices: Vec::new(), no_fields, reserved, tombstone_field };
        let mut index_names = Vec::new();
        for (name, owners) in indices {
            index_names.push(name.unbind());
            plan.indices.push(owners.iter().map(owner).collect::<PyResult<_>>()?);
        }
        Ok(CorePlan { plan, names: index_names, put, delete })
    }
}

impl CorePlan {
    /// The writes as `Put` and `Delete`.
    pub fn made<'py>(&self, py: Python<'py>, writes: Vec<Write<'_>>, version: u64) -> PyResult<Bound<'py, PyTuple>> {
        let made = writes.into_iter().map(|write| {
            let (index, routing) = (self.names[write.index].bind(py), write.routing);
            match write.what {
                What::Delete => self.delete.bind(py).call1((index, write.id, routing, version)),
                What::Put { source, keys, unfit, may_set_aside } => {
                    let texts = |all: Vec<std::borrow::Cow<'_, str>>| PyTuple::new(py, all);
                    let source = PyBytes::new(py, &source);
                    let (keys, unfit) = (texts(keys)?, texts(unfit)?);
                    let facts = (index, write.id, routing, version, source, keys, unfit, may_set_aside);
                    self.put.bind(py).call1(facts)
                }
            }
        });
        PyTuple::new(py, made.collect::<PyResult<Vec<_>>>()?)
    }
}

/// Attributes that the archive leaves out.
#[pyclass(frozen, name = "Exclude", module = "cdc._core")]
pub struct CoreExclude {
    pub fields: Fields,
}

#[pymethods]
impl CoreExclude {
    #[new]
    fn new(paths: Vec<Path>) -> Self {
        CoreExclude { fields: Fields { exclude: paths, ..Fields::default() } }
    }
}

#[derive(FromPyObject)]
struct OwnerSpec<'py> {
    pattern: Option<Bound<'py, PyAny>>,
    of_keys: Option<Bound<'py, PyAny>>,
    id: Vec<Option<String>>,
    routing: Option<String>,
    include: Option<Vec<Path>>,
    exclude: Vec<Path>,
    rename: Vec<(Path, String)>,
    unless_only: Vec<Path>,
    on_remove: String,
    on_expiry: Option<String>,
    has_transform: bool,
    sets_aside: bool,
}

fn owner(spec: &Bound<'_, PyAny>) -> PyResult<Owner> {
    let spec: OwnerSpec = spec.extract()?;
    let compiled = |pattern: Option<Bound<'_, PyAny>>| pattern.map(|one| self::pattern(&one)).transpose();
    Ok(Owner {
        pattern: compiled(spec.pattern)?,
        of_keys: compiled(spec.of_keys)?,
        id: spec.id.into_iter().map(|part| part.map_or(Part::Table, Part::Key)).collect(),
        routing: spec.routing,
        fields: Fields { include: spec.include, exclude: spec.exclude, rename: spec.rename },
        unless_only: spec.unless_only,
        on_remove: gone(&spec.on_remove)?,
        on_expiry: spec.on_expiry.as_deref().map(gone).transpose()?,
        has_transform: spec.has_transform,
        sets_aside: spec.sets_aside,
    })
}

fn gone(policy: &str) -> PyResult<Gone> {
    match policy {
        "keep" => Ok(Gone::Keep),
        "tombstone" => Ok(Gone::Tombstone),
        "delete" => Ok(Gone::Delete),
        _ => Err(PyValueError::new_err(format!("{policy} is no policy of removal"))),
    }
}

/// A member's name, and what its value has to be.
type Condition<'py> = (String, Bound<'py, PyAny>);

fn pattern(spec: &Bound<'_, PyAny>) -> PyResult<Pattern> {
    let (conditions, alternatives): (Vec<Condition>, Vec<Bound<'_, PyAny>>) = spec.extract()?;
    let conditions = conditions.into_iter().map(|(name, inner)| Ok((name, matcher(&inner)?)));
    Ok(Pattern {
        conditions: conditions.collect::<PyResult<_>>()?,
        alternatives: alternatives.iter().map(pattern).collect::<PyResult<_>>()?,
    })
}

fn matcher(spec: &Bound<'_, PyAny>) -> PyResult<Matcher> {
    if let Ok((absent, present, tests)) = spec.extract::<(bool, bool, Vec<Bound<'_, PyAny>>)>() {
        let tests = tests.iter().map(test).collect::<PyResult<_>>()?;
        return Ok(Matcher::Leaf { absent, present, tests });
    }
    Ok(Matcher::Within(pattern(spec)?))
}

fn test(spec: &Bound<'_, PyAny>) -> PyResult<Test> {
    let (kind, argument): (String, Bound<'_, PyAny>) = spec.extract()?;
    Ok(match kind.as_str() {
        "null" => Test::Null,
        "bool" => Test::Bool(argument.extract()?),
        "text" => Test::Text(argument.extract()?),
        "prefix" => Test::Prefix(argument.extract()?),
        "suffix" => Test::Suffix(argument.extract()?),
        "wildcard" => Test::Wildcard(argument.extract()?),
        "numeric" => Test::Numeric(comparisons(argument.extract()?)?),
        "anything-but" => {
            let tests: Vec<Bound<'_, PyAny>> = argument.extract()?;
            Test::Not(tests.iter().map(test).collect::<PyResult<_>>()?)
        }
        _ => return Err(PyValueError::new_err(format!("the core has no test {kind}"))),
    })
}

fn comparisons(all: Vec<(String, String)>) -> PyResult<Vec<(Comparison, String)>> {
    let one = |(comparison, bound): (String, String)| {
        let comparison = match comparison.as_str() {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return Err(PyValueError::new_err(format!("{comparison} is no comparison"))),
        };
        if !numbers::is_json(bound.as_bytes()) {
            return Err(PyValueError::new_err(format!("the core does not compare with {bound}")));
        }
        Ok((comparison, bound))
    };
    all.into_iter().map(one).collect()
}
