//! `luthien crd`: prints the definition of the custom resource.

use std::io::{self, Write};

use crate::{
    config::kubernetes::crd::crd,
    envoy::{YamlError, to_yaml},
};

/// What stands above the definition.
const HEAD: &str = "\
# The custom resource LuthienPolicy, printed by `luthien crd`. Do not edit: it is made of the types in src/config/.
";

/// Prints the definition.
pub fn print(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text().map_err(io::Error::other)?.as_bytes())
}

/// The definition as YAML.
pub fn text() -> Result<String, YamlError> {
    Ok(format!("{HEAD}{}", to_yaml(&crd())?))
}
