//! `.env.example`: every environment variable, derived from the schema.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    overlay::{Variable, variables},
    schema::settings_schema,
};

/// What stands above the variables.
const HEAD: &str = "\
# Environment variables of Luthien. Copy this file to `.env`, remove the `#` before what you set, and let the shell read
# it before the start: `set -a; . ./.env; set +a`.
#
# Each sets one key of luthien.yaml and is stronger than the file; arguments of the program are stronger still. An empty
# variable counts as absent. Lists and mappings are written as inline YAML. Relative paths start from the folder of
# luthien.yaml. The values shown are the defaults.

# Provider keys. Without a luthien.yaml, `luthien up` uses the providers whose key is set and the built-in demo provider
# for the others. A base URL alone means that clients send their own key.
#OPENAI_API_KEY=
#OPENAI_BASE_URL=https://api.openai.com
#ANTHROPIC_API_KEY=
#ANTHROPIC_BASE_URL=https://api.anthropic.com

# The settings file.
#LUTHIEN_CONFIG=
# The folder for sockets and other state.
#LUTHIEN_STATE_DIR=.luthien
# The Envoy program, when it is not the one that was installed for Luthien.
#LUTHIEN_ENVOY=
# Only the port of `listen`.
#LUTHIEN_PORT=8080
# Only the port of `admin.listen`.
#LUTHIEN_ADMIN_PORT=8081
";

/// The text of `.env.example`.
pub fn env_example() -> String {
    let schema = settings_schema();
    let variables = variables(&schema);
    let (sections, general): (Vec<&Variable>, Vec<&Variable>) =
        variables.iter().partition(|variable| variable.pointer.matches('/').count() > 1);
    let mut text = HEAD.to_owned();
    text.push_str("\n# ---- general ----\n");
    for variable in general {
        one(&mut text, variable);
    }
    let mut section = "";
    for variable in sections {
        let name = variable.pointer.split('/').nth(1).unwrap_or_default();
        if name != section {
            section = name;
            let about = schema.pointer(&format!("/properties/{name}/description")).and_then(Value::as_str);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n# ---- {name} ----\n# {}", about.unwrap_or_default().replace('\n', "\n# "));
        }
        one(&mut text, variable);
    }
    text
}

fn one(text: &mut String, variable: &Variable) {
    let Variable { name, about, default, is_text, choices, .. } = variable;
    text.push('\n');
    for line in about.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {line}");
    }
    if !choices.is_empty() {
        let _ = writeln!(text, "# One of: {}.", choices.join(", "));
    }
    let value = match default {
        None => String::new(),
        Some(Value::String(value)) if *is_text => value.clone(),
        Some(value) => value.to_string(),
    };
    let _ = writeln!(text, "#{name}={value}");
}
