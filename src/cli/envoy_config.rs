//! `luthien envoy-config`: prints Envoy's complete configuration, for an Envoy that Luthien does not start itself.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{environment::Environment, settings::Settings};
use crate::envoy::{Address, BootstrapError, POD_DIR, Placement, Tracer, YamlError, bootstrap, secret_files, to_yaml};

/// Print the configuration of Envoy that belongs to luthien.yaml
///
/// With `--sidecar` for an Envoy in a container of its own (chart, compose), otherwise for one on this machine.
#[derive(Debug, Clone, Args)]
pub struct EnvoyConfigArgs {
    /// The process configuration.
    #[arg(long, value_name = "FILE", env = "LUTHIEN_CONFIG")]
    pub config: Option<PathBuf>,
    /// For an Envoy in a container beside Luthien's: sockets in the folder `--dir`, access log on standard output.
    #[arg(long)]
    pub sidecar: bool,
    /// With `--sidecar`: the folder that both containers share.
    #[arg(long, value_name = "DIR", default_value = POD_DIR)]
    pub dir: PathBuf,
    /// Where the demo provider listens, for upstreams with `url: demo`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub demo: Option<Address>,
    /// Write it to a file, which is there whole or not at all, in place of printing it.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Copy this program to a file, which is there whole or not at all, so that a container without it can run it: Envoy's
    /// image has no other that could run `luthien drain`. The program of Luthien's image needs nothing of the system.
    #[arg(long, value_name = "FILE")]
    pub install_program: Option<PathBuf>,
    /// The directory of sockets and logs of an Envoy on this machine [default: `.luthien` beside the settings file].
    /// Without meaning for `--sidecar`.
    #[arg(long, value_name = "DIR", env = "LUTHIEN_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Modes of what is written.
const PROGRAM: u32 = 0o755;
const READABLE: u32 = 0o644;

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
    /// A file of `--output` or `--install-program`.
    #[error("cannot write {what} to {}: {error}; name a file in a folder that this user may write to", path.display())]
    Output {
        /// What was to be written.
        what: &'static str,
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
    let mut placement =
        if args.sidecar { Placement::sidecar(settings, &args.dir)? } else { Placement::local(state, state) };
    if let (false, Some(at)) = (args.sidecar, settings.extproc.reached()) {
        placement.extproc = match at.strip_prefix("unix:") {
            Some(path) => Address::Pipe(state.join(path)),
            None => at.parse().map(Address::reachable).map_err(|_| BootstrapError::Extproc { value: at.to_owned() })?,
        };
    }
    placement.demo.clone_from(&args.demo);
    placement.tracer = Tracer::of(settings, environment)?;
    if let Some(path) = &args.install_program {
        let copied = std::env::current_exe().and_then(|program| replace(path, PROGRAM, |new| fs::copy(program, new)));
        copied.map_err(|error| EnvoyConfigError::Output { what: "this program", path: path.clone(), error })?;
    }
    if let Some(path) = args.output.as_deref().filter(|_| args.sidecar) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Wherever Envoy is started.
        placement.secrets = Some(std::path::absolute(folder)?);
    }
    for (path, secret) in secret_files(settings, &placement) {
        write(&path, "the name of a certificate", &to_yaml(&secret)?)?;
    }
    let text = document(settings, &placement, args.sidecar)?;
    match &args.output {
        Some(path) => write(path, "Envoy's configuration", &text),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

fn write(path: &Path, what: &'static str, text: &str) -> Result<(), EnvoyConfigError> {
    let written = replace(path, READABLE, |new| fs::write(new, text));
    written.map_err(|error| EnvoyConfigError::Output { what, path: path.to_owned(), error })
}

/// Puts a file in the place of another: who reads at the same time reads the old one or the new one.
fn replace<T>(path: &Path, mode: u32, write: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    write(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(mode))?;
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
        run_with(&EnvoyConfigArgs { sidecar, demo, ..args() }, SETTINGS)
    }

    const SETTINGS: &str = r#"{"upstreams":[{"name":"d","url":"demo","dialects":["openai_chat"]}]}"#;

    fn args() -> EnvoyConfigArgs {
        EnvoyConfigArgs {
            config: None,
            sidecar: false,
            dir: POD_DIR.into(),
            demo: None,
            output: None,
            install_program: None,
            state_dir: None,
        }
    }

    fn run_with(args: &EnvoyConfigArgs, settings: &str) -> Result<String, EnvoyConfigError> {
        let mut out = Vec::new();
        let settings = serde_json::from_str(settings).unwrap();
        run(args, &settings, Path::new("/state"), &Environment::default(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_place_has_its_sockets() {
        assert!(print(false, Some("127.0.0.1:9")).unwrap().contains("path: /state/extproc.sock"));
        assert!(print(true, Some("127.0.0.1:9")).unwrap().contains("path: /run/luthien/extproc.sock"));
        let elsewhere = EnvoyConfigArgs {
            sidecar: true,
            dir: "/elsewhere".into(),
            demo: Some("127.0.0.1:9".parse().unwrap()),
            ..args()
        };
        let text = run_with(&elsewhere, SETTINGS).unwrap();
        assert!(text.contains("path: /elsewhere/extproc.sock") && text.contains("path: /elsewhere/envoy-admin.sock"));
    }

    #[test]
    fn the_program_is_installed_whole_and_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("luthien");
        // One that runs cannot be written to, but replaced.
        fs::write(&file, "before").unwrap();
        let before = fs::File::open(&file).unwrap();
        let demo = Some("demo:8090".parse().unwrap());
        let installing = EnvoyConfigArgs { sidecar: true, demo, install_program: Some(file.clone()), ..args() };
        run_with(&installing, SETTINGS).unwrap();
        let own = std::env::current_exe().unwrap();
        assert!(fs::read(&file).unwrap() == fs::read(own).unwrap(), "another program");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(io::read_to_string(before).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = EnvoyConfigArgs { install_program: Some(folder.path().join("no/luthien")), ..installing };
        let error = run_with(&nowhere, SETTINGS).unwrap_err().to_string();
        assert!(error.contains("this program") && error.contains("no/luthien"), "{error}");
    }

    #[test]
    fn a_certificate_stands_in_a_file_of_its_own_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let settings = r#"{"upstreams":[{"name":"d","url":"http://h","dialects":["openai_chat"]}],
            "tls":{"cert":"/etc/tls/tls.crt","key":"/etc/tls/tls.key"}}"#;
        let output = folder.path().join("envoy.yaml");
        run_with(&EnvoyConfigArgs { sidecar: true, output: Some(output.clone()), ..args() }, settings).unwrap();
        let (config, secret) = (fs::read_to_string(output).unwrap(), folder.path().join("tls.yaml"));
        assert!(config.contains(&format!("path: {}", secret.display())), "{config}");
        let secret = fs::read_to_string(secret).unwrap();
        assert!(secret.contains("filename: /etc/tls/tls.key") && secret.contains("path: /etc/tls\n"), "{secret}");
    }

    #[test]
    fn a_file_gets_what_would_be_printed_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, "before").unwrap();
        let demo = Some("demo:8090".parse().unwrap());
        let args = EnvoyConfigArgs { sidecar: true, demo, output: Some(file.clone()), ..args() };
        assert_eq!(run_with(&args, SETTINGS).unwrap(), "");
        assert_eq!(fs::read_to_string(&file).unwrap(), print(true, Some("demo:8090")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let nowhere = EnvoyConfigArgs { output: Some(folder.path().join("no/envoy.yaml")), ..args };
        let error = run_with(&nowhere, SETTINGS).unwrap_err().to_string();
        assert!(error.contains("no/envoy.yaml") && error.contains("folder"), "{error}");
    }

    #[test]
    fn without_a_demo_provider_the_error_names_the_upstream() {
        assert!(print(false, None).unwrap_err().to_string().contains("upstream `d` has `url: demo`"));
    }
}
