//! `.env.example`: every environment variable, derived from the schema, and those of compose.yaml.

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

/// What stands below them: the variables that only compose.yaml reads, as it has them.
const COMPOSE: &str = "
# ---- compose ----
# Of compose.yaml only, which reads `.env` by itself. Of the variables above it takes the provider keys, LUTHIEN_PORT,
# LUTHIEN_ADMIN_PORT, LUTHIEN_LOG_LEVEL, LUTHIEN_ADMIN_TRACE_URL and LUTHIEN_TELEMETRY_TRACES_*; everything else is in
# deploy/compose/luthien.yaml. `make observability` and `make ollama` set what their profiles need.

# The token of the admin listener, and the passwords. Those of PostgreSQL hold for the volume that they were made with.
#ADMIN_TOKEN=luthien-local
#POSTGRES_PASSWORD=luthien-local
#REDIS_PASSWORD=luthien-local
#GRAFANA_PASSWORD=luthien-local

# The port of Grafana, on 127.0.0.1 like the others.
#GRAFANA_PORT=3000

# What the profile `ollama` fetches. OPENAI_BASE_URL=http://ollama:11434 has it used.
#OLLAMA_MODEL=qwen3:0.6b

# The cargo profile that the image is built with: release, or local, which is quicker to build.
#BUILD_PROFILE=release

# The socket of the Docker engine, from which logs are collected.
#DOCKER_SOCKET=/var/run/docker.sock

# The name of the project, which names of containers and volumes begin with.
#COMPOSE_PROJECT_NAME=luthien

# Images.
#IMAGE_LUTHIEN=luthien:0.1.0
#IMAGE_ENVOY=envoyproxy/envoy:v1.40.0
#IMAGE_POSTGRES=postgres:17.10
#IMAGE_REDIS=redis:8.6
#IMAGE_GRAFANA=grafana/grafana:12.4.5
#IMAGE_TEMPO=grafana/tempo:3.0.3
#IMAGE_LOKI=grafana/loki:3.7.6
#IMAGE_PROMETHEUS=prom/prometheus:v3.13.3
#IMAGE_ALLOY=grafana/alloy:v1.19.2
#IMAGE_ENGINE=ghcr.io/tecnativa/docker-socket-proxy:v0.5.0
#IMAGE_OLLAMA=ollama/ollama:0.24.0
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
    text.push_str(COMPOSE);
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
