//! Records of DynamoDB Streams to what the sinks send, in one pass over their bytes.
//!
//! The reference is the Python of `cdc`: of each record the core says exactly what the reference says, or nothing
//! (`Yours`), and then the reference takes it. Every fault and every rare form is the reference's.

mod archive;
mod attributes;
mod compiled;
mod differences;
mod document_id;
mod fields;
mod identity;
mod json;
mod numbers;
mod pattern;
mod python;
mod records;
mod spec;
mod values;
mod versions;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::python::{read, CoreRecord};
    #[pymodule_export]
    use crate::spec::{CoreExclude, CorePlan};
}
