//! `luthien envoy-config`: prints Envoy's complete configuration, for an Envoy that Luthien does not start itself.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{environment::Environment, settings::Settings};
use crate::envoy::{Address, BootstrapError, Placement, Tracer, YamlError, bootstrap, to_yaml};

/// Print the configuration of Envoy that belongs to luthien.yaml
///
/// With `--sidecar` for an Envoy in a container of its own (chart, compose), otherwise for one on this machine.
#[derive(Debug, Clone, Args)]
pub struct EnvoyConfigArgs {
    /// The process configuration.
    #[arg(long, value_name = "FILE", env = "LUTHIEN_CONFIG")]
    pub config: Option<PathBuf>,
    /// For an Envoy in a container beside Luthien's: socket in /run/luthien, access log on standard output.
    #[arg(long)]
    pub sidecar: bool,
    /// Where the demo provider listens, for upstreams with `url: demo`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub demo: Option<Address>,
    /// Write it to a file, which is there whole or not at all, in place of printing it.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The directory of sockets and logs of an Envoy on this machine [default: `.luthien` beside the settings file].
    /// Without meaning for `--sidecar`.
    #[arg(long, value_name = "DIR", env = "LUTHIEN_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyConfigError {
    /// The settings do not allow it.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// It cannot be written as YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The output is closed.
    #[error("cannot write Envoy's configuration: {0}")]
    Write(#[from] io::Error),
    /// The file of `--output`.
    #[error(
        "cannot write Envoy's configuration to {}: {error}; name a file in a folder that this user may write to",
        path.display()
    )]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Prints or writes the configuration for `settings`, which were loaded from `args.config` and keep their state in
/// `state` unless the arguments say otherwise.
pub fn run(
    args: &EnvoyConfigArgs,
    settings: &Settings,
    state: &Path,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), EnvoyConfigError> {
    let state = args.state_dir.as_deref().unwrap_or(state);
    let mut placement = if args.sidecar { Placement::sidecar(settings)? } else { Placement::local(state, state) };
    if let (false, Some(listen)) = (args.sidecar, &settings.extproc.listen) {
        placement.extproc = match listen.strip_prefix("unix:") {
            Some(path) => Address::Pipe(state.join(path)),
            None => listen.parse().map_err(|_| BootstrapError::Extproc { value: listen.clone() })?,
        };
    }
    placement.demo.clone_from(&args.demo);
    placement.tracer = Tracer::of(settings, environment)?;
    let text = document(settings, &placement, args.sidecar)?;
    match &args.output {
        Some(path) => replace(path, &text).map_err(|error| EnvoyConfigError::Output { path: path.clone(), error }),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

/// Puts a file in the place of another: who reads at the same time reads the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// The YAML document, with a header that says where it came from.
pub fn document(settings: &Settings, placement: &Placement, sidecar: bool) -> Result<String, EnvoyConfigError> {
    let flag = if sidecar { " --sidecar" } else { "" };
    let yaml = to_yaml(&bootstrap(settings, placement)?)?;
    Ok(format!(
        "# Envoy's configuration, printed by `luthien envoy-config{flag}`. Do not edit: change luthien.yaml and print it\n\
         # again. The reasons for each value are in src/envoy/.\n{yaml}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(sidecar: bool, demo: Option<&str>) -> Result<String, EnvoyConfigError> {
        let demo = demo.map(|text| text.parse().unwrap());
        run_with(&EnvoyConfigArgs { config: None, sidecar, demo, output: None, state_dir: None })
    }

    fn run_with(args: &EnvoyConfigArgs) -> Result<String, EnvoyConfigError> {
        let settings = r#"{"upstreams":[{"name":"d","url":"demo","dialects":["openai_chat"]}]}"#;
        let mut out = Vec::new();
        let settings = serde_json::from_str(settings).unwrap();
        run(args, &settings, Path::new("/state"), &Environment::default(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_place_has_its_sockets() {
        assert!(print(false, Some("127.0.0.1:9")).unwrap().contains("path: /state/extproc.sock"));
        assert!(print(true, Some("127.0.0.1:9")).unwrap().contains("path: /run/luthien/extproc.sock"));
    }

    #[test]
    fn a_file_gets_what_would_be_printed_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, "before").unwrap();
        let demo = Some("demo:8090".parse().unwrap());
        let args = EnvoyConfigArgs { config: None, sidecar: true, demo, output: Some(file.clone()), state_dir: None };
        assert_eq!(run_with(&args).unwrap(), "");
        assert_eq!(fs::read_to_string(&file).unwrap(), print(true, Some("demo:8090")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let nowhere = EnvoyConfigArgs { output: Some(folder.path().join("no/envoy.yaml")), ..args };
        let error = run_with(&nowhere).unwrap_err().to_string();
        assert!(error.contains("no/envoy.yaml") && error.contains("folder"), "{error}");
    }

    #[test]
    fn without_a_demo_provider_the_error_names_the_upstream() {
        assert!(print(false, None).unwrap_err().to_string().contains("upstream `d` has `url: demo`"));
    }
}
