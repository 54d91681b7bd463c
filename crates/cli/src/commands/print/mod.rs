//! How objects are printed: `-o yaml|json|name|jsonpath=…|custom-columns=…`, and the tables.
//!
//! Pure: values in, text out.

pub(crate) mod columns;
pub(crate) mod custom_columns;
pub(crate) mod elastic;
pub(crate) mod go_json;
pub(crate) mod jsonpath;
pub(crate) mod key_order;
pub(crate) mod output_format;
pub(crate) mod table;
pub(crate) mod yaml;
pub(crate) mod yaml_scalar;
pub(crate) mod yaml_scalar_resolve;
