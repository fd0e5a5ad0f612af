//! The `where` language: for each field what its value must be; all conditions must hold. Cubes, measures and
//! activity rules use it, in TOML and JSON.
mod condition;
mod property_path;
mod property_reader;
mod property_value;
mod read;
mod test;
#[cfg(test)]
mod tests;

pub use self::{
    condition::{Condition, EventValues, properties_of},
    property_path::PropertyPath,
    property_reader::PropertyReader,
    property_value::PropertyValue,
    read::{Where, condition, described, field_called, parse, text_test},
    test::Test,
};
