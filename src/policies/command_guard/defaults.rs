//! The rules that come with the policy.

use saphyr::{LoadableYamlNode, Yaml};
use serde::Deserialize;
use serde_json::Value;

use super::{super::Problem, settings::Rule};

const TEXT: &str = include_str!("defaults.yaml");

/// The rules of `defaults.yaml`.
pub(super) fn rules() -> Result<Vec<Rule>, Problem> {
    let problem =
        |error: String| Problem::new("/defaults", error, "this is a mistake of the program, not of the rules");
    let documents = Yaml::load_from_str(TEXT).map_err(|error| problem(error.to_string()))?;
    let value = documents.first().map_or(Value::Null, value);
    Vec::<Rule>::deserialize(value).map_err(|error| problem(error.to_string()))
}

/// Texts, lists and mappings; rules have nothing else.
fn value(yaml: &Yaml<'_>) -> Value {
    if let Some(items) = yaml.as_vec() {
        return items.iter().map(value).collect();
    }
    if let Some(members) = yaml.as_mapping() {
        let members = members.iter().filter_map(|(key, member)| Some((key.as_str()?.to_owned(), value(member))));
        return Value::Object(members.collect());
    }
    yaml.as_str().map_or(Value::Null, Value::from)
}
